#pragma once
// Exact fractions: what prices, quantities and ratios are between an event and a rounded line.
//
//     scoped(rational_done) struct rational amount = rational_of(units);
//     scoped(rational_done) struct rational price = rational_of(unit_price);
//     rational_multiply(&amount, &amount, &price);
//     money_round(&amount, currency, &minor, &error);
//
// A value is small (a whole number of 128 bits over a power of ten: nearly every price and
// quantity there is) or, when it does not fit or has another denominator, GMP's. Which of the two
// is nobody's business but this file's; both are exact. A zeroed struct is the value 0. Results may
// be one of the operands. Owner: the caller ends it with rational_done. Thread: any, one at a time
// per value.

#include "base/arena.h"
#include "base/decimal.h"

enum {
    RATIONAL_STORAGE = 32,
    RATIONAL_PLACES_MAX = 20,   // of a printed value that does not terminate
    RATIONAL_DIGITS_MAX = 40,   // of a text, before and behind the point
    RATIONAL_ROUND_MAX = 1000,  // places of rational_round, either sign
};

struct rational {
    union {
        struct {
            int128 whole;
            uint32_t scale;  // the value is whole / 10^scale
        } small;
        _Alignas(16) unsigned char storage[RATIONAL_STORAGE];  // GMP's mpq_t
    } as;
    bool is_big;
};

enum rounding {
    ROUND_HALF_UP,  // half away from zero
    ROUND_HALF_EVEN,
    ROUND_HALF_DOWN,  // half toward zero
    ROUND_UP,         // away from zero
    ROUND_DOWN,       // toward zero
    ROUND_CEIL,
    ROUND_FLOOR,
};

struct rational rational_zero(void);
struct rational rational_of(struct decimal value);
struct rational rational_of_int(int64_t value);
// denominator is not 0.
struct rational rational_of_ratio(int64_t numerator, int64_t denominator);
void rational_done(struct rational *value);
// [+-]digits[.digits][(e|E)[+-]digits], every digit kept. STATUS_INVALID: no number;
// STATUS_OVERFLOW: more than RATIONAL_DIGITS_MAX digits before or behind the point. *out is not
// touched then. Whatever *out held before must have been ended.
enum status rational_parse(struct bytes text, struct rational *out) CHECKED;

void rational_copy(struct rational *out, const struct rational *value);
void rational_add(struct rational *out, const struct rational *a, const struct rational *b);
void rational_subtract(struct rational *out, const struct rational *a, const struct rational *b);
void rational_multiply(struct rational *out, const struct rational *a, const struct rational *b);
// b is not 0.
void rational_divide(struct rational *out, const struct rational *a, const struct rational *b);
// a / b rounded to a whole number; b is not 0.
void rational_divide_whole(
    struct rational *out,
    const struct rational *a,
    const struct rational *b,
    enum rounding rounding);
// To so many places behind the point, or, when negative, to tens, hundreds, ...
void rational_round(
    struct rational *out, const struct rational *value, int32_t places, enum rounding rounding);
// value / 10^places; |places| <= RATIONAL_ROUND_MAX.
void rational_shift(struct rational *out, const struct rational *value, int32_t places);

int rational_compare(const struct rational *a, const struct rational *b);
int rational_sign(const struct rational *value);
// False when it is no whole number of the range.
bool rational_int64(const struct rational *value, int64_t *out) CHECKED;
// Bits of the larger of numerator and denominator: what a program can refuse to work on.
size_t rational_bits(const struct rational *value);

// Plain notation without trailing zeros; all places of a value that terminates (however many), else
// RATIONAL_PLACES_MAX, half-even.
const char *rational_text(const struct rational *value, struct arena *arena);
// With exactly so many places, half away from zero: "12.50". Places are not negative.
const char *
rational_text_places(const struct rational *value, uint32_t places, struct arena *arena);
