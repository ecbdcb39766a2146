// Invoices as functions of their input: lines, rounding, clamping, proration, and the recorded
// document.

#include "billing/invoice.h"

#include "billing/explain.h"

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

static int64_t
day(const char *text)
{
    int64_t ns = 0;
    cr_assert_eq(clock_parse(bytes_text(text), &ns), STATUS_OK, "%s", text);
    return ns;
}

// What every case starts from: a plan of the catalogue, and November 2023.
static struct plan
plan_of(const char *text, struct arena *arena)
{
    struct catalog catalog;
    struct error error;
    cr_assert_eq(
        catalog_read(bytes_text(text), "t.json", arena, &catalog, &error),
        STATUS_OK,
        "%s",
        error.text);
    struct plan plan = catalog.plans[0];
    plan.catalogue_version = 3;
    return plan;
}

static struct invoice_input
input_of(const struct plan *plan, const struct decimal *usage)
{
    return (struct invoice_input){
        .customer = "acme",
        .subscription = "sub_1",
        .cycle = CYCLE_MONTHLY,
        .kind = INVOICE_SUBSCRIPTION,
        .generation = 1,
        .period = {day("2023-11-01"), day("2023-12-01"), day("2023-12-01")},
        .plan = plan,
        .usage = usage,
        .has_fee = true,
        .has_usage = true,
        .as_of_ns = day("2023-12-02"),
        .run_ns = day("2023-12-02"),
    };
}

#define TOKENS                                                                                     \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"ctx\",\"event_type\":\"t\",\"aggregation\":"     \
    "\"sum\"},"                                                                                    \
    "{\"key\":\"gen\",\"event_type\":\"t\",\"aggregation\":\"sum\"}],\"plans\":[{\"key\":\"llm\"," \
    "\"name\":\"LLM\","                                                                            \
    "\"charges\":[{\"key\":\"ctx\",\"name\":\"Context "                                            \
    "tokens\",\"meter\":\"ctx\",\"model\":\"standard\","                                           \
    "\"params\":{\"amount\":\"0.0000025\"}},{\"key\":\"gen\",\"name\":\"Generated "                \
    "tokens\",\"meter\":\"gen\","                                                                  \
    "\"model\":\"standard\",\"params\":{\"amount\":\"0.00001\"}}]}]}"

Test(invoice, bills_the_azure_traces)
{
    static const struct {
        const char *context, *generated;
        int64_t context_minor, generated_minor, total_minor;
    } cases[] = {
        {"22361870", "4088665", 5590, 4089, 9679},
        {"18059974", "245896",  4515, 246,  4761},
    };
    for (size_t i = 0; i < 2; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct plan plan = plan_of(TOKENS, &arena);
        struct decimal usage[] = {decimal_of(cases[i].context), decimal_of(cases[i].generated)};
        struct invoice_input input = input_of(&plan, usage);
        struct invoice invoice;
        struct error error;
        cr_assert_eq(
            invoice_compute(&input, &arena, &invoice, &error), STATUS_OK, "%s", error.text);
        cr_assert_eq(invoice.lines_count, 2);
        cr_assert_eq(invoice.lines[0].amount_minor, cases[i].context_minor);
        cr_assert_eq(invoice.lines[1].amount_minor, cases[i].generated_minor);
        cr_assert_eq(invoice.total_minor, cases[i].total_minor);
        cr_assert_str_eq(invoice.status, "draft");
    }
}

