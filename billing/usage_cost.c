#include "billing/usage_cost.h"

#include "base/assert.h"
#include "base/clock.h"
#include "billing/charge.h"
#include "billing/store.h"

#include <string.h>

struct look {
    struct reader *reader;
    const struct usage_cost_question *question;
    struct arena *arena;
    struct bytes *subjects;
    uint32_t subjects_count;
    struct subscriptions subscriptions;
    struct stored_catalog catalog;
    struct abacus *abacus;
    const struct rational *total;
    const char *currency;
};

static enum status
subjects_find(struct look *look, struct sql *sql, struct error *error)
{
    const char *const *texts = NULL;
    size_t count = 0;
    enum status status =
        customer_subjects(sql, look->question->customer, look->arena, &texts, &count, error);
    // A customer without any would otherwise be asked everybody's usage.
    if (status == STATUS_OK && count == 0)
        status = error_set(
            error,
            STATUS_EXISTS,
            "customer %s has no subject whose usage it pays",
            look->question->customer);
    if (status)
        return status;
    look->subjects = arena_array(look->arena, count + 1, struct bytes);
    for (size_t i = 0; i < count; i++)
        look->subjects[i] = bytes_text(texts[i]);
    look->subjects_count = (uint32_t)count;
    return STATUS_OK;
}

// The charge for a meter of the latest subscription in this time that has one. NULL: none has.
static const struct charge *
charge_find(const struct look *look, const char *meter, const struct plan **out_plan)
{
    const struct usage_cost_question *question = look->question;
    const struct charge *found = NULL;
    for (size_t i = 0; i < look->subscriptions.count; i++) {
        const struct subscription *subscription = &look->subscriptions.items[i];
        const struct plan *plan = stored_catalog_plan(&look->catalog, subscription->plan);
        bool is_there = ranges_overlap(
            subscription->terms.starts_ns,
            subscription->terms.ends_ns,
            question->from_ns,
            question->to_ns);
        for (uint32_t j = 0; is_there && plan != NULL && j < plan->charges_count; j++) {
            const struct charge *charge = &plan->charges[j];
            if (charge->meter == NULL || strcmp(charge->meter, meter) != 0)
                continue;
            found = charge;
            *out_plan = plan;
        }
    }
    return found;
}

static struct usage_query
query_of(const struct look *look, const char *meter)
{
    return (struct usage_query){
        .meter = meter,
        .subjects = look->subjects,
        .subjects_count = look->subjects_count,
        .is_merged = true,
        .from_ns = look->question->from_ns,
        .to_ns = look->question->to_ns,
    };
}

// The usage of each value that has its own price, and of all others together.
static enum status
values_split(
    const struct look *look,
    const struct charge *charge,
    struct decimal *out_values,
    struct decimal *out_rest,
    struct error *error)
{
    struct usage_query query = query_of(look, charge->meter);
    struct usage_result result;
    query.group_by = &charge->dimension;
    query.group_by_count = 1;
    *out_rest = DECIMAL_ZERO;
    memset(out_values, 0, charge->values_count * sizeof *out_values);
    enum status status = usage_query(look->reader, &query, look->arena, &result, error);
    for (size_t i = 0; status == STATUS_OK && i < result.count; i++) {
        struct decimal *place = out_rest;
        for (uint32_t j = 0; j < charge->values_count; j++)
            if (bytes_equal(result.rows[i].dimensions[0], bytes_text(charge->values[j].value)))
                place = &out_values[j];
        if (!decimal_add(place, result.rows[i].value))
            status = error_set(error, STATUS_OVERFLOW, "%s: the sum is too large", charge->meter);
    }
    return status;
}

// As a run prices it: each value alone, then the rest.
static enum status
values_rate(
    struct look *look,
    const struct charge *charge,
    struct charge_usage usage,
    const struct rational **out,
    struct error *error)
{
    struct decimal *values =
        arena_array(look->arena, (size_t)charge->values_count + 1, struct decimal);
    struct decimal rest;
    enum status status = values_split(look, charge, values, &rest, error);
    const struct rational *sum = abacus_int(look->abacus, 0);
    for (uint32_t i = 0; status == STATUS_OK && i <= charge->values_count; i++) {
        bool is_rest = i == charge->values_count;
        const struct rational *amount = NULL;
        usage.units = is_rest ? rest : values[i];
        usage.price = is_rest ? NULL : &charge->values[i].price;
        (void)charge_rate(look->abacus, charge, &usage, &amount);
        sum = abacus_add(look->abacus, sum, amount);
    }
    *out = sum;
    return status;
}

