// Each fee is the difference of two prices, and each billed fee the difference of two rounded
// sums. What a model needs to know of the events before is kept from event to event, so that a
// hundred thousand of them take a hundred thousand steps.

#include "billing/price_advance.h"

#include "base/assert.h"

// Where a sequence stands.
struct advance_state {
    struct price_usage usage;         // of what counted; its lists grow with the events
    const struct rational **running;  // usage's
    const struct rational *level;     // of all events
    const struct rational *highest;
    const struct rational *folded;  // of custom_fold and of limits per event: the price of all
    struct price_free free;         // of limits per event
    const struct rational *paid;    // the price of what counted up to now
    const struct rational *due;     // the sum of the fees in major units
    const struct rational *exact;   // the same in minor units, with what was carried
    const struct rational *billed;  // what exact was rounded to, in minor units
};

// What of an event counts, or NULL.
static const struct rational *
event_counted(
    struct abacus *abacus,
    const struct price_advance *advance,
    struct advance_state *state,
    const struct rational *units)
{
    int sign = rational_sign(units);
    state->level = abacus_add(abacus, state->level, units);
    if (!advance->is_high_water)
        return sign < 0 && advance->model->kind == PRICE_CUSTOM_FOLD ? NULL : units;
    if (sign == 0)
        return units;
    if (sign < 0 || rational_compare(state->level, state->highest) <= 0)
        return NULL;
    const struct rational *above = abacus_subtract(abacus, state->level, state->highest);
    state->highest = state->level;
    return above;
}

static bool
has_event_limits(const struct price_model *model)
{
    return model->kind == PRICE_PERCENTAGE &&
           (model->percentage.min != NULL || model->percentage.max != NULL);
}

static void
usage_add(
    struct abacus *abacus,
    const struct price_advance *advance,
    struct advance_state *state,
    const struct price_advance_event *event)
{
    struct price_amounts *amounts = &state->usage.amounts;
    int64_t free_events = advance->model->percentage.free_events;
    if (event->price_minor != NULL)
        state->usage.sum_minor = abacus_add(abacus, state->usage.sum_minor, event->price_minor);
    amounts->units = abacus_add(abacus, amounts->units, event->units);
    if (free_events == 0 || amounts->count < free_events)
        state->running[amounts->running_count++] = amounts->units;
    amounts->count++;
}

// The price of all that counted, this event the last of it.
static const struct rational *
price_now(
    struct abacus *abacus,
    const struct price_advance *advance,
    struct advance_state *state,
    const struct price_advance_event *event)
{
    const struct price_model *model = advance->model;
    const struct rational *before = state->usage.amounts.units, *fee = NULL;
    usage_add(abacus, advance, state, event);
    if (model->kind == PRICE_CUSTOM_FOLD) {
        const struct price_custom_event custom = {event->units, event->key};
        fee = price_custom_event(abacus, &custom, model->custom_tiers, model->tiers_count, before);
        must(fee != NULL);  // each tier has a default
    } else if (has_event_limits(model)) {
        fee = price_percentage_event(abacus, &model->percentage, &state->free, event->units);
    }
    if (fee != NULL) {
        state->folded = abacus_add(abacus, state->folded, fee);
        bool is_negative = rational_sign(state->usage.amounts.units) < 0;
        return is_negative ? &RATIONAL_ZERO : rational_max(state->folded, &RATIONAL_ZERO);
    }
    struct price_usage usage = state->usage;
    if (advance->free_units != NULL && rational_sign(usage.amounts.units) > 0)
        usage.amounts.units = rational_max(
            abacus_subtract(abacus, usage.amounts.units, advance->free_units), &RATIONAL_ZERO);
    return price_model_amount(abacus, model, &usage);
}

// What the event owes, in major units.
static const struct rational *
event_fee(
    struct abacus *abacus,
    const struct price_advance *advance,
    struct advance_state *state,
    const struct price_advance_event *event)
{
    const struct rational *now = price_now(abacus, advance, state, event);
    const struct rational *fee = abacus_subtract(abacus, now, state->paid);
    abacus_step(
        abacus,
        "%s - %s before = %s",
        abacus_text(abacus, now),
        abacus_text(abacus, state->paid),
        abacus_text(abacus, fee));
    state->paid = now;
    fee = rational_max(fee, &RATIONAL_ZERO);
    if (advance->maximum == NULL)
        return fee;
    abacus_step(abacus, "at most %s in all", abacus_text(abacus, advance->maximum));
    return rational_min(fee, abacus_subtract(abacus, advance->maximum, state->due));
}

// What of the sum of the fees is billed by now. Half a minor unit is billed, so what is carried
// is rounded upward and not away from zero: it was billed when it is negative.
static const struct rational *
sum_round(struct abacus *abacus, const struct rational *exact)
{
    const struct rational *half = abacus_shift(abacus, abacus_int(abacus, 5), 1);
    return abacus_round(abacus, abacus_add(abacus, exact, half), 0, ROUND_FLOOR);
}

static void
fee_make(
    struct abacus *abacus,
    const struct price_advance *advance,
    struct advance_state *state,
    const struct price_advance_event *event,
    struct price_fee *out)
{
    const struct rational *fee = &RATIONAL_ZERO;
    struct price_advance_event counted = *event;
    counted.units = event_counted(abacus, advance, state, event->units);
    out->counted = counted.units != NULL ? counted.units : &RATIONAL_ZERO;
    if (counted.units != NULL)
        fee = event_fee(abacus, advance, state, &counted);
    else
        abacus_step(
            abacus,
            "%s is not above %s: 0",
            abacus_text(abacus, state->level),
            abacus_text(abacus, state->highest));
    state->due = abacus_add(abacus, state->due, fee);
    out->exact_minor = abacus_shift(abacus, fee, -(int32_t)advance->decimals);
    state->exact = abacus_add(abacus, state->exact, out->exact_minor);
    const struct rational *billed = sum_round(abacus, state->exact);
    out->billed_minor = abacus_subtract(abacus, billed, state->billed);
    abacus_step(
        abacus, "billed: %s - %s", abacus_text(abacus, billed), abacus_text(abacus, state->billed));
    state->billed = billed;
}

const struct rational *
price_in_advance(
    struct abacus *abacus,
    const struct price_advance *advance,
    const struct price_advance_event *events,
    uint32_t events_count,
    struct price_fee *out)
{
    const struct price_model *model = advance->model;
    must(model->kind != PRICE_VOLUME && model->kind != PRICE_FLAT);
    struct advance_state state = {
        .running = arena_array(abacus->arena, events_count, const struct rational *),
        .level = &RATIONAL_ZERO,
        .highest = &RATIONAL_ZERO,
        .folded = &RATIONAL_ZERO,
        .free = {model->percentage.free_events, model->percentage.free_amount},
        .paid = &RATIONAL_ZERO,
        .due = &RATIONAL_ZERO,
        .exact = advance->carried != NULL ? advance->carried : &RATIONAL_ZERO,
        .billed = &RATIONAL_ZERO,
    };
    state.usage = (struct price_usage){
        .sum_minor = &RATIONAL_ZERO,
        .amounts =
            {
                      .units = &RATIONAL_ZERO,
                      .running = state.running,
                      .is_rising = advance->is_high_water,
                      },
    };
    must(rational_sign(sum_round(abacus, state.exact)) == 0);
    for (uint32_t i = 0; i < events_count; i++) {
        struct abacus_step *last = abacus->last;
        fee_make(abacus, advance, &state, &events[i], &out[i]);
        out[i].first_step = last != NULL ? last->next : abacus->first;
    }
    return abacus_subtract(abacus, state.exact, state.billed);
}
