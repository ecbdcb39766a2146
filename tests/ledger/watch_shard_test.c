#include "base/clock.h"
#include "ledger/answers.h"
#include "ledger/intake.h"
#include "ledger/ledger.h"
#include "ledger/memory_wire.h"
#include "ledger/shard.h"
#include "tests/ledger/watching.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

// Thresholds in one shard without threads: every step is made by hand, so that what lies between
// two of them can be looked at.

static const struct billing_zones no_zones = {0};

struct hand {
    struct writing writing;
    struct ledger_conf conf;
    struct shard *shard;
    struct meters meters[4];
    uint32_t generations;
    struct lane *lane;
    struct waker front, writer;
    uint32_t serial;
    struct memory_question
        *question;  // asked when the next block is committed, before it is folded
};

static void
hand_adopt(struct hand *hand)
{
    struct error error = {0};
    struct registry *registry;
    struct meter *list;
    struct threshold *thresholds;
    uint32_t count = 0;
    uint32_t thresholds_count = 0;
    struct meters *meters = &hand->meters[hand->generations++];
    cr_assert_leq(hand->generations, 4);
    succeed(registry_open(hand->writing.dir, &registry, &error), &error);
    meters->generation = hand->generations;
    succeed(registry_list(registry, &meters->arena, &list, &count, &error), &error);
    succeed(
        threshold_list(registry, &meters->arena, &thresholds, &thresholds_count, &error), &error);
    meters->set = meter_set_make(list, count, &meters->arena);
    meters->watched = watched_make(thresholds, thresholds_count, list, count, &meters->arena);
    registry_close(registry);
    shard_adopt(hand->shard, meters);
}

static void
hand_open(struct hand *hand, uint64_t tail_max_bytes)
{
    struct error error = {0};
    hand->shard = calloc(1, sizeof *hand->shard);
    cr_assert_not_null(hand->shard);
    succeed(ledger_conf_read(hand->writing.dir, &hand->conf, &error), &error);
    const struct shard_options options = {
        .dir = hand->writing.dir,
        .shards = 1,
        .map_size = hand->conf.map_size,
        .tail_max_bytes = tail_max_bytes,
        .secret = &hand->conf.secret,
        .zones = &no_zones,
    };
    succeed(shard_open(hand->shard, &options, &error), &error);
    hand_adopt(hand);
    succeed(shard_recover(hand->shard, &error), &error);
}

static void
hand_close(struct hand *hand)
{
    shard_close(hand->shard);
    for (uint32_t i = 0; i < hand->generations; i++)
        arena_done(&hand->meters[i].arena);
    memset(hand->meters, 0, sizeof hand->meters);
    hand->generations = 0;
    free(hand->shard);
}

static void
hand_begin(struct hand *hand)
{
    struct error error = {0};
    writing_begin(&hand->writing, 1);
    hand->lane = aligned_alloc(RING_CACHE_LINE, sizeof *hand->lane);
    cr_assert_not_null(hand->lane);
    memset(hand->lane, 0, sizeof *hand->lane);
    succeed(waker_init(&hand->front, &error), &error);
    succeed(waker_init(&hand->writer, &error), &error);
    succeed(lane_init(hand->lane, 1 << 20, 2000, &error), &error);
    hand->lane->front = &hand->front;
    hand->lane->writer = &hand->writer;
}

static void
hand_end(struct hand *hand)
{
    hand_close(hand);
    lane_done(hand->lane);
    free(hand->lane);
    waker_done(&hand->front);
    waker_done(&hand->writer);
    writing_end(&hand->writing);
}

