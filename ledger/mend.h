#pragma once
// Makes dirty cells anew from the log, in the background, a step at a time.
//
//     struct mend *mend = mend_open(log, state);
//     mend_know(mend, &(struct mend_facts){.meters = set, .cuts = cuts, .zones = zones});
//     while (mend_is_needed(mend)) mend_step(mend, &error);
//     mend_close(mend);
//
// A batch of the records of STATE_DB_DIRTY is made anew by ledger/remake, then written in one
// transaction: each cell with CELL_REPLACES, without CELL_DIRTY. So a crash at any moment leaves
// every cell either as it was, dirty, or clean and right. The records of clean cells go when the
// next batch is gathered: until then a start finds by them the thresholds that may fire now.
// Flushes may come between the steps: they add to the dirty cells, and the batch goes on to the
// new position.
//
// Thread: the one that writes the shard's state/.

#include "ledger/cuts.h"
#include "ledger/fold.h"
#include "ledger/lmdb_env.h"
#include "ledger/roll.h"

struct mend_facts {
    const struct meter_set *meters;
    struct cuts cuts;  // those up to the cells' position at least; the list stays
    const struct billing_zones *zones;
};

struct mend;

struct mend *mend_open(struct env *log, struct env *state);
void mend_close(struct mend *mend);
// After each flush, and once at the start. The meters are copied when there is something to do.
// STATUS_IO: the state could not be read.
enum status
mend_know(struct mend *mend, const struct mend_facts *facts, struct error *error) CHECKED;
bool mend_is_needed(const struct mend *mend);
// The next step gathers a batch, and forgets the records of cells that are clean.
bool mend_forgets_next(const struct mend *mend);
// Some milliseconds of work. STATUS_CORRUPT: a block or a cell is damaged, by name. Cells of which
// the log has deleted a part stay dirty.
enum status mend_step(struct mend *mend, struct error *error) CHECKED;
// Nothing more until the next mend_know.
void mend_give_up(struct mend *mend);
// Cells that were made anew since the last call.
uint64_t mend_take_count(struct mend *mend);
