#include "base/bytes.h"

#include <criterion/criterion.h>

Test(bytes, compares_like_a_dictionary)
{
    static const char *const ordered[] = {
        "", "a", "a\x01", "ab", "b", "ba", "\x7F", "\x80", "\xFF"};
    enum { COUNT = sizeof ordered / sizeof *ordered };
    for (int a = 0; a < COUNT; a++)
        for (int b = 0; b < COUNT; b++) {
            int order = bytes_compare(bytes_text(ordered[a]), bytes_text(ordered[b]));
            cr_assert_eq((order > 0) - (order < 0), (a > b) - (a < b), "%d and %d", a, b);
            cr_assert_eq(bytes_equal(bytes_text(ordered[a]), bytes_text(ordered[b])), a == b);
        }
    cr_assert_eq(bytes_compare(bytes_of(NULL, 0), bytes_of("", 0)), 0);
    cr_assert(bytes_equal(bytes_of(NULL, 0), bytes_of("", 0)));
}

static const char *const good_utf8[] = {
    "",
    "plain ASCII, longer than a word of eight",
    "\x7F",
    "\xC2\x80",
    "\xDF\xBF",
    "\xE0\xA0\x80",
    "\xED\x9F\xBF",
    "\xEE\x80\x80",
    "\xEF\xBF\xBF",
    "\xF0\x90\x80\x80",
    "\xF4\x8F\xBF\xBF",
    "1234567\xC3\xA4",
    "12345678\xF0\x9F\x98\x80 and on",
};

static const char *const bad_utf8[] = {
    "\x80",
    "\xBF",
    "\xC0\x80",  // overlong NUL
    "\xC1\xBF",  // overlong
    "\xC2",      // cut
    "\xC2 ",     // no continuation
    "\xC2\xC0",
    "\xE0\x80\x80",      // overlong
    "\xE0\x9F\xBF",      // overlong
    "\xE1\x80",          // cut
    "\xED\xA0\x80",      // surrogate
    "\xED\xBF\xBF",      // surrogate
    "\xF0\x80\x80\x80",  // overlong
    "\xF0\x8F\xBF\xBF",  // overlong
    "\xF0\x90\x80",      // cut
    "\xF4\x90\x80\x80",  // beyond U+10FFFF
    "\xF5\x80\x80\x80",
    "\xFE",
    "\xFF",
    "12345678\xFFtail",
    "1234567\xE2\x82",
};

Test(bytes, accepts_well_formed_utf8)
{
    for (size_t i = 0; i < sizeof good_utf8 / sizeof *good_utf8; i++)
        cr_assert(bytes_is_utf8(bytes_text(good_utf8[i])), "row %zu", i);
    cr_assert(bytes_is_utf8(bytes_of(NULL, 0)));
    cr_assert(bytes_is_utf8(bytes_of("a\0b", 3)));
}

Test(bytes, refuses_malformed_utf8)
{
    for (size_t i = 0; i < sizeof bad_utf8 / sizeof *bad_utf8; i++)
        cr_assert_not(bytes_is_utf8(bytes_text(bad_utf8[i])), "row %zu", i);
}

// Counts what two bytes can be: 128 * 128 pairs of ASCII and the 30 * 64 sequences of two.
Test(bytes, two_bytes_of_utf8_are_exactly_those_of_the_rfc)
{
    int valid = 0;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++) {
            uint8_t pair[] = {(uint8_t)first, (uint8_t)second};
            valid += bytes_is_utf8(bytes_of(pair, 2));
        }
    cr_assert_eq(valid, 128 * 128 + 30 * 64);
}

Test(bytes, tells_the_size_of_a_sequence)
{
    cr_assert_eq(bytes_utf8_size(bytes_of(NULL, 0)), 0);
    cr_assert_eq(bytes_utf8_size(bytes_text("ab")), 1);
    cr_assert_eq(bytes_utf8_size(bytes_text("\xC3\xA4x")), 2);
    cr_assert_eq(bytes_utf8_size(bytes_text("\xE2\x82\xACx")), 3);
    cr_assert_eq(bytes_utf8_size(bytes_text("\xF0\x9F\x98\x80x")), 4);
    cr_assert_eq(bytes_utf8_size(bytes_of("\xF0\x9F\x98\x80", 3)), 0);
}

