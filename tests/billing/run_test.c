// Runs, end to end from usage in a ledger to invoices in a database.

#include "billing/run.h"

#include "billing/explain.h"
#include "tests/billing/fixture.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include <pthread.h>
#include <stdio.h>
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

#define TOKENS                                                                                     \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"ctx\",\"event_type\":\"ctx\",\"aggregation\":"   \
    "\"sum\"},"                                                                                    \
    "{\"key\":\"gen\",\"event_type\":\"gen\",\"aggregation\":\"sum\"}],\"plans\":["                \
    "{\"key\":\"llm\",\"name\":\"LLM\",\"charges\":["                                              \
    "{\"key\":\"ctx\",\"name\":\"Context "                                                         \
    "tokens\",\"meter\":\"ctx\",\"model\":\"standard\",\"params\":{\"amount\":\"0.0000025\"}},"    \
    "{\"key\":\"gen\",\"name\":\"Generated "                                                       \
    "tokens\",\"meter\":\"gen\",\"model\":\"standard\",\"params\":{\"amount\":\"0.00001\"}}]},"    \
    "{\"key\":\"pro\",\"name\":\"Pro\",\"prices\":{\"monthly\":\"20\",\"annual\":\"200\"},"        \
    "\"charges\":["                                                                                \
    "{\"key\":\"ctx\",\"name\":\"Context "                                                         \
    "tokens\",\"meter\":\"ctx\",\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"free_"      \
    "units\":\"10\"}]}]}"

static const struct invoice *
invoice_of(struct fixture *f, const struct run_report *report, size_t i)
{
    struct error error = {0};
    struct invoice *invoice = arena_new(&f->arena, struct invoice);
    cr_assert_lt(i, report->made_count);
    cr_assert_eq(
        store_invoice_find(f->sql, report->made[i].id, &f->arena, invoice, &error),
        STATUS_OK,
        "%s",
        error.text);
    struct explanation explanation;
    cr_assert_eq(explain(invoice, &f->arena, &explanation, &error), STATUS_OK, "%s", error.text);
    return invoice;
}

Test(run, bills_the_azure_traces_once)
{
    static const struct fixture_usage usage[] = {
        {"azure-conv", "ctx", "2023-11-16T18:17:03Z",           "22361869"},
        {"azure-conv", "ctx", "2023-11-30T23:59:59.999999999Z", "1"       },
        {"azure-conv", "gen", "2023-11-01T00:00:00Z",           "4088665" },
        {"azure-code", "ctx", "2023-11-16T18:17:03Z",           "18059974"},
        {"azure-code", "gen", "2023-11-16T18:17:03Z",           "245896"  },
 // Outside of the period on both sides.
        {"azure-conv", "gen", "2023-10-31T23:59:59.999999999Z", "1000000" },
        {"azure-conv", "gen", "2023-12-01T00:00:00Z",           "1000000" }
    };
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_customer(&f, "azure-conv");
    fixture_customer(&f, "azure-code");
    fixture_subscribe(&f, "azure-conv", "llm", "2023-11-01");
    fixture_subscribe(&f, "azure-code", "llm", "2023-11-01");
    fixture_usage(&f, usage, sizeof usage / sizeof usage[0]);
    struct run_settings settings = fixture_settings(&f, "2023-12-01T00:59:59Z");
    settings.period = "2023-11";
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 0);
    cr_assert_eq(report.waiting_count, 2);
    settings.as_of_ns = fixture_time("2023-12-01T01:00:00Z");
    report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 2);
    cr_assert_eq(report.numbered_count, 2);
    cr_assert_eq(report.totals[0].total_minor, 9679 + 4761);
    const struct invoice *code = invoice_of(&f, &report, 0), *conv = invoice_of(&f, &report, 1);
    cr_assert_str_eq(code->customer, "azure-code");
    cr_assert_str_eq(code->number, "INV-000001");
    cr_assert_eq(code->total_minor, 4761);
    cr_assert_str_eq(conv->number, "INV-000002");
    cr_assert_str_eq(conv->status, "finalized");
    cr_assert_eq(conv->total_minor, 9679);
    cr_assert_eq(conv->lines_count, 2);
    cr_assert_str_eq(conv->lines[0].quantity, "22361870");
    cr_assert_str_eq(conv->lines[0].exact_amount, "55.904675");
    cr_assert_eq(conv->lines[0].amount_minor, 5590);
    cr_assert_eq(conv->lines[1].amount_minor, 4089);
    // Again: nothing.
    const char *before = fixture_rows(&f);
    report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 0);
    cr_assert_eq(report.existing_count, 2);
    cr_assert_eq(report.numbered_count, 0);
    cr_assert_str_eq(fixture_rows(&f), before);
    fixture_end(&f);
}

