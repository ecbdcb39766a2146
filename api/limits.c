#include "api/limits.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/pool.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAYS = 8, SETS = LIMIT_ENTRIES / WAYS, LOCKS = 64 };

// who: a keyed hash that no two share in practice; full_ns: when all requests are back.
struct entry {
    uint64_t who;
    int64_t full_ns;
};

struct limits {
    const struct limit_rule *rules;
    struct hash_secret secret;
    pthread_mutex_t locks[LOCKS];  // of the sets with this remainder
    struct entry *entries[LIMIT_KINDS];
    _Atomic int64_t refused[LIMIT_KINDS];
};

const char *
limit_name(enum limit_kind kind)
{
    static const char *const names[] = {
        [LIMIT_ANONYMOUS] = "anonymous", [LIMIT_ADDRESS] = "address", [LIMIT_KEY] = "key"};
    return names[kind];
}

// --- the tables ---

enum status
limits_open(const struct limit_rule *rules, struct limits **out, struct error *error)
{
    struct limits *limits = pool_take(1, sizeof *limits);
    if (limits == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the limits");
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&limits->locks[i], NULL);
    bool is_whole = true;
    for (size_t i = 0; is_whole && i < LIMIT_KINDS; i++) {
        limits->entries[i] = pool_take(LIMIT_ENTRIES, sizeof(struct entry));
        is_whole = limits->entries[i] != NULL;
    }
    if (!is_whole) {
        limits_close(limits);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the limits");
    }
    limits->rules = rules;
    random_fill(&limits->secret, sizeof limits->secret);
    *out = limits;
    return STATUS_OK;
}

void
limits_close(struct limits *limits)
{
    if (limits == NULL)
        return;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&limits->locks[i]);
    for (size_t i = 0; i < LIMIT_KINDS; i++)
        pool_give(limits->entries[i]);
    pool_give(limits);
}

// Who is to be counted, or whose place they take: the one whose requests are back first.
static struct entry *
entry_find(struct entry *set, uint64_t who, int64_t now_ns)
{
    struct entry *least = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].who == who)
            return &set[i];
        if (set[i].full_ns < least->full_ns)
            least = &set[i];
    }
    *least = (struct entry){.who = who, .full_ns = now_ns};
    return least;
}

static int64_t
seconds_up(int64_t ns)
{
    return (ns + SECOND_NS - 1) / SECOND_NS;
}

static void
entry_take(
    struct entry *entry, const struct limit_rule *rule, int64_t now_ns, struct limit_verdict *out)
{
    // Rounded up, so that no more than count fit into a window.
    int64_t step_ns = (rule->window_ns + rule->count - 1) / rule->count;
    int64_t span_ns = step_ns * rule->count;
    int64_t full_ns = (entry->full_ns > now_ns ? entry->full_ns : now_ns) + step_ns;
    out->is_allowed = full_ns - now_ns <= span_ns;
    if (out->is_allowed)
        entry->full_ns = full_ns;
    else
        out->retry_s = seconds_up(full_ns - span_ns - now_ns);
    // Others may have taken by a later clock than ours.
    int64_t left_ns = now_ns + span_ns - entry->full_ns;
    out->remaining = left_ns > 0 ? left_ns / step_ns : 0;
    out->reset_s = seconds_up(entry->full_ns - now_ns);
}

void
limits_take(
    struct limits *limits,
    enum limit_kind kind,
    const struct limit_rule *own,
    struct bytes who,
    int64_t now_ns,
    struct limit_verdict *out)
{
    const struct limit_rule *rule = own != NULL ? own : &limits->rules[kind];
    *out = (struct limit_verdict){.is_allowed = true, .rule = rule};
    if (rule->count == 0)
        return;
    out->is_limited = true;
    uint64_t hash = hash64_keyed(who, &limits->secret);
    size_t index = (size_t)(hash % SETS);
    pthread_mutex_t *lock = &limits->locks[index % LOCKS];
    pthread_mutex_lock(lock);
    struct entry *entry = entry_find(&limits->entries[kind][index * WAYS], hash, now_ns);
    entry_take(entry, rule, now_ns, out);
    pthread_mutex_unlock(lock);
    if (!out->is_allowed)
        atomic_fetch_add_explicit(&limits->refused[kind], 1, memory_order_relaxed);
}

int64_t
limits_refused(const struct limits *limits, enum limit_kind kind)
{
    return atomic_load_explicit(&limits->refused[kind], memory_order_relaxed);
}
