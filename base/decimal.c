#include "base/decimal.h"

#include "base/assert.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    INTEGER_DIGITS_MAX = 19,  // |value| < 10^19
    UNITS_DIGITS_MAX = INTEGER_DIGITS_MAX + DECIMAL_PLACES,
};

// Beyond any length of text, so that an exponent cut to it decides the same as the whole one.
static const int64_t EXPONENT_MAX = (int64_t)1 << 60;

static const uint64_t ONE_UNITS = 1000000000000000000u;

// 10^37: the first number of units that is out of range.
static uint128
units_end(void)
{
    return (uint128)ONE_UNITS * ONE_UNITS * 10;
}

// A number as it is written. Its value is 0.DDDD * 10^point, D being the digits of `whole` and then
// of `fraction`.
struct written {
    bool is_negative;
    struct bytes whole;
    struct bytes fraction;
    int64_t point;
};

static bool
is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static uint8_t
peek(const struct cursor *in)
{
    return cursor_left(in) > 0 ? in->at[0] : 0;
}

// One digit or more; none fails the cursor.
static struct bytes
take_digits(struct cursor *in)
{
    size_t count = 0;
    while (count < cursor_left(in) && is_digit(in->at[count]))
        count++;
    struct bytes digits = cursor_take(in, count);
    if (count == 0)
        in->failed = true;
    return digits;
}

static bool
take_sign(struct cursor *in)
{
    bool is_negative = peek(in) == '-';
    if (is_negative || peek(in) == '+')
        (void)cursor_u8(in);
    return is_negative;
}

static int64_t
take_exponent(struct cursor *in)
{
    bool is_negative = take_sign(in);
    struct bytes digits = take_digits(in);
    int64_t value = 0;
    for (size_t i = 0; i < digits.size; i++)
        if (value < EXPONENT_MAX / 10)
            value = value * 10 + (digits.data[i] - '0');
        else
            value = EXPONENT_MAX;
    return is_negative ? -value : value;
}

// [+-]digits[.digits][(e|E)[+-]digits]
static bool
written_read(struct bytes text, struct written *out)
{
    struct cursor in = cursor_over(text);
    struct written read = {.is_negative = take_sign(&in)};
    read.whole = take_digits(&in);
    if (peek(&in) == '.') {
        (void)cursor_u8(&in);
        read.fraction = take_digits(&in);
    }
    read.point = (int64_t)read.whole.size;
    if (peek(&in) == 'e' || peek(&in) == 'E') {
        (void)cursor_u8(&in);
        read.point += take_exponent(&in);
    }
    if (cursor_failed(&in) || cursor_left(&in) > 0)
        return false;
    *out = read;
    return true;
}

static uint8_t
written_digit(const struct written *written, size_t index)
{
    uint8_t text = index < written->whole.size
                       ? written->whole.data[index]
                       : written->fraction.data[index - written->whole.size];
    return (uint8_t)(text - '0');
}

// Digit by digit: the first `kept` ones make the number, the next one and whether anything follows
// it decide the rounding, half to even.
static uint128
units_round(const struct written *written, size_t from, int64_t kept, bool *out_is_rounded)
{
    size_t count = written->whole.size + written->fraction.size;
    uint128 units = 0;
    uint8_t next = 0;
    bool has_rest = false;
    for (size_t i = from; i < count; i++) {
        uint8_t digit = written_digit(written, i);
        int64_t place = (int64_t)(i - from);
        if (place < kept)
            units = units * 10 + digit;
        else if (place == kept)
            next = digit;
        else
            has_rest |= digit != 0;
    }
    for (int64_t place = (int64_t)(count - from); place < kept; place++)
        units *= 10;
    // Below half a unit of the last place whatever the digits are.
    if (kept < 0) {
        next = 0;
        has_rest = true;
    }
    if (next != 0 || has_rest)
        *out_is_rounded = true;
    bool is_up = next > 5 || (next == 5 && (has_rest || (units & 1) != 0));
    return units + is_up;
}

enum status
decimal_parse(struct bytes text, struct decimal *out, bool *out_is_rounded)
{
    struct written written;
    if (!written_read(text, &written))
        return STATUS_INVALID;
    // Leading zeros carry nothing; without them `point` is the order of magnitude.
    size_t count = written.whole.size + written.fraction.size;
    size_t from = 0;
    while (from < count && written_digit(&written, from) == 0)
        from++;
    if (from == count) {
        *out = DECIMAL_ZERO;
        return STATUS_OK;
    }
    int64_t point = written.point - (int64_t)from;
    if (point > INTEGER_DIGITS_MAX)
        return STATUS_OVERFLOW;
    bool is_rounded = false;
    uint128 units = units_round(&written, from, point + DECIMAL_PLACES, &is_rounded);
    if (units >= units_end())
        return STATUS_OVERFLOW;
    if (is_rounded)
        *out_is_rounded = true;
    out->units = written.is_negative ? -(int128)units : (int128)units;
    return STATUS_OK;
}