Test(run, bills_every_period_that_is_over)
{
    static const struct fixture_usage usage[] = {
        {"m31",    "ctx", "2023-10-31T00:00:00Z", "15" },
        {"m31",    "ctx", "2023-11-29T23:59:59Z", "5"  },
        {"m31",    "ctx", "2023-11-30T00:00:00Z", "11" },
        {"year",   "ctx", "2023-11-05T00:00:00Z", "12" },
        {"year-b", "ctx", "2023-11-06T00:00:00Z", "1"  },
        {"idle",   "ctx", "2023-09-30T00:00:00Z", "100"}
    };
    struct fixture f;
    struct error error = {0};
    enum store_change change;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_customer(&f, "m31");
    fixture_customer(&f, "idle");
    fixture_subject(&f, "year", "year");
    fixture_subject(&f, "year", "year-b");
    fixture_subscribe(&f, "m31", "pro", "2023-10-31");
    fixture_subscribe(&f, "idle", "llm", "2023-10-01");
    cr_assert_eq(
        fixture_subscribe_try(&f, "year", "pro", CYCLE_ANNUAL, "2022-12-01", NULL, &change, &error),
        STATUS_OK);
    fixture_usage(&f, usage, sizeof usage / sizeof usage[0]);
    struct run_settings settings = fixture_settings(&f, "2023-12-31T01:00:00Z");
    struct run_report report = fixture_run(&f, &settings);
    // m31: 31 October and 30 November; year: the year's fee, and November's usage.
    cr_assert_eq(report.made_count, 4);
    static const struct {
        const char *customer, *from, *to;
        enum invoice_kind kind;
        size_t lines;
        int64_t total_minor;
    } expected[] = {
        {"m31",  "2023-10-31", "2023-11-30", INVOICE_SUBSCRIPTION, 2, 2000 + 1000},
        {"year", "2022-12-01", "2023-12-01", INVOICE_SUBSCRIPTION, 1, 20000      },
        {"year", "2023-11-01", "2023-12-01", INVOICE_USAGE,        1, 300        },
        {"m31",  "2023-11-30", "2023-12-31", INVOICE_SUBSCRIPTION, 2, 2000 + 100 },
    };
    for (size_t i = 0; i < 4; i++) {
        const struct invoice *invoice = invoice_of(&f, &report, i);
        cr_assert_str_eq(invoice->customer, expected[i].customer, "%zu", i);
        cr_assert_eq(invoice->from_ns, fixture_time(expected[i].from), "%zu", i);
        cr_assert_eq(invoice->to_ns, fixture_time(expected[i].to), "%zu", i);
        cr_assert_eq(invoice->kind, expected[i].kind, "%zu", i);
        cr_assert_eq(invoice->lines_count, expected[i].lines, "%zu", i);
        cr_assert_eq(
            invoice->total_minor, expected[i].total_minor, "%zu: %ld", i, invoice->total_minor);
    }
    // idle: October, November; year: eleven months without usage. Kept without a number, and not
    // asked again.
    cr_assert_eq(report.empty_count, 2 + 11);
    cr_assert_eq(
        fixture_count(
            &f, "invoices WHERE lines_count = 0 AND number IS NULL AND status = 'finalized'"),
        13);
    report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count + (size_t)report.empty_count, 0);
    cr_assert_eq(report.existing_count, 17);
    fixture_end(&f);
}

