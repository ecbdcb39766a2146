#pragma once
// Who reads an environment, looked at from time to time. LMDB frees no page that a reader may still
// see: those of processes that died are cleared, and it is known for how long the oldest reader of
// the others has kept its snapshot.
//
//     struct readers readers = {.env = env};
//     cleared += readers_look(&readers, clock_monotonic_ns());     // each second
//     readers.age_ns                                               // of the oldest snapshot
//
// Owner and thread: a shard's keeper.

#include "ledger/lmdb_env.h"

struct readers {
    struct env *env;
    uint64_t oldest_txn;  // 0: nobody reads an older state than the last
    int64_t since_ns;     // monotonic: when that was seen first
    int64_t age_ns;       // at the last look; 0: nobody does
};

// Returns how many dead ones were cleared.
int readers_look(struct readers *readers, int64_t monotonic_ns);