#define MIXED                                                                                      \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"a\",\"event_type\":\"t\",\"aggregation\":"       \
    "\"sum\"},"                                                                                    \
    "{\"key\":\"b\",\"event_type\":\"t\",\"aggregation\":\"sum\"}],\"plans\":[{\"key\":\"mixed\"," \
    "\"name\":\"Mixed\","                                                                          \
    "\"prices\":{\"monthly\":\"99\",\"annual\":\"950\"},\"charges\":["                             \
    "{\"key\":\"a\",\"name\":\"A\",\"meter\":\"a\",\"model\":\"standard\",\"params\":{\"amount\":" \
    "\"0.1\"},\"free_units\":\"10\"},"                                                             \
    "{\"key\":\"b\",\"name\":\"B\",\"meter\":\"b\",\"model\":\"graduated\",\"params\":{\"tiers\":" \
    "[{\"to\":\"10\",\"unit\":\"2\",\"flat\":\"100\"},"                                            \
    "{\"to\":null,\"unit\":\"1\",\"flat\":\"50\"}]}},"                                             \
    "{\"key\":\"s\",\"name\":\"Support\",\"model\":\"flat\",\"params\":{\"amount\":\"10\"}}]}]}"

struct expected_line {
    enum invoice_line_kind kind;
    const char *quantity, *clamped, *exact;
    int64_t minor;
};

Test(invoice, has_lines_for_what_is_due)
{
    // clang-format off
    static const struct {
        const char *a, *b, *to;  // usage, and the end when it is cut
        bool has_fee, has_usage;
        size_t count;
        struct expected_line lines[4];
        int64_t total;
    } cases[] = {
        // No usage: fee, the first tier's flat fee, and the flat charge are due all the same.
        {"0", "0", NULL, true, true, 3,
         {{LINE_FEE, "1", "0", "99", 9900}, {LINE_USAGE, "0", "0", "100", 10000},
          {LINE_FLAT, "1", "0", "10", 1000}}, 20900},
        // Within the free units: a line of nothing, so that one sees it.
        {"7", "11", NULL, true, true, 4,
         {{LINE_FEE, "1", "0", "99", 9900}, {LINE_USAGE, "7", "0", "0", 0},
          {LINE_USAGE, "11", "0", "171", 17100}, {LINE_FLAT, "1", "0", "10", 1000}}, 28000},
        {"10.05", "10", NULL, false, true, 3,
         {{LINE_USAGE, "10.05", "0", "0.005", 1}, {LINE_USAGE, "10", "0", "120", 12000},
          {LINE_FLAT, "1", "0", "10", 1000}}, 13001},
        // Net negative usage is billed as nothing, and said.
        {"-3", "-0.5", NULL, false, true, 3,
         {{LINE_USAGE, "0", "-3", "0", 0}, {LINE_USAGE, "0", "-0.5", "0", 0},
          {LINE_FLAT, "1", "0", "10", 1000}}, 1000},
        // The fee alone.
        {"5", "5", NULL, true, false, 1, {{LINE_FEE, "1", "0", "99", 9900}}, 9900},
        // Cut after 10 of 30 days: fee and flat charge by days, usage as it is.
        {"0", "1", "2023-11-11", true, true, 3,
         {{LINE_FEE, "0.33333333333333333333", "0", "33", 3300},
          {LINE_USAGE, "1", "0", "102", 10200},
          {LINE_FLAT, "0.33333333333333333333", "0", "3.33333333333333333333", 333}}, 13833},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct plan plan = plan_of(MIXED, &arena);
        struct decimal usage[] = {decimal_of(cases[i].a), decimal_of(cases[i].b), DECIMAL_ZERO};
        struct invoice_input input = input_of(&plan, usage);
        input.has_fee = cases[i].has_fee;
        input.has_usage = cases[i].has_usage;
        if (cases[i].to != NULL)
            input.period.to_ns = day(cases[i].to);
        struct invoice invoice;
        struct error error;
        cr_assert_eq(
            invoice_compute(&input, &arena, &invoice, &error), STATUS_OK, "%s", error.text);
        cr_assert_eq(invoice.lines_count, cases[i].count, "case %zu", i);
        for (size_t j = 0; j < cases[i].count; j++) {
            const struct expected_line *expected = &cases[i].lines[j];
            const struct invoice_line *line = &invoice.lines[j];
            cr_assert_eq(line->kind, expected->kind, "case %zu line %zu", i, j);
            cr_assert_str_eq(line->quantity, expected->quantity, "case %zu line %zu", i, j);
            cr_assert_str_eq(line->clamped, expected->clamped, "case %zu line %zu", i, j);
            cr_assert_str_eq(line->exact_amount, expected->exact, "case %zu line %zu", i, j);
            cr_assert_eq(line->amount_minor, expected->minor, "case %zu line %zu", i, j);
        }
        cr_assert_eq(invoice.total_minor, cases[i].total, "case %zu", i);
    }
}

