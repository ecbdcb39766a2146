// A charge of every price model, from a catalogue through usage and a run to the lines of an
// invoice, and what explains them.

#include "billing/explain.h"
#include "billing/run.h"
#include "billing/usage_source.h"
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

#define METER(key) "{\"key\":\"" key "\",\"event_type\":\"" key "\",\"aggregation\":\"sum\"}"
#define CHARGE(key, model, params)                                                                 \
    "{\"key\":\"" key "\",\"name\":\"" key "\",\"meter\":\"" key "\",\"model\":\"" model           \
    "\",\"params\":{" params "}"
#define TIERS                                                                                      \
    "\"tiers\":[{\"to\":\"100\",\"unit\":\"2\",\"flat\":\"10\"},{\"to\":\"200\",\"unit\":\"1\"},"  \
    "{\"to\":null,\"unit\":\"0.5\",\"flat\":\"50\"}]"
// clang-format off
#define MODELS(least)                                                                              \
    "{\"currency\":\"USD\",\"meters\":[" METER("a") "," METER("b") "," METER("c") "," METER("d")   \
    "," METER("e") "," METER("f") "],\"plans\":[{\"key\":\"all\",\"name\":\"All\",\"charges\":["   \
    CHARGE("a", "graduated", TIERS) "}," CHARGE("b", "volume", TIERS) "},"                         \
    CHARGE("c", "package", "\"amount\":\"100\",\"size\":\"10\",\"free\":\"10\"") "},"              \
    CHARGE("d", "percentage", "\"rate\":\"2.9\"") ",\"maximum\":\"0.1\"},"                         \
    CHARGE("e", "graduated_percentage", PERCENTS) "},"                                             \
    CHARGE("f", "standard", "\"amount\":\"0.5\"") ",\"minimum\":\"" least "\"}],"                \
    "\"minimum\":\"1700\"}]}"
// clang-format on
#define PERCENTS                                                                                   \
    "\"tiers\":[{\"to\":\"100\",\"rate\":\"5\"},{\"to\":null,\"rate\":\"2\",\"flat\":\"10\"}]"

struct expected_line {
    const char *charge, *exact, *step;
    int64_t minor;
};

static void
lines_check(const struct invoice *invoice, const struct expected_line *lines, size_t count)
{
    cr_assert_eq(invoice->lines_count, count);
    for (size_t i = 0; i < count; i++) {
        const struct invoice_line *line = &invoice->lines[i];
        if (lines[i].charge != NULL)
            cr_assert_str_eq(line->charge, lines[i].charge);
        else
            cr_assert_eq(line->kind, LINE_MINIMUM);
        cr_assert_str_eq(line->exact_amount, lines[i].exact, "%s", line->charge);
        cr_assert_eq(line->amount_minor, lines[i].minor, "%s", line->charge);
        const struct abacus_step *step = line->steps;
        cr_assert_not_null(step, "%s", line->charge);
        while (step->next != NULL)
            step = step->next;
        cr_assert_str_eq(step->text, lines[i].step, "%s", line->charge);
    }
}

Test(run_models, bills_every_model_and_says_how)
{
    static const struct fixture_usage usage[] = {
        {"acme", "a", "2023-11-03T00:00:00Z", "210"  },
        {"acme", "b", "2023-11-04T00:00:00Z", "100.5"},
        {"acme", "c", "2023-11-05T00:00:00Z", "121"  },
        {"acme", "d", "2023-11-06T00:00:00Z", "4"    },
        {"acme", "e", "2023-11-07T00:00:00Z", "150"  },
    };
    static const struct expected_line lines[] = {
        {"a",  "365",   "(200, ...]  10 x 0.5 + 50 = 55",                      36500 },
        {"b",  "100.5", "(100, 200]  100.5 x 1 + 0 = 100.5",                   10050 },
        {"c",  "1200",  "121 units, 10 free, packages of 10: 12 x 100 = 1200", 120000},
        {"d",  "0.1",   "at most 0.1",                                         10    },
        {"e",  "16",    "(100, ...]  50 x 2% + 10 = 11",                       1600  },
        {"f",  "7.255", "7.255 x 30 / 30 = 7.255",                             726   },
        {NULL, "11.14", "170000 - 168886 = 1114, at least 0",                  1114  },
    };
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, MODELS("7.255"));
    fixture_customer(&f, "acme");
    fixture_subscribe(&f, "acme", "all", "2023-11-01");
    fixture_usage(&f, usage, sizeof usage / sizeof usage[0]);
    struct run_settings settings = fixture_settings(&f, "2023-12-01T01:00:00Z");
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 1);
    struct invoice invoice;
    struct explanation explanation;
    cr_assert_eq(
        store_invoice_find(f.sql, report.made[0].id, &f.arena, &invoice, &error), STATUS_OK);
    cr_assert_eq(explain(&invoice, &f.arena, &explanation, &error), STATUS_OK, "%s", error.text);
    lines_check(&explanation.computed, lines, sizeof lines / sizeof lines[0]);
    cr_assert_eq(invoice.total_minor, 170000, "the plan's minimum");
    fixture_end(&f);
}

