#pragma once
// What an operator does to a ledger that nobody writes: state/ made anew from log/, and a larger
// map.
//
//     rebuild_run(dir, &(struct rebuild_options){.shard = REBUILD_ALL_SHARDS}, &summary, &error);
//     resize_run(dir, 2ULL << 40, &error);
//
// state/ is a function of log/ (invariant 2 of ledger/README.md), so whatever is damaged in it is
// mended by dropping it. Meters are folded from block 1 on, also those that were made later. A
// crash in between leaves a shard without state/, which the next rebuild makes.
//
// Programs that read the ledger meanwhile, other than short commands, are to be started again: they
// still see the files that were there. Thread: one, that has no environment of the ledger open.

#include "base/status.h"
#include "ledger/ledger.h"

enum { REBUILD_ALL_SHARDS = -1 };

struct rebuild_options {
    int32_t shard;                 // or REBUILD_ALL_SHARDS
    struct ledger_options ledger;  // how it is opened to fold again
};

struct rebuild_summary {
    uint32_t shards;  // rebuilt
    uint64_t blocks;  // folded again
};

// STATUS_BUSY: a process writes it. STATUS_INVALID: there is no such shard, or blocks of its log
// were deleted (by retention): what the cells hold of those would be lost. Then nothing is changed.
enum status rebuild_run(
    const char *dir,
    const struct rebuild_options *options,
    struct rebuild_summary *out,
    struct error *error) CHECKED;

// Sets the map size of every environment from the next start on. STATUS_INVALID: it is smaller than
// it was. STATUS_BUSY: a process writes the ledger.
enum status resize_run(const char *dir, uint64_t map_size, struct error *error) CHECKED;
