#pragma once
// How cells in memory lie, for ledger/cells.c and for the fold, which adds most events to the
// newest cell of their series without a call: 50 instructions less of 70 a meter.
//
//     if (!cell_add_quick(cell, rule, &window, value)) cells_add_plain(...)
//
// With many subjects an event is mostly waiting for its subject and cells to come from memory, and
// a flush for all of them, so each is one line of the cache: a node, and a cell behind it for each
// meter as its first event makes them.
//
// Owner and thread: as ledger/cells.h.

#include "ledger/cells.h"

#include <stddef.h>

struct cell;

enum {
    LINE = 64,
    SERIES_NEAR = 3,       // of the meters of most subjects
    SERIES_A_RUN = 7,      // of others
    SUBJECT_NEAR_MAX = 24  // bytes of a text in its node
};

struct series_run {
    _Alignas(LINE) struct series_run *next;
    struct cell *newest[SERIES_A_RUN];
};

// A series is the cells of a meter and subject: its newest one, which leads to the others and knows
// the meter. Unused places are NULL and come last.
struct cells_subject {
    _Alignas(LINE) struct cell *newest[SERIES_NEAR];
    struct series_run *more;  // NULL: no further series
    union {
        uint8_t near[SUBJECT_NEAR_MAX];
        const uint8_t *far;
    } text;
    uint32_t text_size;
};

_Static_assert(sizeof(struct cells_subject) == LINE, "a line");
_Static_assert(sizeof(struct series_run) == LINE, "a line");

struct group_node {
    struct hash128 hash;
    struct cell_group group;
};

// A count and a sum are in the cell itself while the sum has 128 bits; what else there is to know
// of some aggregations is a line or two elsewhere.
struct cell {
    _Alignas(LINE) struct cells_window window;
    uint32_t meter_id;
    uint8_t aggregation;  // enum aggregation
    bool is_large;        // all is in state
    struct cell *next;    // of the series, made before this one
    int64_t count;
    union {
        int128 sum;
        struct cell_state *state;
    };
    struct cells_subject *subject;
    const struct group_node *group;
};

_Static_assert(sizeof(struct cell) == LINE, "a line");

static inline struct bytes
cells_subject_text(const struct cells_subject *subject)
{
    const bool is_near = subject->text_size <= SUBJECT_NEAR_MAX;
    return bytes_of(is_near ? subject->text.near : subject->text.far, subject->text_size);
}

// The newest cell of the series where the rule's place says; of another meter perhaps, or NULL.
static inline struct cell *
cells_newest(const struct cells_subject *subject, uint32_t place)
{
    return place < SERIES_NEAR ? subject->newest[place] : NULL;
}

static inline bool
cells_window_is(const struct cells_window *a, const struct cells_window *b)
{
    return a->quarter == b->quarter && a->epoch == b->epoch;
}

// As cells_add_plain, of an event of the cell's subject that is no cancel. False: the cell is NULL,
// or not the one to add to, or too small; nothing was done.
static inline bool
cell_add_quick(
    struct cell *cell,
    const struct meter_rule *rule,
    const struct cells_window *window,
    const struct decimal *value)
{
    int128 sum;
    if (!rule->is_quick || cell == NULL || cell->meter_id != rule->meter_id ||
        !cells_window_is(&cell->window, window) || cell->is_large)
        return false;
    if (rule->is_sum) {
        if (__builtin_add_overflow(cell->sum, value->units, &sum))
            return false;
        cell->sum = sum;
    }
    cell->count++;
    return true;
}
