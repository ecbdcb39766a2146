#pragma once
// What a charge makes of a period's usage: an exact amount, and what of the usage is in it.
//
//     struct charge_usage usage = {.units = used, .days = 31, .days_full = 31};
//     units = charge_rate(&abacus, charge, &usage, &amount);
//
// Most charges price a quantity. Some price single events (fees per event, prices that events
// carry, tiers by a dimension) or a level that lasts: these need the period's events too. Pure.
// Owner: results live as long as the abacus. Thread: any.

#include "billing/catalog.h"

enum { CHARGE_EVENTS_MAX = 100000 };  // of one charge on one invoice

struct charge_event {
    int64_t time_ns;
    struct decimal units;
    struct decimal price_minor;  // of dynamic
    const char *key;             // of custom_fold: the dimension's text; "" when there is none
};

// What a charge is asked for: the usage of a period (ignored by flat), and how much of it is there.
struct charge_usage {
    struct decimal units;             // of events: their sum
    int64_t days, days_full;          // 0 < days <= days_full
    const struct price_model *price;  // NULL: the charge's own, not that of a value
    // Only of a charge that needs events, ordered by time:
    const struct charge_event *events;
    uint32_t events_count;
    struct decimal initial;  // of recurring: the level when the period begins
    int64_t from_ns, to_ns;  // the period
    uint32_t decimals;       // of the currency
    // Of pay in advance: what an earlier invoice's fees left, in minor units. NULL: nothing.
    const char *carried;
};

// What an event paid in advance: exactly, in major units, and what of it is billed, in minor units.
// Texts of exact numbers.
struct charge_fee {
    const char *exact, *billed;
};

struct charge_fees {
    const struct charge_fee *items;       // one for each event
    const struct rational *exact;         // their sum, in major units
    const struct rational *billed_minor;  // what of it is billed
    const char *remainder;                // what a later invoice's fees carry, in minor units
};

// What was used, and what of it is priced.
struct charge_units {
    const struct rational *used;     // never negative
    const struct rational *clamped;  // the negative usage that was left out, or zero
    const struct rational *priced;   // used less the free units, never negative
};

// Whether what an event costs needs more than the sum of them, or a level's time.
bool charge_model_needs_events(const struct charge *charge);
// The same, or whether each event pays when it comes.
bool charge_needs_events(const struct charge *charge);

// The exact amount of a charge; steps go to the abacus. A flat charge is the whole period's: who
// bills takes its days.
struct charge_units charge_rate(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    const struct rational **out_amount);

// The same for a charge that is paid in advance: a fee for each event (billing/price_advance.h, by
// the high-water mark). What was used is what counted; what took back, or filled up again, is
// clamped. The texts are in the arena.
struct charge_units charge_rate_in_advance(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    struct arena *arena,
    struct charge_fees *out);
