#include "base/unpack.h"

#include "base/buffer.h"

#include <criterion/criterion.h>
#include <msgpack.h>

#include <stdlib.h>

// Written as C strings so that a row shows the bytes; the size leaves out the closing NUL.
#define BYTES(literal)                                                                             \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

// --- unpack_next ---

// Rows as one would read them aloud, not in columns.
// clang-format off
static const struct {
    struct bytes bytes;
    struct unpack_item item;
} SCALARS[] = {
    {BYTES("\xc0"), {.type = UNPACK_NIL}},
    {BYTES("\xc2"), {.type = UNPACK_BOOL, .boolean = false}},
    {BYTES("\xc3"), {.type = UNPACK_BOOL, .boolean = true}},
    {BYTES("\x00"), {.type = UNPACK_UINT, .natural = 0}},
    {BYTES("\x7f"), {.type = UNPACK_UINT, .natural = 127}},
    {BYTES("\xe0"), {.type = UNPACK_INT, .integer = -32}},
    {BYTES("\xff"), {.type = UNPACK_INT, .integer = -1}},
    {BYTES("\xcc\xff"), {.type = UNPACK_UINT, .natural = 255}},
    {BYTES("\xcd\x01\x00"), {.type = UNPACK_UINT, .natural = 256}},
    {BYTES("\xce\xff\xff\xff\xff"), {.type = UNPACK_UINT, .natural = UINT32_MAX}},
    {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), {.type = UNPACK_UINT, .natural = UINT64_MAX}},
    {BYTES("\xd0\x80"), {.type = UNPACK_INT, .integer = INT8_MIN}},
    {BYTES("\xd0\x05"), {.type = UNPACK_UINT, .natural = 5}},
    {BYTES("\xd1\x80\x00"), {.type = UNPACK_INT, .integer = INT16_MIN}},
    {BYTES("\xd2\x80\x00\x00\x00"), {.type = UNPACK_INT, .integer = INT32_MIN}},
    {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), {.type = UNPACK_INT, .integer = INT64_MIN}},
    {BYTES("\xd3\x00\x00\x00\x00\x00\x00\x00\x07"), {.type = UNPACK_UINT, .natural = 7}},
    {BYTES("\xca\x3f\x80\x00\x00"), {.type = UNPACK_FLOAT, .real32 = 1.0f}},
    {BYTES("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"), {.type = UNPACK_DOUBLE, .real64 = 1.0}},
    {BYTES("\xa0"), {.type = UNPACK_STR, .text = BYTES("")}},
    {BYTES("\xa3xyz"), {.type = UNPACK_STR, .text = BYTES("xyz")}},
    {BYTES("\xd9\x02hi"), {.type = UNPACK_STR, .text = BYTES("hi")}},
    {BYTES("\xda\x00\x02hi"), {.type = UNPACK_STR, .text = BYTES("hi")}},
    {BYTES("\xdb\x00\x00\x00\x02hi"), {.type = UNPACK_STR, .text = BYTES("hi")}},
    {BYTES("\xc4\x01z"), {.type = UNPACK_BIN, .text = BYTES("z")}},
    {BYTES("\xc5\x00\x01z"), {.type = UNPACK_BIN, .text = BYTES("z")}},
    {BYTES("\xc6\x00\x00\x00\x01z"), {.type = UNPACK_BIN, .text = BYTES("z")}},
    {BYTES("\xd4\x05z"), {.type = UNPACK_EXT, .ext_type = 5, .text = BYTES("z")}},
    {BYTES("\xd5\xffzz"), {.type = UNPACK_EXT, .ext_type = -1, .text = BYTES("zz")}},
    {BYTES("\xd6\x01zzzz"), {.type = UNPACK_EXT, .ext_type = 1, .text = BYTES("zzzz")}},
    {BYTES("\xd7\x00zzzzzzzz"), {.type = UNPACK_EXT, .ext_type = 0, .text = BYTES("zzzzzzzz")}},
    {BYTES("\xd8\x00zzzzzzzzzzzzzzzz"),
     {.type = UNPACK_EXT, .ext_type = 0, .text = BYTES("zzzzzzzzzzzzzzzz")}},
    {BYTES("\xc7\x03\x09zzz"), {.type = UNPACK_EXT, .ext_type = 9, .text = BYTES("zzz")}},
    {BYTES("\xc8\x00\x01\x09z"), {.type = UNPACK_EXT, .ext_type = 9, .text = BYTES("z")}},
    {BYTES("\xc9\x00\x00\x00\x01\x09z"), {.type = UNPACK_EXT, .ext_type = 9, .text = BYTES("z")}},
    {BYTES("\x90"), {.type = UNPACK_ARRAY, .count = 0}},
    {BYTES("\xdc\x00\x00"), {.type = UNPACK_ARRAY, .count = 0}},
    {BYTES("\xdd\x00\x00\x00\x00"), {.type = UNPACK_ARRAY, .count = 0}},
    {BYTES("\x80"), {.type = UNPACK_MAP, .count = 0}},
    {BYTES("\xde\x00\x00"), {.type = UNPACK_MAP, .count = 0}},
    {BYTES("\xdf\x00\x00\x00\x00"), {.type = UNPACK_MAP, .count = 0}},
};
// clang-format on

