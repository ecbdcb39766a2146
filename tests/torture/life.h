#pragma once
// The life of a ledger that is recorded, and lived again beside the recording: a row of deeds, each
// drawn from the seed and told to the model (tests/ledger/workload.h).
//
//     struct life life = {.workload.seed = seed, .mark = recorder_mark, ...};
//     life_run(&life);      // really, in life.workload.dir; is_real false: to the model alone
//
// Marks among the records say where it was:
//
//     B n             deed n begins
//     F n i f i f...  the fates f of events i of its batch were delivered: they are acked
//     T n s m         of shard s marks of thresholds up to number m were shown
//     E n             it was answered, all of it
//
// Lived beside a recording, on_deed is called where a deed begins, with everything before it in the
// model. There it may fork, put the child on a disk that a power cut left, make it real and set
// is_survivor: the child goes on with that deed, as whoever got no answer does, then holds the
// ledger against the model in every way there is, and ends: life_survive.
// Owner: one thread.

#include "tests/ledger/workload.h"

enum { LIFE_SHARDS_MAX = 3 };

enum life_deed {
    LIFE_CREATE,   // the ledger and its meters
    LIFE_OPEN,     // a session
    LIFE_PUT,      // a batch of events
    LIFE_CHANGE,   // corrections, a cut, a backfill, a meter
    LIFE_CLOSE,    // the session
    LIFE_DIE,      // a batch, in the middle of which the process dies
    LIFE_REBUILD,  // state/ made anew by the operator
    LIFE_NOTHING,  // the end
};

struct life {
    struct workload workload;
    struct ledger_options options;  // of the session
    uint32_t deed;                  // its number
    enum life_deed kind;
    bool is_open;                       // a session is, while the deed is done
    int32_t rebuilt;                    // which shard is
    uint8_t acked[WORKLOAD_BATCH_MAX];  // fates of the batch that were delivered before a crash
    uint64_t shown[LIFE_SHARDS_MAX];    // marks of thresholds
    void (*mark)(const char *text);
    void (*die)(const char *text);
    void (*arm)(uint64_t count);
    void (*on_deed)(struct life *life);
    void *context;
    bool is_survivor;
    bool has_begun;  // the deed had, when the power went
};

void life_run(struct life *life);
void life_done(struct life *life);
// Whether a ledger is there to be started, when the power goes.
bool life_can_start(const struct life *life);
// What another process needs to start the ledger in dir as this session does, into a file; and that
// process: starts it, and ends it again.
void life_start_save(const struct life *life, const char *dir, const char *file);
void life_start(const char *file);
// In a child that on_deed forked: opens what was open. The clock and all else are as they were.
void life_survive(struct life *life);
