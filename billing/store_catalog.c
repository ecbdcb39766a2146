// The stored catalogue: append-only rows per version; the catalogue now is the newest row of each
// key.

#include "base/assert.h"
#include "billing/document.h"
#include "billing/store.h"

#include <inttypes.h>
#include <string.h>

// Exact decimals come back as PostgreSQL's numeric text, which was written from one.
static struct decimal
decimal_cell(const struct sql_rows *rows, size_t row, size_t column)
{
    const char *text = sql_cell(rows, row, column);
    struct decimal value = DECIMAL_ZERO;
    bool is_rounded = false;
    if (text == NULL)
        return value;
    must(decimal_parse(bytes_text(text), &value, &is_rounded) == STATUS_OK && !is_rounded);
    return value;
}

static enum status
version_load(struct sql *sql, struct arena *arena, int64_t *out, struct error *error)
{
    struct sql_query query = {
        "SELECT coalesce(max(version), 0)::bigint FROM catalogue_versions",
        SQL_NO_PARAMS,
        SQL_ONE_ROW,
        1};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    *out = sql_int64(&rows, 0, 0);
    return STATUS_OK;
}

static enum status
meters_load(struct sql *sql, struct arena *arena, struct stored_catalog *out, struct error *error)
{
    struct sql_query query = {
        "SELECT DISTINCT ON (key) key, definition FROM catalogue_meters"
        " ORDER BY key, catalogue_version DESC",
        SQL_NO_PARAMS,
        SQL_ANY_ROWS,
        2};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    out->meters = arena_array(arena, rows.count, struct stored_meter);
    out->meters_count = rows.count;
    for (size_t i = 0; i < rows.count; i++)
        out->meters[i] = (struct stored_meter){sql_cell(&rows, i, 0), sql_cell(&rows, i, 1)};
    return STATUS_OK;
}

static enum status
plan_row(const struct sql_rows *rows, size_t i, struct plan *out, struct error *error)
{
    struct plan plan = {
        .key = sql_cell(rows, i, 0),
        .catalogue_version = sql_int64(rows, i, 1),
        .name = sql_cell(rows, i, 3),
        .currency = currency_find(bytes_text(sql_cell(rows, i, 4))),
        .monthly = {sql_cell(rows, i, 5) != NULL, decimal_cell(rows, i, 5)},
        .annual = {sql_cell(rows, i, 6) != NULL, decimal_cell(rows, i, 6)},
        .has_minimum = sql_cell(rows, i, 7) != NULL,
        .minimum = decimal_cell(rows, i, 7),
    };
    if (plan.currency == NULL)
        return error_set(
            error,
            STATUS_INVALID,
            "plan %s is in %s, which this program does not know",
            plan.key,
            sql_cell(rows, i, 4));
    must(plan_kind_parse(bytes_text(sql_cell(rows, i, 2)), &plan.kind));
    *out = plan;
    return STATUS_OK;
}

static enum status
plans_load(struct sql *sql, struct arena *arena, struct stored_catalog *out, struct error *error)
{
    struct sql_query query = {
        "SELECT DISTINCT ON (v.plan) v.plan, v.catalogue_version::bigint, p.kind, v.name,"
        " v.currency, v.monthly_price, v.annual_price, v.minimum"
        " FROM plan_versions v JOIN plans p ON p.key = v.plan"
        " ORDER BY v.plan, v.catalogue_version DESC",
        SQL_NO_PARAMS,
        SQL_ANY_ROWS,
        8};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    out->plans = arena_array(arena, rows.count, struct plan);
    out->plans_count = rows.count;
    for (size_t i = 0; i < rows.count; i++) {
        status = plan_row(&rows, i, &out->plans[i], error);
        if (status)
            return status;
    }
    return STATUS_OK;
}

