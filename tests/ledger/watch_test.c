#include "ledger/watch.h"

#include "base/clock.h"
#include "ledger/control.h"
#include "ledger/correct.h"
#include "ledger/memory.h"
#include "ledger/rebuild.h"
#include "tests/ledger/operating.h"
#include "tests/ledger/watching.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

// Thresholds in a running ledger of one shard: what fires, how often, and what is left.

Test(watch, fires_once_per_subject_and_period, .timeout = 60)
{
    struct writing writing;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    cr_assert_eq(watching_threshold(&writing, &watching_hundred), METER_CREATED);
    cr_assert_eq(watching_threshold(&writing, &watching_hundred), METER_UNCHANGED);
    writing_open(&writing, NULL);
    watching_put(&writing, "a", 60, writing_now_ns);
    watching_put(&writing, "b", 99, writing_now_ns);
    watching_put(&writing, "a", 39, writing_now_ns + SECOND_NS);
    struct quota quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 99);
    cr_assert(quota.is_complete && !quota.has_fired);
    watching_put(&writing, "a", 1, writing_now_ns + 2 * SECOND_NS);
    watching_wait(&writing, 1);
    watching_put(&writing, "a", 1000, writing_now_ns + 3 * SECOND_NS);
    watching_put(&writing, "b", 1, writing_now_ns);
    watching_wait(&writing, 2);
    // The day before ended before the threshold was made; the next is another period.
    watching_put(&writing, "a", 1000, writing_now_ns - SECOND_NS);
    writing_now_ns += DAY_NS;
    watching_put(&writing, "a", 100, writing_now_ns);
    watching_wait(&writing, 3);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.count, 3);
    cr_assert(bytes_equal(list.items[0].subject, bytes_text("a")));
    cr_assert_eq(list.items[0].sequence, 1);
    cr_assert_eq(watching_whole(&list.items[0].value), 100);
    cr_assert_eq(list.items[0].block, 4);
    cr_assert_eq(list.items[0].time_ns, writing_now_ns - DAY_NS + 2 * SECOND_NS);
    cr_assert(bytes_equal(list.items[1].subject, bytes_text("b")));
    cr_assert_eq(list.items[2].from_s, writing_now_ns / SECOND_NS);
    arena_done(&list.arena);
    list = watching_fired(&writing, 2);
    cr_assert_eq(list.count, 1);
    cr_assert_eq(list.items[0].sequence, 3);
    arena_done(&list.arena);
    quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 100);
    cr_assert(quota.has_fired);
    quota = watching_quota(&writing, 2, "nobody");
    cr_assert(wide_is_zero(&quota.used));
    writing_close(&writing);
    writing_end(&writing);
}

Test(watch, a_restart_goes_on_with_what_the_cells_hold, .timeout = 60)
{
    struct writing writing;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &watching_hundred);
    writing_open(&writing, NULL);
    watching_put(&writing, "a", 100, writing_now_ns);
    watching_put(&writing, "b", 60, writing_now_ns - SECOND_NS);
    watching_put(&writing, "b", 60, writing_now_ns);
    watching_wait(&writing, 1);
    writing_close(&writing);
    writing_open(&writing, NULL);
    watching_put(&writing, "a", 1, writing_now_ns);
    watching_put(&writing, "b", 39, writing_now_ns + HOUR_NS / 60);
    struct quota quota = watching_quota(&writing, 2, "b");
    cr_assert_eq(watching_whole(&quota.used), 99);
    watching_put(&writing, "b", 1, writing_now_ns);
    watching_wait(&writing, 1);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.count, 2);
    cr_assert(bytes_equal(list.items[1].subject, bytes_text("b")));
    arena_done(&list.arena);
    writing_close(&writing);
    writing_end(&writing);
}

// As if the process had died between the event's commit and the mark's.
static void
lose_marks(const struct writing *writing)
{
    struct env *env;
    struct error error = {0};
    succeed(fired_open(writing->dir, 0, 1 << 30, &env, &error), &error);
    struct tx tx = tx_write(env);
    tx_clear(&tx, FIRED_DB);
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
}

Test(watch, a_crash_fires_what_has_no_mark_and_nothing_else, .timeout = 60)
{
    for (int loses = 0; loses < 2; loses++) {
        struct writing writing;
        int code = -1;
        writing_begin(&writing, 1);
        watching_meter(&writing, "n", AGGREGATION_SUM);
        (void)watching_threshold(&writing, &watching_hundred);
        pid_t child = fork();
        if (child == 0) {
            writing_open(&writing, NULL);
            watching_put(&writing, "a", 100, writing_now_ns);
            watching_put(&writing, "b", 60, writing_now_ns);
            watching_wait(&writing, 1);
            _exit(0);  // nothing is flushed
        }
        cr_assert_eq(waitpid(child, &code, 0), child);
        cr_assert_eq(code, 0);
        if (loses)
            lose_marks(&writing);
        watching_serial = 10;
        writing_open(&writing, NULL);
        watching_wait(&writing, loses);
        watching_put(&writing, "a", 1, writing_now_ns);
        watching_put(&writing, "b", 40, writing_now_ns);
        watching_wait(&writing, loses + 1);
        struct watching_list list = watching_fired(&writing, 0);
        cr_assert_eq(list.count, 2);
        cr_assert(bytes_equal(list.items[0].subject, bytes_text("a")));
        cr_assert(bytes_equal(list.items[1].subject, bytes_text("b")));
        arena_done(&list.arena);
        writing_close(&writing);
        writing_end(&writing);
    }
}

