#include "api/target.h"

#include <criterion/criterion.h>

#include <string.h>

static const struct {
    const char *text;
    const char *parts;  // joined by '|'; NULL: refused
    const char *pairs;  // name=value joined by '|'
} ROWS[] = {
    {"/",                              "",                  ""                    },
    {"/a",                             "a",                 ""                    },
    {"/a/",                            "a|",                ""                    },
    {"/a//b",                          "a||b",              ""                    },
    {"/api/v1/meters/x%2Fy",           "api|v1|meters|x/y", ""                    },
    {"/%41%c3%a4",                     "A\xc3\xa4",         ""                    },
    {"/a+b",                           "a+b",               ""                    },
    {"/..",                            "..",                ""                    },
    {"/a?b=c",                         "a",                 "b=c"                 },
    {"/a?b=c&b=d&&e",                  "a",                 "b=c|b=d|e="          },
    {"/a?b=1+2%2B3&c=x=y",             "a",                 "b=1 2+3|c=x=y"       },
    {"/a?filterGroupBy[m]=GET",        "a",                 "filterGroupBy[m]=GET"},
    {"/a?%5B=%5d",                     "a",                 "[=]"                 },
    {"/a?",                            "a",                 ""                    },
    {"/a?b?c=d",                       "a",                 "b?c=d"               },
    {"",                               NULL,                NULL                  },
    {"a",                              NULL,                NULL                  },
    {"http://host/a?b=c",              "a",                 "b=c"                 },
    {"HTTPS://host:443",               "",                  ""                    },
    {"ftp://host/a",                   NULL,                NULL                  },
    {"*",                              NULL,                NULL                  },
    {"/%",                             NULL,                NULL                  },
    {"/%4",                            NULL,                NULL                  },
    {"/%4g",                           NULL,                NULL                  },
    {"/%00",                           NULL,                NULL                  },
    {"/%ff",                           NULL,                NULL                  },
    {"/\xff",                          NULL,                NULL                  },
    {"/a?b=%",                         NULL,                NULL                  },
    {"/a?b=%0",                        NULL,                NULL                  },
    {"/a?b=%00",                       NULL,                NULL                  },
    {"/a?%c3=b",                       NULL,                NULL                  },
    {"/1/2/3/4/5/6/7/8/9/10/11/12/13", NULL,                NULL                  },
};

static void
joined(char *out, size_t size, const char *text)
{
    cr_assert_lt(strlen(out) + strlen(text), size);
    memcpy(out + strlen(out), text, strlen(text) + 1);
}

Test(target, reads_and_refuses)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct target target;
        const char *fault = NULL;
        char parts[256] = "", pairs[256] = "";
        bool is_read = target_parse(ROWS[i].text, &arena, &target, &fault);
        cr_assert_eq(is_read, ROWS[i].parts != NULL, "%s", ROWS[i].text);
        if (!is_read) {
            cr_assert_not_null(fault);
            continue;
        }
        for (size_t k = 0; k < target.segments_count; k++) {
            joined(parts, sizeof parts, k > 0 ? "|" : "");
            joined(parts, sizeof parts, target.segments[k]);
        }
        for (size_t k = 0; k < target.pairs_count; k++) {
            joined(pairs, sizeof pairs, k > 0 ? "|" : "");
            joined(pairs, sizeof pairs, target.pairs[k].name);
            joined(pairs, sizeof pairs, "=");
            joined(pairs, sizeof pairs, target.pairs[k].value);
        }
        cr_assert_str_eq(parts, ROWS[i].parts, "%s", ROWS[i].text);
        cr_assert_str_eq(pairs, ROWS[i].pairs, "%s", ROWS[i].text);
    }
}

Test(target, finds_values_of_one_name_in_order)
{
    scoped(arena_done) struct arena arena = {0};
    struct target target;
    const char *fault;
    size_t at = 0;
    cr_assert(target_parse("/q?subject=a&x=1&subject=b", &arena, &target, &fault));
    cr_assert_str_eq(target_next(&target, "subject", &at), "a");
    cr_assert_str_eq(target_next(&target, "subject", &at), "b");
    cr_assert_null(target_next(&target, "subject", &at));
    cr_assert_str_eq(target_value(&target, "x"), "1");
    cr_assert_null(target_value(&target, "y"));
}

Test(target, refuses_more_parameters_than_it_keeps)
{
    scoped(arena_done) struct arena arena = {0};
    struct target target;
    const char *fault;
    char text[2 * TARGET_PAIRS_MAX + 16] = "/q?";
    for (int i = 0; i < TARGET_PAIRS_MAX; i++)
        joined(text, sizeof text, i > 0 ? "&a" : "a");
    cr_assert(target_parse(text, &arena, &target, &fault));
    cr_assert_eq(target.pairs_count, TARGET_PAIRS_MAX);
    joined(text, sizeof text, "&a");
    cr_assert_not(target_parse(text, &arena, &target, &fault));
}
