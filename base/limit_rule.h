#pragma once
// How often something may be done: "100/15m".
//
//     struct limit_rule rule;
//     if (!limit_rule_parse("100/15m", &rule)) refuse();
//     rule.count, rule.window_ns, rule.policy                  // 100, 900 s, "100;w=900"
//
// api/limits counts by it. Thread: any.

#include <stdbool.h>
#include <stdint.h>

enum { LIMIT_TEXT_MAX = 48 };

struct limit_rule {
    int64_t count;  // 0: no limit
    int64_t window_ns;
    char policy[LIMIT_TEXT_MAX];  // "100;w=900", of the header RateLimit-Policy
    char limit[LIMIT_TEXT_MAX];   // "100", of RateLimit-Limit
};

// "N/TIME" with TIME a number of s, m, h or d, at most a day and at most a million in a second; or
// "none".
bool limit_rule_parse(const char *text, struct limit_rule *out) __attribute__((warn_unused_result));
#define LIMIT_RULE_FORM "N/TIME such as 100/15m (s, m, h or d; at most a day), or none"
