// Charges that are paid in advance: a fee for each event of a period.

#include "base/assert.h"
#include "billing/charge.h"
#include "billing/price_advance.h"

static struct price_advance_event *
events_make(struct abacus *abacus, const struct charge_usage *usage)
{
    struct price_advance_event *events =
        arena_array(abacus->arena, usage->events_count, struct price_advance_event);
    for (uint32_t i = 0; i < usage->events_count; i++) {
        const struct charge_event *event = &usage->events[i];
        events[i] = (struct price_advance_event){
            .units = abacus_decimal(abacus, event->units),
            .price_minor = abacus_decimal(abacus, event->price_minor),
            .key = bytes_text(event->key != NULL ? event->key : ""),
        };
    }
    return events;
}

static const struct rational *
carried_of(struct abacus *abacus, const struct charge_usage *usage)
{
    const struct rational *carried = &RATIONAL_ZERO;
    if (usage->carried == NULL)
        return carried;
    must(abacus_parse(abacus, bytes_text(usage->carried), &carried) == STATUS_OK);
    abacus_step(abacus, "carried from before: %s minor units", abacus_text(abacus, carried));
    return carried;
}

// Writes the fees as texts of the caller's arena, and sums them up.
static void
fees_sum(
    struct abacus *abacus,
    const struct price_fee *fees,
    const struct charge_usage *usage,
    struct arena *arena,
    struct charge_fees *out)
{
    struct charge_fee *items = arena_array(arena, usage->events_count, struct charge_fee);
    const struct rational *exact = &RATIONAL_ZERO, *billed = exact;
    for (uint32_t i = 0; i < usage->events_count; i++) {
        const struct rational *major =
            abacus_shift(abacus, fees[i].exact_minor, (int32_t)usage->decimals);
        items[i] = (struct charge_fee){
            rational_text(major, arena), rational_text(fees[i].billed_minor, arena)};
        exact = abacus_add(abacus, exact, major);
        billed = abacus_add(abacus, billed, fees[i].billed_minor);
    }
    out->items = items;
    out->exact = exact;
    out->billed_minor = billed;
}

struct charge_units
charge_rate_in_advance(
    struct abacus *abacus,
    const struct charge *charge,
    const struct charge_usage *usage,
    struct arena *arena,
    struct charge_fees *out)
{
    must(charge->is_in_advance && charge->recurring == RECURRING_NOT);
    struct price_model model = charge->price;
    if (model.kind == PRICE_DYNAMIC && model.subunit == NULL)
        model.subunit = abacus_shift(abacus, abacus_int(abacus, 1), -(int32_t)usage->decimals);
    const struct price_advance advance = {
        .model = &model,
        .is_high_water = true,
        .decimals = usage->decimals,
        .free_units = abacus_decimal(abacus, charge->free_units),
        .maximum = charge->has_maximum ? abacus_decimal(abacus, charge->maximum) : NULL,
        .carried = carried_of(abacus, usage),
    };
    uint32_t count = usage->events_count;
    struct price_fee *fees = arena_array(abacus->arena, count, struct price_fee);
    const struct rational *remainder =
        price_in_advance(abacus, &advance, events_make(abacus, usage), count, fees);
    fees_sum(abacus, fees, usage, arena, out);
    out->remainder = rational_text(remainder, arena);
    const struct rational *used = &RATIONAL_ZERO, *net = abacus_decimal(abacus, usage->units);
    for (uint32_t i = 0; i < count; i++)
        used = abacus_add(abacus, used, fees[i].counted);
    const struct rational *is_free = abacus_decimal(abacus, charge->free_units);
    return (struct charge_units){
        .used = used,
        .clamped = abacus_subtract(abacus, net, used),
        .priced = rational_max(abacus_subtract(abacus, used, is_free), &RATIONAL_ZERO),
    };
}
