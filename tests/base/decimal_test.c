#include "base/decimal.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"

#include <criterion/criterion.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct parse_row {
    const char *text;
    const char *printed;
    bool is_rounded;
};

// Each one is also read with its sign turned.
static const struct parse_row accepted[] = {
    {"0",                                       "0",                                      false},
    {"-0",                                      "0",                                      false},
    {"+0.000",                                  "0",                                      false},
    {"1",                                       "1",                                      false},
    {"+1",                                      "1",                                      false},
    {"-12",                                     "-12",                                    false},
    {"0001.500",                                "1.5",                                    false},
    {"0.1",                                     "0.1",                                    false},
    {"-0.000000000000000001",                   "-0.000000000000000001",                  false},
    {"1.0000000000000000000000000000",          "1",                                      false},
    {"9999999999999999999.999999999999999999",  "9999999999999999999.999999999999999999", false},
    {"00000000000000000000000000000000007",     "7",                                      false},
 // exponents
    {"1e0",                                     "1",                                      false},
    {"1e18",                                    "1000000000000000000",                    false},
    {"1E+18",                                   "1000000000000000000",                    false},
    {"1e-18",                                   "0.000000000000000001",                   false},
    {"12.5e1",                                  "125",                                    false},
    {"12.5e-1",                                 "1.25",                                   false},
    {"0.00001e23",                              "1000000000000000000",                    false},
    {"10000000000000000000000e-4",              "1000000000000000000",                    false},
    {"0e999999999",                             "0",                                      false},
    {"0e-999999999999999999999999",             "0",                                      false},
    {"1e-400000000",                            "0",                                      true },
    {"1e-99999999999999999999999999",           "0",                                      true },
 // half-even at the 18th place, and what lies behind it
    {"5e-19",                                   "0",                                      true },
    {"-5e-19",                                  "0",                                      true },
    {"5.0000000000000000000000000000001e-19",   "0.000000000000000001",                   true },
    {"4.9999999999999999999999999999999e-19",   "0",                                      true },
    {"9e-20",                                   "0",                                      true },
    {"9.99e-20",                                "0",                                      true },
    {"1.5e-18",                                 "0.000000000000000002",                   true },
    {"2.5e-18",                                 "0.000000000000000002",                   true },
    {"-2.5e-18",                                "-0.000000000000000002",                  true },
    {"2.50000000000000000001e-18",              "0.000000000000000003",                   true },
    {"3.5e-18",                                 "0.000000000000000004",                   true },
    {"0.9999999999999999995",                   "1",                                      true },
    {"0.9999999999999999994999",                "0.999999999999999999",                   true },
    {"9999999999999999999.9999999999999999985", "9999999999999999999.999999999999999998", true },
    {"9999999999999999999.9999999999999999994", "9999999999999999999.999999999999999999", true },
};

static void
check_accepted(const char *text, const char *printed, bool is_rounded)
{
    struct decimal value = {77};
    bool found_rounded = false;
    cr_assert_eq(decimal_parse(bytes_text(text), &value, &found_rounded), STATUS_OK, "%s", text);
    char found[DECIMAL_TEXT_MAX];
    cr_assert_eq(decimal_print(value, found), strlen(printed), "%s", text);
    cr_assert_str_eq(found, printed, "%s", text);
    cr_assert_eq(found_rounded, is_rounded, "%s", text);
}

static char *
turned(struct arena *arena, const char *text)
{
    if (text[0] == '-')
        return arena_text(arena, text + 1);
    return arena_format(arena, "-%s", text[0] == '+' ? text + 1 : text);
}

Test(decimal, reads_and_prints)
{
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        const struct parse_row *row = &accepted[i];
        check_accepted(row->text, row->printed, row->is_rounded);
        bool is_zero = strcmp(row->printed, "0") == 0;
        const char *printed = is_zero ? "0" : turned(&arena, row->printed);
        check_accepted(turned(&arena, row->text), printed, row->is_rounded);
    }
}

