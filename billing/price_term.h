#pragma once
// What a part of a period costs, and what it gives back: days, credits, refunds, true-ups.
//
//     fee = price_days(&abacus, amount, days, period_days);
//
// Amounts are in minor units (docs/pricing.md says so of each model); rounding to a whole minor
// unit, half away from zero, happens only where a rule names it. Pure. Thread: any.

#include "billing/abacus.h"

// A share of a period. period is positive.
struct price_share {
    const struct rational *days;
    const struct rational *period;
};

// amount x days / period.
const struct rational *
price_days(struct abacus *abacus, const struct rational *amount, struct price_share share);

// What a new price owes for the rest of a period beyond the unused part of what was billed.
struct price_upgrade {
    const struct rational *new_amount;
    const struct rational *old_billed;
    const struct rational *old_billed_days;  // positive
    struct price_share share;
};
const struct rational *
price_upgrade_net(struct abacus *abacus, const struct price_upgrade *upgrade);

struct price_termination {
    const struct rational *amount;
    struct price_share share;
    const struct rational *billed_fee;        // the most that can come back
    const struct rational *already_credited;  // by earlier notes
    const struct rational *coupon_on_fee;     // taken off in proportion
    const struct rational *tax;               // a fraction
};
// Not negative.
const struct rational *
price_termination_credit(struct abacus *abacus, const struct price_termination *termination);

struct price_refund {
    const struct rational *paid;
    const struct rational *fee_total;
    const struct rational *invoice_total;  // positive
    const struct rational *used_net;
    const struct rational *tax;  // a fraction
    const struct rational *creditable;
};
// Between 0 and creditable.
const struct rational *
price_termination_refund(struct abacus *abacus, const struct price_refund *refund);

// round(net) + round(net x tax).
const struct rational *price_credit_note(
    struct abacus *abacus,
    const struct rational *amount,
    struct price_share share,
    const struct rational *tax);

// What is missing to the prorated minimum; not negative.
const struct rational *price_minimum_true_up(
    struct abacus *abacus,
    const struct rational *minimum,
    struct price_share share,
    const struct rational *used);
// The same of a commitment, whose share is rounded first.
const struct rational *price_commitment_true_up(
    struct abacus *abacus,
    const struct rational *commitment,
    struct price_share share,
    const struct rational *fees);

// (new - old) x remaining, a fraction of the period in whatever unit: days or seconds.
const struct rational *price_proration_net(
    struct abacus *abacus,
    const struct rational *new_amount,
    const struct rational *old_amount,
    const struct rational *remaining);

// What a number of credits is worth at a rate, rounded to decimals.
const struct rational *price_credits_value(
    struct abacus *abacus,
    const struct rational *credits,
    const struct rational *rate,
    int32_t decimals);

// Rounded to a whole unit: units x basis_points / 10000 + fixed.
const struct rational *price_platform_fee(
    struct abacus *abacus,
    const struct rational *units,
    const struct rational *basis_points,
    const struct rational *fixed);
