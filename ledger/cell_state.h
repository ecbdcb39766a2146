#pragma once
// What a cell holds: the state of an aggregation, to which events are added and into which other
// states of it are merged, in any order, with the same result.
//
//     struct cell_state state = {0};
//     cell_add(AGGREGATION_MAX, &state, &input, start_s, &arena);
//     cell_merge(AGGREGATION_MAX, &state, &other, &arena);
//     cell_value_write(key, AGGREGATION_MAX, &state, &group, &out);
//
//   value  u64 checksum (XXH3_64 of the rest, seeded by that of the key)
//          u8 aggregation  u8 flags  u8 dimensions  varint count (zigzag), then by aggregation
//            SUM, AVG         number sum
//            WEIGHTED_SUM     number sum  number moment
//            MIN, MAX         number extreme (with CELL_HAS_VALUE)
//            LATEST           number value  i64 time  i64 arrival  u64 block  u32 index (likewise)
//            UNIQUE_COUNT     varint n  n * 16 bytes, sorted; CELL_SPILLED: varint n, the hashes
//                             are in STATE_DB_UNIQUES
//          then per dimension: u16 length, bytes
//   number u8 size, then the bytes of base/wide, the lowest first
//
// Sums are exact in 256 bits, so they do not depend on the order; CELL_OVERFLOWED says that a SUM
// is beyond what a quantity can be, and then nobody reads it. A cancelled event is taken out of
// COUNT, SUM, AVG and WEIGHTED_SUM; the others keep no way back and are marked CELL_DIRTY: the log
// answers for them until they are made anew (ledger/mend).
// Owner: values; what they point to is in the arena given, or in what they were read from.

#include "base/arena.h"
#include "base/wide.h"
#include "ledger/cell.h"

enum cell_flag {
    CELL_OVERFLOWED = 1,
    CELL_DIRTY = 2,
    CELL_REPLACES = 4,  // made from the log: cells of earlier epochs do not count
    CELL_CAPPED = 8,  // too many dimension groups: the total of them all, the groups are in the log
    CELL_SPILLED = 16,
    CELL_HAS_VALUE = 32,
};

enum {
    CELL_SET_INLINE_MAX = 256,  // distinct values kept in the cell itself
    CELL_CHECKSUM_SIZE = 8,
};

// Distinct values by their hash: open addressing; an all-zero place is free.
struct cell_set {
    struct hash128 *places;
    uint32_t count;
    uint32_t capacity;
};

struct cell_latest {
    struct decimal value;
    int64_t time_ns;
    int64_t arrival_ns;
    uint64_t block;
    uint32_t index;
};

struct cell_unique {
    struct cell_set set;
    struct bytes listed;  // of a value that was read: sorted hashes of 16 bytes
    uint64_t spilled;     // with CELL_SPILLED: how many are in STATE_DB_UNIQUES
};

struct cell_sum {
    struct wide sum;
    struct wide moment;  // WEIGHTED_SUM: value * (time - start of the window), in ns
};

struct cell_state {
    int64_t count;  // events that counted, less those cancelled
    uint8_t flags;  // enum cell_flag
    union {
        struct cell_sum sum;
        struct decimal extreme;
        struct cell_latest latest;
        struct cell_unique unique;
    };
};

// Whether a cancelled event can be taken out of the aggregation's state. Who cannot is marked
// CELL_DIRTY.
bool cell_has_way_back(enum aggregation aggregation);

// One event as an aggregation sees it.
struct cell_input {
    bool is_cancel;
    struct decimal value;
    int64_t time_ns;
    int64_t arrival_ns;
    uint64_t block;
    uint32_t index;
    struct hash128 distinct;  // UNIQUE_COUNT: of the value's text
};

void cell_add_any(
    enum aggregation aggregation,
    struct cell_state *state,
    const struct cell_input *input,
    int64_t start_s,
    struct arena *arena);
// Whether the state is a count and a sum.
static inline bool
cell_is_sum(enum aggregation aggregation)
{
    return aggregation == AGGREGATION_SUM || aggregation == AGGREGATION_AVG;
}
// Inline for counts and sums, which thresholds add to for each event: a call would be half of their
// cost.
static inline void
cell_add(
    enum aggregation aggregation,
    struct cell_state *state,
    const struct cell_input *input,
    int64_t start_s,
    struct arena *arena)
{
    const bool is_sum = cell_is_sum(aggregation);
    if (input->is_cancel || (!is_sum && aggregation != AGGREGATION_COUNT)) {
        cell_add_any(aggregation, state, input, start_s, arena);
        return;
    }
    state->count++;
    if (is_sum)
        wide_add_int128(&state->sum.sum, input->value.units);
}
// shift_s: the start of from's window less that of into's, for the moments. Both are of one
// subject; of spilled sets only what is not spilled is merged: the caller adds the rest.
void cell_merge(
    enum aggregation aggregation,
    struct cell_state *into,
    const struct cell_state *from,
    int64_t shift_s,
    struct arena *arena);
// Later in time; then in the log.
bool cell_latest_after(const struct cell_latest *a, const struct cell_latest *b);

// A hash as it is stored: its high half first, so that memcmp orders hashes by number.
enum { CELL_HASH_SIZE = 16 };
void cell_hash_write(struct hash128 hash, uint8_t out[CELL_HASH_SIZE]);
struct hash128 cell_hash_read(const uint8_t from[CELL_HASH_SIZE]);

// False: it is there already. The hash must not be all zero.
bool cell_set_add(struct cell_set *set, struct hash128 hash, struct arena *arena);
// The hashes in the order of their bytes, in the arena.
struct bytes cell_set_sorted(const struct cell_set *set, struct arena *arena);

// Turns the set into the list that cell_value_write wants.
void cell_unique_list(struct cell_unique *unique, struct arena *arena);

// Whether a SUM is beyond the range of a quantity.
bool cell_overflowed(enum aggregation aggregation, const struct cell_state *state);

// For UNIQUE_COUNT without CELL_SPILLED the hashes are unique.listed, and the set must be empty. On
// disk they are at most CELL_SET_INLINE_MAX.
void cell_value_write(
    struct bytes key,
    enum aggregation aggregation,
    const struct cell_state *state,
    const struct cell_group *group,
    struct buffer *out);
// Whether the checksum fits, whatever the aggregation.
bool cell_value_is_whole(struct bytes key, struct bytes value);
// STATUS_CORRUPT when the checksum or the form is wrong, or the aggregation is another one. Views
// into value.
enum status cell_value_read(
    struct bytes key,
    struct bytes value,
    enum aggregation aggregation,
    struct cell_state *out,
    struct cell_group *out_group) CHECKED;
// The aggregation of a value, unchecked but for its range; false: none.
bool cell_value_aggregation(struct bytes value, enum aggregation *out);
