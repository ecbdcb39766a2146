#pragma once
// Running totals for thresholds, beside the fold of a shard.
//
//     watch_adopt(&watch, watched_make(thresholds, count, meters, &arena));  // each set of meters
//     watch_add(&watch, meter_id, subject, &step);                    // every folded event
//     watch_base(&watch, &source, time_max_ns, &error);               // totals of what is new here
//     batch = watch_take(&watch);                                     // what fired, to the keeper:
//         watch_write(batch, fired, &error);                          //     durably
//     watch_taken(&watch);                                            // it is
//
//   entry (threshold, subject, period)      made by its first event since the start
//     is_based = false  -> in a queue       its total is in the cells alone
//     is_based = true   -> total is exact   cells on disk and in memory, then every event
//       is_partial      -> not tested       the cells do not know it yet: they come again
//     has_fired         -> no more          now, or a mark on disk says so
//
// A threshold fires when a total is at its limit or above, once for a subject and period. A cancel
// or amend lowers the total of what has not fired yet, and takes nothing back of what has. Where an
// aggregation has no way back, the total is partial until the cell has been made anew from the log;
// but an event that is itself at a maximum's limit fires. The total of a sum or a latest value is
// partial while its meter is still being rebuilt, since older events may lower it; the others rise
// to what they must be. Periods that ended before the threshold was made do not count.
//
// Invariants:
// 1. What crossed a limit is in the queue, or partial, or fired, or marked on disk. Whatever is
//    dropped is none of these, and comes again with its next event.
// 2. Cells go to disk only when no event in them is left in the queue, and behind the marks of what
//    fired with them: a start, which folds the events that cells do not have, misses none. What
//    waits for dirty cells is found again by their list (watch_touch), which keeps them until the
//    marks of what fired with the cells made anew are on disk.
// Owner and only thread: the shard's writer.

#include "ledger/fired.h"
#include "ledger/watch_set.h"
#include "ledger/watch_total.h"

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
    size_t arena_max;             // trimmed at so many bytes; 0: the first bound
    struct watch_entry **places;  // by hash
    uint32_t capacity, count;
    struct watch_entry *unbased_first, *unbased_last;
    uint32_t unbased_count;
    struct watch_entry *partial_first;  // what was partial when it was based
    bool wants_flush;  // cells in memory are to be made anew before a total is known
    struct watch_batch batches[2];
    uint64_t batch_number;  // of the batch that grows, batches[batch_number % 2]
    bool is_lent;           // the other one is the keeper's
};

struct quota {
    int64_t from_s, to_s;  // the period
    struct wide used;      // in units of 10^-18
    struct decimal limit;
    bool has_fired;
    bool is_complete;  // the meter has counted the whole log, and no cell is to be made anew
};

void watch_done(struct watch *watch);
// Entries of thresholds that are in the new set, on the same meter, stay. set may be NULL. The old
// one is looked at for the last time.
void watch_adopt(struct watch *watch, const struct watched_set *set);
void watch_add(
    struct watch *watch, uint32_t meter_id, struct bytes subject, const struct fold_step *step);
// The subject's total may have changed without an event: at the moment, and with the block.
void watch_touch(
    struct watch *watch,
    uint32_t meter_id,
    struct bytes subject,
    const struct cell_input *input,
    int64_t start_s);

bool watch_has_unbased(const struct watch *watch);
// So many wait for their totals that no more events may come before these are based.
bool watch_is_behind(const struct watch *watch);
bool watch_has_pending(const struct watch *watch);
bool watch_is_settled(const struct watch *watch);
// Totals of entries that wait for one, at least one of them.
enum status watch_base(
    struct watch *watch,
    const struct watch_source *source,
    int64_t time_max_ns,
    struct error *error) CHECKED;
// Cells were flushed or made anew from the log, or a meter has been rebuilt: partial totals come
// again.
void watch_renew(struct watch *watch);
// Drops what the cells know as well, when entries have become much memory.
void watch_trim(struct watch *watch);
// What fired since the last batch; NULL: nothing, or that one is not written yet.
struct watch_batch *watch_take(struct watch *watch);
// Its marks, in one transaction, of which one that is there already is left alone. Thread: the one
// that writes fired/.
enum status watch_write(struct watch_batch *batch, struct env *fired, struct error *error) CHECKED;
// The batch is written. Returns how many fired.
uint64_t watch_taken(struct watch *watch);
// Of the period that holds the moment. STATUS_NOT_FOUND: there is no such threshold, or not for
// this subject, or never such a moment; STATUS_CORRUPT: a cell is damaged. Distinct values are
// counted up to the limit: from there on it is not complete.
enum status watch_quota(
    const struct watch *watch,
    const struct watch_source *source,
    uint32_t threshold_id,
    struct bytes subject,
    int64_t time_s,
    struct quota *out,
    struct error *error) CHECKED;