static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

Test(cursor, reads_both_byte_orders)
{
    struct cursor in = cursor_over(bytes_of(data, sizeof data));
    cr_assert_eq(cursor_u8(&in), 1);
    cr_assert_eq(cursor_u64be(&in), 0x0203040506070809u);
    in = cursor_over(bytes_of(data, sizeof data));
    cr_assert_eq(cursor_u16be(&in), 0x0102);
    cr_assert_eq(cursor_u16le(&in), 0x0403);
    cr_assert_eq(cursor_u32be(&in), 0x05060708);
    in = cursor_over(bytes_of(data, sizeof data));
    cr_assert_eq(cursor_u32le(&in), 0x04030201);
    in = cursor_over(bytes_of(data, sizeof data));
    cr_assert_eq(cursor_u64le(&in), 0x0807060504030201u);
    cr_assert_eq(cursor_left(&in), 1);
    cr_assert_not(cursor_failed(&in));
}

static uint64_t
read_number(struct cursor *in, int kind)
{
    switch (kind) {
    case 0: return cursor_u8(in);
    case 1: return cursor_u16be(in);
    case 2: return cursor_u16le(in);
    case 3: return cursor_u32be(in);
    case 4: return cursor_u32le(in);
    case 5: return cursor_u64be(in);
    default: return cursor_u64le(in);
    }
}

Test(cursor, one_byte_too_few_yields_zero_and_sticks)
{
    static const size_t sizes[] = {1, 2, 2, 4, 4, 8, 8};
    for (int kind = 0; kind < 7; kind++) {
        struct cursor enough = cursor_over(bytes_of(data, sizes[kind]));
        cr_assert_neq(read_number(&enough, kind), 0);
        cr_assert_not(cursor_failed(&enough));
        struct cursor in = cursor_over(bytes_of(data, sizes[kind] - 1));
        const uint8_t *at = in.at;
        cr_assert_eq(read_number(&in, kind), 0);
        cr_assert(cursor_failed(&in));
        cr_assert_eq(in.at, at);
        cr_assert_eq(cursor_left(&in), 0);
        cr_assert_eq(cursor_u8(&in), 0);
        cr_assert_null(cursor_take(&in, 0).data);
    }
}

Test(cursor, takes_views_of_what_is_there)
{
    struct cursor in = cursor_over(bytes_of(data, sizeof data));
    struct bytes view = cursor_take(&in, 4);
    cr_assert_eq(view.data, data);
    cr_assert_eq(view.size, 4);
    cr_assert_eq(cursor_left(&in), 5);
    cr_assert_eq(cursor_take(&in, 5).data, data + 4);
    cr_assert_eq(cursor_take(&in, 0).size, 0);
    cr_assert_not(cursor_failed(&in));
    cr_assert_eq(cursor_take(&in, SIZE_MAX).size, 0);
    cr_assert(cursor_failed(&in));
}

Test(cursor, walks_over_nothing)
{
    struct cursor in = cursor_over(bytes_of(NULL, 0));
    cr_assert_eq(cursor_left(&in), 0);
    cr_assert_eq(cursor_take(&in, 0).size, 0);
    cr_assert_not(cursor_failed(&in));
    cr_assert_eq(cursor_u8(&in), 0);
    cr_assert(cursor_failed(&in));
}

Test(bytes, to_text_copies_what_fits)
{
    static const struct {
        const char *from;
        size_t size;
        const char *text;
    } rows[] = {
        {"",    1,  ""   },
        {"abc", 1,  ""   },
        {"abc", 3,  "ab" },
        {"abc", 4,  "abc"},
        {"abc", 10, "abc"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[10];
        memset(out, 'x', sizeof out);
        size_t size = bytes_to_text(bytes_text(rows[i].from), out, rows[i].size);
        cr_assert_str_eq(out, rows[i].text);
        cr_assert_eq(size, strlen(rows[i].text));
    }
}
