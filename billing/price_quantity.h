#pragma once
// Quantities that feed the models: weighted over time, prorated by days, rounded.
//
//     units = price_weighted_sum(&abacus, &weighted);
//
// Rules: section 2.11 of the reference, in docs/pricing.md. Pure. Thread: any.

#include "billing/abacus.h"

struct price_change {
    int64_t time_ns;
    const struct rational *delta;
};

struct price_weighted {
    int64_t from_ns, to_ns;
    const struct rational *initial;  // the level at from
    const struct price_change *changes;
    uint32_t changes_count;
    int64_t period_days;  // positive
};

enum { PRICE_WEIGHTED_PLACES = 20, PRICE_PRORATED_PLACES = 5 };

// The sum of level x time / (days x 86400 s), rounded up at 20 places. The end counts as the whole
// second that it lies in. Changes lie in [from, to].
const struct rational *
price_weighted_sum(struct abacus *abacus, const struct price_weighted *weighted);

struct price_added {
    const struct rational *amount;
    const struct rational *days;
};

// full + the sum of amount x days / period_days, rounded up at 5 places.
const struct rational *price_prorated_sum(
    struct abacus *abacus,
    const struct rational *full,
    const struct price_added *added,
    uint32_t added_count,
    const struct rational *period_days);
