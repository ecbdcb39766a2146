#include "billing/customer.h"

#include "base/assert.h"
#include "base/clock.h"
#include "billing/store_parts.h"

#include <inttypes.h>
#include <string.h>

#define PLACEHOLDER " || '@customers.invalid'"
#define PROFILE_COLUMNS                                                                            \
    "id, company_name, CASE WHEN email = id" PLACEHOLDER " THEN NULL ELSE email END,"              \
    " description, currency, billing_address::text, metadata::text,"                               \
    " (SELECT coalesce(json_agg(s.subject ORDER BY s.list_place, s.subject), '[]')::text"          \
    " FROM customer_subjects s WHERE s.customer_id = customers.id AND NOT "                        \
    "s.is_implied), " SQL_EPOCH_US("created_at") ", " SQL_EPOCH_US("updated_at")
enum { PROFILE_COLUMNS_COUNT = 10 };

static struct customer_profile
profile_row(const struct sql_rows *rows, size_t i)
{
    return (struct customer_profile){
        .id = sql_cell(rows, i, 0),
        .name = sql_cell(rows, i, 1),
        .email = sql_cell(rows, i, 2),
        .description = sql_cell(rows, i, 3),
        .currency = sql_cell(rows, i, 4),
        .billing_address = sql_cell(rows, i, 5),
        .metadata = sql_cell(rows, i, 6),
        .subjects_json = sql_cell(rows, i, 7),
        .created_ns = sql_time_ns(rows, i, 8, 0),
        .updated_ns = sql_time_ns(rows, i, 9, 0),
    };
}

static enum status
not_there(const char *id, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND, "there is no customer %s", id);
}

// --- writing ---

// What a unique key refused, in words.
static enum status
refusal_name(
    const struct sql *sql,
    const struct customer_profile *profile,
    enum status status,
    struct error *error)
{
    if (status != STATUS_EXISTS)
        return status;
    if (strcmp(sql_constraint(sql), "customers_pkey") == 0)
        return error_set(error, status, "there is a customer %s already", profile->id);
    return error_set(
        error,
        status,
        "another customer has the email %s",
        profile->email != NULL ? profile->email : "of this one");
}

static const char *
array_of(const char *const *texts, size_t count, struct arena *arena)
{
    scoped(buffer_done) struct buffer list = {0};
    sql_array_begin(&list);
    for (size_t i = 0; i < count; i++)
        sql_array_add(&list, texts[i]);
    return arena_text(arena, sql_array_end(&list));
}

static enum status
step_run(
    struct sql *sql, const char *text, const char *const *params, size_t count, struct error *error)
{
    struct sql_query query = {
        text, {params, count},
         SQL_NO_ROWS, 0
    };
    return sql_run(sql, &query, NULL, NULL, error);
}

// The customer's subjects become those listed, and its id when it is new.
static enum status
subjects_write(
    struct sql *sql,
    const struct customer_profile *profile,
    bool is_new,
    const char *now,
    struct arena *arena,
    struct error *error)
{
    static const char drop[] = "DELETE FROM customer_subjects WHERE customer_id = $1"
                               " AND subject <> ALL ($2::text[]) AND subject <> $1";
    static const char add[] =
        "INSERT INTO customer_subjects (subject, customer_id, created_at, list_place)"
        " SELECT subject, $1, $3::timestamptz, min(place)::integer"
        " FROM unnest($2::text[]) WITH ORDINALITY AS listed (subject, place)"
        " GROUP BY subject ORDER BY subject ON CONFLICT (subject) DO UPDATE"
        " SET list_place = excluded.list_place"
        " WHERE customer_subjects.customer_id = excluded.customer_id";
    static const char mark[] =
        "UPDATE customer_subjects SET is_implied = (subject <> ALL ($2::text[]))"
        " WHERE customer_id = $1 AND subject = $1";
    static const char imply[] =
        "INSERT INTO customer_subjects (subject, customer_id, created_at, is_implied)"
        " VALUES ($1, $1, $2, true) ON CONFLICT (subject) DO NOTHING";
    const char *listed = array_of(profile->subjects, profile->subjects_count, arena);
    const char *params[] = {profile->id, listed, now};
    const char *own[] = {profile->id, now};
    enum status status = step_run(sql, drop, params, 2, error);
    if (status == STATUS_OK)
        status = step_run(sql, add, params, 3, error);
    if (status == STATUS_OK)
        status = step_run(sql, mark, params, 2, error);
    if (status == STATUS_OK && is_new)
        status = step_run(sql, imply, own, 2, error);
    if (status == STATUS_OK)
        status = store_subject_owner_check(sql, profile->id, listed, error);
    if (status == STATUS_OK && is_new)
        status = store_subject_owner_check(sql, profile->id, array_of(own, 1, arena), error);
    return status;
}

