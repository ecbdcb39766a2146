#pragma once
// The events that a meter counts, one by one: for who prices each of them.
//
//     struct usage_events_query query = {.meter = "calls", .from_ns = from, .to_ns = to};
//     usage_events(reader, &query, on_event, &context, &error);
//
// Read from the log, so every event acked before the question is there, and what was cancelled is
// not; an amended one comes as it counts now. Blocks without events of the range are passed over.
// Memory: a place for each correction of the range. Owner: the reader's. Thread: the reader's.

#include "ledger/usage.h"

struct usage_events_query {
    const char *meter;
    const struct bytes *subjects;  // each once or more; none: all
    uint32_t subjects_count;
    int64_t from_ns, to_ns;  // half-open; INT64_MIN and INT64_MAX: unbounded
    const char *dimension;   // of the meter, or NULL
    const char *number_at;   // the path of another number of each event, or NULL
};

struct usage_event {
    struct bytes subject;
    int64_t time_ns;
    // Where it lies, to order what has the same time: no two events share all four.
    int64_t arrival_ns;
    uint32_t shard;
    uint64_t block;
    uint32_t index;
    struct decimal value;    // what a SUM takes of it; 1 of a COUNT
    struct bytes dimension;  // its text, as in usage_query; size 0 without one
    struct decimal number;
    bool has_number;  // false: nothing at the path, or no number
};

// Views end with the call. False: stop.
typedef bool (*usage_event_fn)(void *context, const struct usage_event *event);

// In the order of the shards' logs, not of time. STATUS_INVALID: the meter is neither a COUNT nor a
// SUM, or has no such dimension. STATUS_NOT_FOUND: no such meter, or retention deleted events of
// the range.
enum status usage_events(
    struct reader *reader,
    const struct usage_events_query *query,
    usage_event_fn on_event,
    void *context,
    struct error *error) CHECKED;
