// The SQL client against a real server: shapes, statuses, deadlines, transactions, arrays and COPY.

#include "base/sql.h"

#include "base/clock.h"
#include "tests/support/postgres.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct postgres server;

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
    (void)set;
    postgres_before_all(&server);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    postgres_after_all(&server);
}

static struct sql *
opened(void)
{
    char url[POSTGRES_URL_MAX];
    struct error error;
    struct sql *sql = NULL;
    if (!postgres_database(url))
        return NULL;
    cr_assert_eq(sql_open(url, 10000, &sql, &error), STATUS_OK, "%s", error.text);
    return sql;
}

Test(sql, reads_rows_nulls_numbers_and_times)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = opened();
    struct error error;
    struct sql_rows rows;
    if (sql == NULL)
        return;
    struct sql_query query = {
        "SELECT $1::text, NULL::text, 42::bigint, true, " SQL_EPOCH_US(
            "'2023-11-16T18:15:46.680590Z'::timestamptz"),
        SQL_PARAMS("it's"),
        SQL_ONE_ROW,
        5};
    cr_assert_eq(sql_run(sql, &query, &arena, &rows, &error), STATUS_OK, "%s", error.text);
    cr_assert_str_eq(sql_cell(&rows, 0, 0), "it's");
    cr_assert_null(sql_cell(&rows, 0, 1));
    cr_assert_eq(sql_int64(&rows, 0, 2), 42);
    cr_assert(sql_bool(&rows, 0, 3));
    cr_assert_eq(sql_time_ns(&rows, 0, 4, 0), 1700158546680590000);
    cr_assert_eq(sql_time_ns(&rows, 0, 1, -1), -1);
}

