// The plain form of YAML, as JSON; and our own document.

#include "api/yaml.h"

#include "api/description.h"
#include "base/json.h"

#include <criterion/criterion.h>

Test(yaml, reads_the_plain_form)
{
    static const struct {
        const char *yaml, *json;
    } rows[] = {
        {"a: 1",                                      "{\"a\":1}"                                 },
        {"# x\n\na: b c\nd: \"e\\nf\"\n",             "{\"a\":\"b c\",\"d\":\"e\\nf\"}"           },
        {"a:\n  b: true\n  c: null\nd: -1.5",         "{\"a\":{\"b\":true,\"c\":null},\"d\":-1.5}"},
        {"version: 0.1.0\nopen: 3.0.3\n",             "{\"version\":\"0.1.0\",\"open\":\"3.0.3\"}"},
        {"\"200\":\n  x: y",                          "{\"200\":{\"x\":\"y\"}}"                   },
        {"/a/{b}:\n  c: d",                           "{\"/a/{b}\":{\"c\":\"d\"}}"                },
        {"- a\n- 1\n-\n  b: c",                       "[\"a\",1,{\"b\":\"c\"}]"                   },
        {"a:\n  - name: x\n    in: q\n  - name: y",
         "{\"a\":[{\"name\":\"x\",\"in\":\"q\"},{\"name\":\"y\"}]}"                               },
        {"- a:\n    b: c\n  d: e",                    "[{\"a\":{\"b\":\"c\"},\"d\":\"e\"}]"       },
        {"- - a\n",                                   "[[\"a\"]]"                                 },
        {"a: []\nb: [1, \"y, z\"]\nc: {}",            "{\"a\":[],\"b\":[1,\"y, z\"],\"c\":{}}"    },
        {"a: {b: [1, 2], c: {d: e}}",                 "{\"a\":{\"b\":[1,2],\"c\":{\"d\":\"e\"}}}" },
        {"a: >-\n  one\n  two\nb: c",                 "{\"a\":\"one two\",\"b\":\"c\"}"           },
        {"a: x: y",                                   NULL                                        },
        {"a: b:c",                                    "{\"a\":\"b:c\"}"                           },
        {"a: \"#/x\"",                                "{\"a\":\"#/x\"}"                           },
        {"a:\nb: 1",                                  "{\"a\":null,\"b\":1}"                      },
        {"",                                          NULL                                        },
        {"a",                                         NULL                                        },
        {"a: \"b",                                    NULL                                        },
        {"a: [b",                                     NULL                                        },
        {"a: {b}",                                    "{\"a\":{\"b\":null}}"                      },
        {"a: &x b",                                   NULL                                        },
        {"a: |\n  b",                                 "{\"a\":\"b\"}"                             },
        {"a: 'b'",                                    "{\"a\":\"b\"}"                             },
        {"a: *x",                                     NULL                                        },
        {"a: !x b",                                   NULL                                        },
        {"? [a]\n: b",                                NULL                                        },
        {"a: \"1\"\nb: 007\nc: 12345678901234567890",
         "{\"a\":\"1\",\"b\":\"007\",\"c\":\"12345678901234567890\"}"                             },
        {"a: b\n  c: d",                              NULL                                        },
        {"  a: b\nc: d",                              NULL                                        },
        {"a:\n    b: c\n  d: e",                      NULL                                        },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(buffer_done) struct buffer out = {0};
        struct error error;
        enum status status = yaml_read(bytes_text(rows[i].yaml), &out, &error);
        cr_assert_eq(status == STATUS_OK, rows[i].json != NULL, "row %zu", i);
        if (status == STATUS_OK)
            cr_assert(
                bytes_equal(buffer_view(&out), bytes_text(rows[i].json)),
                "row %zu: %.*s",
                i,
                (int)out.size,
                (const char *)out.data);
    }
}

Test(yaml, reads_our_document)
{
    scoped(arena_done) struct arena arena = {0};
    const struct description *description = NULL;
    struct json *root;
    struct error error = {0};
    cr_assert_eq(description_open(&arena, &description, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(json_parse(description->json, NULL, &arena, &root, &error), STATUS_OK);
    const struct json *paths = json_member(root, "paths");
    cr_assert_gt(paths->count, 10);
    const struct json *get = json_member(json_member(paths, "/api/v1/meters/{meter}/query"), "get");
    cr_assert(json_is_text(json_member(get, "summary"), "How much was used."));
    cr_assert_gt(json_member(get, "parameters")->count, 5);
    const char *html = arena_text_of(&arena, description->html);
    cr_assert_not_null(strstr(html, "/api/v1/meters/{meter}/query</h3>"));
    cr_assert_not_null(strstr(html, "id=\"schema-Problem\""));
    cr_assert_null(strstr(html, "<script"));
    cr_assert_null(strstr(html, "http"));
}
