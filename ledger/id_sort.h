#pragma once
// Identities as they are kept, and their order.
//
//     struct fingerprint fingerprint = fingerprint_of(identity, payload);
//     id_sort(sort, entries, sorted, count);
//
// Identities are hashes: some thousand of them that follow each other in the order are spread
// evenly between the first and the last, so that a look at a few bits tells nearly where each
// belongs.
// Thread: any.

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// 96 bits of an identity, and what its payload was. The order of entries is by low, then high.
struct fingerprint {
    uint64_t low;
    uint32_t high;
    uint32_t payload;
};

_Static_assert(sizeof(struct fingerprint) == 16, "as it is stored");

// Stands for a payload: the identity was freed, and whoever comes with it is new.
enum { PAYLOAD_FREED = 0 };

// A payload hash of 0 counts as 1.
static inline struct fingerprint
fingerprint_of(struct hash128 identity, uint32_t payload)
{
    return (struct fingerprint){identity.low, (uint32_t)identity.high, payload ? payload : 1};
}

static inline int
fingerprint_compare(struct fingerprint a, struct fingerprint b)
{
    if (a.low != b.low)
        return a.low < b.low ? -1 : 1;
    return (a.high > b.high) - (a.high < b.high);
}

enum { ID_SORT_BINS = 8192 };

// Room to work in, of any contents.
struct id_sort {
    uint32_t bins[ID_SORT_BINS];
};

// Entries into sorted, by low, then high; of equal ones the first stays first. The entries are of
// any contents afterwards.
void id_sort(
    struct id_sort *sort, struct fingerprint *entries, struct fingerprint *sorted, uint32_t count);
