#include "api/json_path.h"

#include "ledger/meter.h"

#include <criterion/criterion.h>

static const struct {
    const char *path;
    const char *canonical;  // NULL: refused
} ROWS[] = {
  // OpenMeter's own (jsonpath_test.go); elements of lists and wildcards are not for us.
    {"$.value",                "$.value"      },
    {"$.foo.bar",              "$.foo.bar"    },
    {"$.duration_ms",          "$.duration_ms"},
    {"$['my-key']",            "$.my-key"     },
    {"$[\"my key\"]",          "$.my key"     },
    {"$.2",                    "$.2"          },
    {"$.items[0].price",       NULL           },
    {"$.*",                    NULL           },
    {"$.a[*].b",               NULL           },
    {"$[0 to 2, 4]",           NULL           },
    {"$",                      NULL           },
    {"$2",                     NULL           },
    {"${foo}",                 NULL           },
    {"$?",                     NULL           },
    {"$.a$1",                  NULL           },
    {"",                       NULL           },
    {"$.a\nx",                 NULL           },
    {"$.\xff\xfe",             NULL           },
 // Steps of both kinds, and what only looks like one.
    {"$['a'][\"b\"].c['d e']", "$.a.b.c.d e"  },
    {"$.a['b']",               "$.a.b"        },
    {"$['it\"s']",             NULL           },
    {"$['\xc3\xa4']",          "$.\xc3\xa4"   },
    {"$['a.b']",               NULL           },
    {"$['a'",                  NULL           },
    {"$['a",                   NULL           },
    {"$['",                    NULL           },
    {"$[",                     NULL           },
    {"$['']",                  NULL           },
    {"$['a\"]",                NULL           },
    {"$['a']b",                NULL           },
    {"$['a']..b",              NULL           },
    {"$.['a']",                NULL           },
    {"$['a'].",                NULL           },
    {"$['a']['b'",             NULL           },
    {"$['a]']",                NULL           },
};

Test(json_path, quoted_steps_are_names)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct error error = {0};
        const char *canonical = NULL;
        const char *plain = json_path_plain(ROWS[i].path, &arena);
        enum status status = meter_path_canonical(plain, &arena, &canonical, &error);
        cr_assert_eq(status == STATUS_OK, ROWS[i].canonical != NULL, "%s", ROWS[i].path);
        if (status == STATUS_OK)
            cr_assert_str_eq(canonical, ROWS[i].canonical);
    }
}