Test(run, ends_with_the_usage_nobody_pays)
{
    static const struct fixture_usage usage[] = {
        {"acme",       "ctx", "2023-11-05T00:00:00Z", "7"  },
        {"acme",       "ctx", "2023-11-15T00:00:00Z", "20" },
        {"acme",       "ctx", "2023-11-25T00:00:00Z", "3"  },
        {"acme",       "gen", "2023-11-15T00:00:00Z", "9"  },
        {"ghost",      "ctx", "2023-11-15T00:00:00Z", "1.5"},
        {"free-rider", "ctx", "2023-11-15T00:00:00Z", "4"  }
    };
    static const struct {
        const char *subject, *customer, *meter, *quantity, *from, *to;
    } expected[] = {
        {"acme",       "acme",  "ctx", "7",   "2023-11-01", "2023-11-10"},
        {"acme",       "acme",  "ctx", "3",   "2023-11-20", "2023-12-01"},
        {"free-rider", "rider", "ctx", "4",   "2023-11-01", "2023-12-01"},
        {"ghost",      NULL,    "ctx", "1.5", "2023-11-01", "2023-12-01"},
        {"acme",       "acme",  "gen", "9",   "2023-11-01", "2023-12-01"}
    };
    struct fixture f;
    struct error error = {0};
    enum store_change change;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_customer(&f, "acme");
    fixture_subject(&f, "rider", "free-rider");
    cr_assert_eq(
        fixture_subscribe_try(
            &f, "acme", "pro", CYCLE_MONTHLY, "2023-11-10", "2023-11-20", &change, &error),
        STATUS_OK);
    fixture_usage(&f, usage, sizeof usage / sizeof usage[0]);
    struct run_settings settings = fixture_settings(&f, "2023-12-02");
    settings.period = "2023-11";
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 1);
    // A third of a month, and ten of the twenty units.
    cr_assert_eq(report.totals[0].total_minor, 667 + 1000);
    cr_assert_eq(report.unsubscribed_count, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct unsubscribed *row = &report.unsubscribed[i];
        cr_assert_str_eq(row->subject, expected[i].subject, "%zu", i);
        cr_assert(
            expected[i].customer == NULL ? row->customer == NULL
                                         : strcmp(row->customer, expected[i].customer) == 0);
        cr_assert_str_eq(row->meter, expected[i].meter, "%zu", i);
        cr_assert_eq(row->quantity.units, fixture_decimal(expected[i].quantity).units, "%zu", i);
        cr_assert_eq(row->from_ns, fixture_time(expected[i].from), "%zu", i);
        cr_assert_eq(row->to_ns, fixture_time(expected[i].to), "%zu", i);
    }
    settings.customer = "acme";
    report = fixture_run(&f, &settings);
    cr_assert_eq(report.unsubscribed_count, 3);
    // Without a month: from the first subscription on.
    settings.customer = settings.period = NULL;
    report = fixture_run(&f, &settings);
    cr_assert_eq(report.unsubscribed_count, 4);
    fixture_end(&f);
}

Test(run, dry_writes_nothing_and_may_look_at_a_period_that_runs)
{
    static const struct fixture_usage usage[] = {
        {"acme", "ctx", "2023-11-05T00:00:00Z", "15"}
    };
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_customer(&f, "acme");
    fixture_subscribe(&f, "acme", "pro", "2023-11-01");
    fixture_usage(&f, usage, 1);
    struct run_settings settings = fixture_settings(&f, "2023-11-10");
    const char *before = fixture_rows(&f);
    settings.is_dry = true;
    cr_assert_eq(fixture_run(&f, &settings).made_count, 0);
    settings.period = "2023-11";
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 1);
    cr_assert_eq(report.made[0].invoice->total_minor, 2500);
    cr_assert_eq(report.made[0].invoice->lines_count, 2);
    settings.is_dry = false;
    cr_assert_eq(fixture_run(&f, &settings).made_count, 0);
    settings.is_dry = true;
    settings.as_of_ns = fixture_time("2024-01-02");
    settings.period = NULL;
    cr_assert_eq(fixture_run(&f, &settings).made_count, 2);
    cr_assert_eq(fixture_count(&f, "invoices"), 0);
    cr_assert_str_neq(fixture_rows(&f), before);  // the run that was not dry left its row
    fixture_end(&f);
}

Test(run, refuses_one_customers_overflow_and_bills_the_others)
{
    static const struct fixture_usage usage[] = {
        {"big",   "ctx", "2023-11-05T00:00:00Z", "9000000000000000000"},
        {"small", "ctx", "2023-11-05T00:00:00Z", "15"                 }
    };
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_customer(&f, "big");
    fixture_customer(&f, "small");
    fixture_subscribe(&f, "big", "pro", "2023-11-01");
    fixture_subscribe(&f, "small", "pro", "2023-11-01");
    fixture_usage(&f, usage, 2);
    struct run_settings settings = fixture_settings(&f, "2023-12-02");
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 1);
    cr_assert_eq(report.totals[0].total_minor, 2500);
    cr_assert_eq(report.refusals_count, 1);
    cr_assert_str_eq(report.refusals[0].customer, "big");
    fixture_end(&f);
}