Test(watch, watches_one_subject_a_count_and_a_maximum, .timeout = 60)
{
    struct writing writing;
    struct threshold one = watching_hundred;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_COUNT);
    watching_meter(&writing, "peak", AGGREGATION_MAX);
    one.subject = "a";
    one.limit = decimal_from_int(2);
    (void)watching_threshold(&writing, &one);  // 3
    one = watching_hundred;
    one.key = "top";
    one.meter = "peak";
    one.period = THRESHOLD_MONTH;
    (void)watching_threshold(&writing, &one);  // 4
    writing_open(&writing, NULL);
    watching_put(&writing, "b", 1, writing_now_ns);
    watching_put(&writing, "b", 99, writing_now_ns);
    watching_put(&writing, "a", 1, writing_now_ns);
    watching_put(&writing, "a", 1, writing_now_ns);
    watching_wait(&writing, 1);
    watching_put(&writing, "b", 101, writing_now_ns);
    watching_wait(&writing, 2);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.items[0].threshold_id, 3);
    cr_assert_eq(watching_whole(&list.items[0].value), 2);
    cr_assert_eq(list.items[1].threshold_id, 4);
    cr_assert_eq(watching_whole(&list.items[1].value), 101);
    arena_done(&list.arena);
    writing_close(&writing);
    writing_end(&writing);
}

Test(watch, one_that_is_made_late_fires_with_the_next_event, .timeout = 60)
{
    struct writing writing;
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    watching_put(&writing, "a", 70, writing_now_ns);
    watching_put(&writing, "a", 70, writing_now_ns);
    // The meter, too: its total comes from the blocks that are folded for it.
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &watching_hundred);
    watching_poll(&writing);
    watching_put_until_fired(&writing, "a", 1);
    // Defined anew, it is another one.
    struct threshold more = watching_hundred;
    more.limit = decimal_from_int(120);
    cr_assert_eq(watching_threshold(&writing, &more), METER_REDEFINED);
    watching_poll(&writing);
    watching_put_until_fired(&writing, "a", 2);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_neq(list.items[0].threshold_id, list.items[1].threshold_id);
    cr_assert_geq(watching_whole(&list.items[1].value), 120);
    arena_done(&list.arena);
    writing_close(&writing);
    writing_end(&writing);
}

Test(watch, what_is_taken_out_is_used_no_more, .timeout = 60)
{
    struct writing writing;
    struct error error = {0};
    uint32_t number = 0;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &watching_hundred);
    writing_open(&writing, NULL);
    watching_put_named(&writing, "a", "a1", 60);
    watching_put_named(&writing, "a", "a2", 39);
    watching_correct(&writing, "a", "a2", -1);
    watching_put_named(&writing, "a", "a3", 39);  // 99, and 138 with what was cancelled
    watching_correct(&writing, "a", "a1", 10);
    struct quota quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 49);
    cr_assert(quota.is_complete && !quota.has_fired);
    // What comes behind a cut is in an epoch of its own.
    succeed(ledger_cut(writing.ledger, writing_now_ns, &number, &error), &error);
    watching_put_named(&writing, "a", "a4", 50);
    quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 99);
    writing_close(&writing);
    writing_open(&writing, NULL);
    quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 99);
    cr_assert(!quota.has_fired);
    watching_correct(&writing, "a", "a1", 11);
    watching_wait(&writing, 1);
    // It has been told: the total falls, the mark stays, and nothing fires again.
    watching_correct(&writing, "a", "a4", -1);
    quota = watching_quota(&writing, 2, "a");
    cr_assert_eq(watching_whole(&quota.used), 50);
    cr_assert(quota.has_fired);
    watching_put_named(&writing, "a", "a5", 200);
    watching_put_named(&writing, "b", "b1", 200);
    watching_wait(&writing, 2);
    writing_close(&writing);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.count, 2);
    cr_assert_eq(watching_whole(&list.items[0].value), 100);
    arena_done(&list.arena);
    writing_end(&writing);
}