struct refuse_row {
    const char *text;
    enum status status;
};

static const struct refuse_row refused[] = {
    {"",                                         STATUS_INVALID },
    {"+",                                        STATUS_INVALID },
    {"-",                                        STATUS_INVALID },
    {".",                                        STATUS_INVALID },
    {".5",                                       STATUS_INVALID },
    {"-.5",                                      STATUS_INVALID },
    {"5.",                                       STATUS_INVALID },
    {"5.e1",                                     STATUS_INVALID },
    {"1e",                                       STATUS_INVALID },
    {"1e+",                                      STATUS_INVALID },
    {"1e-",                                      STATUS_INVALID },
    {"1e1.5",                                    STATUS_INVALID },
    {"e5",                                       STATUS_INVALID },
    {"--1",                                      STATUS_INVALID },
    {"+-1",                                      STATUS_INVALID },
    {" 1",                                       STATUS_INVALID },
    {"1 ",                                       STATUS_INVALID },
    {"1\n",                                      STATUS_INVALID },
    {"1,5",                                      STATUS_INVALID },
    {"1_000",                                    STATUS_INVALID },
    {"0x10",                                     STATUS_INVALID },
    {"1..2",                                     STATUS_INVALID },
    {"1.2.3",                                    STATUS_INVALID },
    {"NaN",                                      STATUS_INVALID },
    {"nan",                                      STATUS_INVALID },
    {"inf",                                      STATUS_INVALID },
    {"-Infinity",                                STATUS_INVALID },
    {"\xD9\xA1",                                 STATUS_INVALID },
    {"1e19",                                     STATUS_OVERFLOW},
    {"-1e19",                                    STATUS_OVERFLOW},
    {"10000000000000000000",                     STATUS_OVERFLOW},
    {"0.001e22",                                 STATUS_OVERFLOW},
    {"9999999999999999999.9999999999999999995",  STATUS_OVERFLOW},
    {"-9999999999999999999.9999999999999999999", STATUS_OVERFLOW},
    {"1e999999999",                              STATUS_OVERFLOW},
    {"1e99999999999999999999999999999",          STATUS_OVERFLOW},
    {"340282366920938463463374607431768211456",  STATUS_OVERFLOW},
};

Test(decimal, refuses_and_leaves_the_result_alone)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct decimal value = {77};
        bool is_rounded = false;
        enum status status = decimal_parse(bytes_text(refused[i].text), &value, &is_rounded);
        cr_assert_eq(status, refused[i].status, "%s", refused[i].text);
        cr_assert(value.units == 77, "%s", refused[i].text);
        cr_assert_not(is_rounded, "%s", refused[i].text);
    }
}

Test(decimal, never_clears_the_rounded_mark)
{
    struct decimal value;
    bool is_rounded = true;
    cr_assert_eq(decimal_parse(bytes_text("1"), &value, &is_rounded), STATUS_OK);
    cr_assert(is_rounded);
}

Test(decimal, sees_a_digit_however_far_behind)
{
    scoped(arena_done) struct arena arena = {0};
    enum { SIZE = 1 << 20 };
    char *text = arena_take(&arena, SIZE, 1);
    memset(text, '0', SIZE);
    memcpy(text, "0.0000000000000000005", 21);
    struct decimal value;
    bool is_rounded = false;
    cr_assert_eq(decimal_parse(bytes_of(text, SIZE), &value, &is_rounded), STATUS_OK);
    cr_assert(value.units == 0 && is_rounded);
    text[SIZE - 1] = '1';
    cr_assert_eq(decimal_parse(bytes_of(text, SIZE), &value, &is_rounded), STATUS_OK);
    cr_assert(value.units == 1);
    // The exponent takes back what the zeros moved.
    memset(text, '0', SIZE);
    text[1] = '.';
    memcpy(text + SIZE - 9, "7e1048566", 9);
    is_rounded = false;
    cr_assert_eq(decimal_parse(bytes_of(text, SIZE), &value, &is_rounded), STATUS_OK);
    cr_assert(value.units == DECIMAL_ONE.units * 7, "a shift by all zeros");
    cr_assert_not(is_rounded);
}

