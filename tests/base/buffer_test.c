#include "base/buffer.h"

#include <criterion/criterion.h>

#include <signal.h>

Test(buffer, an_empty_one_can_be_seen_reset_and_done)
{
    struct buffer buffer = {0};
    cr_assert_eq(buffer_view(&buffer).size, 0);
    buffer_put(&buffer, NULL, 0);
    buffer_reset(&buffer);
    buffer_done(&buffer);
    buffer_done(&buffer);
    cr_assert_not(buffer_failed(&buffer));
}

Test(buffer, writes_numbers_in_their_order)
{
    static const uint8_t expected[] = {
        0x01,                                            // u8
        0x03, 0x02,                                      // u16le
        0x07, 0x06, 0x05, 0x04,                          // u32le
        0x0F, 0x0E, 0x0D, 0x0C, 0x0B, 0x0A, 0x09, 0x08,  // u64le
        0x04, 0x05, 0x06, 0x07,                          // u32be
        0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F,  // u64be
    };
    scoped(buffer_done) struct buffer buffer = {0};
    buffer_u8(&buffer, 0x01);
    buffer_u16le(&buffer, 0x0203);
    buffer_u32le(&buffer, 0x04050607);
    buffer_u64le(&buffer, 0x08090A0B0C0D0E0F);
    buffer_u32be(&buffer, 0x04050607);
    buffer_u64be(&buffer, 0x08090A0B0C0D0E0F);
    cr_assert(bytes_equal(buffer_view(&buffer), bytes_of(expected, sizeof expected)));
}

Test(buffer, grows_and_keeps_what_is_there)
{
    scoped(buffer_done) struct buffer buffer = {0};
    for (uint32_t i = 0; i < 100000; i++)
        buffer_u32le(&buffer, i);
    cr_assert_eq(buffer.size, 400000);
    struct cursor in = cursor_over(buffer_view(&buffer));
    for (uint32_t i = 0; i < 100000; i++)
        cr_assert_eq(cursor_u32le(&in), i);
}

// From the heap to memory of its own, which grows several times.
Test(buffer, keeps_what_is_there_when_it_becomes_large)
{
    enum { STEP = 4096 + 7, STEPS = 1000, LIMIT = STEP * STEPS };
    scoped(buffer_done) struct buffer out = {.limit = LIMIT};
    uint8_t step[STEP];
    for (uint32_t i = 0; i < STEPS; i++) {
        memset(step, (int)(i % 251), sizeof step);
        buffer_put(&out, step, sizeof step);
    }
    cr_assert_not(buffer_failed(&out));
    cr_assert_eq(out.size, LIMIT);
    for (size_t i = 0; i < out.size; i++)
        cr_assert_eq(out.data[i], i / STEP % 251, "byte %zu", i);
    buffer_u8(&out, 1);
    cr_assert(buffer_failed(&out), "no byte beyond its limit");
}

Test(buffer, formats_short_and_long_text)
{
    scoped(buffer_done) struct buffer buffer = {0};
    size_t size = 0;
    for (int width = 1; width < 2000; width += 13) {
        buffer_format(&buffer, "%*d", width, 5);
        size += (size_t)width;
        cr_assert_eq(buffer.size, size);
        cr_assert_eq(buffer.data[size - 1], '5');
    }
    buffer_text(&buffer, "end");
    cr_assert_eq(buffer.size, size + 3);
}

Test(buffer, stops_at_its_limit_and_says_so_once)
{
    for (size_t limit = 1; limit < 600; limit++) {
        scoped(buffer_done) struct buffer buffer = {.limit = limit};
        for (size_t i = 0; i < limit; i++)
            buffer_u8(&buffer, 'a');
        cr_assert_not(buffer_failed(&buffer), "limit %zu", limit);
        cr_assert_eq(buffer.size, limit);
        cr_assert_leq(buffer.capacity, limit);
        buffer_u8(&buffer, 'b');
        cr_assert(buffer_failed(&buffer));
        cr_assert_eq(buffer.size, limit);
        buffer_text(&buffer, "");
        cr_assert_null(buffer_reserve(&buffer, 0));
        buffer_reset(&buffer);
        cr_assert_not(buffer_failed(&buffer));
        cr_assert_not_null(buffer_reserve(&buffer, limit));
    }
}

Test(buffer, a_format_may_fill_it_to_the_limit)
{
    scoped(buffer_done) struct buffer buffer = {.limit = 5};
    buffer_format(&buffer, "%s", "12345");
    cr_assert_not(buffer_failed(&buffer));
    buffer_format(&buffer, "%s", "6");
    cr_assert(buffer_failed(&buffer));
    cr_assert(bytes_equal(buffer_view(&buffer), bytes_text("12345")));
}

Test(buffer, reserves_without_counting)
{
    scoped(buffer_done) struct buffer buffer = {0};
    buffer_text(&buffer, "ab");
    uint8_t *place = buffer_reserve(&buffer, 1000);
    cr_assert_not_null(place);
    memcpy(place, "cd", 2);
    cr_assert_eq(buffer.size, 2);
    buffer_commit(&buffer, 2);
    cr_assert(bytes_equal(buffer_view(&buffer), bytes_text("abcd")));
    cr_assert_null(buffer_reserve(&buffer, SIZE_MAX - 2));
    cr_assert(buffer_failed(&buffer));
}

Test(buffer, counts_no_more_than_was_reserved, .signal = SIGABRT)
{
    struct buffer buffer = {0};
    (void)buffer_reserve(&buffer, 1);
    buffer_commit(&buffer, buffer.capacity + 1);
}

Test(buffer, writes_integers)
{
    static const struct {
        int64_t value;
        const char *text;
    } rows[] = {
        {0,         "0"                   },
        {7,         "7"                   },
        {-1,        "-1"                  },
        {10,        "10"                  },
        {INT64_MAX, "9223372036854775807" },
        {INT64_MIN, "-9223372036854775808"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(buffer_done) struct buffer buffer = {0};
        buffer_int(&buffer, rows[i].value);
        cr_assert(bytes_equal(buffer_view(&buffer), bytes_text(rows[i].text)), "%s", rows[i].text);
    }
}
