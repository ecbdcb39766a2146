#pragma once
// The cells of one shard that are folded but not yet on disk: deltas since the last flush, of the
// finest width.
//
//     for each event of some: cells_prefetch(cells, hash);
//     for each: guess[i] = cells_guess(cells, hash);
//     for each: cells_prefetch_newest(guess[i]);
//     for each: struct cells_subject *node = cells_subject_guessed(cells, guess[i], subject, hash);
//         cells_add(cells, node, &step);                    // once per meter
//         cells_add_plain(cells, node, rule, &window, &input);  // or so, without groups
//     cells_each(cells, &(struct cells_range){...}, use, context);
//     cells_each_sorted(cells, use, context);               // flush: in key order
//     cells_clear(cells);
//
// The steps are there because with many subjects each is a cache miss that needs the one before it,
// and the misses of different events can be waited for together. Subjects hang in a
// table by hash; each holds its series (one per meter), each series its newest cell, which is
// nearly always the one that an event belongs to; the others are found in a table of cells. Keys
// and group values are copied; no allocation per event once warm. Running out of memory stops the
// process with a message. Owner and only thread: the shard's writer, or who it hands the cells to.

#include "ledger/cell_state.h"
#include "ledger/fold.h"

struct cell;
struct cells;
struct cells_subject;

struct cells *cells_open(void);
void cells_close(struct cells *cells);

// hash: cells_hash(subject), which is cells_hash_of(hash64(subject, 0)): the shard was chosen by
// the low bits, which are all the same here.
uint64_t cells_hash(struct bytes subject);
static inline uint64_t
cells_hash_of(uint64_t shard_hash)
{
    return shard_hash >> 16 | shard_hash << 48;
}

// Where the subject's node is found: nothing but a hint.
void cells_prefetch(const struct cells *cells, uint64_t hash);
// A subject with this hash, which is nearly always the only one: to be looked at by its text later,
// when it has arrived. NULL: there is none. Valid until cells_clear.
struct cells_subject *cells_guess(const struct cells *cells, uint64_t hash);
// What is added to next: nothing but a hint. guess may be NULL.
void cells_prefetch_newest(const struct cells_subject *guess);
// The subject's node, made when it is new. Valid until cells_clear.
struct cells_subject *cells_subject(struct cells *cells, struct bytes subject, uint64_t hash);
struct cells_subject *cells_subject_guessed(
    struct cells *cells, struct cells_subject *guess, struct bytes subject, uint64_t hash);
void cells_add(struct cells *cells, struct cells_subject *subject, const struct fold_step *step);

struct cells_window {
    uint32_t quarter;  // which quarter hour since 1970
    uint32_t epoch;
};

// start_s: of a quarter hour, 0 or later; those of an event's time are before the year 2263.
static inline struct cells_window
cells_window_of(int64_t start_s, uint32_t epoch)
{
    return (struct cells_window){(uint32_t)(start_s / QUARTER_HOUR_S), epoch};
}

static inline int64_t
cells_window_start_s(const struct cells_window *window)
{
    return (int64_t)window->quarter * QUARTER_HOUR_S;
}

// As cells_add with a step of this window and input, for a plain rule's meter. Returns the cell,
// which is there until cells_clear.
struct cell *cells_add_plain(
    struct cells *cells,
    struct cells_subject *subject,
    const struct meter_rule *rule,
    const struct cells_window *window,
    const struct cell_input *input);

size_t cells_count(const struct cells *cells);
size_t cells_bytes(const struct cells *cells);
void cells_clear(struct cells *cells);
// How often they were cleared: nodes are of one age.
uint64_t cells_age(const struct cells *cells);

struct cell_view {
    struct cell_key key;
    enum aggregation aggregation;
    const struct cell_group *group;
    const struct cell_state *state;  // in the call; of a UNIQUE_COUNT: the set, nothing listed
};
// False stops.
typedef bool (*cell_view_fn)(void *context, const struct cell_view *cell);

struct cells_range {
    uint32_t meter_id;
    struct bytes subject;  // size 0: all
    int64_t from_s, to_s;  // from_s <= start of the window < to_s
};

// In no particular order.
void cells_each(
    const struct cells *cells, const struct cells_range *range, cell_view_fn use, void *context);
// Every cell in the order of its key on disk.
void cells_each_sorted(const struct cells *cells, cell_view_fn use, void *context);