enum { SCALARS_COUNT = sizeof SCALARS / sizeof SCALARS[0] };

static bool
item_equals(const struct unpack_item *a, const struct unpack_item *b)
{
    if (a->type != b->type || a->ext_type != b->ext_type)
        return false;
    switch (a->type) {
    case UNPACK_NIL: return true;
    case UNPACK_BOOL: return a->boolean == b->boolean;
    case UNPACK_INT: return a->integer == b->integer;
    case UNPACK_UINT: return a->natural == b->natural;
    case UNPACK_FLOAT: return a->real32 == b->real32;
    case UNPACK_DOUBLE: return a->real64 == b->real64;
    case UNPACK_STR:
    case UNPACK_BIN:
    case UNPACK_EXT: return bytes_equal(a->text, b->text);
    case UNPACK_ARRAY:
    case UNPACK_MAP: return a->count == b->count;
    }
    return false;
}

Test(unpack, reads_every_form)
{
    for (size_t i = 0; i < SCALARS_COUNT; i++) {
        struct cursor in = cursor_over(SCALARS[i].bytes);
        struct unpack_item item;
        cr_assert(unpack_next(&in, &item), "row %zu", i);
        cr_assert(item_equals(&item, &SCALARS[i].item), "row %zu", i);
        cr_assert_eq(cursor_left(&in), 0, "row %zu", i);
        cr_assert_not(cursor_failed(&in), "row %zu", i);
    }
}

Test(unpack, refuses_every_form_cut_short)
{
    for (size_t i = 0; i < SCALARS_COUNT; i++) {
        for (size_t size = 0; size < SCALARS[i].bytes.size; size++) {
            // A copy of its own, so that a read past the end is seen by the sanitizer.
            uint8_t *copy = malloc(size > 0 ? size : 1);
            memcpy(copy, SCALARS[i].bytes.data, size);
            struct cursor in = cursor_over(bytes_of(copy, size));
            struct unpack_item item;
            cr_assert_not(unpack_next(&in, &item), "row %zu, %zu bytes", i, size);
            cr_assert(cursor_failed(&in), "row %zu, %zu bytes", i, size);
            struct unpack_scan scan = {0};
            cr_assert_eq(
                unpack_scan(&scan, bytes_of(copy, size), 1024),
                UNPACK_INCOMPLETE,
                "row %zu, %zu bytes",
                i,
                size);
            free(copy);
        }
    }
}

static const struct bytes CLAIMS[] = {
    BYTES("\xc1"),                  // never used
    BYTES("\xdd\x04\x00\x00\x00"),  // 67 million elements in five bytes
    BYTES("\xdd\xff\xff\xff\xff"),
    BYTES("\xdf\xff\xff\xff\xff"),
    BYTES("\xdf\x80\x00\x00\x00"),  // twice the count does not fit 32 bits
    BYTES("\xdc\x00\x02\x00"),
    BYTES("\xde\x00\x01\x00"),  // one pair is two items
    BYTES("\x91"),
    BYTES("\x81\x00"),
    BYTES("\xdb\xff\xff\xff\xff"),
    BYTES("\xc6\xff\xff\xff\xff"),
    BYTES("\xc9\xff\xff\xff\xff\x00"),
    BYTES("\xd9\x05xxxx"),
};

Test(unpack, believes_no_claim_beyond_the_bytes)
{
    for (size_t i = 0; i < sizeof CLAIMS / sizeof CLAIMS[0]; i++) {
        struct cursor in = cursor_over(CLAIMS[i]);
        struct unpack_item item;
        cr_assert_not(unpack_next(&in, &item), "row %zu", i);
        in = cursor_over(CLAIMS[i]);
        cr_assert_not(unpack_skip(&in, UNPACK_DEPTH_MAX), "row %zu", i);
    }
}

