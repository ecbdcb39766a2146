#pragma once
// A share of the amounts that events carry, with a fee for each event.
//
//     amount = price_percentage(&abacus, &percentage, &usage);
//
// Without limits per event the sum is priced at once (docs/pricing.md, 2.5 of the reference); with
// min or max each event is priced alone (2.6). Pure: nothing here rounds or fails. Thread: any.

#include "billing/abacus.h"

struct price_percentage {
    const struct rational *rate;         // percent
    const struct rational *fixed;        // per paid event
    const struct rational *min, *max;    // of an event's price; NULL: none
    const struct rational *free_amount;  // 0: none
    int64_t free_events;                 // 0: none
};

struct price_amounts {
    const struct rational *units;           // what the events sum up to
    const struct rational *const *running;  // the sums up to and including each event
    uint32_t running_count;
    bool is_rising;                        // none of them is below the one before it
    const struct rational *const *events;  // each event's amount, for min and max
    uint32_t events_count;
    int64_t count;  // of events
};

// Whether more than the sum of the events decides.
bool price_percentage_needs_events(const struct price_percentage *percentage);

// What is left of the free events and the free amount; begins as the percentage's own.
struct price_free {
    int64_t events;
    const struct rational *amount;
};

// With a min or max, each event alone: what the next one owes, 0 when it is free. Their sum is
// the price of all.
const struct rational *price_percentage_event(
    struct abacus *abacus,
    const struct price_percentage *percentage,
    struct price_free *rest,
    const struct rational *event);

// The running totals of the events that are there, up to the last that may be free by its number:
// so whichever of both limits runs out first ends what is free.
void price_running(struct abacus *abacus, int64_t free_events, struct price_amounts *in_out);

// The limits min and max need events; the others look at units, running and count.
const struct rational *price_percentage(
    struct abacus *abacus,
    const struct price_percentage *percentage,
    const struct price_amounts *amounts);