// Beyond what is asked one by one, all totals of a meter are read at once: the one that does not
// add up is still one customer's trouble, and the report says that its list is short of a meter.
Test(run, refuses_one_customers_overflow_among_many)
{
    enum { MANY = 80, HUGE = 20 };
    struct fixture_usage usage[MANY + HUGE];
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    for (int i = 0; i < MANY; i++) {
        const char *id = arena_format(&f.arena, "c%03d", i);
        fixture_customer(&f, id);
        fixture_subscribe(&f, id, "pro", "2023-11-01");
        usage[i] = (struct fixture_usage){id, "ctx", "2023-11-05T00:00:00Z", "15"};
    }
    for (int i = 0; i < HUGE; i++)
        usage[MANY + i] =
            (struct fixture_usage){"c003", "ctx", "2023-11-05T00:00:00Z", "9900000000000000000"};
    fixture_usage(&f, usage, MANY + HUGE);
    struct run_settings settings = fixture_settings(&f, "2023-12-02");
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, MANY - 1);
    cr_assert_eq(report.totals[0].total_minor, (MANY - 1) * 2500);
    cr_assert_eq(report.refusals_count, 2);
    cr_assert_str_eq(report.refusals[0].customer, "c003");
    cr_assert_null(report.refusals[1].customer);
    cr_assert_not_null(strstr(report.refusals[1].text, "ctx"), "%s", report.refusals[1].text);
    fixture_end(&f);
}

Test(run, bills_nothing_ahead_of_the_clock)
{
    struct fixture f;
    struct error error = {0};
    struct run_report report;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_customer(&f, "acme");
    fixture_subscribe(&f, "acme", "pro", "2024-01-01");
    struct run_settings settings = fixture_settings(&f, "2024-02-02");
    cr_assert_eq(billing_run(&settings, &f.arena, &report, &error), STATUS_INVALID);
    cr_assert_eq(fixture_count(&f, "invoices"), 0);
    settings.is_dry = true;
    cr_assert_eq(fixture_run(&f, &settings).made_count, 1);
    fixture_end(&f);
}

// Anybody who may send events may send any bytes as a subject.
Test(run, lists_subjects_that_are_no_text)
{
    static const struct fixture_usage usage[] = {
        {"bad\xff\n", "ctx", "2023-11-05T00:00:00Z", "7"},
        {"ghost",     "ctx", "2023-11-05T00:00:00Z", "2"}
    };
    struct fixture f;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_usage(&f, usage, 2);
    struct run_settings settings = fixture_settings(&f, "2023-12-02");
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.unsubscribed_count, 2);
    cr_assert_str_eq(report.unsubscribed[0].subject, "ghost");
    cr_assert_str_eq(report.unsubscribed[1].subject, "bad\\xff\\x0a");
    cr_assert_null(report.unsubscribed[1].customer);
    fixture_end(&f);
}

struct loading {
    const struct run_settings *settings;
    struct arena arena;
    struct run_report report;
    struct error error;
    enum status status;
};

static void *
run_beside(void *context)
{
    struct loading *loading = context;
    loading->status =
        billing_run(loading->settings, &loading->arena, &loading->report, &loading->error);
    return NULL;
}

