#pragma once
// A front's entrance to every shard, and the ledger that both belong to. Private to ledger.c and
// intake.c; the public face is ledger/ledger.h.
//
// An intake's memory belongs to the ledger and stays until it closes, so that a writer may still
// answer a group whose intake was closed; the next intake_open gets the same memory under another
// owner number, and drops such answers. Threads: struct intake is its front's, but for the lanes'
// shared parts (group.h). struct ledger: main's; lock guards the list of intakes (control plane
// only).

#include "ledger/control.h"
#include "ledger/writer.h"

struct intake {
    struct ledger *ledger;
    struct lane *lanes;  // one per shard
    struct waker waker;
    fates_fn on_fates;
    void *context;
    const struct group *delivering;  // while on_fates runs
    uint64_t owner;                  // number of this opening, from 1
    uint64_t pending;                // events put, fate not delivered
    int64_t arrival_ns;
    bool has_arrival;  // of this batch: one look at the clock per batch is enough
    bool is_armed;     // the waker was prepared: it may have been written to
    bool is_open;
};

struct ledger {
    struct ledger_conf conf;
    struct ledger_options options;
    struct billing_zones zones;
    int lock_fd;
    struct registry *registry;
    uint64_t revision;      // of the registry, as last read
    struct meters *meters;  // the newest; older ones behind it
    struct writer *writers;
    uint32_t writers_count;  // initialised
    struct serve *serve;
    struct control *control;
    pthread_mutex_t control_lock;  // one change at a time
    // A revert is under way, or may have been interrupted: no shard deletes blocks of its log. Set
    // and cleared under control_lock.
    struct flag is_unfinished;
    struct flag is_stopping;  // control is being stopped: a revert is left as it is
    // Of whoever holds control_lock and waits for orders. It outlives the wait: a writer may still
    // be waking it when the asker has seen that the order is done.
    struct waker asker;
    const struct metric **metrics;
    pthread_mutex_t lock;
    uint64_t owners;  // openings so far
    uint32_t intakes_count;
    struct intake *intakes[INTAKES_MAX];
};

void intake_free(struct intake *intake);

// ledger/control: one change at a time, from begin to end.
void control_begin(struct ledger *ledger);
void control_end(struct ledger *ledger);
// Gives a shard's writer an order, and waits until it is done or refused.
enum status
order_run(struct ledger *ledger, uint32_t shard, struct order *order, struct error *error) CHECKED;
// The same for all shards at once: orders has one for each. The first refusal is the answer.
enum status
orders_run_all(struct ledger *ledger, struct order *orders, struct error *error) CHECKED;
