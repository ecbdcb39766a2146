#pragma once
// What of a damaged ledger can be made again from the rest, and what cannot.
//
//     repair_run(dir, &(struct repair_options){.on_step = print}, &summary, &error);
//     exit(summary.left > 0);
//
// It verifies the ledger, and then, where something was found:
//
//     ledger.shape   from ledger.conf
//     log            from its own blocks, found in the file without LMDB's pages (ledger/salvage),
//                    when each of them is whole. Else nothing is changed, and what is lost is told:
//                    blocks, and how many events they had as far as their headers say
//     head           from the log
//     fired          set aside: thresholds fire once more
//     state          from the log (ledger/rebuild), unless the log has not its beginning
//
// and verifies it again. The registry and ledger.conf are made of nothing else: a backup has them.
// What is replaced stays beside it as FILE.damaged. A crash in between leaves either file: run it
// again. Nobody may write the ledger meanwhile. Thread: one, that has no environment of it open.

#include "base/status.h"
#include "ledger/ledger.h"

struct repair_step {
    int32_t shard;  // -1: the ledger as a whole
    bool is_mended;
    const char *text;  // "log: made again of 17 blocks"
};

struct repair_options {
    bool is_dry;  // says what it would do, and changes nothing
    void (*on_step)(void *context, const struct repair_step *step);
    void *context;
    struct ledger_options ledger;  // how it is opened to make state/ again
};

struct repair_summary {
    uint64_t findings;  // at first
    uint64_t left;      // afterwards; of a dry run those that nothing can be done about
    uint32_t mended;    // steps
};

// STATUS_OK also when something is left. STATUS_BUSY: a process writes it.
enum status repair_run(
    const char *dir,
    const struct repair_options *options,
    struct repair_summary *out,
    struct error *error) CHECKED;
