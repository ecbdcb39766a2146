#pragma once
// Where the state of an aggregation is kept: keys of cells, and the databases of a shard.
//
//   key    u8 width  u16be zone  u32be meter id  u64be start (seconds)  u8 subject length  subject
//          16 bytes group hash  u32be epoch
//   value  ledger/cell_state.h
//
// A cell is the aggregation of one meter over the events of one subject and dimension group whose
// times lie in one window. Keys sort by meter, window, subject: a flush writes in few places, a
// window's subjects lie together in one order, what is too old is one range, and the months of a
// subject are some seeks. The group is the list of the dimensions' values in the meter's order; its
// hash is hash128 of the length-prefixed values (all zero for a meter without dimensions).
//
// Epoch: cuts are numbered from 1 in the order of a shard's log. An event belongs to the epoch of
// the last cut before it in the log whose time is not before the window's end, 0 when there is
// none. So the cells with an epoch below a cut's number are what that cut saw, for ever.
//
// Invariant: cells on disk are exactly the fold of blocks [live_from(meter), position] for each
// meter in meta.

#include "base/buffer.h"
#include "base/hash.h"
#include "base/status.h"
#include "ledger/meter.h"

enum cell_width {
    CELL_QUARTER_HOUR = 1,  // what the fold touches; the others are merges of finer ones
    CELL_HOUR,
    CELL_DAY,         // UTC
    CELL_MONTH,       // UTC
    CELL_ZONE_DAY,    // of a listed billing zone
    CELL_ZONE_MONTH,  //
};

static const int64_t QUARTER_HOUR_S = 15 * 60;
static const int64_t QUARTER_HOUR_NS = 15LL * 60 * 1000000000;

enum { CELL_KEY_MAX = 1 + 2 + 4 + 8 + 1 + 255 + 16 + 4 };

enum state_db {
    STATE_DB_META,
    STATE_DB_CELLS,
    STATE_DB_UNIQUES,
    STATE_DB_RUNS,         // ledger/runs.h
    STATE_DB_FILTERS,      // ledger/runs.h
    STATE_DB_GENERATIONS,  // ledger/generations.h
    STATE_DB_DIRTY,        // ledger/dirty.h
    STATE_DB_COUNT,
};
enum log_db { LOG_DB_BLOCKS, LOG_DB_META, LOG_DB_COUNT };

struct cell_key {
    enum cell_width width;
    uint16_t zone;  // number of a listed zone; 0: UTC
    uint32_t meter_id;
    int64_t start_s;  // of the window, never negative
    struct bytes subject;
    struct hash128 group;
    uint32_t epoch;
};

struct cell_group {
    uint32_t count;
    struct bytes values[METER_DIMENSIONS_MAX];
};

size_t cell_key_write(const struct cell_key *key, uint8_t out[CELL_KEY_MAX]);
bool cell_key_read(struct bytes bytes, struct cell_key *out);
// The first bytes of the keys of a meter's windows from start_s on (a place to seek).
size_t cell_seek_window(
    enum cell_width width,
    uint16_t zone,
    uint32_t meter_id,
    int64_t start_s,
    uint8_t out[CELL_KEY_MAX]);
// The common first bytes of all keys of the same width, zone, meter, window and subject.
size_t cell_prefix_subject(const struct cell_key *key, uint8_t out[CELL_KEY_MAX]);
// Order of keys without writing them: as memcmp of what cell_key_write writes.
int cell_key_compare(const struct cell_key *a, const struct cell_key *b);

struct hash128 cell_group_hash(const struct cell_group *group);

// state/ meta: position and per meter live_from, each value u64 + checksum over key and value.
//   key "position" -> last block folded into the cells on disk; absent: 0
//   key "meter" + u32be id -> first block that its cells cover
//   key "dedup" -> last block whose identities are in the runs on disk; absent: 0
//   key "dedup_expired" -> last block of which some may be forgotten again; absent: 0
enum status state_meta_read(struct bytes key, struct bytes value, uint64_t *out) CHECKED;
void state_meta_write(struct bytes key, uint64_t value, uint8_t out[16]);
