#pragma once
// A random but repeatable life of a ledger: what is put, asked and broken in it, step by step.
//
//     struct workload workload = {.seed = seed};
//     workload_begin(&workload);            // a directory, a ledger of some shards
//     make_event(&workload, &event);        // workload_make.c: draws from the seed only
//     workload_end(&workload);
//
// A step that needs the real ledger is skipped when is_real is false, and draws the same numbers
// either way: that is how the parent follows a child that is to die. Owner: one thread.

#include "ledger/ledger.h"
#include "ledger/threshold.h"
#include "tests/ledger/model.h"

enum {
    WORKLOAD_METERS = 6,
    WORKLOAD_THRESHOLDS = 4,
    WORKLOAD_ZONES = 4,
    WORKLOAD_BATCH_MAX = 400,
    WORKLOAD_FILTERS_MAX = 3,
    WORKLOAD_DIR_MAX = 128,
    WORKLOAD_UNKNOWN = 255,  // a fate that did not come
};

// In memory that a child shares, so that what it saw outlives it.
struct workload_shared {
    uint8_t fates[WORKLOAD_BATCH_MAX];  // of the batch in hand
    uint64_t questions, rows, marks;    // asked and compared
    uint64_t listed;                    // events, likewise
};

// A threshold as it was last defined; key NULL: it is not there.
struct workload_threshold {
    const char *key, *meter, *subject;  // subject NULL: each
    enum threshold_period period;
    struct decimal limit;
    uint64_t known_from;  // what came behind this place counts for sure; UINT64_MAX: nothing yet
    uint64_t reverted;    // by then
    bool is_mixed;        // its meter was changed since
};

struct workload {
    uint64_t seed;
    uint64_t random, watch_random, list_random;
    uint32_t step;
    bool is_real;
    bool is_damaged;  // on purpose: an answer is right or STATUS_CORRUPT
    char dir[WORKLOAD_DIR_MAX];
    uint32_t shards;
    uint32_t backfill_percent;          // of the events
    uint32_t zones_first, zones_count;  // billing zones of the session
    bool is_ending;                     // the list of zones stays
    int64_t keep_log_ns;                // events that are older may be gone; 0: they stay
    // What is asked for now may have been done before a crash, in part or all of it.
    bool is_retry;
    uint32_t phantom_cut;  // what became of that: a cut that some shards may lack; 0: none
    struct model model;
    struct meter meters[WORKLOAD_METERS];  // key NULL: not there
    struct workload_threshold thresholds[WORKLOAD_THRESHOLDS];
    uint64_t session_from;        // the place at which the ledger was opened
    struct model_event *history;  // all that was ever put
    uint32_t history_count, history_capacity;
    uint32_t serial;
    uint64_t taken, reverted;  // events that count no more; those that reverts took out
    // The batch in hand.
    struct model_event batch[WORKLOAD_BATCH_MAX];
    uint32_t batch_count;
    bool is_in_flight;  // put by a child that died before all fates came
    struct workload_shared *shared;
    // Open ledger, when real.
    struct ledger *ledger;
    struct intake *intake;
    struct reader *reader;
};

extern const char *const workload_zones[WORKLOAD_ZONES];

// The clock of all ledgers here.
extern int64_t workload_now_ns;

struct workload_question {
    struct usage_query query;
    char meter[16];
    const char *group_by[MODEL_DIMENSIONS];
    struct usage_filter filter;  // all of parts
    struct usage_filter parts[WORKLOAD_FILTERS_MAX];
    struct bytes wanted[WORKLOAD_FILTERS_MAX][WORKLOAD_FILTERS_MAX];
};

uint64_t draw(struct workload *workload, uint64_t below);
// From another stream: a life is what it is without it.
uint64_t draw_apart(struct workload *workload, uint64_t *stream, uint64_t below);
uint64_t list_draw(struct workload *workload, uint64_t below);
bool chance(struct workload *workload, uint32_t percent);
// The id of a backfill: any, one that was never opened if there is one, or most often one that is
// open, or else one that is not reverted.
const char *make_backfill(struct workload *workload);
const char *make_new_backfill(struct workload *workload);
const char *make_live_backfill(struct workload *workload, bool is_to_be_open);
// Another event: new, resent, in conflict, late, broken.
void make_event(struct workload *workload, struct model_event *out);
// Another value and properties; nothing else is set.
void make_payload(struct workload *workload, struct model_event *out);
// Events with as many distinct values for one cell.
void make_burst(struct workload *workload);
void make_meter(struct workload *workload, uint32_t index);
void make_question(struct workload *workload, struct workload_question *out);
// Moves the clock.
void make_time_pass(struct workload *workload);

// workload_encode.c: the event as ingest would hand it over; views into buffer.
void event_encode(const struct model_event *from, struct buffer *buffer, struct event *out);

// Prints seed, step and this, and ends the process.
_Noreturn void fail(const struct workload *workload, const char *format, ...) PRINTF_LIKE(2, 3);
void succeed(const struct workload *workload, enum status status, const struct error *error);

// workload_ask.c: asks the reader and the model as many questions, and fails when they differ.
void check_answers(struct workload *workload, uint32_t questions);

// workload_change.c: corrects an event that was put some time, makes a cut, or opens, closes or
// reverts a backfill.
void change_event(struct workload *workload);
void change_cut(struct workload *workload);
void open_backfill(struct workload *workload);
void change_backfill(struct workload *workload);

// workload_watch.c: now and then defines a threshold, or looks at what fired, and at quotas.
void watch_step(struct workload *workload);
void check_watch(struct workload *workload);
void change_threshold(struct workload *workload);
// The ledger was opened, and knows all definitions; a meter was made, changed or removed.
void watch_opened(struct workload *workload);
void watch_meter_changed(struct workload *workload, const char *key);

// workload_list.c: asks for events and backfills, and fails when they are not the model's.
void check_lists(struct workload *workload);

// workload_dump.c: the log's events are the model's.
void check_dump(const struct workload *workload);

// workload_state.c; the ledger is closed. Invariant 3 and 2 of DESIGN section 6.
void check_verify(const struct workload *workload);
void state_drop(const struct workload *workload, uint32_t shard);
// Flips a bit of a stored record or of the head file, or takes the last block away: verify must see
// it, and the next start what concerns the log's end. False: there is nothing to ask about it.
bool check_damage(struct workload *workload);
// reopen opens and closes the ledger, so that what is in memory is flushed.
// Whether quarter hours are kept for good; else for three days, and a rebuild, which comes later,
// keeps fewer.
bool keeps_quarter_hours(const struct workload *workload);
// Likewise hours, else for two days.
bool keeps_hours(const struct workload *workload);
// How many groups a window keeps; in two of three workloads so few that totals take their place.
uint32_t groups_max_of(const struct workload *workload);
void check_rebuild(struct workload *workload, void (*reopen)(struct workload *workload));
