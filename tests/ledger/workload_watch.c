#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ledger/fired.h"
#include "ledger/memory.h"
#include "tests/ledger/workload.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

// Thresholds beside everything else. Of every mark: its number follows the one before, there is no
// other of its threshold, subject and period, and usage was at the limit after some event. Of every
// total that is at its limit, and that an event came to since the threshold is known: there is a
// mark, sooner or later. Of every quota that says that it is complete: it is the model's.
//
// Draws from a stream of its own, so that the rest of a life is what it would be without it.

enum { FIRED_MAX = 100000 };

static const int64_t WATCH_WAIT_NS = 60 * 1000000000LL;

struct marks {
    struct arena arena;
    struct fired *list;
    uint32_t count;
};

static uint64_t
watch_draw(struct workload *workload, uint64_t below)
{
    return draw_apart(workload, &workload->watch_random, below);
}

// --- what is asked

struct asked {
    const struct workload_threshold *threshold;
    const struct meter *meter;
    uint32_t id;
    const char *subject;
    int64_t from_s, to_s;
};

// Usage as of a place, of the events after another one. False: there is none, or it is beyond what
// can be said.
static bool
usage_at(
    struct workload *workload,
    const struct asked *asked,
    uint64_t after,
    uint64_t place,
    int128 *out_units)
{
    scoped(arena_done) struct arena arena = {0};
    char text[WIDE_TEXT_MAX];
    const struct usage_query query = {
        .meter = asked->meter->key,
        .subject = bytes_text(asked->subject),
        .from_ns = asked->from_s * SECOND_NS,
        .to_ns = asked->to_s * SECOND_NS,
    };
    struct model_row *rows;
    size_t count = 0;
    struct model seen = workload->model;
    seen.seen_after = after;
    seen.seen_to = place;
    if (model_answer(&seen, asked->meter, &query, &arena, &rows, &count) || count == 0)
        return false;
    must(count == 1);
    model_number_print(&rows[0].numerator, text);
    *out_units = model_units(text);
    return true;
}

static bool
is_over(struct workload *workload, const struct asked *asked, uint64_t place)
{
    int128 units = 0;
    return usage_at(workload, asked, 0, place, &units) && units >= asked->threshold->limit.units;
}

// Whether it was at the limit after some event.
static bool
was_over(struct workload *workload, const struct asked *asked)
{
    const struct model *model = &workload->model;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_event *event = &model->events[i];
        if (strcmp(event->subject, asked->subject) == 0 &&
            (is_over(workload, asked, event->from) ||
             (event->until > 0 && is_over(workload, asked, event->until))))
            return true;
    }
    return is_over(workload, asked, model->place);
}

static uint32_t
shard_of(const struct workload *workload, const char *subject)
{
    return (uint32_t)(hash64(bytes_text(subject), 0) % workload->shards);
}

static enum status
ask_quota(
    const struct workload *workload,
    uint32_t shard,
    uint32_t id,
    const char *subject,
    int64_t time_s,
    struct quota *out)
{
    struct memory_client *client = NULL;
    struct error error = {0};
    succeed(workload, memory_client_open(workload->dir, &client, &error), &error);
    enum status status =
        memory_ask_quota(client, shard, id, bytes_text(subject), time_s, out, &error);
    memory_client_close(client);
    if (status && status != STATUS_NOT_FOUND)
        fail(workload, "quota of subject %s: %s", subject, error.text);
    return status;
}

// --- marks

static void
marks_read(const struct workload *workload, uint32_t shard, struct marks *out)
{
    struct error error = {0};
    struct env *env = NULL;
    *out = (struct marks){0};
    succeed(workload, fired_open_view(workload->dir, shard, &env, &error), &error);
    if (env == NULL)
        return;
    struct tx tx = tx_read(env);
    enum status status =
        fired_list(&tx, 0, FIRED_MAX, &out->arena, &out->list, &out->count, &error);
    succeed(workload, status, &error);
    tx_done(&tx);
    env_close(env);
}

static bool
mark_is_of(const struct fired *mark, uint32_t id, int64_t from_s, struct bytes subject)
{
    return mark->threshold_id == id && mark->from_s == from_s &&
           bytes_equal(mark->subject, subject);
}

static void
marks_check_list(const struct workload *workload, const struct marks *marks)
{
    for (uint32_t i = 0; i < marks->count; i++) {
        const struct fired *mark = &marks->list[i];
        if (mark->sequence != i + 1)
            fail(workload, "mark %u has number %" PRIu64, i + 1, mark->sequence);
        for (uint32_t k = 0; k < i; k++) {
            const struct fired *other = &marks->list[k];
            if (mark_is_of(mark, other->threshold_id, other->from_s, other->subject))
                fail(
                    workload,
                    "threshold %u fired twice for subject %.*s and the period from %" PRId64,
                    mark->threshold_id,
                    (int)mark->subject.size,
                    (const char *)mark->subject.data,
                    mark->from_s);
        }
    }
}

