#include "ledger/meter.h"

#include <criterion/criterion.h>

static const struct meter good = {
    .key = "llm_tokens",
    .event_type = "llm",
    .aggregation = AGGREGATION_SUM,
    .value_property = "$.tokens",
    .unit = "token",
    .description = "tokens of all models",
    .dimensions = {{"model", "$.model"}, {"region", "where.region"}},
    .dimensions_count = 2,
};

static struct meter
with_key(const char *key)
{
    struct meter meter = good;
    meter.key = key;
    return meter;
}

Test(meter, accepts_and_refuses_keys)
{
    static const char *const accepted[] = {"a", "9", "a_b", "a1_2b", "tokens"};
    static const char *const refused[] = {
        NULL, "", "A", "a-b", "_a", "a_", "a__b", "a b", "\xc3\xa4", "a/b"};
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        struct meter meter = with_key(accepted[i]);
        cr_assert_eq(meter_check(&meter, NULL), STATUS_OK, "%s", accepted[i]);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct meter meter = with_key(refused[i]);
        struct error error;
        cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID, "%zu", i);
        cr_assert_eq(strncmp(error.text, "key ", 4), 0, "%s", error.text);
    }
    char longest[66];
    memset(longest, 'a', sizeof longest);
    longest[65] = '\0';
    struct meter meter = with_key(longest);
    cr_assert_eq(meter_check(&meter, NULL), STATUS_INVALID);
    longest[64] = '\0';
    cr_assert_eq(meter_check(&meter, NULL), STATUS_OK);
}

struct path_row {
    const char *path;
    const char *canonical;  // NULL: refused
};

Test(meter, accepts_and_refuses_paths)
{
    static const struct path_row rows[] = {
        {"a",                 "$.a"              },
        {"$.a",               "$.a"              },
        {"$.a.b",             "$.a.b"            },
        {"a.b.c.d.e.f.g.h",   "$.a.b.c.d.e.f.g.h"},
        {"with space",        "$.with space"     },
        {"\xc3\xa4",          "$.\xc3\xa4"       },
        {"a-b:c/d",           "$.a-b:c/d"        },
        {"",                  NULL               },
        {"$.",                NULL               },
        {"$",                 NULL               },
        {"$a",                NULL               },
        {".a",                NULL               },
        {"a.",                NULL               },
        {"a..b",              NULL               },
        {"$..a",              NULL               },
        {"a[0]",              NULL               },
        {"a.*",               NULL               },
        {"$['a']",            NULL               },
        {"a\nb",              NULL               },
        {"\xff",              NULL               },
        {"a.b.c.d.e.f.g.h.i", NULL               },
    };
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *canonical = NULL;
        struct error error;
        enum status status = meter_path_canonical(rows[i].path, &arena, &canonical, &error);
        struct meter meter = good;
        meter.value_property = rows[i].path;
        if (rows[i].canonical != NULL) {
            cr_assert_eq(status, STATUS_OK, "%s", rows[i].path);
            cr_assert_str_eq(canonical, rows[i].canonical);
            cr_assert_eq(meter_check(&meter, NULL), STATUS_OK, "%s", rows[i].path);
        } else {
            cr_assert_eq(status, STATUS_INVALID, "%s", rows[i].path);
            cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID, "%s", rows[i].path);
            cr_assert_eq(strncmp(error.text, "value_property ", 15), 0, "%s", error.text);
        }
    }
}

Test(meter, names_the_field_that_is_wrong)
{
    struct error error;
    struct meter meter = good;
    meter.event_type = "";
    cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "event_type"));
    meter = good;
    meter.event_type = "\xff";
    cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "event_type"));
    meter = good;
    meter.aggregation = AGGREGATION_COUNT;
    cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "value_property"));
    meter.value_property = NULL;
    cr_assert_eq(meter_check(&meter, &error), STATUS_OK);
    meter = good;
    meter.value_property = NULL;
    cr_assert_eq(meter_check(&meter, &error), STATUS_OK, "the event's own value");
    meter.aggregation = (enum aggregation)AGGREGATION_KINDS;
    cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "aggregation"));
    meter = good;
    meter.unit = "\xff";
    cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "unit"));
    meter = good;
    meter.dimensions_count = METER_DIMENSIONS_MAX + 1;
    cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "dimensions"));
}

Test(meter, accepts_and_refuses_dimensions)
{
    static const struct {
        const char *name;
        const char *path;
        bool is_good;
    } rows[] = {
        {"a",     "$.a",  true },
        {"_a1",   "b.c",  true },
        {"A",     "$.a",  true },
        {"1a",    "$.a",  false},
        {"",      "$.a",  false},
        {NULL,    "$.a",  false},
        {"a-b",   "$.a",  false},
        {"a",     NULL,   false},
        {"a",     "$..a", false},
        {"model", "$.m",  false}, // twice
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct meter meter = good;
        meter.dimensions[1] = (struct meter_dimension){rows[i].name, rows[i].path};
        struct error error = {0};
        cr_assert_eq(meter_check(&meter, &error) == STATUS_OK, rows[i].is_good, "row %zu", i);
        if (!rows[i].is_good)
            cr_assert_not_null(strstr(error.text, "dimensions"), "%s", error.text);
    }
}

