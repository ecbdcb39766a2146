#include "api/entitlement.h"

#include "api/member.h"
#include "base/assert.h"
#include "base/clock.h"
#include "ledger/usage_quota.h"

#include <string.h>

struct asking {
    const struct entitlement_sources *sources;
    struct quotas_meter meter;
    struct bytes *subjects;
    uint32_t subjects_count;
    struct arena *arena;
};

// --- how much was used ---

// All subjects together, or a threshold that tallyd has not seen yet.
static enum status
quota_of_usage(
    const struct asking *asking,
    const struct threshold *threshold,
    struct quota *out,
    struct error *error)
{
    struct usage_result result;
    struct quota quota = {.limit = threshold->limit, .is_complete = true};
    threshold_period_of(
        threshold->period, asking->sources->now_ns / SECOND_NS, &quota.from_s, &quota.to_s);
    const struct usage_query query = {
        .meter = asking->meter.key,
        .subjects = asking->subjects,
        .subjects_count = asking->subjects_count,
        .is_merged = true,
        .from_ns = quota.from_s * SECOND_NS,
        .to_ns = quota.to_s * SECOND_NS,
    };
    enum status status =
        usage_query(asking->sources->reader, &query, asking->arena, &result, error);
    if (status)
        return status;
    must(result.count <= 1);
    if (result.count == 1) {
        must(result.rows[0].denominator == 1);
        quota.used = result.rows[0].numerator;
    }
    *out = quota;
    return STATUS_OK;
}

static enum status
quota_find(
    const struct asking *asking,
    const struct threshold *threshold,
    struct quota *out,
    struct error *error)
{
    enum status status = STATUS_NOT_FOUND;
    if (asking->subjects_count == 1)
        status = usage_quota(
            asking->sources->reader,
            threshold,
            asking->subjects[0],
            asking->sources->now_ns / SECOND_NS,
            out,
            error);
    return status == STATUS_NOT_FOUND ? quota_of_usage(asking, threshold, out, error) : status;
}

// --- what is left ---

static void
limit_measure(struct entitlement_limit *limit)
{
    const struct wide minus = wide_negate(limit->quota.used);
    limit->left = wide_from_int128(limit->quota.limit.units);
    wide_add(&limit->left, &minus);
    if (wide_is_negative(&limit->left))
        limit->left = (struct wide){0};
}

static enum status
limits_measure(
    const struct asking *asking,
    const struct quotas_list *list,
    struct entitlement *out,
    struct error *error)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct entitlement_limit *limit = &out->limits[i];
        limit->threshold = list->items[i];
        enum status status = quota_find(asking, &limit->threshold, &limit->quota, error);
        if (status)
            return status;
        limit_measure(limit);
        out->is_allowed = out->is_allowed && !wide_is_zero(&limit->left);
        if (wide_compare(&limit->left, &out->limits[out->least].left) < 0)
            out->least = i;
    }
    out->limits_count = list->count;
    return STATUS_OK;
}

enum status
entitlement_find(
    const struct entitlement_sources *sources,
    const char *customer,
    const char *meter,
    struct arena *arena,
    struct entitlement *out,
    struct error *error)
{
    struct asking asking = {.sources = sources, .arena = arena};
    struct entitlement found = {.is_allowed = true};
    struct quotas_list list;
    if (customer[0] == '\0' || strlen(customer) > ENTITLEMENT_ID_MAX)
        return error_set(
            error, STATUS_INVALID, "The id of a customer or subject has 1 to 255 bytes.");
    enum status status =
        quotas_meter(sources->quotas, sources->reader, meter, arena, &asking.meter, error);
    if (!status)
        status = customer_book_find(
            sources->customers, customer, arena, &asking.subjects, &asking.subjects_count, error);
    if (status)
        return status;
    const struct quotas_question question = {
        asking.meter.key, asking.subjects, asking.subjects_count};
    status = quotas_find(sources->quotas, sources->reader, &question, arena, &list, error);
    if (!status)
        status = limits_measure(&asking, &list, &found, error);
    if (status)
        return status;
    found.customer = customer;
    found.meter = asking.meter.key;
    *out = found;
    return STATUS_OK;
}

// --- as JSON ---

static void
limit_write(const struct entitlement_limit *limit, struct json_out *out)
{
    member_wide(out, "used", limit->quota.used);
    member_decimal(out, "limit", limit->quota.limit);
    member_wide(out, "remaining", limit->left);
    member_text(out, "period", threshold_period_name(limit->threshold.period));
    member_time(out, "from", limit->quota.from_s * SECOND_NS);
    member_time(out, "to", limit->quota.to_s * SECOND_NS);
    member_text(out, "threshold", limit->threshold.key);
    member_bool(out, "isComplete", limit->quota.is_complete);
}

static void
unlimited_write(struct json_out *out)
{
    static const char *const keys[] = {
        "used", "limit", "remaining", "period", "from", "to", "threshold"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        member_text(out, keys[i], NULL);
    member_bool(out, "isComplete", true);
}

void
entitlement_write(const struct entitlement *found, struct json_out *out)
{
    json_begin(out, '{');
    member_text(out, "customerId", found->customer);
    member_text(out, "meter", found->meter);
    member_bool(out, "allowed", found->is_allowed);
    if (found->limits_count > 0)
        limit_write(&found->limits[found->least], out);
    else
        unlimited_write(out);
    json_key(out, "limits");
    json_begin(out, '[');
    for (uint32_t i = 0; i < found->limits_count; i++) {
        json_begin(out, '{');
        limit_write(&found->limits[i], out);
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
}
