#include "billing/price_split.h"

#include "base/assert.h"

// ---- largest remainder

struct share {
    const struct rational *units;     // whole, of the smallest unit
    const struct rational *fraction;  // what was cut off
    bool has_more;
};

// Whether a is before b in the order in which the rest is given.
static bool
goes_before(
    const struct price_allocation *allocation, const struct share *shares, uint32_t a, uint32_t b)
{
    int order = rational_compare(shares[a].fraction, shares[b].fraction);
    if (order != 0)
        return order > 0;
    if (!allocation->is_tie_by_key)
        return a < b;
    order = bytes_compare(allocation->weights[a].key, allocation->weights[b].key);
    return order != 0 ? order < 0 : a < b;
}

static uint32_t
share_largest(const struct price_allocation *allocation, const struct share *shares)
{
    uint32_t best = allocation->weights_count;
    for (uint32_t i = 0; i < allocation->weights_count; i++) {
        if (shares[i].has_more)
            continue;
        if (best == allocation->weights_count || goes_before(allocation, shares, i, best))
            best = i;
    }
    must(best < allocation->weights_count);
    return best;
}

// Fills the floors; returns how many smallest units are left.
static const struct rational *
shares_fill(struct abacus *abacus, const struct price_allocation *allocation, struct share *shares)
{
    const struct rational *units = abacus_shift(abacus, allocation->amount, -allocation->decimals);
    const struct rational *rest = units, *total = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < allocation->weights_count; i++)
        total = abacus_add(abacus, total, allocation->weights[i].weight);
    must(rational_sign(total) > 0);
    for (uint32_t i = 0; i < allocation->weights_count; i++) {
        const struct rational *exact = abacus_divide(
            abacus, abacus_multiply(abacus, units, allocation->weights[i].weight), total);
        shares[i].units = abacus_round(abacus, exact, 0, ROUND_FLOOR);
        shares[i].fraction = abacus_subtract(abacus, exact, shares[i].units);
        rest = abacus_subtract(abacus, rest, shares[i].units);
    }
    return rest;
}

void
price_allocate(
    struct abacus *abacus,
    const struct price_allocation *allocation,
    const struct rational **out_parts)
{
    struct share *shares = arena_array(abacus->arena, allocation->weights_count, struct share);
    const struct rational *rest = shares_fill(abacus, allocation, shares);
    int64_t left = 0;
    bool is_count = rational_int64(rest, &left);
    // A number that grew too long counts as zero, so nothing adds up any more: the abacus says so.
    if (abacus->is_too_long)
        left = 0;
    must(abacus->is_too_long || (is_count && left >= 0 && left < allocation->weights_count));
    for (; left > 0; left--) {
        struct share *share = &shares[share_largest(allocation, shares)];
        share->units = abacus_add(abacus, share->units, abacus_int(abacus, 1));
        share->has_more = true;
    }
    for (uint32_t i = 0; i < allocation->weights_count; i++) {
        out_parts[i] = abacus_shift(abacus, shares[i].units, allocation->decimals);
        abacus_step(
            abacus,
            "%.*s: %s, cut off %s%s",
            (int)(allocation->weights[i].key.size < 100 ? allocation->weights[i].key.size : 100),
            (const char *)allocation->weights[i].key.data,
            abacus_text(abacus, out_parts[i]),
            abacus_text(abacus, shares[i].fraction),
            shares[i].has_more ? ", one more" : "");
    }
}

// ---- coupons

static uint32_t
coupon_fee(const struct price_coupon *coupon, uint32_t index)
{
    return coupon->fees != NULL ? coupon->fees[index] : index;
}

static void
coupon_apply(
    struct abacus *abacus,
    const struct price_coupon *coupon,
    const struct rational **rest,
    uint32_t fees_count)
{
    uint32_t count = coupon->fees != NULL ? coupon->fees_count : fees_count;
    const struct rational *base = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < count; i++)
        base = abacus_add(abacus, base, rest[coupon_fee(coupon, i)]);
    const struct rational *amount = rational_min(coupon->amount, base);
    if (rational_sign(base) <= 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t fee = coupon_fee(coupon, i);
        const struct rational *part =
            abacus_divide(abacus, abacus_multiply(abacus, amount, rest[fee]), base);
        const struct rational *left = abacus_subtract(abacus, rest[fee], part);
        abacus_step(
            abacus,
            "fee %u: %s - %s of the coupon = %s",
            fee,
            abacus_text(abacus, rest[fee]),
            abacus_text(abacus, part),
            abacus_text(abacus, left));
        rest[fee] = left;
    }
}

void
price_coupons_apply(
    struct abacus *abacus,
    const struct price_coupon *coupons,
    uint32_t coupons_count,
    const struct rational **rest,
    uint32_t fees_count)
{
    for (uint32_t i = 0; i < coupons_count; i++)
        coupon_apply(abacus, &coupons[i], rest, fees_count);
}

const struct rational *
price_tax(struct abacus *abacus, const struct price_fee_base *bases, uint32_t bases_count)
{
    const struct rational *sum = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < bases_count; i++) {
        const struct rational *tax = abacus_percent(abacus, bases[i].amount, bases[i].rate);
        abacus_step(
            abacus,
            "%s x %s%% = %s",
            abacus_text(abacus, bases[i].amount),
            abacus_text(abacus, bases[i].rate),
            abacus_text(abacus, tax));
        sum = abacus_add(abacus, sum, tax);
    }
    return sum;
}