Test(unpack, fails_for_good)
{
    struct cursor in = cursor_over((struct bytes)BYTES("\xc1\x01\x02"));
    struct unpack_item item;
    cr_assert_not(unpack_next(&in, &item));
    cr_assert_not(unpack_next(&in, &item));
    cr_assert_not(unpack_skip(&in, 0));
}

// --- unpack_skip ---

static struct bytes
nested(uint8_t *out, size_t depth)
{
    memset(out, 0x91, depth);
    out[depth] = 0x2a;
    return bytes_of(out, depth + 1);
}

Test(unpack, skips_as_deep_as_allowed_and_no_deeper)
{
    uint8_t bytes[UNPACK_DEPTH_MAX + 2];
    for (uint32_t depth = 0; depth <= UNPACK_DEPTH_MAX; depth++) {
        for (uint32_t depth_max = 0; depth_max <= UNPACK_DEPTH_MAX; depth_max++) {
            struct cursor in = cursor_over(nested(bytes, depth));
            cr_assert_eq(
                unpack_skip(&in, depth_max), depth <= depth_max, "%u in %u", depth, depth_max);
        }
    }
    struct cursor in = cursor_over(nested(bytes, UNPACK_DEPTH_MAX + 1));
    cr_assert_not(unpack_skip(&in, UNPACK_DEPTH_MAX));
}

Test(unpack, counts_an_empty_container_as_a_level)
{
    struct cursor in = cursor_over((struct bytes)BYTES("\x91\x90"));
    cr_assert_not(unpack_skip(&in, 1));
    in = cursor_over((struct bytes)BYTES("\x91\x90"));
    cr_assert(unpack_skip(&in, 2));
}

Test(unpack, counts_the_items_of_a_value)
{
    const uint8_t values[] = {0x93, 0x01, 0x81, 0xa1, 'k', 0x90, 0xc0, 0xc0, 0xa3, 'c', 'u'};
    struct cursor in = cursor_over(bytes_of(values, sizeof values));
    cr_assert_eq(unpack_skip_counted(&in, 3), 6);
    cr_assert_eq(unpack_skip_counted(&in, 2), 1);
    cr_assert_eq(unpack_skip_counted(&in, 2), 0, "a text that is cut");
}

Test(unpack, skips_one_value_and_stops_behind_it)
{
    struct cursor in = cursor_over((struct bytes)BYTES("\x82\xa1x\x93\x01\x02\x03\xa1y\xc0\x07"));
    cr_assert(unpack_skip(&in, 2));
    struct unpack_item item;
    cr_assert(unpack_next(&in, &item));
    cr_assert_eq(item.type, UNPACK_UINT);
    cr_assert_eq(item.natural, 7);
}

// --- unpack_scan ---

static const struct bytes MESSAGE = BYTES("\x93\xa3tag\x92\x92\xd7\x00\x00\x00\x00\x01\x00\x00\x00"
                                          "\x02\x81\xa1k\xcb\x3f\xf0\x00\x00\x00\x00"
                                          "\x00\x00\x92\x01\x80\x81\xa5"
                                          "chunk\xc4\x03"
                                          "abc");

Test(unpack, finds_the_end_however_the_bytes_arrive)
{
    for (size_t step = 1; step <= MESSAGE.size; step++) {
        struct unpack_scan scan = {0};
        size_t arrived = 0;
        enum unpack_result result = UNPACK_INCOMPLETE;
        while (result == UNPACK_INCOMPLETE) {
            cr_assert_lt(arrived, MESSAGE.size, "step %zu", step);
            arrived = arrived + step < MESSAGE.size ? arrived + step : MESSAGE.size;
            size_t before = scan.size;
            result = unpack_scan(&scan, bytes_of(MESSAGE.data, arrived), 1024);
            cr_assert_geq(scan.size, before, "step %zu: never walks back", step);
        }
        cr_assert_eq(result, UNPACK_COMPLETE, "step %zu", step);
        cr_assert_eq(scan.size, MESSAGE.size, "step %zu", step);
    }
}

Test(unpack, finds_the_first_of_two_messages)
{
    uint8_t two[200];
    memcpy(two, MESSAGE.data, MESSAGE.size);
    memcpy(two + MESSAGE.size, MESSAGE.data, MESSAGE.size);
    struct unpack_scan scan = {0};
    cr_assert_eq(unpack_scan(&scan, bytes_of(two, 2 * MESSAGE.size), 1024), UNPACK_COMPLETE);
    cr_assert_eq(scan.size, MESSAGE.size);
}

