#pragma once
// Models that walk events in their order: custom tiers keyed by a property, and recurring levels
// that are prorated. A fee for each event when it happens is billing/price_advance.h.
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

// What one event costs that finds so many units before it; NULL when a price is missing.
const struct rational *price_custom_event(
    struct abacus *abacus,
    const struct price_custom_event *event,
    const struct price_custom_tier *tiers,
    uint32_t tiers_count,
    const struct rational *level);

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
