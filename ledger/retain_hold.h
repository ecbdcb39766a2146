#pragma once
// What holds blocks of the log although they are old enough to go (ledger/retain): somebody is
// going to read them.
//
//     const struct retain_holders holders = {.state = env, .flushed = 70, .head = 80, ...};
//     retain_is_held(&holders, log, &kept, &next, &is_held, &error);
//
//   a cell that is to be made anew   its window, and the month of it that may be made of it before
//   a correction not in cells yet    it may make such cells
//   a batch that is open             a revert reads its events
//   one whose revert is under way    everything, since it makes such cells; in the shards, too, in
//                                    which it has not begun (writer_retain)
//   a meter that was made later      its cells on disk lack what came before
//
// A cell that lacks events already holds nothing: it can never be made anew.
//
// Owner: values. Thread: the shard's writer.

#include "ledger/batches.h"
#include "ledger/flush.h"
#include "ledger/log_kept.h"
#include "ledger/roll.h"

struct retain_holders {
    struct env *state;
    uint64_t flushed;  // blocks up to here are in the cells on disk
    uint64_t head;
    const struct billing_zones *zones;
    const struct batches *batches;
    const struct shard_live *live;  // the meters that are folded
    uint32_t live_count;
};

// kept: as it is; next: as it would be.
enum status retain_is_held(
    const struct retain_holders *holders,
    struct env *log,
    const struct log_kept *kept,
    const struct log_kept *next,
    bool *out_is_held,
    struct error *error) CHECKED;
// The start of the longest window that holds the moment: a month, of UTC or one of the zones.
// time_s >= 0.
int64_t retain_window_start(const struct billing_zones *zones, int64_t time_s);
// Whether the log lacks events of a window that holds the moment, so that no cell of it can be made
// anew.
bool retain_lacks(const struct log_kept *kept, const struct billing_zones *zones, int64_t time_ns);
