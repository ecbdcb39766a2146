// What a charge makes of a period's usage: free units, clamping, least and most.

#include "billing/charge.h"

#include "base/clock.h"
#include "billing/document.h"

#include <criterion/criterion.h>

#include <string.h>

static struct decimal
decimal_of(const char *text)
{
    struct decimal value;
    bool is_rounded = false;
    cr_assert_eq(decimal_parse(bytes_text(text), &value, &is_rounded), STATUS_OK, "%s", text);
    return value;
}

static struct charge
charge_of(const char *rest, struct arena *arena)
{
    const char *text = arena_format(arena, "{\"key\":\"c\",\"name\":\"C\",%s}", rest);
    struct json *root = NULL;
    struct error error = {0};
    struct document in = {.name = "c", .arena = arena, .error = &error};
    struct charge charge;
    cr_assert_eq(
        json_parse(bytes_text(text), &(struct json_limits){0}, arena, &root, &error),
        STATUS_OK,
        "%s",
        error.text);
    charge_read(&in, root, &charge);
    cr_assert_eq(in.status, STATUS_OK, "%s", error.text);
    return charge;
}

#define STANDARD "\"meter\":\"m\",\"model\":\"standard\",\"params\":{\"amount\":\"0.5\"}"
#define TIERS                                                                                      \
    "\"tiers\":[{\"to\":\"10\",\"unit\":\"2\",\"flat\":\"100\"},"                                  \
    "{\"to\":null,\"unit\":\"1\",\"flat\":\"50\"}]"
#define GRADUATED "\"meter\":\"m\",\"model\":\"graduated\",\"params\":{" TIERS "}"
#define VOLUME    "\"meter\":\"m\",\"model\":\"volume\",\"params\":{" TIERS "}"
#define PACKAGE                                                                                    \
    "\"meter\":\"m\",\"model\":\"package\",\"params\":{\"amount\":\"5\",\"size\":\"100\","         \
    "\"free\":\"10\"}"
#define PERCENTAGE "\"meter\":\"m\",\"model\":\"percentage\",\"params\":{\"rate\":\"2.9\"}"
#define GRADUATED_PERCENTAGE                                                                       \
    "\"meter\":\"m\",\"model\":\"graduated_percentage\",\"params\":{\"tiers\":[{\"to\":\"100\","   \
    "\"rate\":\"5\"},{\"to\":null,\"rate\":\"2\",\"flat\":\"10\"}]}"
#define FLAT  "\"model\":\"flat\",\"params\":{\"amount\":\"0.5\"}"
#define FREE  ",\"free_units\":"
#define LEAST ",\"minimum\":"
#define MOST  ",\"maximum\":"

