// Jobs of many threads at a time, against a libtally that the test plays: a job is answered only
// by a flush that began after all its events were sent, and nobody is forgotten.
#include "api/ingest.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { THREADS = 40, JOBS = 60, EVENTS_MAX = 5, REFUSED_EVERY = 7 };

// ---- libtally

struct tally {
    tally_refusal_fn on_refusal;
    void *context;
};

static struct tally played;
static atomic_uint_fast64_t sent, flushed, flushes, failures_left, at_a_time, at_most;
static atomic_uint_fast64_t refused_tags[THREADS * JOBS * EVENTS_MAX], refused_count, told_count;
static _Thread_local uint_fast64_t sent_last;      // by this thread: how many there were then
static atomic_int_fast64_t room_left = INT64_MAX;  // for events of those who do not wait
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

struct tally *
tally_open(const struct tally_options *options, char *error, size_t error_size)
{
    (void)error, (void)error_size;
    played = (struct tally){options->on_refusal, options->context};
    return &played;
}

enum tally_result
tally_close(struct tally *tally, uint32_t timeout_ms)
{
    (void)tally, (void)timeout_ms;
    return TALLY_OK;
}

void
tally_stats(struct tally *tally, struct tally_stats *out)
{
    (void)tally;
    *out = (struct tally_stats){.is_connected = true};
}

static enum tally_result
event_take(const struct tally_event *event)
{
    if (event->subject[0] == 'x')
        atomic_store(&refused_tags[atomic_fetch_add(&refused_count, 1)], event->tag + 1);
    sent_last = atomic_fetch_add(&sent, 1) + 1;
    return TALLY_OK;
}

enum tally_result
tally_send(struct tally *tally, const struct tally_event *event)
{
    (void)tally;
    return atomic_fetch_sub(&room_left, 1) > 0 ? event_take(event) : TALLY_FULL;
}

enum tally_result
tally_send_wait(struct tally *tally, const struct tally_event *event, uint32_t timeout_ms)
{
    (void)tally, (void)timeout_ms;
    return event_take(event);
}

static void
refusals_tell(struct tally *tally)
{
    pthread_mutex_lock(&telling);
    uint_fast64_t count = atomic_load(&refused_count);
    for (; atomic_load(&told_count) < count; atomic_fetch_add(&told_count, 1)) {
        uint_fast64_t tag;
        while ((tag = atomic_load(&refused_tags[atomic_load(&told_count)])) == 0)
            continue;
        const struct tally_refusal refusal = {.tag = tag - 1, .reason = "time too old"};
        tally->on_refusal(tally->context, &refusal);
    }
    pthread_mutex_unlock(&telling);
}

// Answers for what was sent before it began, a moment later.
enum tally_result
tally_flush(struct tally *tally, uint32_t timeout_ms)
{
    struct timespec moment = {.tv_nsec = 300000};
    uint_fast64_t upto = atomic_load(&sent), now = atomic_fetch_add(&at_a_time, 1) + 1;
    (void)timeout_ms;
    atomic_fetch_add(&flushes, 1);
    uint_fast64_t most = atomic_load(&at_most);
    while (now > most && !atomic_compare_exchange_weak(&at_most, &most, now))
        continue;
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    refusals_tell(tally);
    atomic_fetch_sub(&at_a_time, 1);
    uint_fast64_t left = atomic_load(&failures_left);
    while (left > 0 && !atomic_compare_exchange_weak(&failures_left, &left, left - 1))
        continue;
    if (left > 0)
        return TALLY_TIMEOUT;
    uint_fast64_t before = atomic_load(&flushed);
    while (before < upto && !atomic_compare_exchange_weak(&flushed, &before, upto))
        continue;
    return TALLY_OK;
}

// ---- jobs

struct crew {
    struct ingest *ingest;
    uint32_t number;
    uint32_t failed;
};

static void *
crew_run(void *argument)
{
    struct crew *crew = argument;
    for (uint32_t turn = 0; turn < JOBS; turn++) {
        scoped(arena_done) struct arena arena = {0};
        struct tally_event events[EVENTS_MAX] = {0};
        struct ingest_job job = {.events = events, .arena = &arena};
        struct error error;
        uint32_t refused = 0;
        job.count = 1 + (crew->number + turn) % EVENTS_MAX;
        for (uint32_t i = 0; i < job.count; i++) {
            bool is_refused = (turn + i) % REFUSED_EVERY == 0;
            events[i].subject = is_refused ? "x" : "good";
            refused += is_refused;
        }
        enum status status = ingest_send(crew->ingest, &job, &error);
        crew->failed += status == STATUS_TIMEOUT;
        if (status == STATUS_TIMEOUT)
            continue;
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        cr_assert_geq(atomic_load(&flushed), sent_last);
        cr_assert_eq(job.refusals_count, refused);
        for (uint32_t i = 0; i < refused; i++)
            cr_assert_eq((turn + job.refusals[i].index) % REFUSED_EVERY, 0);
    }
    return NULL;
}