static enum status
charge_row(
    const struct sql_rows *rows,
    size_t i,
    struct arena *arena,
    struct charge *out,
    struct error *error)
{
    struct charge charge = {
        .key = sql_cell(rows, i, 1),
        .name = sql_cell(rows, i, 2),
        .meter = sql_cell(rows, i, 3),
        .free_units = decimal_cell(rows, i, 6),
        .minimum = decimal_cell(rows, i, 7),
        .maximum = decimal_cell(rows, i, 8),
        .has_minimum = sql_cell(rows, i, 7) != NULL,
        .has_maximum = sql_cell(rows, i, 8) != NULL,
    };
    must(price_kind_parse(bytes_text(sql_cell(rows, i, 4)), &charge.price.kind));
    const struct json_limits limits = {0};
    struct json *params = NULL;
    enum status status =
        json_parse(bytes_text(sql_cell(rows, i, 5)), &limits, arena, &params, error);
    if (status)
        return error_prefix(error, "params of the stored charge %s", charge.key);
    const char *name = arena_format(arena, "params of the stored charge %s", charge.key);
    struct document in = {.name = name, .arena = arena, .error = error};
    charge_params_read(&in, params, &charge);
    charge.dimension = sql_cell(rows, i, 9);
    charge.price_property = sql_cell(rows, i, 12);
    charge.is_in_advance = strcmp(sql_cell(rows, i, 13), "t") == 0;
    if (sql_cell(rows, i, 11) != NULL)
        must(recurring_parse(bytes_text(sql_cell(rows, i, 11)), &charge.recurring));
    bool has_values = sql_cell(rows, i, 10) != NULL;
    if (in.status == STATUS_OK && has_values)
        status = json_parse(bytes_text(sql_cell(rows, i, 10)), &limits, arena, &params, error);
    if (status)
        return error_prefix(error, "values of the stored charge %s", charge.key);
    if (has_values)
        charge_values_read(&in, params, &charge);
    if (in.status)
        return in.status;
    *out = charge;
    return STATUS_OK;
}

// Rows come by plan and position; a plan's charges are the run of rows with its key.
static enum status
charges_load(struct sql *sql, struct arena *arena, struct stored_catalog *out, struct error *error)
{
    struct sql_query query = {
        "SELECT c.plan, c.key, c.name, c.meter, c.model, c.params, c.free_units,"
        " c.minimum, c.maximum, c.dimension, c.dimension_values, c.recurring, c.price_property,"
        " c.pay_in_advance"
        " FROM charges c"
        " JOIN (SELECT plan, max(catalogue_version) AS version FROM plan_versions GROUP BY plan) v"
        " ON v.plan = c.plan AND v.version = c.catalogue_version ORDER BY c.plan, c.position",
        SQL_NO_PARAMS,
        SQL_ANY_ROWS,
        14};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    struct charge *charges = arena_array(arena, rows.count, struct charge);
    size_t at = 0;
    for (size_t p = 0; p < out->plans_count; p++) {
        struct plan *plan = &out->plans[p];
        plan->charges = charges + at;
        for (; at < rows.count && strcmp(sql_cell(&rows, at, 0), plan->key) == 0; at++) {
            status = charge_row(&rows, at, arena, &charges[at], error);
            if (status)
                return status;
            plan->charges_count++;
        }
    }
    must(at == rows.count);
    return STATUS_OK;
}

enum status
store_catalog(struct sql *sql, struct arena *arena, struct stored_catalog *out, struct error *error)
{
    struct stored_catalog catalog = {0};
    enum status status = version_load(sql, arena, &catalog.version, error);
    if (status == STATUS_OK)
        status = meters_load(sql, arena, &catalog, error);
    if (status == STATUS_OK)
        status = plans_load(sql, arena, &catalog, error);
    if (status == STATUS_OK)
        status = charges_load(sql, arena, &catalog, error);
    if (status)
        return status;
    *out = catalog;
    return STATUS_OK;
}

const struct plan *
stored_catalog_plan(const struct stored_catalog *catalog, const char *key)
{
    for (size_t i = 0; i < catalog->plans_count; i++)
        if (strcmp(catalog->plans[i].key, key) == 0)
            return &catalog->plans[i];
    return NULL;
}