// Events of as many subjects, one each, stored and folded as one block.
static void
hand_put(struct hand *hand, uint32_t subjects, int64_t n)
{
    static const struct clock_policy policy = {
        .past_max_ns = 35 * DAY_NS, .future_max_ns = 300 * SECOND_NS};
    struct error error = {0};
    struct survivors survivors;
    struct group *group = lane_group(hand->lane, 1);
    cr_assert_not_null(group);
    for (uint32_t i = 0; i < subjects; i++) {
        struct event_bytes event;
        char subject[16];
        char id[16];
        (void)snprintf(subject, sizeof subject, "s%u", i);
        (void)snprintf(id, sizeof id, "%u", hand->serial++);
        event_make(&event, subject, id, n);
        event.event.time_ns = writing_now_ns;
        uint64_t hash = hash64(event.event.subject, 0);
        cr_assert(group_put(
            group, &event.event, hash, writing_now_ns, (struct receipt){0}, &hand->conf.secret));
    }
    lane_offer(hand->lane);
    group = lane_take(hand->lane);
    cr_assert_not_null(group);
    succeed(shard_judge(hand->shard, group, &policy, writing_now_ns, &survivors, &error), &error);
    succeed(shard_store(hand->shard, group, &survivors, writing_now_ns, &error), &error);
    if (hand->question != NULL)
        slot_offer(&hand->shard->answers->questions, hand->question);
    hand->question = NULL;
    shard_fold(hand->shard, group, writing_now_ns);
    lane_answer(hand->lane, group);
    cr_assert_eq(lane_collect(hand->lane), group);
    lane_give_back(group);
    group_release(group);
}

static void
hand_settle(struct hand *hand)
{
    struct error error = {0};
    succeed(shard_watch_settle(hand->shard, &error), &error);
}

// Totals of what waits, without marks of what fires.
static void
hand_base(struct hand *hand)
{
    struct error error = {0};
    const struct watch_source source = shard_watch_source(hand->shard);
    while (watch_has_unbased(&hand->shard->watch))
        succeed(watch_base(&hand->shard->watch, &source, SECOND_NS, &error), &error);
}

static uint32_t
marks(const struct hand *hand)
{
    struct error error = {0};
    struct watching_list list = {0};
    struct tx tx = tx_read(hand->shard->fired);
    succeed(fired_list(&tx, 0, 10000, &list.arena, &list.items, &list.count, &error), &error);
    for (uint32_t i = 0; i < list.count; i++)
        cr_assert_eq(list.items[i].sequence, i + 1);
    tx_done(&tx);
    arena_done(&list.arena);
    return list.count;
}

static void
define(struct hand *hand, enum aggregation aggregation)
{
    watching_meter(&hand->writing, "n", aggregation);
    (void)watching_threshold(&hand->writing, &watching_hundred);
}

// However little time there is: with each turn at least one total is known, in the order in which
// their events came. So a crossing waits for those before it and for nothing else.
Test(watch_shard, a_turn_is_at_least_one_total)
{
    enum { SUBJECTS = 500 };
    struct hand hand = {0};
    struct error error = {0};
    hand_begin(&hand);
    define(&hand, AGGREGATION_SUM);
    hand_open(&hand, 0);
    hand_put(&hand, SUBJECTS, 100);
    struct watch *watch = &hand.shard->watch;
    const struct watch_source source = shard_watch_source(hand.shard);
    for (uint32_t i = 0; i < SUBJECTS; i++) {
        cr_assert(watch_has_unbased(watch), "%u", i);
        succeed(watch_base(watch, &source, 0, &error), &error);
    }
    cr_assert_not(watch_has_unbased(watch));
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), SUBJECTS);
    // Based, an event tells at once: no turn is needed.
    writing_now_ns += DAY_NS;
    hand_put(&hand, 1, 60);
    hand_settle(&hand);
    hand_put(&hand, 1, 40);
    cr_assert(watch_has_pending(watch) && !watch_has_unbased(watch));
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), SUBJECTS + 1);
    hand_end(&hand);
}

static struct memory_question
quota_question(const char *subject)
{
    enum { HUNDRED_ID = 2 };
    return (struct memory_question){
        .request =
            {
                      .kind = MEMORY_QUOTA,
                      .meter_id = HUNDRED_ID,
                      .subject = bytes_text(subject),
                      .from_s = writing_now_ns / SECOND_NS,
                      .to_s = writing_now_ns / SECOND_NS,
                      },
        .reply = {.limit = MEMORY_REPLY_MAX},
    };
}

