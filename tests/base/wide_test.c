#include "base/wide.h"

#include <criterion/criterion.h>

// DECIMAL_ONE as a constant expression, which tables need and clang takes only so.
#define ONE ((int128)1000000000000000000)

struct print_row {
    int128 value;
    int64_t by;
    uint64_t denominator;
    uint32_t places;
    const char *text;
};

// clang-format off
static const struct print_row print_rows[] = {
    {0, 0, 1, 20, "0"},
    {ONE, 1, 1, 20, "1"},
    {-ONE, 1, 1, 20, "-1"},
    {1, 1, 1, 20, "0.000000000000000001"},
    {1, 1, 2, 20, "0.0000000000000000005"},
    {1, 1, 2, 18, "0"},                         // half to even
    {3, 1, 2, 18, "0.000000000000000002"},      // 1.5 to 2
    {-3, 1, 2, 18, "-0.000000000000000002"},
    {-1, 1, 2, 18, "0"},                        // no "-0"
    {ONE, 1, 3, 20, "0.33333333333333333333"},
    {ONE, 2, 3, 20, "0.66666666666666666667"},
    {ONE, 2, 3, 0, "1"},
    {ONE, 1, 2, 0, "0"},
    {ONE, 3, 2, 0, "2"},
    {ONE, 999, 1000, 2, "1"},                   // the carry goes into the whole part
    {ONE, -1999, 1000, 2, "-2"},
    {ONE, 1, INT64_MAX, 20, "0.00000000000000000011"},
    {ONE * 9, INT64_MAX, 1, 20, "83010348331692982263"},
    {123 * ONE + ONE / 2, 1, 2, 20, "61.75"},
};
// clang-format on

Test(wide, prints_exact_fractions)
{
    for (size_t i = 0; i < sizeof print_rows / sizeof print_rows[0]; i++) {
        const struct print_row *row = &print_rows[i];
        char text[WIDE_TEXT_MAX];
        struct wide value = wide_multiply(row->value, row->by);
        size_t size = wide_divide_print(value, row->denominator, row->places, text);
        cr_assert_str_eq(text, row->text, "row %zu: %s", i, text);
        cr_assert_eq(size, strlen(text));
    }
}

struct size_row {
    int128 value;
    size_t size;
};

static const struct size_row size_rows[] = {
    {0,             0 },
    {1,             1 },
    {-1,            1 },
    {127,           1 },
    {128,           2 },
    {-128,          1 },
    {-129,          2 },
    {INT64_MAX,     8 },
    {INT64_MIN,     8 },
    {ONE * 1000000, 11},
};

Test(wide, writes_no_byte_too_many)
{
    for (size_t i = 0; i < sizeof size_rows / sizeof size_rows[0]; i++) {
        uint8_t bytes[WIDE_SIZE];
        struct wide value = wide_from_int128(size_rows[i].value);
        size_t size = wide_write(&value, bytes);
        cr_assert_eq(size, size_rows[i].size, "row %zu: %zu", i, size);
        struct wide back = wide_read(bytes_of(bytes, size));
        cr_assert_eq(wide_compare(&value, &back), 0);
    }
}

Test(wide, reads_back_any_width)
{
    for (int shift = 0; shift < 255; shift++) {
        for (int sign = 0; sign < 2; sign++) {
            struct wide value = {{0}};
            value.limbs[shift / 64] = 1ULL << (shift % 64);
            if (sign)
                value = wide_negate(value);
            uint8_t bytes[WIDE_SIZE];
            struct wide back = wide_read(bytes_of(bytes, wide_write(&value, bytes)));
            cr_assert_eq(wide_compare(&value, &back), 0, "2^%d", shift);
            cr_assert_eq(wide_is_negative(&back), sign == 1);
        }
    }
}

Test(wide, says_what_fits_into_128_bits)
{
    const int128 max = (int128)(((uint128)1 << 127) - 1);
    int128 out = 7;
    struct wide value = wide_from_int128(max);
    cr_assert(wide_to_int128(&value, &out));
    cr_assert(out == max);
    wide_add_int128(&value, 1);
    cr_assert_not(wide_to_int128(&value, &out));
    cr_assert(out == max);
    wide_add_int128(&value, -1);
    cr_assert(wide_to_int128(&value, &out));
    value = wide_from_int128(-max - 1);
    cr_assert(wide_to_int128(&value, &out) && out == -max - 1);
    wide_add_int128(&value, -1);
    cr_assert_not(wide_to_int128(&value, &out));
}

Test(wide, orders_by_value)
{
    static const int64_t values[] = {INT64_MIN, -5, -1, 0, 1, 5, INT64_MAX};
    const size_t count = sizeof values / sizeof values[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            struct wide a = wide_multiply(ONE, values[i]);
            struct wide b = wide_multiply(ONE, values[k]);
            cr_assert_eq(wide_compare(&a, &b), (i > k) - (i < k));
        }
    }
}
