// What a catalogue file may say, and where and why it is refused.

#include "billing/catalog.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status
read_text(const char *text, struct arena *arena, struct catalog *out, struct error *error)
{
    return catalog_read(bytes_text(text), "c.json", arena, out, error);
}

#define METERS       "\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\"}]"
#define CHARGE(rest) "{\"key\":\"c\",\"name\":\"C\",\"meter\":\"m\"," rest "}"
#define PLAN(charges)                                                                              \
    "{\"currency\":\"USD\"," METERS                                                                \
    ",\"plans\":[{\"key\":\"p\",\"name\":\"P\",\"charges\":[" charges "]}]}"

Test(catalog, reads_every_field)
{
    static const char text[] =
        "{\"currency\":\"USD\",\"meters\":[{\"key\":\"tokens\",\"event_type\":\"llm\","
        "\"aggregation\":\"SUM\","
        "\"value_property\":\"tokens.total\",\"dimensions\":{\"region\":\"$.region\",\"model\":"
        "\"model\"},"
        "\"unit\":\"token\",\"description\":\"LLM tokens\"}],"
        "\"plans\":[{\"key\":\"growth\",\"name\":\"Growth\",\"kind\":\"addon\",\"currency\":"
        "\"JPY\","
        "\"prices\":{\"monthly\":\"99\",\"annual\":\"950.5\"},\"charges\":["
        "{\"key\":\"a\",\"name\":\"A\",\"meter\":\"tokens\",\"model\":\"graduated\",\"free_units\":"
        "\"10000.5\","
        "\"params\":{\"tiers\":[{\"to\":\"0.1\",\"unit\":\"10\",\"flat\":\"2\"},{\"to\":null,"
        "\"unit\":\"0.000000000001\"}]}},"
        "{\"key\":\"b\",\"name\":\"B\",\"model\":\"flat\",\"params\":{\"amount\":\"10\"}}]},"
        "{\"key\":\"usage-only\",\"name\":\"U\",\"charges\":[]}]}";
    scoped(arena_done) struct arena arena = {0};
    struct catalog catalog;
    struct error error;
    cr_assert_eq(read_text(text, &arena, &catalog, &error), STATUS_OK, "%s", error.text);
    const struct meter *meter = catalog_meter(&catalog, "tokens");
    cr_assert_eq(meter->aggregation, AGGREGATION_SUM);
    cr_assert_str_eq(meter->value_property, "$.tokens.total");
    cr_assert_eq(meter->dimensions_count, 2);
    cr_assert_str_eq(meter->dimensions[0].name, "model");
    cr_assert_str_eq(meter->dimensions[0].path, "$.model");
    const struct plan *plan = catalog_plan(&catalog, "growth");
    cr_assert_eq(plan->kind, PLAN_ADDON);
    cr_assert_str_eq(plan->currency->code, "JPY");
    cr_assert(plan->annual.is_sold && plan->annual.amount.units == DECIMAL_ONE.units * 9505 / 10);
    const struct charge *charge = plan_charge(plan, "a");
    cr_assert_eq(charge->price.tiers_count, 2);
    cr_assert_null(charge->price.tiers[1].to);
    cr_assert_str_eq(rational_text(charge->price.tiers[1].unit, &arena), "0.000000000001");
    cr_assert_eq(charge->free_units.units, DECIMAL_ONE.units * 100005 / 10);
    cr_assert_null(plan_charge(plan, "b")->meter);
    plan = catalog_plan(&catalog, "usage-only");
    cr_assert(plan->monthly.is_sold && !plan->annual.is_sold && plan->kind == PLAN_TIER);
    cr_assert_str_eq(plan->currency->code, "USD");
}