static int64_t
used_of(struct memory_question *question)
{
    struct memory_reply reply;
    struct quota quota;
    enum memory_result result = MEMORY_RESULT_CELLS;
    struct bytes frame = buffer_view(&question->reply);
    struct bytes body = bytes_of(frame.data + MEMORY_FRAME_HEAD, frame.size - MEMORY_FRAME_HEAD);
    cr_assert(flag_get(&question->is_answered));
    cr_assert(memory_reply_read(body, &reply, &result));
    cr_assert_eq(result, MEMORY_RESULT_QUOTA);
    cr_assert(memory_quota_read(reply.cells, &quota));
    buffer_done(&question->reply);
    return watching_whole(&quota.used);
}

// A question does not wait for the fold of a block, but for what it has of its subject.
Test(watch_shard, answers_come_amid_a_fold)
{
    enum { SUBJECTS = 1000 };
    struct hand hand = {0};
    struct error error = {0};
    struct answers answers = {0};
    hand_begin(&hand);
    define(&hand, AGGREGATION_SUM);
    hand_open(&hand, 0);
    succeed(answers_init(&answers, hand.shard, &hand.writer, &error), &error);
    hand.shard->answers = &answers;
    // Of nobody in the block: at once.
    struct memory_question question = quota_question("nobody");
    hand.question = &question;
    hand_put(&hand, SUBJECTS, 1);
    cr_assert_eq(used_of(&question), 0);
    // Of its last subject: that one comes first.
    question = quota_question("s999");
    hand.question = &question;
    hand_put(&hand, SUBJECTS, 1);
    cr_assert_eq(used_of(&question), 2);
    // Of all subjects: behind it.
    question = quota_question("");
    question.request.kind = MEMORY_CELLS;
    hand.question = &question;
    hand_put(&hand, SUBJECTS, 1);
    cr_assert_not(flag_get(&question.is_answered));
    cr_assert(answers_give(&answers));
    cr_assert(flag_get(&question.is_answered));
    buffer_done(&question.reply);
    // What was folded first is not folded again.
    question = quota_question("s999");
    slot_offer(&answers.questions, &question);
    cr_assert(answers_give(&answers));
    cr_assert_eq(used_of(&question), 3);
    cr_assert_not(answers_give(&answers));
    // Nor is what was first in a block before passed over in this one, whose first is another.
    question = quota_question("s998");
    hand.question = &question;
    hand_put(&hand, SUBJECTS, 1);
    cr_assert_eq(used_of(&question), 4);
    question = quota_question("s999");
    slot_offer(&answers.questions, &question);
    cr_assert(answers_give(&answers));
    cr_assert_eq(used_of(&question), 4);
    answers_done(&answers);
    hand_end(&hand);
}

Test(watch_shard, a_change_of_definitions_loses_nothing)
{
    struct hand hand = {0};
    struct threshold other = watching_hundred;
    hand_begin(&hand);
    define(&hand, AGGREGATION_SUM);
    hand_open(&hand, 0);
    // In the queue.
    hand_put(&hand, 1, 100);
    other.key = "other";
    other.subject = "nobody";
    (void)watching_threshold(&hand.writing, &other);
    hand_adopt(&hand);
    cr_assert(watch_has_unbased(&hand.shard->watch));
    hand_base(&hand);
    // Fired, not marked yet.
    cr_assert(watch_has_pending(&hand.shard->watch));
    other.limit = decimal_from_int(7);
    (void)watching_threshold(&hand.writing, &other);
    hand_adopt(&hand);
    hand_put(&hand, 1, 100);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 1);
    // Another definition has its own total and its own mark.
    other = watching_hundred;
    other.limit = decimal_from_int(150);
    (void)watching_threshold(&hand.writing, &other);
    hand_adopt(&hand);
    hand_put(&hand, 1, 1);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 2);
    hand_end(&hand);
}

