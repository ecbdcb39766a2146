#pragma once
// Backfill batches: events of any age that are sent, closed and, if they were wrong, taken out
// together.
//
//     const struct backfill open = {.act = BACKFILL_OPEN, .id = id, .who = who};
//     ledger_backfill(ledger, &open, &count, &error);      // now events may name the id
//     ... BACKFILL_CLOSE                                   // now they may not any more
//     ... BACKFILL_REVERT                                  // none of them counts
//
// A batch is known by its id in every shard, and an id is used once. A revert writes, shard by
// shard and block by block, a cancel for each event of the batch that counts; these cancels free
// the identities, so that the events may come again, in another batch or live. What was cancelled
// before, by itself, stays cancelled, and its identity used.
//
// Each block of a revert says where the rest begins, so one that was interrupted (by a stop, or a
// crash) goes on where it was at the next start, before any other change is made. Events come in
// meanwhile; cuts and corrections wait, so that no cut lies within a revert.
// Owner: values. Thread: ledger_backfill on any; it waits.

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

struct ledger;

enum backfill_act {
    BACKFILL_OPEN = 1,
    BACKFILL_CLOSE = 2,
    BACKFILL_REVERT = 3,  // closes it first, if it is open
};

struct backfill {
    enum backfill_act act;
    struct bytes id;   // 1 to EVENT_BATCH_MAX bytes
    struct bytes who;  // required
    struct bytes why;  // required for a revert
};

// Why it is nothing that anybody could ask for; NULL: it is.
const char *backfill_fault(const struct backfill *backfill);
// Durable when it returns STATUS_OK; *out_count is how many events a revert took out. Asked again
// after a crash it does the rest. STATUS_NOT_FOUND: never opened. STATUS_EXISTS: that was done
// before, or the id was used. STATUS_CLOSED: the ledger is being closed, the revert goes on at the
// next start. STATUS_FULL: there are BATCHES_MAX of them. What a failed writer says.
enum status ledger_backfill(
    struct ledger *ledger,
    const struct backfill *backfill,
    uint64_t *out_count,
    struct error *error) CHECKED;
// Between control_begin and control_end, before any other change: goes on with what was
// interrupted. Nothing to do, and fine, when nothing was.
enum status backfill_finish(struct ledger *ledger, struct error *error) CHECKED;
