#pragma once
// Integers of 256 bits, two's complement: sums of quantities that do not overflow, and products of
// quantities with times.
//
//     struct wide sum = {0};
//     wide_add_int128(&sum, value.units);
//     if (!wide_to_int128(sum, &units)) mark_overflow();
//     wide_divide_print(sum, count, 20, text);      // an exact fraction, printed
//
// Additions wrap at 2^255; what is added up here stays far below: a quantity has 124 bits, a count
// 63, a time within a window 62. Owner: values. Thread: any.

#include "base/decimal.h"

#include <string.h>

struct wide {
    uint64_t limbs[4];  // the lowest first
};

enum { WIDE_SIZE = 32, WIDE_TEXT_MAX = 120 };

static inline struct wide
wide_from_int128(int128 value)
{
    uint64_t sign = value < 0 ? UINT64_MAX : 0;
    return (struct wide){
        {(uint64_t)value, (uint64_t)((uint128)value >> 64), sign, sign}
    };
}

static inline void
wide_add(struct wide *into, const struct wide *value)
{
    uint128 carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (uint128)into->limbs[i] + value->limbs[i];
        into->limbs[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

// Limbs go one by one to where they stay: put together elsewhere and copied from there they wait
// for that store, 10 ns a sum.
static inline uint128
wide_half(const uint64_t limbs[2])
{
    return (uint128)limbs[1] << 64 | limbs[0];
}

static inline void
wide_half_set(uint64_t limbs[2], uint128 half)
{
    limbs[0] = (uint64_t)half;
    limbs[1] = (uint64_t)(half >> 64);
}

// In two halves: once an event and sum, where a loop over limbs is four times as long. The carry
// and the sign, which the upper half takes, mostly cancel each other out or are not there.
static inline void
wide_add_int128(struct wide *into, int128 value)
{
    const uint128 half = wide_half(into->limbs) + (uint128)value;
    wide_half_set(into->limbs, half);
    const bool has_carry = half < (uint128)value;
    if (__builtin_expect(has_carry == (value < 0), 1))
        return;
    wide_half_set(into->limbs + 2, wide_half(into->limbs + 2) + (has_carry ? 1 : ~(uint128)0));
}

struct wide wide_negate(struct wide value);
bool wide_is_negative(const struct wide *value);
bool wide_is_zero(const struct wide *value);
struct wide wide_multiply(int128 value, int64_t by);
// As wide_multiply with a wide factor; wraps at 2^255.
struct wide wide_scale(struct wide value, int64_t by);
int wide_compare(const struct wide *a, const struct wide *b);
// False: it does not fit; *out is untouched then.
bool wide_to_int128(const struct wide *value, int128 *out) CHECKED;

// The bytes of the number, the lowest first, without those that only repeat the sign: 0 (for zero)
// to 32. wide_read takes at most 32.
size_t wide_write(const struct wide *value, uint8_t out[WIDE_SIZE]);
struct wide wide_read(struct bytes bytes);

// numerator / (denominator * 10^18) as text: exact when it terminates within places digits after
// the point (trailing zeros go), else rounded half-even to them. denominator > 0, places up to 38.
// Returns the length. The unit of the numerator is that of struct decimal.
size_t wide_divide_print(
    struct wide numerator, uint64_t denominator, uint32_t places, char out[WIDE_TEXT_MAX]);
