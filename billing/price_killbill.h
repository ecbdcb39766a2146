#pragma once
// Kill Bill's ways: cycles to 9 decimals between billing days, repairs, and usage in blocks.
//
//     cycles = price_billing_cycles(&abacus, &cycles_asked);
//
// Rules: section 2.13 of the reference, in docs/pricing.md. Dates are days since 1970, ranges are
// half-open. Pure. Thread: any.

#include "billing/abacus.h"

enum { PRICE_RATIO_PLACES = 9, PRICE_PERIODS_MAX = 100000 };

// days / period_days, rounded to 9 places; period_days is positive.
const struct rational *price_ratio(struct abacus *abacus, int64_t days, int64_t period_days);
// Of from to to: with fixed_days in the 30/360 way over fixed_days, else actual days over the days
// of from's month.
const struct rational *
price_day_ratio(struct abacus *abacus, int64_t from, int64_t to, int64_t fixed_days);

struct price_cycles {
    int64_t start, end, target;
    bool has_end;
    uint8_t bill_cycle_day;  // 1-31
    int32_t period_months;   // positive
};

// How many periods are billed in advance at the target date: a leading stub, whole periods whose
// start is reached, a trailing stub. At most PRICE_PERIODS_MAX periods are walked: what is beyond
// must be refused before.
const struct rational *
price_billing_cycles(struct abacus *abacus, const struct price_cycles *cycles);

struct price_block_tier {
    const struct rational *size;   // units of a block; positive
    const struct rational *price;  // of a block
    const struct rational *max;    // blocks of this tier; NULL: no limit
};

// Blocks that were begun. All tiers: each prices its own blocks; else the highest tier reached
// prices all units. NULL: more units than the tiers take.
const struct rational *price_consumable(
    struct abacus *abacus,
    const struct rational *units,
    const struct price_block_tier *tiers,
    uint32_t tiers_count,
    bool is_all_tiers);
