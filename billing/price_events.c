#include "billing/price_events.h"

#include "base/assert.h"

// ---- custom tiers

static const struct rational *
key_price(const struct price_custom_tier *tier, struct bytes key)
{
    for (uint32_t i = 0; i < tier->keys_count; i++)
        if (bytes_equal(tier->keys[i].key, key))
            return tier->keys[i].unit;
    return tier->fallback;
}

const struct rational *
price_custom_event(
    struct abacus *abacus,
    const struct price_custom_event *event,
    const struct price_custom_tier *tiers,
    uint32_t tiers_count,
    const struct rational *level)
{
    const struct rational *sum = &RATIONAL_ZERO, *at = level;
    const struct rational *end = abacus_add(abacus, level, event->units);
    for (uint32_t i = 0; i < tiers_count && rational_compare(at, end) < 0; i++) {
        const struct price_custom_tier *tier = &tiers[i];
        if (tier->to != NULL && rational_compare(at, tier->to) >= 0)
            continue;
        const struct rational *upto = tier->to != NULL ? rational_min(end, tier->to) : end;
        const struct rational *inside = abacus_subtract(abacus, upto, at);
        const struct rational *unit = key_price(tier, event->key);
        if (unit == NULL)
            return NULL;
        const struct rational *amount = abacus_multiply(abacus, inside, unit);
        abacus_step(
            abacus,
            "\"%.*s\" (%s, %s]  %s x %s = %s",
            (int)(event->key.size < 100 ? event->key.size : 100),
            (const char *)event->key.data,
            abacus_text(abacus, at),
            abacus_text(abacus, upto),
            abacus_text(abacus, inside),
            abacus_text(abacus, unit),
            abacus_text(abacus, amount));
        sum = abacus_add(abacus, sum, amount);
        at = upto;
    }
    return sum;
}

const struct rational *
price_custom_fold(
    struct abacus *abacus,
    const struct price_custom_event *events,
    uint32_t events_count,
    const struct price_custom_tier *tiers,
    uint32_t tiers_count,
    uint32_t *out_missing)
{
    must(tiers_count > 0 && tiers[tiers_count - 1].to == NULL);
    const struct rational *sum = &RATIONAL_ZERO, *level = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < events_count; i++) {
        must(rational_sign(events[i].units) >= 0);
        const struct rational *amount =
            price_custom_event(abacus, &events[i], tiers, tiers_count, level);
        if (amount == NULL) {
            *out_missing = i;
            return NULL;
        }
        sum = abacus_add(abacus, sum, amount);
        level = abacus_add(abacus, level, events[i].units);
    }
    return sum;
}

// ---- recurring levels

// How much of (low, high] lies in (from, to]; from is NULL for the first tier, which also takes
// what is below zero, and to is NULL for the last.
static const struct rational *
overlap(
    struct abacus *abacus,
    const struct rational *low,
    const struct rational *high,
    const struct rational *from,
    const struct rational *to)
{
    const struct rational *begin = from != NULL ? rational_max(low, from) : low;
    const struct rational *end = to != NULL ? rational_min(high, to) : high;
    if (rational_compare(begin, end) >= 0)
        return &RATIONAL_ZERO;
    return abacus_subtract(abacus, end, begin);
}

static const struct rational *
level_event_amount(
    struct abacus *abacus,
    const struct price_level_event *event,
    const struct price_tier *tiers,
    uint32_t tiers_count,
    const struct rational *level)
{
    const struct rational *sum = &RATIONAL_ZERO;
    if (rational_sign(event->full) == 0)
        return sum;
    const struct rational *after = abacus_add(abacus, level, event->full);
    const struct rational *low = rational_min(level, after), *high = rational_max(level, after);
    const struct rational *size = abacus_subtract(abacus, high, low);
    for (uint32_t i = 0; i < tiers_count; i++) {
        const struct rational *from = i > 0 ? tiers[i - 1].to : NULL;
        const struct rational *units = overlap(abacus, low, high, from, tiers[i].to);
        if (rational_sign(units) == 0)
            continue;
        // prorated carries the sign of a removal.
        const struct rational *counted =
            abacus_divide(abacus, abacus_multiply(abacus, units, event->prorated), size);
        const struct rational *amount = abacus_multiply(abacus, counted, tiers[i].unit);
        abacus_step(
            abacus,
            "from %s to %s: %s of it at %s: %s",
            abacus_text(abacus, level),
            abacus_text(abacus, after),
            abacus_text(abacus, units),
            abacus_text(abacus, tiers[i].unit),
            abacus_text(abacus, amount));
        sum = abacus_add(abacus, sum, amount);
    }
    return sum;
}

static const struct rational *
reached_flats(
    struct abacus *abacus,
    const struct price_tier *tiers,
    uint32_t tiers_count,
    const struct rational *highest)
{
    const struct rational *sum = tiers[0].flat;
    for (uint32_t i = 1; i < tiers_count; i++)
        if (rational_compare(highest, tiers[i - 1].to) > 0)
            sum = abacus_add(abacus, sum, tiers[i].flat);
    abacus_step(
        abacus,
        "flat fees up to %s units: %s",
        abacus_text(abacus, highest),
        abacus_text(abacus, sum));
    return sum;
}

const struct rational *
price_prorated_graduated(
    struct abacus *abacus,
    const struct price_level_event *events,
    uint32_t events_count,
    const struct price_tier *tiers,
    uint32_t tiers_count)
{
    must(tiers_count > 0 && tiers[tiers_count - 1].to == NULL);
    const struct rational *sum = &RATIONAL_ZERO, *level = &RATIONAL_ZERO, *highest = level;
    for (uint32_t i = 0; i < events_count; i++) {
        sum = abacus_add(
            abacus, sum, level_event_amount(abacus, &events[i], tiers, tiers_count, level));
        level = abacus_add(abacus, level, events[i].full);
        highest = rational_max(highest, level);
    }
    sum = abacus_add(abacus, sum, reached_flats(abacus, tiers, tiers_count, highest));
    if (rational_sign(level) >= 0)
        return rational_max(sum, &RATIONAL_ZERO);
    abacus_step(abacus, "the level ends at %s: 0", abacus_text(abacus, level));
    return &RATIONAL_ZERO;
}
