#include "api/customer_book.h"

#include "base/clock.h"
#include "billing/migrate.h"
#include "tests/support/postgres.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

// A migrated database, which DATABASE_URL names. NULL: there is no PostgreSQL here.
static struct sql *
opened(void)
{
    char url[POSTGRES_URL_MAX];
    scoped(arena_done) struct arena arena = {0};
    struct migrations_applied applied;
    struct error error;
    struct sql *sql = NULL;
    if (!postgres_database(url))
        return NULL;
    cr_assert_eq(setenv("DATABASE_URL", url, 1), 0);
    cr_assert_eq(sql_open(url, 10000, &sql, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(
        migrate_apply(sql, MIGRATIONS, MIGRATIONS_COUNT, 1, &arena, &applied, &error),
        STATUS_OK,
        "%s",
        error.text);
    return sql;
}

static void
run(struct sql *sql, const char *text)
{
    struct error error;
    cr_assert_eq(sql_script(sql, text, &error), STATUS_OK, "%s", error.text);
}

static void
subject_add(struct sql *sql, const char *customer, const char *subject)
{
    char text[512];
    (void)snprintf(
        text,
        sizeof text,
        "INSERT INTO customers (id, email, created_at, updated_at)"
        " VALUES ('%s', '%s@x', now(), now()) ON CONFLICT DO NOTHING;"
        "INSERT INTO customer_subjects VALUES ('%s', '%s', now());",
        customer,
        customer,
        subject,
        customer);
    run(sql, text);
}

// "a b": the subjects, or "(away)".
static const char *
subjects_of(struct customer_book *book, const char *id, struct arena *arena)
{
    struct bytes *subjects = NULL;
    uint32_t count = 0;
    struct error error;
    const char *text = "";
    if (customer_book_find(book, id, arena, &subjects, &count, &error))
        return "(away)";
    for (uint32_t i = 0; i < count; i++)
        text = arena_format(
            arena, "%s%s%s", text, i > 0 ? " " : "", arena_text_of(arena, subjects[i]));
    return text;
}

Test(customer_book, knows_customers_and_takes_other_ids_for_subjects)
{
    scoped(sql_done) struct sql *sql = opened();
    scoped(arena_done) struct arena arena = {0};
    struct database *database = NULL;
    struct customer_book *book = NULL;
    struct error error;
    if (sql == NULL)
        return;
    subject_add(sql, "b", "b-2");
    subject_add(sql, "b", "b-1");
    subject_add(sql, "a", "a");
    cr_assert_eq(database_open("/nowhere", 2, &database, &error), STATUS_OK);
    cr_assert_eq(customer_book_open(database, &book, &error), STATUS_OK);
    cr_assert_str_eq(subjects_of(book, "b", &arena), "b-1 b-2");
    cr_assert_str_eq(subjects_of(book, "a", &arena), "a");
    cr_assert_str_eq(subjects_of(book, "b-1", &arena), "b-1");
    cr_assert_str_eq(subjects_of(book, "nobody, \"{}\" \\", &arena), "nobody, \"{}\" \\");
    // Known: a change is seen when it is forgotten, at once.
    subject_add(sql, "b", "b-3");
    cr_assert_str_eq(subjects_of(book, "b", &arena), "b-1 b-2");
    customer_book_forget(book, "b");
    customer_book_forget(book, "never asked for");
    cr_assert_str_eq(subjects_of(book, "b", &arena), "b-1 b-2 b-3");
    // And in any case soon.
    subject_add(sql, "nobody, \"{}\" \\", "c");
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    struct timespec moment = {.tv_nsec = 10000000};
    while (strcmp(subjects_of(book, "nobody, \"{}\" \\", &arena), "c") != 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
    customer_book_close(book);
    database_close(database);
}

// Closes every connection but this one, and lets no new one be made.
static void
database_hide(struct sql *sql)
{
    cr_assert_eq(setenv("DATABASE_URL", "postgresql:///none?host=/nowhere", 1), 0);
    run(sql,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()");
}

Test(customer_book, many_that_were_prepared_are_known)
{
    scoped(sql_done) struct sql *sql = opened();
    scoped(arena_done) struct arena arena = {0};
    struct database *database = NULL;
    struct customer_book *book = NULL;
    struct error error;
    const char *ids[CUSTOMER_BOOK_LOOK_MAX];
    if (sql == NULL)
        return;
    subject_add(sql, "id-7", "b-1");
    subject_add(sql, "id-7", "b-2");
    cr_assert_eq(database_open("/nowhere", 1, &database, &error), STATUS_OK);
    cr_assert_eq(customer_book_open(database, &book, &error), STATUS_OK);
    // Each twice, and one that is known already.
    cr_assert_str_eq(subjects_of(book, "id-3", &arena), "id-3");
    for (int i = 0; i < CUSTOMER_BOOK_LOOK_MAX; i++)
        ids[i] = arena_format(&arena, "id-%d", i / 2);
    customer_book_prepare(book, ids, CUSTOMER_BOOK_LOOK_MAX);
    database_hide(sql);
    for (int i = 0; i < CUSTOMER_BOOK_LOOK_MAX; i++)
        cr_assert_str_eq(subjects_of(book, ids[i], &arena), i / 2 == 7 ? "b-1 b-2" : ids[i]);
    // Without the database nothing more is learned, and what is known stays.
    ids[0] = "other";
    customer_book_prepare(book, ids, 2);
    cr_assert_str_eq(subjects_of(book, "other", &arena), "(away)");
    cr_assert_str_eq(subjects_of(book, "id-7", &arena), "b-1 b-2");
    customer_book_close(book);
    database_close(database);
}

Test(customer_book, serves_what_it_knows_while_the_database_is_away)
{
    scoped(sql_done) struct sql *sql = opened();
    scoped(arena_done) struct arena arena = {0};
    struct database *database = NULL;
    struct customer_book *book = NULL;
    struct error error;
    if (sql == NULL)
        return;
    subject_add(sql, "b", "b-1");
    cr_assert_eq(database_open("/nowhere", 1, &database, &error), STATUS_OK);
    cr_assert_eq(customer_book_open(database, &book, &error), STATUS_OK);
    cr_assert_str_eq(subjects_of(book, "b", &arena), "b-1");
    cr_assert_str_eq(subjects_of(book, "c", &arena), "c");
    database_hide(sql);
    // The first one finds the broken connection.
    cr_assert_str_eq(subjects_of(book, "d", &arena), "(away)");
    cr_assert_str_eq(subjects_of(book, "d", &arena), "(away)");
    cr_assert_str_eq(subjects_of(book, "b", &arena), "b-1");
    customer_book_forget(book, "c");
    cr_assert_str_eq(subjects_of(book, "c", &arena), "(away)");
    customer_book_close(book);
    database_close(database);
}