Test(catalog, names_the_place_of_what_it_refuses)
{
    // clang-format off
    static const struct {
        const char *text, *place, *reason;
    } cases[] = {
        {"", "c.json: ", ""},
        {"[1]", "(root)", "expected an object"},
        {"{\"currency\":\"USD\",\"meters\":[]}", "(root)", "\"plans\" is missing"},
        {"{\"currency\":\"usd\",\"meters\":[],\"plans\":[]}", "currency", "not the code"},
        {"{\"meters\":[],\"plans\":[],\"extra\":1}", "extra", "no such key"},
        {"{\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"P\",\"charges\":[]}]}",
         "plans[0]", "currency"},
        {"{\"meters\":[{\"key\":\"Bad\",\"event_type\":\"t\",\"aggregation\":\"sum\"}],"
         "\"plans\":[]}", "meters[0]", "key"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"median\"}],"
         "\"plans\":[]}", "meters[0].aggregation", "sum"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\","
         "\"value_property\":\"..\"}],\"plans\":[]}", "meters[0].value_property", ""},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\","
         "\"dimensions\":[1]}],\"plans\":[]}", "meters[0].dimensions", "object"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\","
         "\"filters\":[1]}],\"plans\":[]}", "meters[0].filters", "object"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\","
         "\"filters\":{\"a\":[]}}],\"plans\":[]}", "meters[0].filters.a", "at least one"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\","
         "\"filters\":{\"a\":[\"x\",5]}}],\"plans\":[]}", "meters[0].filters.a[1]", "string"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\","
         "\"filters\":{\"a..b\":\"x\"}}],\"plans\":[]}", "meters[0].filters", "empty"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\","
         "\"filters\":{\"a\":\"\"}}],\"plans\":[]}", "meters[0]", "255 bytes"},
        {"{\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\"},\n{"
         "\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\"}],\"plans\":[]}",
         "c.json:2: meters[1].key", "another meter"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":0.001}")),
         "plans[0].charges[0].params.amount", "write it as a string (\"0.001\")"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"-1\"}")),
         "params.amount", "not negative"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1e3\"}")),
         "params.amount", "decimal"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"\"}")),
         "params.amount", "decimal"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\".5\"}")),
         "params.amount", "decimal"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"5.\"}")),
         "params.amount", "decimal"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"0.0000000000001\"}")),
         "params.amount", "more than 12"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":"
         "\"10000000000000000000\"}")), "params.amount", "10^19"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{}")), "plans[0].charges[0].params",
         "\"amount\" is missing"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\",\"tiers\":[]}")),
         "params.tiers", "no such key"},
        {PLAN(CHARGE("\"model\":\"wonderful\",\"params\":{}")), "plans[0].charges[0].model",
         "expected standard, graduated, volume"},
        {PLAN(CHARGE("\"model\":\"dynamic\",\"params\":{}")),
         "plans[0].charges[0]", "\"price_property\" is missing"},
        {PLAN(CHARGE("\"model\":\"dynamic\",\"params\":{},\"price_property\":\"..\"")),
         "charges[0].price_property", ""},
        {PLAN(CHARGE("\"model\":\"dynamic\",\"params\":{\"subunit\":\"0\"},"
         "\"price_property\":\"p\"")),
         "params.subunit", "above zero"},
        {PLAN(CHARGE("\"model\":\"dynamic\",\"params\":{\"sum_minor\":\"1\"},"
         "\"price_property\":\"p\"")),
         "params.sum_minor", "no such key"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"price_property\":\"p\"")),
         "charges[0].price_property", "only a dynamic"},
        {PLAN(CHARGE("\"model\":\"dynamic\",\"params\":{},\"price_property\":\"p\","
         "\"free_units\":\"1\"")),
         "charges[0].free_units", "do not go with it"},
        {PLAN(CHARGE("\"model\":\"custom_fold\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"prices\":{\"a\":\"1\",\"default\":\"2\"}}]}")),
         "plans[0].charges[0]", "\"dimension\" is missing: whose"},
        {PLAN(CHARGE("\"model\":\"custom_fold\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"prices\":{\"a\":\"1\",\"default\":\"2\"}}]},\"dimension\":\"d\",\"values\":{"
         "\"a\":{}}")),
         "charges[0].values", "have the prices"},
        {PLAN(CHARGE("\"model\":\"custom_fold\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"prices\":{\"a\":\"1\"}}]},\"dimension\":\"d\"")),
         "tiers[0].prices", "\"default\" is missing"},
        {PLAN(CHARGE("\"model\":\"custom_fold\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"a\":\"1\"}]},\"dimension\":\"d\"")),
         "tiers[0].a", "no such key"},
        {PLAN(CHARGE("\"model\":\"custom_fold\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"prices\":\"1\"}]},\"dimension\":\"d\"")),
         "tiers[0].prices", "price of each key"},
        {PLAN(CHARGE("\"model\":\"custom_fold\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"prices\":{\"default\":1}}]},\"dimension\":\"d\"")),
         "prices.default", "string"},
        {PLAN(CHARGE("\"model\":\"custom_fold\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"prices\":{\"default\":\"0.0000000000001\"}}]},\"dimension\":\"d\"")),
         "prices.default", "more than 12"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"pay_in_advance\":\"yes\"")),
         "charges[0].pay_in_advance", "true or false"},
        {PLAN(CHARGE("\"model\":\"volume\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"unit\":\"1\"}]},\"pay_in_advance\":true")),
         "charges[0].pay_in_advance", "volume cannot be paid in advance"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"pay_in_advance\":true,\"recurring\":\"weighted\"")),
         "charges[0].pay_in_advance", "when its time is over"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"pay_in_advance\":true,\"recurring\":\"prorated\"")),
         "charges[0].pay_in_advance", "when its time is over"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"pay_in_advance\":true,\"minimum\":\"1\"")),
         "charges[0].minimum", "does not go with pay_in_advance"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"pay_in_advance\":true,\"dimension\":\"d\",\"values\":{\"a\":{\"amount\":\"1\"}}")),
         "charges[0].dimension", "single events"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"fixed\":\"1\"},"
         "\"pay_in_advance\":true,\"free_units\":\"1\"")),
         "charges[0].free_units", "do not go with it"},
        {PLAN(CHARGE("\"model\":\"dynamic\",\"params\":{\"subunit\":\"3\"},"
         "\"price_property\":\"p\",\"pay_in_advance\":true")),
         "charges[0].params.subunit", "at most 18 decimals"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"recurring\":\"daily\"")),
         "charges[0].recurring", "weighted"},
        {PLAN(CHARGE("\"model\":\"package\",\"params\":{\"amount\":\"1\",\"size\":\"2\"},"
         "\"recurring\":\"prorated\"")),
         "charges[0].recurring", "package does not price a level"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"fixed\":\"1\"},"
         "\"recurring\":\"weighted\"")),
         "charges[0].recurring", "percentage does not"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"recurring\":\"prorated\",\"free_units\":\"1\"")),
         "charges[0].free_units", "do not go with it"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},"
         "\"recurring\":\"weighted\",\"dimension\":\"d\",\"values\":{\"a\":{\"amount\":\"1\"}}")),
         "charges[0].dimension", "single events"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"fixed\":\"1\"},"
         "\"dimension\":\"d\",\"values\":{\"a\":{\"rate\":\"1\"}}")),
         "charges[0].dimension", "single events"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"min\":\"2\","
         "\"max\":\"1\"}")),
         "params.max", "below min"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"free_events\":\"x\"}")),
         "params.free_events", "decimal"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"free_events\":1.5}")),
         "params.free_events", "string"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"free_events\":-1}")),
         "params.free_events", "whole number"},
        {PLAN(CHARGE("\"model\":\"percentage\",\"params\":{\"rate\":\"1\",\"events\":\"1\"}")),
         "params.events", "no such key"},
        {PLAN(CHARGE("\"model\":\"volume\",\"params\":{}")), "plans[0].charges[0].params",
         "\"tiers\" is missing"},
        {PLAN(CHARGE("\"model\":\"volume\",\"params\":{\"tiers\":[{\"to\":null,\"unit\":1}]}")),
         "params.tiers[0].unit", "write it as a string"},
        {PLAN(CHARGE("\"model\":\"volume\",\"params\":{\"tiers\":[{\"to\":null}]}")),
         "params.tiers[0]", "\"unit\" is missing"},
        {PLAN(CHARGE("\"model\":\"volume\",\"params\":{\"select_on\":\"1\"}")),
         "params.select_on", "no such key"},
        {PLAN(CHARGE("\"model\":\"graduated_percentage\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"unit\":\"1\"}]}")), "params.tiers[0].unit", "no such key"},
        {PLAN(CHARGE("\"model\":\"graduated_percentage\",\"params\":{\"tiers\":[{\"to\":null,"
         "\"rate\":\"0.0000000000001\"}]}")), "params.tiers[0].rate", "more than 12"},
        {PLAN(CHARGE("\"model\":\"package\",\"params\":{\"amount\":\"1\"}")),
         "plans[0].charges[0].params", "\"size\" is missing"},
        {PLAN(CHARGE("\"model\":\"package\",\"params\":{\"amount\":\"1\",\"size\":\"0\"}")),
         "params.size", "above zero"},
        {PLAN(CHARGE("\"model\":\"package\",\"params\":{\"amount\":\"1\",\"size\":\"1\","
         "\"bill_min_one\":\"yes\"}")), "params.bill_min_one", "true or false"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"minimum\":5")),
         "plans[0].charges[0].minimum", "string"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"minimum\":\"5\","
         "\"maximum\":\"4.99\"")), "plans[0].charges[0].maximum", "below the minimum"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"values\":{}")),
         "plans[0].charges[0].values", "\"dimension\" is missing"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"dimension\":\"d\"")),
         "plans[0].charges[0]", "\"values\" is missing"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"dimension\":\"d\","
         "\"values\":{}")), "plans[0].charges[0].values", "params of each value"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"dimension\":\"d\","
         "\"values\":{\"aws\":{\"amount\":1}}")), "charges[0].values.aws.amount", "string"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"dimension\":\"d\","
         "\"values\":{\"aws\":{\"tiers\":[]}}")), "charges[0].values.aws.tiers", "no such key"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"dimension\":\"d\","
         "\"values\":{\"aws\":{\"amount\":\"1\"}},\"free_units\":\"1\"")),
         "charges[0].dimension", "priced alone"},
        {PLAN("{\"key\":\"c\",\"name\":\"C\",\"model\":\"flat\",\"params\":{\"amount\":\"1\"},"
         "\"minimum\":\"5\"}"), "plans[0].charges[0]", "no minimum"},
        {PLAN(CHARGE("\"model\":\"flat\",\"params\":{\"amount\":\"1\"}")), "plans[0].charges["
         "0].meter", "prices no usage"},
        {PLAN( "{\"key\":\"c\",\"name\":\"C\",\"model\":\"flat\",\"params\":{\"amount\":"
         "\"1\"},\"pay_in_advance\":true}"), "charges[0].pay_in_advance", "prices no usage"},
        {PLAN( "{\"key\":\"c\",\"name\":\"C\",\"model\":\"standard\",\"params\":{\"amount\":"
         "\"1\"}}"), "plans[0].charges[0]", "\"meter\" is missing"},
        {PLAN(CHARGE("\"model\":\"graduated\",\"params\":{\"tiers\":[]}")), "params.tiers",
         "at least one"},
        {PLAN(CHARGE( "\"model\":\"graduated\",\"params\":{\"tiers\":[{\"to\":\"5\",\"unit\":"
         "\"1\"}]}")), "params.tiers[0].to", "last tier is open"},
        {PLAN(CHARGE("\"model\":\"graduated\",\"params\":{\"tiers\":[{\"to\":null,\"unit\":"
         "\"1\"},{\"to\":null,\"unit\":\"1\"}]}")), "params.tiers[0].to", "only the last"},
        {PLAN(CHARGE("\"model\":\"graduated\",\"params\":{\"tiers\":[{\"to\":\"10\",\"unit\":"
         "\"1\"},{\"to\":\"10\",\"unit\":\"1\"},{\"to\":null,\"unit\":\"1\"}]}")),
         "plans[0].charges[0].params.tiers[1].to", "above where the tier begins (10)"},
        {PLAN(CHARGE("\"model\":\"graduated\",\"params\":{\"tiers\":[{\"to\":\"0\",\"unit\":"
         "\"1\"},{\"to\":null,\"unit\":\"1\"}]}")), "params.tiers[0].to", "begins (0)"},
        {PLAN(CHARGE("\"model\":\"graduated\",\"params\":{\"tiers\":[{\"unit\":\"1\"}]}")),
         "params.tiers[0]", "\"to\" is missing"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"free_units\":"
         "5")), "plans[0].charges[0].free_units", "string"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"},\"fliter\":{}")),
         "plans[0].charges[0].fliter", "no such key"},
        {PLAN(CHARGE("\"model\":\"standard\",\"params\":{\"amount\":\"1\"}") ","
         "" CHARGE( "\"model\":\"standard\",\"params\":{\"amount\":\"1\"}")),
         "plans[0].charges[1].key", "another charge"},
        {PLAN(CHARGE( "\"model\":\"standard\",\"params\":{\"amount\":\"1\"}") ",{\"key\":"
         "\"d\",\"name\":\"D\",\"meter\":\"m\",\"model\":\"standard\",\"params\":{"
         "\"amount\":\"1\"}}"), "plans[0].charges[1].meter", "charged once"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"a b\",\"name\":\"P\","
         "\"charges\":[]}]}", "plans[0].key", "lower-case"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"\","
         "\"charges\":[]}]}", "plans[0].name", "empty"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"P\","
         "\"kind\":\"base\",\"charges\":[]}]}", "plans[0].kind", "tier"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"P\","
         "\"prices\":{},\"charges\":[]}]}", "plans[0].prices", "monthly"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"P\","
         "\"minimum\":5,\"charges\":[]}]}", "plans[0].minimum", "string"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"P\","
         "\"prices\":{\"annual\":\"5\"},\"minimum\":\"1\",\"charges\":[]}]}", "plans[0].minimum",
         "annual price"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"P\","
         "\"prices\":{\"weekly\":\"1\"},\"charges\":[]}]}", "plans[0].prices.weekly", "no "
         "such key"},
        {"{\"currency\":\"USD\",\"meters\":[],\"plans\":[{\"key\":\"p\",\"name\":\"P\","
         "\"charges\":" "[]},{\"key\":\"p\",\"name\":\"P\",\"charges\":[]}]}", "plans[1].key",
         "another plan"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct catalog catalog = {.plans_count = 77};
        struct error error = {0};
        cr_assert_eq(
            read_text(cases[i].text, &arena, &catalog, &error),
            STATUS_INVALID,
            "%s",
            cases[i].text);
        cr_assert_not_null(strstr(error.text, cases[i].place), "case %zu: %s", i, error.text);
        cr_assert_not_null(strstr(error.text, cases[i].reason), "case %zu: %s", i, error.text);
        cr_assert_eq(catalog.plans_count, 77, "case %zu", i);
    }
}

