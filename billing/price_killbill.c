#include "billing/price_killbill.h"

#include "base/assert.h"
#include "base/clock.h"

const struct rational *
price_ratio(struct abacus *abacus, int64_t days, int64_t period_days)
{
    must(period_days > 0);
    const struct rational *ratio = abacus_round(
        abacus,
        abacus_divide(abacus, abacus_int(abacus, days), abacus_int(abacus, period_days)),
        PRICE_RATIO_PLACES,
        ROUND_HALF_UP);
    abacus_step(abacus, "%ld / %ld days = %s", days, period_days, abacus_text(abacus, ratio));
    return ratio;
}

// Every month has 30 days, the 31st is a 30th.
static int64_t
days_30_360(struct civil from, struct civil to)
{
    int64_t first = from.day < 30 ? from.day : 30;
    int64_t last = to.day < 30 ? to.day : 30;
    int64_t months = ((int64_t)to.year - from.year) * 12 + to.month - from.month;
    return months * 30 + last - first;
}

const struct rational *
price_day_ratio(struct abacus *abacus, int64_t from, int64_t to, int64_t fixed_days)
{
    must(from <= to && fixed_days >= 0);
    struct civil start = civil_from_days(from);
    if (fixed_days > 0)
        return price_ratio(abacus, days_30_360(start, civil_from_days(to)), fixed_days);
    return price_ratio(abacus, to - from, civil_days_in_month(start.year, start.month));
}

// ---- billing cycles

static int64_t
months_later(int64_t date, int32_t months, uint8_t bill_cycle_day)
{
    return civil_to_days(civil_add_months(civil_from_days(date), months, bill_cycle_day));
}

// The first billing day at or after the start.
static int64_t
first_billing_day(const struct price_cycles *cycles)
{
    int64_t first = months_later(cycles->start, 0, cycles->bill_cycle_day);
    if (first >= cycles->start)
        return first;
    return months_later(first, cycles->period_months, cycles->bill_cycle_day);
}

// From the start to the first billing day, of the period before that: which is found by stepping
// back from the first billing day as it is, cut to its month or not.
static const struct rational *
leading_stub(struct abacus *abacus, const struct price_cycles *cycles, int64_t first)
{
    struct civil day = civil_from_days(first);
    int64_t before = civil_to_days(civil_add_months(day, -cycles->period_months, day.day));
    int64_t end = cycles->has_end && cycles->end < first ? cycles->end : first;
    return price_ratio(abacus, end - cycles->start, first - before);
}

const struct rational *
price_billing_cycles(struct abacus *abacus, const struct price_cycles *cycles)
{
    must(cycles->period_months > 0 && cycles->bill_cycle_day >= 1);
    const struct rational *sum = &RATIONAL_ZERO;
    int64_t from = first_billing_day(cycles);
    if (cycles->target < cycles->start || (cycles->has_end && cycles->end <= cycles->start))
        return sum;
    if (from > cycles->start)
        sum = leading_stub(abacus, cycles, from);
    int64_t whole = 0;
    const struct rational *stub = &RATIONAL_ZERO;
    for (int32_t i = 0; i < PRICE_PERIODS_MAX; i++) {
        if (from > cycles->target || (cycles->has_end && from >= cycles->end))
            break;
        int64_t to = months_later(from, cycles->period_months, cycles->bill_cycle_day);
        if (cycles->has_end && cycles->end < to) {
            stub = price_ratio(abacus, cycles->end - from, to - from);
            break;
        }
        whole++;
        from = to;
    }
    abacus_step(abacus, "%ld whole periods", whole);
    return abacus_add(abacus, abacus_add(abacus, sum, abacus_int(abacus, whole)), stub);
}

// ---- blocks

static const struct rational *
blocks_amount(
    struct abacus *abacus, const struct rational *units, const struct price_block_tier *tier)
{
    const struct rational *blocks = abacus_divide_whole(abacus, units, tier->size, ROUND_CEIL);
    const struct rational *amount = abacus_multiply(abacus, blocks, tier->price);
    abacus_step(
        abacus,
        "%s units, blocks of %s: %s x %s = %s",
        abacus_text(abacus, units),
        abacus_text(abacus, tier->size),
        abacus_text(abacus, blocks),
        abacus_text(abacus, tier->price),
        abacus_text(abacus, amount));
    return amount;
}

const struct rational *
price_consumable(
    struct abacus *abacus,
    const struct rational *units,
    const struct price_block_tier *tiers,
    uint32_t tiers_count,
    bool is_all_tiers)
{
    const struct rational *sum = &RATIONAL_ZERO, *rest = units;
    for (uint32_t i = 0; i < tiers_count; i++) {
        const struct price_block_tier *tier = &tiers[i];
        if (rational_sign(rest) <= 0)
            return sum;
        const struct rational *room =
            tier->max != NULL ? abacus_multiply(abacus, tier->max, tier->size) : rest;
        const struct rational *inside = rational_min(rest, room);
        if (is_all_tiers)
            sum = abacus_add(abacus, sum, blocks_amount(abacus, inside, tier));
        rest = abacus_subtract(abacus, rest, inside);
        if (!is_all_tiers && rational_sign(rest) == 0)
            return blocks_amount(abacus, units, tier);
    }
    return rational_sign(rest) <= 0 ? sum : NULL;
}
