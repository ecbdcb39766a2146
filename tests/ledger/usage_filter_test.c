#include "ledger/usage_filter.h"

#include <criterion/criterion.h>

#include <stdio.h>

struct like_case {
    const char *pattern;
    const char *text;
    bool fits;
    bool fits_any_case;
};

Test(usage_filter, like_is_that_of_sql)
{
    static const struct like_case cases[] = {
        {"",         "",                  true,  true },
        {"",         "a",                 false, false},
        {"%",        "",                  true,  true },
        {"%%",       "abc",               true,  true },
        {"_",        "",                  false, false},
        {"_",        "a",                 true,  true },
        {"_",        "ab",                false, false},
        {"abc",      "abc",               true,  true },
        {"abc",      "ABC",               false, true },
        {"a%",       "abc",               true,  true },
        {"a%",       "bac",               false, false},
        {"%c",       "abc",               true,  true },
        {"%c",       "abcd",              false, false},
        {"%b%",      "abc",               true,  true },
        {"a%c%e",    "abcde",             true,  true },
        {"a%c%e",    "acbe",              true,  true },
        {"a%c%e",    "aecb",              false, false},
        {"%ab%ab",   "abaab",             true,  true },
        {"%ab%ab",   "abab",              true,  true },
        {"%ab%ab",   "ab",                false, false},
        {"%aab",     "aaaab",             true,  true },
        {"gpt-_%",   "gpt-4o",            true,  true },
        {"gpt-_%",   "gpt-",              false, false},
        {"100\\%",   "100%",              true,  true },
        {"100\\%",   "1000",              false, false},
        {"a\\_b",    "a_b",               true,  true },
        {"a\\_b",    "axb",               false, false},
        {"a\\\\b",   "a\\b",              true,  true },
        {"a\\b",     "a\\b",              true,  true }, // nothing to escape: a backslash
        {"%\\%",     "50%",               true,  true },
 // One character of UTF-8, whatever its size; one byte of what is none.
        {"_",        "\xc3\xa9",          true,  true },
        {"__",       "\xc3\xa9",          false, false},
        {"caf_",     "caf\xc3\xa9",       true,  true },
        {"%_\xa9",   "\xc3\xa9",          false, false},
        {"_b",
         "\xff"
         "b",                             true,
         true                                         },
        {"__",       "\xf0\x9f\x98\x80x", true,  true },
        {"\xc3\x89", "\xc3\xa9",          false, false}, // beyond ASCII case counts
        {"%[a]?*.%", "x[a]?*.y",          true,  true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct like_case *row = &cases[i];
        struct bytes pattern = bytes_text(row->pattern);
        struct bytes text = bytes_text(row->text);
        cr_assert_eq(usage_like(pattern, text, false), row->fits, "row %zu", i);
        cr_assert_eq(usage_like(pattern, text, true), row->fits_any_case, "row %zu", i);
    }
}

// The worst of patterns takes no more steps than pattern times text.
Test(usage_filter, like_ends_soon_on_hostile_patterns)
{
    static char pattern[2001];
    static char text[20001];
    for (size_t i = 0; i + 1 < sizeof pattern; i++)
        pattern[i] = i % 2 ? 'a' : '%';
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 2] = 'b';
    cr_assert_not(usage_like(bytes_text(pattern), bytes_text(text), false));
    text[sizeof text - 2] = 'a';
    cr_assert(usage_like(bytes_text(pattern), bytes_text(text), true));
}

static const struct meter meter = {
    .key = "tokens",
    .event_type = "llm",
    .aggregation = AGGREGATION_SUM,
    .dimensions = {{"model", "$.model"}, {"region", "$.region"}},
    .dimensions_count = 2,
};

struct accept_case {
    const char *filter;
    const char *subject, *model, *region;
    bool is_accepted;
};