// The meter goes and comes back while the mark is on its way: what it counts since then is not told
// again.
Test(watch_shard, a_meter_made_anew_fires_nothing_again)
{
    struct hand hand = {0};
    struct error error = {0};
    struct registry *registry;
    hand_begin(&hand);
    define(&hand, AGGREGATION_SUM);
    hand_open(&hand, 0);
    hand_put(&hand, 2, 100);
    hand_base(&hand);
    cr_assert(watch_has_pending(&hand.shard->watch));
    succeed(registry_open(hand.writing.dir, &registry, &error), &error);
    succeed(registry_remove(registry, "n", &error), &error);
    registry_close(registry);
    hand_adopt(&hand);
    watching_meter(&hand.writing, "n", AGGREGATION_MAX);
    hand_adopt(&hand);
    hand_put(&hand, 3, 100);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 3);
    cr_assert_eq(metric_get(&hand.shard->metrics[SHARD_FIRED]), 3);
    hand_end(&hand);
}

// A start that flushes while it folds marks what fired before it.
Test(watch_shard, a_start_marks_before_it_flushes)
{
    struct hand hand = {0};
    hand_begin(&hand);
    define(&hand, AGGREGATION_SUM);
    hand_open(&hand, 0);
    hand_put(&hand, 3, 100);
    hand_put(&hand, 1, 1);
    hand_close(&hand);
    hand_open(&hand, 1);
    cr_assert_eq(hand.shard->flushed, 1);
    cr_assert_eq(marks(&hand), 3);
    hand_end(&hand);
}

// Older events may lower a sum: until the meter has counted them, it is not known.
Test(watch_shard, a_sum_of_some_blocks_fires_nothing)
{
    struct hand hand = {0};
    struct error error = {0};
    hand_begin(&hand);
    hand_open(&hand, 0);
    hand_put(&hand, 1, -50);
    define(&hand, AGGREGATION_SUM);
    hand_adopt(&hand);
    hand_put(&hand, 1, 120);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 0);
    succeed(meter_rebuild_slice(hand.shard, SECOND_NS, &error), &error);
    watch_renew(&hand.shard->watch);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 0);
    hand_put(&hand, 1, 30);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 1);
    hand_end(&hand);
}

// What older events bring fires without another event, also behind a change of definitions.
Test(watch_shard, a_total_of_some_blocks_comes_again)
{
    struct hand hand = {0};
    struct error error = {0};
    struct threshold other = watching_hundred;
    hand_begin(&hand);
    hand_open(&hand, 0);
    hand_put(&hand, 1, 10);
    define(&hand, AGGREGATION_SUM);
    hand_adopt(&hand);
    hand_put(&hand, 1, 95);
    hand_settle(&hand);
    other.key = "other";
    other.subject = "nobody";
    (void)watching_threshold(&hand.writing, &other);
    hand_adopt(&hand);
    succeed(meter_rebuild_slice(hand.shard, SECOND_NS, &error), &error);
    cr_assert_not(watch_has_unbased(&hand.shard->watch));
    watch_renew(&hand.shard->watch);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 1);
    // It is known for good now.
    watch_renew(&hand.shard->watch);
    cr_assert_not(watch_has_unbased(&hand.shard->watch));
    hand_end(&hand);
}

// Much memory: what the cells know as well is dropped, what only the entries know is not.
Test(watch_shard, what_is_dropped_comes_again)
{
    enum { SUBJECTS = 1000 };
    struct hand hand = {0};
    hand_begin(&hand);
    define(&hand, AGGREGATION_SUM);
    hand_open(&hand, 0);
    struct watch *watch = &hand.shard->watch;
    hand_put(&hand, SUBJECTS, 60);
    hand_settle(&hand);
    hand_put(&hand, 10, 40);
    cr_assert(watch_has_pending(watch));
    watch->arena_max = 1;
    watch_trim(watch);
    cr_assert_eq(watch->count, 10, "those that fired and have no mark");
    hand_put(&hand, 20, 40);
    watch->arena_max = 1;
    watch_trim(watch);
    cr_assert_eq(watch->count, 20, "and those in the queue");
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), 20);
    hand_put(&hand, SUBJECTS, 40);
    hand_settle(&hand);
    cr_assert_eq(marks(&hand), SUBJECTS);
    hand_end(&hand);
}

