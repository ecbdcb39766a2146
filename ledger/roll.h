#pragma once
// Derived windows: when a window has closed, the cells of its parts are merged into one.
//
//     const struct roll_options options = {.state = env, .meters = set, .cuts = &cuts, ...};
//     roll_run(&options, &error);     // after a flush; does what is due, or nothing
//
// A window's last transaction writes the horizon that says that it is made: from then on its cells
// are read. Those of a large one, of every meter, are written by some transactions before, between
// which others may write to the state, but no cells. What comes later for a made window is added by
// the flush (ledger/flush). Windows of one kind are made in order of time; a window without sources
// costs a look at each meter. Cells of widths with a retention are deleted when they are older,
// whole windows at a time.
//
// A crash in between loses nothing: a window is made anew from its parts as long as its horizon
// does not hold it, and what was left of it is deleted first. Thread: the one that writes the
// shard's state/.

#include "ledger/cuts.h"
#include "ledger/fold.h"
#include "ledger/horizon.h"

struct billing_zones {
    uint32_t count;
    struct zone *list[BILLING_ZONES_MAX];
};

// What is kept of the cells.
struct retention {
    int64_t quarter_hours_s;  // how long quarter hours are kept; 0: for good
    int64_t hours_s;
    uint32_t groups_max;  // of a subject in a derived window (ledger/crowd); 0: no bound
};

struct roll_options {
    struct env *state;
    const struct meter_set *meters;
    const struct cuts *cuts;
    const struct billing_zones *zones;
    struct retention retention;
    int64_t now_s;
    // Called with the context between the transactions of what takes several; NULL: nobody is.
    enum status (*between)(void *context, struct error *error);
    void *context;
    uint32_t slice_puts;  // cells and distinct values beside them of one transaction; 0: 65536
};

struct roll_result {
    uint64_t windows;  // made
    uint64_t cells;    // written
    uint64_t deleted;
    uint64_t capped;  // windows of a subject that lost their groups
};

// STATUS_CORRUPT: a cell is damaged, by name.
enum status
roll_run(const struct roll_options *options, struct roll_result *out, struct error *error) CHECKED;
