#pragma once
// What meters that were made late still lack: older blocks of the log, folded in slices from the
// newest to the oldest.
//
//     meter_rebuild_reset(&shard->rebuild);            // the set of meters changed
//     while (meter_rebuild_is_due(shard))
//         meter_rebuild_slice(shard, time_max_ns, &error);     // some blocks into shard->cells
//
//   log   1 ............. live_from ............. head
//              <- rebuild |  folded, cells cover it
//
// A meter folds live from the block behind the head at which it is adopted; that is its live_from.
// Each slice takes the blocks just below the greatest live_from, folds them for the meters that
// have it, and lowers it. So a meter's cells always cover one range that ends at the head, and
// meters share a pass as soon as one of them has come down to the other. The cells are flushed with
// the others and with the new live_from, so that a crash repeats only what was not flushed.
//
// Cells do not depend on the order in which events come; epochs are those that the block had when
// it was written. A block that is damaged ends it: live_from stays, and queries that need that
// block say so. Owner and only thread: the shard's writer.

#include "ledger/fold.h"
#include "ledger/log_reader.h"

struct shard;

struct meter_rebuild {
    uint64_t first;               // of the log's blocks, when it was last looked at; 0: none
    uint64_t top;                 // blocks below it are lacking; 0: to be planned anew
    uint64_t floor;               // down to here for the meters of the set alone
    const struct meter_set *set;  // the meters whose live_from is top
    struct arena arena;
    struct log_reader reader;
    uint64_t unflushed_bytes;  // of blocks folded since the last freeze
    bool has_unflushed;
    bool has_failed;
};

void meter_rebuild_reset(struct meter_rebuild *rebuild);
void meter_rebuild_done(struct meter_rebuild *rebuild);
// The cells that were rebuilt are on their way to disk, and the live_from with them.
void meter_rebuild_frozen(struct meter_rebuild *rebuild);

// Blocks that are still to be read.
uint64_t meter_rebuild_blocks_left(const struct shard *shard);
bool meter_rebuild_is_due(const struct shard *shard);
// At least one block. STATUS_CORRUPT: a block is damaged, nothing of it was folded, and no more is
// due until the meters change.
enum status
meter_rebuild_slice(struct shard *shard, int64_t time_max_ns, struct error *error) CHECKED;

// How far a meter is, as far as it is on disk: blocks of the whole log that its cells cover, of
// all. For people; any process.
struct meter_progress {
    uint64_t covered, blocks;
};
// out: as many as there are meters.
enum status meter_progress_read(
    const char *dir,
    const struct meter *meters,
    uint32_t count,
    struct meter_progress *out,
    struct error *error) CHECKED;
