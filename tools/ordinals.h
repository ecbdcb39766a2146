#pragma once
// How often each row of a file was seen: equal rows get the ordinals 0, 1, 2, ...
//
//     scoped(ordinals_done) struct ordinals ordinals = {0};
//     uint32_t ordinal = ordinals_next(&ordinals, row_hash);
//
// Keeps a 128-bit hash and a count for each distinct row, never the row: 20 bytes a slot at a load
// between 3/8 and 3/4, so 27 to 54 bytes a distinct row, and for a moment half as much again while
// the table doubles. The hashes are from a strong 128-bit hash, so their low bits are the slot.
// Zeroed is valid. Thread: one at a time.

#include "base/arena.h"
#include "base/hash.h"

#include <stdint.h>

struct ordinals {
    struct arena arena;
    struct hash128 *keys;
    uint32_t *counts;  // 0: the slot is free
    size_t slots;      // a power of two, or 0
    size_t used;
};

void ordinals_done(struct ordinals *ordinals);
uint32_t ordinals_next(struct ordinals *ordinals, struct hash128 key);
