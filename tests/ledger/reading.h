#pragma once
// What the tests of the ledger's read side share: a private directory, a writer to fill a real
// ledger, and seeded events.
//
//     struct reading reading;
//     reading_begin(&reading, 2);                    // two shards in a temporary directory
//     reading_write_begin(&reading, &options);       // opens it for writing
//     reading_put(&reading, &event);                 // until its fate is there
//     reading_write_end(&reading);                   // closes it: cells are flushed
//     reading_end(&reading);

#include "base/arena.h"
#include "base/pack.h"
#include "ledger/ledger.h"
#include "ledger/usage.h"

struct reading {
    char dir[64];
    struct ledger *ledger;
    struct intake *intake;
    struct registry *registry;  // while written
    struct arena arena;
    uint64_t fates[FATE_COUNT];
    uint64_t seed;
    uint64_t serial;  // of event ids
};

// 2026-11-10T00:00:00Z: the writers' clock in these tests.
extern const int64_t READING_NOW_NS;

void reading_begin(struct reading *reading, uint32_t shards);
void reading_end(struct reading *reading);
// idle_flush_ns: how long cells stay in memory.
void reading_write_begin(struct reading *reading, int64_t idle_flush_ns);
void reading_write_end(struct reading *reading);
// Hands one event over without waiting.
void reading_put(struct reading *reading, const struct event *event);
// Waits until every event has its fate.
void reading_wait(struct reading *reading);
// Waits until the position of every shard's cells is its head, or fails the test.
void reading_wait_flushed(struct reading *reading);

uint64_t reading_random(struct reading *reading, uint64_t below);
// Puts count random events of a few subjects, types, regions and models within the 20 days before
// the clock, in groups of random size. Some have no number, no region, or the time of their
// arrival.
void reading_put_random(struct reading *reading, uint32_t count);

// COUNT of type "llm" and SUM of $.tokens of "llm", both by model and region; SUM of the value of
// type "job".
void reading_put_meter(struct reading *reading, const char *key);
