#include "base/json.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <stdio.h>

static enum status
parse(const char *text, struct arena *arena, struct json **out, struct error *error)
{
    return json_parse(bytes_text(text), NULL, arena, out, error);
}

static const char *const accepted[] = {
    "null",
    "true",
    "false",
    " \t\r\n0 \n",
    "-0",
    "10",
    "-12.50",
    "1e5",
    "1E+05",
    "0.0e-0",
    "123456789012345678901234567890.12345678901234567890",
    "\"\"",
    "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\\u0000\\u00e4\\u20AC\\ud83d\\ude00\"",
    "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\"",
    "[]",
    "[ ]",
    "[1]",
    "[1 , 2,[3]]",
    "{}",
    "{ }",
    "{\"a\":1}",
    "{ \"a\" : [ { \"b\" : null } ] , \"\" : \"\" }",
    "{\"a\":{\"a\":{\"a\":1}}}",
};

Test(json, accepts_documents)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct json *root = NULL;
        struct error error = {0};
        enum status status = parse(accepted[i], &arena, &root, &error);
        cr_assert_eq(status, STATUS_OK, "%s: %s", accepted[i], error.text);
        cr_assert_not_null(root);
        cr_assert_null(root->parent);
    }
}

struct refuse_row {
    const char *text;
    const char *message;
};

static const struct refuse_row refused[] = {
    {"",                        "line 1, column 1: the text ends, a value was expected"},
    {"  ",                      "line 1, column 3: the text ends, a value was expected"},
    {"nul",                     "line 1, column 1: 'n' found, a value"                 },
    {"True",                    "line 1, column 1: 'T' found, a value"                 },
    {"nulls",                   "line 1, column 5: 's' found, the end of the text"     },
    {"1 2",                     "line 1, column 3: '2' found, the end of the text"     },
    {"{}\n\n x",                "line 3, column 2: 'x' found, the end of the text"     },
    {"+1",                      "'+' found, a value"                                   },
    {"01",                      "line 1, column 1: a number must not begin with zeros" },
    {"-01",                     "line 1, column 2: a number must not begin with zeros" },
    {"00",                      "must not begin with zeros"                            },
    {"-",                       "line 1, column 2: the text ends, a digit"             },
    {".5",                      "'.' found, a value"                                   },
    {"1.",                      "line 1, column 3: the text ends, a digit"             },
    {"1.e5",                    "line 1, column 3: 'e' found, a digit"                 },
    {"1e",                      "the text ends, a digit"                               },
    {"1e+",                     "the text ends, a digit"                               },
    {"0x10",                    "'x' found, the end"                                   },
    {"NaN",                     "'N' found, a value"                                   },
    {"-Infinity",               "'I' found, a digit"                                   },
    {"[1,]",                    "line 1, column 4: ']' found, a value"                 },
    {"[,1]",                    "line 1, column 2: ',' found, a value"                 },
    {"[1 2]",                   "line 1, column 4: '2' found, ',' or ']'"              },
    {"[1",                      "line 1, column 3: the text ends, ',' or ']'"          },
    {"[1}",                     "'}' found, ',' or ']'"                                },
    {"]",                       "']' found, a value"                                   },
    {"{\"a\"}",                 "line 1, column 5: '}' found, ':'"                     },
    {"{\"a\":}",                "line 1, column 6: '}' found, a value"                 },
    {"{\"a\":1,}",              "line 1, column 8: '}' found, a key in double quotes"  },
    {"{a:1}",                   "line 1, column 2: 'a' found, a key in double quotes"  },
    {"{1:1}",                   "'1' found, a key in double quotes"                    },
    {"{'a':1}",                 "''' found, a key in double quotes"                    },
    {"{\"a\":1 \"b\":2}",       "line 1, column 8: '\"' found, ',' or '}'"             },
    {"{\"a\":1,\n \"a\":2}",    "line 2, column 2: the key \"a\" is given twice"       },
    {"{\"a\":1,\"\\u0061\":2}", "line 1, column 8: the key \"a\" is given twice"       },
    {"\"",                      "line 1, column 1: the string has no end"              },
    {"\"abc",                   "line 1, column 1: the string has no end"              },
    {"\"abc\\",                 "line 1, column 1: the string has no end"              },
    {"\"abc\\\"",               "line 1, column 1: the string has no end"              },
    {"\"a\nb\"",                "line 1, column 3: a control character in a string"    },
    {"\"a\tb\"",                "a control character in a string"                      },
    {"\"\\x41\"",               "line 1, column 2: unknown escape"                     },
    {"\"\\\n\"",                "unknown escape"                                       },
    {"\"\\u12\"",               "line 1, column 2: \\u wants four hexadecimal digits"  },
    {"\"\\u12g4\"",             "\\u wants four"                                       },
    {"\"\\ud800\"",             "lone surrogate"                                       },
    {"\"\\ud800x\"",            "lone surrogate"                                       },
    {"\"\\ud800\\n12345\"",     "lone surrogate"                                       },
    {"\"\\ud800\\u0041\"",      "lone surrogate"                                       },
    {"\"\\udc00\"",             "lone surrogate"                                       },
    {"\"\xFF\"",                "line 1, column 2: the string is not valid UTF-8"      },
    {"\"\xC3\"",                "not valid UTF-8"                                      },
    {"\"\xED\xA0\x80\"",        "not valid UTF-8"                                      },
    {"{\"\xFF\":1}",            "not valid UTF-8"                                      },
    {"\xEF\xBB\xBF{}",          "line 1, column 1: byte 0xef found, a value"           },
    {"/* no */ 1",              "'/' found, a value"                                   },
    {"[1, // no\n2]",           "'/' found, a value"                                   },
    {"\v1",                     "byte 0x0b found, a value"                             },
};

