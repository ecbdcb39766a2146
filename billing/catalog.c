#include "billing/catalog.h"

#include "base/assert.h"

#include <string.h>

static const char *const model_names[] = {"standard", "graduated", "flat"};
static const char *const kind_names[] = {"tier", "addon"};
static const char *const cycle_names[] = {"monthly", "annual"};

// The index of the name that text is, or -1.
static int
name_find(const char *const *names, int count, struct bytes text)
{
    for (int i = 0; i < count; i++)
        if (bytes_equal(text, bytes_text(names[i])))
            return i;
    return -1;
}

const char *
charge_model_name(enum charge_model model)
{
    must(model <= CHARGE_FLAT);
    return model_names[model];
}

bool
charge_model_parse(struct bytes text, enum charge_model *out)
{
    int found = name_find(model_names, 3, text);
    if (found >= 0)
        *out = (enum charge_model)found;
    return found >= 0;
}

const char *
plan_kind_name(enum plan_kind kind)
{
    must(kind <= PLAN_ADDON);
    return kind_names[kind];
}

bool
plan_kind_parse(struct bytes text, enum plan_kind *out)
{
    int found = name_find(kind_names, 2, text);
    if (found >= 0)
        *out = (enum plan_kind)found;
    return found >= 0;
}

const char *
billing_cycle_name(enum billing_cycle cycle)
{
    must(cycle <= CYCLE_ANNUAL);
    return cycle_names[cycle];
}

bool
billing_cycle_parse(struct bytes text, enum billing_cycle *out)
{
    int found = name_find(cycle_names, 2, text);
    if (found >= 0)
        *out = (enum billing_cycle)found;
    return found >= 0;
}

const struct plan_price *
plan_price(const struct plan *plan, enum billing_cycle cycle)
{
    return cycle == CYCLE_MONTHLY ? &plan->monthly : &plan->annual;
}

const struct plan *
catalog_plan(const struct catalog *catalog, const char *key)
{
    for (uint32_t i = 0; i < catalog->plans_count; i++)
        if (strcmp(catalog->plans[i].key, key) == 0)
            return &catalog->plans[i];
    return NULL;
}

const struct meter *
catalog_meter(const struct catalog *catalog, const char *key)
{
    for (uint32_t i = 0; i < catalog->meters_count; i++)
        if (strcmp(catalog->meters[i].key, key) == 0)
            return &catalog->meters[i];
    return NULL;
}

const struct charge *
plan_charge(const struct plan *plan, const char *key)
{
    for (uint32_t i = 0; i < plan->charges_count; i++)
        if (strcmp(plan->charges[i].key, key) == 0)
            return &plan->charges[i];
    return NULL;
}

static bool
text_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

static bool
tier_equal(const struct rate_tier *a, const struct rate_tier *b)
{
    return a->is_open == b->is_open && (a->is_open || a->to.units == b->to.units) &&
           a->unit.units == b->unit.units && a->flat.units == b->flat.units;
}

bool
charge_equal(const struct charge *a, const struct charge *b)
{
    if (!text_equal(a->key, b->key) || !text_equal(a->name, b->name) ||
        !text_equal(a->meter, b->meter))
        return false;
    if (a->model != b->model || a->amount.units != b->amount.units ||
        a->free_units.units != b->free_units.units || a->tiers_count != b->tiers_count)
        return false;
    for (uint32_t i = 0; i < a->tiers_count; i++)
        if (!tier_equal(&a->tiers[i], &b->tiers[i]))
            return false;
    return true;
}

static bool
price_equal(const struct plan_price *a, const struct plan_price *b)
{
    return a->is_sold == b->is_sold && a->amount.units == b->amount.units;
}

bool
plan_terms_equal(const struct plan *a, const struct plan *b)
{
    return text_equal(a->key, b->key) && text_equal(a->name, b->name) && a->kind == b->kind &&
           a->currency == b->currency && price_equal(&a->monthly, &b->monthly) &&
           price_equal(&a->annual, &b->annual);
}

uint32_t
charge_steps_max(const struct charge *charge)
{
    return charge->model == CHARGE_GRADUATED ? charge->tiers_count : 1;
}

struct charge_units
charge_rate(
    const struct charge *charge,
    struct decimal usage,
    struct rational *out,
    struct rate_steps *steps)
{
    must(charge->free_units.units >= 0);
    struct charge_units units = {.used = usage};
    if (usage.units < 0)
        units = (struct charge_units){.clamped = usage};
    if (decimal_compare(units.used, charge->free_units) > 0)
        units.priced.units = units.used.units - charge->free_units.units;
    // Net negative usage owes nothing, not even the flat fee that no usage owes.
    struct decimal priced = units.clamped.units < 0 ? units.clamped : units.priced;
    switch (charge->model) {
    case CHARGE_STANDARD: rate_standard(priced, charge->amount, out, steps); break;
    case CHARGE_GRADUATED:
        rate_graduated(priced, charge->tiers, charge->tiers_count, out, steps);
        break;
    case CHARGE_FLAT: rate_flat(charge->amount, out, steps); break;
    }
    must(rational_sign(out) >= 0);
    return units;
}
