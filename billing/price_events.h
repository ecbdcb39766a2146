#pragma once
// Models that walk events in their order: custom tiers keyed by a property, recurring levels that
// are prorated, and a fee for each event when it happens.
//
//     amount = price_custom_fold(&abacus, events, events_count, tiers, tiers_count, &missing);
//
// Rules: docs/pricing.md. Pure; the only failures are what the caller is told in the result.
// Thread: any.

#include "billing/price_model.h"

// ---- custom tiers: the unit price depends on the tier and on a property of the event

struct price_key {
    struct bytes key;
    const struct rational *unit;
};

struct price_custom_tier {
    const struct rational *to;        // NULL: open
    const struct rational *fallback;  // for keys that are not listed; NULL: there is none
    const struct price_key *keys;
    uint32_t keys_count;
};

struct price_custom_event {
    const struct rational *units;  // not negative
    struct bytes key;
};

// NULL when a tier that an event reaches has no price for its key; *out_missing is that event's
// index then.
const struct rational *price_custom_fold(
    struct abacus *abacus,
    const struct price_custom_event *events,
    uint32_t events_count,
    const struct price_custom_tier *tiers,
    uint32_t tiers_count,
    uint32_t *out_missing);

// ---- recurring levels: each event has full units and what they count for in this period

struct price_level_event {
    const struct rational *full;
    const struct rational *prorated;
};

// Each part of an event costs its tier's price times prorated / full; a removal takes from the top.
// The flat fees of all tiers up to the highest level ever reached are due. A level that ends below
// zero costs nothing. Tiers as of price_graduated.
const struct rational *price_prorated_graduated(
    struct abacus *abacus,
    const struct price_level_event *events,
    uint32_t events_count,
    const struct price_tier *tiers,
    uint32_t tiers_count);

// ---- pay in advance

struct price_advance_event {
    const struct rational *units;
    const struct rational *price_minor;  // of dynamic
};

struct price_advance {
    const struct price_model *model;  // not volume
    bool is_high_water;               // only what is above the highest level so far is billed
    uint32_t decimals;                // of the currency
};

struct price_fee {
    const struct rational *exact_minor;
    // The rounded sum of all exact fees up to this one, less that up to the one before: what one
    // fee loses by rounding, a later one has more.
    const struct rational *billed_minor;
    struct abacus_step *first_step;  // up to the next fee's first
};

// One fee for each event, never negative. out has room for all.
void price_in_advance(
    struct abacus *abacus,
    const struct price_advance *advance,
    const struct price_advance_event *events,
    uint32_t events_count,
    struct price_fee *out);
