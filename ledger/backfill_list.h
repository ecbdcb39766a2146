#pragma once
// All backfill batches of a ledger, for people and tools: beside a running tallyd or without one.
//
//     backfill_list(dir, &arena, &rows, &count, &error);
//     for (i = 0; i < count; i++) use(&rows[i]);               // in the order of their opening
//
// Owner: rows in the arena. Thread: one.

#include "base/arena.h"
#include "ledger/batches.h"

// When a batch got there, and what was said. time_ns 0: not yet, or its block is gone.
struct backfill_step {
    int64_t time_ns;
    struct bytes who, why;
};

struct backfill_row {
    struct bytes id;
    // The least advanced shard's. is_partial: others are further, because a change was interrupted:
    // asked for again it is finished.
    enum batch_state state;
    bool is_partial;
    uint64_t stored;     // events, ever
    uint64_t taken;      // out, of them, by the revert
    uint64_t cancelled;  // by themselves
    struct backfill_step opened, closed, reverted;
};

// STATUS_CORRUPT: a record or a block is damaged.
enum status backfill_list(
    const char *dir,
    struct arena *arena,
    struct backfill_row **out_rows,
    size_t *out_count,
    struct error *error) CHECKED;
