// Charges that are paid in advance, by whole runs: what rounding leaves goes from invoice to
// invoice, is carried once, and nothing of it is lost.

#include "billing/explain.h"
#include "billing/run.h"
#include "tests/billing/fixture.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

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

#define CATALOG(flag)                                                                              \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"t\",\"event_type\":\"t\",\"aggregation\":"       \
    "\"sum\"}],\"plans\":[{\"key\":\"api\",\"name\":\"Api\",\"charges\":[{\"key\":\"t\","          \
    "\"name\":\"T\",\"meter\":\"t\",\"model\":\"standard\",\"params\":{\"amount\":\"0.003\"}" flag \
    "}]}]}"
#define ADVANCE ",\"pay_in_advance\":true"

// 0.3 of a cent each: 0.9, 1.2, none and 0.3 cents in four months.
static const struct fixture_usage USAGE[] = {
    {"acme", "t", "2023-09-03T00:00:00Z", "1"},
    {"acme", "t", "2023-09-03T00:00:00Z", "1"},
    {"acme", "t", "2023-09-04T00:00:00Z", "1"},
    {"acme", "t", "2023-10-01T00:00:00Z", "3"},
    {"acme", "t", "2023-10-05T00:00:00Z", "1"},
    {"acme", "t", "2023-12-05T00:00:00Z", "1"},
 // Before the subscription.
    {"acme", "t", "2023-08-31T23:59:59Z", "5"},
};

static void
acme_make(struct fixture *f)
{
    fixture_catalog(f, CATALOG(ADVANCE));
    fixture_customer(f, "acme");
    fixture_subscribe(f, "acme", "api", "2023-09-01");
}

static int64_t
month_run(struct fixture *f, const char *month)
{
    struct run_settings settings = fixture_settings(f, "2024-01-02T00:00:00Z");
    settings.period = month;
    struct run_report report = fixture_run(f, &settings);
    cr_assert_eq(report.refusals_count, 0);
    return (int64_t)report.made_count;
}

// month:exact amount:minor:sequence:carried:remainder of each line, by time; every invoice explains
// itself.
static const char *
chain_text(struct fixture *f)
{
    struct error error = {0};
    struct sql_rows rows;
    struct sql_query ids = {
        "SELECT id FROM invoices WHERE lines_count > 0", SQL_NO_PARAMS, SQL_ANY_ROWS, 1};
    cr_assert_eq(sql_run(f->sql, &ids, &f->arena, &rows, &error), STATUS_OK, "%s", error.text);
    for (size_t i = 0; i < rows.count; i++) {
        struct invoice invoice;
        struct explanation told;
        enum status status =
            store_invoice_find(f->sql, sql_cell(&rows, i, 0), &f->arena, &invoice, &error);
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        status = explain(&invoice, &f->arena, &told, &error);
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
    }
    struct sql_query query = {
        "SELECT coalesce(string_agg(concat_ws(':', to_char(period_start AT TIME ZONE 'UTC', 'MM'),"
        " exact_amount, amount_minor, sequence, carried, remainder), ' ' ORDER BY period_start),"
        " '') FROM invoices i JOIN invoice_lines l ON l.invoice_id = i.id LEFT JOIN"
        " charge_remainders r ON r.invoice_id = i.id AND r.charge = l.charge",
        SQL_NO_PARAMS,
        SQL_ONE_ROW,
        1};
    cr_assert_eq(sql_run(f->sql, &query, &f->arena, &rows, &error), STATUS_OK, "%s", error.text);
    return sql_cell(&rows, 0, 0);
}

#define CHAIN "09:0.009:1:1:0:-0.1 10:0.012:1:2:-0.1:0.1 12:0.003:0:3:0.1:0.4"

Test(run_advance, carries_what_is_left_from_invoice_to_invoice)
{
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    acme_make(&f);
    fixture_usage(&f, USAGE, sizeof USAGE / sizeof USAGE[0]);
    struct run_settings settings = fixture_settings(&f, "2024-01-02T00:00:00Z");
    settings.is_dry = true;
    struct run_report dry = fixture_run(&f, &settings);
    cr_assert_eq(dry.made_count, 3);
    cr_assert_str_eq(dry.made[2].invoice->lines[0].remainder, "0.4");
    cr_assert_eq(fixture_count(&f, "charge_remainders"), 0);
    settings.is_dry = false;
    cr_assert_eq(fixture_run(&f, &settings).made_count, 3);
    cr_assert_str_eq(chain_text(&f), CHAIN);
    // A late event changes nothing that was billed, and is not in the next period.
    static const struct fixture_usage late[] = {
        {"acme", "t", "2023-10-07T00:00:00Z", "1000"},
    };
    fixture_usage(&f, late, 1);
    cr_assert_eq(fixture_run(&f, &settings).made_count, 0);
    cr_assert_str_eq(chain_text(&f), CHAIN);
    fixture_end(&f);
}

