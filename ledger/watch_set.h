#pragma once
// What is watched: the thresholds of a set of meters, found by meter and subject.
//
//     const struct watched_set *set = watched_make(thresholds, count, meters, count, &arena);
//     struct watched_run run = watched_of(set, meter_id, subject);     // for that subject alone
//     run = watched_of(set, meter_id, bytes_of(NULL, 0));              // for each
//     const struct watched *one = watched_by_id(set, threshold_id);
//
// An event asks twice for each of its meters, however many thresholds there are. Immutable once
// made; borrows thresholds and meters. Thread: any.

#include "ledger/threshold.h"

struct watched {
    const struct threshold *threshold;
    const struct meter *meter;
    struct bytes subject;  // size 0: each
};

struct watched_run {
    const struct watched *first;
    uint32_t count;
};

struct watched_set {
    uint32_t count;
    struct watched *list;          // by meter and subject
    const struct watched **by_id;  // the same by threshold
    struct watched_run *runs;      // of equal meter and subject, by hash; count 0: free
    uint32_t runs_capacity;
};

// Leaves out thresholds without a meter, or with one whose aggregation they do not allow.
struct watched_set *watched_make(
    const struct threshold *thresholds,
    uint32_t count,
    const struct meter *meters,
    uint32_t meters_count,
    struct arena *arena);
// count 0: there are none.
struct watched_run
watched_of(const struct watched_set *set, uint32_t meter_id, struct bytes subject);
// NULL: it is not watched. set may be NULL.
const struct watched *watched_by_id(const struct watched_set *set, uint32_t threshold_id);