Test(invoice, of_nothing_is_final_at_once)
{
    scoped(arena_done) struct arena arena = {0};
    struct plan plan = plan_of(TOKENS, &arena);
    struct decimal usage[] = {DECIMAL_ZERO, DECIMAL_ZERO};
    struct invoice_input input = input_of(&plan, usage);
    struct invoice invoice;
    struct error error;
    cr_assert_eq(invoice_compute(&input, &arena, &invoice, &error), STATUS_OK);
    cr_assert_eq(invoice.lines_count, 0);
    cr_assert_eq(invoice.total_minor, 0);
    cr_assert_str_eq(invoice.status, "finalized");
    cr_assert_eq(invoice.finalized_ns, input.run_ns);
}

Test(invoice, id_derives_from_the_unique_key)
{
    scoped(arena_done) struct arena arena = {0};
    struct plan plan = plan_of(TOKENS, &arena);
    struct invoice_input input = input_of(&plan, NULL), other;
    char id[INVOICE_ID_MAX], again[INVOICE_ID_MAX];
    invoice_id(&input, id);
    other = input;
    other.run_ns = other.as_of_ns = 5;
    invoice_id(&other, again);
    cr_assert_str_eq(id, again);
    cr_assert_eq(strlen(id), 36);
    struct invoice_input changes[6] = {input, input, input, input, input, input};
    changes[0].customer = "acme2";
    changes[1].subscription = "sub_2";
    changes[2].kind = INVOICE_USAGE;
    changes[3].period.from_ns++;
    changes[4].period.to_ns++;
    changes[5].generation++;
    for (size_t i = 0; i < 6; i++) {
        invoice_id(&changes[i], again);
        cr_assert_str_neq(id, again, "change %zu", i);
    }
}

Test(invoice, refuses_what_does_not_fit_and_names_it)
{
    scoped(arena_done) struct arena arena = {0};
    struct plan plan = plan_of(MIXED, &arena);
    struct decimal usage[] = {decimal_of("9999999999999999999"), DECIMAL_ZERO, DECIMAL_ZERO};
    struct invoice_input input = input_of(&plan, usage);
    struct invoice invoice = {.total_minor = 77};
    struct error error;
    cr_assert_eq(invoice_compute(&input, &arena, &invoice, &error), STATUS_OVERFLOW);
    cr_assert_not_null(strstr(error.text, "A: "), "%s", error.text);
    cr_assert_eq(invoice.total_minor, 77);
}

Test(invoice, document_reads_back_as_it_was_written)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0}, again = {0};
    struct plan plan = plan_of(MIXED, &arena);
    struct decimal usage[] = {
        decimal_of("-0.000000000000000001"), decimal_of("123456789.5"), DECIMAL_ZERO};
    struct invoice_input input = input_of(&plan, usage), read;
    struct explanation explanation = {0};
    struct invoice invoice;
    struct error error;
    input.period.to_ns = day("2023-11-11");
    invoice_input_write(&input, &text);
    cr_assert_eq(
        invoice_input_read(buffer_view(&text), &arena, &read, &error), STATUS_OK, "%s", error.text);
    invoice_input_write(&read, &again);
    cr_assert(bytes_equal(buffer_view(&text), buffer_view(&again)));
    cr_assert_eq(invoice_compute(&input, &arena, &invoice, &error), STATUS_OK);
    invoice.input = arena_text_of(&arena, buffer_view(&text));
    cr_assert_eq(explain(&invoice, &arena, &explanation, &error), STATUS_OK, "%s", error.text);
    scoped(buffer_done) struct buffer told = {0};
    explain_text(&explanation, &arena, &told);
    buffer_u8(&told, 0);
    cr_assert_not_null(
        strstr((char *)told.data, "(10, ...]  123456779.5 x 1 + 50 = 123456829.5"),
        "%s",
        told.data);
    cr_assert_not_null(strstr((char *)told.data, "10 of 30 days"), "%s", told.data);
}