Test(decimal, prints_every_int128)
{
    static const struct {
        int128 units;
        const char *text;
    } rows[] = {
        {0,                                 "0"                                        },
        {1,                                 "0.000000000000000001"                     },
        {-1,                                "-0.000000000000000001"                    },
        {(int128)(((uint128)1 << 127) - 1), "170141183460469231731.687303715884105727" },
        {(int128)((uint128)1 << 127),       "-170141183460469231731.687303715884105728"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[DECIMAL_TEXT_MAX];
        struct decimal value = {rows[i].units};
        cr_assert_eq(decimal_print(value, text), strlen(rows[i].text));
        cr_assert_str_eq(text, rows[i].text);
    }
}

Test(decimal, adds_to_the_end_of_int128_and_no_further)
{
    struct decimal most = {(int128)(((uint128)1 << 127) - 1)};
    struct decimal least = {(int128)((uint128)1 << 127)};
    struct decimal sum = most;
    cr_assert_not(decimal_add(&sum, (struct decimal){1}));
    cr_assert(sum.units == most.units);
    cr_assert(decimal_add(&sum, (struct decimal){-1}));
    cr_assert(decimal_add(&sum, (struct decimal){1}));
    cr_assert(sum.units == most.units);
    sum = least;
    cr_assert_not(decimal_add(&sum, (struct decimal){-1}));
    cr_assert(sum.units == least.units);
    cr_assert_eq(decimal_compare(least, most), -1);
    cr_assert_eq(decimal_compare(most, least), 1);
    cr_assert_eq(decimal_compare(most, most), 0);
}

Test(decimal, reads_integers)
{
    char text[DECIMAL_TEXT_MAX];
    (void)decimal_print(decimal_from_int(INT64_MIN), text);
    cr_assert_str_eq(text, "-9223372036854775808");
    struct decimal value = {77};
    cr_assert_eq(decimal_from_uint(9999999999999999999u, &value), STATUS_OK);
    (void)decimal_print(value, text);
    cr_assert_str_eq(text, "9999999999999999999");
    cr_assert_eq(decimal_from_uint(10000000000000000000u, &value), STATUS_OVERFLOW);
    cr_assert_eq(decimal_from_uint(UINT64_MAX, &value), STATUS_OVERFLOW);
    (void)decimal_print(value, text);
    cr_assert_str_eq(text, "9999999999999999999");
}

struct double_row {
    double value;
    const char *printed;
    bool is_rounded;
};

static const struct double_row doubles[] = {
    {0.0,                     "0",                    false},
    {-0.0,                    "0",                    false},
    {0.1,                     "0.1",                  false},
    {-0.1,                    "-0.1",                 false},
    {0.30000000000000004,     "0.30000000000000004",  false},
    {1.0 / 3.0,               "0.3333333333333333",   false},
    {2.0 / 3.0,               "0.6666666666666666",   false},
    {123456.789,              "123456.789",           false},
    {1e18,                    "1000000000000000000",  false},
    {9007199254740991.0,      "9007199254740991",     false},
    {9007199254740993.0,      "9007199254740992",     false},
    {1152921504606846976.0,   "1152921504606847000",  false},
    {9999999999999997952.0,   "9999999999999998000",  false},
    {1e-18,                   "0.000000000000000001", false},
    {5e-19,                   "0",                    true },
    {1.5e-18,                 "0.000000000000000002", true },
    {2.5e-18,                 "0.000000000000000002", true },
    {4.9406564584124654e-324, "0",                    true },
    {2.2250738585072014e-308, "0",                    true },
    {1e-9,                    "0.000000001",          false},
    {123456789.123456789,     "123456789.12345679",   false},
};

Test(decimal, a_double_is_its_shortest_decimal)
{
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        struct decimal value = {77};
        bool is_rounded = false;
        char text[DECIMAL_TEXT_MAX];
        cr_assert_eq(
            decimal_from_double(doubles[i].value, &value, &is_rounded), STATUS_OK, "row %zu", i);
        (void)decimal_print(value, text);
        cr_assert_str_eq(text, doubles[i].printed, "row %zu", i);
        cr_assert_eq(is_rounded, doubles[i].is_rounded, "row %zu", i);
    }
}