static bool
marks_have(const struct workload *workload, const struct asked *asked)
{
    struct marks marks;
    bool has = false;
    marks_read(workload, shard_of(workload, asked->subject), &marks);
    for (uint32_t i = 0; i < marks.count; i++)
        has =
            has || mark_is_of(&marks.list[i], asked->id, asked->from_s, bytes_text(asked->subject));
    arena_done(&marks.arena);
    return has;
}

static void
asked_fail(const struct workload *workload, const struct asked *asked, const char *what)
{
    char limit[DECIMAL_TEXT_MAX];
    (void)decimal_print(asked->threshold->limit, limit);
    fail(
        workload,
        "threshold %s (%u) at %s of meter %s (%s), subject %s, from %" PRId64 ": %s",
        asked->threshold->key,
        asked->id,
        limit,
        asked->meter->key,
        aggregation_name(asked->meter->aggregation),
        asked->subject,
        asked->from_s,
        what);
}

// --- one threshold

// An older event may still lower it: what a death interrupts is known with the next event.
static bool
can_fall(const struct meter *meter)
{
    return meter->aggregation == AGGREGATION_SUM || meter->aggregation == AGGREGATION_LATEST;
}

static bool
must_fire(struct workload *workload, const struct asked *asked)
{
    int128 units;
    uint64_t since = asked->threshold->known_from;
    if (can_fall(asked->meter) && workload->session_from > since)
        since = workload->session_from;
    if (since == UINT64_MAX || !is_over(workload, asked, workload->model.place))
        return false;
    return usage_at(workload, asked, since, workload->model.place, &units);
}

static void
wait_mark(const struct workload *workload, const struct asked *asked)
{
    int64_t deadline_ns = clock_monotonic_ns() + WATCH_WAIT_NS;
    while (!marks_have(workload, asked)) {
        if (clock_monotonic_ns() > deadline_ns)
            asked_fail(workload, asked, "it did not fire");
        (void)sched_yield();
    }
}

static void
check_quota(struct workload *workload, const struct asked *asked)
{
    struct quota quota;
    int128 units = 0;
    int128 used = 0;
    uint32_t shard = shard_of(workload, asked->subject);
    if (asked->threshold->known_from == UINT64_MAX)
        return;
    if (ask_quota(workload, shard, asked->id, asked->subject, asked->from_s, &quota))
        asked_fail(workload, asked, "tallyd does not know it");
    if (quota.from_s != asked->from_s || quota.to_s != asked->to_s)
        asked_fail(workload, asked, "the quota is of another period");
    bool is_there = usage_at(workload, asked, 0, workload->model.place, &units);
    // A sum beyond an int128 has no value in the model.
    if (!quota.is_complete || !wide_to_int128(&quota.used, &used) ||
        (!is_there && used != 0 && asked->meter->aggregation == AGGREGATION_SUM))
        return;
    if (used != units)
        asked_fail(workload, asked, "the quota is not what was used");
    if (!quota.has_fired && marks_have(workload, asked))
        asked_fail(workload, asked, "it fired, and the quota does not say so");
}

static void
check_one(struct workload *workload, const struct asked *asked)
{
    const struct workload_threshold *threshold = asked->threshold;
    if (must_fire(workload, asked))
        wait_mark(workload, asked);
    // Reverts take some events out after others, and a threshold may have had another meter.
    bool is_plain = !threshold->is_mixed && workload->reverted == threshold->reverted;
    if (is_plain && marks_have(workload, asked) && !was_over(workload, asked))
        asked_fail(workload, asked, "it fired, and usage never was at the limit");
    check_quota(workload, asked);
}

static const struct meter *
meter_of(const struct workload *workload, const char *key)
{
    for (uint32_t i = 0; i < WORKLOAD_METERS; i++) {
        const struct meter *meter = &workload->meters[i];
        if (meter->key != NULL && strcmp(meter->key, key) == 0)
            return threshold_allows(meter->aggregation) ? meter : NULL;
    }
    return NULL;
}

// All periods of all subjects that have events, each once.
static void
check_threshold(
    struct workload *workload,
    const struct workload_threshold *threshold,
    const struct threshold *defined)
{
    const struct model *model = &workload->model;
    struct asked asked = {
        .threshold = threshold, .meter = meter_of(workload, threshold->meter), .id = defined->id};
    struct asked seen[64];
    uint32_t seen_count = 0;
    for (uint32_t i = 0; asked.meter != NULL && i < model->count; i++) {
        const struct model_event *event = &model->events[i];
        bool is_known =
            threshold->subject != NULL && strcmp(threshold->subject, event->subject) != 0;
        asked.subject = event->subject;
        threshold_period_of(
            threshold->period, event->time_ns / SECOND_NS, &asked.from_s, &asked.to_s);
        for (uint32_t k = 0; k < seen_count && !is_known; k++)
            is_known =
                seen[k].from_s == asked.from_s && strcmp(seen[k].subject, asked.subject) == 0;
        if (is_known || asked.to_s <= defined->created_ns / SECOND_NS || seen_count == 64)
            continue;
        seen[seen_count++] = asked;
        check_one(workload, &asked);
    }
}