Test(invoice, explain_sees_every_difference)
{
    for (size_t i = 0; i < 8; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer text = {0};
        struct plan plan = plan_of(TOKENS, &arena);
        struct decimal usage[] = {decimal_of("5"), decimal_of("400000")};
        struct invoice_input input = input_of(&plan, usage);
        struct explanation explanation = {0};
        struct invoice invoice;
        struct error error;
        cr_assert_eq(invoice_compute(&input, &arena, &invoice, &error), STATUS_OK);
        invoice_input_write(&input, &text);
        invoice.input = arena_text_of(&arena, buffer_view(&text));
        switch (i) {
        case 0: invoice.total_minor++; break;
        case 1: invoice.lines[1].amount_minor--; break;
        case 2: invoice.lines[0].quantity = "6"; break;
        case 3: invoice.lines[0].exact_amount = "0.0000126"; break;
        case 4: invoice.lines_count--; break;
        case 5: invoice.lines[0].meter = "gen"; break;
        case 6: invoice.id[10] ^= 1; break;
        default: invoice.currency = currency_find(bytes_text("EUR")); break;
        }
        cr_assert_eq(
            explain(&invoice, &arena, &explanation, &error), STATUS_CORRUPT, "change %zu", i);
    }
}

Test(invoice, refuses_a_broken_document)
{
    static const struct {
        const char *from, *to, *place;
    } cases[] = {
        {"\"format\":1",              "\"format\":2",         "format 1"                       },
        {"\"generation\":1",          "\"generation\":0",     "out of range"                   },
        {"\"usage\":\"5\"",           "\"usage\":5",          "usage"                          },
        {"\"usage\":\"5\"",           "\"usage\":\"x\"",      "usage"                          },
        {"\"has_fee\":true",          "\"has_fee\":1",        "has_fee"                        },
        {"\"kind\":\"subscription\"", "\"kind\":\"other\"",   "other"                          },
        {"\"amount\":\"0.0000025\"",  "\"amount\":\"-1\"",    "charges[0].charge.params.amount"},
        {"\"currency\":\"USD\"",      "\"currency\":\"UUU\"", "UUU"                            },
        {"\"customer\"",              "\"costumer\"",         "costumer"                       },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer text = {0}, broken = {0};
        struct plan plan = plan_of(TOKENS, &arena);
        struct decimal usage[] = {decimal_of("5"), decimal_of("4")};
        struct invoice_input input = input_of(&plan, usage), read;
        struct error error = {0};
        invoice_input_write(&input, &text);
        buffer_u8(&text, 0);
        char *at = strstr((char *)text.data, cases[i].from);
        cr_assert_not_null(at, "case %zu: %s", i, text.data);
        buffer_put(&broken, text.data, (size_t)(at - (char *)text.data));
        buffer_text(&broken, cases[i].to);
        buffer_text(&broken, at + strlen(cases[i].from));
        cr_assert_eq(
            invoice_input_read(buffer_view(&broken), &arena, &read, &error),
            STATUS_INVALID,
            "case %zu",
            i);
        cr_assert_not_null(strstr(error.text, cases[i].place), "case %zu: %s", i, error.text);
    }
}

