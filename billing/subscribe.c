#include "billing/subscribe.h"

#include "base/assert.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SUBSCRIPTION_ID_MAX = 40 };

static void
subscription_id(const struct subscribe_request *request, char out[SUBSCRIPTION_ID_MAX])
{
    scoped(arena_done) struct arena arena = {0};
    const char *key = arena_format(
        &arena, "%s\x1f%s\x1f%" PRId64, request->customer, request->plan, request->terms.starts_ns);
    struct hash128 hash = hash128(bytes_text(key), 0);
    snprintf(out, SUBSCRIPTION_ID_MAX, "sub_%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

static enum status
plan_find(
    const struct stored_catalog *catalog,
    const struct subscribe_request *request,
    struct arena *arena,
    const struct plan **out,
    struct error *error)
{
    const struct plan *plan = stored_catalog_plan(catalog, request->plan);
    if (plan != NULL && !plan_price(plan, request->cycle)->is_sold)
        return error_set(
            error,
            STATUS_INVALID,
            "plan %s has no %s price",
            plan->key,
            billing_cycle_name(request->cycle));
    if (plan != NULL) {
        *out = plan;
        return STATUS_OK;
    }
    const char *known = "";
    for (size_t i = 0; i < catalog->plans_count && i < 20; i++)
        known = arena_format(arena, "%s%s%s", known, i > 0 ? ", " : "", catalog->plans[i].key);
    if (catalog->plans_count == 0)
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "there is no plan %s, nor any other: `tally catalog apply FILE` first",
            request->plan);
    return error_set(
        error, STATUS_NOT_FOUND, "there is no plan %s; there are: %s", request->plan, known);
}

static bool
is_same(const struct subscription *subscription, const struct subscribe_request *request)
{
    return strcmp(subscription->plan, request->plan) == 0 &&
           subscription->cycle == request->cycle &&
           subscription->terms.starts_ns == request->terms.starts_ns &&
           subscription->terms.ends_ns == request->terms.ends_ns;
}

static bool
has_same(const struct subscriptions *existing, const struct subscribe_request *request)
{
    for (size_t i = 0; i < existing->count; i++)
        if (is_same(&existing->items[i], request))
            return true;
    return false;
}

static const char *
date_text(int64_t time_ns, struct arena *arena)
{
    if (time_ns == PERIOD_NO_END)
        return "open end";
    struct civil date = civil_from_ns(time_ns);
    return arena_format(arena, "%04d-%02d-%02d", date.year, date.month, date.day);
}

// The first meter that both plans charge, or NULL.
static const char *
shared_meter(const struct plan *a, const struct plan *b)
{
    for (uint32_t i = 0; i < a->charges_count; i++) {
        const char *meter = a->charges[i].meter;
        for (uint32_t j = 0; meter != NULL && j < b->charges_count; j++)
            if (b->charges[j].meter != NULL && strcmp(meter, b->charges[j].meter) == 0)
                return meter;
    }
    return NULL;
}

static enum status
overlap_check(
    const struct plan *plan,
    const struct subscribe_request *request,
    const struct subscription *other,
    const struct plan *other_plan,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    if (!ranges_overlap(
            request->terms.starts_ns,
            request->terms.ends_ns,
            other->terms.starts_ns,
            other->terms.ends_ns))
        return STATUS_OK;
    const char *from = date_text(other->terms.starts_ns, &arena);
    const char *to = date_text(other->terms.ends_ns, &arena);
    if (plan->kind == PLAN_TIER && other->plan_kind == PLAN_TIER)
        return error_set(
            error,
            STATUS_EXISTS,
            "customer %s is subscribed to %s (%s to %s): a customer has one tier at a time, the"
            " others are add-ons",
            request->customer,
            other->plan,
            from,
            to);
    const char *meter = other_plan != NULL ? shared_meter(plan, other_plan) : NULL;
    if (meter != NULL)
        return error_set(
            error,
            STATUS_EXISTS,
            "plan %s charges the meter %s, which %s charges already (%s to %s): usage is charged"
            " once",
            plan->key,
            meter,
            other->plan,
            from,
            to);
    if (strcmp(plan->key, other->plan) == 0 && request->terms.starts_ns == other->terms.starts_ns)
        return error_set(
            error,
            STATUS_EXISTS,
            "customer %s is subscribed to %s (%s to %s) already, on other terms",
            request->customer,
            other->plan,
            from,
            to);
    return STATUS_OK;
}

// The monthly equivalent in minor units, for reports.
static enum status
monthly_price(
    const struct plan *plan, enum billing_cycle cycle, int64_t *out_minor, struct error *error)
{
    scoped(rational_done) struct rational price = rational_of(plan_price(plan, cycle)->amount);
    scoped(rational_done) struct rational share =
        rational_of_ratio(1, cycle == CYCLE_ANNUAL ? 12 : 1);
    rational_multiply(&price, &price, &share);
    return money_round(&price, plan->currency, out_minor, error);
}

static enum status
subscription_insert(
    struct sql *sql,
    const struct subscribe_request *request,
    const struct plan *plan,
    int64_t now_ns,
    struct error *error)
{
    char id[SUBSCRIPTION_ID_MAX];
    int64_t price_minor = 0;
    subscription_id(request, id);
    enum status status = monthly_price(plan, request->cycle, &price_minor, error);
    if (status)
        return status;
    struct subscription subscription = {
        .id = id,
        .customer = request->customer,
        .plan = plan->key,
        .plan_kind = plan->kind,
        .cycle = request->cycle,
        .terms = request->terms,
        .status = "active",
    };
    return store_subscription_add(sql, &subscription, price_minor, plan->currency, now_ns, error);
}

static enum status
subscribe_locked(
    struct sql *sql,
    const struct subscribe_request *request,
    int64_t now_ns,
    enum store_change *out_change,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct subscriptions existing = {0};
    struct stored_catalog catalog = {0};
    const struct plan *plan = NULL;
    enum status status = store_subscriptions_lock(sql, request->customer, &arena, &existing, error);
    if (status == STATUS_OK)
        status = store_catalog_lock_shared(sql, error);
    if (status == STATUS_OK)
        status = store_catalog(sql, &arena, &catalog, error);
    if (status == STATUS_OK)
        status = plan_find(&catalog, request, &arena, &plan, error);
    if (status == STATUS_OK && has_same(&existing, request)) {
        *out_change = STORE_UNCHANGED;
        return STATUS_OK;
    }
    for (size_t i = 0; status == STATUS_OK && i < existing.count; i++) {
        const struct subscription *other = &existing.items[i];
        const struct plan *other_plan = stored_catalog_plan(&catalog, other->plan);
        status = overlap_check(plan, request, other, other_plan, error);
    }
    // A plan may have charged a meter that it has given up since: what was billed stays billed.
    if (status == STATUS_OK)
        status = store_billed_meter_check(sql, request->customer, plan, &request->terms, error);
    if (status == STATUS_OK)
        status = subscription_insert(sql, request, plan, now_ns, error);
    if (status == STATUS_OK)
        *out_change = STORE_CREATED;
    return status;
}

enum status
subscribe(
    struct sql *sql,
    const struct subscribe_request *request,
    int64_t now_ns,
    enum store_change *out_change,
    struct error *error)
{
    must(request->terms.starts_ns % DAY_NS == 0);
    must(request->terms.ends_ns == PERIOD_NO_END || request->terms.ends_ns % DAY_NS == 0);
    if (request->terms.ends_ns <= request->terms.starts_ns)
        return error_set(error, STATUS_INVALID, "the subscription would end before it starts");
    enum status status = sql_begin(sql, error);
    if (status)
        return status;
    status = subscribe_locked(sql, request, now_ns, out_change, error);
    if (status == STATUS_OK)
        return sql_commit(sql, error);
    sql_rollback(sql);
    return status;
}
