// The worked cases of the price models that exist here, and random tiers against arithmetic in
// whole thousandths.

#include "billing/rate.h"

#include "billing/catalog.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

enum { TIERS_MAX = 6 };

static struct decimal
decimal_of(const char *text)
{
    struct decimal value;
    bool is_rounded = false;
    cr_assert_eq(decimal_parse(bytes_text(text), &value, &is_rounded), STATUS_OK, "%s", text);
    return value;
}

Test(rate, standard)
{
    static const struct {
        const char *name, *amount, *units, *expected;
    } cases[] = {
        {"std_count_4",          "12.5",           "4",                    "50"                 },
        {"std_decimal_price",    "5.12345",        "10",                   "51.2345"            },
        {"std_subcent_million",  "0.0002",         "1000000",              "200"                },
        {"std_group_gcp",        "5.12345",        "20",                   "102.469"            },
        {"std_filter_aws",       "0.08",           "100",                  "8"                  },
        {"std_filter_gcp",       "0.10",           "200",                  "20"                 },
        {"no units",             "5",              "0",                    "0"                  },
        {"negative units",       "5",              "-3",                   "0"                  },
        {"twelve places",        "0.000000000001", "999999999999999999",   "999999.999999999999"},
        {"eighteen places",
         "0.000000000001",                         "0.000000000000000001",
         "0.000000000000000000000000000001"                                                     },
        {"azure conv context",   "0.0000025",      "22361870",             "55.904675"          },
        {"azure conv generated", "0.00001",        "4088665",              "40.88665"           },
        {"azure code context",   "0.0000025",      "18059974",             "45.149935"          },
        {"azure code generated", "0.00001",        "245896",               "2.45896"            },
    };
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rate_step step;
        struct rate_steps steps = {&step, 0};
        scoped(rational_done) struct rational out = rational_of(DECIMAL_ONE);
        rate_standard(decimal_of(cases[i].units), decimal_of(cases[i].amount), &out, &steps);
        cr_assert_str_eq(rational_text(&out, &arena), cases[i].expected, "%s", cases[i].name);
        cr_assert_eq(steps.count, decimal_of(cases[i].units).units > 0);
    }
}

Test(rate, flat)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(rational_done) struct rational out = rational_of(DECIMAL_ONE);
    rate_flat(decimal_of("10.5"), &out, NULL);
    cr_assert_str_eq(rational_text(&out, &arena), "10.5");
}

struct tier_text {
    const char *to, *unit, *flat;
};

static uint32_t
tiers_of(const struct tier_text *texts, struct rate_tier *out)
{
    uint32_t count = 0;
    for (; count < TIERS_MAX && texts[count].unit != NULL; count++)
        out[count] = (struct rate_tier){
            .to = texts[count].to != NULL ? decimal_of(texts[count].to) : DECIMAL_ZERO,
            .is_open = texts[count].to == NULL,
            .unit = decimal_of(texts[count].unit),
            .flat = decimal_of(texts[count].flat),
        };
    return count;
}

Test(rate, graduated)
{
    static const struct tier_text three[TIERS_MAX] = {
        {"10", "10", "2"},
        {"20", "5",  "3"},
        {NULL, "5",  "3"}
    };
    static const struct tier_text sliver[TIERS_MAX] = {
        {"0.01", "0",  "0"},
        {"10",   "10", "2"},
        {NULL,   "5",  "3"}
    };
    static const struct tier_text small[TIERS_MAX] = {
        {"0.1", "10", "0"},
        {"1",   "5",  "0"},
        {NULL,  "2",  "0"}
    };
    static const struct tier_text flat[TIERS_MAX] = {
        {"10", "2", "100"},
        {NULL, "1", "50" }
    };
    static const struct tier_text om[TIERS_MAX] = {
        {"5",  "0",  "100"},
        {"10", "0",  "50" },
        {"15", "10", "0"  },
        {NULL, "5",  "0"  }
    };
    static const struct tier_text one[TIERS_MAX] = {
        {NULL, "0.01", "0.01"}
    };
    static const struct {
        const char *name;
        const struct tier_text *tiers;
        const char *units, *expected;
        uint32_t steps;
    } cases[] = {
        {"grad_0",                      three,  "0",     "2",     1},
        {"grad_1",                      three,  "1",     "12",    1},
        {"grad_10",                     three,  "10",    "102",   1},
        {"grad_11",                     three,  "11",    "110",   2},
        {"grad_10.5 enters the second", three,  "10.5",  "107.5", 2},
        {"grad_20",                     three,  "20",    "155",   2},
        {"grad_21",                     three,  "21",    "163",   3},
        {"grad_zero_free_first_tier",   sliver, "0",     "0",     1},
        {"grad_decimal_0.05",           small,  "0.05",  "0.5",   1},
        {"grad_decimal_0.5",            small,  "0.5",   "3",     2},
        {"grad_no_events_flat_due",     flat,   "0",     "100",   1},
        {"grad_om_5",                   om,     "5",     "100",   1},
        {"grad_om_5.001",               om,     "5.001", "150",   2},
        {"grad_om_22",                  om,     "22",    "235",   4},
        {"grad_negative_units_clamped", one,    "-10",   "0",     0},
        {"one tier",                    one,    "10",    "0.11",  1},
    };
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rate_tier tiers[TIERS_MAX];
        struct rate_step items[TIERS_MAX];
        struct rate_steps steps = {items, 0};
        uint32_t count = tiers_of(cases[i].tiers, tiers);
        scoped(rational_done) struct rational out = rational_of(DECIMAL_ONE);
        rate_graduated(decimal_of(cases[i].units), tiers, count, &out, &steps);
        cr_assert_str_eq(rational_text(&out, &arena), cases[i].expected, "%s", cases[i].name);
        cr_assert_eq(steps.count, cases[i].steps, "%s", cases[i].name);
    }
}