#define CALLS                                                                                      \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"call\",\"event_type\":\"t\",\"aggregation\":"    \
    "\"count\"},{\"key\":\"seat\",\"event_type\":\"s\",\"aggregation\":\"sum\"}],\"plans\":["      \
    "{\"key\":\"p\",\"name\":\"P\",\"charges\":[{\"key\":\"call\",\"name\":\"Calls\",\"meter\":"   \
    "\"call\",\"model\":\"dynamic\",\"params\":{},\"price_property\":\"price\"},{\"key\":"         \
    "\"seat\","                                                                                    \
    "\"name\":\"Seats\",\"meter\":\"seat\",\"model\":\"standard\",\"params\":{\"amount\":\"2\"},"  \
    "\"recurring\":\"prorated\"}]}]}"

struct recorded {
    struct plan plan;
    struct decimal usage[2];
    struct charge_event calls[2], seats[1];
    struct invoice_events events[2];
    struct invoice_input input;
};

static void
recorded_make(struct recorded *out, struct arena *arena)
{
    *out = (struct recorded){.plan = plan_of(CALLS, arena)};
    out->usage[0] = decimal_of("2");
    out->usage[1] = decimal_of("3");
    out->calls[0] =
        (struct charge_event){day("2023-11-02"), decimal_of("1"), decimal_of("1234.56"), ""};
    out->calls[1] =
        (struct charge_event){day("2023-11-03"), decimal_of("1"), decimal_of("2.1"), ""};
    out->seats[0] = (struct charge_event){day("2023-11-16"), decimal_of("3"), DECIMAL_ZERO, ""};
    out->events[0] = (struct invoice_events){.items = out->calls, .count = 2};
    out->events[1] =
        (struct invoice_events){.items = out->seats, .count = 1, .initial = decimal_of("4")};
    out->input = input_of(&out->plan, out->usage);
    out->input.events = out->events;
}

Test(invoice, records_the_events_that_it_prices)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0}, again = {0}, told = {0};
    struct recorded recorded;
    struct invoice_input read;
    struct invoice invoice;
    struct explanation explanation = {0};
    struct error error;
    recorded_make(&recorded, &arena);
    invoice_input_write(&recorded.input, &text);
    cr_assert_eq(
        invoice_input_read(buffer_view(&text), &arena, &read, &error), STATUS_OK, "%s", error.text);
    invoice_input_write(&read, &again);
    cr_assert(bytes_equal(buffer_view(&text), buffer_view(&again)));
    cr_assert_eq(invoice_compute(&recorded.input, &arena, &invoice, &error), STATUS_OK);
    cr_assert_eq(invoice.lines_count, 2);
    cr_assert_str_eq(invoice.lines[0].exact_amount, "12.3666");
    cr_assert_eq(invoice.lines[0].amount_minor, 1237);
    // 4 for the whole month and 3 for its second half.
    cr_assert_str_eq(invoice.lines[1].quantity, "5.5");
    cr_assert_eq(invoice.total_minor, 1237 + 1100);
    invoice.input = arena_text_of(&arena, buffer_view(&text));
    cr_assert_eq(explain(&invoice, &arena, &explanation, &error), STATUS_OK, "%s", error.text);
    explain_text(&explanation, &arena, &told);
    buffer_u8(&told, 0);
    cr_assert_not_null(strstr((char *)told.data, "an event of 1234.56"), "%s", told.data);
    cr_assert_not_null(strstr((char *)told.data, "3 x 15 / 30 days"), "%s", told.data);
}

