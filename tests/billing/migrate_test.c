#include "billing/migrate.h"

#include "base/clock.h"
#include "tests/support/postgres.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include <pthread.h>
#include <string.h>

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
opened(char url[POSTGRES_URL_MAX])
{
    struct error error;
    struct sql *sql = NULL;
    if (!postgres_database(url))
        return NULL;
    cr_assert_eq(sql_open(url, SQL_TIMEOUT_MS, &sql, &error), STATUS_OK, "%s", error.text);
    return sql;
}

Test(migrate, applies_each_file_once)
{
    scoped(arena_done) struct arena arena = {0};
    char url[POSTGRES_URL_MAX];
    scoped(sql_done) struct sql *sql = opened(url);
    struct migrations_applied applied;
    struct error error;
    if (sql == NULL)
        return;
    cr_assert_geq(MIGRATIONS_COUNT, 1);
    cr_assert_str_eq(MIGRATIONS[0].name, "001_core.sql");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(
            migrate_apply(sql, MIGRATIONS, MIGRATIONS_COUNT, SECOND_NS, &arena, &applied, &error),
            STATUS_OK,
            "%s",
            error.text);
        cr_assert_eq(applied.count, i == 0 ? MIGRATIONS_COUNT : 0);
    }
    cr_assert_eq(
        sql_script(sql, "SELECT id FROM customers; SELECT id FROM invoices", &error), STATUS_OK);
}

Test(migrate, refuses_a_changed_file_and_a_newer_database)
{
    static const struct migration first[] = {
        {1, "001_a.sql", "CREATE TABLE a (i int)"}
    };
    static const struct migration changed[] = {
        {1, "001_a.sql", "CREATE TABLE a (j int)"}
    };
    static const struct migration second[] = {
        {1, "001_a.sql", "CREATE TABLE a (i int)"                          },
        {2, "002_b.sql", "CREATE TABLE b (i int); INSERT INTO b VALUES (1)"}
    };
    scoped(arena_done) struct arena arena = {0};
    char url[POSTGRES_URL_MAX];
    scoped(sql_done) struct sql *sql = opened(url);
    struct migrations_applied applied;
    struct error error;
    if (sql == NULL)
        return;
    cr_assert_eq(migrate_apply(sql, first, 1, SECOND_NS, &arena, &applied, &error), STATUS_OK);
    cr_assert_eq(
        migrate_apply(sql, changed, 1, SECOND_NS, &arena, &applied, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "001_a.sql was changed"), "%s", error.text);
    cr_assert_eq(migrate_apply(sql, second, 2, SECOND_NS, &arena, &applied, &error), STATUS_OK);
    cr_assert_eq(applied.count, 1);
    cr_assert_str_eq(applied.names[0], "002_b.sql");
    cr_assert_eq(migrate_apply(sql, first, 1, SECOND_NS, &arena, &applied, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "newer program"), "%s", error.text);
}

Test(migrate, leaves_nothing_of_a_file_that_fails)
{
    static const struct migration broken[] = {
        {1, "001_a.sql", "CREATE TABLE a (i int)"                       },
        {2, "002_b.sql", "CREATE TABLE b (i int); SELECT * FROM nowhere"}
    };
    scoped(arena_done) struct arena arena = {0};
    char url[POSTGRES_URL_MAX];
    scoped(sql_done) struct sql *sql = opened(url);
    struct migrations_applied applied;
    struct error error;
    if (sql == NULL)
        return;
    cr_assert_neq(migrate_apply(sql, broken, 2, SECOND_NS, &arena, &applied, &error), STATUS_OK);
    cr_assert_not_null(strstr(error.text, "002_b.sql"), "%s", error.text);
    cr_assert_eq(applied.count, 1);
    cr_assert_eq(sql_script(sql, "SELECT * FROM a", &error), STATUS_OK);
    cr_assert_eq(sql_script(sql, "SELECT * FROM b", &error), STATUS_NOT_FOUND);
}

static void *
migrator_run(void *context)
{
    const char *url = context;
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = NULL;
    struct migrations_applied applied;
    struct error error;
    cr_assert_eq(sql_open(url, SQL_TIMEOUT_MS, &sql, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(
        migrate_apply(sql, MIGRATIONS, MIGRATIONS_COUNT, SECOND_NS, &arena, &applied, &error),
        STATUS_OK,
        "%s",
        error.text);
    return applied.count > 0 ? context : NULL;
}

Test(migrate, lets_one_of_several_migrators_do_it)
{
    enum { MIGRATORS = 4 };
    char url[POSTGRES_URL_MAX];
    scoped(sql_done) struct sql *sql = opened(url);
    pthread_t threads[MIGRATORS];
    int did_it = 0;
    if (sql == NULL)
        return;
    for (int i = 0; i < MIGRATORS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, migrator_run, url), 0);
    for (int i = 0; i < MIGRATORS; i++) {
        void *result = NULL;
        cr_assert_eq(pthread_join(threads[i], &result), 0);
        did_it += result != NULL;
    }
    cr_assert_geq(did_it, 1);
    if (MIGRATIONS_COUNT == 1)
        cr_assert_eq(did_it, 1);
}
