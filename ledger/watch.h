#pragma once
// Running totals for thresholds, beside the fold of a shard.
//
//     watched = watched_make(thresholds, count, meters, &arena);      // with each set of meters
//     watch_adopt(&watch, watched);
//     watch_add(&watch, meter_id, subject, &step);                    // every folded event
//     watch_base(&watch, &source, time_max_ns, &error);               // totals of what is new here
//     batch = watch_take(&watch);                                     // what fired, to the keeper:
//         watch_write(batch, fired, &error);                          //     durably
//     watch_taken(&watch);                                            // it is
//
//   entry (threshold, subject, period)      made by its first event since the start, or the last
//     is_based = false  -> in a queue       change of definitions
//     is_based = true   -> total is exact   cells on disk and in memory, then every event
//     has_fired         -> no more          now, or a mark on disk says so
//
// The total is what the cells hold: of a meter that is still being rebuilt it rises to what it must
// be. Entries may be dropped at any time: their total is in the cells. A threshold fires when a
// total is at its limit or above, once for a subject and period. A cancel or amend lowers the total
// of what has not fired yet, and takes nothing back of what has; of a maximum or a latest value it
// does so when the cell has been made anew from the log. Periods that ended before the threshold
// was made do not count. After a crash the tail is folded again: what has a mark does not fire
// again, what has none does.
// Owner and only thread: the shard's writer.

#include "ledger/cells.h"
#include "ledger/fired.h"
#include "ledger/flush.h"
#include "ledger/lmdb_env.h"
#include "ledger/threshold.h"

struct watched {
    const struct threshold *threshold;
    const struct meter *meter;
    struct bytes subject;  // size 0: each
};

// Immutable; borrows thresholds and meters.
struct watched_set {
    uint32_t count;
    struct watched *list;  // by meter id
};

struct watch_entry;
struct watch_pending;

// What fired, in order.
struct watch_batch {
    struct arena arena;
    struct watch_pending *first, *last;
    uint64_t count;
};

struct watch {
    const struct watched_set *set;  // NULL: none
    struct arena arena;
    struct watch_entry **places;  // by hash
    uint32_t capacity, count;
    struct watch_entry *unbased_first, *unbased_last;
    struct watch_batch batches[2];
    uint32_t gathering;  // the batch that grows; the other one is the keeper's while is_lent
    bool is_lent;
};

// Where totals come from.
struct watch_source {
    struct env *state;
    struct env *fired;
    const struct cells *cells;   // what state/ does not have yet
    const struct cells *frozen;  // NULL, or what it is being given
    // What it had when frozen was not in it.
    uint64_t flushed;
    const struct shard_live *live;
    uint32_t live_count;
    int64_t to_max_s;  // no event is later
};

struct quota {
    int64_t from_s, to_s;  // the period
    struct wide used;      // in units of 10^-18
    struct decimal limit;
    bool has_fired;
    bool is_complete;  // the meter has counted the whole log, and no cell is to be made anew
};

// Leaves out thresholds without a meter, or with one whose aggregation they do not allow.
struct watched_set *watched_make(
    const struct threshold *thresholds,
    uint32_t count,
    const struct meter *meters,
    uint32_t meters_count,
    struct arena *arena);

void watch_done(struct watch *watch);
// Nothing that fired may be on its way: watch_is_settled. set may be NULL.
void watch_adopt(struct watch *watch, const struct watched_set *set);
void watch_add(
    struct watch *watch, uint32_t meter_id, struct bytes subject, const struct fold_step *step);

bool watch_has_unbased(const struct watch *watch);
bool watch_has_pending(const struct watch *watch);
bool watch_is_settled(const struct watch *watch);
// Totals of entries that wait for one, at least one of them.
enum status watch_base(
    struct watch *watch,
    const struct watch_source *source,
    int64_t time_max_ns,
    struct error *error) CHECKED;
// So many entries that they are to be based, and dropped.
bool watch_is_full(const struct watch *watch);
// Cells were flushed, and perhaps made anew from the log: totals that wait for that come again.
void watch_renew(struct watch *watch);
// What fired since the last batch; NULL: nothing, or that one is not written yet.
struct watch_batch *watch_take(struct watch *watch);
// Its marks, in one transaction. Thread: the one that writes fired/.
enum status
watch_write(const struct watch_batch *batch, struct env *fired, struct error *error) CHECKED;
// The batch is written. Returns how many fired.
uint64_t watch_taken(struct watch *watch);
// Of the period that holds the moment; is_complete as to the cells. STATUS_NOT_FOUND: there is no
// such threshold, or not for this subject.
enum status watch_quota(
    const struct watch *watch,
    const struct watch_source *source,
    uint32_t threshold_id,
    struct bytes subject,
    int64_t time_s,
    struct quota *out,
    struct error *error) CHECKED;
// The meter of a threshold, or 0.
uint32_t watch_meter_id(const struct watch *watch, uint32_t threshold_id);
