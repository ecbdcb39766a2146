#pragma once
// What the tests of the ledger's write side share: a private directory, events with their bytes,
// and a writer that remembers each event's fate.
//
//     struct writing writing;
//     writing_begin(&writing, 2);  // a temporary directory with a ledger of two shards
//     writing_open(&writing, &options);            // ledger and intake
//     writing_put(&writing, &event);               // waits when the intake is full
//     writing_wait(&writing);  // until every fate is there; writing.fates[i] in order of put
//     writing_close(&writing);
//     writing_end(&writing);                       // removes the directory
//
// The clock of these ledgers is writing_now_ns, which tests move.

#include "ledger/backfill.h"
#include "ledger/ledger.h"

enum { WRITING_EVENTS_MAX = 200000, FATE_UNKNOWN = 255 };

struct order;  // ledger/order.h

struct writing {
    char dir[64];
    struct ledger *ledger;
    struct intake *intake;
    uint32_t count;  // events put since writing_open
    uint64_t seed;
    uint8_t *fates;  // WRITING_EVENTS_MAX
};

// 2026-11-10T00:00:00Z at first.
extern int64_t writing_now_ns;

void temp_dir_make(char dir[64]);
void temp_dir_remove(const char *dir);

void writing_begin(struct writing *writing, uint32_t shards);
void writing_end(struct writing *writing);
// options NULL: defaults, and no idle flush. The clock is set in any case.
void writing_open(struct writing *writing, const struct ledger_options *options);
void writing_close(struct writing *writing);
// Returns the event's index in fates.
uint32_t writing_put(struct writing *writing, const struct event *event);
void writing_wait(struct writing *writing);
// Puts one event and returns its fate.
enum fate writing_fate(struct writing *writing, const struct event *event);
// Opens, closes or reverts a backfill batch. count NULL: nobody asks.
enum status writing_backfill(
    struct writing *writing, enum backfill_act act, const char *id, uint64_t *out_count);
// Gives a shard's writer an order of the caller's own, as changes do: one at a time.
void writing_order(struct writing *writing, uint32_t shard, struct order *order);
uint64_t writing_count(const struct writing *writing, enum fate fate);
uint64_t writing_random(struct writing *writing, uint64_t below);
// The sum of a metric over the shards.
int64_t writing_metric(struct writing *writing, const char *name);

// Defines a meter in the ledger's registry: COUNT, or another aggregation of $.n, of events of this
// type by dimension "region".
void writing_meter(
    struct writing *writing, const char *key, const char *type, enum aggregation aggregation);

// All cells on disk of one meter (by its id): counts and sums added up.
struct cell_total {
    uint64_t cells;
    uint64_t count;
    struct decimal sum;
};
struct cell_total writing_cells(const struct writing *writing, uint32_t meter_id);
// Blocks and events in the log of all shards.
struct log_total {
    uint64_t blocks;
    uint64_t events;
};
struct log_total writing_log(const struct writing *writing);

// An event with its bytes: subject, id, and properties {"n": n, "region": region}.
struct event_bytes {
    struct event event;
    char subject[64];
    char id[64];
    uint8_t properties[128];
};
void event_make(struct event_bytes *out, const char *subject, const char *id, int64_t n);

// The next status, or the test fails with the error's text.
void succeed(enum status status, const struct error *error);
