#include "billing/migrate.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CHECKSUM_MAX = 33 };

static void
checksum(const char *text, char out[CHECKSUM_MAX])
{
    struct hash128 hash = hash128(bytes_text(text), 0);
    snprintf(out, CHECKSUM_MAX, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

// Taken inside each transaction, so that it ends with it however it ends. The key is "tally" in
// ASCII.
static enum status
migrations_lock(struct sql *sql, struct error *error)
{
    return sql_script(
        sql,
        "SELECT pg_advisory_xact_lock(500068412537);"
        "CREATE TABLE IF NOT EXISTS schema_migrations ("
        " number integer PRIMARY KEY CHECK (number > 0), name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL)",
        error);
}

static enum status
newest_check(struct sql *sql, const struct migration *migrations, size_t count, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_query newest = {
        "SELECT number::bigint, name FROM schema_migrations ORDER BY number DESC LIMIT 1",
        SQL_NO_PARAMS,
        SQL_MAYBE_ROW,
        2};
    struct sql_rows rows;
    enum status status = sql_run(sql, &newest, &arena, &rows, error);
    if (status || rows.count == 0)
        return status;
    int64_t known = count > 0 ? migrations[count - 1].number : 0;
    if (sql_int64(&rows, 0, 0) <= known)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "the database has %s, which this program does not know: use a newer program",
        sql_cell(&rows, 0, 1));
}

static enum status
migration_find(
    struct sql *sql,
    const struct migration *migration,
    const char *sum,
    bool *out_is_applied,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql_query find = {
        "SELECT name, checksum FROM schema_migrations WHERE number = $1::integer",
        SQL_PARAMS(arena_format(&arena, "%" PRId64, migration->number)),
        SQL_MAYBE_ROW,
        2};
    struct sql_rows rows;
    enum status status = sql_run(sql, &find, &arena, &rows, error);
    if (status)
        return status;
    *out_is_applied = rows.count == 1;
    if (rows.count == 1 && strcmp(sql_cell(&rows, 0, 1), sum) != 0)
        return error_set(
            error,
            STATUS_INVALID,
            "%s was changed after it was applied (as %s): what is applied stays, put the change"
            " into a new migration",
            migration->name,
            sql_cell(&rows, 0, 0));
    return STATUS_OK;
}

static enum status
migration_run(
    struct sql *sql,
    const struct migration *migration,
    const char *sum,
    int64_t now_ns,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    char now[CLOCK_TEXT_MAX];
    clock_print(now_ns, now);
    struct sql_query insert = {
        "INSERT INTO schema_migrations (number, name, checksum, applied_at)"
        " VALUES ($1::integer, $2, $3, $4)",
        SQL_PARAMS(arena_format(&arena, "%" PRId64, migration->number), migration->name, sum, now),
        SQL_NO_ROWS,
        0};
    enum status status = sql_script(sql, migration->text, error);
    if (status)
        return error_prefix(error, "%s", migration->name);
    return sql_run(sql, &insert, NULL, NULL, error);
}

// In a transaction. *out_applied: whether this call applied it.
static enum status
migration_apply(
    struct sql *sql,
    const struct migration *migration,
    int64_t now_ns,
    bool *out_applied,
    struct error *error)
{
    char sum[CHECKSUM_MAX];
    bool is_there = false;
    checksum(migration->text, sum);
    enum status status = migrations_lock(sql, error);
    if (status == STATUS_OK)
        status = migration_find(sql, migration, sum, &is_there, error);
    if (status == STATUS_OK && !is_there)
        status = migration_run(sql, migration, sum, now_ns, error);
    if (status)
        return status;
    *out_applied = !is_there;
    return STATUS_OK;
}

static enum status
transaction_end(struct sql *sql, enum status status, struct error *error)
{
    if (status == STATUS_OK)
        return sql_commit(sql, error);
    sql_rollback(sql);
    return status;
}

static enum status
start_check(struct sql *sql, const struct migration *migrations, size_t count, struct error *error)
{
    enum status status = sql_begin(sql, error);
    if (status)
        return status;
    status = migrations_lock(sql, error);
    if (status == STATUS_OK)
        status = newest_check(sql, migrations, count, error);
    return transaction_end(sql, status, error);
}

enum status
migrate_apply(
    struct sql *sql,
    const struct migration *migrations,
    size_t count,
    int64_t now_ns,
    struct arena *arena,
    struct migrations_applied *out,
    struct error *error)
{
    *out = (struct migrations_applied){.names = arena_array(arena, count + 1, const char *)};
    enum status status = start_check(sql, migrations, count, error);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        bool is_applied = false;
        must(migrations[i].number == (int64_t)i + 1);
        status = sql_begin(sql, error);
        if (status)
            return status;
        status = migration_apply(sql, &migrations[i], now_ns, &is_applied, error);
        status = transaction_end(sql, status, error);
        if (status == STATUS_OK && is_applied)
            out->names[out->count++] = migrations[i].name;
    }
    return status;
}
