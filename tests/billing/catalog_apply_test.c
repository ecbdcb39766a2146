// Applying catalogues, and what customers may subscribe to, on a real database and registry.

#include "billing/catalog_apply.h"

#include "tests/billing/fixture.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

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

#define METER(key) "{\"key\":\"" key "\",\"event_type\":\"" key "\",\"aggregation\":\"sum\"}"
#define CHARGE(key, meter, amount)                                                                 \
    "{\"key\":\"" key "\",\"name\":\"" key "\",\"meter\":\"" meter                                 \
    "\",\"model\":\"standard\",\"params\":{\"amount\":\"" amount "\"}}"
#define CATALOG(meters, plans)                                                                     \
    "{\"currency\":\"USD\",\"meters\":[" meters "],\"plans\":[" plans "]}"
#define PLAN(key, kind, charges)                                                                   \
    "{\"key\":\"" key "\",\"name\":\"" key "\",\"kind\":\"" kind                                   \
    "\",\"prices\":{\"monthly\":\"10\",\"annual\":\"100\"},\"charges\":[" charges "]}"

static const char first_text[] = CATALOG(METER("m"), PLAN("base", "tier", CHARGE("c", "m", "0.5")));

// "created meter m; created plan base; ..." without what is unchanged.
static const char *
changes_text(const struct catalog_changes *changes, struct arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < changes->count; i++)
        if (changes->items[i].kind != CATALOG_UNCHANGED)
            text = arena_format(
                arena,
                "%s%s %s %s; ",
                text,
                catalog_change_name(changes->items[i].kind),
                changes->items[i].what,
                changes->items[i].name);
    return text;
}

Test(catalog_apply, shows_and_makes_what_changes)
{
    // clang-format off
    static const struct {
        const char *text, *changes;
        int64_t version;
        bool is_new;
    } steps[] = {
        {first_text, "created meter m; created plan base; created charge base/c; ", 1, true},
        {first_text, "", 1, false},
        {CATALOG(METER("m"), PLAN("base", "tier", CHARGE("c", "m", "0.25"))), "changed plan "
         "base; changed charge base/c; ", 2, true},
        {CATALOG(METER("m") "," METER("n"), PLAN("base", "tier", CHARGE("d", "n", "1"))),
         "created meter n; changed plan base; created charge base/d; removed charge base/c; ",
         3, true},
        {CATALOG(METER("m"), PLAN("extra", "addon", CHARGE("c", "m", "1"))), "created plan "
         "extra; created charge extra/c; kept plan base; ", 4, true},
        {CATALOG("", ""), "kept plan base; kept plan extra; ", 4, false},
        {CATALOG("{\"key\":\"m\",\"event_type\":\"m\",\"aggregation\":\"count\"}", ""),
         "changed meter m; kept plan base; kept plan extra; ", 5, true},
    };
    // clang-format on
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct catalog_changes changes;
        // A dry run says the same and does nothing, however often.
        for (int dry = 2; dry >= 0; dry--) {
            cr_assert_eq(
                fixture_catalog_try(&f, steps[i].text, dry > 0, &changes, &error),
                STATUS_OK,
                "%s",
                error.text);
            cr_assert_str_eq(changes_text(&changes, &f.arena), steps[i].changes, "step %zu", i);
            cr_assert_eq(changes.version, steps[i].version, "step %zu", i);
            cr_assert_eq(changes.is_new_version, steps[i].is_new, "step %zu", i);
        }
    }
    // Old versions are still there, for the invoices that were made with them.
    cr_assert_eq(fixture_count(&f, "plan_versions WHERE plan = 'base'"), 3);
    cr_assert_neq(sql_script(f.sql, "UPDATE charges SET params = '{}'", &error), STATUS_OK);
    cr_assert_neq(sql_script(f.sql, "DELETE FROM plan_versions", &error), STATUS_OK);
    cr_assert_neq(sql_script(f.sql, "TRUNCATE charges", &error), STATUS_OK);
    cr_assert_neq(
        sql_script(f.sql, "UPDATE catalogue_versions SET applied_at = now()", &error), STATUS_OK);
    fixture_end(&f);
}

