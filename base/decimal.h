#pragma once
// Exact decimals: an int128 that counts 10^-18. Every quantity and unit price between an event and
// an invoice is one of these; DESIGN section 4 gives the range |value| < 10^19.
//
//     struct decimal sum = {0}, value;
//     if (decimal_parse(text, &value, &was_rounded) == STATUS_OK)
//         if (!decimal_add(&sum, value)) mark_overflow();
//     decimal_print(sum, line);                 // "0.1", "-12", no trailing zeros, no exponent
//
// Owner: values. Thread: any.

#include "base/bytes.h"
#include "base/status.h"

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

enum {
    DECIMAL_PLACES = 18,
    DECIMAL_TEXT_MAX = 48,  // longest printed decimal with its NUL, with room
};

struct decimal {
    int128 units;  // of 10^-18
};

static const struct decimal DECIMAL_ZERO = {0};
static const struct decimal DECIMAL_ONE = {(int128)1000000000000000000};

// Reads [+-]digits[.digits][(e|E)[+-]digits]; at least one digit; no spaces. Digits beyond 18
// places are rounded half-even and *out_is_rounded says so (never set to false). STATUS_INVALID:
// not a number (this includes NaN and infinities); STATUS_OVERFLOW: |value| >= 10^19. Bounded time
// for any exponent.
enum status decimal_parse(struct bytes text, struct decimal *out, bool *out_is_rounded) CHECKED;

// The shortest decimal that reads back as the same double (or float), as DESIGN section 4 defines,
// then as decimal_parse. STATUS_INVALID for NaN and infinities.
enum status decimal_from_double(double value, struct decimal *out, bool *out_is_rounded) CHECKED;
enum status decimal_from_float(float value, struct decimal *out, bool *out_is_rounded) CHECKED;

static inline struct decimal
decimal_from_int(int64_t value)
{
    return (struct decimal){(int128)value * DECIMAL_ONE.units};
}

// STATUS_OVERFLOW when value >= 10^19.
enum status decimal_from_uint(uint64_t value, struct decimal *out) CHECKED;

// *sum += value in the full int128 range. False on overflow; *sum is untouched then.
static inline bool
decimal_add(struct decimal *sum, struct decimal value)
{
    int128 result;
    if (__builtin_add_overflow(sum->units, value.units, &result))
        return false;
    sum->units = result;
    return true;
}

// Writes the canonical text with a NUL (shortest, plain notation); returns its length. Reads any
// int128.
size_t decimal_print(struct decimal value, char out[DECIMAL_TEXT_MAX]);

static inline int
decimal_compare(struct decimal a, struct decimal b)
{
    return (a.units > b.units) - (a.units < b.units);
}
