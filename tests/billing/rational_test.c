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
    rational_add_product(&c, decimal_of("0.000000000001"), decimal_of("1000000000000000000"));
    rational_subtract(&c, &c, &b);
    cr_assert_str_eq(rational_text(&c, &arena), "1000000");
    // The widest product: 19 digits by 10^-18.
    rational_subtract(&c, &c, &c);
    rational_add_product(
        &c,
        decimal_of("9999999999999999999.999999999999999999"),
        decimal_of("0.000000000000000001"));
    cr_assert_str_eq(rational_text(&c, &arena), "9.999999999999999999999999999999999999");
}