// Whatever is cut off, it is refused, and nothing is read beyond the end (AddressSanitizer looks
// on).
Test(catalog, refuses_every_truncation)
{
    static const char text[] = PLAN(
        CHARGE("\"model\":\"graduated\",\"params\":{\"tiers\":[{\"to\":null,\"unit\":\"1\"}]}"));
    for (size_t size = 0; size < sizeof text - 1; size++) {
        scoped(arena_done) struct arena arena = {0};
        struct catalog catalog;
        struct error error;
        char *copy = malloc(size + 1);
        memcpy(copy, text, size);
        cr_assert_eq(
            catalog_read(bytes_of(copy, size), "c.json", &arena, &catalog, &error), STATUS_INVALID);
        free(copy);
    }
}

static char *
file_text(const char *path, size_t *out_size)
{
    const char *root = getenv("TALLY_SOURCE_DIR");
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", root != NULL ? root : ".", path);
    FILE *file = fopen(full, "rb");
    cr_assert_not_null(file, "%s: run under ctest, or from the root of the repository", full);
    char *text = malloc(1 << 20);
    *out_size = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

Test(catalog, aura_has_the_guides_prices)
{
    static const struct {
        const char *plan, *monthly, *annual;
    } plans[] = {
        {"free",       "0",    "0"    },
        {"starter",    "99",   "950"  },
        {"growth",     "299",  "2870" },
        {"pro",        "799",  "7670" },
        {"enterprise", "2499", "23990"}
    };
    static const struct {
        const char *meter, *price, *free_units;
    } usage[] = {
        {"event_tracked",       "0.001",   "10000"},
        {"profile_enrichment",  "0.1",     "100"  },
        {"audience_activation", "50",      "1"    },
        {"ai_brief_generated",  "0.05",    "10"   },
        {"segment_computation", "0.01",    "5000" },
        {"data_export",         "0.0001",  "1000" },
        {"api_call",            "0.00001", "10000"},
        {"email_sent",          "0.001",   "1000" },
        {"sms_sent",            "0.01",    "100"  },
        {"webhook_delivery",    "0.0001",  "1000" }
    };
    scoped(arena_done) struct arena arena = {0};
    struct catalog catalog;
    struct error error;
    size_t size = 0;
    char *text = file_text("billing/catalog/aura.json", &size);
    cr_assert_eq(
        catalog_read(bytes_of(text, size), "aura.json", &arena, &catalog, &error),
        STATUS_OK,
        "%s",
        error.text);
    cr_assert_eq(catalog.plans_count, 5);
    cr_assert_eq(catalog.meters_count, 10);
    for (size_t i = 0; i < 5; i++) {
        char number[DECIMAL_TEXT_MAX];
        const struct plan *plan = catalog_plan(&catalog, plans[i].plan);
        cr_assert_not_null(plan);
        decimal_print(plan->monthly.amount, number);
        cr_assert_str_eq(number, plans[i].monthly);
        decimal_print(plan->annual.amount, number);
        cr_assert_str_eq(number, plans[i].annual);
        cr_assert_eq(plan->charges_count, 10);
        for (size_t j = 0; j < 10; j++) {
            const struct charge *charge = plan_charge(plan, usage[j].meter);
            cr_assert_str_eq(rational_text(charge->price.amount, &arena), usage[j].price);
            decimal_print(charge->free_units, number);
            cr_assert_str_eq(number, i == 0 ? usage[j].free_units : "0");
        }
    }
    free(text);
}

Test(catalog, reads_and_writes_filters_of_meters)
{
    static const char text[] =
        "{\"currency\":\"USD\",\"meters\":[{\"key\":\"m\",\"event_type\":\"t\","
        "\"aggregation\":\"sum\",\"filters\":{\"$.z\":[\"b\",\"a\"],\"y\":\"1\"}}],"
        "\"plans\":[]}";
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer buffer = {0};
    struct catalog catalog;
    struct error error = {0};
    cr_assert_eq(
        catalog_read(bytes_text(text), "c.json", &arena, &catalog, &error),
        STATUS_OK,
        "%s",
        error.text);
    struct json_out out = json_out_to(&buffer);
    meter_write(&out, &catalog.meters[0]);
    static const char written[] =
        "{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":\"sum\",\"filters\":{"
        "\"$.y\":[\"1\"],\"$.z\":[\"a\",\"b\"]}}";
    cr_assert(bytes_equal(buffer_view(&buffer), bytes_text(written)));
}

// Read, written and read again, every model says the same; what differs is seen.
Test(catalog, writes_every_model_as_it_was_read)
{
    static const char *const charges[] = {
        "\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"}",
        "\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"},\"free_units\":\"3\"",
        "\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"},\"minimum\":\"3\"",
        "\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"},\"maximum\":\"3\"",
        "\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"},\"pay_in_advance\":true",
        "\"model\":\"dynamic\",\"params\":{\"subunit\":\"1024\"},\"pay_in_advance\":true,"
        "\"price_property\":\"$.p\"",
        "\"model\":\"graduated\",\"params\":{\"tiers\":[{\"to\":\"1.5\",\"unit\":\"1\",\"flat\":"
        "\"0\"},{\"to\":null,\"unit\":\"2\",\"flat\":\"3\"}]}",
        "\"model\":\"volume\",\"params\":{\"tiers\":[{\"to\":\"1.5\",\"unit\":\"1\",\"flat\":"
        "\"0\"},{\"to\":null,\"unit\":\"2\",\"flat\":\"3\"}]}",
        "\"model\":\"graduated_percentage\",\"params\":{\"tiers\":[{\"to\":null,\"rate\":\"2.5\","
        "\"flat\":\"3\"}]}",
        "\"model\":\"package\",\"params\":{\"amount\":\"5\",\"size\":\"100\"}",
        "\"model\":\"package\",\"params\":{\"amount\":\"5\",\"size\":\"100\",\"free\":\"7\","
        "\"bill_min_one\":true}",
        "\"model\":\"percentage\",\"params\":{\"rate\":\"2.9\"}",
        "\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"},\"dimension\":\"d\",\"values\":{"
        "\"aws\":{\"amount\":\"0.08\"},\"gcp\":{\"amount\":\"0.1\"}}",
        "\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"},\"dimension\":\"d\",\"values\":{"
        "\"aws\":{\"amount\":\"0.08\"}}",
    };
    enum { COUNT = sizeof charges / sizeof charges[0] };
    scoped(arena_done) struct arena arena = {0};
    struct charge read[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        const char *object =
            arena_format(&arena, "{\"key\":\"c\",\"name\":\"C\",\"meter\":\"m\",%s}", charges[i]);
        const char *text = arena_format(
            &arena,
            "{\"currency\":\"USD\"," METERS ",\"plans\":[{\"key\":\"p\",\"name\":\"P\",\"charges\":"
            "[%s]}]}",
            object);
        scoped(buffer_done) struct buffer buffer = {0};
        struct catalog catalog;
        struct error error = {0};
        cr_assert_eq(read_text(text, &arena, &catalog, &error), STATUS_OK, "%s", error.text);
        read[i] = catalog.plans[0].charges[0];
        struct json_out out = json_out_to(&buffer);
        charge_write(&out, &read[i]);
        cr_assert(
            bytes_equal(buffer_view(&buffer), bytes_text(object)),
            "%.*s",
            (int)buffer.size,
            (const char *)buffer.data);
        for (size_t k = 0; k <= i; k++)
            cr_assert_eq(charge_equal(&read[i], &read[k]), i == k, "%zu and %zu", i, k);
    }
}
