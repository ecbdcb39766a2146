#include "billing/rational.h"

#include <criterion/criterion.h>

static struct decimal
decimal_of(const char *text)
{
    struct decimal value;
    bool is_rounded = false;
    cr_assert_eq(decimal_parse(bytes_text(text), &value, &is_rounded), STATUS_OK, "%s", text);
    return value;
}

Test(rational, prints_decimals_as_they_were)
{
    static const char *const texts[] = {
        "0",
        "1",
        "-1",
        "0.1",
        "-0.1",
        "10",
        "100",
        "55.904675",
        "0.000000000000000001",
        "-9999999999999999999.999999999999999999",
        "1000000000000000000",
        "0.05"};
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        scoped(rational_done) struct rational value = rational_of(decimal_of(texts[i]));
        cr_assert_str_eq(rational_text(&value, &arena), texts[i]);
    }
}

Test(rational, prints_ratios_exactly_or_to_twenty_places_half_even)
{
    static const struct {
        int64_t numerator, denominator;
        const char *text;
    } cases[] = {
        {1,         3,         "0.33333333333333333333"     },
        {2,         3,         "0.66666666666666666667"     },
        {-2,        3,         "-0.66666666666666666667"    },
        {1,         4,         "0.25"                       },
        {10,        4,         "2.5"                        },
        {-7,        -8,        "0.875"                      },
        {1,         1024,      "0.0009765625"               },
        {0,         7,         "0"                          },
        {1,         INT64_MAX, "0.00000000000000000011"     },
        {INT64_MIN, 1,         "-9223372036854775808"       },
        {1,         -7,        "-0.14285714285714285714"    },
        {1,         33554432,  "0.0000000298023223876953125"},
    };
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(rational_done) struct rational value =
            rational_of_ratio(cases[i].numerator, cases[i].denominator);
        cr_assert_str_eq(rational_text(&value, &arena), cases[i].text);
    }
}

Test(rational, computes_exactly)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(rational_done) struct rational a = rational_of_ratio(1, 3);
    scoped(rational_done) struct rational b = rational_of_ratio(1, 6);
    scoped(rational_done) struct rational c = rational_zero();
    rational_add(&c, &a, &b);
    cr_assert_str_eq(rational_text(&c, &arena), "0.5");
    rational_subtract(&c, &b, &a);
    cr_assert_eq(rational_sign(&c), -1);
    rational_divide(&c, &a, &b);
    cr_assert_str_eq(rational_text(&c, &arena), "2");
    rational_multiply(&c, &c, &b);
    cr_assert_eq(rational_compare(&c, &a), 0);
    rational_copy(&c, &b);
    scoped(rational_done) struct rational small = rational_of(decimal_of("0.000000000001"));
    scoped(rational_done) struct rational large = rational_of(decimal_of("1000000000000000000"));
    rational_multiply(&c, &small, &large);
    cr_assert_str_eq(rational_text(&c, &arena), "1000000");
    // The widest product: 19 digits by 10^-18.
    small = rational_of(decimal_of("0.000000000000000001"));
    large = rational_of(decimal_of("9999999999999999999.999999999999999999"));
    rational_multiply(&c, &small, &large);
    cr_assert_str_eq(rational_text(&c, &arena), "9.999999999999999999999999999999999999");
}

static struct rational
number_of(const char *text)
{
    struct rational value;
    cr_assert_eq(rational_parse(bytes_text(text), &value), STATUS_OK, "%s", text);
    return value;
}

Test(rational, keeps_every_digit_of_a_text)
{
    static const char *const longest =
        "9876543210987654321098765432109876543210.0123456789012345678901234567890123456789";
    static const char *const least = "-0.0000000000000000000000000000000000000001";
    static const struct {
        const char *text, *printed;
    } cases[] = {
        {"0",              "0"                                       },
        {"-0",             "0"                                       },
        {"+7",             "7"                                       },
        {".5",             "0.5"                                     },
        {"00012.3400",     "12.34"                                   },
        {"1e3",            "1000"                                    },
        {"-25E-4",         "-0.0025"                                 },
        {"0e999999999999", "0"                                       },
        {"1e39",           "1000000000000000000000000000000000000000"},
    };
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(rational_done) struct rational value = number_of(cases[i].text);
        cr_assert_str_eq(rational_text(&value, &arena), cases[i].printed);
    }
    scoped(rational_done) struct rational big = number_of(longest);
    cr_assert_str_eq(rational_text(&big, &arena), longest);
    scoped(rational_done) struct rational tiny = number_of(least);
    cr_assert_str_eq(rational_text(&tiny, &arena), least);
}

