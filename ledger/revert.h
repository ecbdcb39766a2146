#pragma once
// The part of a revert that one shard does: a block of cancels after another, until no event of the
// batch counts.
//
//     const struct revert revert = {.ledger = ledger, .shard = 3, .batch = &batch, ...};
//     revert_run(&revert, &error);
//
// The batch's state is REVERTING, and nothing but this changes what counts of it. A block has at
// most REVERT_EVENTS_MAX events and about REVERT_BYTES_MAX bytes; that, and 16 bytes for each
// correction of the batch's events, is all that is in memory. Reads the log beside the writer, on
// the caller's thread.

#include "ledger/intake.h"

enum { REVERT_EVENTS_MAX = 16384, REVERT_BYTES_MAX = 4 << 20 };

struct revert {
    struct ledger *ledger;
    uint32_t shard;
    const struct batch *batch;  // of that shard, when it began or goes on
    struct bytes who, why;
};

// STATUS_CLOSED: the ledger is being closed. What a failed writer says.
enum status revert_run(const struct revert *revert, struct error *error) CHECKED;
