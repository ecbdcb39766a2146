#pragma once
// The sums under way of one usage query: a hash table from (subject, window, dimensions) to a
// cell's state.
//
//     struct usage_rows rows = usage_rows_in(&arena, &plan);
//     sum = usage_rows_at(&rows, subject, time_ns, &group);   // NULL: a filter leaves it out
//     usage_rows_merge(&rows, sum, start_s, &state);
//     for (i = 0; i < rows.capacity; i++) if (rows.slots[i]) use(rows.slots[i]);
//
// Everything lies in the arena; resetting it empties the table. Owner: the query. Thread: one.

#include "ledger/usage_plan.h"

struct usage_sum {
    uint64_t hash;
    struct bytes subject;
    int64_t from_ns, to_ns;
    struct bytes *dimensions;  // as many as the plan groups by
    struct cell_state state;   // moments count from 1970
    int64_t overflow_ns;       // a time of what took a SUM out of its range last
};

struct usage_rows {
    struct arena *arena;
    const struct usage_plan *plan;
    struct usage_sum **slots;
    size_t capacity;  // a power of two, or 0
    size_t count;
    uint64_t blocks_read;
};

struct usage_rows usage_rows_in(struct arena *arena, const struct usage_plan *plan);
// The sum that an event or cell of this subject, time and group belongs to; NULL when the group
// does not pass the plan's filters. Copies what it keeps. Valid until the arena is reset.
struct usage_sum *usage_rows_at(
    struct usage_rows *rows, struct bytes subject, int64_t time_ns, const struct cell_group *group);
void usage_rows_merge(
    struct usage_rows *rows,
    struct usage_sum *sum,
    int64_t start_s,
    const struct cell_state *state);
void
usage_rows_input(struct usage_rows *rows, struct usage_sum *sum, const struct cell_input *input);
// The row of a sum; STATUS_OVERFLOW names meter, subject and quarter hour when it is beyond the
// range of a quantity. Borrows from the rows' arena. False in *out_has_row: nothing in it has a
// value.
enum status usage_rows_row(
    const struct usage_rows *rows,
    const struct usage_sum *sum,
    struct usage_row *out,
    bool *out_has_row,
    struct error *error) CHECKED;
