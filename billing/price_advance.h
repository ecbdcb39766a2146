#pragma once
// Pay in advance: a fee for each event at the time it comes, given what was used before it.
//
//     struct price_fee *fees = arena_array(arena, count, struct price_fee);
//     price_in_advance(&abacus, &advance, events, count, fees);
//
// An event's fee is the price with it less the price without it, never negative; no events cost
// nothing. What a fee loses by rounding to minor units a later one has more: the fees that are
// billed are never more than half a minor unit off those that are due. Rules: docs/pricing.md.
// Pure; nothing here fails. Thread: any.

#include "billing/price_events.h"

struct price_advance_event {
    const struct rational *units;
    const struct rational *price_minor;  // of dynamic; NULL: none
    struct bytes key;                    // of custom_fold
};

struct price_advance {
    const struct price_model *model;  // neither volume nor flat; of custom_fold with all defaults
    // Only what is above the highest level so far is billed: an event that takes back costs
    // nothing, nor does one that fills up again; one that does both counts with what is above.
    bool is_high_water;
    uint32_t decimals;                  // of the currency
    const struct rational *free_units;  // cost nothing; of models that price a sum. NULL: none
    const struct rational *maximum;     // what all fees come to at most. NULL: none
    // What earlier fees were due and not billed, in minor units, or billed and not yet due: at
    // least -1/2 and below 1/2. NULL: nothing.
    const struct rational *carried;
};

struct price_fee {
    const struct rational *exact_minor;
    // The rounded sum of all exact fees up to this one, less that up to the one before.
    const struct rational *billed_minor;
    const struct rational *counted;  // the units that the event brought
    struct abacus_step *first_step;  // up to the next fee's first
};

// One fee for each event; out has room for all. Returns what is carried to later fees.
const struct rational *price_in_advance(
    struct abacus *abacus,
    const struct price_advance *advance,
    const struct price_advance_event *events,
    uint32_t events_count,
    struct price_fee *out);
