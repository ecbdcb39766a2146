// What a charge makes of a period's usage: free units, clamping, least and most.

#include "billing/catalog.h"
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
        struct charge_usage usage = {decimal_of(cases[i].usage), cases[i].days, 30, NULL};
        const struct rational *amount = NULL;
        struct charge_units units = charge_rate(&abacus, &charge, &usage, &amount);
        cr_assert_str_eq(rational_text(amount, &arena), cases[i].expected, "case %zu", i);
        cr_assert_eq(units.priced.units, decimal_of(cases[i].priced).units, "case %zu", i);
        cr_assert_eq(units.clamped.units, decimal_of(cases[i].clamped).units, "case %zu", i);
        cr_assert_not_null(abacus.first, "case %zu says nothing", i);
    }
}

Test(charge, says_how_its_amount_came_about)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(abacus_done) struct abacus abacus = {.arena = &arena, .wants_steps = true};
    struct charge charge = charge_of(GRADUATED LEAST "\"300\"", &arena);
    struct charge_usage usage = {decimal_of("12"), 15, 30, NULL};
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