Test(catalog_apply, changes_nothing_when_it_refuses)
{
    // clang-format off
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {CATALOG(METER("new"), PLAN("p", "tier", CHARGE("c", "nowhere", "1"))),
         "there is no meter nowhere"},
        {CATALOG(METER("new"), PLAN("base", "addon", CHARGE("c", "m", "1"))),
         "its kind cannot change"},
        {CATALOG(METER("new"), PLAN("p", "tier", CHARGE("c", "m", "x"))),
         "plans[0].charges[0].params.amount"},
        // Somebody would pay twice for the meter.
        {CATALOG(METER("new"), PLAN("more", "addon", CHARGE("d", "m", "1"))),
         "both charge the meter m"},
        // Somebody would pay twice where a period of one plan is billed and the other's is not.
        {CATALOG(METER("new"),
                 PLAN("base", "tier", "") "," PLAN("more", "addon", CHARGE("d", "m", "1"))),
         "both charge the meter m"},
        // Somebody would pay no fee any more, or in another currency.
        {CATALOG(METER("new"), "{\"key\":\"base\",\"name\":\"base\","
                               "\"prices\":{\"annual\":\"1\"},\"charges\":[]}"),
         "customer acme pays base monthly in USD"},
        {CATALOG(METER("new"), "{\"key\":\"base\",\"name\":\"base\","
                               "\"currency\":\"EUR\",\"charges\":[]}"),
         "customer acme pays base monthly in USD"},
    };
    // clang-format on
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, first_text);
    fixture_catalog(&f, CATALOG("", PLAN("more", "addon", "")));
    fixture_customer(&f, "acme");
    fixture_subscribe(&f, "acme", "base", "2023-11-01");
    fixture_subscribe(&f, "acme", "more", "2023-11-01");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct catalog_changes changes;
        struct registry *registry = NULL;
        struct meter meter;
        cr_assert_neq(fixture_catalog_try(&f, cases[i].text, false, &changes, &error), STATUS_OK);
        cr_assert_not_null(strstr(error.text, cases[i].reason), "case %zu: %s", i, error.text);
        cr_assert_eq(fixture_count(&f, "catalogue_versions"), 2);
        cr_assert_eq(registry_open(f.dir, &registry, &error), STATUS_OK);
        cr_assert_eq(registry_find(registry, "new", &f.arena, &meter, &error), STATUS_NOT_FOUND);
        registry_close(registry);
    }
    fixture_end(&f);
}

// Killed after the meters were written and before the commit: the next call completes it.
Test(catalog_apply, completes_a_half_applied_one)
{
    struct fixture f;
    struct error error = {0};
    struct catalog catalog;
    struct catalog_changes changes;
    struct registry *registry = NULL;
    if (!fixture_begin(&f))
        return;
    cr_assert_eq(
        catalog_read(bytes_text(first_text), "c.json", &f.arena, &catalog, &error), STATUS_OK);
    cr_assert_eq(registry_open(f.dir, &registry, &error), STATUS_OK);
    cr_assert_eq(registry_put(registry, &catalog.meters[0], 1, NULL, &error), STATUS_OK);
    registry_close(registry);
    cr_assert_eq(
        fixture_catalog_try(&f, first_text, false, &changes, &error), STATUS_OK, "%s", error.text);
    cr_assert_str_eq(
        changes_text(&changes, &f.arena), "created plan base; created charge base/c; ");
    cr_assert_eq(fixture_count(&f, "catalogue_meters"), 1);
    fixture_end(&f);
}

// clang-format off
static const char rules_text[] = CATALOG(
    METER("m") "," METER("n"),
    PLAN("base", "tier", CHARGE("c", "m", "1")) ","
    PLAN("other", "tier", "") ","
    PLAN("addon", "addon", "") ","
    PLAN("addon-m", "addon", CHARGE("c", "m", "1")) ","
    PLAN("addon-n", "addon", CHARGE("c", "n", "1")));
// clang-format on

