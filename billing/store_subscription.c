#include "base/assert.h"
#include "billing/store.h"
#include "billing/store_parts.h"

#include <inttypes.h>

// clang-format off
#define SUBSCRIPTION_COLUMNS                                                                       \
    "id, customer_id, plan, plan_kind, billing_cycle, status, "                                    \
    SQL_EPOCH_US("starts_at") ", " SQL_EPOCH_US("ends_at")
// clang-format on
enum { SUBSCRIPTION_COLUMNS_COUNT = 8 };

static struct subscription
subscription_row(const struct sql_rows *rows, size_t i)
{
    struct subscription subscription = {
        .id = sql_cell(rows, i, 0),
        .customer = sql_cell(rows, i, 1),
        .plan = sql_cell(rows, i, 2),
        .status = sql_cell(rows, i, 5),
        .terms = {sql_time_ns(rows, i, 6, 0), sql_time_ns(rows, i, 7, PERIOD_NO_END)},
    };
    must(plan_kind_parse(bytes_text(sql_cell(rows, i, 3)), &subscription.plan_kind));
    must(billing_cycle_parse(bytes_text(sql_cell(rows, i, 4)), &subscription.cycle));
    return subscription;
}

static enum status
subscriptions_run(
    struct sql *sql,
    const struct sql_query *query,
    struct arena *arena,
    struct subscriptions *out,
    struct error *error)
{
    struct sql_rows rows;
    enum status status = sql_run(sql, query, arena, &rows, error);
    if (status)
        return status;
    struct subscription *items = arena_array(arena, rows.count, struct subscription);
    for (size_t i = 0; i < rows.count; i++)
        items[i] = subscription_row(&rows, i);
    *out = (struct subscriptions){items, rows.count};
    return STATUS_OK;
}

enum status
store_subscriptions(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct subscriptions *out,
    struct error *error)
{
    struct sql_query query = {
        "SELECT " SUBSCRIPTION_COLUMNS " FROM subscriptions"
        " WHERE " CUSTOMER_RANGE " ORDER BY customer_id, starts_at, id",
        CUSTOMER_RANGE_PARAMS(range),
        SQL_ANY_ROWS,
        SUBSCRIPTION_COLUMNS_COUNT};
    return subscriptions_run(sql, &query, arena, out, error);
}

enum status
store_subscriptions_lock(
    struct sql *sql,
    const char *customer_id,
    struct arena *arena,
    struct subscriptions *out,
    struct error *error)
{
    struct sql_query lock = {
        "SELECT id FROM customers WHERE id = $1 FOR UPDATE",
        SQL_PARAMS(customer_id),
        SQL_MAYBE_ROW,
        1};
    struct sql_rows rows;
    enum status status = sql_run(sql, &lock, arena, &rows, error);
    if (status)
        return status;
    if (rows.count == 0)
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "there is no customer %s: add it with `tally customer add %s`",
            customer_id,
            customer_id);
    struct sql_query query = {
        "SELECT " SUBSCRIPTION_COLUMNS " FROM subscriptions WHERE customer_id = $1"
        " ORDER BY starts_at, id",
        SQL_PARAMS(customer_id),
        SQL_ANY_ROWS,
        SUBSCRIPTION_COLUMNS_COUNT};
    return subscriptions_run(sql, &query, arena, out, error);
}

enum status
store_billed_meter_check(
    struct sql *sql,
    const char *customer_id,
    const struct plan *plan,
    const struct period_terms *terms,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    char starts[CLOCK_TEXT_MAX], ends[CLOCK_TEXT_MAX];
    bool has_end = terms->ends_ns != PERIOD_NO_END;
    clock_print(terms->starts_ns, starts);
    clock_print(has_end ? terms->ends_ns : 0, ends);
    struct sql_query query = {
        "SELECT i.plan, c.meter, (i.period_end AT TIME ZONE 'UTC')::date FROM invoices i"
        " JOIN subscriptions s ON s.id = i.subscription_id"
        " JOIN charges c ON c.plan = i.plan AND c.catalogue_version = i.catalogue_version"
        " JOIN charges n ON n.plan = $2 AND n.catalogue_version = $3::integer"
        " AND n.meter = c.meter"
        " WHERE i.customer_id = $1 AND i.status <> 'void'"
        " AND (i.kind = 'usage' OR s.billing_cycle = 'monthly')"
        " AND tstzrange(i.period_start, i.period_end) && tstzrange($4, $5)"
        " ORDER BY i.period_end DESC, 1, 2 LIMIT 1",
        SQL_PARAMS(
            customer_id,
            plan->key,
            arena_format(&arena, "%" PRId64, plan->catalogue_version),
            starts,
            has_end ? ends : NULL),
        SQL_MAYBE_ROW,
        3};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, &arena, &rows, error);
    if (status || rows.count == 0)
        return status;
    return error_set(
        error,
        STATUS_EXISTS,
        "plan %s charges the meter %s, which was billed by %s up to %s: usage is charged once",
        plan->key,
        sql_cell(&rows, 0, 1),
        sql_cell(&rows, 0, 0),
        sql_cell(&rows, 0, 2));
}

enum status
store_subscription_add(
    struct sql *sql,
    const struct subscription *subscription,
    int64_t monthly_price_minor,
    const struct currency *currency,
    int64_t now_ns,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    char starts[CLOCK_TEXT_MAX], ends[CLOCK_TEXT_MAX], now[CLOCK_TEXT_MAX];
    bool has_end = subscription->terms.ends_ns != PERIOD_NO_END;
    clock_print(subscription->terms.starts_ns, starts);
    clock_print(has_end ? subscription->terms.ends_ns : 0, ends);
    clock_print(now_ns, now);
    struct sql_query insert = {
        "INSERT INTO subscriptions (id, customer_id, plan, plan_kind, billing_cycle, status,"
        " monthly_price_minor, currency, starts_at, ends_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7::bigint, $8, $9, $10, $11)",
        SQL_PARAMS(
            subscription->id,
            subscription->customer,
            subscription->plan,
            plan_kind_name(subscription->plan_kind),
            billing_cycle_name(subscription->cycle),
            subscription->status,
            arena_format(&arena, "%" PRId64, monthly_price_minor),
            currency->code,
            starts,
            has_end ? ends : NULL,
            now),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &insert, NULL, NULL, error);
}
