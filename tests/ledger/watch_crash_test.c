#include "base/clock.h"
#include "ledger/memory.h"
#include "ledger/rebuild.h"
#include "ledger/verify.h"
#include "tests/ledger/operating.h"
#include "tests/ledger/watching.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

// Thresholds whose totals are not known at once: distinct values, cells to be made anew, deaths
// between two commits; and questions that nobody should ask.

static struct threshold
threshold_of(const char *key, const char *meter, enum threshold_period period, int64_t limit)
{
    return (struct threshold){
        .key = key, .meter = meter, .period = period, .limit = decimal_from_int(limit)};
}

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

// Values n of 0 to 9 are ten distinct ones, however often they come.
Test(watch_crash, distinct_values_count_once, .timeout = 60)
{
    struct writing writing;
    struct rebuild_summary summary;
    struct error error = {0};
    const struct rebuild_options options = {
        .shard = REBUILD_ALL_SHARDS, .ledger = {.now_ns = test_now_ns}};
    const struct threshold users = threshold_of("users", "u", THRESHOLD_MONTH, 10);
    writing_begin(&writing, 1);
    watching_meter(&writing, "u", AGGREGATION_UNIQUE_COUNT);
    (void)watching_threshold(&writing, &users);
    writing_open(&writing, NULL);
    for (int64_t i = 0; i < 18; i++)
        watching_put(&writing, "a", i % 9, writing_now_ns - i % 4 * HOUR_NS);
    struct quota quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 9);
    cr_assert(quota.is_complete && !quota.has_fired);
    writing_close(&writing);
    // From cells on disk, of several windows with the same values, and from those made anew.
    for (int i = 0; i < 2; i++) {
        writing_open(&writing, NULL);
        watching_put(&writing, "a", 3, writing_now_ns);
        quota = watching_quota(&writing, 2, "a");
        cr_assert_eq(watching_whole(&quota.used), 9);
        cr_assert_eq(writing_metric(&writing, "tally_thresholds_fired_total"), 0);
        writing_close(&writing);
        if (i == 0)
            succeed(rebuild_run(writing.dir, &options, &summary, &error), &error);
    }
    writing_open(&writing, NULL);
    watching_put(&writing, "a", 8, writing_now_ns);
    watching_put(&writing, "a", 9, writing_now_ns);
    watching_wait(&writing, 1);
    watching_put(&writing, "a", 10, writing_now_ns);
    watching_put(&writing, "a", 11, writing_now_ns);
    writing_close(&writing);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.count, 1);
    cr_assert_eq(watching_whole(&list.items[0].value), 10);
    arena_done(&list.arena);
    writing_open(&writing, NULL);
    quota = watching_quota(&writing, 2, "a");
    cr_assert(quota.has_fired);
    cr_assert_geq(watching_whole(&quota.used), 11);
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_end(&writing);
}

// More than a cell holds itself: the others are spilled.
Test(watch_crash, many_distinct_values, .timeout = 60)
{
    enum { MANY = CELL_SET_INLINE_MAX * 8 };  // of several groups
    struct writing writing;
    const struct threshold users = threshold_of("users", "u", THRESHOLD_MONTH, MANY);
    struct event_bytes event;
    writing_begin(&writing, 1);
    watching_meter(&writing, "u", AGGREGATION_UNIQUE_COUNT);
    (void)watching_threshold(&writing, &users);
    writing_open(&writing, NULL);
    for (int64_t i = 0; i < MANY - 1; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "m%d", (int)i);
        event_make(&event, "a", id, i);
        event.event.time_ns = writing_now_ns;
        (void)writing_put(&writing, &event.event);
    }
    writing_wait(&writing);
    writing_close(&writing);
    writing_open(&writing, NULL);
    watching_put(&writing, "a", 7, writing_now_ns);
    struct quota quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), MANY - 1);
    cr_assert(quota.is_complete && !quota.has_fired);
    watching_put(&writing, "a", MANY, writing_now_ns);
    watching_wait(&writing, 1);
    writing_close(&writing);
    writing_end(&writing);
}