Test(usage_filter, operators_on_dimensions_and_subject)
{
    // clang-format off
    static const struct accept_case cases[] = {
        {"{}", "s", "m", "r", true},
        {"{\"model\": null}", "s", "m", "r", true},
        {"{\"model\": {\"$eq\": \"m\"}}", "s", "m", "r", true},
        {"{\"model\": {\"$eq\": \"m\"}}", "s", "M", "r", false},
        {"{\"model\": {\"$eq\": \"m\", \"$ne\": null}}", "s", "m", "r", true},
        {"{\"model\": {\"$eq\": \"\"}}", "s", "", "r", true},
        {"{\"model\": {\"$ne\": \"m\"}}", "s", "", "r", true},
        {"{\"model\": {\"$ne\": \"m\"}}", "s", "m", "r", false},
        {"{\"model\": {\"$in\": [\"z\", \"a\", \"m\", \"a\"]}}", "s", "m", "r", true},
        {"{\"model\": {\"$in\": [\"z\", \"a\", \"m\", \"a\"]}}", "s", "b", "r", false},
        {"{\"model\": {\"$in\": []}}", "s", "m", "r", false},
        {"{\"model\": {\"$nin\": []}}", "s", "m", "r", true},
        {"{\"model\": {\"$nin\": [\"m\"]}}", "s", "m", "r", false},
        {"{\"model\": {\"$like\": \"gpt-%\"}}", "s", "gpt-4", "r", true},
        {"{\"model\": {\"$nlike\": \"gpt-%\"}}", "s", "gpt-4", "r", false},
        {"{\"model\": {\"$ilike\": \"GPT-_\"}}", "s", "gpt-4", "r", true},
        {"{\"model\": {\"$nilike\": \"GPT-_\"}}", "s", "gpt-4", "r", false},
        {"{\"model\": {\"$gt\": \"b\"}}", "s", "b", "r", false},
        {"{\"model\": {\"$gt\": \"b\"}}", "s", "ba", "r", true},
        {"{\"model\": {\"$gte\": \"b\"}}", "s", "b", "r", true},
        {"{\"model\": {\"$lt\": \"10\"}}", "s", "9", "r", false},  // texts, not numbers
        {"{\"model\": {\"$lt\": \"b\"}}", "s", "b", "r", false},
        {"{\"model\": {\"$lte\": \"b\"}}", "s", "b", "r", true},
        {"{\"model\": {\"$lte\": \"b\"}}", "s", "\xff", "r", false},
        {"{\"model\": {\"$and\": [{\"$gte\": \"b\"}, {\"$lt\": \"d\"}]}}", "s", "c", "r", true},
        {"{\"model\": {\"$and\": [{\"$gte\": \"b\"}, {\"$lt\": \"d\"}]}}", "s", "d", "r", false},
        {"{\"model\": {\"$or\": [{\"$eq\": \"b\"}, {\"$eq\": \"d\"}]}}", "s", "d", "r", true},
        {"{\"model\": {\"$or\": [{\"$eq\": \"b\"}, {\"$eq\": \"d\"}]}}", "s", "c", "r", false},
        {"{\"model\": {\"$or\": [{\"$eq\": \"b\"}, {\"$and\": [{\"$gt\": \"c\"}, "
         "{\"$like\": \"%x\"}]}]}}", "s", "dx", "r", true},
        {"{\"model\": {\"$eq\": \"m\"}, \"region\": {\"$eq\": \"r\"}}", "s", "m", "r", true},
        {"{\"model\": {\"$eq\": \"m\"}, \"region\": {\"$eq\": \"x\"}}", "s", "m", "r", false},
        {"{\"subject\": {\"$in\": [\"s\", \"t\"]}}", "t", "m", "r", true},
        {"{\"subject\": {\"$in\": [\"s\", \"t\"]}}", "u", "m", "r", false},
        {"{\"subject\": {\"$like\": \"org-%\"}}", "org-1", "m", "r", true},
        {"{\"subject\": {}}", "s", "m", "r", true},  // nothing is asked of it
        {"{\"subject\": {\"$ne\": null}}", "s", "m", "r", true},
        {"{\"subject\": {}, \"model\": {\"$eq\": \"x\"}}", "s", "m", "r", false},
        {"{\"mod\\u0065l\": {\"$eq\": \"\\u00e9\"}}", "s", "\xc3\xa9", "r", true},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        const struct usage_filter *filter;
        const struct usage_bound *bound;
        struct error error = {0};
        const struct accept_case *row = &cases[i];
        enum status status = usage_filter_parse(bytes_text(row->filter), &arena, &filter, &error);
        cr_assert_eq(status, STATUS_OK, "row %zu: %s", i, error.text);
        status = usage_filter_bind(filter, &meter, &arena, &bound, &error);
        cr_assert_eq(status, STATUS_OK, "row %zu: %s", i, error.text);
        const struct cell_group group = {
            2, {bytes_text(row->model), bytes_text(row->region)}
        };
        cr_assert_eq(
            usage_filter_accepts(bound, bytes_text(row->subject), &group),
            row->is_accepted,
            "row %zu: %s",
            i,
            row->filter);
        bool names_dimension = strstr(row->filter, "mod") != NULL && !strstr(row->filter, "null}");
        names_dimension |= strstr(row->filter, "$eq") != NULL;
        cr_assert_eq(usage_filter_needs_group(bound), names_dimension, "row %zu", i);
    }
}

