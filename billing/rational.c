// Each operation tries the small form and falls back to GMP, so there is one place for speed and
// one for generality. Invariants: the scale of a small value is at most SCALE_MAX; a small result
// is only kept when no step overflowed.

#include "billing/rational.h"

#include "base/assert.h"
#include "billing/rational_parts.h"

#include <gmp.h>

#include <string.h>

_Static_assert(sizeof(mpq_t) == RATIONAL_STORAGE, "struct rational holds an mpq_t");
_Static_assert(_Alignof(mpq_t) <= 16, "struct rational is aligned for an mpq_t");

static mpq_ptr
raw(struct rational *value)
{
    must(value->is_big);
    return (mpq_ptr)(void *)value->as.storage;
}

static mpq_srcptr
raw_const(const struct rational *value)
{
    must(value->is_big);
    return (mpq_srcptr)(const void *)value->as.storage;
}

static int128
ten_power(uint32_t exponent)
{
    static const int64_t low[] = {
        1,
        10,
        100,
        1000,
        10000,
        100000,
        1000000,
        10000000,
        100000000,
        1000000000,
        10000000000,
        100000000000,
        1000000000000,
        10000000000000,
        100000000000000,
        1000000000000000,
        10000000000000000,
        100000000000000000,
        1000000000000000000};
    must(exponent <= SCALE_MAX);
    int128 result = 1;
    for (; exponent > 18; exponent -= 18)
        result *= low[18];
    return result * low[exponent];
}

// ---- between the two forms

static void
integer_set(mpz_ptr out, int128 value)
{
    bool is_negative = value < 0;
    uint128 magnitude = is_negative ? -(uint128)value : (uint128)value;
    mpz_import(out, 1, -1, sizeof magnitude, 0, 0, &magnitude);
    if (is_negative)
        mpz_neg(out, out);
}

// False when it does not fit; -2^127 counts as not fitting.
static bool
integer_get(mpz_srcptr value, int128 *out)
{
    if (mpz_sizeinbase(value, 2) > 127)
        return false;
    uint128 magnitude = 0;
    mpz_export(&magnitude, NULL, -1, sizeof magnitude, 0, 0, value);
    *out = mpz_sgn(value) < 0 ? -(int128)magnitude : (int128)magnitude;
    return true;
}

static void
small_set(struct rational *out, int128 whole, uint32_t scale)
{
    rational_done(out);
    out->as.small.whole = whole;
    out->as.small.scale = scale;
    out->is_big = false;
}

// Takes the mpq over: its memory is the rational's from now on.
static void
big_set(struct rational *out, mpq_ptr value)
{
    int128 whole;
    if (mpz_cmp_ui(mpq_denref(value), 1) == 0 && integer_get(mpq_numref(value), &whole)) {
        small_set(out, whole, 0);
        mpq_clear(value);
        return;
    }
    rational_done(out);
    memcpy(out->as.storage, value, sizeof(mpq_t));
    out->is_big = true;
}

// An mpq with the value, which the caller clears.
static void
big_init(mpq_ptr out, const struct rational *value)
{
    mpq_init(out);
    if (value->is_big) {
        mpq_set(out, raw_const(value));
        return;
    }
    integer_set(mpq_numref(out), value->as.small.whole);
    integer_set(mpq_denref(out), ten_power(value->as.small.scale));
    mpq_canonicalize(out);
}

static void
binary_big(
    struct rational *out,
    const struct rational *a,
    const struct rational *b,
    void (*operation)(mpq_ptr, mpq_srcptr, mpq_srcptr))
{
    mpq_t left, right;
    big_init(left, a);
    big_init(right, b);
    operation(left, left, right);
    mpq_clear(right);
    big_set(out, left);
}

// ---- small arithmetic; false when the result is not small

static bool
scale_up(int128 *whole, uint32_t by)
{
    return by <= SCALE_MAX && !__builtin_mul_overflow(*whole, ten_power(by), whole);
}