Test(json, refuses_and_says_where)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct json *root = NULL;
        struct error error = {0};
        cr_assert_eq(parse(refused[i].text, &arena, &root, &error), STATUS_INVALID, "row %zu", i);
        cr_assert_eq(error.status, STATUS_INVALID);
        cr_assert_not_null(strstr(error.text, refused[i].message), "row %zu: %s", i, error.text);
        cr_assert_null(root);
    }
    scoped(arena_done) struct arena arena = {0};
    struct json *root = NULL;
    cr_assert_eq(json_parse(bytes_of("1\0", 2), NULL, &arena, &root, NULL), STATUS_INVALID);
    cr_assert_eq(json_parse(bytes_of(NULL, 0), NULL, &arena, &root, NULL), STATUS_INVALID);
}

// A number cut short is a number; everything else that is cut is nothing.
Test(json, refuses_every_truncation)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        const char *text = accepted[i];
        if (strchr("{[\"tfn", text[0]) == NULL)
            continue;
        for (size_t size = 0; size < strlen(text); size++) {
            scoped(arena_done) struct arena arena = {0};
            // A copy of its own size: a byte read past the end is seen by the sanitizer.
            char *cut = size > 0 ? memcpy(arena_take(&arena, size, 1), text, size) : NULL;
            struct json *root = NULL;
            enum status status = json_parse(bytes_of(cut, size), NULL, &arena, &root, NULL);
            cr_assert_eq(status, STATUS_INVALID, "%s cut at %zu", text, size);
        }
    }
}