Test(invoice, refuses_events_that_are_not_the_usage)
{
    static const struct {
        const char *from, *to, *place;
    } cases[] = {
        {"\"1234.56\"",               "1234.56",                     "charges[0].events[0][2]"},
        {",\"1234.56\"]",             "]",                           "no event of the charge" },
        {",\"2.1\"]",                 ",\"2.1\",\"x\"]",             "no event of the charge" },
        {"[\"2023-11-03T",            "[\"2023-11-01T",              "out of its order"       },
        {"[\"2023-11-02T",            "[\"2023-10-02T",              "out of its order"       },
        {"[\"2023-11-16T",            "[\"2023-12-16T",              "out of its order"       },
        {"[\"2023-11-16T",            "[\"2023-11-66T",              "expected a time"        },
        {"Z\",\"3\"]",                "Z\",\"4\"]",                  "do not add up"          },
        {"\"usage\":\"2\"",           "\"usage\":\"1\"",             "do not add up"          },
        {"\"initial\":\"4\"",         "\"initial\":4",               "initial"                },
        {"\"initial\"",               "\"opening\"",                 "opening"                },
        {"\"events\":[[\"2023-11-16", "\"happened\":[[\"2023-11-16", "happened"               },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer text = {0}, broken = {0};
        struct recorded recorded;
        struct invoice_input read;
        struct error error = {0};
        recorded_make(&recorded, &arena);
        invoice_input_write(&recorded.input, &text);
        buffer_u8(&text, 0);
        char *at = strstr((char *)text.data, cases[i].from);
        cr_assert_not_null(at, "case %zu: %s", i, text.data);
        buffer_put(&broken, text.data, (size_t)(at - (char *)text.data));
        buffer_text(&broken, cases[i].to);
        buffer_text(&broken, at + strlen(cases[i].from));
        cr_assert_eq(
            invoice_input_read(buffer_view(&broken), &arena, &read, &error),
            STATUS_INVALID,
            "case %zu",
            i);
        cr_assert_not_null(strstr(error.text, cases[i].place), "case %zu: %s", i, error.text);
    }
}

#define LEAST(minimum)                                                                             \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":"       \
    "\"sum\"}],\"plans\":[{\"key\":\"p\",\"name\":\"P\",\"prices\":{\"monthly\":\"10\"},"          \
    "\"minimum\":\"" minimum "\",\"charges\":[{\"key\":\"m\",\"name\":\"M\",\"meter\":\"m\","      \
    "\"model\":\"standard\",\"params\":{\"amount\":\"0.333\"}}]}]}"

