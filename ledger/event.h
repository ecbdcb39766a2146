#pragma once
// An event as it goes from ingest to the ledger, and what became of it (DESIGN section 4).
//
//     struct event event = {.subject = ..., .type = ..., .id = ..., .value = DECIMAL_ONE};
//     event.properties[event.properties_runs++] = run of msgpack key/value pairs;
//
// All views are borrowed until ledger_put returns. ingest has checked the envelope (sizes, required
// fields, value, UTF-8 is not demanded); the ledger decides identity, dedup and the clock policy.

#include "base/bytes.h"
#include "base/decimal.h"

#include <stdint.h>

enum {
    EVENT_SUBJECT_MAX = 255,
    EVENT_TYPE_MAX = 100,
    EVENT_ID_MAX = 128,
    EVENT_SOURCE_MAX = 255,
    EVENT_CHUNK_MAX = 255,  // a longer chunk is a broken frame
    EVENT_BATCH_MAX = 100,
    EVENT_SIZE_MAX = 64 * 1024,
    EVENT_DEPTH_MAX = 8,
    EVENT_RUNS_MAX = 8,  // reserved keys cut the record's map into at most this many runs
};

struct event {
    struct bytes subject;
    struct bytes type;
    struct bytes id;      // empty: none
    struct bytes source;  // empty: none
    struct bytes chunk;   // of the frame; empty: none
    uint32_t chunk_position;
    int64_t time_ns;  // 0: none given, the arrival time counts
    struct decimal value;
    uint32_t properties_count;  // key/value pairs
    uint32_t properties_runs;
    struct bytes properties[EVENT_RUNS_MAX];  // msgpack pairs as sent, in order
    struct bytes batch;                       // an open backfill batch's; empty: live
};

enum fate {
    FATE_STORED,          // in the log and fsynced
    FATE_DUPLICATE,       // known identity, same payload
    FATE_CONFLICT,        // known identity, another payload: not counted, reported
    FATE_TOO_OLD,         // beyond the past bound of the clock policy
    FATE_TOO_FAR_AHEAD,   // beyond the future bound
    FATE_BATCH_NOT_OPEN,  // of a backfill batch that takes no events
    FATE_COUNT,
};

// "stored", "duplicate", "conflict", "time too old", "time too far ahead",
// "backfill is not open".
const char *fate_name(enum fate fate);