struct refusal {
    const char *filter;
    const char *text;
};

Test(usage_filter, refusals_name_the_place)
{
    // clang-format off
    static const struct refusal cases[] = {
        {"", "filter"},
        {"[]", "line 1, column 1, (root): wanted an object of dimensions"},
        {"{\"model\": \"m\"}", "line 1, column 11, model: wanted an object with an operator"},
        {"{\"model\": {\"$and\": [{}]}}", "model[\"$and\"][0]: there is no operator"},
        {"{\"model\": {\"$or\": [{\"$eq\": null}]}}", "[0]: there is no operator"},
        {"{\"model\": {\"$regex\": \"a\", \"$eq\": null}}", "an operator is $eq"},
        {"{\"model\": {\"$eq\": 1}}", "model[\"$eq\"]: this operator takes a text"},
        {"{\"model\": {\"$eq\": [\"a\"]}}", "model[\"$eq\"]: this operator takes a text"},
        {"{\"model\": {\"$in\": \"a\"}}", "model[\"$in\"]: this operator takes a list"},
        {"{\"model\": {\"$in\": [\"a\", 1]}}", "model[\"$in\"][1]: a list of this"},
        {"{\"model\": {\"$regex\": \"a\"}}", "model[\"$regex\"]: an operator is $eq"},
        {"{\"model\": {\"$eq\": \"a\",\n  \"$ne\": \"b\"}}", "line 2, column"},
        {"{\"model\": {\"$eq\": \"a\", \"$ne\": \"b\"}}", "one operator"},
        {"{\"model\": {\"$and\": []}}", "model[\"$and\"]: $and and $or take a list of 1"},
        {"{\"model\": {\"$or\": {\"$eq\": \"a\"}}}", "model[\"$or\"]: $and and $or take a list"},
        {"{\"model\": {\"$or\": [\"a\"]}}", "model[\"$or\"][0]: wanted an object"},
        {"{\"model\": {\"$eq\": \"a\"}, \"model\": {\"$eq\": \"b\"}}", "model"},
        {"{\"a\\u0000b\": {\"$eq\": \"a\"}}", "no dimension has such a name"},
        {"{\"colour\": {\"$eq\": \"a\"}}", "no dimension colour; it has model, region"},
        {"{\"model\": {\"$like\": \"a\\\\\"}}", "ends in a backslash"},
        {"{\"model\": {\"$nilike\": \"\\\\\\\\\\\\\"}}", "ends in a backslash"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        const struct usage_filter *filter = NULL;
        const struct usage_bound *bound;
        struct error error = {0};
        enum status status =
            usage_filter_parse(bytes_text(cases[i].filter), &arena, &filter, &error);
        if (!status)
            status = usage_filter_bind(filter, &meter, &arena, &bound, &error);
        cr_assert_eq(status, STATUS_INVALID, "row %zu", i);
        cr_assert_not_null(strstr(error.text, cases[i].text), "row %zu: %s", i, error.text);
    }
}

// depth times {"$and":[ ... ]} around {"$eq":"m"}.
static enum status
parse_nested(int depth, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0};
    const struct usage_filter *filter;
    const struct usage_bound *bound;
    buffer_text(&text, "{\"model\":");
    for (int i = 0; i < depth; i++)
        buffer_text(&text, "{\"$and\":[");
    buffer_text(&text, "{\"$eq\":\"m\"}");
    for (int i = 0; i < depth; i++)
        buffer_text(&text, "]}");
    buffer_text(&text, "}");
    enum status status = usage_filter_parse(buffer_view(&text), &arena, &filter, error);
    return status ? status : usage_filter_bind(filter, &meter, &arena, &bound, error);
}