enum status
decimal_from_uint(uint64_t value, struct decimal *out)
{
    uint128 units = (uint128)value * ONE_UNITS;
    if (units >= units_end())
        return STATUS_OVERFLOW;
    out->units = (int128)units;
    return STATUS_OK;
}

// Floats.
//
// Any two decimals of at most 15 significant digits are different doubles, and of at most 6
// different floats (DBL_DIG, FLT_DIG). So a decimal that short which reads back as the value is the
// only one, and the shortest. Hence two steps:
//   1. Values with few decimals, by arithmetic: m / 10^k with m of at most 15 (6) digits. Both
//      operands are exact and division rounds correctly, so the quotient is what reading the text
//      would give.
//   2. The text with 15 (6) digits, then more, until it reads back. "%.*e" gives the closest
//      decimal of each length. Closest is enough but at powers of two, where the interval that
//      reads back is wider above than below and a neighbour can be the only one: in range that
//      happens at 2^-24 and 2^-44 only, where both differ beyond the 18th place. decimal_test tries
//      every power of two.

// Doubles and floats are compared for being the same, which is no arithmetic.
static bool
is_same_double(double a, double b)
{
    return !(a < b) && !(a > b);
}

static bool
is_same_float(float a, float b)
{
    return !(a < b) && !(a > b);
}

_Static_assert(FLT_EVAL_METHOD == 0, "an operation rounds once, to the width of its type");
_Static_assert(FLT_DIG >= 6 && DBL_DIG >= 15, "decimals that short are all different");

static const uint64_t powers_of_ten[] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};

enum { FAST_PLACES_MAX = 9 };

static struct decimal
decimal_of_parts(bool is_negative, uint64_t digits, uint32_t places)
{
    must(places <= FAST_PLACES_MAX);
    int128 units = (int128)digits * (int128)(ONE_UNITS / powers_of_ten[places]);
    return (struct decimal){is_negative ? -units : units};
}

static bool
decimal_from_short_double(double value, struct decimal *out)
{
    double magnitude = fabs(value);
    for (uint32_t places = 0; places <= FAST_PLACES_MAX; places++) {
        double power = (double)powers_of_ten[places];
        double scaled = magnitude * power + 0.5;
        if (scaled >= 1e15)
            return false;
        uint64_t digits = (uint64_t)scaled;
        if (is_same_double((double)digits / power, magnitude)) {
            *out = decimal_of_parts(value < 0, digits, places);
            return true;
        }
    }
    return false;
}

static bool
decimal_from_short_float(float value, struct decimal *out)
{
    float magnitude = fabsf(value);
    for (uint32_t places = 0; places <= FAST_PLACES_MAX; places++) {
        float power = (float)powers_of_ten[places];
        float scaled = magnitude * power + 0.5F;
        if (scaled >= 1e6F)
            return false;
        uint64_t digits = (uint64_t)scaled;
        if (is_same_float((float)digits / power, magnitude)) {
            *out = decimal_of_parts(value < 0, digits, places);
            return true;
        }
    }
    return false;
}

enum status
decimal_from_double(double value, struct decimal *out, bool *out_is_rounded)
{
    if (!isfinite(value))
        return STATUS_INVALID;
    if (decimal_from_short_double(value, out))
        return STATUS_OK;
    char text[DECIMAL_TEXT_MAX];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, value);
        if (is_same_double(strtod(text, NULL), value))
            break;
    }
    return decimal_parse(bytes_text(text), out, out_is_rounded);
}

enum status
decimal_from_float(float value, struct decimal *out, bool *out_is_rounded)
{
    if (!isfinite(value))
        return STATUS_INVALID;
    if (decimal_from_short_float(value, out))
        return STATUS_OK;
    char text[DECIMAL_TEXT_MAX];
    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, (double)value);
        if (is_same_float(strtof(text, NULL), value))
            break;
    }
    return decimal_parse(bytes_text(text), out, out_is_rounded);
}

size_t
decimal_print(struct decimal value, char out[DECIMAL_TEXT_MAX])
{
    bool is_negative = value.units < 0;
    // Negated as unsigned: the smallest int128 has no positive twin.
    uint128 units = is_negative ? -(uint128)value.units : (uint128)value.units;
    uint64_t fraction = (uint64_t)(units % ONE_UNITS);
    uint128 whole = units / ONE_UNITS;

    // From the last digit backwards, at the end of a scratch that any int128 fits.
    char digits[DECIMAL_TEXT_MAX];
    size_t at = sizeof digits;
    if (fraction != 0) {
        int places = DECIMAL_PLACES;
        for (; fraction % 10 == 0; fraction /= 10)
            places--;
        for (; places > 0; places--, fraction /= 10)
            digits[--at] = (char)('0' + fraction % 10);
        digits[--at] = '.';
    }
    do {
        digits[--at] = (char)('0' + (int)(whole % 10));
        whole /= 10;
    } while (whole != 0);
    if (is_negative)
        digits[--at] = '-';

    size_t size = sizeof digits - at;
    must(size < DECIMAL_TEXT_MAX);
    memcpy(out, digits + at, size);
    out[size] = '\0';
    return size;
}
