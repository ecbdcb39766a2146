#include "billing/subject.h"

#include "base/assert.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

#define SUBJECTS                                                                                   \
    "SELECT key, display_name, stripe_customer_id, metadata::text, " SQL_EPOCH_US(                 \
        "created_at") ", " SQL_EPOCH_US("updated_at") " FROM ("                                    \
                                                      "SELECT key, display_name, "                 \
                                                      "stripe_customer_id, metadata, created_at, " \
                                                      "updated_at FROM subjects"                   \
                                                      " UNION ALL SELECT subject, NULL, NULL, "    \
                                                      "NULL, created_at, created_at FROM "         \
                                                      "customer_subjects"                          \
                                                      " WHERE NOT is_implied AND NOT EXISTS "      \
                                                      "(SELECT 1 FROM subjects WHERE key = "       \
                                                      "subject)) AS known"
enum { SUBJECT_COLUMNS_COUNT = 6 };

static struct subject
subject_row(const struct sql_rows *rows, size_t i)
{
    return (struct subject){
        .key = sql_cell(rows, i, 0),
        .display_name = sql_cell(rows, i, 1),
        .stripe_customer_id = sql_cell(rows, i, 2),
        .metadata = sql_cell(rows, i, 3),
        .created_ns = sql_time_ns(rows, i, 4, 0),
        .updated_ns = sql_time_ns(rows, i, 5, 0),
    };
}

enum status
subject_put(
    struct sql *sql,
    const struct subject *subject,
    unsigned members,
    int64_t now_ns,
    struct error *error)
{
    char now[CLOCK_TEXT_MAX];
    clock_print(now_ns, now);
    struct sql_query put = {
        "INSERT INTO subjects (key, display_name, stripe_customer_id, metadata, created_at,"
        " updated_at) VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (key) DO UPDATE SET"
        " display_name = CASE WHEN $6::boolean THEN EXCLUDED.display_name"
        " ELSE subjects.display_name END,"
        " stripe_customer_id = CASE WHEN $7::boolean THEN EXCLUDED.stripe_customer_id"
        " ELSE subjects.stripe_customer_id END,"
        " metadata = CASE WHEN $8::boolean THEN EXCLUDED.metadata ELSE subjects.metadata END,"
        " updated_at = EXCLUDED.updated_at",
        SQL_PARAMS(
            subject->key,
            subject->display_name,
            subject->stripe_customer_id,
            subject->metadata,
            now,
            members & SUBJECT_NAME ? "true" : "false",
            members & SUBJECT_STRIPE ? "true" : "false",
            members & SUBJECT_METADATA ? "true" : "false"),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &put, NULL, NULL, error);
}

enum status
subject_find(
    struct sql *sql, const char *key, struct arena *arena, struct subject *out, struct error *error)
{
    struct sql_rows rows;
    struct sql_query find = {
        SUBJECTS " WHERE key = $1", SQL_PARAMS(key), SQL_MAYBE_ROW, SUBJECT_COLUMNS_COUNT};
    enum status status = sql_run(sql, &find, arena, &rows, error);
    if (status)
        return status;
    if (rows.count == 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no subject %s", key);
    *out = subject_row(&rows, 0);
    return STATUS_OK;
}

enum status
subjects_read(struct sql *sql, struct arena *arena, struct subject_list *out, struct error *error)
{
    struct sql_rows rows;
    struct sql_query list = {
        SUBJECTS " ORDER BY key", SQL_NO_PARAMS, SQL_ANY_ROWS, SUBJECT_COLUMNS_COUNT};
    enum status status = sql_run(sql, &list, arena, &rows, error);
    if (status)
        return status;
    struct subject *items = arena_array(arena, rows.count + 1, struct subject);
    for (size_t i = 0; i < rows.count; i++)
        items[i] = subject_row(&rows, i);
    *out = (struct subject_list){items, rows.count};
    return STATUS_OK;
}

enum status
subject_remove(struct sql *sql, const char *key, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_rows rows = {0};
    struct sql_query payer = {
        "SELECT customer_id FROM customer_subjects WHERE subject = $1",
        SQL_PARAMS(key),
        SQL_MAYBE_ROW,
        1};
    struct sql_query remove = {
        "DELETE FROM subjects WHERE key = $1", SQL_PARAMS(key), SQL_NO_ROWS, 0};
    enum status status = sql_run(sql, &payer, &arena, &rows, error);
    if (status)
        return status;
    if (rows.count > 0)
        return error_set(
            error,
            STATUS_EXISTS,
            "customer %s pays for the subject %s: take it from the customer first",
            sql_cell(&rows, 0, 0),
            key);
    status = sql_run(sql, &remove, &arena, &rows, error);
    if (status == STATUS_OK && rows.changed == 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no subject %s", key);
    return status;
}

enum status
subject_facts(
    struct sql *sql,
    const struct bytes *subjects,
    size_t count,
    struct arena *arena,
    struct subject_facts **out,
    struct error *error)
{
    scoped(buffer_done) struct buffer list = {0};
    sql_array_begin(&list);
    for (size_t i = 0; i < count; i++) {
        bool is_text = subjects[i].size > 0 && bytes_is_utf8(subjects[i]) &&
                       memchr(subjects[i].data, '\0', subjects[i].size) == NULL;
        sql_array_add_bytes(&list, is_text ? subjects[i] : bytes_of(NULL, 0));
    }
    struct sql_query find = {
        "SELECT c.customer_id, s.display_name"
        " FROM unnest($1::text[]) WITH ORDINALITY AS wanted (subject, place)"
        " LEFT JOIN customer_subjects c ON c.subject = wanted.subject"
        " LEFT JOIN subjects s ON s.key = wanted.subject ORDER BY place",
        SQL_PARAMS(sql_array_end(&list)),
        SQL_ANY_ROWS,
        2};
    struct sql_rows rows;
    enum status status = sql_run(sql, &find, arena, &rows, error);
    if (status)
        return status;
    must(rows.count == count);
    struct subject_facts *facts = arena_array(arena, count + 1, struct subject_facts);
    for (size_t i = 0; i < count; i++)
        facts[i] = (struct subject_facts){sql_cell(&rows, i, 0), sql_cell(&rows, i, 1)};
    *out = facts;
    return STATUS_OK;
}