Test(run_models, a_stored_catalogue_is_the_one_that_was_applied)
{
    struct fixture f;
    struct error error = {0};
    struct catalog_changes changes;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, MODELS("7.255"));
    cr_assert_eq(fixture_catalog_try(&f, MODELS("7.255"), false, &changes, &error), STATUS_OK);
    cr_assert_not(changes.is_new_version);
    cr_assert_eq(fixture_catalog_try(&f, MODELS("7.26"), false, &changes, &error), STATUS_OK);
    cr_assert(changes.is_new_version);
    size_t changed = 0;
    for (size_t i = 0; i < changes.count; i++)
        changed += changes.items[i].kind == CATALOG_CHANGED;
    cr_assert_eq(changed, 2, "the plan and its one charge");
    fixture_end(&f);
}

#define REGIONS                                                                                    \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"gb\",\"event_type\":\"gb\",\"aggregation\":"     \
    "\"sum\",\"dimensions\":{\"region\":\"region\"}}],\"plans\":[{\"key\":\"net\",\"name\":"       \
    "\"Net\","                                                                                     \
    "\"charges\":[{\"key\":\"gb\",\"name\":\"Traffic\",\"meter\":\"gb\",\"model\":\"standard\","   \
    "\"params\":{\"amount\":\"1\"},\"dimension\":\"region\",\"values\":{\"aws\":{\"amount\":"      \
    "\"0.08\"},\"gcp\":{\"amount\":\"0.10\"},\"moon\":{\"amount\":\"9\"}}}]}]}"

Test(run_models, prices_each_value_of_a_dimension_alone)
{
    static const struct fixture_usage usage[] = {
        {"acme-1", "gb", "2023-11-03T00:00:00Z", "60" },
        {"acme-2", "gb", "2023-11-04T00:00:00Z", "40" },
        {"acme-1", "gb", "2023-11-05T00:00:00Z", "200"},
        {"acme-2", "gb", "2023-11-06T00:00:00Z", "3"  },
        {"acme-2", "gb", "2023-11-07T00:00:00Z", "4"  },
 // Of another customer, and of another month.
        {"other",  "gb", "2023-11-07T00:00:00Z", "500"},
        {"acme-1", "gb", "2023-12-01T00:00:00Z", "500"},
    };
    static const char *const regions[] = {"aws", "aws", "gcp", "azure", NULL, "aws", "aws"};
    static const struct expected_line lines[] = {
        {"gb", "8",  "100 x 0.08 = 8", 800 },
        {"gb", "20", "200 x 0.1 = 20", 2000},
        {"gb", "7",  "7 x 1 = 7",      700 },
    };
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, REGIONS);
    fixture_customer(&f, "other");
    fixture_subject(&f, "acme", "acme-1");
    fixture_subject(&f, "acme", "acme-2");
    fixture_subscribe(&f, "acme", "net", "2023-11-01");
    fixture_usage_regions(&f, usage, regions, sizeof usage / sizeof usage[0]);
    struct run_settings settings = fixture_settings(&f, "2023-12-01T01:00:00Z");
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 1);
    struct invoice invoice;
    struct explanation explanation;
    cr_assert_eq(
        store_invoice_find(f.sql, report.made[0].id, &f.arena, &invoice, &error), STATUS_OK);
    cr_assert_eq(explain(&invoice, &f.arena, &explanation, &error), STATUS_OK, "%s", error.text);
    lines_check(&explanation.computed, lines, sizeof lines / sizeof lines[0]);
    cr_assert_str_eq(invoice.lines[0].description, "Traffic, region aws");
    cr_assert_str_eq(invoice.lines[2].description, "Traffic");
    cr_assert_eq(invoice.total_minor, 3500);
    fixture_end(&f);
}

