// What a run asks about its work: chunks of customers, their subjects, and which periods have an
// invoice.

#include "base/assert.h"
#include "billing/store.h"
#include "billing/store_parts.h"

#include <inttypes.h>

enum status
store_run_begin(struct sql *sql, const struct billing_run *run, int64_t now_ns, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    char as_of[CLOCK_TEXT_MAX], now[CLOCK_TEXT_MAX];
    clock_print(run->as_of_ns, as_of);
    clock_print(now_ns, now);
    struct sql_query insert = {
        "INSERT INTO billing_runs (id, as_of, grace_seconds, period, customer_id, started_at)"
        " VALUES ($1, $2, $3::bigint, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
        SQL_PARAMS(
            run->id,
            as_of,
            arena_format(&arena, "%" PRId64, run->grace_ns / SECOND_NS),
            run->period,
            run->customer,
            now),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &insert, NULL, NULL, error);
}

enum status
store_run_finish(
    struct sql *sql, const struct billing_run *run, int64_t now_ns, struct error *error)
{
    char now[CLOCK_TEXT_MAX];
    clock_print(now_ns, now);
    struct sql_query update = {
        "UPDATE billing_runs SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL",
        SQL_PARAMS(run->id, now),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &update, NULL, NULL, error);
}

enum status
store_chunks(
    struct sql *sql,
    const char *customer,
    int64_t chunk_size,
    struct arena *arena,
    struct customer_range **out,
    size_t *out_count,
    struct error *error)
{
    must(chunk_size > 0);
    // The last customer of each chunk, and of all.
    struct sql_query query = {
        "SELECT customer_id FROM (SELECT customer_id, row_number() OVER w AS i,"
        " lead(customer_id) OVER w AS next FROM (SELECT DISTINCT customer_id FROM subscriptions"
        " WHERE $2::text IS NULL OR customer_id = $2) AS payers WINDOW w AS (ORDER BY customer_id))"
        " AS numbered WHERE i % $1::bigint = 0 OR next IS NULL ORDER BY i",
        SQL_PARAMS(arena_format(arena, "%" PRId64, chunk_size), customer),
        SQL_ANY_ROWS,
        1};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    struct customer_range *chunks = arena_array(arena, rows.count, struct customer_range);
    for (size_t i = 0; i < rows.count; i++) {
        chunks[i] = (struct customer_range){
            .after = i == 0 ? NULL : chunks[i - 1].upto,
            .upto = sql_cell(&rows, i, 0),
            .only = customer,
        };
    }
    *out = chunks;
    *out_count = rows.count;
    return STATUS_OK;
}

enum status
store_subjects(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct subject_row **out,
    size_t *out_count,
    struct error *error)
{
    struct sql_query query = {
        "SELECT subject, customer_id FROM customer_subjects"
        " WHERE " CUSTOMER_RANGE " ORDER BY customer_id, subject",
        CUSTOMER_RANGE_PARAMS(range),
        SQL_ANY_ROWS,
        2};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    struct subject_row *items = arena_array(arena, rows.count, struct subject_row);
    for (size_t i = 0; i < rows.count; i++)
        items[i] = (struct subject_row){sql_cell(&rows, i, 0), sql_cell(&rows, i, 1)};
    *out = items;
    *out_count = rows.count;
    return STATUS_OK;
}

enum status
store_billed_periods(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct billed_period **out,
    size_t *out_count,
    struct error *error)
{
    struct sql_query query = {
        "SELECT DISTINCT subscription_id, kind, " SQL_EPOCH_US("period_start") ", " SQL_EPOCH_US(
            "period_end") " FROM invoices"
                          " WHERE " CUSTOMER_RANGE " ORDER BY 1, 2, 3",
        CUSTOMER_RANGE_PARAMS(range),
        SQL_ANY_ROWS,
        4};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    struct billed_period *items = arena_array(arena, rows.count, struct billed_period);
    for (size_t i = 0; i < rows.count; i++) {
        items[i] = (struct billed_period){
            .subscription = sql_cell(&rows, i, 0),
            .from_ns = sql_time_ns(&rows, i, 2, 0),
            .to_ns = sql_time_ns(&rows, i, 3, 0),
        };
        must(invoice_kind_parse(bytes_text(sql_cell(&rows, i, 1)), &items[i].kind));
    }
    *out = items;
    *out_count = rows.count;
    return STATUS_OK;
}

enum status
store_remainders(
    struct sql *sql,
    const struct customer_range *range,
    struct arena *arena,
    struct remainders *out,
    struct error *error)
{
    struct sql_query query = {
        "SELECT DISTINCT ON (r.subscription_id, r.charge) r.subscription_id, r.charge, r.sequence,"
        " r.remainder FROM charge_remainders r JOIN subscriptions s ON s.id = r.subscription_id"
        " WHERE " CUSTOMER_RANGE " ORDER BY r.subscription_id, r.charge, r.sequence DESC",
        CUSTOMER_RANGE_PARAMS(range),
        SQL_ANY_ROWS,
        4};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    out->items = arena_array(arena, rows.count, struct remainder);
    out->count = rows.count;
    for (size_t i = 0; i < rows.count; i++)
        out->items[i] = (struct remainder){
            .subscription = sql_cell(&rows, i, 0),
            .charge = sql_cell(&rows, i, 1),
            .sequence = sql_int64(&rows, i, 2),
            .amount = sql_cell(&rows, i, 3),
        };
    return STATUS_OK;
}

enum status
store_subject_terms(
    struct sql *sql,
    const char *const *subjects,
    size_t count,
    struct arena *arena,
    struct subject_terms_list *out,
    struct error *error)
{
    scoped(buffer_done) struct buffer list = {0};
    sql_array_begin(&list);
    for (size_t i = 0; i < count; i++)
        sql_array_add(&list, subjects[i]);
    struct sql_query query = {
        "SELECT asked.subject, s.customer_id, b.plan, " SQL_EPOCH_US(
            "b.starts_at") ", " SQL_EPOCH_US("b.ends_at") " FROM unnest($1::text[]) WITH "
                                                          "ORDINALITY AS asked (subject, i)"
                                                          " LEFT JOIN customer_subjects s ON "
                                                          "s.subject = asked.subject"
                                                          " LEFT JOIN subscriptions b ON "
                                                          "b.customer_id = s.customer_id"
                                                          " ORDER BY asked.i, b.starts_at, b.id",
        SQL_PARAMS(sql_array_end(&list)),
        SQL_ANY_ROWS,
        5};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    struct subject_terms *items = arena_array(arena, rows.count, struct subject_terms);
    for (size_t i = 0; i < rows.count; i++)
        items[i] = (struct subject_terms){
            .subject = sql_cell(&rows, i, 0),
            .customer = sql_cell(&rows, i, 1),
            .plan = sql_cell(&rows, i, 2),
            .terms = {sql_time_ns(&rows, i, 3, 0), sql_time_ns(&rows, i, 4, PERIOD_NO_END)},
        };
    *out = (struct subject_terms_list){items, rows.count};
    return STATUS_OK;
}

enum status
store_first_start(struct sql *sql, const char *customer, int64_t *out_ns, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_query query = {
        "SELECT " SQL_EPOCH_US("min(starts_at)") " FROM subscriptions"
                                                 " WHERE $1::text IS NULL OR customer_id = $1",
        SQL_PARAMS(customer),
        SQL_ONE_ROW,
        1};
    struct sql_rows rows;
    enum status status = sql_run(sql, &query, &arena, &rows, error);
    if (status == STATUS_OK)
        *out_ns = sql_time_ns(&rows, 0, 0, INT64_MIN);
    return status;
}