Test(catalog_apply, subscriptions_keep_the_rules)
{
    // clang-format off
    static const struct {
        const char *customer, *plan, *from, *until;
        enum billing_cycle cycle;
        enum status status;
        enum store_change change;
        const char *reason;
    } cases[] = {
        {"nobody", "base", "2023-11-01", NULL, CYCLE_MONTHLY, STATUS_NOT_FOUND, 0, "no "
         "customer nobody"},
        {"acme", "gold", "2023-11-01", NULL, CYCLE_MONTHLY, STATUS_NOT_FOUND, 0, "there are: "
         "addon, addon-m, addon-n, base, other"},
        {"acme", "base", "2023-11-01", "2023-11-01", CYCLE_MONTHLY, STATUS_INVALID, 0, "end "
         "before it starts"},
        {"acme", "base", "2023-11-01", "2024-01-01", CYCLE_MONTHLY, STATUS_OK, STORE_CREATED, NULL},
        {"acme", "base", "2023-11-01", "2024-01-01", CYCLE_MONTHLY, STATUS_OK,
         STORE_UNCHANGED, NULL},
        {"acme", "other", "2023-12-31", NULL, CYCLE_MONTHLY, STATUS_EXISTS, 0, "one tier at "
         "a time"},
        {"acme", "other", "2024-01-01", NULL, CYCLE_ANNUAL, STATUS_OK, STORE_CREATED, NULL},
        {"acme", "other", "2024-01-01", NULL, CYCLE_ANNUAL, STATUS_OK, STORE_UNCHANGED, NULL},
        {"acme", "base", "2024-02-01", NULL, CYCLE_MONTHLY, STATUS_EXISTS, 0, "is subscribed "
         "to other (2024-01-01 to open end)"},
        {"acme", "addon-m", "2023-11-15", NULL, CYCLE_MONTHLY, STATUS_EXISTS, 0, "the meter "
         "m, which base charges already"},
        {"acme", "addon-m", "2024-01-01", NULL, CYCLE_MONTHLY, STATUS_OK, STORE_CREATED, NULL},
        {"acme", "addon-n", "2023-11-01", NULL, CYCLE_MONTHLY, STATUS_OK, STORE_CREATED, NULL},
        {"acme", "addon-n", "2023-12-01", NULL, CYCLE_MONTHLY, STATUS_EXISTS, 0, "the meter n"},
        {"acme", "addon", "2023-11-01", NULL, CYCLE_MONTHLY, STATUS_OK, STORE_CREATED, NULL},
        {"acme", "addon", "2023-11-01", "2024-01-01", CYCLE_MONTHLY, STATUS_EXISTS, 0, "is "
         "subscribed to addon (2023-11-01 to open end)"},
        {"acme", "addon", "2023-11-01", NULL, CYCLE_ANNUAL, STATUS_EXISTS, 0, "other terms"},
    };
    // clang-format on
    struct fixture f;
    struct error error = {0};
    if (!fixture_begin(&f))
        return;
    fixture_catalog(&f, rules_text);
    fixture_customer(&f, "acme");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum store_change change = STORE_CHANGED;
        enum status status = fixture_subscribe_try(
            &f,
            cases[i].customer,
            cases[i].plan,
            cases[i].cycle,
            cases[i].from,
            cases[i].until,
            &change,
            &error);
        cr_assert_eq(status, cases[i].status, "case %zu: %s", i, status ? error.text : "made");
        if (status)
            cr_assert_not_null(strstr(error.text, cases[i].reason), "case %zu: %s", i, error.text);
        else
            cr_assert_eq(change, cases[i].change, "case %zu", i);
    }
    // The monthly equivalent of an annual price, for reports.
    cr_assert_eq(
        fixture_count(&f, "subscriptions WHERE plan = 'other' AND monthly_price_minor = 833"), 1);
    // The database holds one live tier by itself.
    cr_assert_eq(
        sql_script(
            f.sql,
            "INSERT INTO subscriptions SELECT 'x', customer_id, 'base', 'tier', 'monthly', "
            "'active', NULL, 1, 'USD',"
            " '2030-01-01Z', NULL, now() FROM subscriptions LIMIT 1",
            &error),
        STATUS_EXISTS);
    cr_assert_str_eq(sql_constraint(f.sql), "subscriptions_one_live_tier");
    fixture_end(&f);
}

Test(catalog_apply, customers_are_added_once)
{
    struct fixture f;
    struct error error = {0};
    enum store_change change;
    const char *const *subjects = NULL;
    size_t count = 0;
    if (!fixture_begin(&f))
        return;
    static const char *const two[] = {"s1", "s2"};
    // clang-format off
    const struct {
        struct customer customer;
        enum status status;
        enum store_change change;
        const char *reason;
    } cases[] = {
        {{.id = "acme"}, STATUS_OK, STORE_CREATED, NULL},
        {{.id = "acme"}, STATUS_OK, STORE_UNCHANGED, NULL},
        {{.id = "acme", .email = "a@b.c"}, STATUS_EXISTS, 0, "with the email "
         "acme@customers.invalid"},
        {{.id = "acme", .subjects = two, .subjects_count = 2}, STATUS_OK, STORE_CHANGED, NULL},
        {{.id = "acme", .subjects = two, .subjects_count = 2}, STATUS_OK, STORE_UNCHANGED, NULL},
        {{.id = "beta", .email = "b@b.c", .subjects = two, .subjects_count = 1},
         STATUS_EXISTS, 0, "subject s1 belongs to customer acme"},
        {{.id = "beta", .email = "acme@customers.invalid"}, STATUS_EXISTS, 0, "another "
         "customer has the email"},
        {{.id = "beta", .email = "b@b.c", .company_name = "Beta"}, STATUS_OK, STORE_CREATED, NULL},
        {{.id = "beta", .company_name = "Gamma"}, STATUS_EXISTS, 0, "the company Beta"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum status status =
            store_customer_add(f.sql, &cases[i].customer, SECOND_NS, &change, &error);
        cr_assert_eq(status, cases[i].status, "case %zu: %s", i, status ? error.text : "added");
        if (status)
            cr_assert_not_null(strstr(error.text, cases[i].reason), "case %zu: %s", i, error.text);
        else
            cr_assert_eq(change, cases[i].change, "case %zu", i);
    }
    cr_assert_eq(customer_subjects(f.sql, "acme", &f.arena, &subjects, &count, &error), STATUS_OK);
    cr_assert_eq(count, 3);
    cr_assert_str_eq(subjects[0], "acme");
    cr_assert_str_eq(subjects[2], "s2");
    cr_assert_eq(
        customer_subjects(f.sql, "nobody", &f.arena, &subjects, &count, &error), STATUS_NOT_FOUND);
    struct customers page;
    cr_assert_eq(store_customers(f.sql, "acme", 10, &f.arena, &page, &error), STATUS_OK);
    cr_assert_eq(page.count, 1);
    cr_assert_str_eq(page.items[0].id, "beta");
    fixture_end(&f);
}