// November has 30 days.
Test(invoice, has_what_is_missing_to_the_plans_minimum)
{
    static const struct {
        const char *plan, *usage, *until;
        size_t lines;
        const char *missing;
        int64_t total_minor;
    } cases[] = {
        {LEAST("50"),    "0",    NULL,         2, "40",    5000 },
        {LEAST("50"),    "1",    NULL,         3, "39.67", 5000 },
        {LEAST("50"),    "120",  NULL,         3, "0.04",  5000 },
        {LEAST("49.96"), "120",  NULL,         2, NULL,    4996 },
        {LEAST("50"),    "1000", NULL,         2, NULL,    34300},
 // A third of it is due for ten days, and of the fee too.
        {LEAST("50"),    "0",    "2023-11-11", 2, "13.34", 1667 },
        {LEAST("0"),     "-5",   NULL,         2, NULL,    1000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer text = {0}, told = {0};
        struct plan plan = plan_of(cases[i].plan, &arena);
        struct decimal usage[] = {decimal_of(cases[i].usage)};
        struct invoice_input input = input_of(&plan, usage);
        struct explanation explanation = {0};
        struct invoice invoice;
        struct error error;
        if (cases[i].until != NULL)
            input.period.to_ns = day(cases[i].until);
        cr_assert_eq(invoice_compute(&input, &arena, &invoice, &error), STATUS_OK);
        cr_assert_eq(invoice.lines_count, cases[i].lines, "case %zu", i);
        cr_assert_eq(invoice.total_minor, cases[i].total_minor, "case %zu", i);
        const struct invoice_line *last = &invoice.lines[invoice.lines_count - 1];
        cr_assert_eq(last->kind == LINE_MINIMUM, cases[i].missing != NULL, "case %zu", i);
        if (cases[i].missing != NULL)
            cr_assert_str_eq(last->exact_amount, cases[i].missing, "case %zu", i);
        invoice_input_write(&input, &text);
        invoice.input = arena_text_of(&arena, buffer_view(&text));
        cr_assert_eq(explain(&invoice, &arena, &explanation, &error), STATUS_OK, "%s", error.text);
        explain_text(&explanation, &arena, &told);
        buffer_u8(&told, 0);
        bool is_told = strstr((char *)told.data, "at least 50 for the period") != NULL;
        cr_assert_eq(is_told, cases[i].missing != NULL, "case %zu: %s", i, told.data);
    }
}

#define ADVANCE                                                                                    \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"m\",\"event_type\":\"t\",\"aggregation\":"       \
    "\"sum\"}],\"plans\":[{\"key\":\"p\",\"name\":\"P\",\"charges\":[{\"key\":\"m\",\"name\":"     \
    "\"M\",\"meter\":\"m\",\"model\":\"standard\",\"params\":{\"amount\":\"0.002\"},"              \
    "\"pay_in_advance\":true}]}]}"

struct advance {
    struct plan plan;
    struct decimal usage[1];
    struct charge_event items[3];
    struct invoice_events events[1];
    struct invoice_input input;
    struct invoice invoice;
};

// 0.2, 0 and 0.6 of a cent, after 0.4 that an earlier invoice left: the first is billed as one.
static void
advance_make(struct advance *out, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct error error;
    *out = (struct advance){.plan = plan_of(ADVANCE, arena)};
    out->usage[0] = decimal_of("3");
    out->items[0] = (struct charge_event){day("2023-11-02"), decimal_of("1"), DECIMAL_ZERO, ""};
    out->items[1] = (struct charge_event){day("2023-11-03"), decimal_of("-1"), DECIMAL_ZERO, ""};
    out->items[2] = (struct charge_event){day("2023-11-03"), decimal_of("3"), DECIMAL_ZERO, ""};
    out->events[0] =
        (struct invoice_events){.items = out->items, .count = 3, .carried = "0.4", .sequence = 7};
    out->input = input_of(&out->plan, out->usage);
    out->input.events = out->events;
    cr_assert_eq(
        invoice_compute(&out->input, arena, &out->invoice, &error), STATUS_OK, "%s", error.text);
    invoice_fees_record(&out->input, &out->invoice, arena);
    invoice_input_write(&out->input, &text);
    out->invoice.input = arena_text_of(arena, buffer_view(&text));
}

Test(invoice, records_the_fee_of_each_event)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer again = {0}, told = {0};
    struct advance advance;
    struct invoice_input read;
    struct explanation explanation = {0};
    struct error error;
    advance_make(&advance, &arena);
    cr_assert_eq(advance.invoice.lines_count, 1);
    const struct invoice_line *line = &advance.invoice.lines[0];
    cr_assert_str_eq(line->quantity, "3");
    cr_assert_str_eq(line->clamped, "0");
    cr_assert_str_eq(line->exact_amount, "0.006");
    cr_assert_eq(line->amount_minor, 1);
    cr_assert_str_eq(line->carried, "0.4");
    cr_assert_str_eq(line->remainder, "0");
    cr_assert_eq(line->sequence, 7);
    cr_assert_not_null(
        strstr(
            advance.invoice.input,
            "\"carried\":\"0.4\",\"sequence\":7,\"events\":["
            "[\"2023-11-02T00:00:00Z\",\"1\",\"0.002\",\"1\"],"
            "[\"2023-11-03T00:00:00Z\",\"-1\",\"0\",\"0\"],"
            "[\"2023-11-03T00:00:00Z\",\"3\",\"0.004\",\"0\"]]"),
        "%s",
        advance.invoice.input);
    struct bytes text = bytes_text(advance.invoice.input);
    cr_assert_eq(invoice_input_read(text, &arena, &read, &error), STATUS_OK, "%s", error.text);
    invoice_input_write(&read, &again);
    cr_assert(bytes_equal(text, buffer_view(&again)));
    cr_assert_eq(
        explain(&advance.invoice, &arena, &explanation, &error), STATUS_OK, "%s", error.text);
    explain_text(&explanation, &arena, &told);
    buffer_u8(&told, 0);
    static const char *const said[] = {
        "carried from before: 0.4 minor units",
        "0 is not above 1: 0",
        "0.006 - 0.002 before = 0.004",
        "fees of exactly 0.006, each rounded with what those before it left: 0.01 USD",
        "0.4 were carried here and 0 are carried on",
    };
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        cr_assert_not_null(strstr((char *)told.data, said[i]), "%s: %s", said[i], told.data);
}

