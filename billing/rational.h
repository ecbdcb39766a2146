#pragma once
// Exact fractions: what prices, quantities and ratios are between an event and a rounded line. GMP
// behind a plain value.
//
//     scoped(rational_done) struct rational amount = rational_of(units);
//     scoped(rational_done) struct rational price = rational_of(unit_price);
//     rational_multiply(&amount, &amount, &price);
//     money_round(&amount, currency, &minor, &error);
//
// A rational must be made by rational_of, rational_of_ratio or rational_zero, and ended by
// rational_done; results may be one of the operands. Owner: the caller. Thread: any, one at a time
// per value.

#include "base/arena.h"
#include "base/decimal.h"

enum {
    RATIONAL_STORAGE = 32,
    RATIONAL_PLACES_MAX = 20,  // of a printed value that does not terminate
};

struct rational {
    _Alignas(8) unsigned char storage[RATIONAL_STORAGE];  // GMP's mpq_t
};

struct rational rational_zero(void);
struct rational rational_of(struct decimal value);
// denominator is not 0.
struct rational rational_of_ratio(int64_t numerator, int64_t denominator);
void rational_done(struct rational *value);

void rational_copy(struct rational *out, const struct rational *value);
void rational_add(struct rational *out, const struct rational *a, const struct rational *b);
void rational_subtract(struct rational *out, const struct rational *a, const struct rational *b);
void rational_multiply(struct rational *out, const struct rational *a, const struct rational *b);
// b is not 0.
void rational_divide(struct rational *out, const struct rational *a, const struct rational *b);
// *out += a * b of two decimals: the step of every tier.
void rational_add_product(struct rational *out, struct decimal a, struct decimal b);

int rational_compare(const struct rational *a, const struct rational *b);
int rational_sign(const struct rational *value);

// Plain notation without trailing zeros; all places of a value that terminates (however many), else
// RATIONAL_PLACES_MAX, half-even.
const char *rational_text(const struct rational *value, struct arena *arena);