// Brings both to one scale.
static bool
small_align(
    const struct rational *a, const struct rational *b, int128 *out_a, int128 *out_b, uint32_t *out)
{
    if (a->is_big || b->is_big)
        return false;
    uint32_t left = a->as.small.scale, right = b->as.small.scale;
    *out_a = a->as.small.whole;
    *out_b = b->as.small.whole;
    *out = left > right ? left : right;
    if (left < right)
        return scale_up(out_a, right - left);
    return left == right || scale_up(out_b, left - right);
}

// Takes zeros off the end, in steps of 16, 8, 4, 2 and 1.
static struct rational
small_strip(int128 whole, uint32_t scale)
{
    for (uint32_t step = 16; step > 0 && scale > 0; step /= 2) {
        int128 power = ten_power(step);
        while (scale >= step && whole % power == 0) {
            whole /= power;
            scale -= step;
        }
    }
    return (struct rational){
        .as.small = {whole, scale}
    };
}

struct rational
rational_zero(void)
{
    return (struct rational){0};
}

struct rational
rational_of(struct decimal value)
{
    return small_strip(value.units, DECIMAL_PLACES);
}

struct rational
rational_of_int(int64_t value)
{
    return (struct rational){
        .as.small = {value, 0}
    };
}

struct rational
rational_of_ratio(int64_t numerator, int64_t denominator)
{
    must(denominator != 0);
    struct rational result = rational_of_int(numerator);
    struct rational divisor = rational_of_int(denominator);
    rational_divide(&result, &result, &divisor);
    return result;
}

void
rational_done(struct rational *value)
{
    if (value->is_big)
        mpq_clear(raw(value));
    *value = (struct rational){0};
}

void
rational_copy(struct rational *out, const struct rational *value)
{
    if (out == value)
        return;
    if (!value->is_big) {
        small_set(out, value->as.small.whole, value->as.small.scale);
        return;
    }
    mpq_t copy;
    big_init(copy, value);
    big_set(out, copy);
}

void
rational_add(struct rational *out, const struct rational *a, const struct rational *b)
{
    int128 left, right, sum;
    uint32_t scale;
    if (small_align(a, b, &left, &right, &scale) && !__builtin_add_overflow(left, right, &sum))
        small_set(out, sum, scale);
    else
        binary_big(out, a, b, mpq_add);
}

void
rational_subtract(struct rational *out, const struct rational *a, const struct rational *b)
{
    int128 left, right, rest;
    uint32_t scale;
    if (small_align(a, b, &left, &right, &scale) && !__builtin_sub_overflow(left, right, &rest))
        small_set(out, rest, scale);
    else
        binary_big(out, a, b, mpq_sub);
}

void
rational_multiply(struct rational *out, const struct rational *a, const struct rational *b)
{
    int128 product = 0;
    bool is_small = !a->is_big && !b->is_big &&
                    a->as.small.scale + b->as.small.scale <= SCALE_MAX &&
                    !__builtin_mul_overflow(a->as.small.whole, b->as.small.whole, &product);
    if (is_small)
        small_set(out, product, a->as.small.scale + b->as.small.scale);
    else
        binary_big(out, a, b, mpq_mul);
}

void
rational_divide(struct rational *out, const struct rational *a, const struct rational *b)
{
    must(rational_sign(b) != 0);
    int128 left, right;
    uint32_t scale;
    bool is_whole = small_align(a, b, &left, &right, &scale) && right != -1 && left % right == 0;
    if (is_whole)
        small_set(out, left / right, 0);
    else
        binary_big(out, a, b, mpq_div);
}

// ---- rounding

// What is added to the magnitude of a truncated quotient (0 or 1). half is how twice the remainder
// compares with the divisor.
static int
rounding_step(enum rounding rounding, bool is_negative, bool is_exact, int half, bool is_odd)
{
    if (is_exact)
        return 0;
    switch (rounding) {
    case ROUND_HALF_UP: return half >= 0;
    case ROUND_HALF_EVEN: return half > 0 || (half == 0 && is_odd);
    case ROUND_HALF_DOWN: return half > 0;
    case ROUND_UP: return 1;
    case ROUND_DOWN: return 0;
    case ROUND_CEIL: return !is_negative;
    case ROUND_FLOOR: return is_negative;
    }
    must(false);
    return 0;
}