// Without usage there is no line, and what was carried waits.
Test(invoice, has_no_line_for_no_fees)
{
    scoped(arena_done) struct arena arena = {0};
    struct advance advance;
    struct error error;
    advance_make(&advance, &arena);
    advance.usage[0] = DECIMAL_ZERO;
    advance.events[0].count = 0;
    advance.input.events = advance.events;
    cr_assert_eq(invoice_compute(&advance.input, &arena, &advance.invoice, &error), STATUS_OK);
    cr_assert_eq(advance.invoice.lines_count, 0);
}

Test(invoice, explain_sees_every_difference_of_fees)
{
    static const struct {
        const char *from, *to, *why;  // of the recorded input
    } cases[] = {
        {"\"0.002\",\"1\"]",     "\"0.002\",\"0\"]",     "the fee of event 1"    },
        {"\"0.004\",\"0\"]",     "\"0.005\",\"0\"]",     "the fee of event 3"    },
        {"\"carried\":\"0.4\"",  "\"carried\":\"0.3\"",  "carried remainder"     },
        {"\"sequence\":7",       "\"sequence\":8",       "carried remainder"     },
        {"\"sequence\":7",       "\"sequence\":0",       "not what fees before"  },
        {"\"sequence\":7",       "\"sequence\":1",       "not what fees before"  },
        {"\"carried\":\"0.4\"",  "\"carried\":\"0.5\"",  "not what fees before"  },
        {"\"carried\":\"0.4\"",  "\"carried\":\"-0.6\"", "not what fees before"  },
        {"\"carried\":\"0.4\"",  "\"carried\":\"x\"",    "not what fees before"  },
        {"\"carried\":\"0.4\",", "",                     "\"carried\" is missing"},
        {",\"0.002\",\"1\"]",    ",\"0.002\"]",          "no event of the charge"},
        {",\"0.002\",\"1\"]",    ",\"0.002\",1]",        "expected a fee"        },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct advance advance;
        struct explanation explanation = {0};
        struct error error = {0};
        advance_make(&advance, &arena);
        const char *text = advance.invoice.input, *at = strstr(text, cases[i].from);
        cr_assert_not_null(at, "case %zu: %s", i, text);
        advance.invoice.input = arena_format(
            &arena, "%.*s%s%s", (int)(at - text), text, cases[i].to, at + strlen(cases[i].from));
        cr_assert_neq(explain(&advance.invoice, &arena, &explanation, &error), STATUS_OK);
        cr_assert_not_null(strstr(error.text, cases[i].why), "case %zu: %s", i, error.text);
    }
    for (size_t i = 0; i < 3; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct advance advance;
        struct explanation explanation = {0};
        struct error error = {0};
        advance_make(&advance, &arena);
        struct invoice_line *line = &advance.invoice.lines[0];
        switch (i) {
        case 0: line->carried = "0.3"; break;
        case 1: line->remainder = NULL; break;
        default: line->sequence++; break;
        }
        cr_assert_eq(
            explain(&advance.invoice, &arena, &explanation, &error), STATUS_CORRUPT, "%zu", i);
        cr_assert_not_null(strstr(error.text, "remainder"), "%s", error.text);
    }
}
