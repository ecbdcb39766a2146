#pragma once
// Identities in the window before a measurement begins: the generations of every shard are written
// as a writer would have written them, without a log, so that 300 million take minutes.
//
//     server_prepare(&server, ...);
//     prefill_write(server.data, shards, count, now_ns, &error);    // nothing runs yet
//     server_run(&server, ...);
//
// The ledger that comes of it is for measuring only: its identities are of no block. Thread: main.

#include "base/status.h"

#include <stdint.h>

// At least count in all shards together; they came now_ns.
enum status prefill_write(
    const char *data, uint32_t shards, uint64_t count, int64_t now_ns, struct error *error) CHECKED;