Test(unpack, takes_a_message_of_exactly_the_limit_and_no_larger)
{
    struct unpack_scan scan = {0};
    cr_assert_eq(unpack_scan(&scan, MESSAGE, MESSAGE.size), UNPACK_COMPLETE);
    for (size_t limit = 1; limit < MESSAGE.size; limit++) {
        scan = (struct unpack_scan){0};
        cr_assert_eq(unpack_scan(&scan, MESSAGE, limit), UNPACK_TOO_LARGE, "limit %zu", limit);
    }
}

static const struct bytes TOO_LARGE[] = {
    BYTES("\xdd\x04\x00\x00\x00"),
    BYTES("\xdf\x01\x00\x00\x00"),
    BYTES("\xdb\x00\x10\x00\x00"),
    BYTES("\xc6\xff\xff\xff\xff"),
    BYTES("\xc9\x00\x10\x00\x00\x05"),
    BYTES("\xdc\x02\x00\xdc\x02\x00"),  // 512 more after 511 others
    BYTES("\xdc\x03\xff\xda\x00\xff"),  // a body beside what its siblings need
};

Test(unpack, sees_a_too_large_message_from_its_claim)
{
    for (size_t i = 0; i < sizeof TOO_LARGE / sizeof TOO_LARGE[0]; i++) {
        struct unpack_scan scan = {0};
        cr_assert_eq(unpack_scan(&scan, TOO_LARGE[i], 1024), UNPACK_TOO_LARGE, "row %zu", i);
    }
}

Test(unpack, finds_nesting_beyond_the_limit_broken)
{
    uint8_t bytes[UNPACK_DEPTH_MAX + 2];
    struct unpack_scan scan = {0};
    cr_assert_eq(unpack_scan(&scan, nested(bytes, UNPACK_DEPTH_MAX), 1024), UNPACK_COMPLETE);
    scan = (struct unpack_scan){0};
    cr_assert_eq(unpack_scan(&scan, nested(bytes, UNPACK_DEPTH_MAX + 1), 1024), UNPACK_BROKEN);
    scan = (struct unpack_scan){0};
    cr_assert_eq(unpack_scan(&scan, (struct bytes)BYTES("\x92\x01\xc1"), 1024), UNPACK_BROKEN);
}

// --- against msgpack-c ---

static uint64_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Whether the reference finds one whole value, and how long it is. Inputs are small, so what it
// believes of declared counts costs little.
static bool
reference_size(const uint8_t *data, size_t size, size_t *out_size)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    *out_size = 0;
    bool is_whole = msgpack_unpack_next(&unpacked, (const char *)data, size, out_size) >=
                    MSGPACK_UNPACK_EXTRA_BYTES;
    msgpack_unpacked_destroy(&unpacked);
    return is_whole;
}

Test(unpack, agrees_with_the_reference_decoder_on_random_bytes)
{
    uint64_t state = 20261122;
    uint32_t whole = 0;
    for (uint32_t round = 0; round < 20000; round++) {
        uint8_t data[64];
        size_t size = 1 + random_next(&state) % sizeof data;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)random_next(&state);
        // Containers with claims of 16 and 32 bits would make the reference ask for gigabytes.
        for (size_t i = 0; i < size; i++)
            if (data[i] >= 0xdc && data[i] <= 0xdf)
                data[i] = 0x91;
        struct cursor in = cursor_over(bytes_of(data, size));
        bool is_skipped = unpack_skip(&in, UNPACK_DEPTH_MAX);
        size_t skipped = is_skipped ? (size_t)(in.at - data) : 0;
        size_t expected = 0;
        bool is_expected = reference_size(data, size, &expected);
        // The reference has its own depth limit (32 too) and takes 0xc1 for an error.
        cr_assert_eq(is_skipped, is_expected, "round %u", round);
        if (is_skipped)
            cr_assert_eq(skipped, expected, "round %u", round);
        struct unpack_scan scan = {0};
        enum unpack_result result = unpack_scan(&scan, bytes_of(data, size), 1024);
        cr_assert_eq(result == UNPACK_COMPLETE, is_expected, "round %u", round);
        whole += is_skipped;
    }
    cr_assert_gt(whole, 1000, "the test must have seen whole values");
}

