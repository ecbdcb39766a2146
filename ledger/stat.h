#pragma once
// A ledger in figures, from any process, beside a running tallyd or without it.
//
//     struct ledger_stat stat;
//     stat_read(dir, &arena, &stat, &error);
//     stat_count_cells(dir, &stat, &error);            // or not: it reads the keys of all cells
//
// Counting a shard's events touches the first page of each block of its log. The shards are looked
// at one after another, so that figures of two shards may be some moments apart. Results in the
// arena. Thread: one.

#include "base/arena.h"
#include "base/status.h"
#include "ledger/horizon.h"
#include "ledger/lmdb_env.h"
#include "ledger/log_kept.h"
#include "ledger/meter.h"

enum { STAT_WIDTHS = CELL_ZONE_MONTH + 1, STAT_RECENT_S = 60 };

// A block of a log: when it was committed, and its entries' event times.
struct stat_block {
    uint64_t sequence;  // 0: there is none
    int64_t arrival_ns;
    int64_t time_min_ns, time_max_ns;
};

struct shard_stat {
    uint32_t shard;
    uint64_t head;            // the last block of the log
    uint64_t events;          // in the log
    uint64_t position;        // the last block that is in the cells on disk
    uint64_t cells;           // on disk
    uint64_t dedup_position;  // the last block whose identities are in generations
    uint64_t dedup_expired;   // the last block of which some may be forgotten
    uint64_t identities;      // in generations
    uint32_t generations, runs;
    struct env_stat log, state;
    struct log_kept kept;       // from where on the log is there
    const uint64_t *live_from;  // per meter: the first block its cells cover; 0: not yet
    struct stat_block first, last;
    // In blocks that arrived within STAT_RECENT_S before the last one did.
    uint64_t recent_events, recent_bytes;
    uint64_t cells_by_width[STAT_WIDTHS];  // by stat_count_cells
    const struct horizons *horizons;       // how far windows are made and kept
};

struct ledger_stat {
    uint32_t shards_count;
    struct shard_stat *shards;
    uint32_t meters_count;
    struct meter *meters;
};

enum status stat_read(
    const char *dir, struct arena *arena, struct ledger_stat *out, struct error *error) CHECKED;
// Fills in cells_by_width.
enum status
stat_count_cells(const char *dir, struct ledger_stat *stat, struct error *error) CHECKED;