// Whatever the database sets: times are UTC text, and a statement after a lock sees what was
// committed while it waited.
Test(sql, does_not_take_the_databases_settings)
{
    static const char settings[] =
        "DO $$ DECLARE d text := format('ALTER DATABASE %I SET ', current_database()); BEGIN"
        " EXECUTE d || 'timezone = \"America/New_York\"';"
        " EXECUTE d || 'datestyle = \"SQL, DMY\"';"
        " EXECUTE d || 'default_transaction_isolation = \"repeatable read\"'; END $$";
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *first = NULL;
    scoped(sql_done) struct sql *sql = NULL;
    char url[POSTGRES_URL_MAX];
    struct error error;
    struct sql_rows rows;
    if (!postgres_database(url))
        return;
    cr_assert_eq(sql_open(url, SQL_TIMEOUT_MS, &first, &error), STATUS_OK);
    cr_assert_eq(sql_script(first, settings, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(sql_open(url, SQL_TIMEOUT_MS, &sql, &error), STATUS_OK);
    const struct sql_query query = {
        "SELECT '2023-11-01'::timestamptz::text, current_setting('transaction_isolation')",
        SQL_NO_PARAMS,
        SQL_ONE_ROW,
        2};
    cr_assert_eq(sql_begin(sql, &error), STATUS_OK);
    cr_assert_eq(sql_run(sql, &query, &arena, &rows, &error), STATUS_OK, "%s", error.text);
    cr_assert_str_eq(sql_cell(&rows, 0, 0), "2023-11-01 00:00:00+00");
    cr_assert_str_eq(sql_cell(&rows, 0, 1), "read committed");
    cr_assert_eq(sql_commit(sql, &error), STATUS_OK);
}

Test(sql, turns_refusals_into_statuses)
{
    static const struct {
        const char *text;
        enum status status;
        const char *state;
    } cases[] = {
        {"INSERT INTO t VALUES (1, 1)",              STATUS_EXISTS,    "23505"},
        {"INSERT INTO t VALUES (2, -1)",             STATUS_INVALID,   "23514"},
        {"SELECT 'x'::integer",                      STATUS_INVALID,   "22P02"},
        {"SELECT 9223372036854775807 + 1::bigint",   STATUS_OVERFLOW,  "22003"},
        {"SELECT * FROM nowhere",                    STATUS_NOT_FOUND, "42P01"},
        {"SELEC",                                    STATUS_IO,        "42601"},
        {"DO $$BEGIN RAISE SQLSTATE '40001'; END$$", STATUS_BUSY,      "40001"},
        {"DO $$BEGIN RAISE SQLSTATE '40P01'; END$$", STATUS_BUSY,      "40P01"},
        {"DO $$BEGIN RAISE SQLSTATE '53300'; END$$", STATUS_FULL,      "53300"},
    };
    scoped(sql_done) struct sql *sql = opened();
    struct error error;
    if (sql == NULL)
        return;
    cr_assert_eq(
        sql_script(
            sql,
            "CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n > 0)); INSERT INTO t VALUES (1, 1)",
            &error),
        STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(sql_script(sql, cases[i].text, &error), cases[i].status, "%s", cases[i].text);
        cr_assert_eq(error.status, cases[i].status);
        cr_assert_str_eq(sql_state(sql), cases[i].state, "%s", cases[i].text);
    }
    cr_assert_eq(sql_script(sql, "INSERT INTO t VALUES (1, 1)", &error), STATUS_EXISTS);
    cr_assert_str_eq(sql_constraint(sql), "t_pkey");
    cr_assert_eq(sql_script(sql, "SELECT 1", &error), STATUS_OK);
    cr_assert_str_eq(sql_state(sql), "");
}

Test(sql, checks_the_shape)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = opened();
    struct error error;
    struct sql_rows rows;
    if (sql == NULL)
        return;
    struct sql_query none = {"SELECT 1 WHERE false", SQL_NO_PARAMS, SQL_ONE_ROW, 1};
    cr_assert_eq(sql_run(sql, &none, &arena, &rows, &error), STATUS_NOT_FOUND);
    none.shape = SQL_MAYBE_ROW;
    cr_assert_eq(sql_run(sql, &none, &arena, &rows, &error), STATUS_OK);
    cr_assert_eq(rows.count, 0);
    struct sql_query two = {"SELECT generate_series(1, 2)", SQL_NO_PARAMS, SQL_MAYBE_ROW, 1};
    cr_assert_eq(sql_run(sql, &two, &arena, &rows, &error), STATUS_CORRUPT);
    two.shape = SQL_ANY_ROWS;
    cr_assert_eq(sql_run(sql, &two, &arena, &rows, &error), STATUS_OK);
    cr_assert_eq(rows.count, 2);
}

Test(sql, stops_on_a_wrong_number_of_columns, .signal = SIGABRT)
{
    scoped(arena_done) struct arena arena = {0};
    struct sql *sql = opened();
    struct error error;
    struct sql_rows rows;
    if (sql == NULL)
        abort();
    struct sql_query wrong = {"SELECT 1, 2", SQL_NO_PARAMS, SQL_ONE_ROW, 1};
    if (sql_run(sql, &wrong, &arena, &rows, &error) == STATUS_OK)
        sql_close(sql);
}

Test(sql, cancels_at_the_deadline_and_stays_usable)
{
    scoped(sql_done) struct sql *sql = opened();
    struct error error;
    if (sql == NULL)
        return;
    sql_set_timeout(sql, 200);
    int64_t began_ns = clock_monotonic_ns();
    cr_assert_eq(sql_script(sql, "SELECT pg_sleep(30)", &error), STATUS_TIMEOUT);
    cr_assert_lt(clock_monotonic_ns() - began_ns, 10 * SECOND_NS);
    sql_set_timeout(sql, 10000);
    cr_assert_eq(sql_script(sql, "SELECT 1", &error), STATUS_OK, "%s", error.text);
}

Test(sql, commits_all_or_nothing)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = opened();
    struct error error;
    struct sql_rows rows;
    if (sql == NULL)
        return;
    struct sql_query count = {"SELECT count(*) FROM t", SQL_NO_PARAMS, SQL_ONE_ROW, 1};
    cr_assert_eq(sql_script(sql, "CREATE TABLE t (id int PRIMARY KEY)", &error), STATUS_OK);
    // A failed statement makes the commit fail, even one that the caller did not look at.
    cr_assert_eq(sql_begin(sql, &error), STATUS_OK);
    cr_assert_eq(sql_script(sql, "INSERT INTO t VALUES (1)", &error), STATUS_OK);
    cr_assert_eq(sql_script(sql, "INSERT INTO t VALUES (1)", &error), STATUS_EXISTS);
    cr_assert_eq(sql_commit(sql, &error), STATUS_IO);
    // Rolled back; what made it so stays readable.
    cr_assert_eq(sql_begin(sql, &error), STATUS_OK);
    cr_assert_eq(
        sql_script(sql, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)", &error),
        STATUS_EXISTS);
    sql_rollback(sql);
    cr_assert_str_eq(sql_state(sql), "23505");
    sql_rollback(sql);
    cr_assert_eq(sql_run(sql, &count, &arena, &rows, &error), STATUS_OK);
    cr_assert_eq(sql_int64(&rows, 0, 0), 0);
    cr_assert_eq(sql_begin(sql, &error), STATUS_OK);
    cr_assert_eq(sql_script(sql, "INSERT INTO t VALUES (1)", &error), STATUS_OK);
    cr_assert_eq(sql_commit(sql, &error), STATUS_OK);
    cr_assert_eq(sql_run(sql, &count, &arena, &rows, &error), STATUS_OK);
    cr_assert_eq(sql_int64(&rows, 0, 0), 1);
}

static const char *const hard_texts[] = {
    "plain",
    "",
    "with \"quotes\"",
    "back\\slash",
    "comma, brace {}",
    "NULL",
    "tab\tline\nend\r",
    "gr\xc3\xbc\xc3\x9f",
    "'; DROP TABLE customers; --",
    "\\N",
    "\\."};
enum { HARD_COUNT = sizeof hard_texts / sizeof hard_texts[0] };