// A maximum cannot be lowered by what was taken out of it: the event that brings it to the limit
// fires, whatever was corrected before.
Test(watch, a_corrected_maximum_fires_with_the_event_that_reaches_it, .timeout = 60)
{
    struct writing writing;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_MAX);
    (void)watching_threshold(&writing, &watching_hundred);
    writing_open(&writing, NULL);
    watching_put_named(&writing, "a", "a1", 99);
    watching_correct(&writing, "a", "a1", -1);
    watching_put_named(&writing, "a", "a2", 98);
    struct quota quota = watching_quota(&writing, 2, "a");
    cr_assert(!quota.is_complete && !quota.has_fired, "the cell is to be made anew");
    watching_put_named(&writing, "a", "a3", 100);
    watching_wait(&writing, 1);
    writing_close(&writing);
    writing_end(&writing);
}

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

// state/ is made of the log again; what somebody was told is not.
Test(watch, a_rebuild_of_the_state_fires_nothing_again, .timeout = 60)
{
    struct writing writing;
    struct error error = {0};
    struct rebuild_summary summary;
    const struct rebuild_options options = {
        .shard = REBUILD_ALL_SHARDS, .ledger = {.now_ns = test_now_ns}};
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    (void)watching_threshold(&writing, &watching_hundred);
    writing_open(&writing, NULL);
    watching_put_named(&writing, "a", "a1", 100);
    watching_put_named(&writing, "b", "b1", 60);
    watching_wait(&writing, 1);
    writing_close(&writing);
    succeed(rebuild_run(writing.dir, &options, &summary, &error), &error);
    writing_open(&writing, NULL);
    watching_put_named(&writing, "a", "a2", 1);
    watching_put_named(&writing, "b", "b2", 39);
    struct quota quota = watching_quota(&writing, 2, "b");
    cr_assert_eq(watching_whole(&quota.used), 99);
    quota = watching_quota(&writing, 2, "a");
    cr_assert(quota.has_fired);
    watching_put_named(&writing, "b", "b3", 1);
    watching_wait(&writing, 1);
    writing_close(&writing);
    struct watching_list list = watching_fired(&writing, 0);
    cr_assert_eq(list.count, 2);
    cr_assert_eq(list.items[1].sequence, 2);
    arena_done(&list.arena);
    operating_verify(writing.dir);
    writing_end(&writing);
}

#define MORE_DISTINCT                                                                              \
    {                                                                                              \
        (int128)(THRESHOLD_DISTINCT_MAX + 1) * 1000000000000000000                                 \
    }

Test(watch, refuses_what_is_no_threshold)
{
    static const struct {
        struct threshold threshold;
        const char *fault;
    } rows[] = {
        {{.key = "Bad", .meter = "n", .limit = {1}},              "key"           },
        {{.key = "a", .meter = "n"},                              "above 0"       },
        {{.key = "a", .meter = "n", .limit = {-1}},               "above 0"       },
        {{.key = "a", .meter = "missing", .limit = {1}},          "missing"       },
        {{.key = "a", .meter = "v", .limit = {1}},                "is avg"        },
        {{.key = "a", .meter = "u", .limit = MORE_DISTINCT},      "at most"       },
        {{.key = "a", .meter = "n", .subject = "", .limit = {1}}, "1 to 255 bytes"},
    };
    struct writing writing;
    struct registry *registry;
    struct error error = {0};
    enum meter_change change;
    scoped(arena_done) struct arena arena = {0};
    struct threshold *list;
    uint32_t count = 9;
    writing_begin(&writing, 1);
    watching_meter(&writing, "n", AGGREGATION_SUM);
    watching_meter(&writing, "u", AGGREGATION_UNIQUE_COUNT);
    watching_meter(&writing, "v", AGGREGATION_AVG);
    succeed(registry_open(writing.dir, &registry, &error), &error);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_neq(threshold_put(registry, &rows[i].threshold, 1, &change, &error), STATUS_OK);
        cr_assert_not_null(strstr(error.text, rows[i].fault), "%zu: %s", i, error.text);
    }
    succeed(threshold_list(registry, &arena, &list, &count, &error), &error);
    cr_assert_eq(count, 0);
    uint64_t revision = registry_revision(registry);
    succeed(threshold_put(registry, &watching_hundred, 7, &change, &error), &error);
    cr_assert_gt(registry_revision(registry), revision, "a poller sees it");
    succeed(threshold_list(registry, &arena, &list, &count, &error), &error);
    cr_assert_eq(count, 1);
    cr_assert_str_eq(list[0].key, "hundred");
    cr_assert_str_eq(list[0].meter, "n");
    cr_assert_null(list[0].subject);
    cr_assert_eq(list[0].period, THRESHOLD_DAY);
    cr_assert_eq(decimal_compare(list[0].limit, watching_hundred.limit), 0);
    cr_assert_eq(list[0].created_ns, 7);
    cr_assert_eq(list[0].id, 4, "meters and thresholds have one counter");
    succeed(threshold_remove(registry, "hundred", &error), &error);
    cr_assert_eq(threshold_remove(registry, "hundred", &error), STATUS_NOT_FOUND);
    registry_close(registry);
    writing_end(&writing);
}
