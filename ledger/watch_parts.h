#pragma once
// Inside the totals for thresholds: what ledger/watch_table.c (entries: which there are, and which
// wait) and ledger/watch.c (their totals, what fires, questions) share.
//
//     entry = watch_keep(watch, watched, subject, time_s);    // made when it is new
//     watch_queue(watch, entry);                              // to be based
//     watch_list_partial(watch, entry);                       // comes again with watch_renew
//
// Owner and thread: as ledger/watch.h.

#include "ledger/watch.h"

struct watch_entry {
    struct hash128 hash;
    const struct watched *watched;
    struct bytes subject;
    int64_t from_s, to_s;
    uint64_t block;  // of the last event
    int64_t time_ns;
    bool is_based;
    bool is_queued;   // to be based
    bool is_partial;  // the cells do not know the total yet
    bool is_waiting;  // for a flush, which lets a cell be made anew
    bool is_reached;  // an event was at a maximum's limit by itself
    bool has_fired;
    uint64_t fired_in;  // the batch; 0: a mark on disk says so
    struct cell_state total;
    struct watch_entry *next_unbased;
    bool is_listed;  // among the partial ones
    struct watch_entry *next_partial;
};

// NULL: there is none.
struct watch_entry *watch_find(
    const struct watch *watch, const struct watched *watched, struct bytes subject, int64_t from_s);
// The subject's entry for the period, made when it is new. NULL: the period does not count.
struct watch_entry *watch_keep(
    struct watch *watch, const struct watched *watched, struct bytes subject, int64_t time_s);
// Its total comes from the cells.
void watch_queue(struct watch *watch, struct watch_entry *entry);
// The next that waits, which waits no more; there is one.
struct watch_entry *watch_unqueue(struct watch *watch);
void watch_list_partial(struct watch *watch, struct watch_entry *entry);