enum status
store_catalog_lock(struct sql *sql, struct error *error)
{
    return sql_script(sql, "LOCK TABLE catalogue_versions IN EXCLUSIVE MODE", error);
}

enum status
store_catalog_lock_shared(struct sql *sql, struct error *error)
{
    return sql_script(sql, "LOCK TABLE catalogue_versions IN SHARE MODE", error);
}

enum status
store_catalog_charges_check(struct sql *sql, int64_t version_before, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_query query = {
        "WITH metered AS (SELECT c.plan, c.meter, v.is_now FROM charges c JOIN"
        " (SELECT plan, max(catalogue_version) AS version, true AS is_now FROM plan_versions"
        " GROUP BY plan UNION ALL SELECT plan, max(catalogue_version), false FROM plan_versions"
        " WHERE catalogue_version <= $1::integer GROUP BY plan) v"
        " ON v.plan = c.plan AND v.version = c.catalogue_version WHERE c.meter IS NOT NULL)"
        " SELECT a.customer_id, a.plan, b.plan, x.meter FROM subscriptions a JOIN subscriptions b"
        " ON b.customer_id = a.customer_id AND b.id <> a.id"
        " AND tstzrange(a.starts_at, a.ends_at) && tstzrange(b.starts_at, b.ends_at)"
        " JOIN metered x ON x.plan = a.plan AND x.is_now JOIN metered y ON y.plan = b.plan"
        " AND y.meter = x.meter ORDER BY 1, 2, 3, 4 LIMIT 1",
        SQL_PARAMS(arena_format(&arena, "%" PRId64, version_before)),
        SQL_MAYBE_ROW,
        4};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, &arena, &rows, error);
    if (status || rows.count == 0)
        return status;
    return error_set(
        error,
        STATUS_EXISTS,
        "customer %s is subscribed to %s and %s, which would both charge the meter %s (nor does it"
        " move from one to the other)",
        sql_cell(&rows, 0, 0),
        sql_cell(&rows, 0, 1),
        sql_cell(&rows, 0, 2),
        sql_cell(&rows, 0, 3));
}

enum status
store_catalog_prices_check(struct sql *sql, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_query query = {
        "SELECT s.customer_id, s.plan, s.billing_cycle, s.currency FROM subscriptions s JOIN"
        " (SELECT plan, max(catalogue_version) AS version FROM plan_versions GROUP BY plan) newest"
        " ON newest.plan = s.plan JOIN plan_versions v ON v.plan = newest.plan"
        " AND v.catalogue_version = newest.version WHERE (v.currency <> s.currency OR"
        " CASE s.billing_cycle WHEN 'monthly' THEN v.monthly_price ELSE v.annual_price END IS NULL)"
        " AND NOT EXISTS (SELECT FROM invoices i WHERE i.subscription_id = s.id"
        " AND i.kind = 'subscription' AND i.period_end = s.ends_at) ORDER BY 1, 2 LIMIT 1",
        SQL_NO_PARAMS,
        SQL_MAYBE_ROW,
        4};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, &arena, &rows, error);
    if (status || rows.count == 0)
        return status;
    return error_set(
        error,
        STATUS_EXISTS,
        "customer %s pays %s %s in %s: the plan keeps this price and currency",
        sql_cell(&rows, 0, 0),
        sql_cell(&rows, 0, 1),
        sql_cell(&rows, 0, 2),
        sql_cell(&rows, 0, 3));
}

enum status
store_catalog_version_add(struct sql *sql, int64_t version, int64_t now_ns, struct error *error)
{
    must(version > 0);
    scoped(arena_done) struct arena arena = {0};
    char now[CLOCK_TEXT_MAX];
    clock_print(now_ns, now);
    struct sql_query insert = {
        "INSERT INTO catalogue_versions (version, applied_at) VALUES ($1::integer, $2)",
        SQL_PARAMS(arena_format(&arena, "%" PRId64, version), now),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &insert, NULL, NULL, error);
}

