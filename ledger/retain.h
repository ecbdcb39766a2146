#pragma once
// Retention of the log: chapters all of whose blocks are older than the limit, by their events and
// by their arrival, are deleted from its beginning.
//
//     const struct retain_options options = {.log = env, .before_ns = now - keep, .sealed = ...};
//     do retain_step(&options, &kept, &result, &error);       // one short transaction
//     while (result == RETAIN_MORE);
//
// A chapter stops to count in one transaction, with the record of ledger/log_kept; its blocks are
// deleted in the following steps, also after a crash. The newest chapter is never deleted, so a log
// that had blocks has some. LMDB reuses the space; readers in a snapshot keep theirs.
// Thread: the one that writes the shard's log/.

#include "ledger/log_kept.h"
#include "ledger/retain_hold.h"

struct retain_options {
    struct env *log;
    int64_t before_ns;                     // younger events and arrivals stay
    uint64_t flushed;                      // blocks up to here are in the cells on disk
    uint64_t sealed;                       // and up to here in the identities on disk
    const struct retain_holders *holders;  // NULL: nobody reads the log
};

enum retain_result {
    RETAIN_IDLE,   // nothing is that old
    RETAIN_MORE,   // a step was done; another may be
    RETAIN_CELLS,  // a chapter is old enough, but not in the cells on disk yet
    RETAIN_SEAL,   // ...but its identities are not on disk yet
    RETAIN_HELD,   // ...but somebody is going to read it
};

struct retain_step {
    enum retain_result result;
    uint64_t deleted;  // blocks
};

// kept: as it is in the log, updated with it. STATUS_FULL, STATUS_IO: as a commit.
enum status retain_step(
    const struct retain_options *options,
    struct log_kept *kept,
    struct retain_step *out,
    struct error *error) CHECKED;
