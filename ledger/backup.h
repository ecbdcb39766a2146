#pragma once
// Backups of a ledger, taken while tallyd ingests or without it, and ledgers made from them.
//
//     backup_run(dir, to, &(struct backup_options){.rate_bytes = 50 << 20}, &summary, &error);
//     restore_run(to, new_dir, &(struct restore_options){...}, &summary, &error);
//
// A backup holds ledger.conf with its secret, the meters, and the blocks of each shard up to a head
// that was read when it began: every event that was acknowledged before is in it. state/ is not: it
// is made from the log again. A second backup into the same directory adds the blocks that came
// since and keeps all that are there, also those that the ledger has deleted meanwhile. It counts
// when its manifest is written, as the last thing and at once; what an unfinished one left is
// written over. While it copies, each block is checked against its checksums and its predecessor's;
// no read transaction outlives a mebibyte of blocks, and none is open while it writes or waits.
//
// Where the log has lost its beginning (ledger/retain) before the backup began, the cells are in it
// too, from one snapshot that lasts as long as they are copied.
//
// Format: docs/ledger-format.md. Owner: the caller. Thread: one.

#include "base/status.h"

#include <stdint.h>

// How far it is, in blocks of all shards together.
typedef void (*backup_progress_fn)(void *context, uint64_t done, uint64_t total);

struct backup_options {
    uint64_t rate_bytes;             // at most so many a second; 0: as fast as it goes
    backup_progress_fn on_progress;  // or NULL
    void *context;
};

struct backup_summary {
    uint32_t number;         // of this backup into its directory, from 1
    uint64_t blocks, bytes;  // copied now
    uint64_t blocks_held;    // in the backup, all told
};

// STATUS_EXISTS: to holds the backup of another ledger, or of this one before it was restored, or
// is none. STATUS_BUSY: another backup is at work there, or retention deleted blocks meanwhile.
// STATUS_CORRUPT: a block is not what was written.
enum status backup_run(
    const char *dir,
    const char *to,
    const struct backup_options *options,
    struct backup_summary *out,
    struct error *error) CHECKED;

enum { RESTORE_SHARDS_MAX = 256 };

// What "to the end" is written as.
static const uint64_t RESTORE_TO_END = UINT64_MAX;

struct restore_options {
    // Per shard the last block to take; NULL: to the end. Shards beyond those of the ledger must
    // be RESTORE_TO_END.
    const uint64_t *blocks_max;
    int64_t until_ns;   // blocks committed at or before this time, up to the first later one
    uint64_t map_size;  // of the new ledger; 0: as it was
    backup_progress_fn on_progress;  // or NULL
    void *context;
};

struct restore_summary {
    uint32_t shards;
    uint64_t blocks, events;
};

// Makes dir, which must not exist; it is a ledger when this returns STATUS_OK, and not there
// before: what did not end is dir.restoring, which the next one refuses to touch. Cells and
// identities are made when it is first opened. STATUS_EXISTS: dir, or dir.restoring, is there;
// STATUS_NOT_FOUND: from is no backup, or does not hold a block that was named; STATUS_CORRUPT: a
// file or block is not what was backed up; STATUS_INVALID: a backup without the log's beginning can
// be restored to its end only.
enum status restore_run(
    const char *from,
    const char *dir,
    const struct restore_options *options,
    struct restore_summary *out,
    struct error *error) CHECKED;
