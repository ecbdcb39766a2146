#include "billing/price_term.h"

#include "base/assert.h"

static const struct rational *
whole(struct abacus *abacus, const struct rational *value)
{
    return abacus_round(abacus, value, 0, ROUND_HALF_UP);
}

// value x (1 + tax).
static const struct rational *
with_tax(struct abacus *abacus, const struct rational *value, const struct rational *tax)
{
    return abacus_add(abacus, value, abacus_multiply(abacus, value, tax));
}

const struct rational *
price_days(struct abacus *abacus, const struct rational *amount, struct price_share share)
{
    must(rational_sign(share.period) > 0);
    const struct rational *result =
        abacus_divide(abacus, abacus_multiply(abacus, amount, share.days), share.period);
    abacus_step(
        abacus,
        "%s x %s / %s = %s",
        abacus_text(abacus, amount),
        abacus_text(abacus, share.days),
        abacus_text(abacus, share.period),
        abacus_text(abacus, result));
    return result;
}

const struct rational *
price_upgrade_net(struct abacus *abacus, const struct price_upgrade *upgrade)
{
    const struct price_share unused = {upgrade->share.days, upgrade->old_billed_days};
    const struct rational *owed =
        whole(abacus, price_days(abacus, upgrade->new_amount, upgrade->share));
    const struct rational *back = whole(abacus, price_days(abacus, upgrade->old_billed, unused));
    const struct rational *net = abacus_subtract(abacus, owed, back);
    abacus_step(
        abacus,
        "%s - %s = %s",
        abacus_text(abacus, owed),
        abacus_text(abacus, back),
        abacus_text(abacus, net));
    return net;
}

const struct rational *
price_termination_credit(struct abacus *abacus, const struct price_termination *termination)
{
    const struct rational *credit = rational_min(
        price_days(abacus, termination->amount, termination->share), termination->billed_fee);
    credit = abacus_subtract(abacus, credit, termination->already_credited);
    credit = rational_max(credit, &RATIONAL_ZERO);
    abacus_step(
        abacus,
        "at most %s billed, less %s credited before: %s",
        abacus_text(abacus, termination->billed_fee),
        abacus_text(abacus, termination->already_credited),
        abacus_text(abacus, credit));
    if (rational_sign(termination->coupon_on_fee) > 0 &&
        rational_sign(termination->billed_fee) > 0) {
        const struct rational *coupon = abacus_divide(
            abacus,
            abacus_multiply(abacus, termination->coupon_on_fee, credit),
            termination->billed_fee);
        credit = rational_max(abacus_subtract(abacus, credit, coupon), &RATIONAL_ZERO);
        abacus_step(abacus, "less %s of the coupon", abacus_text(abacus, coupon));
    }
    const struct rational *result = with_tax(abacus, credit, termination->tax);
    abacus_step(abacus, "with tax: %s", abacus_text(abacus, result));
    return result;
}

const struct rational *
price_termination_refund(struct abacus *abacus, const struct price_refund *refund)
{
    must(rational_sign(refund->invoice_total) > 0);
    const struct rational *paid = abacus_divide(
        abacus, abacus_multiply(abacus, refund->paid, refund->fee_total), refund->invoice_total);
    const struct rational *used = whole(abacus, with_tax(abacus, refund->used_net, refund->tax));
    const struct rational *rest = abacus_subtract(abacus, paid, used);
    abacus_step(
        abacus,
        "%s paid of this fee - %s used = %s, held between 0 and %s",
        abacus_text(abacus, paid),
        abacus_text(abacus, used),
        abacus_text(abacus, rest),
        abacus_text(abacus, refund->creditable));
    return rational_max(&RATIONAL_ZERO, rational_min(rest, refund->creditable));
}

const struct rational *
price_credit_note(
    struct abacus *abacus,
    const struct rational *amount,
    struct price_share share,
    const struct rational *tax)
{
    const struct rational *net = price_days(abacus, amount, share);
    const struct rational *net_whole = whole(abacus, net);
    const struct rational *tax_whole = whole(abacus, abacus_multiply(abacus, net, tax));
    abacus_step(
        abacus, "%s net + %s tax", abacus_text(abacus, net_whole), abacus_text(abacus, tax_whole));
    return abacus_add(abacus, net_whole, tax_whole);
}

static const struct rational *
missing(struct abacus *abacus, const struct rational *minimum, const struct rational *used)
{
    const struct rational *rest = abacus_subtract(abacus, minimum, used);
    abacus_step(
        abacus,
        "%s - %s = %s, at least 0",
        abacus_text(abacus, minimum),
        abacus_text(abacus, used),
        abacus_text(abacus, rest));
    return rational_max(rest, &RATIONAL_ZERO);
}

const struct rational *
price_minimum_true_up(
    struct abacus *abacus,
    const struct rational *minimum,
    struct price_share share,
    const struct rational *used)
{
    return missing(abacus, price_days(abacus, minimum, share), used);
}

const struct rational *
price_commitment_true_up(
    struct abacus *abacus,
    const struct rational *commitment,
    struct price_share share,
    const struct rational *fees)
{
    return missing(abacus, whole(abacus, price_days(abacus, commitment, share)), fees);
}

const struct rational *
price_proration_net(
    struct abacus *abacus,
    const struct rational *new_amount,
    const struct rational *old_amount,
    const struct rational *remaining)
{
    const struct rational *difference = abacus_subtract(abacus, new_amount, old_amount);
    abacus_step(
        abacus,
        "(%s - %s) x %s",
        abacus_text(abacus, new_amount),
        abacus_text(abacus, old_amount),
        abacus_text(abacus, remaining));
    return abacus_multiply(abacus, difference, remaining);
}

const struct rational *
price_credits_value(
    struct abacus *abacus,
    const struct rational *credits,
    const struct rational *rate,
    int32_t decimals)
{
    const struct rational *value = abacus_multiply(abacus, credits, rate);
    abacus_step(
        abacus,
        "%s credits x %s = %s",
        abacus_text(abacus, credits),
        abacus_text(abacus, rate),
        abacus_text(abacus, value));
    return abacus_round(abacus, value, decimals, ROUND_HALF_UP);
}

const struct rational *
price_platform_fee(
    struct abacus *abacus,
    const struct rational *units,
    const struct rational *basis_points,
    const struct rational *fixed)
{
    const struct rational *share =
        abacus_shift(abacus, abacus_multiply(abacus, units, basis_points), 4);
    abacus_step(
        abacus,
        "%s x %s / 10000 + %s",
        abacus_text(abacus, units),
        abacus_text(abacus, basis_points),
        abacus_text(abacus, fixed));
    return whole(abacus, abacus_add(abacus, share, fixed));
}