Test(rational, refuses_what_is_no_number)
{
    static const struct {
        const char *text;
        enum status status;
    } cases[] = {
        {"",                                            STATUS_INVALID },
        {"-",                                           STATUS_INVALID },
        {".",                                           STATUS_INVALID },
        {"1.",                                          STATUS_INVALID },
        {"1.2.3",                                       STATUS_INVALID },
        {"1e",                                          STATUS_INVALID },
        {"1e+",                                         STATUS_INVALID },
        {"1e5x",                                        STATUS_INVALID },
        {"--1",                                         STATUS_INVALID },
        {"nan",                                         STATUS_INVALID },
        {" 1",                                          STATUS_INVALID },
        {"1 ",                                          STATUS_INVALID },
        {"1e40",                                        STATUS_OVERFLOW},
        {"1e-41",                                       STATUS_OVERFLOW},
        {"12345678901234567890123456789012345678901",   STATUS_OVERFLOW},
        {"0.12345678901234567890123456789012345678901", STATUS_OVERFLOW},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rational value = {0};
        cr_assert_eq(
            rational_parse(bytes_text(cases[i].text), &value),
            cases[i].status,
            "%s",
            cases[i].text);
    }
}

// Each value once as it is and once with a denominator that only GMP holds: the ways must agree.
Test(rational, rounds_alike_in_both_forms)
{
    static const struct {
        const char *text;
        int32_t places;
        enum rounding rounding;
        const char *expected;
    } cases[] = {
        {"2.5",      0,  ROUND_HALF_UP,   "3"     },
        {"-2.5",     0,  ROUND_HALF_UP,   "-3"    },
        {"2.5",      0,  ROUND_HALF_EVEN, "2"     },
        {"3.5",      0,  ROUND_HALF_EVEN, "4"     },
        {"-2.5",     0,  ROUND_HALF_EVEN, "-2"    },
        {"2.5",      0,  ROUND_HALF_DOWN, "2"     },
        {"-2.51",    0,  ROUND_HALF_DOWN, "-3"    },
        {"2.01",     0,  ROUND_UP,        "3"     },
        {"-2.01",    0,  ROUND_UP,        "-3"    },
        {"2.99",     0,  ROUND_DOWN,      "2"     },
        {"-2.99",    0,  ROUND_DOWN,      "-2"    },
        {"2.01",     0,  ROUND_CEIL,      "3"     },
        {"-2.99",    0,  ROUND_CEIL,      "-2"    },
        {"2.99",     0,  ROUND_FLOOR,     "2"     },
        {"-2.01",    0,  ROUND_FLOOR,     "-3"    },
        {"7",        0,  ROUND_CEIL,      "7"     },
        {"123.456",  -2, ROUND_CEIL,      "200"   },
        {"-123.456", -2, ROUND_FLOOR,     "-200"  },
        {"149.999",  -2, ROUND_HALF_UP,   "100"   },
        {"1.00005",  4,  ROUND_HALF_UP,   "1.0001"},
        {"0.004",    2,  ROUND_HALF_UP,   "0"     },
    };
    scoped(arena_done) struct arena arena = {0};
    scoped(rational_done) struct rational third = rational_of_ratio(1, 3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(rational_done) struct rational value = number_of(cases[i].text);
        scoped(rational_done) struct rational big = number_of(cases[i].text);
        // What was a fraction stays in GMP unless it is whole again.
        rational_add(&big, &big, &third);
        rational_subtract(&big, &big, &third);
        rational_round(&value, &value, cases[i].places, cases[i].rounding);
        rational_round(&big, &big, cases[i].places, cases[i].rounding);
        cr_assert_str_eq(rational_text(&value, &arena), cases[i].expected, "case %zu", i);
        cr_assert_str_eq(rational_text(&big, &arena), cases[i].expected, "case %zu", i);
    }
}

Test(rational, divides_into_whole_numbers)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(rational_done) struct rational units = number_of("111.5");
    scoped(rational_done) struct rational size = number_of("10");
    scoped(rational_done) struct rational out = rational_zero();
    rational_divide_whole(&out, &units, &size, ROUND_CEIL);
    cr_assert_str_eq(rational_text(&out, &arena), "12");
    rational_divide(&size, &size, &units);  // 20/223: GMP's
    rational_divide_whole(&out, &units, &size, ROUND_FLOOR);
    cr_assert_str_eq(rational_text(&out, &arena), "1243");
}

Test(rational, prints_with_fixed_places)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(rational_done) struct rational third = rational_of_ratio(-1, 3);
    scoped(rational_done) struct rational small = number_of("0.001");
    cr_assert_str_eq(rational_text_places(&third, 2, &arena), "-0.33");
    cr_assert_str_eq(rational_text_places(&third, 0, &arena), "0");
    cr_assert_str_eq(rational_text_places(&small, 2, &arena), "0.00");
    cr_assert_str_eq(rational_text_places(&small, 5, &arena), "0.00100");
}
