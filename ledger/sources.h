#pragma once
// What several cells have of one subject, merged by epoch into the cells of one window.
//
//     sources_reset(&sources);
//     for each cell: *sources_add(&sources) = (struct source){.place = i, .target = epoch, ...};
//     sources_write(&sources, &tx, meter, &key, &group, &error);    // a cell for each epoch
//     sources_done(&sources);
//
// Cells of one place (a part of the window, or a group in it) come one after the other, by epoch.
// Owner: the caller; zeroed is valid. Thread: one.

#include "ledger/cell_state.h"
#include "ledger/lmdb_env.h"

struct source {
    uint32_t place;   // cells of the same one may replace each other
    uint32_t target;  // the epoch in the window that is made
    int64_t shift_s;  // start of the cell's window less that of the one that is made
    struct cell_state state;
};

struct sources {
    struct buffer list;   // of struct source
    struct arena arena;   // what the states point to
    struct buffer value;  // of one cell
    uint64_t written;     // cells
    uint64_t puts;        // likewise, and distinct values beside them
};

void sources_reset(struct sources *sources);
// To be filled before the next call; what its state points to stays until it is written.
struct source *sources_add(struct sources *sources);
// Writes the window's cells of the key's subject and group, over what is there. The key's epoch is
// set; states point to nothing that lies in the transaction's pages.
enum status sources_write(
    struct sources *sources,
    struct tx *to,
    enum aggregation aggregation,
    struct cell_key *key,
    const struct cell_group *group,
    struct error *error) CHECKED;
void sources_done(struct sources *sources);