Test(charge, prices_usage)
{
    // clang-format off
    static const struct {
        const char *charge, *usage;
        int64_t days;  // of 30
        const char *expected, *priced, *clamped;
    } cases[] = {
        {STANDARD, "7", 30, "3.5", "7", "0"},
        {STANDARD FREE "\"10\"", "7", 30, "0", "0", "0"},
        {STANDARD FREE "\"10\"", "10", 30, "0", "0", "0"},
        {STANDARD FREE "\"10\"", "10.5", 30, "0.25", "0.5", "0"},
        {STANDARD FREE "\"10\"", "-7", 30, "0", "0", "-7"},
        {GRADUATED, "0", 30, "100", "0", "0"},
        {GRADUATED FREE "\"5\"", "3", 30, "100", "0", "0"},
        {GRADUATED FREE "\"5\"", "15", 30, "120", "10", "0"},
        {GRADUATED FREE "\"5\"", "16", 30, "171", "11", "0"},
        {GRADUATED, "-1", 30, "0", "0", "-1"},
        {VOLUME, "0", 30, "100", "0", "0"},
        {VOLUME, "10", 30, "120", "10", "0"},
        {VOLUME, "11", 30, "61", "11", "0"},
        {VOLUME FREE "\"1\"", "11", 30, "120", "10", "0"},
        {PACKAGE, "10", 30, "0", "10", "0"},
        {PACKAGE, "110", 30, "5", "110", "0"},
        {PACKAGE, "110.001", 30, "10", "110.001", "0"},
        {PACKAGE, "-5", 30, "0", "0", "-5"},
        {PERCENTAGE, "4", 30, "0.116", "4", "0"},
        {PERCENTAGE FREE "\"4\"", "4", 30, "0", "0", "0"},
        {GRADUATED_PERCENTAGE, "150", 30, "16", "150", "0"},
        {GRADUATED_PERCENTAGE, "100", 30, "5", "100", "0"},
        {FLAT, "0", 30, "0.5", "0", "0"},
        // Least and most; the least by days when the period is cut, the most is the period's.
        {STANDARD LEAST "\"10\"", "7", 30, "10", "7", "0"},
        {STANDARD LEAST "\"10\"", "7", 15, "5", "7", "0"},
        {STANDARD LEAST "\"10\"", "7", 6, "3.5", "7", "0"},
        {STANDARD LEAST "\"10\"", "0", 1, "0.33333333333333333333", "0", "0"},
        {STANDARD LEAST "\"10\"", "-7", 30, "10", "0", "-7"},
        {STANDARD LEAST "\"10\"", "20", 30, "10", "20", "0"},
        {STANDARD LEAST "\"10\"", "21", 30, "10.5", "21", "0"},
        {STANDARD MOST "\"10\"", "21", 30, "10", "21", "0"},
        {STANDARD MOST "\"10\"", "21", 3, "10", "21", "0"},
        {STANDARD MOST "\"10\"", "19", 30, "9.5", "19", "0"},
        {STANDARD LEAST "\"2\"" MOST "\"3\"", "5", 30, "2.5", "5", "0"},
        {STANDARD MOST "\"0\"", "5", 30, "0", "5", "0"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(abacus_done) struct abacus abacus = {.arena = &arena, .wants_steps = true};
        struct charge charge = charge_of(cases[i].charge, &arena);
        struct charge_usage usage = {
            .units = decimal_of(cases[i].usage), .days = cases[i].days, .days_full = 30};
        const struct rational *amount = NULL;
        struct charge_units units = charge_rate(&abacus, &charge, &usage, &amount);
        cr_assert_str_eq(rational_text(amount, &arena), cases[i].expected, "case %zu", i);
        cr_assert_str_eq(rational_text(units.priced, &arena), cases[i].priced, "case %zu", i);
        cr_assert_str_eq(rational_text(units.clamped, &arena), cases[i].clamped, "case %zu", i);
        cr_assert_not_null(abacus.first, "case %zu says nothing", i);
    }
}

Test(charge, says_how_its_amount_came_about)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(abacus_done) struct abacus abacus = {.arena = &arena, .wants_steps = true};
    struct charge charge = charge_of(GRADUATED LEAST "\"300\"", &arena);
    struct charge_usage usage = {.units = decimal_of("12"), .days = 15, .days_full = 30};
    const struct rational *amount = NULL;
    (void)charge_rate(&abacus, &charge, &usage, &amount);
    static const char *const steps[] = {
        "(0, 10]  10 x 2 + 100 = 120",
        "(10, ...]  2 x 1 + 50 = 52",
        "at least, by days:",
        "300 x 15 / 30 = 150",
    };
    const struct abacus_step *step = abacus.first;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++, step = step->next)
        cr_assert_str_eq(step->text, steps[i]);
    cr_assert_null(step);
    cr_assert_str_eq(rational_text(amount, &arena), "172");
}

#define HOLD(model, params, more)                                                                  \
    "\"meter\":\"m\",\"model\":\"" model "\",\"params\":{" params "}" more
#define FEES   "\"rate\":\"1.3\",\"fixed\":\"2\""
#define LIMITS "\"rate\":\"2.99\",\"min\":\"1.75\",\"max\":\"12\""
#define SEATS                                                                                      \
    "\"tiers\":[{\"to\":\"5\",\"unit\":\"10\",\"flat\":\"100\"},{\"to\":null,"                     \
    "\"unit\":\"5\",\"flat\":\"50\"}]"
