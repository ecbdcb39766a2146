#pragma once
// How often somebody may ask: for each key, each address, and each address without a key.
//
//     limit_rule_parse("100/15m", &rules[LIMIT_ANONYMOUS]);
//     limits_open(rules, &limits, &error);
//     limits_take(limits, LIMIT_KEY, NULL, bytes_text(id), clock_monotonic_ns(), &verdict);
//     if (!verdict.is_allowed) 429, Retry-After: verdict.retry_s
//
// A rule N/TIME lets N requests through at once, and gives one back each TIME / N: whoever stays
// below that never sees it. (GCRA: one number for each who asks, the time at which all N are back.)
// A number that has passed says nothing, so it may be forgotten: LIMIT_ENTRIES are kept of each
// kind, and when more ask at a time, those that asked least are forgotten first, who is out of
// requests last. Which entry stands where is decided by a secret, so that nobody picks neighbours.
// A new kind of caller (a session) is one more enum value and one more rule.
// Owner: main. Thread: limits_take from any.

#include "base/bytes.h"
#include "base/limit_rule.h"
#include "base/status.h"

#include <stdint.h>

enum limit_kind { LIMIT_ANONYMOUS, LIMIT_ADDRESS, LIMIT_KEY, LIMIT_KINDS };

enum { LIMIT_ENTRIES = 1 << 16 };

struct limit_verdict {
    bool is_allowed;
    bool is_limited;  // there is a rule; else nothing below is set
    const struct limit_rule *rule;
    int64_t remaining;
    int64_t retry_s;  // until one more may be asked; 0 when it is allowed
    int64_t reset_s;  // until all may
};

const char *limit_name(enum limit_kind kind);

struct limits;

// rules: LIMIT_KINDS of them, which must live as long. 3 MiB.
enum status
limits_open(const struct limit_rule *rules, struct limits **out, struct error *error) CHECKED;
// NULL is accepted.
void limits_close(struct limits *limits);
// Counts one request of who it is, unless there is none left. own: a rule that holds instead of the
// kind's, or NULL; out borrows it.
void limits_take(
    struct limits *limits,
    enum limit_kind kind,
    const struct limit_rule *own,
    struct bytes who,
    int64_t now_ns,
    struct limit_verdict *out);
// Requests that were refused so far.
int64_t limits_refused(const struct limits *limits, enum limit_kind kind);