// What was taken out is known when the cell has been made anew; it neither fires nor is missed.
Test(watch_crash, distinct_values_are_taken_out, .timeout = 60)
{
    struct writing writing;
    const struct threshold users = threshold_of("users", "u", THRESHOLD_DAY, 3);
    writing_begin(&writing, 1);
    watching_meter(&writing, "u", AGGREGATION_UNIQUE_COUNT);
    (void)watching_threshold(&writing, &users);
    writing_open(&writing, NULL);
    watching_put_named(&writing, "a", "a1", 1);
    watching_put_named(&writing, "a", "a2", 2);
    watching_correct(&writing, "a", "a2", -1);
    watching_put_named(&writing, "a", "a3", 3);  // two are left, three were there
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    struct quota quota = watching_quota(&writing, 2, "a");
    while (!quota.is_complete) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "nobody made the cell anew");
        sched_yield();
        quota = watching_quota(&writing, 2, "a");
    }
    cr_assert_eq(watching_whole(&quota.used), 2);
    cr_assert(!quota.has_fired);
    cr_assert_eq(writing_metric(&writing, "tally_thresholds_fired_total"), 0);
    watching_put_named(&writing, "a", "a4", 4);
    watching_wait(&writing, 1);
    writing_close(&writing);
    writing_end(&writing);
}

// The latest value is cancelled, and the one before it is at the limit: it fires as soon as the
// cell has been made anew, without another event; and if the process ends before that, after the
// next start.
Test(watch_crash, what_a_cancel_brings_to_light_fires, .timeout = 60)
{
    for (int stops = 0; stops < 2; stops++) {
        struct writing writing;
        struct event_bytes event;
        const struct threshold top = threshold_of("top", "n", THRESHOLD_DAY, 100);
        writing_begin(&writing, 1);
        watching_meter(&writing, "n", AGGREGATION_LATEST);
        (void)watching_threshold(&writing, &top);
        writing_open(&writing, NULL);
        event_make(&event, "a", "a1", 10);
        event.event.time_ns = writing_now_ns + 20 * SECOND_NS;
        cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
        event_make(&event, "a", "a2", 150);
        event.event.time_ns = writing_now_ns + 10 * SECOND_NS;
        cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
        cr_assert_eq(writing_metric(&writing, "tally_thresholds_fired_total"), 0);
        watching_correct(&writing, "a", "a1", -1);
        if (!stops)
            watching_wait(&writing, 1);
        writing_close(&writing);
        writing_open(&writing, NULL);
        struct watching_list list = watching_fired(&writing, 0);
        cr_assert_eq(list.count, 1);
        cr_assert_eq(watching_whole(&list.items[0].value), 150);
        arena_done(&list.arena);
        writing_close(&writing);
        writing_end(&writing);
    }
}

// What an amend takes out and brings is one change: no moment lies between the two.
Test(watch_crash, an_amend_has_no_middle, .timeout = 60)
{
    struct writing writing;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &watching_hundred);
    writing_open(&writing, NULL);
    watching_put_named(&writing, "a", "a1", -50);
    watching_put_named(&writing, "a", "a2", 120);
    struct quota quota = watching_quota(&writing, 2, "a");
    watching_amend(&writing, "a", "a1", -40);
    quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 80);
    cr_assert(!quota.has_fired);
    // What only takes out may fire, too.
    watching_correct(&writing, "a", "a1", -1);
    watching_wait(&writing, 1);
    writing_close(&writing);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.count, 1);
    cr_assert_eq(watching_whole(&list.items[0].value), 120);
    arena_done(&list.arena);
    writing_end(&writing);
}

static void
wait_flushed(struct writing *writing, int64_t count)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (writing_metric(writing, "tally_ledger_flushes_total") < count) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "nothing was flushed");
        sched_yield();
    }
}

