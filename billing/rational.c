#include "billing/rational.h"

#include "base/assert.h"

#include <gmp.h>

#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(mpq_t) == RATIONAL_STORAGE, "struct rational holds an mpq_t");
_Static_assert(_Alignof(mpq_t) <= 8, "struct rational is aligned for an mpq_t");

static mpq_ptr
raw(struct rational *value)
{
    return (mpq_ptr)(void *)value->storage;
}

static mpq_srcptr
raw_const(const struct rational *value)
{
    return (mpq_srcptr)(const void *)value->storage;
}

static void
integer_set(mpz_ptr out, int128 value)
{
    bool is_negative = value < 0;
    uint128 magnitude = is_negative ? -(uint128)value : (uint128)value;
    mpz_import(out, 1, -1, sizeof magnitude, 0, 0, &magnitude);
    if (is_negative)
        mpz_neg(out, out);
}

struct rational
rational_zero(void)
{
    struct rational result;
    mpq_init(raw(&result));
    return result;
}

struct rational
rational_of(struct decimal value)
{
    struct rational result = rational_zero();
    integer_set(mpq_numref(raw(&result)), value.units);
    integer_set(mpq_denref(raw(&result)), DECIMAL_ONE.units);
    mpq_canonicalize(raw(&result));
    return result;
}

struct rational
rational_of_ratio(int64_t numerator, int64_t denominator)
{
    must(denominator != 0);
    struct rational result = rational_zero();
    integer_set(mpq_numref(raw(&result)), numerator);
    integer_set(mpq_denref(raw(&result)), denominator);
    mpq_canonicalize(raw(&result));
    return result;
}

void
rational_done(struct rational *value)
{
    mpq_clear(raw(value));
}

void
rational_copy(struct rational *out, const struct rational *value)
{
    mpq_set(raw(out), raw_const(value));
}

void
rational_add(struct rational *out, const struct rational *a, const struct rational *b)
{
    mpq_add(raw(out), raw_const(a), raw_const(b));
}

void
rational_subtract(struct rational *out, const struct rational *a, const struct rational *b)
{
    mpq_sub(raw(out), raw_const(a), raw_const(b));
}

void
rational_multiply(struct rational *out, const struct rational *a, const struct rational *b)
{
    mpq_mul(raw(out), raw_const(a), raw_const(b));
}

void
rational_divide(struct rational *out, const struct rational *a, const struct rational *b)
{
    must(rational_sign(b) != 0);
    mpq_div(raw(out), raw_const(a), raw_const(b));
}

void
rational_add_product(struct rational *out, struct decimal a, struct decimal b)
{
    scoped(rational_done) struct rational left = rational_of(a);
    scoped(rational_done) struct rational right = rational_of(b);
    rational_multiply(&left, &left, &right);
    rational_add(out, out, &left);
}

int
rational_compare(const struct rational *a, const struct rational *b)
{
    return mpq_cmp(raw_const(a), raw_const(b));
}

int
rational_sign(const struct rational *value)
{
    return mpq_sgn(raw_const(value));
}

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

// |value| * 10^places as an integer, half-even.
static void
scaled_half_even(mpz_ptr out, const struct rational *value, uint64_t places)
{
    mpz_t scale, rest;
    mpz_init(scale);
    mpz_init(rest);
    mpz_ui_pow_ui(scale, 10, places);
    mpz_mul(scale, scale, mpq_numref(raw_const(value)));
    mpz_abs(scale, scale);
    mpz_fdiv_qr(out, rest, scale, mpq_denref(raw_const(value)));
    mpz_mul_2exp(rest, rest, 1);
    int half = mpz_cmp(rest, mpq_denref(raw_const(value)));
    if (half > 0 || (half == 0 && mpz_odd_p(out)))
        mpz_add_ui(out, out, 1);
    mpz_clear(scale);
    mpz_clear(rest);
}

const char *
rational_text(const struct rational *value, struct arena *arena)
{
    int64_t exact = places_of(mpq_denref(raw_const(value)));
    size_t places = exact < 0 ? RATIONAL_PLACES_MAX : (size_t)exact;
    mpz_t scaled;
    mpz_init(scaled);
    scaled_half_even(scaled, value, places);
    size_t capacity = mpz_sizeinbase(scaled, 10) + 2;
    char *digits = arena_array(arena, capacity, char);
    mpz_get_str(digits, 10, scaled);
    bool is_zero = mpz_sgn(scaled) == 0;
    mpz_clear(scaled);
    size_t size = strlen(digits);
    // At least one digit stands before the point.
    size_t zeros = size <= places ? places + 1 - size : 0;
    char *text = arena_array(arena, size + zeros + 3, char);
    size_t at = 0;
    if (rational_sign(value) < 0 && !is_zero)
        text[at++] = '-';
    for (size_t i = 0; i < size + zeros; i++) {
        if (i + places == size + zeros && places > 0)
            text[at++] = '.';
        text[at++] = i < zeros ? '0' : digits[i - zeros];
    }
    if (places > 0) {
        while (text[at - 1] == '0')
            at--;
        if (text[at - 1] == '.')
            at--;
    }
    text[at] = '\0';
    return text;
}
