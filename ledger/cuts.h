#pragma once
// The cuts of a shard: numbered moments of its log that seal the windows that end at or before
// their time.
//
//     cuts_add(&cuts, &(struct cut){.number = 3, .time_s = ..., .block = head});
//     epoch = cuts_epoch(&cuts, end_s, UINT32_MAX);
//
// An event belongs to the epoch of the last cut before it whose time is not before its window's
// end: what came too late for that cut. So usage at a cut is the merge of the epochs below its
// number. Owner: the shard's writer; copies are read by who makes cells. Thread: one at a time.

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum { CUTS_MAX = 100000 };

struct cut {
    uint32_t number;  // rises from 1 in the order of the log
    int64_t time_s;
    uint64_t block;  // of the log, the cut's own
};

struct cuts {
    struct cut *list;  // by number
    uint32_t count;
    uint32_t capacity;
    int64_t latest_s;  // the greatest time of all
};

// In the order of the log; the list grows in the arena.
void cuts_add(struct cuts *cuts, const struct cut *cut, struct arena *arena);
// The epoch, in a window that ends at end_s, of what stands behind cut number `after` and before
// the next one; UINT32_MAX: behind all cuts.
uint32_t cuts_epoch(const struct cuts *cuts, int64_t end_s, uint32_t after);
// The block of the first cut behind number `epoch` that seals a window ending at end_s: what comes
// from there on is of a later epoch. UINT64_MAX: there is none.
uint64_t cuts_epoch_end(const struct cuts *cuts, int64_t end_s, uint32_t epoch);
// The number of the last cut that was written before a block; 0: none.
uint32_t cuts_before(const struct cuts *cuts, uint64_t block);
// NULL: there is none of that number.
const struct cut *cuts_find(const struct cuts *cuts, uint32_t number);