static enum status
amount_find(struct look *look, struct decimal units, struct usage_cost *cost, struct error *error)
{
    const struct plan *plan = NULL;
    const struct charge *charge = charge_find(look, cost->meter, &plan);
    const struct rational *amount = NULL;
    enum status status = STATUS_OK;
    cost->is_charged = charge != NULL;
    if (charge == NULL || charge_needs_events(charge))
        return STATUS_OK;
    // There is one total, so one currency: that of the first amount.
    if (look->currency != NULL && strcmp(look->currency, plan->currency->code) != 0)
        return STATUS_OK;
    int64_t days = (look->question->to_ns - look->question->from_ns) / DAY_NS;
    const struct charge_usage usage = {
        .units = units,
        .days = days,
        .days_full = days,
        .from_ns = look->question->from_ns,
        .to_ns = look->question->to_ns,
        .decimals = plan->currency->decimals,
    };
    if (charge->dimension != NULL)
        status = values_rate(look, charge, usage, &amount, error);
    else
        (void)charge_rate(look->abacus, charge, &usage, &amount);
    if (status)
        return status;
    cost->amount = rational_text(amount, look->arena);
    look->total = abacus_add(look->abacus, look->total, amount);
    look->currency = plan->currency->code;
    return STATUS_OK;
}

// Nothing used, or nothing usable, is 0.
static enum status
meter_look(struct look *look, const char *meter, struct usage_cost *out, struct error *error)
{
    struct usage_result result;
    struct decimal units = DECIMAL_ZERO;
    char text[WIDE_TEXT_MAX] = "0";
    const struct usage_query query = query_of(look, meter);
    *out = (struct usage_cost){.meter = meter};
    enum status status = usage_query(look->reader, &query, look->arena, &result, error);
    if (status)
        return status;
    if (result.count > 0) {
        bool is_rounded = false;
        (void)usage_row_print(&result.rows[0], text);
        status = decimal_parse(bytes_text(text), &units, &is_rounded);
        if (status)
            return error_set(error, status, "%s: %s is no quantity", meter, text);
    }
    out->units = arena_text(look->arena, text);
    return amount_find(look, units, out, error);
}

static enum status
look_at(struct look *look, struct usage_costs *out, struct error *error)
{
    size_t count = 0;
    struct usage_cost *items =
        arena_array(look->arena, look->catalog.meters_count + 1, struct usage_cost);
    for (size_t i = 0; i < look->catalog.meters_count; i++) {
        enum status status = meter_look(look, look->catalog.meters[i].key, &items[count], error);
        // The registry may have lost a meter that the catalogue still has.
        if (status == STATUS_NOT_FOUND)
            continue;
        if (status)
            return status;
        count++;
    }
    *out = (struct usage_costs){
        .items = items,
        .count = count,
        .total = rational_text(look->total, look->arena),
        .currency = look->currency,
    };
    return STATUS_OK;
}

enum status
usage_costs(
    struct sql *sql,
    struct reader *reader,
    const struct usage_cost_question *question,
    struct arena *arena,
    struct usage_costs *out,
    struct error *error)
{
    must(question->from_ns < question->to_ns);
    scoped(arena_done) struct arena scratch = {0};
    scoped(abacus_done) struct abacus abacus = {.arena = &scratch};
    struct look look = {.reader = reader, .question = question, .arena = arena, .abacus = &abacus};
    const struct customer_range range = {.only = question->customer};
    look.total = abacus_int(&abacus, 0);
    enum status status = subjects_find(&look, sql, error);
    if (status == STATUS_OK)
        status = store_subscriptions(sql, &range, arena, &look.subscriptions, error);
    if (status == STATUS_OK)
        status = store_catalog(sql, arena, &look.catalog, error);
    return status ? status : look_at(&look, out, error);
}
