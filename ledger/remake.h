#pragma once
// Cells made anew from the log: what still counts in a window of one subject and group, whatever
// was corrected. For the aggregations that cannot take anything out (cell_has_way_back).
//
//     struct remake *remake = remake_open(log, first);        // the log's first block
//     remake_add(remake, &item, meter);                       // each cell
//     do remake_step(remake, &cuts, position, &is_done, &error); while (!is_done);
//     for (i = 0; i < remake_count(remake); i++) use(remake_at(remake, i)->state);
//     remake_close(remake);
//
// A cell's epoch ends at the next cut that seals its window. The state is the fold of what was in
// the log before that end, from the meter's first block on, less what was taken out before it: all
// epochs up to the cell's, so the cell REPLACES the earlier ones. It depends on the log and the
// position alone.
//
// One pass over the headers of the blocks finds the corrections, a second one the events; of other
// blocks than those whose times touch a window only the header is read. The position may grow from
// one step to the next: then the pass goes on to the new one. A correction in what was added that
// takes out what was folded already spoils the cell: it stays to be made anew another time.
//
// Owner: the caller. Thread: one.

#include "base/arena.h"
#include "ledger/cell_state.h"
#include "ledger/cuts.h"
#include "ledger/fold.h"
#include "ledger/lmdb_env.h"

enum { REMAKE_ITEMS_MAX = 1024 };

struct remake_item {
    struct cell_key key;
    struct cell_group group;
    bool has_all_groups;  // a total: of whatever group
    int64_t end_s;        // of the window
    uint64_t live_from;   // the first block of the meter's cells
    // Filled by the steps.
    const struct meter_rule *rule;
    uint64_t limit;  // blocks before it belong to the epoch
    bool is_spoiled;
    struct cell_state state;  // a UNIQUE_COUNT's is a set; in the remake's arena
};

struct remake;

// first: of the log. Whoever deletes blocks sees to it that they hold nothing of the items
// (ledger/retain_hold): the steps pass over them.
struct remake *remake_open(struct env *log, uint64_t first);
void remake_close(struct remake *remake);
// Copies what the item and the meter point to. At most REMAKE_ITEMS_MAX, all before the first step.
void remake_add(struct remake *remake, const struct remake_item *item, const struct meter *meter);
// Some milliseconds of work. *out_is_done: all items are the fold of the blocks up to the position,
// which is not below that of the step before. cuts: those of these blocks at least.
enum status remake_step(
    struct remake *remake,
    const struct cuts *cuts,
    uint64_t position,
    bool *out_is_done,
    struct error *error) CHECKED;
uint32_t remake_count(const struct remake *remake);
// In no particular order.
struct remake_item *remake_at(struct remake *remake, uint32_t index);
struct arena *remake_arena(struct remake *remake);