Test(run_advance, month_by_month_is_the_same)
{
    static const char *const months[] = {"2023-09", "2023-10", "2023-11", "2023-12"};
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    acme_make(&f);
    fixture_usage(&f, USAGE, sizeof USAGE / sizeof USAGE[0]);
    for (size_t i = 0; i < 8; i++)
        (void)month_run(&f, months[i / 2]);
    cr_assert_str_eq(chain_text(&f), CHAIN);
    fixture_end(&f);
}

// The chain follows the order in which invoices are made: what was left is carried once.
Test(run_advance, an_earlier_month_may_be_billed_later)
{
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    acme_make(&f);
    fixture_usage(&f, USAGE, sizeof USAGE / sizeof USAGE[0]);
    cr_assert_eq(month_run(&f, "2023-10"), 1);
    cr_assert_eq(month_run(&f, "2023-12"), 1);
    cr_assert_eq(month_run(&f, "2023-09"), 1);
    cr_assert_str_eq(
        chain_text(&f), "09:0.009:0:3:-0.5:0.4 10:0.012:1:1:0:0.2 12:0.003:1:2:0.2:-0.5");
    fixture_end(&f);
}

Test(run_advance, what_is_left_waits_while_the_charge_is_paid_in_arrears)
{
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    acme_make(&f);
    fixture_usage(&f, USAGE, sizeof USAGE / sizeof USAGE[0]);
    cr_assert_eq(month_run(&f, "2023-09"), 1);
    fixture_catalog(&f, CATALOG(""));
    cr_assert_eq(month_run(&f, "2023-10"), 1);
    fixture_catalog(&f, CATALOG(ADVANCE));
    cr_assert_eq(month_run(&f, "2023-12"), 1);
    cr_assert_str_eq(chain_text(&f), "09:0.009:1:1:0:-0.1 10:0.012:1 12:0.003:0:2:-0.1:0.2");
    fixture_end(&f);
}

Test(run_advance, a_subscription_that_ends_pays_for_events_up_to_its_end)
{
    struct fixture f;
    struct error error = {0};
    enum store_change change;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, CATALOG(ADVANCE));
    fixture_customer(&f, "acme");
    cr_assert_eq(
        fixture_subscribe_try(
            &f, "acme", "api", CYCLE_MONTHLY, "2023-09-04", "2023-10-05", &change, &error),
        STATUS_OK,
        "%s",
        error.text);
    fixture_usage(&f, USAGE, sizeof USAGE / sizeof USAGE[0]);
    struct run_settings settings = fixture_settings(&f, "2024-01-02T00:00:00Z");
    cr_assert_eq(fixture_run(&f, &settings).made_count, 1);
    cr_assert_str_eq(chain_text(&f), "09:0.012:1:1:0:0.2");
    fixture_end(&f);
}

// Two runs that see the same remainder: the second to insert is refused whole, and does it again.
Test(run_advance, what_is_left_is_carried_once)
{
    static const char *const broken[] = {
        "SELECT subscription_id, charge, sequence, id, carried, remainder",
        "SELECT subscription_id, charge, sequence + 1, id, carried, remainder",
        "SELECT subscription_id, charge, sequence + 2, id, remainder, 0",
        "SELECT subscription_id, charge, sequence + 1, id, remainder, 0.5",
        "SELECT subscription_id, charge, 1, id, 0, 0",
    };
    struct fixture f;
    struct error error = {0};
    bool made = false;
    if (!fixture_begin(&f))
        return;
    acme_make(&f);
    fixture_usage(&f, USAGE, sizeof USAGE / sizeof USAGE[0]);
    cr_assert_eq(month_run(&f, "2023-09"), 1);
    struct run_settings settings = fixture_settings(&f, "2024-01-02T00:00:00Z");
    settings.is_dry = true;
    settings.period = "2023-12";
    struct run_report stale = fixture_run(&f, &settings);
    cr_assert_eq(stale.made_count, 1);
    cr_assert_eq(month_run(&f, "2023-10"), 1);
    cr_assert_eq(
        store_invoices_insert(f.sql, stale.made[0].invoice, 1, &made, &error), STATUS_BUSY);
    cr_assert_eq(fixture_count(&f, "invoices"), 2);
    // Nor does anybody else get past the tables.
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *insert = arena_format(
            &f.arena,
            "INSERT INTO charge_remainders (subscription_id, charge, sequence, invoice_id, carried,"
            " remainder) %s FROM charge_remainders JOIN (SELECT max(id) AS id FROM invoices) i ON"
            " true ORDER BY sequence DESC LIMIT 1",
            broken[i]);
        cr_assert_neq(sql_script(f.sql, insert, &error), STATUS_OK, "%zu", i);
        cr_assert_neq(strcmp(sql_constraint(f.sql), ""), 0, "%zu: %s", i, error.text);
    }
    cr_assert_neq(sql_script(f.sql, "DELETE FROM charge_remainders", &error), STATUS_OK);
    cr_assert_neq(sql_script(f.sql, "TRUNCATE charge_remainders", &error), STATUS_OK);
    cr_assert_neq(
        sql_script(f.sql, "UPDATE charge_remainders SET remainder = 0", &error), STATUS_OK);
    cr_assert_eq(month_run(&f, "2023-12"), 1);
    cr_assert_str_eq(chain_text(&f), CHAIN);
    fixture_end(&f);
}
