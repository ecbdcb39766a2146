#include "billing/catalog.h"

#include "base/assert.h"
#include "base/buffer.h"

#include <string.h>

static const char *const kind_names[] = {"tier", "addon"};
static const char *const cycle_names[] = {"monthly", "annual"};
static const char *const recurring_names[] = {NULL, "weighted", "prorated"};

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
recurring_name(enum recurring recurring)
{
    must(recurring <= RECURRING_PRORATED);
    return recurring_names[recurring];
}

bool
recurring_parse(struct bytes text, enum recurring *out)
{
    int found = name_find(&recurring_names[1], 2, text);
    if (found >= 0)
        *out = (enum recurring)(found + 1);
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

static void
charge_text(const struct charge *charge, struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    charge_write(&out, charge);
}

// Equal charges have equal canonical text.
bool
charge_equal(const struct charge *a, const struct charge *b)
{
    scoped(buffer_done) struct buffer left = {0};
    scoped(buffer_done) struct buffer right = {0};
    charge_text(a, &left);
    charge_text(b, &right);
    must(!buffer_failed(&left) && !buffer_failed(&right));
    return bytes_equal(buffer_view(&left), buffer_view(&right));
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
           price_equal(&a->annual, &b->annual) && a->has_minimum == b->has_minimum &&
           a->minimum.units == b->minimum.units;
}