static uint128
magnitude_of(int128 value)
{
    return value < 0 ? -(uint128)value : (uint128)value;
}

static int128
small_divide(int128 dividend, int128 divisor, enum rounding rounding)
{
    bool is_negative = (dividend < 0) != (divisor < 0);
    uint128 a = magnitude_of(dividend), b = magnitude_of(divisor);
    uint128 quotient = a / b, rest = a % b;
    // 2 * rest does not overflow: rest < b <= 2^127.
    int half = (rest * 2 > b) - (rest * 2 < b);
    int step = rounding_step(rounding, is_negative, rest == 0, half, (quotient & 1) != 0);
    quotient += (uint128)(unsigned)step;
    return is_negative ? -(int128)quotient : (int128)quotient;
}

// *out = the quotient of the mpq's numerator and denominator.
static void
big_divide(mpz_ptr out, mpq_srcptr value, enum rounding rounding)
{
    bool is_negative = mpq_sgn(value) < 0;
    mpz_t rest;
    mpz_init(rest);
    mpz_tdiv_qr(out, rest, mpq_numref(value), mpq_denref(value));
    bool is_exact = mpz_sgn(rest) == 0;
    mpz_mul_2exp(rest, rest, 1);
    int half = mpz_cmpabs(rest, mpq_denref(value));
    int step = rounding_step(rounding, is_negative, is_exact, half, mpz_odd_p(out) != 0);
    if (is_negative)
        mpz_sub_ui(out, out, (unsigned long)step);
    else
        mpz_add_ui(out, out, (unsigned long)step);
    mpz_clear(rest);
}

static void
divide_whole_big(
    struct rational *out,
    const struct rational *a,
    const struct rational *b,
    enum rounding rounding)
{
    mpq_t quotient, divisor, whole;
    big_init(quotient, a);
    big_init(divisor, b);
    mpq_init(whole);
    mpq_div(quotient, quotient, divisor);
    big_divide(mpq_numref(whole), quotient, rounding);
    mpq_clear(quotient);
    mpq_clear(divisor);
    big_set(out, whole);
}

void
rational_divide_whole(
    struct rational *out,
    const struct rational *a,
    const struct rational *b,
    enum rounding rounding)
{
    must(rational_sign(b) != 0);
    int128 left, right;
    uint32_t scale;
    if (small_align(a, b, &left, &right, &scale) && right != -1)
        small_set(out, small_divide(left, right, rounding), 0);
    else
        divide_whole_big(out, a, b, rounding);
}

// value * 10^places, or with a negative number divided; exact.
static void
big_scale(mpq_ptr value, int32_t places)
{
    mpz_t power;
    mpz_init(power);
    mpz_ui_pow_ui(power, 10, (unsigned long)(places < 0 ? -places : places));
    mpz_mul(
        places < 0 ? mpq_denref(value) : mpq_numref(value),
        places < 0 ? mpq_denref(value) : mpq_numref(value),
        power);
    mpq_canonicalize(value);
    mpz_clear(power);
}

void
rational_round(
    struct rational *out, const struct rational *value, int32_t places, enum rounding rounding)
{
    must(places >= -RATIONAL_ROUND_MAX && places <= RATIONAL_ROUND_MAX);
    if (!value->is_big && (int32_t)value->as.small.scale <= places) {
        rational_copy(out, value);
        return;
    }
    if (!value->is_big && places >= 0) {
        uint32_t scale = value->as.small.scale - (uint32_t)places;
        int128 whole = small_divide(value->as.small.whole, ten_power(scale), rounding);
        small_set(out, whole, (uint32_t)places);
        return;
    }
    mpq_t scaled, whole;
    big_init(scaled, value);
    big_scale(scaled, places);
    mpq_init(whole);
    big_divide(mpq_numref(whole), scaled, rounding);
    mpq_clear(scaled);
    big_scale(whole, -places);
    big_set(out, whole);
}