// A cell on disk waits to be made anew, and the process dies: whoever waited for it waits again.
Test(watch_shard, a_start_knows_who_waits_for_cells)
{
    struct hand hand = {0};
    struct error error = {0};
    struct cell_input cancel = {.is_cancel = true, .block = 2, .time_ns = writing_now_ns};
    hand_begin(&hand);
    define(&hand, AGGREGATION_LATEST);
    hand_open(&hand, 0);
    hand_put(&hand, 2, 10);
    struct cells_subject *subject =
        cells_subject(hand.shard->cells, bytes_text("s1"), cells_hash(bytes_text("s1")));
    const struct cell_group group = {.count = 1, .values = {bytes_text("eu")}};
    const struct fold_step step = {
        .meter = meter_set_at(hand.meters[0].set, 0),
        .start_s = writing_now_ns / SECOND_NS,
        .group_hash = cell_group_hash(&group),
        .group = group,
        .input = cancel,
    };
    cells_add(hand.shard->cells, subject, &step);
    succeed(shard_flush(hand.shard, &error), &error);
    hand_close(&hand);
    hand_open(&hand, 0);
    cr_assert_eq(hand.shard->watch.count, 1);
    hand_base(&hand);
    cr_assert_not(watch_has_unbased(&hand.shard->watch));
    watch_renew(&hand.shard->watch);
    cr_assert(watch_has_unbased(&hand.shard->watch), "it is not known yet");
    hand_end(&hand);
}

// However many thresholds there are, an event finds those that it is for.
Test(watch_shard, finds_what_is_for_a_subject)
{
    enum { MANY = 3000 };
    scoped(arena_done) struct arena arena = {0};
    struct threshold *thresholds = arena_array(&arena, MANY, struct threshold);
    const struct meter meters[] = {
        {.key = "m0", .id = 7},
        {.key = "m1", .id = 9}
    };
    for (uint32_t i = 0; i < MANY; i++) {
        thresholds[i] = (struct threshold){
            .key = arena_format(&arena, "k%u", i),
            .meter = i % 3 == 2 ? "gone" : meters[i % 3].key,
            .subject = i % 5 == 0 ? NULL : arena_format(&arena, "s%u", i % 100),
            .limit = decimal_from_int(1),
            .id = i + 1,
        };
    }
    const struct watched_set *set = watched_make(thresholds, MANY, meters, 2, &arena);
    cr_assert_eq(set->count, MANY / 3 * 2);
    for (uint32_t meter = 0; meter < 2; meter++) {
        for (uint32_t s = 0; s <= 100; s++) {
            struct bytes subject = bytes_text(s == 100 ? "" : arena_format(&arena, "s%u", s));
            struct watched_run run = watched_of(set, meters[meter].id, subject);
            uint32_t expected = 0;
            for (uint32_t i = meter; i < MANY; i += 3)
                expected += s == 100 ? i % 5 == 0 : i % 100 == s && i % 5 != 0;
            cr_assert_eq(run.count, expected, "subject %u", s);
            for (uint32_t k = 0; k < run.count; k++) {
                cr_assert_eq(run.first[k].meter, &meters[meter]);
                cr_assert(bytes_equal(run.first[k].subject, subject));
                cr_assert_eq(watched_by_id(set, run.first[k].threshold->id), &run.first[k]);
            }
        }
    }
    cr_assert_null(watched_by_id(set, 3));
    cr_assert_null(watched_by_id(set, MANY + 1));
    cr_assert_null(watched_by_id(NULL, 1));
    cr_assert_eq(watched_of(set, 8, bytes_text("")).count, 0);
}
