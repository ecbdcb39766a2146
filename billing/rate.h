#pragma once
// Price models as pure functions: units and prices in, an exact amount out.
//
//     scoped(rational_done) struct rational amount = rational_zero();
//     rate_graduated(units, tiers, tiers_count, &amount, &steps);
//
// Names and parameters are those of reference/billing.md section 3. Nothing here rounds, reads a
// clock or fails: what is wrong with a price is refused when the catalogue is read. Negative units
// cost nothing. Thread: any.

#include "billing/rational.h"

// A tier prices the units of (previous to, to]; the last one is open. Its flat fee is due once it
// is reached, that is when at least one unit falls into it; the first tier counts as reached at
// zero units.
struct rate_tier {
    struct decimal to;
    bool is_open;
    struct decimal unit;
    struct decimal flat;
};

// How one tier contributed: units * unit + flat.
struct rate_step {
    struct decimal from;
    struct decimal to;
    bool is_open;
    struct decimal units;
    struct decimal unit;
    struct decimal flat;
};

// For explanation; items has room for as many steps as there are tiers (one for the others). May be
// NULL.
struct rate_steps {
    struct rate_step *items;
    uint32_t count;
};

void rate_standard(
    struct decimal units, struct decimal amount, struct rational *out, struct rate_steps *steps);
// At least one tier; bounds rise; only the last is open.
void rate_graduated(
    struct decimal units,
    const struct rate_tier *tiers,
    uint32_t tiers_count,
    struct rational *out,
    struct rate_steps *steps);
// The amount, whatever was used.
void rate_flat(struct decimal amount, struct rational *out, struct rate_steps *steps);