void
rational_shift(struct rational *out, const struct rational *value, int32_t places)
{
    must(places >= -RATIONAL_ROUND_MAX && places <= RATIONAL_ROUND_MAX);
    if (!value->is_big && places >= 0 && (int32_t)value->as.small.scale + places <= SCALE_MAX) {
        small_set(out, value->as.small.whole, value->as.small.scale + (uint32_t)places);
        return;
    }
    mpq_t scaled;
    big_init(scaled, value);
    big_scale(scaled, -places);
    big_set(out, scaled);
}

// ---- asking

int
rational_compare(const struct rational *a, const struct rational *b)
{
    int128 left, right;
    uint32_t scale;
    if (small_align(a, b, &left, &right, &scale))
        return (left > right) - (left < right);
    mpq_t one, other;
    big_init(one, a);
    big_init(other, b);
    int order = mpq_cmp(one, other);
    mpq_clear(one);
    mpq_clear(other);
    return (order > 0) - (order < 0);
}

int
rational_sign(const struct rational *value)
{
    if (value->is_big)
        return mpq_sgn(raw_const(value));
    return (value->as.small.whole > 0) - (value->as.small.whole < 0);
}

bool
rational_int64(const struct rational *value, int64_t *out)
{
    // A big value is no whole number, or has more than 127 bits: see big_set.
    if (value->is_big)
        return false;
    int128 power = ten_power(value->as.small.scale);
    int128 whole = value->as.small.whole / power;
    if (whole * power != value->as.small.whole || whole > INT64_MAX || whole < INT64_MIN)
        return false;
    *out = (int64_t)whole;
    return true;
}

size_t
rational_bits(const struct rational *value)
{
    if (!value->is_big)
        return 127;
    size_t above = mpz_sizeinbase(mpq_numref(raw_const(value)), 2);
    size_t below = mpz_sizeinbase(mpq_denref(raw_const(value)), 2);
    return above > below ? above : below;
}

// ---- for rational_text.c

// The decimal places after which a denominator of only twos and fives ends, or -1.
static int64_t
places_of(mpz_srcptr denominator)
{
    mpz_t rest, factor;
    mpz_init(rest);
    mpz_init_set_ui(factor, 2);
    uint64_t twos = mpz_remove(rest, denominator, factor);
    mpz_set_ui(factor, 5);
    uint64_t fives = mpz_remove(rest, rest, factor);
    bool terminates = mpz_cmp_ui(rest, 1) == 0;
    mpz_clear(rest);
    mpz_clear(factor);
    if (!terminates)
        return -1;
    return (int64_t)(twos > fives ? twos : fives);
}

// |value| * 10^places as digits.
static char *
big_digits(
    const struct rational *value, uint32_t places, enum rounding rounding, struct arena *arena)
{
    mpq_t scaled;
    big_init(scaled, value);
    mpq_abs(scaled, scaled);
    big_scale(scaled, (int32_t)places);
    mpz_t whole;
    mpz_init(whole);
    big_divide(whole, scaled, rounding);
    char *digits = arena_array(arena, mpz_sizeinbase(whole, 10) + 2, char);
    mpz_get_str(digits, 10, whole);
    mpq_clear(scaled);
    mpz_clear(whole);
    return digits;
}

static char *
small_digits(int128 whole, struct arena *arena)
{
    char *digits = arena_array(arena, SCALE_MAX + 3, char);
    uint128 rest = magnitude_of(whole);
    size_t at = SCALE_MAX + 2;
    do {
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0);
    return digits + at;
}

int64_t
rational_places(const struct rational *value)
{
    return value->is_big ? places_of(mpq_denref(raw_const(value))) : value->as.small.scale;
}

const char *
rational_digits(
    const struct rational *value, uint32_t places, enum rounding rounding, struct arena *arena)
{
    if (!value->is_big && value->as.small.scale == places)
        return small_digits(value->as.small.whole, arena);
    return big_digits(value, places, rounding, arena);
}
