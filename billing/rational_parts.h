#pragma once
// Between rational.c and rational_text.c; nobody else includes it.
//
//     digits = rational_digits(value, 2, ROUND_HALF_UP, &arena);      // 12.5 -> "1250"
//
// Owner: values. Thread: any.

#include "billing/rational.h"

enum { SCALE_MAX = 38 };  // of a small value: 10^38 is the last power of ten below 2^127

// The decimal places after which the value ends, or -1. Not always the smallest number.
int64_t rational_places(const struct rational *value);
// |value| * 10^places as a whole number.
const char *rational_digits(
    const struct rational *value, uint32_t places, enum rounding rounding, struct arena *arena);
