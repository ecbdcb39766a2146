#pragma once
// The sums under way of one usage query: a hash table from (subject, window, dimensions) to a
// cell's state.
//
//     struct usage_rows rows = usage_rows_in(&arena, &plan);
//     usage_rows_add(&rows, subject, time_ns, &group, &state);
//     for (i = 0; i < rows.capacity; i++) if (rows.slots[i]) use(rows.slots[i]);
//
// Everything lies in the arena; resetting it empties the table. Owner: the query. Thread: one.

#include "ledger/usage_plan.h"

struct usage_sum {
    uint64_t hash;
    struct bytes subject;
    int64_t from_ns, to_ns;
    struct bytes *dimensions;  // as many as the plan groups by
    struct cell_state state;
};

struct usage_rows {
    struct arena *arena;
    const struct usage_plan *plan;
    struct usage_sum **slots;
    size_t capacity;  // a power of two, or 0
    size_t count;
    uint64_t blocks_read;
    // The first quarter hour whose sum left its range.
    bool is_overflowed;
    struct bytes overflow_subject;
    int64_t overflow_from_ns;
};

struct usage_rows usage_rows_in(struct arena *arena, const struct usage_plan *plan);
// Adds what one cell or event counts, when its group passes the plan's filters. Copies what it
// keeps.
void usage_rows_add(
    struct usage_rows *rows,
    struct bytes subject,
    int64_t time_ns,
    const struct cell_group *group,
    const struct cell_state *state);
// STATUS_OVERFLOW names meter, subject and quarter hour.
enum status usage_rows_check(const struct usage_rows *rows, struct error *error) CHECKED;
// The row of a sum; STATUS_OVERFLOW when a count is no decimal any more. Borrows from the rows'
// arena.
enum status usage_rows_row(
    const struct usage_rows *rows,
    const struct usage_sum *sum,
    struct usage_row *out,
    struct error *error) CHECKED;