static const char *
time_param(int64_t time_ns, struct arena *arena)
{
    char text[CLOCK_TEXT_MAX];
    clock_print(time_ns, text);
    return arena_text(arena, text);
}

static enum status
profile_write(
    struct sql *sql,
    const struct customer_profile *profile,
    bool is_new,
    int64_t now_ns,
    struct error *error)
{
    static const char add[] =
        "INSERT INTO customers (id, company_name, email, description, currency, billing_address,"
        " metadata, created_at, updated_at)"
        " VALUES ($1, $2, coalesce($3, $1" PLACEHOLDER "), $4, $5, $6, $7, $8, $8)";
    static const char change[] =
        "UPDATE customers SET company_name = $2, email = coalesce($3, $1" PLACEHOLDER "),"
        " description = $4, currency = $5, billing_address = $6, metadata = $7,"
        " updated_at = $8 WHERE id = $1";
    scoped(arena_done) struct arena arena = {0};
    struct sql_rows rows = {0};
    const char *now = time_param(now_ns, &arena);
    struct sql_query query = {
        is_new ? add : change,
        SQL_PARAMS(
            profile->id,
            profile->name,
            profile->email,
            profile->description,
            profile->currency,
            profile->billing_address,
            profile->metadata,
            now),
        SQL_NO_ROWS,
        0};
    enum status status = sql_run(sql, &query, &arena, &rows, error);
    if (status)
        return refusal_name(sql, profile, status, error);
    if (rows.changed == 0)
        return not_there(profile->id, error);
    return subjects_write(sql, profile, is_new, now, &arena, error);
}

static enum status
profile_commit(
    struct sql *sql,
    const struct customer_profile *profile,
    bool is_new,
    int64_t now_ns,
    struct error *error)
{
    must(profile->id != NULL);
    enum status status = sql_begin(sql, error);
    if (status)
        return status;
    status = profile_write(sql, profile, is_new, now_ns, error);
    if (status == STATUS_OK)
        return sql_commit(sql, error);
    sql_rollback(sql);
    return status;
}

enum status
customer_profile_add(
    struct sql *sql, const struct customer_profile *profile, int64_t now_ns, struct error *error)
{
    return profile_commit(sql, profile, true, now_ns, error);
}

enum status
customer_profile_change(
    struct sql *sql, const struct customer_profile *profile, int64_t now_ns, struct error *error)
{
    return profile_commit(sql, profile, false, now_ns, error);
}

static enum status
rows_remove(struct sql *sql, const char *id, struct error *error)
{
    static const char foreign_key_violation[] = "23503";
    struct sql_rows rows = {0};
    scoped(arena_done) struct arena arena = {0};
    struct sql_query subjects = {
        "DELETE FROM customer_subjects WHERE customer_id = $1", SQL_PARAMS(id), SQL_NO_ROWS, 0};
    struct sql_query customer = {
        "DELETE FROM customers WHERE id = $1", SQL_PARAMS(id), SQL_NO_ROWS, 0};
    enum status status = sql_run(sql, &subjects, &arena, NULL, error);
    if (status == STATUS_OK)
        status = sql_run(sql, &customer, &arena, &rows, error);
    if (status && strcmp(sql_state(sql), foreign_key_violation) == 0)
        return error_set(
            error,
            STATUS_EXISTS,
            "customer %s was subscribed or billed, which is kept for ever",
            id);
    if (status == STATUS_OK && rows.changed == 0)
        return not_there(id, error);
    return status;
}

