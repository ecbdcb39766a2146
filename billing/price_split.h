#pragma once
// Splits of a whole, and what is taken off a list of fees: largest remainder, coupons, taxes.
//
//     price_allocate(&abacus, &allocation, parts);      // the parts add up to the amount
//
// Pure. Thread: any.

#include "billing/abacus.h"

struct price_weight {
    struct bytes key;
    const struct rational *weight;  // not negative
};

struct price_allocation {
    const struct rational *amount;  // whole in decimals
    const struct price_weight *weights;
    uint32_t weights_count;
    int32_t decimals;
    bool is_tie_by_key;  // else the first of the input wins
};

// Each part is the floor of its exact share; what is left goes, a smallest unit each, to the parts
// with the largest fractions. The sum of the weights is positive.
void price_allocate(
    struct abacus *abacus,
    const struct price_allocation *allocation,
    const struct rational **out_parts);

struct price_fee_base {
    const struct rational *amount;
    const struct rational *rate;  // of its tax, percent
};

struct price_coupon {
    const struct rational *amount;
    const uint32_t *fees;  // indexes; NULL: all
    uint32_t fees_count;
};

// What is left of each fee after the coupons, in their order, each spread over its fees in
// proportion to what is left of them, unrounded, never more than that.
void price_coupons_apply(
    struct abacus *abacus,
    const struct price_coupon *coupons,
    uint32_t coupons_count,
    const struct rational **rest,
    uint32_t fees_count);

// The sum of base x rate percent.
const struct rational *
price_tax(struct abacus *abacus, const struct price_fee_base *bases, uint32_t bases_count);
