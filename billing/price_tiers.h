#pragma once
// Models that price a quantity: per unit, in tiers, in packages, flat.
//
//     amount = price_graduated(&abacus, units, tiers, tiers_count, TIER_PER_UNIT);
//
// Rules: docs/pricing.md. Pure functions: nothing here rounds, reads a clock or fails; what is
// wrong with a price is refused when it is read (billing/price_read.h). Negative units cost
// nothing, flat fees included. The result is never negative. Steps go to the abacus. Thread: any.

#include "billing/abacus.h"

// Prices the units of (previous to, to]; to is NULL for the last one, which is open. The flat fee
// is due once the tier is reached: when some of the units fall into it; the first tier counts as
// reached at zero units.
struct price_tier {
    const struct rational *to;
    const struct rational *unit;  // per unit, or percent
    const struct rational *flat;
};

enum tier_kind { TIER_PER_UNIT, TIER_PERCENT };

const struct rational *
price_standard(struct abacus *abacus, const struct rational *units, const struct rational *amount);

// Tiers (of this and the next): at least one, bounds rise from above zero, only the last is open.
const struct rational *price_graduated(
    struct abacus *abacus,
    const struct rational *units,
    const struct price_tier *tiers,
    uint32_t tiers_count,
    enum tier_kind kind);

// One tier, found by select_on, prices all the units.
const struct rational *price_volume(
    struct abacus *abacus,
    const struct rational *units,
    const struct rational *select_on,
    const struct price_tier *tiers,
    uint32_t tiers_count);

struct price_package {
    const struct rational *amount;  // of a package
    const struct rational *size;    // units of one; positive
    const struct rational *free;    // units
    bool bill_min_one;              // no paid units still cost one package
};

// Every package that was begun.
const struct rational *price_package(
    struct abacus *abacus, const struct rational *units, const struct price_package *package);

// units * unit, as far as max_spend is not used up by the units that were billed before.
const struct rational *price_unit_with_cap(
    struct abacus *abacus,
    const struct rational *units,
    const struct rational *unit,
    const struct rational *max_spend,
    const struct rational *already_billed_units);

// units * multiplier, rounded to places, as far as max_spend (or NULL) is not used up.
struct price_multiplier {
    const struct rational *multiplier;
    const struct rational *max_spend;
    const struct rational *already_billed_units;
    int32_t places;
};
const struct rational *price_dynamic_multiplier(
    struct abacus *abacus, const struct rational *units, const struct price_multiplier *multiplier);
