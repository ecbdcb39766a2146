#pragma once
// Cells on disk and in answers: the state of one aggregation for one subject, meter, dimension
// group and window.
//
//   key    u8 width  u32be meter id  u8 subject length  subject  u64be window number
//          16 bytes group hash
//   value  u64 checksum (XXH3_64 of key and the rest)  u64 count  i128 sum  u8 flags  u8 dimensions
//          then per dimension: u16 length, bytes
//
// Keys sort by meter, subject, time. The window number is floor(time / width). The group is the
// list of the dimension's values in the meter's order; its hash is hash128 of the length-prefixed
// values (all zero for a meter without dimensions). State environment databases: STATE_DB_META and
// STATE_DB_CELLS below.
//
// Invariant: cells on disk are exactly the fold of blocks [live_from(meter), position] for each
// meter in meta.

#include "base/buffer.h"
#include "base/decimal.h"
#include "base/hash.h"
#include "base/status.h"
#include "ledger/meter.h"

enum cell_width { CELL_QUARTER_HOUR = 1 };

static const int64_t QUARTER_HOUR_NS = 15LL * 60 * 1000000000;

enum {
    CELL_KEY_MAX = 1 + 4 + 1 + 255 + 8 + 16,
    CELL_OVERFLOWED = 1,  // flag: the sum left its range
};

enum state_db { STATE_DB_META, STATE_DB_CELLS, STATE_DB_COUNT };
enum log_db { LOG_DB_BLOCKS, LOG_DB_COUNT };

struct cell_state {
    uint64_t count;  // events that counted
    struct decimal sum;
    uint8_t flags;
};

struct cell_key {
    enum cell_width width;
    uint32_t meter_id;
    struct bytes subject;
    int64_t window;  // floor(time_ns / QUARTER_HOUR_NS), never negative
    struct hash128 group;
};

struct cell_group {
    uint32_t count;
    struct bytes values[METER_DIMENSIONS_MAX];
};

// Merges from into into: adds, and marks overflow.
void cell_merge(struct cell_state *into, const struct cell_state *from);

size_t cell_key_write(const struct cell_key *key, uint8_t out[CELL_KEY_MAX]);
bool cell_key_read(struct bytes bytes, struct cell_key *out);
// The part of the key up to and with the subject (a prefix for walks); subject NULL or empty: up to
// the meter.
size_t cell_prefix_write(
    enum cell_width width,
    uint32_t meter_id,
    const struct bytes *subject,
    uint8_t out[CELL_KEY_MAX]);

void cell_value_write(
    struct bytes key,
    const struct cell_state *state,
    const struct cell_group *group,
    struct buffer *out);
// STATUS_CORRUPT when the checksum or the form is wrong. Views into value.
enum status cell_value_read(
    struct bytes key,
    struct bytes value,
    struct cell_state *out,
    struct cell_group *out_group) CHECKED;

struct hash128 cell_group_hash(const struct cell_group *group);

// state/ meta: position and per meter live_from, each value u64 + checksum over key and value.
//   key "position" -> last block folded into the cells on disk; absent: 0
//   key "meter" + u32be id -> first block that its cells cover
enum status state_meta_read(struct bytes key, struct bytes value, uint64_t *out) CHECKED;
void state_meta_write(struct bytes key, uint64_t value, uint8_t out[16]);