Test(run_models, refuses_a_dimension_that_the_meter_has_not)
{
    struct fixture f;
    struct error error = {0};
    struct catalog_changes changes;
    if (!fixture_begin(&f))
        return;
    const char *text = "{\"currency\":\"USD\",\"meters\":[" METER(
        "gb") "],\"plans\":[{\"key\":\"net\",\"name\":"
              "\"Net\",\"charges\":[" CHARGE(
                  "gb", "standard", "\"amount\":\"1\"") ",\"dimension\":\"region\",\"values\":{"
                                                        "\"aws\":{\"amount\":\"2\"}}}]}]}";
    cr_assert_eq(fixture_catalog_try(&f, text, false, &changes, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "plan net, charge gb: the meter gb has no dimension region");
    fixture_end(&f);
}

// Whoever adds a line behind the program's back is refused by the database.
Test(run_models, an_invoice_gets_no_lines_once_it_is_final)
{
    static const struct fixture_usage usage[] = {
        {"acme", "a", "2023-11-03T00:00:00Z", "210"},
    };
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, MODELS("7.255"));
    fixture_customer(&f, "acme");
    fixture_subscribe(&f, "acme", "all", "2023-11-01");
    fixture_usage(&f, usage, 1);
    struct run_settings settings = fixture_settings(&f, "2023-12-01T01:00:00Z");
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 1);
    int64_t lines = fixture_count(&f, "invoice_lines");
    static const char more[] =
        "INSERT INTO invoice_lines (invoice_id, position, kind, description, quantity,"
        " exact_amount, amount_minor) SELECT id, 77, 'fee', 'more', 1, 1, 100 FROM invoices";
    cr_assert_neq(sql_script(f.sql, more, &error), STATUS_OK);
    cr_assert_not_null(strstr(error.text, "the invoice is final"), "%s", error.text);
    cr_assert_eq(fixture_count(&f, "invoice_lines"), lines);
    fixture_end(&f);
}

// Numbers outgrow their six digits: the list has them in their order, not in that of their text.
Test(run_models, numbers_are_ordered_as_numbers)
{
    static const char *const customers[] = {"ann", "bob", "cid"};
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, MODELS("7.255"));
    cr_assert_eq(
        sql_script(f.sql, "UPDATE invoice_numbers SET next_number = 999999", &error), STATUS_OK);
    for (size_t i = 0; i < 3; i++) {
        fixture_customer(&f, customers[i]);
        fixture_subscribe(&f, customers[i], "all", "2023-11-01");
    }
    struct run_settings settings = fixture_settings(&f, "2023-12-01T01:00:00Z");
    struct run_report report = fixture_run(&f, &settings);
    cr_assert_eq(report.made_count, 3);
    const struct invoice_filter filter = {.limit = 10};
    struct invoice *invoices = NULL;
    size_t count = 0;
    cr_assert_eq(store_invoices(f.sql, &filter, &f.arena, &invoices, &count, &error), STATUS_OK);
    cr_assert_eq(count, 3);
    cr_assert_str_eq(invoices[0].number, "INV-1000001");
    cr_assert_str_eq(invoices[1].number, "INV-1000000");
    cr_assert_str_eq(invoices[2].number, "INV-999999");
    fixture_end(&f);
}

// clang-format off
#define GIVEN(key, charges) "{\"key\":\"" key "\",\"name\":\"" key "\"," charges "}"
#define PRICED  "\"charges\":[" CHARGE("a", "standard", "\"amount\":\"1\"") "}]"
#define METERED "{\"currency\":\"USD\",\"meters\":[" METER("a") "],\"plans\":["
#define GIVES   METERED GIVEN("base", PRICED) "]}"
#define TAKES                                                                                      \
    METERED GIVEN("base", "\"charges\":[]") "," GIVEN("extra", "\"kind\":\"addon\"," PRICED) "]}"
// clang-format on

