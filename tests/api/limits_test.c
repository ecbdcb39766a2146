// Who may ask how often, in a time that the test makes.

#include "api/limits.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static struct limits *
opened(struct limit_rule *rules, const char *anonymous, const char *key)
{
    struct limits *limits = NULL;
    struct error error;
    cr_assert(limit_rule_parse(anonymous, &rules[LIMIT_ANONYMOUS]));
    cr_assert(limit_rule_parse("none", &rules[LIMIT_ADDRESS]));
    cr_assert(limit_rule_parse(key, &rules[LIMIT_KEY]));
    cr_assert_eq(limits_open(rules, &limits, &error), STATUS_OK);
    return limits;
}

static struct limit_verdict
taken(struct limits *limits, enum limit_kind kind, const char *who, int64_t now_ns)
{
    struct limit_verdict verdict;
    limits_take(limits, kind, NULL, bytes_text(who), now_ns, &verdict);
    return verdict;
}

Test(limits, lets_a_number_through_and_gives_them_back_one_by_one)
{
    struct limit_rule rules[LIMIT_KINDS];
    struct limits *limits = opened(rules, "100/15m", "none");
    int64_t now_ns = 5 * SECOND_NS;
    for (int i = 0; i < 100; i++) {
        struct limit_verdict verdict = taken(limits, LIMIT_ANONYMOUS, "a", now_ns);
        cr_assert(verdict.is_allowed && verdict.is_limited);
        cr_assert_eq(verdict.remaining, 99 - i);
        cr_assert_eq(verdict.reset_s, (i + 1) * 9);
        cr_assert_eq(verdict.retry_s, 0);
    }
    struct limit_verdict verdict = taken(limits, LIMIT_ANONYMOUS, "a", now_ns);
    cr_assert_not(verdict.is_allowed);
    cr_assert_eq(verdict.remaining, 0);
    cr_assert_eq(verdict.retry_s, 9);
    cr_assert_eq(verdict.reset_s, 900);
    // Of a thread that looked at its clock before the others did.
    verdict = taken(limits, LIMIT_ANONYMOUS, "a", now_ns - 100 * SECOND_NS);
    cr_assert_not(verdict.is_allowed);
    cr_assert_eq(verdict.remaining, 0);
    // What is refused costs nothing, and others are not touched.
    cr_assert(taken(limits, LIMIT_ANONYMOUS, "b", now_ns).is_allowed);
    now_ns += 9 * SECOND_NS - 1;
    cr_assert_eq(taken(limits, LIMIT_ANONYMOUS, "a", now_ns).retry_s, 1);
    cr_assert(taken(limits, LIMIT_ANONYMOUS, "a", now_ns + 1).is_allowed);
    cr_assert_not(taken(limits, LIMIT_ANONYMOUS, "a", now_ns + 1).is_allowed);
    cr_assert_eq(limits_refused(limits, LIMIT_ANONYMOUS), 4);
    now_ns += 900 * SECOND_NS;
    cr_assert_eq(taken(limits, LIMIT_ANONYMOUS, "a", now_ns).remaining, 98);
    cr_assert_eq(taken(limits, LIMIT_ANONYMOUS, "a", now_ns + SECOND_NS * 10).remaining, 99);
    limits_close(limits);
}

Test(limits, counts_each_kind_for_itself_and_none_has_no_end)
{
    struct limit_rule rules[LIMIT_KINDS];
    struct limits *limits = opened(rules, "1/1m", "2/1m");
    cr_assert(taken(limits, LIMIT_ANONYMOUS, "a", 0).is_allowed);
    cr_assert(taken(limits, LIMIT_KEY, "a", 0).is_allowed);
    cr_assert(taken(limits, LIMIT_KEY, "a", 0).is_allowed);
    cr_assert_not(taken(limits, LIMIT_KEY, "a", 0).is_allowed);
    cr_assert_not(taken(limits, LIMIT_ANONYMOUS, "a", 0).is_allowed);
    for (int i = 0; i < 1000; i++) {
        struct limit_verdict verdict = taken(limits, LIMIT_ADDRESS, "a", 0);
        cr_assert(verdict.is_allowed && !verdict.is_limited);
    }
    limits_close(limits);
}

// More callers than there is room for: those who are out of requests stay known.
Test(limits, a_rule_of_ones_own_goes_before_the_kinds)
{
    struct limit_rule rules[LIMIT_KINDS], own, none;
    struct limits *limits = opened(rules, "5/1s", "100/1s");
    cr_assert(limit_rule_parse("2/1s", &own));
    cr_assert(limit_rule_parse("none", &none));
    struct limit_verdict verdict;
    for (int i = 0; i < 3; i++) {
        limits_take(limits, LIMIT_KEY, &own, bytes_text("a"), SECOND_NS, &verdict);
        cr_assert_eq(verdict.is_allowed, i < 2);
        cr_assert_eq(verdict.rule, &own);
    }
    for (int i = 0; i < 200; i++) {
        limits_take(limits, LIMIT_KEY, &none, bytes_text("b"), SECOND_NS, &verdict);
        cr_assert(verdict.is_allowed && !verdict.is_limited);
    }
    verdict = taken(limits, LIMIT_KEY, "c", SECOND_NS);
    cr_assert_eq(verdict.rule, &rules[LIMIT_KEY]);
    cr_assert_eq(limits_refused(limits, LIMIT_KEY), 1);
    limits_close(limits);
}

Test(limits, forgets_who_asked_least)
{
    enum { CALLERS = 3 * LIMIT_ENTRIES };
    struct limit_rule rules[LIMIT_KINDS];
    struct limits *limits = opened(rules, "100/15m", "none");
    char name[32];
    for (int i = 0; i < 200; i++)
        (void)taken(limits, LIMIT_ANONYMOUS, "flood", 0);
    for (int i = 0; i < CALLERS; i++) {
        (void)snprintf(name, sizeof name, "caller %d", i);
        cr_assert(taken(limits, LIMIT_ANONYMOUS, name, 0).is_allowed);
    }
    cr_assert_not(taken(limits, LIMIT_ANONYMOUS, "flood", 0).is_allowed);
    limits_close(limits);
}

struct crowd {
    struct limits *limits;
    atomic_int allowed;
};

static void *
crowd_run(void *argument)
{
    struct crowd *crowd = argument;
    for (int i = 0; i < 1000; i++)
        crowd->allowed += taken(crowd->limits, LIMIT_KEY, "shared", SECOND_NS).is_allowed;
    return NULL;
}

Test(limits, counts_each_request_of_many_threads)
{
    enum { THREADS = 4 };
    struct limit_rule rules[LIMIT_KINDS];
    struct crowd crowd = {.limits = opened(rules, "none", "1500/1m")};
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, crowd_run, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(crowd.allowed, 1500);
    limits_close(crowd.limits);
}
