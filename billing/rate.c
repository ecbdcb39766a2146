#include "billing/rate.h"

#include "base/assert.h"

static void
step_add(struct rate_steps *steps, struct rate_step step)
{
    if (steps != NULL)
        steps->items[steps->count++] = step;
}

static void
start(struct rational *out, struct rate_steps *steps)
{
    rational_subtract(out, out, out);
    if (steps != NULL)
        steps->count = 0;
}

void
rate_standard(
    struct decimal units, struct decimal amount, struct rational *out, struct rate_steps *steps)
{
    must(amount.units >= 0);
    start(out, steps);
    if (units.units <= 0)
        return;
    rational_add_product(out, units, amount);
    step_add(steps, (struct rate_step){.is_open = true, .units = units, .unit = amount});
    must(rational_sign(out) >= 0);
}

void
rate_graduated(
    struct decimal units,
    const struct rate_tier *tiers,
    uint32_t tiers_count,
    struct rational *out,
    struct rate_steps *steps)
{
    must(tiers_count > 0 && tiers[tiers_count - 1].is_open);
    start(out, steps);
    if (units.units < 0)
        return;
    struct decimal from = DECIMAL_ZERO;
    for (uint32_t i = 0; i < tiers_count; i++) {
        const struct rate_tier *tier = &tiers[i];
        must(tier->is_open || decimal_compare(tier->to, from) > 0);
        if (i > 0 && decimal_compare(units, from) <= 0)
            return;
        bool ends_here = tier->is_open || decimal_compare(units, tier->to) <= 0;
        struct decimal upto = ends_here ? units : tier->to;
        struct decimal inside = {upto.units - from.units};
        rational_add_product(out, inside, tier->unit);
        rational_add_product(out, tier->flat, DECIMAL_ONE);
        step_add(
            steps,
            (struct rate_step){
                .from = from,
                .to = tier->to,
                .is_open = tier->is_open,
                .units = inside,
                .unit = tier->unit,
                .flat = tier->flat,
            });
        from = tier->to;
    }
}

void
rate_flat(struct decimal amount, struct rational *out, struct rate_steps *steps)
{
    must(amount.units >= 0);
    start(out, steps);
    rational_add_product(out, amount, DECIMAL_ONE);
    step_add(steps, (struct rate_step){.is_open = true, .flat = amount});
}