enum status
customer_remove(struct sql *sql, const char *id, struct error *error)
{
    enum status status = sql_begin(sql, error);
    if (status)
        return status;
    status = rows_remove(sql, id, error);
    if (status == STATUS_OK)
        return sql_commit(sql, error);
    sql_rollback(sql);
    return status;
}

// --- reading ---

enum status
customer_profile_find(
    struct sql *sql,
    const char *id,
    struct arena *arena,
    struct customer_profile *out,
    struct error *error)
{
    struct sql_rows rows;
    struct sql_query find = {
        "SELECT " PROFILE_COLUMNS " FROM customers WHERE id = $1",
        SQL_PARAMS(id),
        SQL_MAYBE_ROW,
        PROFILE_COLUMNS_COUNT};
    enum status status = sql_run(sql, &find, arena, &rows, error);
    if (status)
        return status;
    if (rows.count == 0)
        return not_there(id, error);
    *out = profile_row(&rows, 0);
    return STATUS_OK;
}

#define HAS_PART(column, param)                                                                    \
    "(" param "::text IS NULL OR strpos(lower(" column "), lower(" param ")) > 0)"
// clang-format off
#define FILTERED                                                                                   \
    " FROM customers WHERE " HAS_PART("id", "$1")                                                  \
    " AND " HAS_PART("company_name", "$2") " AND " HAS_PART("email", "$3")                         \
    " AND ($4::text IS NULL OR EXISTS (SELECT 1 FROM customer_subjects s"                          \
    " WHERE s.customer_id = customers.id AND " HAS_PART("s.subject", "$4") "))"                    \
    " AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM subscriptions u"                              \
    " WHERE u.customer_id = customers.id AND u.plan = $5"                                          \
    " AND (u.ends_at IS NULL OR u.ends_at > now())))"                                              \
    " AND ($6::text IS NULL OR id = $6)"
// clang-format on
// Fixed statements, so a direction is a key that is there or not.
#define ORDER_KEY                                                                                  \
    "CASE $7::text WHEN 'name' THEN coalesce(company_name, id)"                                    \
    " WHEN 'creation' THEN to_char(created_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS')"           \
    " ELSE id END COLLATE \"C\""

enum status
customer_profiles(
    struct sql *sql,
    const struct customer_filter *filter,
    struct arena *arena,
    struct customer_page *out,
    struct error *error)
{
    static const char *const orders[] = {"id", "name", "creation"};
    const char *params[] = {
        filter->id,
        filter->name,
        filter->email,
        filter->subject,
        filter->plan,
        filter->exact_id,
        orders[filter->order],
        filter->is_descending ? "true" : "false",
        arena_format(arena, "%" PRId64, filter->limit),
        arena_format(arena, "%" PRId64, filter->offset),
    };
    struct sql_query count = {
        "SELECT count(*)" FILTERED, {params, 6},
          SQL_ONE_ROW, 1
    };
    struct sql_query page = {
        "SELECT " PROFILE_COLUMNS FILTERED " ORDER BY"
        " CASE WHEN NOT $8::boolean THEN " ORDER_KEY " END,"
        " CASE WHEN $8::boolean THEN " ORDER_KEY " END DESC, id"
        " LIMIT $9::bigint OFFSET $10::bigint",
        {params, 10},
        SQL_ANY_ROWS,
        PROFILE_COLUMNS_COUNT
    };
    struct sql_rows total, rows;
    enum status status = sql_run(sql, &count, arena, &total, error);
    if (status == STATUS_OK)
        status = sql_run(sql, &page, arena, &rows, error);
    if (status)
        return status;
    struct customer_profile *items = arena_array(arena, rows.count + 1, struct customer_profile);
    for (size_t i = 0; i < rows.count; i++)
        items[i] = profile_row(&rows, i);
    *out = (struct customer_page){items, rows.count, sql_int64(&total, 0, 0)};
    return STATUS_OK;
}