// Plans and charges are read by two statements: a catalogue that is applied between them is seen by
// both or by neither.
Test(run, waits_for_a_catalogue_that_is_being_applied)
{
    static const char applying[] =
        "LOCK TABLE catalogue_versions IN EXCLUSIVE MODE; LOCK TABLE charges;"
        "INSERT INTO catalogue_versions VALUES (2, now());"
        "INSERT INTO plans VALUES ('new', 'tier');"
        "INSERT INTO plan_versions VALUES ('new', 2, 'New', 'USD', 1, NULL);"
        "INSERT INTO charges VALUES ('new', 2, 0, 'c', 'C', NULL, 'flat', '{\"amount\":\"1\"}')";
    struct fixture f;
    struct error error = {0};
    pthread_t thread;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    struct run_settings settings = fixture_settings(&f, "2023-12-02");
    struct loading loading = {.settings = &settings};
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    cr_assert_eq(sql_begin(f.sql, &error), STATUS_OK);
    cr_assert_eq(sql_script(f.sql, applying, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(pthread_create(&thread, NULL, run_beside, &loading), 0);
    while (fixture_count(&f, "pg_locks WHERE NOT granted") == 0)
        cr_assert(clock_monotonic_ns() < deadline_ns, "the run does not wait");
    cr_assert_eq(sql_commit(f.sql, &error), STATUS_OK);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(loading.status, STATUS_OK, "%s", loading.error.text);
    arena_done(&loading.arena);
    fixture_end(&f);
}

// 90 customers on the same day ask beyond what is asked one by one; some have no usage, some two
// subjects.
static void
crowd_fill(struct fixture *f, const struct fixture *ledger)
{
    enum { CROWD = 90 };
    struct fixture_usage usage[CROWD * 2];
    size_t used = 0;
    fixture_catalog(f, TOKENS);
    for (int i = 0; i < CROWD; i++) {
        const char *id = arena_format(&f->arena, "c%03d", i);
        fixture_customer(f, id);
        fixture_subscribe(
            f, id, i % 3 == 0 ? "llm" : "pro", i % 10 == 9 ? "2023-10-31" : "2023-11-01");
        if (i % 4 == 1)
            fixture_subject(f, id, arena_format(&f->arena, "%s-b", id));
        if (i % 5 != 0)
            usage[used++] = (struct fixture_usage){
                id, "ctx", "2023-11-16T10:00:00Z", arena_format(&f->arena, "%d.25", i * 100)};
        if (i % 4 == 1)
            usage[used++] = (struct fixture_usage){
                arena_format(&f->arena, "%s-b", id), "ctx", "2023-11-17T10:00:00Z", "1000000"};
    }
    if (ledger == NULL)
        fixture_usage(f, usage, used);
}

Test(run, leaves_the_same_rows_with_any_workers_and_chunks)
{
    static const struct {
        int64_t workers, chunk_size;
    } cases[] = {
        {1, 500},
        {2, 7  },
        {4, 1  }
    };
    const char *rows[3];
    struct fixture fixtures[3];
    if (!fixture_begin(&fixtures[0]))
        return;
    crowd_fill(&fixtures[0], NULL);
    for (size_t i = 0; i < 3; i++) {
        struct fixture *f = &fixtures[i];
        if (i > 0) {
            cr_assert(fixture_begin_beside(f, &fixtures[0]));
            crowd_fill(f, &fixtures[0]);
        }
        struct run_settings settings = fixture_settings(f, "2024-01-15");
        settings.workers = cases[i].workers;
        settings.chunk_size = cases[i].chunk_size;
        struct run_report report = fixture_run(f, &settings);
        cr_assert_eq(report.refusals_count, 0);
        cr_assert_gt(report.made_count, 120);
        // Gapless, and as many as there are invoices with lines.
        cr_assert_eq(
            fixture_count(f, "invoices WHERE number IS NOT NULL"), (int64_t)report.made_count);
        cr_assert_eq(
            fixture_count(
                f,
                arena_format(
                    &f->arena,
                    "invoices WHERE number IN (SELECT 'INV-' || lpad(n::text, 6, '0') FROM "
                    "generate_series(1, %zu) n)",
                    report.made_count)),
            (int64_t)report.made_count);
        cr_assert_eq(
            fixture_count(
                f,
                "invoices i WHERE total_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM "
                "invoice_lines l"
                " WHERE l.invoice_id = i.id)"),
            0);
        for (size_t j = 0; j < report.made_count; j++)
            (void)invoice_of(f, &report, j);
        rows[i] = fixture_rows(f);
    }
    cr_assert_str_eq(rows[1], rows[0]);
    cr_assert_str_eq(rows[2], rows[0]);
    fixture_end_beside(&fixtures[2]);
    fixture_end_beside(&fixtures[1]);
    fixture_end(&fixtures[0]);
}

Test(run, finalized_invoices_do_not_change)
{
    static const char *const changes[] = {
        "UPDATE invoices SET total_minor = total_minor + 1",
        "UPDATE invoices SET input = '{}'",
        "UPDATE invoices SET number = 'INV-9'",
        "UPDATE invoices SET status = 'draft', finalized_at = NULL, number = NULL",
        "UPDATE invoices SET plan = 'llm'",
        "UPDATE invoices SET created_at = created_at + interval '1 day'",
        "UPDATE invoices SET finalized_at = finalized_at + interval '1 day'",
        "TRUNCATE invoice_lines",
        "UPDATE invoice_lines SET amount_minor = 0",
        "DELETE FROM invoice_lines",
        "DELETE FROM invoices"};
    struct fixture f;
    struct error error;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, TOKENS);
    fixture_customer(&f, "acme");
    fixture_subscribe(&f, "acme", "pro", "2023-11-01");
    struct run_settings settings = fixture_settings(&f, "2023-12-02");
    cr_assert_eq(fixture_run(&f, &settings).made_count, 1);
    const char *before = fixture_rows(&f);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        cr_assert_eq(sql_script(f.sql, changes[i], &error), STATUS_INVALID, "%s", changes[i]);
    cr_assert_str_eq(fixture_rows(&f), before);
    cr_assert_eq(
        sql_script(f.sql, "UPDATE invoices SET status = 'paid', paid_at = now()", &error),
        STATUS_OK);
    fixture_end(&f);
}