Test(usage_filter, depth_and_size_are_bounded)
{
    struct error error = {0};
    // The object of dimensions is one level, the operator below it another.
    cr_assert_eq(parse_nested(USAGE_FILTER_DEPTH_MAX - 1, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(parse_nested(USAGE_FILTER_DEPTH_MAX, &error), STATUS_INVALID);
    cr_assert_eq(parse_nested(100, &error), STATUS_INVALID);
    cr_assert_eq(parse_nested(10000, &error), STATUS_INVALID);
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0};
    const struct usage_filter *filter;
    const struct usage_bound *bound;
    buffer_text(&text, "{\"model\":{\"$or\":[");
    for (int i = 0; i < USAGE_FILTER_NODES_MAX; i++)
        buffer_format(&text, "%s{\"$eq\":\"%d\"}", i ? "," : "", i);
    buffer_text(&text, "]}}");
    cr_assert_eq(
        usage_filter_parse(buffer_view(&text), &arena, &filter, &error),
        STATUS_OK,
        "%s",
        error.text);
    cr_assert_eq(usage_filter_bind(filter, &meter, &arena, &bound, &error), STATUS_INVALID);
    buffer_reset(&text);
    for (int i = 0; i < USAGE_FILTER_TEXT_MAX; i++)
        buffer_text(&text, " ");
    buffer_text(&text, "{}");
    cr_assert_eq(usage_filter_parse(buffer_view(&text), &arena, &filter, &error), STATUS_INVALID);
}

Test(usage_filter, pairs_of_one_dimension_are_alternatives)
{
    const struct usage_pair pairs[] = {
        {"model",  bytes_text("a") },
        {"region", bytes_text("eu")},
        {"model",  bytes_text("b") },
    };
    scoped(arena_done) struct arena arena = {0};
    const struct usage_bound *bound;
    struct error error = {0};
    const struct usage_filter *filter = usage_filter_of_pairs(pairs, 3, &arena);
    cr_assert_eq(usage_filter_bind(filter, &meter, &arena, &bound, &error), STATUS_OK);
    const struct cell_group groups[] = {
        {2, {bytes_text("a"), bytes_text("eu")}},
        {2, {bytes_text("b"), bytes_text("eu")}},
        {2, {bytes_text("c"), bytes_text("eu")}},
        {2, {bytes_text("a"), bytes_text("us")}},
    };
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(usage_filter_accepts(bound, bytes_text("s"), &groups[i]), i < 2, "%zu", i);
    cr_assert_null(usage_filter_of_pairs(NULL, 0, &arena));
}

// The text cut at every length is refused, or is whole; nothing is read beyond it.
Test(usage_filter, cut_texts_are_refused)
{
    static const char text[] = "{\"model\": {\"$or\": [{\"$in\": [\"a\", \"b\"]}, {\"$like\": "
                               "\"\\u00e9%\"}]}, \"subject\": {\"$gt\": \"x\"}}";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        scoped(arena_done) struct arena arena = {0};
        const struct usage_filter *filter;
        struct error error = {0};
        char *copy = arena_text_of(&arena, bytes_of(text, size));
        cr_assert_eq(
            usage_filter_parse(bytes_of(copy, size), &arena, &filter, &error), STATUS_INVALID);
    }
}
