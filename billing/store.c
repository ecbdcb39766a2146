// Customers and their subjects.

#include "base/assert.h"
#include "billing/store_parts.h"

#include <inttypes.h>
#include <string.h>

#define CUSTOMER_COLUMNS "id, email, company_name, " SQL_EPOCH_US("created_at")
enum { CUSTOMER_COLUMNS_COUNT = 4 };

static const char *
time_param(int64_t time_ns, struct arena *arena)
{
    char text[CLOCK_TEXT_MAX];
    clock_print(time_ns, text);
    return arena_text(arena, text);
}

static struct customer
customer_row(const struct sql_rows *rows, size_t i)
{
    return (struct customer){
        .id = sql_cell(rows, i, 0),
        .email = sql_cell(rows, i, 1),
        .company_name = sql_cell(rows, i, 2),
        .created_ns = sql_time_ns(rows, i, 3, 0),
    };
}

static enum status
customer_insert(
    struct sql *sql,
    const struct customer *customer,
    const char *now,
    bool *out_is_new,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    const char *email = customer->email != NULL
                            ? customer->email
                            : arena_format(&arena, "%s@customers.invalid", customer->id);
    struct sql_query insert = {
        "INSERT INTO customers (id, email, company_name, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $4) ON CONFLICT (id) DO NOTHING",
        SQL_PARAMS(customer->id, email, customer->company_name, now),
        SQL_NO_ROWS,
        0};
    struct sql_rows rows = {0};
    enum status status = sql_run(sql, &insert, &arena, &rows, error);
    if (status == STATUS_EXISTS)
        return error_set(error, status, "another customer has the email %s", email);
    if (status)
        return status;
    *out_is_new = rows.changed == 1;
    return STATUS_OK;
}

// An existing customer is not edited by adding it again.
static enum status
customer_match(struct sql *sql, const struct customer *customer, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_query find = {
        "SELECT email, company_name FROM customers WHERE id = $1 FOR UPDATE",
        SQL_PARAMS(customer->id),
        SQL_ONE_ROW,
        2};
    struct sql_rows rows;
    enum status status = sql_run(sql, &find, &arena, &rows, error);
    if (status)
        return status;
    const char *email = sql_cell(&rows, 0, 0), *company = sql_cell(&rows, 0, 1);
    if (customer->email != NULL && strcmp(customer->email, email) != 0)
        return error_set(
            error, STATUS_EXISTS, "customer %s exists, with the email %s", customer->id, email);
    if (customer->company_name != NULL &&
        (company == NULL || strcmp(customer->company_name, company) != 0))
        return error_set(
            error,
            STATUS_EXISTS,
            "customer %s exists, with %s%s",
            customer->id,
            company == NULL ? "no company" : "the company ",
            company == NULL ? "" : company);
    return STATUS_OK;
}

enum status
store_subject_owner_check(
    struct sql *sql, const char *customer_id, const char *subjects, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_query find = {
        "SELECT subject, customer_id FROM customer_subjects"
        " WHERE subject = ANY ($1::text[]) AND customer_id <> $2 ORDER BY subject",
        SQL_PARAMS(subjects, customer_id),
        SQL_ANY_ROWS,
        2};
    struct sql_rows rows;
    enum status status = sql_run(sql, &find, &arena, &rows, error);
    if (status)
        return status;
    if (rows.count == 0)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_EXISTS,
        "subject %s belongs to customer %s: a subject has one payer",
        sql_cell(&rows, 0, 0),
        sql_cell(&rows, 0, 1));
}

static enum status
subjects_add(
    struct sql *sql,
    const struct customer *customer,
    const char *now,
    bool is_new,
    int64_t *out_added,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer list = {0};
    sql_array_begin(&list);
    for (size_t i = 0; i < customer->subjects_count; i++)
        sql_array_add(&list, customer->subjects[i]);
    if (is_new && customer->subjects_count == 0)
        sql_array_add(&list, customer->id);
    const char *subjects = sql_array_end(&list);
    struct sql_query insert = {
        "INSERT INTO customer_subjects (subject, customer_id, created_at)"
        " SELECT DISTINCT subject, $2, $3::timestamptz FROM unnest($1::text[]) AS subject"
        " ORDER BY 1 ON CONFLICT (subject) DO NOTHING",
        SQL_PARAMS(subjects, customer->id, now),
        SQL_NO_ROWS,
        0};
    struct sql_rows rows = {0};
    enum status status = sql_run(sql, &insert, &arena, &rows, error);
    if (status)
        return status;
    *out_added = rows.changed;
    return store_subject_owner_check(sql, customer->id, subjects, error);
}

