#include "base/limit_rule.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <stdlib.h>

Test(limit_rule, reads_a_number_and_a_time)
{
    static const struct {
        const char *text;
        int64_t count, window_s;
        const char *policy;
    } rows[] = {
        {"100/15m",     100,      900,   "100;w=900"    },
        {"1/1d",        1,        86400, "1;w=86400"    },
        {"1000000/1s",  1000000,  1,     "1000000;w=1"  },
        {"50000000/1m", 50000000, 60,    "50000000;w=60"},
        {"7/24h",       7,        86400, "7;w=86400"    },
        {"none",        0,        0,     ""             },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct limit_rule rule;
        cr_assert(limit_rule_parse(rows[i].text, &rule), "%s", rows[i].text);
        cr_assert_eq(rule.count, rows[i].count);
        cr_assert_eq(rule.window_ns, rows[i].window_s * SECOND_NS);
        cr_assert_str_eq(rule.policy, rows[i].policy);
        cr_assert_eq(strtoll(rule.limit, NULL, 10), rows[i].count);
    }
}

Test(limit_rule, refuses_what_is_no_rule)
{
    static const char *const rows[] = {
        "",      "0/1s", "1",    "1/",     "1/s",           "1/0s",         "/1s",
        "-1/1s", "1/1",  "1/1w", "1/2d",   "1/25h",         "1000001/1s",   "1 /1s",
        "1/1s ", "x",    "None", "1/1m1s", "9999999999/1d", "1/9999999999s"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct limit_rule rule;
        cr_assert_not(limit_rule_parse(rows[i], &rule), "%s", rows[i]);
    }
}