enum status
store_catalog_meter_add(
    struct sql *sql, int64_t version, const struct meter *meter, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer definition = {0};
    struct json_out out = json_out_to(&definition);
    meter_write(&out, meter);
    struct sql_query insert = {
        "INSERT INTO catalogue_meters (key, catalogue_version, definition)"
        " VALUES ($1, $2::integer, $3)",
        SQL_PARAMS(
            meter->key,
            arena_format(&arena, "%" PRId64, version),
            arena_text_of(&arena, buffer_view(&definition))),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &insert, NULL, NULL, error);
}

static const char *
decimal_param(struct decimal value, struct arena *arena)
{
    char text[DECIMAL_TEXT_MAX];
    decimal_print(value, text);
    return arena_text(arena, text);
}

static enum status
charge_add(
    struct sql *sql,
    const char *version,
    const struct plan *plan,
    uint32_t position,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer params = {0};
    const struct charge *charge = &plan->charges[position];
    struct json_out out = json_out_to(&params);
    charge_params_write(&out, charge);
    scoped(buffer_done) struct buffer values = {0};
    struct json_out values_out = json_out_to(&values);
    charge_values_write(&values_out, charge);
    bool has_free = charge->free_units.units > 0;
    struct sql_query insert = {
        "INSERT INTO charges (plan, catalogue_version, position, key, name, meter, model, params,"
        " free_units, minimum, maximum, dimension, dimension_values, recurring, price_property,"
        " pay_in_advance)"
        " VALUES ($1, $2::integer, $3::integer, $4, $5, $6, $7, $8, $9::numeric, $10::numeric,"
        " $11::numeric, $12, $13, $14, $15, $16)",
        SQL_PARAMS(
            plan->key,
            version,
            arena_format(&arena, "%" PRIu32, position),
            charge->key,
            charge->name,
            charge->meter,
            price_kind_name(charge->price.kind),
            arena_text_of(&arena, buffer_view(&params)),
            has_free ? decimal_param(charge->free_units, &arena) : NULL,
            charge->has_minimum ? decimal_param(charge->minimum, &arena) : NULL,
            charge->has_maximum ? decimal_param(charge->maximum, &arena) : NULL,
            charge->dimension,
            charge->values_count > 0 ? arena_text_of(&arena, buffer_view(&values)) : NULL,
            recurring_name(charge->recurring),
            charge->price_property,
            charge->is_in_advance ? "true" : "false"),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &insert, NULL, NULL, error);
}

static const char *
price_param(const struct plan_price *price, struct arena *arena)
{
    return price->is_sold ? decimal_param(price->amount, arena) : NULL;
}

enum status
store_catalog_plan_add(
    struct sql *sql, int64_t version, const struct plan *plan, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    const char *version_text = arena_format(&arena, "%" PRId64, version);
    struct sql_query insert_key = {
        "INSERT INTO plans (key, kind) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
        SQL_PARAMS(plan->key, plan_kind_name(plan->kind)),
        SQL_NO_ROWS,
        0};
    struct sql_query insert = {
        "INSERT INTO plan_versions (plan, catalogue_version, name, currency, monthly_price,"
        " annual_price, minimum)"
        " VALUES ($1, $2::integer, $3, $4, $5::numeric, $6::numeric, $7::numeric)",
        SQL_PARAMS(
            plan->key,
            version_text,
            plan->name,
            plan->currency->code,
            price_param(&plan->monthly, &arena),
            price_param(&plan->annual, &arena),
            plan->has_minimum ? decimal_param(plan->minimum, &arena) : NULL),
        SQL_NO_ROWS,
        0};
    enum status status = sql_run(sql, &insert_key, NULL, NULL, error);
    if (status == STATUS_OK)
        status = sql_run(sql, &insert, NULL, NULL, error);
    for (uint32_t i = 0; status == STATUS_OK && i < plan->charges_count; i++)
        status = charge_add(sql, version_text, plan, i, error);
    return status;
}
