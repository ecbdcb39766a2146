#pragma once
// The identities of one shard without its log: made ones go through a hot table into generations,
// as a writer and its keeper do it together.
//
//     identities_open(dir, &options, &identities, &error);    // dir: of an environment state/
//     identities_fill(&identities, count, &progress, &error);
//     dedup_find(identities.dedup, identity_made(lane, i), IDENTITIES_PAYLOAD);
//     identities_close(&identities);
//
// Owner: the caller. Thread: one at a time.

#include "base/progress.h"
#include "ledger/dedup.h"

enum {
    IDENTITIES_GROUP = 65536,  // they come in whole groups
    IDENTITIES_PAYLOAD = 7,
};

struct identities_options {
    uint32_t lane;              // shards with unlike ones have unlike lanes
    uint32_t hot_max;           // of the hot table, as in struct dedup_options
    uint64_t filter_bytes_max;  // as in struct generations_options
    uint64_t map_size;
    int64_t now_ns;  // when they are said to have come
    // The last block that they are said to be of: its number rises with every group. 0: of none.
    bool has_blocks;
};

struct identities {
    struct identities_options options;
    struct env *state;
    struct generations *generations;
    struct dedup *dedup;
    uint64_t count;                      // put
    double put_ns, append_ns, merge_ns;  // of the thread's CPU
};

struct hash128 identity_made(uint32_t lane, uint64_t i);
// The directory must be there. What it holds is opened, and may be asked for.
enum status identities_open(
    const char *dir,
    const struct identities_options *options,
    struct identities *out,
    struct error *error) CHECKED;
void identities_close(struct identities *identities);
// Puts at least so many more; progress shows how many there are of `before` and these together.
enum status identities_fill(
    struct identities *identities,
    uint64_t count,
    struct progress *progress,
    uint64_t before,
    struct error *error) CHECKED;
// Writes what the hot table holds, so that nothing of it is lost at the close.
enum status identities_seal(struct identities *identities, struct error *error) CHECKED;
double identities_cpu_ns(void);