Test(json, makes_a_tree_of_the_document)
{
    scoped(arena_done) struct arena arena = {0};
    struct json *root = NULL;
    struct error error = {0};
    const char *text = "{\"plans\": [\n  {\"code\": \"free\"},\n  {\"charges\": [{\"price\": 0.10, "
                       "\"a b\": true}]}\n], \"n\": null}";
    cr_assert_eq(parse(text, &arena, &root, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(root->type, JSON_OBJECT);
    cr_assert_eq(root->count, 2);
    const struct json *plans = json_member(root, "plans");
    cr_assert_eq(plans->type, JSON_ARRAY);
    cr_assert_eq(plans->count, 2);
    cr_assert_eq(plans->line, 1);
    cr_assert_eq(plans->column, 11);
    const struct json *second = plans->first->next;
    cr_assert_null(second->next);
    cr_assert_eq(second->index, 1);
    cr_assert_eq(second->line, 3);
    cr_assert_eq(second->column, 3);
    const struct json *price = json_member(json_member(second, "charges")->first, "price");
    cr_assert_eq(price->type, JSON_NUMBER);
    cr_assert(bytes_equal(price->text, bytes_text("0.10")));
    cr_assert(bytes_equal(price->key, bytes_text("price")));
    cr_assert(json_is_text(json_member(plans->first, "code"), "free"));
    cr_assert_not(json_is_text(json_member(plans->first, "code"), "fre"));
    cr_assert_not(json_is_text(price, "0.10"));
    cr_assert_not(json_is_text(NULL, ""));
    cr_assert_null(json_member(root, "plan"));
    cr_assert_null(json_member(plans, "plans"));
    cr_assert_null(json_member(NULL, "plans"));
    cr_assert_eq(json_member(root, "n")->type, JSON_NULL);

    char place[64];
    json_place(price, place, sizeof place);
    cr_assert_str_eq(place, "plans[1].charges[0].price");
    json_place(price->next, place, sizeof place);
    cr_assert_str_eq(place, "plans[1].charges[0][\"a b\"]");
    cr_assert(price->next->boolean);
    json_place(root, place, sizeof place);
    cr_assert_str_eq(place, "(root)");
    json_place(price, place, 8);
    cr_assert_str_eq(place, "plans[1");
    json_place(price, place, 1);
    cr_assert_str_eq(place, "");
}

Test(json, unescapes_strings)
{
    scoped(arena_done) struct arena arena = {0};
    struct json *root = NULL;
    cr_assert_eq(
        parse(
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\tA\\u0041\\u00e4\\u20AC\\uD83D\\uDE00\\u0000.\"",
            &arena,
            &root,
            NULL),
        STATUS_OK);
    static const char expected[] = "\"\\/\b\f\n\r\tAA\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\0.";
    cr_assert(bytes_equal(root->text, bytes_of(expected, sizeof expected - 1)));
}

Test(json, reads_int64_exactly)
{
    static const struct {
        const char *text;
        enum status status;
        int64_t value;
    } rows[] = {
        {"0",                    STATUS_OK,      0        },
        {"-0",                   STATUS_OK,      0        },
        {"9223372036854775807",  STATUS_OK,      INT64_MAX},
        {"-9223372036854775808", STATUS_OK,      INT64_MIN},
        {"9223372036854775808",  STATUS_INVALID, 0        },
        {"-9223372036854775809", STATUS_INVALID, 0        },
        {"99999999999999999999", STATUS_INVALID, 0        },
        {"1.0",                  STATUS_INVALID, 0        },
        {"1e2",                  STATUS_INVALID, 0        },
        {"\"1\"",                STATUS_INVALID, 0        },
        {"true",                 STATUS_INVALID, 0        },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct json *root = NULL;
        cr_assert_eq(parse(rows[i].text, &arena, &root, NULL), STATUS_OK);
        int64_t value = 77;
        cr_assert_eq(json_int64(root, &value), rows[i].status, "%s", rows[i].text);
        cr_assert_eq(value, rows[i].status ? 77 : rows[i].value, "%s", rows[i].text);
    }
    int64_t value;
    cr_assert_eq(json_int64(NULL, &value), STATUS_INVALID);
}

static struct bytes
nested(struct arena *arena, size_t depth)
{
    uint8_t *text = arena_take(arena, depth, 2);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return bytes_of(text, 2 * depth);
}

Test(json, keeps_its_limits)
{
    scoped(arena_done) struct arena arena = {0};
    struct json *root = NULL;
    struct error error = {0};
    cr_assert_eq(json_parse(nested(&arena, 64), NULL, &arena, &root, &error), STATUS_OK);
    cr_assert_eq(json_parse(nested(&arena, 65), NULL, &arena, &root, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "line 1, column 65: nested deeper than 64");
    struct json_limits limits = {.size_max = 10, .depth_max = 5};
    cr_assert_eq(json_parse(nested(&arena, 5), &limits, &arena, &root, &error), STATUS_OK);
    limits.size_max = 0;
    cr_assert_eq(json_parse(nested(&arena, 6), &limits, &arena, &root, &error), STATUS_INVALID);
    limits.size_max = 9;
    cr_assert_eq(json_parse(nested(&arena, 5), &limits, &arena, &root, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "10 bytes of JSON, at most 9 are read");
    limits = (struct json_limits){.depth_max = 1000};
    cr_assert_eq(json_parse(nested(&arena, 1000), &limits, &arena, &root, &error), STATUS_OK);
    size_t deepest = 1 << 20;
    cr_assert_eq(json_parse(nested(&arena, deepest), NULL, &arena, &root, &error), STATUS_INVALID);
}

static struct bytes
members(struct buffer *out, int count, int twice)
{
    buffer_text(out, "{");
    for (int i = 0; i < count; i++)
        buffer_format(out, "%s\"key-%d\":%d", i ? "," : "", i, i);
    if (twice >= 0)
        buffer_format(out, ",\n\"key-%d\":0", twice);
    buffer_text(out, "}");
    return buffer_view(out);
}

Test(json, finds_a_duplicate_in_an_object_of_any_size)
{
    static const int counts[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (int twice = -1; twice<counts[i]; twice += counts[i]> 100 ? 37 : 1) {
            scoped(arena_done) struct arena arena = {0};
            scoped(buffer_done) struct buffer text = {0};
            struct bytes input = members(&text, counts[i], twice);
            struct json *root = NULL;
            struct error error = {0};
            enum status status = json_parse(input, NULL, &arena, &root, &error);
            cr_assert_eq(
                status, twice < 0 ? STATUS_OK : STATUS_INVALID, "%d of %d", twice, counts[i]);
            if (twice >= 0)
                cr_assert_not_null(strstr(error.text, "line 2, column 1: the key \"key-"));
        }
    }
}

Test(json, a_hundred_thousand_members_take_no_square_time)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0};
    struct bytes input = members(&text, 100000, -1);
    struct json *root = NULL;
    int64_t began_ns = clock_monotonic_ns();
    cr_assert_eq(json_parse(input, NULL, &arena, &root, NULL), STATUS_OK);
    // 5 * 10^9 comparisons would take far longer, this takes some hundredths of a second.
    cr_assert_lt(clock_monotonic_ns() - began_ns, 5 * SECOND_NS);
    cr_assert_eq(root->count, 100000);
    text.size--;
    buffer_text(&text, ",\"key-0\":0}");
    cr_assert_eq(json_parse(buffer_view(&text), NULL, &arena, &root, NULL), STATUS_INVALID);
}