Test(decimal, a_float_is_the_shortest_decimal_of_its_own_width)
{
    static const struct {
        float value;
        const char *printed;
    } rows[] = {
        {0.1F,         "0.1"                 },
        {-0.0F,        "0"                   },
        {0.3F,         "0.3"                 },
        {1.0F / 3.0F,  "0.33333334"          },
        {16777216.0F,  "16777216"            },
        {123456.79F,   "123456.79"           },
        {3.4e-5F,      "0.000034"            },
        {9.999999e18F, "9999999000000000000" },
        {8388608.5F,   "8388608"             },
        {1e-18F,       "0.000000000000000001"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct decimal value = {77};
        bool is_rounded = false;
        char text[DECIMAL_TEXT_MAX];
        cr_assert_eq(
            decimal_from_float(rows[i].value, &value, &is_rounded), STATUS_OK, "row %zu", i);
        (void)decimal_print(value, text);
        cr_assert_str_eq(text, rows[i].printed, "row %zu", i);
    }
}

Test(decimal, refuses_floats_that_are_no_quantity)
{
    struct decimal value = {77};
    bool is_rounded = false;
    cr_assert_eq(decimal_from_double((double)NAN, &value, &is_rounded), STATUS_INVALID);
    cr_assert_eq(decimal_from_double((double)INFINITY, &value, &is_rounded), STATUS_INVALID);
    cr_assert_eq(decimal_from_double(-(double)INFINITY, &value, &is_rounded), STATUS_INVALID);
    cr_assert_eq(decimal_from_float(NAN, &value, &is_rounded), STATUS_INVALID);
    cr_assert_eq(decimal_from_float(-INFINITY, &value, &is_rounded), STATUS_INVALID);
    cr_assert_eq(decimal_from_double(1e19, &value, &is_rounded), STATUS_OVERFLOW);
    cr_assert_eq(decimal_from_double(-1e300, &value, &is_rounded), STATUS_OVERFLOW);
    // The float nearest to 10^19 lies below it, but its shortest decimal is 1e+19.
    cr_assert_eq(decimal_from_float(1e19F, &value, &is_rounded), STATUS_OVERFLOW);
    cr_assert(value.units == 77);
    cr_assert_not(is_rounded);
}

// What DESIGN section 4 defines, without any short cut: the fewest digits that read back.
static enum status
oracle_double(double value, struct decimal *out, bool *out_is_rounded)
{
    char text[64] = "";
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return decimal_parse(bytes_text(text), out, out_is_rounded);
}

static enum status
oracle_float(float value, struct decimal *out, bool *out_is_rounded)
{
    char text[64] = "";
    for (int digits = 1; digits <= 9; digits++) {
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return decimal_parse(bytes_text(text), out, out_is_rounded);
}

static void
check_double(double value)
{
    struct decimal expected = {77};
    struct decimal found = {77};
    bool expected_rounded = false;
    bool found_rounded = false;
    enum status status = oracle_double(value, &expected, &expected_rounded);
    cr_assert_eq(decimal_from_double(value, &found, &found_rounded), status, "%a", value);
    cr_assert(found.units == expected.units, "%a", value);
    cr_assert_eq(found_rounded, expected_rounded, "%a", value);
    char text[DECIMAL_TEXT_MAX];
    (void)decimal_print(found, text);
    if (status == STATUS_OK && !found_rounded)
        cr_assert(strtod(text, NULL) == value, "%a does not read back", value);
}

static void
check_float(float value)
{
    struct decimal expected = {77};
    struct decimal found = {77};
    bool expected_rounded = false;
    bool found_rounded = false;
    enum status status = oracle_float(value, &expected, &expected_rounded);
    cr_assert_eq(decimal_from_float(value, &found, &found_rounded), status, "%a", (double)value);
    cr_assert(found.units == expected.units, "%a", (double)value);
    cr_assert_eq(found_rounded, expected_rounded, "%a", (double)value);
    char text[DECIMAL_TEXT_MAX];
    (void)decimal_print(found, text);
    if (status == STATUS_OK && !found_rounded)
        cr_assert(strtof(text, NULL) == value, "%a does not read back", (double)value);
}

static uint64_t
random_next(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15u;
    return hash64(bytes_of(state, sizeof *state), 7);
}

Test(decimal, random_doubles_and_floats_equal_the_oracle)
{
    uint64_t state = 20231116;
    for (int i = 0; i < 60000; i++) {
        uint64_t bits = random_next(&state);
        // Half of them anywhere, half of them where the decimals live.
        if (i % 2 == 0)
            bits =
                (bits & 0x800FFFFFFFFFFFFFu) | ((0x3C0 + bits % 0x80) << 52 & 0x7FF0000000000000u);
        double wide;
        memcpy(&wide, &bits, sizeof wide);
        if (isfinite(wide))
            check_double(wide);
        uint32_t narrow_bits = (uint32_t)(bits >> 16);
        float narrow;
        memcpy(&narrow, &narrow_bits, sizeof narrow);
        if (isfinite(narrow))
            check_float(narrow);
    }
}

Test(decimal, numbers_people_write_equal_the_oracle)
{
    static const double scales[] = {1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e9, 1e12};
    uint64_t state = 42;
    for (int i = 0; i < 40000; i++) {
        uint64_t random = random_next(&state);
        double whole = (double)(random >> (11 + random % 50));
        double value = whole / scales[random % 9];
        check_double(value);
        check_float((float)value);
        double sum = value + 0.1;
        check_double(sum);
        check_double(nextafter(value, 0));
    }
}

// The shortest decimal, were it only searched by the closest of each length, could be missed at
// powers of two: there a neighbour of the closest may be the only one that reads back. Its 18
// places must be the same.
static void
check_power_of_two(double value)
{
    check_double(value);
    check_double(-value);
    struct decimal found;
    bool is_rounded = false;
    cr_assert_eq(decimal_from_double(value, &found, &is_rounded), STATUS_OK);
    char text[64];
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            return;
        // The next decimal of this length: one more in the last place of the mantissa.
        char *last = strchr(text, 'e') - 1;
        if (*last == '9')
            continue;
        *last += 1;
        if (strtod(text, NULL) != value)
            continue;
        struct decimal neighbour;
        cr_assert_eq(decimal_parse(bytes_text(text), &neighbour, &is_rounded), STATUS_OK);
        cr_assert(neighbour.units == found.units, "%s", text);
        return;
    }
}

Test(decimal, powers_of_two_have_no_shorter_neighbour)
{
    for (int exponent = -1074; exponent <= 63; exponent++)
        check_power_of_two(ldexp(1, exponent));
    for (int exponent = -149; exponent <= 63; exponent++) {
        check_float(ldexpf(1, exponent));
        check_float(nextafterf(ldexpf(1, exponent), 0));
        check_float(nextafterf(ldexpf(1, exponent), INFINITY));
    }
}

Test(decimal, huge_exponents_take_no_time)
{
    int64_t began_ns = clock_monotonic_ns();
    for (int i = 0; i < 1000; i++) {
        struct decimal value;
        bool is_rounded = false;
        cr_assert_eq(decimal_parse(bytes_text("1e-400000000"), &value, &is_rounded), STATUS_OK);
        cr_assert_eq(
            decimal_parse(bytes_text("1e999999999"), &value, &is_rounded), STATUS_OVERFLOW);
    }
    cr_assert_lt(clock_monotonic_ns() - began_ns, 5 * SECOND_NS);
}
