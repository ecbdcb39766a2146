#pragma once
// A subject's usage of a period so far, for thresholds: what the cells on disk and in memory hold.
//
//     struct watch_total total = {.meter = meter, .subject = subject, .from_s = a, .to_s = b};
//     status = watch_total_read(&total, &source, &tx, &arena, &error);
//     total.state, total.is_dirty
//
// Windows in which nobody used the meter cost nothing: a walk goes from one that is there to the
// next. Thread: the shard's writer.

#include "ledger/cells.h"
#include "ledger/flush.h"
#include "ledger/lmdb_env.h"

// Where totals come from.
struct watch_source {
    struct env *state;
    struct env *fired;
    const struct cells *cells;   // what state/ does not have yet
    const struct cells *frozen;  // NULL, or what it is being given
    uint64_t flushed;            // what it had when frozen was not in it
    const struct shard_live *live;
    uint32_t live_count;
    uint64_t log_first;  // a meter whose cells begin there has counted all
};

struct watch_total {
    const struct meter *meter;
    struct bytes subject;
    int64_t from_s, to_s;   // the period
    uint64_t distinct_max;  // of a UNIQUE_COUNT: no more are read once there are so many; 0: all
    // Out:
    struct cell_state state;  // in the arena
    bool is_dirty;            // a cell of it is to be made anew from the log
    bool is_dirty_in_memory;  // and that one is not on disk yet
    bool is_cut_short;        // distinct_max was reached
};

// STATUS_CORRUPT: a cell is damaged, by name.
enum status watch_total_read(
    struct watch_total *total,
    const struct watch_source *source,
    struct tx *tx,
    struct arena *arena,
    struct error *error) CHECKED;
// Whether the meter's cells hold the whole log.
bool watch_source_is_complete(const struct watch_source *source, uint32_t meter_id);
