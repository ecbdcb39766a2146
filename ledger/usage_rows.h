#pragma once
// The sums under way of one usage query: a hash table from (subject, window, dimensions) to a
// cell's state.
//
//     struct usage_rows rows = usage_rows_in(&arena, &plan);
//     sum = usage_rows_cell(&rows, &key, &group, &state);     // NULL: a filter leaves it out
//     usage_rows_event(&rows, subject, &step);
//     if (rows.needs_log) ask the log instead;
//     for (i = 0; i < rows.capacity; i++) if (rows.slots[i]) use(rows.slots[i]);
//
// Everything lies in the arena; resetting it empties the table. Owner: the query. Thread: one.

#include "ledger/usage_plan.h"
#include "ledger/usage_touched.h"

struct usage_sum {
    uint64_t hash;
    struct bytes subject;  // size 0: several are merged
    struct bytes latest_subject;
    int64_t from_ns, to_ns;
    struct bytes *dimensions;  // as many as the plan groups by
    struct cell_state state;   // moments count from 1970
    int64_t overflow_ns;       // a time of what took a SUM out of its range last
};

struct usage_rows {
    struct arena *arena;
    const struct usage_plan *plan;
    struct usage_touched *touched;  // what the log answers of it; NULL: cells are not asked
    struct usage_sum **slots;
    size_t capacity;  // a power of two, or 0
    size_t count;
    uint64_t blocks_read;
    bool lacks_groups;                     // days or months do: finer cells have to answer
    bool needs_log;                        // the log has to answer all of it
    int64_t window_from_ns, window_to_ns;  // the window that was asked for last
};

struct usage_rows usage_rows_in(struct arena *arena, const struct usage_plan *plan);
// Merges a cell, whose window ends at end_s, into the sum it belongs to, which is valid until the
// arena is reset. NULL: the cut or the filter leaves it out, or it is touched; or the cell cannot
// answer: one that is to be made anew or lacks the groups that are asked for is touched from now
// on, and for one that lies in two windows (a zone off the quarter hours) needs_log is set.
struct usage_sum *usage_rows_cell(
    struct usage_rows *rows,
    const struct cell_key *key,
    int64_t end_s,
    const struct cell_group *group,
    const struct cell_state *state);
// Whether the cell's flags let it answer.
bool usage_cell_answers(const struct usage_plan *plan, const struct cell_state *state);
void usage_rows_event(struct usage_rows *rows, struct bytes subject, const struct fold_step *step);
// Adds the sums of another table of the same query, those of all subjects to one: the last step of
// a query that merges them, once for each shard.
void usage_rows_unite(struct usage_rows *rows, const struct usage_rows *others);
// The row of a sum; STATUS_OVERFLOW names meter, subject and quarter hour when it is beyond the
// range of a quantity. Borrows from the rows' arena. False in *out_has_row: nothing in it has a
// value.
enum status usage_rows_row(
    const struct usage_rows *rows,
    const struct usage_sum *sum,
    struct usage_row *out,
    bool *out_has_row,
    struct error *error) CHECKED;
