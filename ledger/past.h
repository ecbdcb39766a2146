#pragma once
// Backfilled events against the log: whether one that dedup does not know any more was stored
// before its identities expired.
//
//     struct past_event events[] = {{.identity, .payload, .time_ns}, ...};
//     past_check(&past, &(struct past_question){.events = events, ...}, &error);
//     if (events[i].is_known) ... events[i].is_same
//     past_done(&past);
//
// Only the blocks up to `expired` are looked at, and those behind it that have corrections; of
// these only those whose time bounds hold one of the times, and of their entries only those of that
// very time: an event is known if one of the same time and identity is in the log, and was not
// freed since. Each block is read once for all events of a call. The bounds are kept in memory (24
// bytes a block) from the first call on. Slower, never wrong. Owner and only thread: the shard's
// writer.

#include "base/buffer.h"
#include "base/hash.h"
#include "ledger/lmdb_env.h"

struct past_event {
    struct hash128 identity;
    int64_t time_ns;
    uint32_t payload;
    uint32_t index;  // the caller's
    bool is_known;
    bool is_same;  // the payload too
};

// Zeroed is valid.
struct past {
    struct buffer bounds;  // of blocks 1, 2, ...
};

struct past_question {
    struct env *log;
    uint64_t first;  // block of the log: those before were deleted
    uint64_t head;
    uint64_t expired;  // dedup knows all events of later blocks
    const struct hash_secret *secret;
    struct past_event *events;  // put into the order of their times
    size_t count;
};
enum status
past_check(struct past *past, const struct past_question *question, struct error *error) CHECKED;
void past_done(struct past *past);
