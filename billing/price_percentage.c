#include "billing/price_percentage.h"

#include "base/assert.h"

// ---- the sum at once

// What of the units pays no rate.
static const struct rational *
free_amount(const struct price_percentage *percentage, const struct price_amounts *amounts)
{
    bool has_amount = rational_sign(percentage->free_amount) > 0;
    if (amounts->running_count == 0 || (!has_amount && percentage->free_events == 0))
        return &RATIONAL_ZERO;
    const struct rational *last = amounts->running[amounts->running_count - 1];
    if (rational_sign(last) == 0)
        return &RATIONAL_ZERO;
    if (percentage->free_events > 0 && percentage->free_events < amounts->running_count)
        return amounts->running[percentage->free_events - 1];
    return has_amount ? rational_min(last, percentage->free_amount) : last;
}

// How many events end below the free amount.
static int64_t
below_count(const struct price_percentage *percentage, const struct price_amounts *amounts)
{
    uint32_t low = 0, high = amounts->running_count;
    int64_t below = 0;
    for (uint32_t i = 0; !amounts->is_rising && i < high; i++)
        below += rational_compare(amounts->running[i], percentage->free_amount) < 0;
    while (amounts->is_rising && low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rational_compare(amounts->running[middle], percentage->free_amount) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return amounts->is_rising ? low : below;
}

// How many events pay no fixed fee: the limit that ends first.
static int64_t
free_count(const struct price_percentage *percentage, const struct price_amounts *amounts)
{
    int64_t below = below_count(percentage, amounts);
    if (below == 0 || percentage->free_events == 0)
        return below + percentage->free_events;
    return below < percentage->free_events ? below : percentage->free_events;
}

static const struct rational *
sum_price(
    struct abacus *abacus,
    const struct price_percentage *percentage,
    const struct price_amounts *amounts)
{
    const struct rational *is_free = free_amount(percentage, amounts);
    const struct rational *paid = abacus_subtract(abacus, amounts->units, is_free);
    paid = rational_max(paid, &RATIONAL_ZERO);
    int64_t events = amounts->count - free_count(percentage, amounts);
    bool is_due = events > 0 && rational_sign(amounts->units) != 0;
    const struct rational *count = abacus_int(abacus, is_due ? events : 0);
    const struct rational *amount = abacus_add(
        abacus,
        abacus_percent(abacus, paid, percentage->rate),
        abacus_multiply(abacus, count, percentage->fixed));
    abacus_step(
        abacus,
        "(%s - %s free) x %s%% + %s x %s = %s",
        abacus_text(abacus, amounts->units),
        abacus_text(abacus, is_free),
        abacus_text(abacus, percentage->rate),
        abacus_text(abacus, count),
        abacus_text(abacus, percentage->fixed),
        abacus_text(abacus, amount));
    return amount;
}

// ---- event by event

// What of an event's amount is paid for, or NULL when the event is free. The amount is used up
// first; the count frees events while it lasts and no amount is left. An event that does not fit
// into the amount ends both.
static const struct rational *
event_paid(struct abacus *abacus, struct price_free *rest, const struct rational *event)
{
    bool has_amount = rational_sign(rest->amount) > 0;
    if (!has_amount && rest->events <= 0)
        return event;
    rest->events--;
    if (!has_amount)
        return NULL;
    if (rational_compare(event, rest->amount) <= 0) {
        rest->amount = abacus_subtract(abacus, rest->amount, event);
        return NULL;
    }
    const struct rational *paid = abacus_subtract(abacus, event, rest->amount);
    *rest = (struct price_free){0, &RATIONAL_ZERO};
    return paid;
}

static const struct rational *
event_price(
    struct abacus *abacus, const struct price_percentage *percentage, const struct rational *paid)
{
    const struct rational *price =
        abacus_add(abacus, abacus_percent(abacus, paid, percentage->rate), percentage->fixed);
    const struct rational *held = price;
    if (percentage->min != NULL)
        held = rational_max(held, percentage->min);
    if (percentage->max != NULL)
        held = rational_min(held, percentage->max);
    abacus_step(
        abacus,
        "%s x %s%% + %s = %s, held to %s",
        abacus_text(abacus, paid),
        abacus_text(abacus, percentage->rate),
        abacus_text(abacus, percentage->fixed),
        abacus_text(abacus, price),
        abacus_text(abacus, held));
    return held;
}

const struct rational *
price_percentage_event(
    struct abacus *abacus,
    const struct price_percentage *percentage,
    struct price_free *rest,
    const struct rational *event)
{
    const struct rational *paid = event_paid(abacus, rest, event);
    if (paid != NULL)
        return event_price(abacus, percentage, paid);
    abacus_step(abacus, "%s is free", abacus_text(abacus, event));
    return &RATIONAL_ZERO;
}

static const struct rational *
events_price(
    struct abacus *abacus,
    const struct price_percentage *percentage,
    const struct price_amounts *amounts)
{
    const struct rational *sum = &RATIONAL_ZERO;
    struct price_free rest = {percentage->free_events, percentage->free_amount};
    for (uint32_t i = 0; i < amounts->events_count; i++)
        sum = abacus_add(
            abacus, sum, price_percentage_event(abacus, percentage, &rest, amounts->events[i]));
    return sum;
}

bool
price_percentage_needs_events(const struct price_percentage *percentage)
{
    return percentage->min != NULL || percentage->max != NULL || percentage->free_events > 0 ||
           rational_sign(percentage->fixed) > 0 || rational_sign(percentage->free_amount) > 0;
}

void
price_running(struct abacus *abacus, int64_t free_events, struct price_amounts *in_out)
{
    uint32_t count = in_out->events_count;
    if (free_events > 0 && free_events < count)
        count = (uint32_t)free_events;
    const struct rational **running = arena_array(abacus->arena, count, const struct rational *);
    const struct rational *sum = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < count; i++)
        running[i] = sum = abacus_add(abacus, sum, in_out->events[i]);
    in_out->running = running;
    in_out->running_count = count;
}

const struct rational *
price_percentage(
    struct abacus *abacus,
    const struct price_percentage *percentage,
    const struct price_amounts *amounts)
{
    must(percentage->free_events >= 0 && amounts->count >= 0);
    if (rational_sign(amounts->units) < 0) {
        abacus_step(
            abacus, "%s units: net negative usage costs 0", abacus_text(abacus, amounts->units));
        return &RATIONAL_ZERO;
    }
    const struct rational *amount = percentage->min != NULL || percentage->max != NULL
                                        ? events_price(abacus, percentage, amounts)
                                        : sum_price(abacus, percentage, amounts);
    return rational_max(amount, &RATIONAL_ZERO);
}
