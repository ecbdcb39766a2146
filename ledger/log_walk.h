#pragma once
// Going through many blocks of a shard's log beside its writer and retention.
//
//     scoped(snapshot_done) struct snapshot log = snapshot_of(view->log);
//     for (sequence = first; sequence <= last; sequence++) {
//         log_look(&reader, &log.tx, sequence, &error);
//         if (snapshot_renew(&log, sequence))      // retention may have come closer
//             log_first(&log.tx, &first, &error);
//     }
//
// A snapshot that is held keeps LMDB from using freed pages again, so it is renewed twice a second.
// Owner: the caller. Thread: one.

#include "ledger/log_reader.h"
#include "ledger/shard_view.h"

#include <stdint.h>

struct snapshot {
    struct tx tx;
    int64_t deadline_ns;
};

struct snapshot snapshot_of(struct env *env);
void snapshot_done(struct snapshot *snapshot);
// To be called after each block (or as often), before the next one is read. True: it is another
// one now; what tx gave before has ended.
bool snapshot_renew(struct snapshot *snapshot, uint64_t sequence);

// Reads the block of this number by log_look, and by log_open if it wants its entries.
typedef enum status (*log_walk_fn)(
    void *context,
    struct log_reader *reader,
    struct tx *log,
    uint64_t sequence,
    struct error *error);

// From the newest block to the oldest that is kept; stops at a failure. Errors name the shard.
// Nothing to do for a shard without a log.
enum status log_walk_back(
    const struct shard_view *view, log_walk_fn block, void *context, struct error *error) CHECKED;
// From the block after position to the newest, oldest first: what state/ of that position does not
// cover, and retention does not delete.
enum status log_walk_tail(
    const struct shard_view *view,
    uint64_t position,
    log_walk_fn block,
    void *context,
    struct error *error) CHECKED;