Test(meter, counts_the_same_when_only_its_words_differ)
{
    struct meter other = good;
    other.unit = NULL;
    other.description = "else";
    other.key = "other";
    other.dimensions[0] = good.dimensions[1];
    other.dimensions[1] = good.dimensions[0];
    other.value_property = "tokens";
    cr_assert(meter_counts_same(&good, &other));
    other.event_type = "job";
    cr_assert_not(meter_counts_same(&good, &other));
    other = good;
    other.aggregation = AGGREGATION_COUNT;
    cr_assert_not(meter_counts_same(&good, &other));
    other = good;
    other.value_property = NULL;
    cr_assert_not(meter_counts_same(&good, &other));
    other.value_property = "$.other";
    cr_assert_not(meter_counts_same(&good, &other));
    other = good;
    other.dimensions_count = 1;
    cr_assert_not(meter_counts_same(&good, &other));
    other = good;
    other.dimensions[0].path = "$.other";
    cr_assert_not(meter_counts_same(&good, &other));
    other = good;
    other.dimensions[0].name = "other";
    cr_assert_not(meter_counts_same(&good, &other));
}

Test(meter, accepts_and_refuses_filters)
{
    static const struct {
        const char *texts[3][2];  // path, value
        const char *fault;        // NULL: good
    } rows[] = {
        {{{"a", "x"}},                                NULL          },
        {{{"$.a.b", "x"}, {"a.b", "y"}},              NULL          },
        {{{"a", "x"}, {"b", "x"}, {"a", "\xc3\xbc"}}, NULL          },
        {{{"a", ""}},                                 "255 bytes"   },
        {{{"a", "\xff"}},                             "255 bytes"   },
        {{{"", "x"}},                                 "255 bytes"   },
        {{{"a[0]", "x"}},                             "between dots"},
        {{{"a", "x"}, {"$.a", "x"}},                  "twice"       },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct meter meter = good;
        struct error error = {0};
        for (size_t k = 0; k < 3 && rows[i].texts[k][0] != NULL; k++) {
            const char *const *text = rows[i].texts[k];
            cr_assert_eq(meter_filter_add(&meter, text[0], text[1], &arena, &error), STATUS_OK);
        }
        enum status status = meter_check(&meter, &error);
        cr_assert_eq(status == STATUS_OK, rows[i].fault == NULL, "row %zu: %s", i, error.text);
        if (rows[i].fault != NULL)
            cr_assert_not_null(strstr(error.text, rows[i].fault), "%zu: %s", i, error.text);
    }
}

Test(meter, has_a_bound_of_filters_and_of_their_values)
{
    static const char *const paths[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    scoped(arena_done) struct arena arena = {0};
    struct meter meter = good;
    struct error error = {0};
    for (size_t i = 0; i < METER_FILTERS_MAX; i++)
        cr_assert_eq(meter_filter_add(&meter, paths[i], "x", &arena, &error), STATUS_OK);
    cr_assert_eq(meter_check(&meter, &error), STATUS_OK);
    cr_assert_eq(meter_filter_add(&meter, "i", "x", &arena, &error), STATUS_INVALID);
    for (uint32_t i = 1; i < METER_FILTER_VALUES_MAX; i++) {
        const char *value = arena_format(&arena, "%u", i);
        cr_assert_eq(meter_filter_add(&meter, "$.a", value, &arena, &error), STATUS_OK);
    }
    cr_assert_eq(meter_check(&meter, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(meter_filter_add(&meter, "a", "one more", &arena, &error), STATUS_OK);
    cr_assert_eq(meter_check(&meter, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "filters: a: 1 to 64"), "%s", error.text);
}

Test(meter, counts_the_same_with_the_same_filters_in_any_order)
{
    static const char *const values[] = {"x", "y"};
    static const char *const turned[] = {"y", "x"};
    struct meter one = good;
    one.filters[0] = (struct meter_filter){"a", values, 2};
    one.filters[1] = (struct meter_filter){"b", values, 1};
    one.filters_count = 2;
    struct meter other = good;
    cr_assert_not(meter_counts_same(&one, &other));
    other.filters[0] = (struct meter_filter){"$.b", values, 1};
    other.filters[1] = (struct meter_filter){"$.a", turned, 2};
    other.filters_count = 2;
    cr_assert(meter_counts_same(&one, &other));
    other.filters[1].values_count = 1;
    cr_assert_not(meter_counts_same(&one, &other));
    other.filters[1] = (struct meter_filter){"$.c", turned, 2};
    cr_assert_not(meter_counts_same(&one, &other));
    other.filters[1] = (struct meter_filter){"$.a", turned, 2};
    other.filters[0].values = turned;
    cr_assert_not(meter_counts_same(&one, &other));
}

Test(meter, finds_dimensions_by_name)
{
    cr_assert_eq(meter_dimension_index(&good, "region"), 1);
    cr_assert_eq(meter_dimension_index(&good, "model"), 0);
    cr_assert_eq(meter_dimension_index(&good, "nothing"), -1);
}

Test(meter, reads_aggregations_in_any_case)
{
    enum aggregation aggregation = AGGREGATION_COUNT;
    cr_assert(aggregation_parse(bytes_text("SUM"), &aggregation));
    cr_assert_eq(aggregation, AGGREGATION_SUM);
    cr_assert(aggregation_parse(bytes_text("Count"), &aggregation));
    cr_assert_eq(aggregation, AGGREGATION_COUNT);
    cr_assert_not(aggregation_parse(bytes_text("su"), &aggregation));
    cr_assert_not(aggregation_parse(bytes_text("sums"), &aggregation));
    cr_assert_not(aggregation_parse(bytes_text(""), &aggregation));
    cr_assert_str_eq(aggregation_name(AGGREGATION_SUM), "sum");
    cr_assert_str_eq(aggregation_name(AGGREGATION_COUNT), "count");
}
