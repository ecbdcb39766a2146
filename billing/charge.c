#include "billing/charge.h"

#include "base/assert.h"
#include "base/clock.h"
#include "billing/price_events.h"
#include "billing/price_quantity.h"
#include "billing/price_term.h"

bool
charge_model_needs_events(const struct charge *charge)
{
    const struct price_percentage *percentage = &charge->price.percentage;
    switch (charge->price.kind) {
    case PRICE_DYNAMIC:
    case PRICE_CUSTOM_FOLD: return true;
    case PRICE_PERCENTAGE:
        return price_percentage_needs_events(percentage) || charge->recurring != RECURRING_NOT;
    case PRICE_STANDARD:
    case PRICE_GRADUATED:
    case PRICE_FLAT:
    case PRICE_GRADUATED_PERCENTAGE:
    case PRICE_VOLUME:
    case PRICE_PACKAGE:
    case PRICE_KINDS: break;
    }
    return charge->recurring != RECURRING_NOT;
}

bool
charge_needs_events(const struct charge *charge)
{
    return charge->is_in_advance || charge_model_needs_events(charge);
}

// What a charge owes at least and at most, whatever the model says.
static const struct rational *
charge_hold(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    const struct rational *amount)
{
    if (charge->has_maximum) {
        const struct rational *most = abacus_decimal(abacus, charge->maximum);
        amount = rational_min(amount, most);
        abacus_step(abacus, "at most %s", abacus_text(abacus, most));
    }
    if (charge->has_minimum) {
        struct price_share share = {
            abacus_int(abacus, usage->days), abacus_int(abacus, usage->days_full)};
        abacus_step(abacus, "at least, by days:");
        amount = rational_max(
            amount, price_days(abacus, abacus_decimal(abacus, charge->minimum), share));
    }
    return amount;
}

static struct charge_units
units_of(const struct rational *quantity)
{
    if (rational_sign(quantity) < 0)
        return (struct charge_units){&RATIONAL_ZERO, quantity, &RATIONAL_ZERO};
    return (struct charge_units){quantity, &RATIONAL_ZERO, quantity};
}

// ---- a quantity

static struct charge_units
quantity_rate(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    const struct rational **out_amount)
{
    struct charge_units units = units_of(abacus_decimal(abacus, usage->units));
    const struct rational *is_free = abacus_decimal(abacus, charge->free_units);
    if (charge->free_units.units > 0)
        units.priced = rational_max(abacus_subtract(abacus, units.used, is_free), &RATIONAL_ZERO);
    // Net negative usage owes nothing, not even the flat fee that no usage owes.
    bool is_negative = rational_sign(units.clamped) < 0;
    struct price_usage asked = {.amounts = {.units = is_negative ? units.clamped : units.priced}};
    const struct price_model *price = usage->price != NULL ? usage->price : &charge->price;
    *out_amount = price_model_amount(abacus, price, &asked);
    return units;
}

// ---- single events

static const struct rational *
percentage_amount(
    struct abacus *abacus,
    const struct price_model *price,
    const struct charge_usage *usage,
    const struct rational *units)
{
    uint32_t count = usage->events_count;
    const struct rational **events = arena_array(abacus->arena, count, const struct rational *);
    for (uint32_t i = 0; i < count; i++)
        events[i] = abacus_decimal(abacus, usage->events[i].units);
    struct price_usage asked = {
        .amounts = {.units = units, .events = events, .events_count = count, .count = count}
    };
    bool has_free =
        price->percentage.free_events > 0 || rational_sign(price->percentage.free_amount) > 0;
    if (has_free)
        price_running(abacus, price->percentage.free_events, &asked.amounts);
    return price_model_amount(abacus, price, &asked);
}

static const struct rational *
dynamic_amount(
    struct abacus *abacus,
    const struct price_model *price,
    const struct charge_usage *usage,
    const struct rational *units)
{
    struct price_model model = *price;
    const struct rational *sum = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < usage->events_count; i++) {
        const struct rational *minor = abacus_decimal(abacus, usage->events[i].price_minor);
        sum = abacus_add(abacus, sum, minor);
        abacus_step(abacus, "an event of %s", abacus_text(abacus, minor));
    }
    if (model.subunit == NULL)
        model.subunit = abacus_shift(abacus, abacus_int(abacus, 1), -(int32_t)usage->decimals);
    struct price_usage asked = {.sum_minor = sum, .amounts = {.units = units}};
    return price_model_amount(abacus, &model, &asked);
}

// An event that takes back fills no tier: it is left out.
static const struct rational *
custom_amount(
    struct abacus *abacus, const struct price_model *price, const struct charge_usage *usage)
{
    struct price_custom_event *events =
        arena_array(abacus->arena, usage->events_count, struct price_custom_event);
    uint32_t count = 0, missing = 0;
    for (uint32_t i = 0; i < usage->events_count; i++) {
        const struct charge_event *event = &usage->events[i];
        if (event->units.units > 0)
            events[count++] = (struct price_custom_event){
                abacus_decimal(abacus, event->units), bytes_text(event->key)};
    }
    const struct rational *amount =
        price_custom_fold(abacus, events, count, price->custom_tiers, price->tiers_count, &missing);
    must(amount != NULL);  // each tier of a catalogue has a default
    return amount;
}