Test(rate, charge_takes_off_free_units_and_clamps)
{
    static const struct tier_text flat_first[TIERS_MAX] = {
        {"10", "2", "100"},
        {NULL, "1", "50" }
    };
    static const struct {
        enum charge_model model;
        const char *free_units, *usage, *expected, *priced, *clamped;
    } cases[] = {
        {CHARGE_STANDARD,  "0",  "7",    "3.5",  "7",   "0" },
        {CHARGE_STANDARD,  "10", "7",    "0",    "0",   "0" },
        {CHARGE_STANDARD,  "10", "10",   "0",    "0",   "0" },
        {CHARGE_STANDARD,  "10", "10.5", "0.25", "0.5", "0" },
        {CHARGE_STANDARD,  "10", "-7",   "0",    "0",   "-7"},
        {CHARGE_GRADUATED, "0",  "0",    "100",  "0",   "0" },
        {CHARGE_GRADUATED, "5",  "3",    "100",  "0",   "0" },
        {CHARGE_GRADUATED, "5",  "15",   "120",  "10",  "0" },
        {CHARGE_GRADUATED, "5",  "16",   "171",  "11",  "0" },
        {CHARGE_GRADUATED, "0",  "-1",   "0",    "0",   "-1"},
        {CHARGE_FLAT,      "0",  "0",    "0.5",  "0",   "0" },
    };
    scoped(arena_done) struct arena arena = {0};
    struct rate_tier tiers[TIERS_MAX];
    uint32_t count = tiers_of(flat_first, tiers);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct charge charge = {
            .key = "k",
            .name = "n",
            .model = cases[i].model,
            .amount = decimal_of("0.5"),
            .tiers = tiers,
            .tiers_count = count,
            .free_units = decimal_of(cases[i].free_units),
        };
        scoped(rational_done) struct rational out = rational_zero();
        struct charge_units units = charge_rate(&charge, decimal_of(cases[i].usage), &out, NULL);
        cr_assert_str_eq(rational_text(&out, &arena), cases[i].expected, "case %zu", i);
        cr_assert_eq(units.priced.units, decimal_of(cases[i].priced).units, "case %zu", i);
        cr_assert_eq(units.clamped.units, decimal_of(cases[i].clamped).units, "case %zu", i);
    }
}

// xorshift64*: the same cases on every machine.
static uint64_t
random_next(uint64_t *state, uint64_t below)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 2685821657736338717ULL >> 16) % below;
}

static struct decimal
thousandths(int64_t value)
{
    return (struct decimal){(int128)value * 1000000000000000};
}

// Unit by unit of a thousandth would be slow; tier by tier in integers is as plain. Millionths out.
static int128
graduated_plainly(
    int64_t units, const int64_t *to, const int64_t *unit, const int64_t *flat, size_t count)
{
    int128 sum = 0;
    if (units < 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        int64_t from = i > 0 ? to[i - 1] : 0;
        if (i > 0 && units <= from)
            break;
        int64_t upto = i + 1 < count && units > to[i] ? to[i] : units;
        sum += (int128)(upto - from) * unit[i] + (int128)flat[i] * 1000;
    }
    return sum;
}

Test(rate, graduated_agrees_with_whole_number_arithmetic)
{
    uint64_t state = 0x5eed5eed5eedULL;
    for (int round = 0; round < 20000; round++) {
        struct rate_tier tiers[TIERS_MAX] = {0};
        int64_t to[TIERS_MAX] = {0}, unit[TIERS_MAX] = {0}, flat[TIERS_MAX] = {0};
        size_t count = 1 + random_next(&state, TIERS_MAX);
        int64_t above = 0;
        for (size_t i = 0; i < count; i++) {
            to[i] = above + 1 + (int64_t)random_next(&state, 100000);
            unit[i] = (int64_t)random_next(&state, 1000000000);
            flat[i] = random_next(&state, 3) == 0 ? 0 : (int64_t)random_next(&state, 1000000);
            above = to[i];
            tiers[i] = (struct rate_tier){
                thousandths(to[i]), i + 1 == count, thousandths(unit[i]), thousandths(flat[i])};
        }
        // Often exactly on a boundary, or a thousandth off it.
        int64_t units = random_next(&state, 2) == 0
                            ? (int64_t)random_next(&state, 700000) - 1000
                            : to[random_next(&state, count)] + (int64_t)random_next(&state, 3) - 1;
        int128 plain = graduated_plainly(units, to, unit, flat, count);
        scoped(rational_done) struct rational out = rational_zero();
        scoped(rational_done) struct rational expected =
            rational_of((struct decimal){plain * 1000000000000});
        rate_graduated(thousandths(units), tiers, (uint32_t)count, &out, NULL);
        cr_assert_eq(rational_compare(&out, &expected), 0, "round %d", round);
    }
}

Test(rate, graduated_is_monotone)
{
    static const struct tier_text texts[TIERS_MAX] = {
        {"3",  "2",   "1"},
        {"7",  "0",   "0"},
        {NULL, "0.5", "4"}
    };
    struct rate_tier tiers[TIERS_MAX];
    uint32_t count = tiers_of(texts, tiers);
    scoped(rational_done) struct rational before = rational_zero();
    scoped(rational_done) struct rational now = rational_zero();
    for (int64_t units = 0; units < 12000; units += 7) {
        rate_graduated(thousandths(units), tiers, count, &now, NULL);
        cr_assert_geq(rational_compare(&now, &before), 0);
        rational_copy(&before, &now);
    }
}
