#pragma once
// The events themselves, newest first, a page at a time, each with what became of it and what its
// meters say against it.
//
//     struct events_query query = EVENTS_ALL;
//     query.subject = bytes_text("acme");
//     do {
//         events_list(reader, &query, &arena, &result, &error);
//         for (i = 0; i < result.count; i++) use(&result.rows[i]);
//     } while ((query.after = result.next) != NULL);
//
// Order: by the event's time, the latest first; of the same time by shard, block and index, the
// greatest first. So a page does not change when others come in, but for what is newer or late.
// Every header of the log is looked at, of blocks behind the page's first one twice; a block is
// read when its times can matter. Memory: limit events. Owner: reader by who opened it; results in
// the arena.

#include "ledger/entry.h"
#include "ledger/usage.h"

enum { EVENTS_LIMIT_MAX = 1000, EVENTS_CURSOR_MAX = 80 };

// Whether an event is wanted, besides what the query says. The entry's views end with the call.
typedef bool (*events_accept_fn)(void *context, const struct entry *entry, int64_t arrival_ns);

struct events_query {
    struct bytes subject, type, source, id;  // exact; size 0: any
    struct bytes id_part;                    // somewhere in the id; size 0: any
    // An event without an id has none that is asked for, whatever its chunk is called.
    int64_t from_ns, to_ns;                  // the event's time, half-open
    int64_t arrived_from_ns, arrived_to_ns;  // half-open; INT64_MAX has no end
    uint32_t limit;                          // 1 to EVENTS_LIMIT_MAX
    const char *after;                       // of a former page's next; NULL: from the newest
    events_accept_fn accepts;                // NULL: every one
    void *context;                           // of accepts
};

#define EVENTS_ALL                                                                                 \
    (struct events_query)                                                                          \
    {                                                                                              \
        .from_ns = INT64_MIN, .to_ns = INT64_MAX, .arrived_from_ns = INT64_MIN,                    \
        .arrived_to_ns = INT64_MAX, .limit = 100                                                   \
    }

enum events_status {
    EVENTS_COUNTED,
    EVENTS_AMENDED,    // with another payload than it came with
    EVENTS_CANCELLED,  // no more
    EVENTS_REVERTED,   // no more, with its backfill batch
};

// "counted", "amended", "cancelled", "reverted".
const char *events_status_name(enum events_status status);

struct events_row {
    struct entry entry;  // an event as it came; its views are in the arena
    int64_t arrival_ns;
    uint32_t shard;
    uint64_t block;
    uint32_t index;
    enum events_status status;
    uint64_t last_block;  // where its last correction lies; without one as block and index
    uint32_t last_index;
    // One line for each different fault of the meters of its type, or that there is no such meter;
    // NULL: all can use it. OpenMeter's words.
    const char *validation_error;
};

struct events_result {
    struct events_row *rows;
    size_t count;
    const char *next;      // where the next page begins; NULL: this is the last
    uint64_t blocks_read;  // those that could matter
};

// STATUS_INVALID: the limit or the cursor makes no sense.
enum status events_list(
    struct reader *reader,
    const struct events_query *query,
    struct arena *arena,
    struct events_result *out,
    struct error *error) CHECKED;
