#include "base/limit_rule.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 9 };

static bool
digits_read(const char **at, int64_t *out)
{
    size_t count = strspn(*at, "0123456789");
    if (count == 0 || count > DIGITS_MAX)
        return false;
    *out = strtoll(*at, NULL, 10);
    *at += count;
    return *out > 0;
}

static int64_t
unit_ns(const char *text)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {
        {"s", 1    },
        {"m", 60   },
        {"h", 3600 },
        {"d", 86400}
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(text, units[i].name) == 0)
            return units[i].seconds * SECOND_NS;
    return 0;
}

bool
limit_rule_parse(const char *text, struct limit_rule *out)
{
    struct limit_rule rule = {0};
    int64_t units;
    if (strcmp(text, "none") == 0) {
        *out = rule;
        return true;
    }
    if (!digits_read(&text, &rule.count) || *text++ != '/' || !digits_read(&text, &units))
        return false;
    int64_t unit = unit_ns(text);
    if (unit == 0 || units > DAY_NS / unit)
        return false;
    rule.window_ns = units * unit;
    if (rule.window_ns / rule.count < SECOND_NS / 1000000)
        return false;
    (void)snprintf(rule.limit, sizeof rule.limit, "%" PRId64, rule.count);
    (void)snprintf(
        rule.policy,
        sizeof rule.policy,
        "%" PRId64 ";w=%" PRId64,
        rule.count,
        rule.window_ns / SECOND_NS);
    *out = rule;
    return true;
}
