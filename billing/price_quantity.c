#include "billing/price_quantity.h"

#include "base/assert.h"
#include "base/clock.h"

static int64_t
second_after(int64_t time_ns)
{
    int64_t rest = time_ns % SECOND_NS;
    if (rest == 0)
        return time_ns;
    return time_ns - rest + (rest > 0 ? SECOND_NS : 0);
}

// A level that holds from a time to the end counts level x that time, so a change counts its delta
// x the time that is left: no order of the events is needed.
static const struct rational *
change_weight(struct abacus *abacus, const struct rational *delta, int64_t from_ns, int64_t to_ns)
{
    const struct rational *left = abacus_int(abacus, to_ns - from_ns);
    const struct rational *weight = abacus_multiply(abacus, delta, left);
    abacus_step(
        abacus,
        "%s x %s s",
        abacus_text(abacus, delta),
        abacus_text(abacus, abacus_shift(abacus, left, 9)));
    return weight;
}

const struct rational *
price_weighted_sum(struct abacus *abacus, const struct price_weighted *weighted)
{
    must(weighted->period_days > 0 && weighted->from_ns < weighted->to_ns);
    int64_t to_ns = second_after(weighted->to_ns);
    const struct rational *sum = change_weight(abacus, weighted->initial, weighted->from_ns, to_ns);
    for (uint32_t i = 0; i < weighted->changes_count; i++) {
        const struct price_change *change = &weighted->changes[i];
        must(change->time_ns >= weighted->from_ns && change->time_ns <= to_ns);
        sum = abacus_add(abacus, sum, change_weight(abacus, change->delta, change->time_ns, to_ns));
    }
    const struct rational *period = abacus_multiply(
        abacus, abacus_int(abacus, weighted->period_days), abacus_int(abacus, DAY_NS));
    return abacus_round(
        abacus, abacus_divide(abacus, sum, period), PRICE_WEIGHTED_PLACES, ROUND_CEIL);
}

const struct rational *
price_prorated_sum(
    struct abacus *abacus,
    const struct rational *full,
    const struct price_added *added,
    uint32_t added_count,
    const struct rational *period_days)
{
    must(rational_sign(period_days) > 0);
    const struct rational *sum = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < added_count; i++) {
        sum = abacus_add(abacus, sum, abacus_multiply(abacus, added[i].amount, added[i].days));
        abacus_step(
            abacus,
            "%s x %s / %s days",
            abacus_text(abacus, added[i].amount),
            abacus_text(abacus, added[i].days),
            abacus_text(abacus, period_days));
    }
    sum = abacus_add(abacus, full, abacus_divide(abacus, sum, period_days));
    return abacus_round(abacus, sum, PRICE_PRORATED_PLACES, ROUND_CEIL);
}