static enum status
customer_add(
    struct sql *sql,
    const struct customer *customer,
    int64_t now_ns,
    enum store_change *out_change,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    const char *now = time_param(now_ns, &arena);
    bool is_new = false;
    int64_t added = 0;
    enum status status = customer_insert(sql, customer, now, &is_new, error);
    if (status == STATUS_OK && !is_new)
        status = customer_match(sql, customer, error);
    if (status == STATUS_OK)
        status = subjects_add(sql, customer, now, is_new, &added, error);
    if (status)
        return status;
    *out_change = is_new ? STORE_CREATED : added > 0 ? STORE_CHANGED : STORE_UNCHANGED;
    return STATUS_OK;
}

enum status
store_customer_add(
    struct sql *sql,
    const struct customer *customer,
    int64_t now_ns,
    enum store_change *out_change,
    struct error *error)
{
    must(customer->id != NULL && out_change != NULL);
    enum status status = sql_begin(sql, error);
    if (status)
        return status;
    status = customer_add(sql, customer, now_ns, out_change, error);
    if (status) {
        sql_rollback(sql);
        return status;
    }
    return sql_commit(sql, error);
}

enum status
store_customer_find(
    struct sql *sql, const char *id, struct arena *arena, struct customer *out, struct error *error)
{
    struct sql_query find = {
        "SELECT " CUSTOMER_COLUMNS " FROM customers WHERE id = $1",
        SQL_PARAMS(id),
        SQL_ONE_ROW,
        CUSTOMER_COLUMNS_COUNT};
    struct sql_rows rows;
    enum status status = sql_run(sql, &find, arena, &rows, error);
    if (status == STATUS_NOT_FOUND && sql_state(sql)[0] == '\0')
        return error_set(error, status, "there is no customer %s: see `tally customer list`", id);
    if (status)
        return status;
    struct customer customer = customer_row(&rows, 0);
    status = customer_subjects(sql, id, arena, &customer.subjects, &customer.subjects_count, error);
    if (status)
        return status;
    *out = customer;
    return STATUS_OK;
}

enum status
store_customers(
    struct sql *sql,
    const char *after,
    int64_t limit,
    struct arena *arena,
    struct customers *out,
    struct error *error)
{
    struct sql_query list = {
        "SELECT " CUSTOMER_COLUMNS " FROM customers WHERE id > $1 ORDER BY id LIMIT $2::bigint",
        SQL_PARAMS(after, arena_format(arena, "%" PRId64, limit)),
        SQL_ANY_ROWS,
        CUSTOMER_COLUMNS_COUNT};
    struct sql_rows rows;
    enum status status = sql_run(sql, &list, arena, &rows, error);
    if (status)
        return status;
    struct customer *items = arena_array(arena, rows.count, struct customer);
    for (size_t i = 0; i < rows.count; i++)
        items[i] = customer_row(&rows, i);
    *out = (struct customers){items, rows.count};
    return STATUS_OK;
}

static enum status
customer_check(struct sql *sql, const char *id, struct arena *arena, struct error *error)
{
    struct sql_query find = {
        "SELECT id FROM customers WHERE id = $1", SQL_PARAMS(id), SQL_MAYBE_ROW, 1};
    struct sql_rows rows;
    enum status status = sql_run(sql, &find, arena, &rows, error);
    if (status)
        return status;
    if (rows.count == 0)
        return error_set(
            error, STATUS_NOT_FOUND, "there is no customer %s: see `tally customer list`", id);
    return STATUS_OK;
}

enum status
customer_subjects(
    struct sql *sql,
    const char *customer_id,
    struct arena *arena,
    const char *const **out_subjects,
    size_t *out_count,
    struct error *error)
{
    must(customer_id != NULL && out_subjects != NULL && out_count != NULL);
    enum status status = customer_check(sql, customer_id, arena, error);
    if (status)
        return status;
    struct sql_query list = {
        "SELECT subject FROM customer_subjects WHERE customer_id = $1 ORDER BY subject",
        SQL_PARAMS(customer_id),
        SQL_ANY_ROWS,
        1};
    struct sql_rows rows;
    status = sql_run(sql, &list, arena, &rows, error);
    if (status)
        return status;
    *out_subjects = rows.cells;
    *out_count = rows.count;
    return STATUS_OK;
}