void
check_watch(struct workload *workload)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct threshold *list;
    uint32_t count = 0;
    if (!workload->is_real || workload->is_damaged)
        return;
    struct registry *registry = reader_registry(workload->reader);
    succeed(workload, threshold_list(registry, &arena, &list, &count, &error), &error);
    for (uint32_t i = 0; i < WORKLOAD_THRESHOLDS; i++) {
        const struct workload_threshold *one = &workload->thresholds[i];
        const struct threshold *defined =
            one->key != NULL ? threshold_find(list, count, one->key) : NULL;
        must((one->key != NULL) == (defined != NULL));
        if (defined != NULL)
            check_threshold(workload, one, defined);
    }
    for (uint32_t shard = 0; shard < workload->shards; shard++) {
        struct marks marks;
        marks_read(workload, shard, &marks);
        marks_check_list(workload, &marks);
        workload->shared->marks += marks.count;
        arena_done(&marks.arena);
    }
}

// --- definitions

static void
wait_known(const struct workload *workload, const struct workload_threshold *one)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct threshold *list;
    uint32_t count = 0;
    struct quota quota;
    int64_t deadline_ns = clock_monotonic_ns() + WATCH_WAIT_NS;
    struct registry *registry = reader_registry(workload->reader);
    succeed(workload, threshold_list(registry, &arena, &list, &count, &error), &error);
    const struct threshold *defined = threshold_find(list, count, one->key);
    const char *subject = one->subject != NULL ? one->subject : "a";
    must(defined != NULL);
    for (uint32_t shard = 0; shard < workload->shards;) {
        if (!ask_quota(
                workload, shard, defined->id, subject, defined->created_ns / SECOND_NS, &quota))
            shard++;
        else if (clock_monotonic_ns() > deadline_ns)
            fail(workload, "threshold %s is not adopted", one->key);
        else
            (void)sched_yield();
    }
}

static bool
is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void
define(struct workload *workload, struct workload_threshold *one, bool is_polled)
{
    struct error error = {0};
    enum meter_change change;
    if (!workload->is_real)
        return;
    const struct threshold threshold = {
        .key = one->key,
        .meter = one->meter,
        .subject = one->subject,
        .period = one->period,
        .limit = one->limit,
    };
    struct registry *registry = reader_registry(workload->reader);
    enum status status = threshold_put(registry, &threshold, workload_now_ns, &change, &error);
    succeed(workload, status, &error);
    if (!is_polled)
        return;
    succeed(workload, ledger_poll_meters(workload->ledger, &error), &error);
    wait_known(workload, one);
}

void
change_threshold(struct workload *workload)
{
    static const char *const keys[WORKLOAD_THRESHOLDS] = {"t0", "t1", "t2", "t3"};
    static const char *const subjects[] = {NULL, NULL, "a", "aa", "azure-conv"};
    static const char *const limits[] = {"1", "2", "3", "7", "20", "0.1", "12345", "60"};
    uint32_t index = (uint32_t)watch_draw(workload, WORKLOAD_THRESHOLDS);
    struct workload_threshold *one = &workload->thresholds[index];
    const struct meter *meter = &workload->meters[watch_draw(workload, WORKLOAD_METERS)];
    struct workload_threshold next = {
        .key = keys[index],
        .meter = meter->key,
        .subject = subjects[watch_draw(workload, 5)],
        .period = (enum threshold_period)watch_draw(workload, 2),
        .limit = {model_units(limits[watch_draw(workload, 8)])},
        .reverted = workload->reverted,
    };
    bool is_polled = watch_draw(workload, 100) < 80;
    bool is_removed = watch_draw(workload, 100) < 15;
    struct error error = {0};
    if (is_removed && one->key != NULL) {
        if (workload->is_real)
            succeed(
                workload,
                threshold_remove(reader_registry(workload->reader), one->key, &error),
                &error);
        *one = (struct workload_threshold){0};
        return;
    }
    if (meter->key == NULL || !threshold_allows(meter->aggregation))
        return;
    bool is_same = one->key != NULL && is_same_text(one->meter, next.meter) &&
                   is_same_text(one->subject, next.subject) && one->period == next.period &&
                   one->limit.units == next.limit.units;
    if (is_same)
        return;
    *one = next;
    define(workload, one, is_polled);
    one->known_from = is_polled ? workload->model.place : UINT64_MAX;
}

void
watch_meter_changed(struct workload *workload, const char *key)
{
    for (uint32_t i = 0; i < WORKLOAD_THRESHOLDS; i++) {
        struct workload_threshold *one = &workload->thresholds[i];
        if (one->key == NULL || strcmp(one->meter, key) != 0)
            continue;
        one->is_mixed = true;
        one->known_from = UINT64_MAX;
    }
}

void
watch_opened(struct workload *workload)
{
    workload->session_from = workload->model.place;
    for (uint32_t i = 0; i < WORKLOAD_THRESHOLDS; i++) {
        if (workload->thresholds[i].known_from == UINT64_MAX)
            workload->thresholds[i].known_from = workload->model.place;
    }
}

void
watch_step(struct workload *workload)
{
    uint64_t kind = watch_draw(workload, 100);
    if (kind < 25)
        change_threshold(workload);
    else if (kind < 50)
        check_watch(workload);
}
