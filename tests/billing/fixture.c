#include "tests/billing/fixture.h"

#include "base/clock.h"
#include "base/pack.h"
#include "billing/migrate.h"
#include "ledger/backfill.h"
#include "ledger/ledger.h"

#include <criterion/criterion.h>

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const int64_t WAIT_MAX_NS = 60 * 1000000000LL;

static void
succeed(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

int64_t
fixture_time(const char *text)
{
    int64_t ns = 0;
    cr_assert_eq(clock_parse(bytes_text(text), &ns), STATUS_OK, "%s", text);
    return ns;
}

struct decimal
fixture_decimal(const char *text)
{
    struct decimal value;
    bool is_rounded = false;
    cr_assert_eq(decimal_parse(bytes_text(text), &value, &is_rounded), STATUS_OK, "%s", text);
    return value;
}

static bool
database_begin(struct fixture *fixture)
{
    struct error error = {0};
    struct migrations_applied applied;
    if (!postgres_database(fixture->url))
        return false;
    succeed(sql_open(fixture->url, SQL_TIMEOUT_MS, &fixture->sql, &error), &error);
    succeed(
        migrate_apply(
            fixture->sql,
            MIGRATIONS,
            MIGRATIONS_COUNT,
            fixture_time(FIXTURE_NOW),
            &fixture->arena,
            &applied,
            &error),
        &error);
    return true;
}

bool
fixture_begin(struct fixture *fixture)
{
    struct error error = {0};
    *fixture = (struct fixture){.dir = "/tmp/tally-billing-XXXXXX"};
    if (!database_begin(fixture))
        return false;
    cr_assert_not_null(mkdtemp(fixture->dir));
    const struct ledger_create_options options = {.shards = 2, .map_size = 256 << 20};
    succeed(ledger_create(fixture->dir, &options, &error), &error);
    return true;
}

bool
fixture_begin_beside(struct fixture *fixture, const struct fixture *first)
{
    *fixture = (struct fixture){0};
    memcpy(fixture->dir, first->dir, sizeof fixture->dir);
    return database_begin(fixture);
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat, (void)kind, (void)place;
    return remove(path);
}

void
fixture_end_beside(struct fixture *fixture)
{
    sql_close(fixture->sql);
    arena_done(&fixture->arena);
}

void
fixture_end(struct fixture *fixture)
{
    fixture_end_beside(fixture);
    cr_assert_eq(nftw(fixture->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

enum status
fixture_catalog_try(
    struct fixture *fixture,
    const char *text,
    bool is_dry,
    struct catalog_changes *out,
    struct error *error)
{
    struct registry *registry = NULL;
    struct catalog catalog;
    const struct catalog_apply_options options = {fixture_time(FIXTURE_NOW), is_dry};
    enum status status = catalog_read(bytes_text(text), "c.json", &fixture->arena, &catalog, error);
    if (status)
        return status;
    succeed(registry_open(fixture->dir, &registry, error), error);
    const struct catalog_target target = {fixture->sql, registry};
    status = catalog_apply(&target, &catalog, &options, &fixture->arena, out, error);
    registry_close(registry);
    return status;
}

void
fixture_catalog(struct fixture *fixture, const char *text)
{
    struct error error = {0};
    struct catalog_changes changes;
    succeed(fixture_catalog_try(fixture, text, false, &changes, &error), &error);
}

void
fixture_subject(struct fixture *fixture, const char *customer, const char *subject)
{
    struct error error = {0};
    enum store_change change;
    const struct customer row = {
        .id = customer, .subjects = &subject, .subjects_count = subject != NULL ? 1 : 0};
    succeed(
        store_customer_add(fixture->sql, &row, fixture_time(FIXTURE_NOW), &change, &error), &error);
}

void
fixture_customer(struct fixture *fixture, const char *id)
{
    fixture_subject(fixture, id, NULL);
}

enum status
fixture_subscribe_try(
    struct fixture *fixture,
    const char *customer,
    const char *plan,
    enum billing_cycle cycle,
    const char *from,
    const char *until,
    enum store_change *out,
    struct error *error)
{
    const struct subscribe_request request = {
        customer,
        plan,
        cycle,
        {fixture_time(from), until != NULL ? fixture_time(until) : PERIOD_NO_END}
    };
    return subscribe(fixture->sql, &request, fixture_time(FIXTURE_NOW), out, error);
}

void
fixture_subscribe(struct fixture *fixture, const char *customer, const char *plan, const char *from)
{
    struct error error = {0};
    enum store_change change;
    succeed(
        fixture_subscribe_try(fixture, customer, plan, CYCLE_MONTHLY, from, NULL, &change, &error),
        &error);
}

static int64_t
ledger_now_ns(void)
{
    return fixture_time(FIXTURE_NOW);
}

static void
fates_check(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    (void)context, (void)receipts;
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(fates[i], FATE_STORED, "%s", fate_name(fates[i]));
}

static void
collect(struct ledger *ledger, struct intake *intake)
{
    intake_offer(intake);
    if (intake_prepare_sleep(intake)) {
        struct pollfd poll_fd = {.fd = intake_fd(intake), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
    }
    intake_collect(intake);
    cr_assert_eq(ledger_failure(ledger, &(const char *){NULL}), STATUS_OK);
}

// Usage of any age comes in a backfill; it stays open from one call to the next.
static void
open_backfill(struct ledger *ledger)
{
    struct error error = {0};
    uint64_t count;
    const struct backfill open = {
        .act = BACKFILL_OPEN, .id = bytes_text("fixture"), .who = bytes_text("fixture")};
    enum status status = ledger_backfill(ledger, &open, &count, &error);
    cr_assert(status == STATUS_OK || status == STATUS_EXISTS, "%s", error.text);
}

void
fixture_usage(struct fixture *fixture, const struct fixture_usage *rows, size_t count)
{
    fixture_usage_regions(fixture, rows, NULL, count);
}

void
fixture_usage_regions(
    struct fixture *fixture,
    const struct fixture_usage *rows,
    const char *const *regions,
    size_t count)
{
    struct error error = {0};
    struct ledger *ledger = NULL;
    struct intake *intake = NULL;
    const struct ledger_options options = {.now_ns = ledger_now_ns};
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    succeed(ledger_open(fixture->dir, &options, &ledger, &error), &error);
    open_backfill(ledger);
    succeed(intake_open(ledger, fates_check, NULL, &intake, &error), &error);
    for (size_t i = 0; i < count; i++) {
        char id[32];
        snprintf(id, sizeof id, "e%" PRIu64, fixture->serial++);
        struct event event = {
            .subject = bytes_text(rows[i].subject),
            .type = bytes_text(rows[i].type),
            .id = bytes_text(id),
            .time_ns = fixture_time(rows[i].time),
            .value = fixture_decimal(rows[i].value),
            .batch = bytes_text("fixture"),
        };
        scoped(buffer_done) struct buffer properties = {0};
        if (regions != NULL && regions[i] != NULL) {
            pack_text(&properties, "region");
            pack_text(&properties, regions[i]);
            event.properties_count = 1;
            event.properties_runs = 1;
            event.properties[0] = buffer_view(&properties);
        }
        while (!intake_put(intake, &event, (struct receipt){0})) {
            cr_assert(clock_monotonic_ns() < deadline_ns);
            collect(ledger, intake);
        }
    }
    while (intake_pending(intake) > 0) {
        cr_assert(clock_monotonic_ns() < deadline_ns);
        collect(ledger, intake);
    }
    intake_close(intake);
    succeed(ledger_close(ledger, &error), &error);
}

struct run_settings
fixture_settings(const struct fixture *fixture, const char *as_of)
{
    return (struct run_settings){
        .url = fixture->url,
        .data_dir = fixture->dir,
        .now_ns = fixture_time(FIXTURE_NOW),
        .as_of_ns = fixture_time(as_of),
        .grace_ns = HOUR_NS,
        .workers = 1,
        .chunk_size = 3,
    };
}

struct run_report
fixture_run(struct fixture *fixture, const struct run_settings *settings)
{
    struct error error = {0};
    struct run_report report;
    succeed(billing_run(settings, &fixture->arena, &report, &error), &error);
    return report;
}

const char *
fixture_rows(struct fixture *fixture)
{
    struct error error = {0};
    struct sql_rows rows;
    struct sql_query query = {
        "SELECT coalesce(string_agg(row, E'\\n' ORDER BY part, row), '') FROM ("
        " SELECT 1, i::text FROM invoices i UNION ALL SELECT 2, l::text FROM invoice_lines l"
        " UNION ALL SELECT 3, r::text FROM billing_runs r UNION ALL SELECT 4, n::text FROM "
        "invoice_numbers n UNION ALL SELECT 5, c::text FROM charge_remainders c"
        ") AS all_rows (part, row)",
        SQL_NO_PARAMS,
        SQL_ONE_ROW,
        1};
    succeed(sql_run(fixture->sql, &query, &fixture->arena, &rows, &error), &error);
    return sql_cell(&rows, 0, 0);
}

int64_t
fixture_count(struct fixture *fixture, const char *table)
{
    struct error error = {0};
    struct sql_rows rows;
    struct sql_query query = {
        arena_format(&fixture->arena, "SELECT count(*) FROM %s", table),
        SQL_NO_PARAMS,
        SQL_ONE_ROW,
        1};
    succeed(sql_run(fixture->sql, &query, &fixture->arena, &rows, &error), &error);
    return sql_int64(&rows, 0, 0);
}
