#include "billing/price_tiers.h"

#include "base/assert.h"

static bool
is_clamped(struct abacus *abacus, const struct rational *units)
{
    if (rational_sign(units) >= 0)
        return false;
    abacus_step(abacus, "%s units: net negative usage costs 0", abacus_text(abacus, units));
    return true;
}

const struct rational *
price_standard(struct abacus *abacus, const struct rational *units, const struct rational *amount)
{
    must(rational_sign(amount) >= 0);
    if (is_clamped(abacus, units))
        return &RATIONAL_ZERO;
    const struct rational *result = abacus_multiply(abacus, units, amount);
    abacus_step(
        abacus,
        "%s x %s = %s",
        abacus_text(abacus, units),
        abacus_text(abacus, amount),
        abacus_text(abacus, result));
    return result;
}

// units * unit (or percent) + flat, as a step.
static const struct rational *
tier_amount(
    struct abacus *abacus,
    const struct price_tier *tier,
    const struct rational *from,
    const struct rational *units,
    enum tier_kind kind)
{
    const struct rational *part = kind == TIER_PER_UNIT ? abacus_multiply(abacus, units, tier->unit)
                                                        : abacus_percent(abacus, units, tier->unit);
    const struct rational *amount = part;
    if (rational_sign(tier->flat) != 0)
        amount = abacus_add(abacus, part, tier->flat);
    abacus_step(
        abacus,
        "(%s, %s]  %s x %s%s + %s = %s",
        abacus_text(abacus, from),
        tier->to != NULL ? abacus_text(abacus, tier->to) : "...",
        abacus_text(abacus, units),
        abacus_text(abacus, tier->unit),
        kind == TIER_PERCENT ? "%" : "",
        abacus_text(abacus, tier->flat),
        abacus_text(abacus, amount));
    return amount;
}

const struct rational *
price_graduated(
    struct abacus *abacus,
    const struct rational *units,
    const struct price_tier *tiers,
    uint32_t tiers_count,
    enum tier_kind kind)
{
    must(tiers_count > 0 && tiers[tiers_count - 1].to == NULL);
    if (is_clamped(abacus, units))
        return &RATIONAL_ZERO;
    const struct rational *sum = &RATIONAL_ZERO, *from = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < tiers_count; i++) {
        const struct price_tier *tier = &tiers[i];
        bool ends_here = tier->to == NULL || rational_compare(units, tier->to) <= 0;
        const struct rational *upto = ends_here ? units : tier->to;
        const struct rational *inside = i > 0 ? abacus_subtract(abacus, upto, from) : upto;
        sum = abacus_add(abacus, sum, tier_amount(abacus, tier, from, inside, kind));
        if (ends_here)
            break;
        from = tier->to;
    }
    must(rational_sign(sum) >= 0);
    return sum;
}

const struct rational *
price_volume(
    struct abacus *abacus,
    const struct rational *units,
    const struct rational *select_on,
    const struct price_tier *tiers,
    uint32_t tiers_count)
{
    must(tiers_count > 0 && tiers[tiers_count - 1].to == NULL);
    if (is_clamped(abacus, units))
        return &RATIONAL_ZERO;
    uint32_t i = 0;
    while (tiers[i].to != NULL && rational_compare(select_on, tiers[i].to) > 0)
        i++;
    must(i < tiers_count);
    const struct rational *from = i > 0 ? tiers[i - 1].to : &RATIONAL_ZERO;
    if (rational_compare(units, select_on) != 0)
        abacus_step(abacus, "the tier of %s units", abacus_text(abacus, select_on));
    return tier_amount(abacus, &tiers[i], from, units, TIER_PER_UNIT);
}

const struct rational *
price_package(
    struct abacus *abacus, const struct rational *units, const struct price_package *package)
{
    must(rational_sign(package->size) > 0 && rational_sign(package->free) >= 0);
    if (is_clamped(abacus, units))
        return &RATIONAL_ZERO;
    const struct rational *paid = abacus_subtract(abacus, units, package->free);
    const struct rational *count = &RATIONAL_ZERO;
    if (rational_sign(paid) > 0)
        count = abacus_divide_whole(abacus, paid, package->size, ROUND_CEIL);
    else if (package->bill_min_one)
        count = abacus_int(abacus, 1);
    const struct rational *amount = abacus_multiply(abacus, count, package->amount);
    abacus_step(
        abacus,
        "%s units, %s free, packages of %s: %s x %s = %s",
        abacus_text(abacus, units),
        abacus_text(abacus, package->free),
        abacus_text(abacus, package->size),
        abacus_text(abacus, count),
        abacus_text(abacus, package->amount),
        abacus_text(abacus, amount));
    return amount;
}

// Not more than what is left of a cap, and not less than nothing.
static const struct rational *
cap_apply(
    struct abacus *abacus,
    const struct rational *amount,
    const struct rational *max_spend,
    const struct rational *spent)
{
    const struct rational *left = abacus_subtract(abacus, max_spend, spent);
    const struct rational *result = rational_min(amount, rational_max(left, &RATIONAL_ZERO));
    abacus_step(
        abacus,
        "at most %s - %s billed before: %s",
        abacus_text(abacus, max_spend),
        abacus_text(abacus, spent),
        abacus_text(abacus, result));
    return result;
}

const struct rational *
price_unit_with_cap(
    struct abacus *abacus,
    const struct rational *units,
    const struct rational *unit,
    const struct rational *max_spend,
    const struct rational *already_billed_units)
{
    const struct rational *amount = price_standard(abacus, units, unit);
    const struct rational *spent = abacus_multiply(abacus, already_billed_units, unit);
    return cap_apply(abacus, amount, max_spend, spent);
}

const struct rational *
price_dynamic_multiplier(
    struct abacus *abacus, const struct rational *units, const struct price_multiplier *multiplier)
{
    const struct rational *exact = price_standard(abacus, units, multiplier->multiplier);
    const struct rational *amount = abacus_round(abacus, exact, multiplier->places, ROUND_HALF_UP);
    abacus_step(abacus, "rounded: %s", abacus_text(abacus, amount));
    if (multiplier->max_spend == NULL)
        return amount;
    const struct rational *spent = abacus_round(
        abacus,
        abacus_multiply(abacus, multiplier->already_billed_units, multiplier->multiplier),
        multiplier->places,
        ROUND_HALF_UP);
    return cap_apply(abacus, amount, multiplier->max_spend, spent);
}
