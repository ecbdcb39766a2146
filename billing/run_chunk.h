#pragma once
// One chunk of a run: which periods of its customers are due, what they used, what they owe; in one
// statement into the database.
//
//     chunk_bill(&context, sql, &chunk, &arena, &outcome, &error);
//
// Everything a chunk finds is in the arena of the caller. Thread: a worker's.

#include "billing/event_source.h"
#include "billing/run.h"
#include "billing/usage_source.h"

struct chunk_context {
    const struct run_settings *settings;
    const struct stored_catalog *catalog;
    struct usage_source *usage;
    struct event_source *events;
    int64_t month_from_ns, month_to_ns;  // of settings->period
};

struct chunk_outcome {
    struct invoice *invoices;  // computed in this chunk
    bool *is_made;             // inserted by this chunk (all, when dry)
    size_t count;
    int64_t existing_count;
    int64_t waiting_count;
    struct run_refusal *refusals;
    size_t refusals_count;
};

// Asks at most once more when another run inserts the same invoices: conflicts are left alone.
// STATUS_BUSY: run it again.
enum status chunk_bill(
    const struct chunk_context *context,
    struct sql *sql,
    const struct customer_range *chunk,
    struct arena *arena,
    struct chunk_outcome *out,
    struct error *error) CHECKED;
