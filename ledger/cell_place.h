#pragma once
// The cells of one meter, window, subject and group: one for each epoch, side by side in the order
// of keys. Read together, because one that was made anew from the log stands for those before it.
//
//     more = walk_seek(&walk, ...);
//     cell_place_read(&place, &walk, &key, aggregation, below, &more);   // CORRUPT: walk.key
//     for (i = 0; i < cell_place_count(&place); i++) use(cell_place_at(&place, i));
//     // the walk stands on the next place's first cell, when more
//
// Views into the snapshot that is walked. Owner: the caller; zeroed is valid. Thread: one.

#include "ledger/cell_state.h"
#include "ledger/lmdb_env.h"

struct place_cell {
    struct cell_key key;
    struct bytes key_bytes;
    struct cell_group group;
    struct cell_state state;
};

struct cell_place {
    struct buffer cells;  // of struct place_cell
};

// What usage sees that looks at epochs below a cut's number; UINT32_MAX: at all of them. first: the
// key that the walk stands on, which its caller has read. A place whose aggregation can take out
// what was cancelled has one cell a call: its cells only add up.
enum status cell_place_read(
    struct cell_place *place,
    struct walk *walk,
    const struct cell_key *first,
    enum aggregation aggregation,
    uint32_t below_epoch,
    bool *out_more) CHECKED;
size_t cell_place_count(const struct cell_place *place);
const struct place_cell *cell_place_at(const struct cell_place *place, size_t index);
void cell_place_done(struct cell_place *place);