#define PARTIES                                                                                    \
    "\"tiers\":[{\"to\":\"1000\",\"prices\":{\"first\":\"0.12\",\"default\":\"0.15\"}},"           \
    "{\"to\":null,\"prices\":{\"first\":\"0.1\",\"default\":\"0.12\"}}]"
#define KEY      ",\"dimension\":\"party\""
#define WEIGHTED ",\"recurring\":\"weighted\""
#define PRORATED ",\"recurring\":\"prorated\""
#define PRICE    ",\"price_property\":\"price\""

#define AT(time, units)                                                                            \
    {                                                                                              \
        time, units, NULL, NULL                                                                    \
    }

enum { CASE_EVENTS_MAX = 7 };

struct case_event {
    const char *time, *units, *price, *key;
};

// Of August 2023, which has 31 days. Most are worked cases of the reference.
Test(charge, prices_single_events_and_levels)
{
    // clang-format off
    static const struct {
        const char *charge, *initial;
        struct case_event events[CASE_EVENTS_MAX];
        const char *expected, *used, *clamped;
    } cases[] = {
        {HOLD("percentage", FEES, ""), "0", {AT("01", "50"), AT("02", "100"), AT("03", "250"),
         AT("04", "400")}, "18.4", "800", "0"},
        {HOLD("percentage", FEES ",\"free_events\":3", ""), "0", {AT("01", "50"), AT("02", "100"),
         AT("03", "250"), AT("04", "400")}, "7.2", "800", "0"},
        {HOLD("percentage", FEES ",\"free_events\":\"3\",\"free_amount\":\"250\"", ""), "0",
         {AT("01", "50"), AT("02", "100"), AT("03", "250"), AT("04", "400")}, "11.15", "800", "0"},
        {HOLD("percentage", LIMITS, ""), "0", {AT("01", "10"), AT("02", "80"), AT("03", "10000")},
         "16.142", "10090", "0"},
        {HOLD("percentage", LIMITS ",\"free_events\":2", ""), "0",
         {AT("01", "10"), AT("02", "80"), AT("03", "10000")}, "12", "10090", "0"},
        {HOLD("percentage", LIMITS, ",\"maximum\":\"13\""), "0",
         {AT("01", "10"), AT("02", "80"), AT("03", "10000")}, "13", "10090", "0"},
        {HOLD("percentage", FEES, ""), "0", {AT("01", "-5")}, "0", "0", "-5"},
        {HOLD("percentage", FEES, ",\"minimum\":\"3\""), "0", {{0}}, "3", "0", "0"},
        {HOLD("dynamic", "", PRICE), "0", {{"01", "1", "1234.56", NULL}, {"02", "1", "2.1", NULL}},
         "12.3666", "2", "0"},
        {HOLD("dynamic", "\"subunit\":\"1\"", PRICE), "0", {{"01", "1", "1.5", NULL},
         {"02", "1", "2", NULL}},
         "3.5", "2", "0"},
        {HOLD("dynamic", "", PRICE), "0", {{"01", "1", "5", NULL},
         {"02", "-1", "5", NULL}}, "0", "0", "0"},
        {HOLD("custom_fold", PARTIES, KEY), "0", {{"01", "1000", NULL, "first"},
         {"02", "1", NULL, "third"}, {"03", "1", NULL, "first"}}, "120.22", "1002", "0"},
        {HOLD("custom_fold", PARTIES, KEY), "0", {{"01", "1001", NULL, "first"},
         {"02", "-3", NULL, "first"}, {"03", "2", NULL, ""}}, "120.34", "1000", "0"},
        {HOLD("standard", "\"amount\":\"2\"", WEIGHTED), "1000", {{0}}, "2000", "1000", "0"},
        {HOLD("standard", "\"amount\":\"2\"", WEIGHTED), "0",
         {AT("16T12:00:00", "3"), AT("16T12:00:00", "3")}, "6", "3", "0"},
        {HOLD("standard", "\"amount\":\"2\"", WEIGHTED), "0", {AT("01", "-4")}, "0", "0", "-4"},
        {HOLD("package", "\"amount\":\"5\",\"size\":\"2\"", WEIGHTED), "0",
         {AT("16T12:00:00", "9")}, "15", "4.5", "0"},
        {HOLD("standard", "\"amount\":\"1\"", PRORATED), "5", {AT("26", "12"), AT("26", "12")},
         "9.64517", "9.64517", "0"},
        {HOLD("standard", "\"amount\":\"1\"", PRORATED), "0", {AT("16T23:59:59", "1")},
         "0.51613", "0.51613", "0"},
        {HOLD("volume", SEATS, PRORATED), "3", {AT("16", "4")}, "75.32260", "5.06452", "0"},
        {HOLD("volume", SEATS, PRORATED), "3", {AT("16", "2")}, "140.3226", "4.03226", "0"},
        {HOLD("graduated", SEATS, PRORATED), "0", {{0}}, "100", "0", "0"},
        {HOLD("graduated", SEATS, PRORATED), "4", {AT("01", "2"), AT("01", "-3")}, "180", "3", "0"},
        {HOLD("graduated", SEATS, PRORATED), "5", {AT("01", "-100")}, "0", "0", "-95"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(abacus_done) struct abacus abacus = {.arena = &arena, .wants_steps = true};
        struct charge charge = charge_of(cases[i].charge, &arena);
        struct charge_event events[CASE_EVENTS_MAX] = {0};
        struct charge_usage usage = {.days = 31, .days_full = 31, .events = events, .decimals = 2};
        usage.initial = decimal_of(cases[i].initial);
        cr_assert_eq(clock_parse(bytes_text("2023-08-01"), &usage.from_ns), STATUS_OK);
        usage.to_ns = usage.from_ns + 31 * DAY_NS;
        for (const struct case_event *event = cases[i].events; event->time != NULL; event++) {
            struct charge_event *out = &events[usage.events_count++];
            const char *hour = strlen(event->time) > 2 ? "Z" : "T00:00:00Z";
            const char *time = arena_format(&arena, "2023-08-%s%s", event->time, hour);
            cr_assert_eq(clock_parse(bytes_text(time), &out->time_ns), STATUS_OK, "%s", time);
            out->units = decimal_of(event->units);
            out->price_minor = event->price != NULL ? decimal_of(event->price) : DECIMAL_ZERO;
            out->key = event->key != NULL ? event->key : "";
            cr_assert(decimal_add(&usage.units, out->units));
        }
        const struct rational *amount = NULL;
        cr_assert(charge_needs_events(&charge), "case %zu", i);
        struct charge_units units = charge_rate(&abacus, &charge, &usage, &amount);
        cr_assert_eq(
            rational_compare(amount, abacus_decimal(&abacus, decimal_of(cases[i].expected))),
            0,
            "case %zu: %s",
            i,
            rational_text(amount, &arena));
        cr_assert_str_eq(rational_text(units.used, &arena), cases[i].used, "case %zu", i);
        cr_assert_str_eq(rational_text(units.clamped, &arena), cases[i].clamped, "case %zu", i);
        cr_assert_not_null(abacus.first, "case %zu says nothing", i);
    }
}

#define ADVANCE    ",\"pay_in_advance\":true"
#define FREE_TWICE "\"rate\":\"5\",\"fixed\":\"1\",\"free_events\":2"

// Texts of exact and billed fees, a space after each.
static void
fees_check(
    const char *expected_exact,
    const char *expected_billed,
    const struct charge_fees *fees,
    uint32_t count,
    size_t index,
    struct arena *arena)
{
    const char *exact = "", *billed = "";
    for (uint32_t i = 0; i < count; i++) {
        exact = arena_format(arena, "%s%s ", exact, fees->items[i].exact);
        billed = arena_format(arena, "%s%s ", billed, fees->items[i].billed);
    }
    cr_assert_str_eq(exact, expected_exact, "case %zu", index);
    cr_assert_str_eq(billed, expected_billed, "case %zu", index);
}

// Worked cases of the reference (2.16), then what it leaves to us.
Test(charge, has_a_fee_for_each_event_that_is_paid_in_advance)
{
    // clang-format off
    static const struct {
        const char *charge, *carried;
        struct case_event events[CASE_EVENTS_MAX];
        const char *exact, *billed, *remainder, *used, *clamped;
    } cases[] = {
        {HOLD("standard", "\"amount\":\"1\"", ADVANCE), NULL, {AT("01", "10"), AT("02", "-4"),
         AT("03", "8")}, "10 0 4 ", "1000 0 400 ", "0", "14", "0"},
        {HOLD("standard", "\"amount\":\"12\"", ADVANCE), NULL, {AT("01", "1"), AT("02", "-1"),
         AT("03", "1"), AT("04", "1"), AT("05", "0"), AT("06", "-1")},
         "12 0 0 12 0 0 ", "1200 0 0 1200 0 0 ", "0", "2", "-1"},
        {HOLD("package", "\"amount\":\"100\",\"size\":\"2\",\"free\":\"3\"", ADVANCE), NULL,
         {AT("01", "3"), AT("02", "1"), AT("03", "2")}, "0 100 100 ", "0 10000 10000 ", "0", "6",
         "0"},
        {HOLD("percentage", FREE_TWICE, ADVANCE), NULL, {AT("01", "8"), AT("02", "5"),
         AT("03", "3")}, "0 0 1.15 ", "0 0 115 ", "0", "16", "0"},
        {HOLD("percentage", "\"rate\":\"1\",\"fixed\":\"0.5\",\"min\":\"1.75\",\"max\":\"2\"",
         ADVANCE), NULL, {AT("01", "100"), AT("02", "1000"), AT("03", "10000")}, "1.75 2 2 ",
         "175 200 200 ", "0", "11100", "0"},
        {HOLD("dynamic", "", PRICE ADVANCE), NULL, {{"01", "1", "1234.56", NULL},
         {"02", "1", "2.1", NULL}}, "12.3456 0.021 ", "1235 2 ", "-0.34", "2", "0"},
        // The flat fee comes with the first event, and with the one that reaches the next tier.
        {HOLD("graduated", TIERS, ADVANCE), NULL, {AT("01", "0"), AT("02", "10"), AT("03", "1")},
         "100 20 51 ", "10000 2000 5100 ", "0", "11", "0"},
        {HOLD("graduated", TIERS, ADVANCE), NULL, {{0}}, "", "", "0", "0", "0"},
        {HOLD("graduated", TIERS, ADVANCE), "0.25", {{0}}, "", "", "0.25", "0", "0"},
        // An event that takes back, or fills up again, is none of the events that are counted.
        {HOLD("percentage", "\"rate\":\"1\",\"fixed\":\"1\"", ADVANCE), NULL, {AT("01", "10"),
         AT("02", "-4"), AT("03", "8"), AT("04", "0")}, "1.1 0 1.04 1 ", "110 0 104 100 ", "0",
         "14", "0"},
        {HOLD("dynamic", "", PRICE ADVANCE), NULL, {{"01", "10", "5", NULL},
         {"02", "-4", "3", NULL}, {"03", "4", "2", NULL}, {"04", "1", "7", NULL}},
         "0.05 0 0 0.07 ", "5 0 0 7 ", "0", "11", "0"},
        {HOLD("custom_fold", PARTIES, KEY ADVANCE), NULL, {{"01", "1001", NULL, "first"},
         {"02", "-3", NULL, "first"}, {"03", "5", NULL, "third"}}, "120.1 0 0.24 ", "12010 0 24 ",
         "0", "1003", "0"},
        {HOLD("standard", "\"amount\":\"1\"", ADVANCE), NULL, {AT("01", "-5"), AT("02", "8")},
         "0 3 ", "0 300 ", "0", "3", "0"},
        // Free units are taken off before pricing; a maximum is that of all fees.
        {HOLD("standard", "\"amount\":\"0.5\"", ADVANCE FREE "\"10\""), NULL, {AT("01", "7"),
         AT("02", "4"), AT("03", "1")}, "0 0.5 0.5 ", "0 50 50 ", "0", "12", "0"},
        {HOLD("graduated", TIERS, ADVANCE FREE "\"10\""), NULL, {AT("01", "7"), AT("02", "4")},
         "100 2 ", "10000 200 ", "0", "11", "0"},
        {HOLD("standard", "\"amount\":\"2\"", ADVANCE MOST "\"5\""), NULL, {AT("01", "2"),
         AT("02", "2"), AT("03", "9")}, "4 1 0 ", "400 100 0 ", "0", "13", "0"},
        // What rounding leaves is carried from fee to fee, in and out.
        {HOLD("standard", "\"amount\":\"0.002\"", ADVANCE), NULL, {AT("01", "1"), AT("02", "1"),
         AT("03", "1"), AT("04", "1")}, "0.002 0.002 0.002 0.002 ", "0 0 1 0 ", "-0.2", "4", "0"},
        {HOLD("standard", "\"amount\":\"0.002\"", ADVANCE), "-0.2", {AT("01", "1"), AT("02", "1"),
         AT("03", "1"), AT("04", "1")}, "0.002 0.002 0.002 0.002 ", "0 0 0 1 ", "-0.4", "4", "0"},
        {HOLD("standard", "\"amount\":\"0.002\"", ADVANCE), "-0.5", {AT("01", "0"), AT("02", "5")},
         "0 0.01 ", "0 1 ", "-0.5", "5", "0"},
        {HOLD("standard", "\"amount\":\"0.002\"", ADVANCE), "0.49", {AT("01", "1")}, "0.002 ", "1 ",
         "-0.31", "1", "0"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(abacus_done) struct abacus abacus = {.arena = &arena, .wants_steps = i % 2 == 0};
        struct charge charge = charge_of(cases[i].charge, &arena);
        struct charge_event events[CASE_EVENTS_MAX] = {0};
        struct charge_usage usage = {
            .days = 1,
            .days_full = 1,
            .events = events,
            .decimals = 2,
            .carried = cases[i].carried};
        for (const struct case_event *event = cases[i].events; event->time != NULL; event++) {
            struct charge_event *out = &events[usage.events_count++];
            out->units = decimal_of(event->units);
            out->price_minor = event->price != NULL ? decimal_of(event->price) : DECIMAL_ZERO;
            out->key = event->key;
            cr_assert(decimal_add(&usage.units, out->units));
        }
        struct charge_fees fees;
        cr_assert(charge_needs_events(&charge), "case %zu", i);
        struct charge_units units = charge_rate_in_advance(&abacus, &charge, &usage, &arena, &fees);
        fees_check(cases[i].exact, cases[i].billed, &fees, usage.events_count, i, &arena);
        cr_assert_str_eq(fees.remainder, cases[i].remainder, "case %zu", i);
        cr_assert_str_eq(rational_text(units.used, &arena), cases[i].used, "case %zu", i);
        cr_assert_str_eq(rational_text(units.clamped, &arena), cases[i].clamped, "case %zu", i);
        // What is billed and what is left make up what is due and what was there.
        const struct rational *carried = &RATIONAL_ZERO, *left = NULL;
        if (cases[i].carried != NULL)
            cr_assert_eq(abacus_parse(&abacus, bytes_text(cases[i].carried), &carried), STATUS_OK);
        cr_assert_eq(abacus_parse(&abacus, bytes_text(fees.remainder), &left), STATUS_OK);
        const struct rational *due =
            abacus_add(&abacus, carried, abacus_shift(&abacus, fees.exact, -2));
        cr_assert_eq(
            rational_compare(due, abacus_add(&abacus, fees.billed_minor, left)), 0, "case %zu", i);
    }
}