// Usage that one plan billed is not billed again by another, which got the meter later.
Test(run_models, what_was_billed_is_not_subscribed_to_again)
{
    static const struct fixture_usage usage[] = {
        {"acme", "a", "2023-11-03T00:00:00Z", "5"},
    };
    struct fixture f;
    struct error error = {0};
    enum store_change change;
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, GIVES);
    fixture_customer(&f, "acme");
    fixture_customer(&f, "fresh");
    fixture_subscribe(&f, "acme", "base", "2023-11-01");
    fixture_usage(&f, usage, 1);
    struct run_settings settings = fixture_settings(&f, "2023-12-01T01:00:00Z");
    cr_assert_eq(fixture_run(&f, &settings).made_count, 1);
    fixture_catalog(&f, TAKES);
    cr_assert_eq(
        fixture_subscribe_try(
            &f, "acme", "extra", CYCLE_MONTHLY, "2023-11-30", NULL, &change, &error),
        STATUS_EXISTS);
    cr_assert_str_eq(
        error.text,
        "plan extra charges the meter a, which was billed by base up to 2023-12-01: usage is"
        " charged once");
    fixture_subscribe(&f, "acme", "extra", "2023-12-01");
    fixture_subscribe(&f, "fresh", "extra", "2023-11-01");
    fixture_end(&f);
}

enum { MANY = 70, REGIONS_MAX = 3 };

static void
many_usage(struct fixture *f, struct decimal expected[MANY][REGIONS_MAX + 1])
{
    static const char *const names[] = {"aws", "gcp", "moon", "azure", NULL};
    struct fixture_usage usage[3 * MANY];
    const char *regions[3 * MANY];
    for (size_t i = 0; i < 3 * MANY; i++) {
        size_t region = (i * 7 + i / MANY) % 5, customer = i % MANY;
        const char *value = arena_format(&f->arena, "%zu.5", i + 1);
        usage[i] = (struct fixture_usage){
            arena_format(&f->arena, "s%zu", customer), "gb", "2023-11-03T00:00:00Z", value};
        regions[i] = names[region];
        struct decimal *place = &expected[customer][region < REGIONS_MAX ? region : REGIONS_MAX];
        cr_assert(decimal_add(place, fixture_decimal(value)));
    }
    fixture_usage_regions(f, usage, regions, 3 * MANY);
}

// The first answers come from questions of their own, the later ones from what was read at once.
Test(run_models, a_dimension_is_read_once_for_many)
{
    static const char *const names[] = {"aws", "gcp", "moon"};
    static struct decimal expected[MANY][REGIONS_MAX + 1];
    const struct usage_values wanted = {"region", names, REGIONS_MAX};
    const struct usage_values other = {"region", &names[1], 1};
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, REGIONS);
    many_usage(&f, expected);
    scoped(usage_source_done) struct usage_source *source = NULL;
    cr_assert_eq(usage_source_open(f.dir, &source, &error), STATUS_OK, "%s", error.text);
    for (size_t i = 0; i < 2 * MANY; i++) {
        const char *subjects[] = {arena_format(&f.arena, "s%zu", i % MANY), "nobody"};
        const struct usage_question question = {
            .meter = "gb",
            .from_ns = fixture_time("2023-11-01T00:00:00Z"),
            .to_ns = fixture_time("2023-12-01T00:00:00Z"),
            .subjects = subjects,
            .subjects_count = 2,
        };
        struct decimal values[REGIONS_MAX], rest, sum = DECIMAL_ZERO;
        const struct decimal *right = expected[i % MANY];
        cr_assert_eq(
            usage_source_values(source, &question, &wanted, values, &rest, &error), STATUS_OK);
        for (size_t k = 0; k < REGIONS_MAX; k++)
            cr_assert(values[k].units == right[k].units, "%zu: %s", i, names[k]);
        cr_assert(rest.units == right[REGIONS_MAX].units, "%zu", i);
        // Other values of the same dimension have another rest.
        cr_assert_eq(
            usage_source_values(source, &question, &other, values, &rest, &error), STATUS_OK);
        cr_assert(values[0].units == right[1].units, "%zu", i);
        cr_assert(decimal_add(&sum, right[0]) && decimal_add(&sum, right[2]));
        cr_assert(decimal_add(&sum, right[REGIONS_MAX]) && rest.units == sum.units, "%zu", i);
    }
    fixture_end(&f);
}
