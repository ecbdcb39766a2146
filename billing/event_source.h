#pragma once
// Single events for invoices: what the subjects of one customer did in one period, by one meter.
//
//     event_source_open(data_dir, &source, &error);
//     event_source_list(source, &question, &wanted, &arena, &list, &error);
//     event_source_close(source);
//
// They are in the ledger's log. The first question about a meter and range reads it for its
// subjects; the second reads it once for everybody and keeps their events, as long as there is room
// for them all; when there is not, each question reads the log: slower, never wrong. Owner: who
// opened it. Thread: any; calls take turns.

#include "billing/charge.h"
#include "billing/usage_source.h"

struct event_source;

enum status
event_source_open(const char *data_dir, struct event_source **out, struct error *error) CHECKED;
void event_source_close(struct event_source *source);  // NULL is accepted
void event_source_done(struct event_source **source);

struct event_wanted {
    const char *dimension;  // whose text is an event's key, or NULL
    const char *price_at;   // the path of its price, which each must have, or NULL
};

struct event_list {
    const struct charge_event *items;  // by time; then by arrival, shard and place in the log
    uint32_t count;
    struct decimal sum;
};

// STATUS_OVERFLOW: there are more than CHARGE_EVENTS_MAX, their sum leaves the range of a quantity,
// one has no price, or the log is no longer kept that far back: one customer's trouble.
enum status event_source_list(
    struct event_source *source,
    const struct usage_question *question,
    const struct event_wanted *wanted,
    struct arena *arena,
    struct event_list *out,
    struct error *error) CHECKED;
