#include "billing/money.h"

#include <criterion/criterion.h>

#include <string.h>

static struct decimal
decimal_of(const char *text)
{
    struct decimal value;
    bool is_rounded = false;
    cr_assert_eq(decimal_parse(bytes_text(text), &value, &is_rounded), STATUS_OK, "%s", text);
    return value;
}

Test(money, rounds_half_away_from_zero_to_the_minor_unit)
{
    static const struct {
        const char *currency, *amount;
        int64_t minor;
    } cases[] = {
        {"USD", "55.904675",            5590     },
        {"USD", "40.88665",             4089     },
        {"USD", "0.005",                1        },
        {"USD", "-0.005",               -1       },
        {"USD", "0.004999999999",       0        },
        {"USD", "-0.004999999999",      0        },
        {"USD", "2.675",                268      },
        {"USD", "1.005",                101      },
        {"USD", "0",                    0        },
        {"USD", "51.2345",              5123     },
        {"USD", "92233720368547758.07", INT64_MAX},
        {"JPY", "123",                  123      },
        {"JPY", "-232.5",               -233     },
        {"JPY", "232.5",                233      },
        {"JPY", "232.49",               232      },
        {"KWD", "123.450",              123450   },
        {"KWD", "0.0005",               1        },
        {"BHD", "1.2345",               1235     },
        {"EUR", "0.015",                2        },
        {"KRW", "0.4999",               0        },
    };
    struct error error;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t minor = 77;
        scoped(rational_done) struct rational amount = rational_of(decimal_of(cases[i].amount));
        const struct currency *currency = currency_find(bytes_text(cases[i].currency));
        cr_assert_not_null(currency);
        cr_assert_eq(money_round(&amount, currency, &minor, &error), STATUS_OK);
        cr_assert_eq(
            minor, cases[i].minor, "%s %s gave %ld", cases[i].amount, cases[i].currency, minor);
    }
}

Test(money, rounds_ratios)
{
    // Half of a cent exactly, and a hair to each side of it.
    static const struct {
        int64_t numerator, denominator, minor;
    } cases[] = {
        {1,  200, 1 },
        {-1, 200, -1},
        {1,  201, 0 },
        {1,  199, 1 },
        {1,  3,   33},
        {2,  3,   67},
    };
    struct error error;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t minor = 77;
        scoped(rational_done) struct rational amount =
            rational_of_ratio(cases[i].numerator, cases[i].denominator);
        cr_assert_eq(
            money_round(&amount, currency_find(bytes_text("USD")), &minor, &error), STATUS_OK);
        cr_assert_eq(minor, cases[i].minor);
    }
}

Test(money, refuses_what_does_not_fit)
{
    static const char *const amounts[] = {
        "92233720368547758.08", "-92233720368547758.08", "9999999999999999999"};
    struct error error;
    for (size_t i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        int64_t minor = 77;
        scoped(rational_done) struct rational amount = rational_of(decimal_of(amounts[i]));
        cr_assert_eq(
            money_round(&amount, currency_find(bytes_text("USD")), &minor, &error),
            STATUS_OVERFLOW);
        cr_assert_eq(minor, 77);
    }
    int64_t sum = INT64_MAX - 1;
    cr_assert(money_add(&sum, 1));
    cr_assert_not(money_add(&sum, 1));
    cr_assert_eq(sum, INT64_MAX);
}

Test(money, prints_with_the_currencys_decimals)
{
    static const struct {
        const char *currency;
        int64_t minor;
        const char *text;
    } cases[] = {
        {"USD", 9679,      "96.79"                },
        {"USD", 5,         "0.05"                 },
        {"USD", -5,        "-0.05"                },
        {"USD", 0,         "0.00"                 },
        {"USD", -12345,    "-123.45"              },
        {"JPY", 5,         "5"                    },
        {"JPY", -500,      "-500"                 },
        {"KWD", 123450,    "123.450"              },
        {"KWD", 1,         "0.001"                },
        {"USD", INT64_MIN, "-92233720368547758.08"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[MONEY_TEXT_MAX];
        size_t size =
            money_print(cases[i].minor, currency_find(bytes_text(cases[i].currency)), text);
        cr_assert_str_eq(text, cases[i].text);
        cr_assert_eq(size, strlen(text));
    }
}

Test(money, knows_the_active_currencies)
{
    static const char *const unknown[] = {"", "usd", "US", "USDX", "DEM", "XAU", "ZZZ", "CLF"};
    size_t count = 0;
    const struct currency *table = currency_table(&count);
    cr_assert_geq(count, 150);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(currency_find(bytes_text(table[i].code)), &table[i], "%s", table[i].code);
        cr_assert(table[i].decimals == 0 || table[i].decimals == 2 || table[i].decimals == 3);
        if (i > 0)
            cr_assert_lt(strcmp(table[i - 1].code, table[i].code), 0, "%s", table[i].code);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        cr_assert_null(currency_find(bytes_text(unknown[i])), "%s", unknown[i]);
    cr_assert_eq(currency_find(bytes_text("JPY"))->decimals, 0);
    cr_assert_eq(currency_find(bytes_text("KWD"))->decimals, 3);
}
