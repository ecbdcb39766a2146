#pragma once
// What the ledger must answer, said as simply as possible: a list of events in the order in which
// they were put, and a fold over all of them for every question. Nothing here is fast, and nothing
// is shared with the ledger but the words of its interface.
//
//     struct model model = {.past_max_ns = ..., .future_max_ns = ...};
//     enum fate fate = model_put(&model, &event, now_ns);   // what the ledger must say
//     status = model_correct(&model, &event, NULL, NULL);   // cancelled
//     number = model_cut(&model, time_ns);
//     status = model_backfill(&model, BACKFILL_REVERT, "march", &count);
//     status = model_answer(&model, &meter, &query, &arena, &rows, &count);  // what it must answer
//     model_done(&model);
//
// Sums are kept as digits of base 10^9, texts are compared as text; no floating point. Owner: the
// test; one thread.

#include "base/arena.h"
#include "base/decimal.h"
#include "ledger/backfill.h"
#include "ledger/event.h"
#include "ledger/usage.h"

enum {
    MODEL_PROPERTIES_MAX = 8,
    MODEL_TEXT_MAX = 40,
    MODEL_LIMBS = 12,
    MODEL_DIMENSIONS = 3,
    MODEL_CUTS_MAX = 64,
    MODEL_BACKFILLS = 16,
};

enum model_kind {
    MODEL_NIL,
    MODEL_TEXT,     // has a text, and perhaps a number
    MODEL_INTEGER,  // has both; its width does not matter
    MODEL_RAW,      // maps, arrays, extensions: compared by their bytes
};

// A value as it goes over the wire, and what it means.
struct model_value {
    enum model_kind kind;
    bool is_number;
    uint8_t size, text_size;
    uint8_t bytes[MODEL_TEXT_MAX];  // msgpack
    char text[MODEL_TEXT_MAX];
    int128 number;  // of 10^-18
};

struct model_property {
    const char *key;
    bool is_deep;  // within the map "deep"
    struct model_value value;
};

struct model_event {
    const char *subject, *type, *source, *batch;  // "" for none, but subject and type
    char id[24], chunk[24];                       // "" for none
    uint32_t chunk_position;
    int64_t time_ns;  // 0: none
    int128 value;
    uint32_t properties_count;
    struct model_property properties[MODEL_PROPERTIES_MAX];
    // Once stored: where in the log it begins to count, and where it is taken out (0: it is not).
    uint64_t from, until;
    bool is_amend;  // not an event: what an amend made of one
    bool is_free;   // its backfill was reverted: the identity may come again
};

struct model_cut {
    int64_t time_ns;
    uint64_t place;
};

struct model_backfill {
    const char *id;
    bool is_open, is_reverted;
};

// Events in the log: what was put and acked as stored, in this order.
struct model {
    struct model_event *events;
    uint32_t count, capacity;
    uint64_t place;                         // of what came last
    struct model_cut cuts[MODEL_CUTS_MAX];  // by number, from 1
    uint32_t cuts_count;
    struct model_backfill backfills[MODEL_BACKFILLS];  // all that were ever opened
    uint32_t backfills_count;
    int64_t past_max_ns, future_max_ns;
    // Answers are of what came behind the one place, up to the other; 0: all.
    uint64_t seen_after, seen_to;
};

void model_done(struct model *model);
// The fate of the event at this time of the clock; stored ones are remembered.
enum fate model_put(struct model *model, const struct model_event *event, int64_t now_ns);
// The last event of that subject, source and id, as it is now, or was before it was taken out; of
// that time, unless it is NULL. NULL: there is none.
struct model_event *
model_current(const struct model *model, const struct model_event *named, const int64_t *time_ns);
// What becomes of the correction of an event with this id and source: another value, other
// properties, or (both NULL) it is cancelled.
enum status model_correct(
    struct model *model,
    const struct model_event *named,
    const int128 *value,
    const struct model_event *properties) CHECKED;
// Its number.
uint32_t model_cut(struct model *model, int64_t time_ns);
// What the ledger must answer. *out_count: the events that a revert takes out.
enum status model_backfill(
    struct model *model, enum backfill_act act, const char *id, uint64_t *out_count) CHECKED;
bool model_same_payload(const struct model_event *a, const struct model_event *b);

struct model_number {
    int128 limbs[MODEL_LIMBS];  // of base 10^9, the lowest first; each may have any sign
};

struct model_row {
    const char *subject;
    int64_t from_ns, to_ns;
    struct bytes dimensions[MODEL_DIMENSIONS];
    uint64_t count;
    struct model_number numerator;  // of 10^-18
    uint64_t denominator;
    // While folding.
    int128 extreme;
    int64_t latest_ns;
    uint64_t *distinct;
    uint32_t distinct_count, distinct_capacity;
};

// Rows in no particular order. STATUS_OVERFLOW: the sum of a row is beyond an int128;
// STATUS_INVALID: a weighted sum over a range that has no end.
enum status model_answer(
    const struct model *model,
    const struct meter *meter,
    const struct usage_query *query,
    struct arena *arena,
    struct model_row **out_rows,
    size_t *out_count) CHECKED;

// As decimal text, 18 places less trailing zeros.
void model_number_print(const struct model_number *number, char out[WIDE_TEXT_MAX]);
// "-12.5" or "1e-3" in units of 10^-18.
int128 model_units(const char *text);