static struct charge_units
events_rate(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    const struct rational **out_amount)
{
    const struct rational *sum = abacus_decimal(abacus, usage->units);
    if (charge->price.kind == PRICE_PERCENTAGE)
        *out_amount = percentage_amount(abacus, &charge->price, usage, sum);
    else if (charge->price.kind == PRICE_DYNAMIC)
        *out_amount = dynamic_amount(abacus, &charge->price, usage, sum);
    else
        *out_amount = custom_amount(abacus, &charge->price, usage);
    return units_of(sum);
}

// ---- levels that last

static const struct rational *
weighted_quantity(struct abacus *abacus, const struct charge_usage *usage)
{
    struct price_change *changes =
        arena_array(abacus->arena, usage->events_count, struct price_change);
    for (uint32_t i = 0; i < usage->events_count; i++)
        changes[i] = (struct price_change){
            usage->events[i].time_ns, abacus_decimal(abacus, usage->events[i].units)};
    struct price_weighted weighted = {
        .from_ns = usage->from_ns,
        .to_ns = usage->to_ns,
        .initial = abacus_decimal(abacus, usage->initial),
        .changes = changes,
        .changes_count = usage->events_count,
        .period_days = usage->days_full,
    };
    return price_weighted_sum(abacus, &weighted);
}

// What was there when the period began, then each change: its amount and the days that are left of
// the period, its own included.
static struct price_added *
added_of(struct abacus *abacus, const struct charge_usage *usage)
{
    struct price_added *added =
        arena_array(abacus->arena, (size_t)usage->events_count + 1, struct price_added);
    added[0] = (struct price_added){
        abacus_decimal(abacus, usage->initial), abacus_int(abacus, usage->days)};
    for (uint32_t i = 0; i < usage->events_count; i++) {
        const struct charge_event *event = &usage->events[i];
        must(event->time_ns >= usage->from_ns && event->time_ns < usage->to_ns);
        int64_t days = (usage->to_ns - event->time_ns + DAY_NS - 1) / DAY_NS;
        added[i + 1] =
            (struct price_added){abacus_decimal(abacus, event->units), abacus_int(abacus, days)};
    }
    return added;
}

static const struct rational *
level_amount(
    struct abacus *abacus,
    const struct price_model *price,
    const struct price_added *added,
    uint32_t count,
    const struct rational *period)
{
    struct price_level_event *events = arena_array(abacus->arena, count, struct price_level_event);
    for (uint32_t i = 0; i < count; i++) {
        const struct rational *days = abacus_multiply(abacus, added[i].amount, added[i].days);
        events[i] =
            (struct price_level_event){added[i].amount, abacus_divide(abacus, days, period)};
    }
    return price_prorated_graduated(abacus, events, count, price->tiers, price->tiers_count);
}

static struct charge_units
prorated_rate(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    const struct rational **out_amount)
{
    const struct rational *period = abacus_int(abacus, usage->days_full);
    struct price_added *added = added_of(abacus, usage);
    uint32_t count = usage->events_count + 1;
    const struct rational *quantity =
        price_prorated_sum(abacus, &RATIONAL_ZERO, added, count, period);
    if (charge->price.kind == PRICE_GRADUATED) {
        *out_amount = level_amount(abacus, &charge->price, added, count, period);
        return units_of(quantity);
    }
    // The tier is that of the level at the end, whole; it prices the prorated quantity.
    const struct rational *level = abacus_add(
        abacus, abacus_decimal(abacus, usage->initial), abacus_decimal(abacus, usage->units));
    struct price_usage asked = {
        .select_on = rational_max(level, &RATIONAL_ZERO), .amounts = {.units = quantity}};
    *out_amount = price_model_amount(abacus, &charge->price, &asked);
    return units_of(quantity);
}

static struct charge_units
weighted_rate(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    const struct rational **out_amount)
{
    const struct rational *quantity = weighted_quantity(abacus, usage);
    struct price_usage asked = {.amounts = {.units = quantity}};
    abacus_step(abacus, "on average %s", abacus_text(abacus, quantity));
    *out_amount = price_model_amount(abacus, &charge->price, &asked);
    return units_of(quantity);
}

struct charge_units
charge_rate(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    const struct rational **out_amount)
{
    must(charge->free_units.units >= 0 && !charge->is_in_advance);
    must(usage->days > 0 && usage->days <= usage->days_full);
    struct charge_units units;
    const struct rational *amount = NULL;
    if (charge->recurring == RECURRING_WEIGHTED)
        units = weighted_rate(abacus, charge, usage, &amount);
    else if (charge->recurring == RECURRING_PRORATED)
        units = prorated_rate(abacus, charge, usage, &amount);
    else if (charge_needs_events(charge))
        units = events_rate(abacus, charge, usage, &amount);
    else
        units = quantity_rate(abacus, charge, usage, &amount);
    amount = charge_hold(abacus, charge, usage, amount);
    must(rational_sign(amount) >= 0);
    *out_amount = amount;
    return units;
}