// Each group is flushed at once. Whenever the process dies after a flush, what fired with an event
// that is not folded again has its mark.
Test(watch_crash, marks_are_on_disk_before_the_cells, .timeout = 60)
{
    const struct ledger_options options = {.tail_max_bytes = 1, .idle_flush_ns = INT64_MAX / 4};
    struct writing writing;
    char subject[16];
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &watching_hundred);
    writing_open(&writing, &options);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(subject, sizeof subject, "s%d", i);
        watching_put(&writing, subject, 100, writing_now_ns);
        wait_flushed(&writing, i + 1);
        struct watching_list list = watching_fired(&writing, 0);
        cr_assert_eq(list.count, (uint32_t)i + 1, "%u after %d flushes", list.count, i + 1);
        arena_done(&list.arena);
    }
    writing_close(&writing);
    writing_end(&writing);
}

Test(watch_crash, no_question_is_too_far_away, .timeout = 60)
{
    static const int64_t times_s[] = {
        INT64_MAX, INT64_MAX - 1, INT64_MAX / SECOND_NS, (int64_t)UINT32_MAX * 86400};
    const struct threshold monthly = threshold_of("monthly", "n", THRESHOLD_MONTH, 1);
    struct writing writing;
    struct memory_client *client;
    struct quota quota;
    struct error error = {0};
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &monthly);
    writing_open(&writing, NULL);
    succeed(memory_client_open(writing.dir, &client, &error), &error);
    for (size_t i = 0; i < sizeof times_s / sizeof times_s[0]; i++) {
        enum status status =
            memory_ask_quota(client, 0, 2, bytes_text("a"), times_s[i], &quota, &error);
        cr_assert_eq(status, STATUS_NOT_FOUND, "%zu: %d", i, (int)status);
    }
    succeed(
        memory_ask_quota(client, 0, 2, bytes_text("a"), INT64_MAX / SECOND_NS - 1, &quota, &error),
        &error);
    cr_assert(wide_is_zero(&quota.used));
    memory_client_close(client);
    writing_close(&writing);
    writing_end(&writing);
}

static void
count_finding(void *context, const struct verify_finding *finding)
{
    uint32_t *count = context;
    cr_assert_str_eq(finding->key, "fired");
    ++*count;
}

// Whom a mark is for is told by a damaged one no more: then somebody is told twice, and nobody
// never. verify sees the two.
Test(watch_crash, a_damaged_mark_is_none, .timeout = 60)
{
    struct writing writing;
    struct error error = {0};
    struct env *env;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &watching_hundred);
    writing_open(&writing, NULL);
    watching_put(&writing, "a", 100, writing_now_ns);
    watching_wait(&writing, 1);
    writing_close(&writing);
    succeed(fired_open(writing.dir, 0, 64 << 20, &env, &error), &error);
    struct tx tx = tx_write(env);
    struct walk walk = walk_open(&tx, FIRED_DB);
    uint8_t value[64];
    cr_assert(walk_first(&walk) && walk.key.data[0] == 'M' && walk.value.size <= sizeof value);
    memcpy(value, walk.value.data, walk.value.size);
    value[0] ^= 1;
    walk_put(&walk, bytes_of(value, walk.value.size));
    walk_done(&walk);
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
    writing_open(&writing, NULL);
    struct quota quota = watching_quota(&writing, 2, "a");
    cr_assert_not(quota.has_fired);
    watching_put(&writing, "a", 1, writing_now_ns);
    watching_wait(&writing, 1);
    writing_close(&writing);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.count, 2);
    cr_assert(bytes_equal(list.items[0].subject, list.items[1].subject));
    arena_done(&list.arena);
    uint32_t findings = 0;
    struct verify_summary summary;
    const struct verify_options options = {.on_finding = count_finding, .context = &findings};
    succeed(verify_run(writing.dir, &options, &summary, &error), &error);
    cr_assert_eq(findings, 1);
    writing_end(&writing);
}
