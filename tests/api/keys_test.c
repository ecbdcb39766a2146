#include "api/keys.h"

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
key_make(struct sql *sql, unsigned scopes, int64_t expires_ns, char text[API_KEY_TEXT_SIZE + 1])
{
    struct api_key key;
    struct error error;
    cr_assert_eq(api_key_make(scopes, &key, text, &error), STATUS_OK);
    key.name = "somebody";
    key.expires_ns = expires_ns;
    cr_assert_eq(api_key_add(sql, &key, SECOND_NS, &error), STATUS_OK, "%s", error.text);
}

Test(keys, knows_good_expired_revoked_and_foreign_ones)
{
    scoped(sql_done) struct sql *sql = opened();
    struct database *database = NULL;
    struct keys *keys = NULL;
    struct keys_grant grant = {0};
    struct error error;
    char text[API_KEY_TEXT_SIZE + 1], later[API_KEY_TEXT_SIZE + 1], id[API_KEY_ID_SIZE + 1];
    if (sql == NULL)
        return;
    key_make(sql, API_SCOPE_READ | API_SCOPE_INGEST, 100 * SECOND_NS, text);
    cr_assert_eq(database_open("/nowhere", 2, &database, &error), STATUS_OK);
    cr_assert_eq(keys_start(database, &keys, &error), STATUS_OK);
    cr_assert_eq(keys_check(keys, text, 99 * SECOND_NS, &grant), KEYS_GOOD);
    cr_assert_eq(grant.scopes, API_SCOPE_READ | API_SCOPE_INGEST);
    cr_assert_eq(keys_check(keys, text, 100 * SECOND_NS, &grant), KEYS_EXPIRED);
    // One that is newer than the copy.
    key_make(sql, API_SCOPE_ADMIN, 0, later);
    cr_assert_eq(keys_check(keys, later, 1, &grant), KEYS_GOOD);
    // Any other text, of the right form or not.
    char wrong[API_KEY_TEXT_SIZE + 1];
    for (size_t i = 0; i < API_KEY_TEXT_SIZE; i++) {
        memcpy(wrong, text, sizeof wrong);
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        cr_assert_eq(keys_check(keys, wrong, 1, &grant), KEYS_UNKNOWN, "%zu", i);
    }
    cr_assert_eq(keys_check(keys, "", 1, &grant), KEYS_UNKNOWN);
    cr_assert_eq(keys_check(keys, "tally_", 1, &grant), KEYS_UNKNOWN);
    // Revoked: gone at the next reading, and again is fine.
    cr_assert(api_key_id(later, id));
    cr_assert_eq(api_key_revoke(sql, id, 2, &error), STATUS_OK);
    cr_assert_eq(api_key_revoke(sql, id, 3, &error), STATUS_OK);
    cr_assert_eq(api_key_revoke(sql, "000000000000", 3, &error), STATUS_NOT_FOUND);
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    struct timespec moment = {.tv_nsec = 10000000};
    while (keys_check(keys, later, 1, &grant) != KEYS_UNKNOWN) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
    keys_stop(keys);
    database_close(database);
    // What was used last is noted when the server stops, at the latest.
    scoped(arena_done) struct arena arena = {0};
    struct api_keys all;
    cr_assert_eq(api_keys_read(sql, true, &arena, &all, &error), STATUS_OK);
    cr_assert_eq(all.count, 2);
    cr_assert_gt(all.items[0].used_ns + all.items[1].used_ns, 0);
}

Test(keys, are_not_read_without_a_database_and_stay_when_it_goes)
{
    scoped(sql_done) struct sql *sql = opened();
    struct database *database = NULL;
    struct keys *keys = NULL;
    struct keys_grant grant = {0};
    struct error error;
    char text[API_KEY_TEXT_SIZE + 1], url[POSTGRES_URL_MAX];
    if (sql == NULL)
        return;
    key_make(sql, API_SCOPE_INGEST, 0, text);
    (void)snprintf(url, sizeof url, "%s", getenv("DATABASE_URL"));
    cr_assert_eq(setenv("DATABASE_URL", "postgresql:///none?host=/nowhere", 1), 0);
    cr_assert_eq(database_open("/nowhere", 1, &database, &error), STATUS_OK);
    cr_assert_eq(keys_start(database, &keys, &error), STATUS_OK);
    cr_assert_eq(keys_check(keys, text, 1, &grant), KEYS_NOT_READ);
    cr_assert_eq(setenv("DATABASE_URL", url, 1), 0);
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    struct timespec moment = {.tv_nsec = 10000000};
    while (keys_check(keys, text, 1, &grant) != KEYS_GOOD) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
    keys_stop(keys);
    database_close(database);
}

Test(keys, database_lends_no_more_than_it_has_and_drops_what_broke)
{
    scoped(sql_done) struct sql *sql = opened();
    struct database *database = NULL;
    struct database_loan first = {0}, second = {0};
    struct database_figures figures;
    struct error error;
    if (sql == NULL)
        return;
    cr_assert_eq(database_open("/nowhere", 1, &database, &error), STATUS_OK);
    cr_assert_eq(database_take(database, &first, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(database_take(database, &second, &error), STATUS_BUSY);
    struct sql *lent = first.sql;
    database_return(&first);
    cr_assert_eq(database_take(database, &first, &error), STATUS_OK);
    cr_assert_eq(first.sql, lent);
    first.status = STATUS_CLOSED;
    database_return(&first);
    database_figures(database, &figures);
    cr_assert_eq(figures.connections, 0);
    cr_assert_eq(figures.lent, 0);
    database_return(&second);
    database_close(database);
}

static const struct {
    const char *text;
    unsigned scopes;  // 0: refused
} SCOPES[] = {
    {"ingest",                    API_SCOPE_INGEST                 },
    {"read,ingest",               API_SCOPE_READ | API_SCOPE_INGEST},
    {"ingest,read,billing,admin", 15                               },
    {"read,read",                 API_SCOPE_READ                   },
    {"",                          0                                },
    {"read,",                     0                                },
    {",read",                     0                                },
    {"Read",                      0                                },
    {"read ",                     0                                },
    {"root",                      0                                },
};

Test(keys, scopes_are_read_and_refused)
{
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof SCOPES / sizeof SCOPES[0]; i++) {
        unsigned scopes = 0;
        struct error error;
        enum status status = api_scopes_parse(SCOPES[i].text, &scopes, &error);
        cr_assert_eq(status == STATUS_OK, SCOPES[i].scopes != 0, "%s", SCOPES[i].text);
        cr_assert_eq(scopes, SCOPES[i].scopes, "%s", SCOPES[i].text);
    }
    cr_assert_str_eq(api_scopes_print(API_SCOPE_ADMIN | API_SCOPE_INGEST, &arena), "ingest,admin");
}