// --- unpack_skip_alike ---

static const uint8_t alike_value[] = {
    0x92, 0xd7, 0x00, 1,   2,    3,   4,    5,    6,   7,    8,    0x87, 0xa1, 'a',
    0xa3, 'x',  'y',  'z', 0xa1, 'b', 0xd9, 2,    'u', 'v',  0xa1, 'c',  0x05, 0xa1,
    'd',  0xcd, 1,    2,   0xa1, 'e', 0xff, 0xa1, 'f', 0x93, 0xc0, 0xc3, 0xcb, 1,
    2,    3,    4,    5,   6,    7,   8,    0xa1, 'g', 0xc4, 2,    9,    9,
};

// One byte anywhere replaced by any other: whatever shape was learnt, it says what unpack_skip
// says, and moves as far.
Test(unpack, skips_alike_what_it_skips_alone)
{
    enum { SIZE = sizeof alike_value };
    uint8_t bytes[3 * SIZE];
    size_t fitted = 0;
    for (size_t at = 0; at < SIZE; at++) {
        for (int byte = 0; byte < 256; byte++) {
            struct unpack_shape shape;
            unpack_shape_begin(&shape);
            for (size_t i = 0; i < 3; i++)
                memcpy(bytes + i * SIZE, alike_value, SIZE);
            bytes[2 * SIZE + at] = (uint8_t)byte;
            struct cursor in = cursor_over(bytes_of(bytes, sizeof bytes));
            cr_assert(unpack_skip_alike(&in, &shape));
            cr_assert(unpack_skip_alike(&in, &shape));
            cr_assert_eq(shape.size, SIZE);
            struct cursor alone = in;
            struct cursor alike = in;
            uint32_t expected = unpack_skip_counted(&alone, UNPACK_DEPTH_MAX);
            cr_assert_eq(unpack_skip_alike(&alike, &shape), expected, "%d at %zu", byte, at);
            cr_assert_eq(alike.failed, alone.failed, "%d at %zu", byte, at);
            if (expected > 0)
                cr_assert_eq(alike.at, alone.at, "%d at %zu", byte, at);
            fitted += expected > 0 && alike.at == bytes + sizeof bytes;
        }
    }
    // At least the bytes of numbers, texts and times may be any.
    cr_assert_gt(fitted, 256 * 20);
}

// What fits but for its end is not taken for whole.
Test(unpack, skips_alike_nothing_that_is_cut_off)
{
    enum { SIZE = sizeof alike_value };
    for (size_t size = 0; size < SIZE; size++) {
        // Of its own size, so that a sanitizer sees a byte read beyond it.
        uint8_t *bytes = malloc(2 * SIZE + size);
        cr_assert_not_null(bytes);
        memcpy(bytes, alike_value, SIZE);
        memcpy(bytes + SIZE, alike_value, SIZE);
        memcpy(bytes + 2 * SIZE, alike_value, size);
        struct unpack_shape shape;
        unpack_shape_begin(&shape);
        struct cursor in = cursor_over(bytes_of(bytes, 2 * SIZE + size));
        cr_assert(unpack_skip_alike(&in, &shape));
        cr_assert(unpack_skip_alike(&in, &shape));
        cr_assert_not(unpack_skip_alike(&in, &shape), "%zu", size);
        free(bytes);
    }
}

// The smallest that has a shape, and what is too small or too large for one.
Test(unpack, skips_alike_at_every_size)
{
    static uint8_t bytes[6 * 300];
    for (size_t size = 2; size < 300; size++) {
        struct unpack_shape shape;
        unpack_shape_begin(&shape);
        for (size_t i = 0; i < 6; i++) {
            uint8_t *value = bytes + i * size;
            memset(value, 'x', size);
            value[0] = 0xc4;
            value[1] = (uint8_t)(size - 2);
        }
        if (size - 2 > UINT8_MAX)
            break;
        struct cursor in = cursor_over(bytes_of(bytes, 6 * size));
        for (size_t i = 0; i < 6; i++) {
            cr_assert(unpack_skip_alike(&in, &shape));
            cr_assert_eq(in.at, bytes + (i + 1) * size, "%zu", size);
        }
        bool has_shape = size >= UNPACK_SHAPE_MIN && size <= UNPACK_SHAPE_MAX;
        cr_assert_eq(shape.size, has_shape ? size : 0);
        cr_assert_not(unpack_skip_alike(&in, &shape));
    }
}