static uint32_t
crews_run(void)
{
    struct crew crews[THREADS];
    pthread_t threads[THREADS];
    struct ingest *ingest = NULL;
    struct error error;
    uint32_t failed = 0;
    cr_assert_eq(ingest_open("/nowhere", NULL, &ingest, &error), STATUS_OK);
    for (uint32_t i = 0; i < THREADS; i++) {
        crews[i] = (struct crew){ingest, i, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, crew_run, &crews[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        failed += crews[i].failed;
    }
    ingest_close(ingest);
    return failed;
}

Test(ingest, gathers_the_jobs_of_many_threads, .timeout = 120)
{
    cr_assert_eq(crews_run(), 0);
    cr_assert_eq(atomic_load(&flushed), atomic_load(&sent));
    cr_assert_leq(atomic_load(&at_most), 2);
    // 40 threads wait at a time, so most flushes are for many of them.
    cr_assert_lt(atomic_load(&flushes), THREADS * JOBS / 2);
}

// A flush that fails is the failure of the first it was for; the others are answered by a later
// one.
Test(ingest, a_failed_flush_is_not_everybodys, .timeout = 120)
{
    atomic_store(&failures_left, 25);
    cr_assert_leq(crews_run(), 25);
    cr_assert_eq(atomic_load(&failures_left), 0);
}

// ---- without a thread that waits

struct later {
    struct ingest_job job;
    struct tally_event event;
    struct arena arena;
    atomic_int told;
};

static void
later_settled(struct ingest_job *job)
{
    struct later *later = job->context;
    struct error error;
    cr_assert_eq(ingest_outcome(job, &error), STATUS_OK, "%s", error.text);
    atomic_fetch_add(&later->told, 1);
}

enum { LATERS = 5000 };
static struct later laters[LATERS];

static void
laters_begin(struct ingest *ingest, size_t count)
{
    struct error error;
    for (size_t i = 0; i < count; i++) {
        struct later *later = &laters[i];
        later->event.subject = i % REFUSED_EVERY == 0 ? "x" : "good";
        later->job = (struct ingest_job){
            .events = &later->event,
            .count = 1,
            .arena = &later->arena,
            .settled = later_settled,
            .context = later,
        };
        cr_assert_eq(ingest_begin(ingest, &later->job, &error), STATUS_OK, "%s", error.text);
    }
}

// Ends when all are told.
static void
laters_end(struct ingest *ingest, size_t count)
{
    ingest_close(ingest);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(atomic_load(&laters[i].told), 1);
        cr_assert_eq(laters[i].job.refusals_count, i % REFUSED_EVERY == 0);
        arena_done(&laters[i].arena);
    }
    cr_assert_lt(atomic_load(&flushes), count / 2);
}

// More than a thread could bring one after the other while a flush lasts: few flushes for all.
Test(ingest, tells_each_job_once_when_nobody_waits, .timeout = 120)
{
    struct ingest *ingest = NULL;
    struct error error;
    cr_assert_eq(ingest_open("/nowhere", NULL, &ingest, &error), STATUS_OK);
    laters_begin(ingest, 1000);
    laters_end(ingest, 1000);
}

// No answer comes while they begin: all are under way at a time.
Test(ingest, has_a_place_for_each_connection, .timeout = 120)
{
    struct ingest *ingest = NULL;
    struct error error;
    cr_assert_eq(ingest_open("/nowhere", NULL, &ingest, &error), STATUS_OK);
    pthread_mutex_lock(&telling);
    laters_begin(ingest, LATERS);
    pthread_mutex_unlock(&telling);
    laters_end(ingest, LATERS);
}

// libtally has no room for a while: who must not wait leaves the rest to who flushes.
Test(ingest, sends_the_rest_of_a_job_when_there_is_room, .timeout = 120)
{
    struct tally_event events[EVENTS_MAX] = {0};
    struct later later = {
        .job = {.events = events, .count = EVENTS_MAX}
    };
    struct ingest *ingest = NULL;
    struct error error;
    for (size_t i = 0; i < EVENTS_MAX; i++)
        events[i].subject = "good";
    later.job.arena = &later.arena;
    later.job.settled = later_settled;
    later.job.context = &later;
    cr_assert_eq(ingest_open("/nowhere", NULL, &ingest, &error), STATUS_OK);
    atomic_store(&room_left, 2);
    cr_assert_eq(ingest_begin(ingest, &later.job, &error), STATUS_OK, "%s", error.text);
    ingest_close(ingest);
    cr_assert_eq(atomic_load(&later.told), 1);
    cr_assert_eq(atomic_load(&sent), EVENTS_MAX);
    cr_assert_eq(atomic_load(&flushed), EVENTS_MAX);
    arena_done(&later.arena);
}
