#pragma once
// Whether a ledger is what was written: every stored value of every shard, and the cells against
// the log.
//
//     verify_run(dir, &(struct verify_options){.on_finding = print}, &summary, &error);
//     exit(summary.findings > 0);
//
// Checked: ledger.conf; the meter registry's records; per shard: blocks dense from 1, their headers
// and checksums, that entries fit their block's count and time bounds and belong to the shard, no
// identity twice; the position of the cells not beyond the log, every record of state/ against its
// checksum; every cell bit for bit the fold of blocks [live_from, position], none missing, none too
// many, for each meter of the registry that has cells; every run of identities in order and
// complete, and known to its filter; every identity of the log up to the position of dedup in a run
// with its payload, but for expired ones, and none that the log does not have.
//
// The reading is done in child processes, one for the registry and one per shard: one that crashes
// on a damaged file is a finding. Works beside a running tallyd, which may delete the log's
// beginning meanwhile (what went is not compared any more), and without it. Memory: a child's,
// proportional to the events (32 bytes each) and cells of one shard. Call it before this process
// opens an environment of the ledger, or from a single-threaded one. Thread: one.

#include "base/status.h"

#include <stdint.h>

struct verify_finding {
    int32_t shard;  // -1: the ledger as a whole
    const char
        *key;  // "ledger.conf", "log block 17", "cell meter 3, subject a, 2026-11-01T00:00:00Z"
    const char *what;  // "its checksum does not match"
};

struct verify_progress {
    uint32_t shard, shards;
    uint64_t done,
        total;  // blocks and cells of this shard; total is known once the child has looked
};

struct verify_options {
    void (*on_finding)(void *context, const struct verify_finding *finding);
    void (*on_progress)(void *context, const struct verify_progress *progress);  // or NULL
    void *context;
};

struct verify_summary {
    uint32_t shards;
    uint32_t meters;  // whose cells were compared
    uint64_t blocks, events, cells;
    uint64_t findings;
};

// STATUS_OK also with findings. STATUS_NOT_FOUND: there is no ledger; STATUS_IO: no child could be
// started.
enum status verify_run(
    const char *dir,
    const struct verify_options *options,
    struct verify_summary *out,
    struct error *error) CHECKED;
