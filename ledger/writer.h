#pragma once
// The thread that owns a shard: takes groups, commits them, answers readers, and has its keeper
// flush when there is time or must be.
//
//     writer_init(&writer, &options, &error);
//     shard_open(&writer.shard, ...); shard_adopt(...); shard_recover(...);
//     writer_start(&writer, &error);
//     answers_ask(&writer.answers, question);                         // the serve thread
//     slot_offer(&writer.meters, meters); waker_wake(&writer.waker);  // who polls the registry
//     slot_offer(&writer.orders, order); waker_wake(&writer.waker);   // ledger/control
//     writer_stop(&writer);                   // commits what was offered, flushes, joins both
//     writer_done(&writer);
//
// While the keeper is far behind (twice the bound of tail or cells in memory, or a table and a half
// of identities) no group is taken: the front waits. After a failure, the writer's own or the
// keeper's, no group goes to the log any more: groups come back lost, readers are still answered
// from what is known to be in the log. Threads: what others may touch is a slot, a published value,
// a flag or the waker; the rest is the writer's while it runs. error is written before failed is
// set, and read after.

#include "ledger/answers.h"
#include "ledger/keeper.h"
#include "ledger/order.h"

#include <pthread.h>

enum { INTAKES_MAX = 64 };

struct writer_options {
    struct clock_policy policy;
    int64_t idle_flush_ns;
    int64_t busy_flush_ns;
    bool leaves_cells;    // none are flushed: the log has what they are made of
    bool touches_ahead;   // see ledger/touch.h
    int64_t keep_log_ns;  // 0: for good
    // Set: a revert is under way in some shard, or was interrupted: the log stays as it is.
    const struct flag *is_reverting;
    int64_t (*now_ns)(void);
};

struct writer {
    struct shard shard;
    struct keeper keeper;
    struct writer_options options;
    pthread_t thread;
    bool is_running;
    struct waker waker;
    struct answers answers;
    struct slot meters;        // registry's poller -> writer
    struct slot orders;        // ledger/control -> writer
    struct published adopted;  // generation of the meters in use
    // Monotonic, of the last progress; 0: asleep. To wait for the keeper while groups or orders
    // wait for room is none.
    struct published busy_since_ns;
    struct published lanes_count;  // lanes[] below it are there for good
    struct lane *lanes[INTAKES_MAX];
    struct flag stop;
    struct flag failed;
    struct error error;
    uint64_t forgotten_bytes;  // ledger_forget_cached: the log's file up to here
    // The writer's alone.
    uint64_t next_lane;  // where to look first, so that every front has its turn
    bool is_held;        // groups or orders wait, and there is no room for what they need
    int64_t last_work_ns;
    int64_t behind_since_ns;   // monotonic: when there were blocks to flush first; 0: none since
    int64_t fired_at_ns;       // when marks of thresholds were last written
    bool wants_freeze;         // once thresholds have seen all that is in the cells
    uint64_t mended;           // as far as totals of thresholds know it
    int64_t credit_ns;         // for what may wait, as of
    int64_t credit_at_ns;      //
    int64_t rebuild_since_ns;  // when the first block was rebuilt that is not flushed
    int64_t retain_due_ns;     // monotonic: when the log's retention is looked after next
};

enum status writer_init(
    struct writer *writer, const struct writer_options *options, struct error *error) CHECKED;
void writer_done(struct writer *writer);
enum status writer_start(struct writer *writer, struct error *error) CHECKED;
void writer_stop(struct writer *writer);