Test(sql, passes_arrays_of_any_text)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer list = {0}, numbers = {0};
    scoped(sql_done) struct sql *sql = opened();
    struct error error;
    struct sql_rows rows;
    if (sql == NULL)
        return;
    sql_array_begin(&list);
    sql_array_begin(&numbers);
    for (size_t i = 0; i < HARD_COUNT; i++) {
        sql_array_add(&list, hard_texts[i]);
        sql_array_add_int(&numbers, (int64_t)i - 5);
    }
    sql_array_add(&list, NULL);
    sql_array_add_int(&numbers, INT64_MIN);
    struct sql_query query = {
        "SELECT * FROM unnest($1::text[], $2::bigint[])",
        SQL_PARAMS(sql_array_end(&list), sql_array_end(&numbers)),
        SQL_ANY_ROWS,
        2};
    cr_assert_eq(sql_run(sql, &query, &arena, &rows, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(rows.count, HARD_COUNT + 1);
    for (size_t i = 0; i < HARD_COUNT; i++) {
        cr_assert_str_eq(sql_cell(&rows, i, 0), hard_texts[i]);
        cr_assert_eq(sql_int64(&rows, i, 1), (int64_t)i - 5);
    }
    cr_assert_null(sql_cell(&rows, HARD_COUNT, 0));
    cr_assert_eq(sql_int64(&rows, HARD_COUNT, 1), INT64_MIN);
}

Test(sql, copies_in)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer data = {0};
    scoped(sql_done) struct sql *sql = opened();
    struct error error;
    struct sql_rows rows;
    int64_t copied = 0;
    if (sql == NULL)
        return;
    cr_assert_eq(sql_script(sql, "CREATE TABLE t (id int PRIMARY KEY, x text)", &error), STATUS_OK);
    for (size_t i = 0; i < 20000; i++) {
        buffer_format(&data, "%zu\t", i);
        sql_copy_text(&data, bytes_text(hard_texts[i % HARD_COUNT]));
        buffer_text(&data, "\n");
    }
    buffer_text(&data, "20000\t");
    sql_copy_text(&data, (struct bytes){0});
    buffer_text(&data, "\n");
    cr_assert_eq(
        sql_copy_in(sql, "COPY t FROM STDIN", buffer_view(&data), &copied, &error),
        STATUS_OK,
        "%s",
        error.text);
    cr_assert_eq(copied, 20001);
    struct sql_query query = {
        "SELECT x FROM t WHERE id < 11 OR id = 20000 ORDER BY id", SQL_NO_PARAMS, SQL_ANY_ROWS, 1};
    cr_assert_eq(sql_run(sql, &query, &arena, &rows, &error), STATUS_OK);
    for (size_t i = 0; i < HARD_COUNT; i++)
        cr_assert_str_eq(sql_cell(&rows, i, 0), hard_texts[i]);
    cr_assert_null(sql_cell(&rows, HARD_COUNT, 0));
    // Refused as a whole, and the connection stays usable.
    cr_assert_eq(
        sql_copy_in(sql, "COPY t FROM STDIN", bytes_text("1\tx\n"), NULL, &error), STATUS_EXISTS);
    cr_assert_eq(sql_script(sql, "SELECT 1", &error), STATUS_OK);
}

Test(sql, says_when_the_server_is_gone)
{
    scoped(sql_done) struct sql *sql = opened();
    struct sql *other = NULL;
    struct error error;
    if (sql == NULL)
        return;
    cr_assert_eq(
        sql_script(sql, "SELECT pg_terminate_backend(pg_backend_pid())", &error), STATUS_CLOSED);
    cr_assert_eq(sql_script(sql, "SELECT 1", &error), STATUS_CLOSED);
    cr_assert_eq(sql_open("postgresql:///x?host=/nowhere", 2000, &other, &error), STATUS_CLOSED);
    cr_assert_neq(error.text[0], '\0');
    cr_assert_null(strchr(error.text, '\n'));
}

Test(sql, finds_its_url)
{
    scoped(arena_done) struct arena arena = {0};
    char dir[] = "/tmp/tally-url-XXXXXX", path[64];
    const char *url = NULL;
    struct error error;
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/database.url", dir);
    unsetenv("DATABASE_URL");
    cr_assert_eq(sql_url(dir, &arena, &url, &error), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "tally up"));
    cr_assert_eq(sql_url(NULL, &arena, &url, &error), STATUS_NOT_FOUND);
    FILE *file = fopen(path, "w");
    fputs("postgresql:///a?host=/x\nsecond line\n", file);
    fclose(file);
    cr_assert_eq(sql_url(dir, &arena, &url, &error), STATUS_OK);
    cr_assert_str_eq(url, "postgresql:///a?host=/x");
    setenv("DATABASE_URL", "postgresql:///b", 1);
    cr_assert_eq(sql_url(dir, &arena, &url, &error), STATUS_OK);
    cr_assert_str_eq(url, "postgresql:///b");
    unsetenv("DATABASE_URL");
    file = fopen(path, "w");
    fclose(file);
    cr_assert_eq(sql_url(dir, &arena, &url, &error), STATUS_INVALID);
    unlink(path);
    rmdir(dir);
}
