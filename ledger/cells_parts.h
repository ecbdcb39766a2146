#pragma once
// How cells in memory lie, for ledger/cells.c and for the fold, which adds most events to the
// newest cell of their series without a call: 50 instructions less of 70 a meter.
//
//     if (!cell_add_quick(cell, rule, &window, value)) cells_add_plain(...)
//
// Owner and thread: as ledger/cells.h.

#include "ledger/cells.h"

#include <stddef.h>

struct cell;

struct series {
    struct cells_subject *subject;
    struct cell *newest;  // the last one made; others follow by next; NULL: the series is unused
    uint32_t meter_id;
    uint32_t cells_count;
    enum aggregation aggregation;
};

enum { LINE = 64, SERIES_PER_RUN = 3 };

struct series_run {
    struct series_run *next;
    struct series series[SERIES_PER_RUN];
};

// With many subjects an event is mostly waiting for its subject and cells to come from memory, so
// they are laid out by cache lines: the series of a few meters lie in the node itself, which is two
// lines, and what most aggregations touch of a cell is its first line.
struct cells_subject {
    uint64_t hash;
    const uint8_t *text;
    uint32_t text_size;
    struct series_run first;
};

_Static_assert(sizeof(struct cells_subject) == 2 * (size_t)LINE, "two lines");

struct group_node {
    struct hash128 hash;
    struct cell_group group;
};

struct cell {
    _Alignas(LINE) int64_t start_s;
    uint32_t epoch;
    uint32_t meter_id;  // the series', without a look at it
    struct cell_state state;
    struct series *series;
    struct cell *next;  // of the series
    const struct group_node *group;
};

_Static_assert(sizeof(struct cell) == 2 * (size_t)LINE, "two lines");
_Static_assert(
    offsetof(struct cell, state) + offsetof(struct cell_state, sum.moment) == LINE,
    "one line but for moments");

// The newest cell of the series where the rule's place says; of another meter perhaps, or NULL.
static inline struct cell *
cells_newest(const struct cells_subject *subject, uint32_t place)
{
    return place < SERIES_PER_RUN ? subject->first.series[place].newest : NULL;
}

// As cells_add_plain, of an event of the cell's subject that is no cancel. False: the cell is NULL,
// or not the one to add to; nothing was done.
static inline bool
cell_add_quick(
    struct cell *cell,
    const struct meter_rule *rule,
    const struct cells_window *window,
    const struct decimal *value)
{
    if (!rule->is_quick || cell == NULL || cell->meter_id != rule->meter_id ||
        cell->start_s != window->start_s || cell->epoch != window->epoch)
        return false;
    cell->state.count++;
    if (rule->is_sum)
        wide_add_int128(&cell->state.sum.sum, value->units);
    return true;
}
