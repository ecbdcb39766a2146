#pragma once
// Cells in memory into state/: one transaction that ends with the position they are complete to.
//
//     const struct flush_options options = {.state = env, .cells = cells, .position = head, ...};
//     flush_run(&options, &error);
//     cells_clear(cells);
//
// What is stored and what is in memory are merged, in key order, in the quarter hour and in every
// derived window that is made already (ledger/roll makes the others when they close); windows that
// get too many groups by it are settled (ledger/crowd). Cells of
// quarter hours that are not kept any more go to the wider windows only. A crash before the commit
// leaves everything as it was. Thread: the one that writes the shard's state/.

#include "ledger/batches.h"
#include "ledger/cells.h"
#include "ledger/roll.h"

// From which block on a meter's cells are complete.
struct shard_live {
    uint32_t meter_id;
    uint64_t from;          // those on disk and in memory together
    uint64_t flushed_from;  // those on disk; 0: none are there
};

struct flush_options {
    struct env *state;
    const struct cells *cells;  // the fold of blocks (position on disk, position]
    uint64_t position;
    const struct shard_live *live;  // the meters that are folded; cells of others are left out
    uint32_t live_count;
    const struct cuts *cuts;      // up to the position
    const struct batch *batches;  // whose records change
    uint32_t batches_count;
    const struct billing_zones *zones;
    uint32_t groups_max;  // of a subject in a derived window (ledger/crowd); 0: no bound
    uint64_t *capped;     // counts windows of a subject that lost their groups; NULL: nobody does
};

// STATUS_CORRUPT: a stored cell is damaged, by name. STATUS_FULL, STATUS_IO: nothing was written.
enum status flush_run(const struct flush_options *options, struct error *error) CHECKED;
