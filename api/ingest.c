#include "api/ingest.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum {
    SERVER_MAX = 256,
    INDEX_BITS = 20,
    SLOT_BITS = 16,
    IN_FLIGHT = 64,
    RETRY_MAX_MS = 500,
    FLUSHES_MAX = 2,  // threads: one gathers while one is answered
    OPEN_WAIT_MS = 2000,
    CLOSE_WAIT_MS = 5000,
    LOOK_US = 1000,  // between two looks whether tallyd is there, which is a lock that all share
};

_Static_assert(INGEST_EVENTS_MAX == 1 << INDEX_BITS, "an index fits into a tag");
_Static_assert(INGEST_JOBS_MAX == 1 << SLOT_BITS, "a slot fits into a tag");

// Where a refusal finds its job: the tag is the slot's serial, the slot and the event's index. A
// job that gave up is found no more, for its slot's serial has risen.
struct job_slot {
    uint64_t serial;
    struct ingest_job *job;      // NULL: free
    struct job_slot *next_free;  // while it is, and was not so from the beginning
};

struct ingest {
    struct tally *tally;
    pthread_t threads[FLUSHES_MAX];
    uint32_t threads_count;
    _Atomic int64_t looked_ns;  // when it was last seen that tallyd is there
    pthread_mutex_t mutex;      // for what follows
    pthread_cond_t changed;
    struct job_slot slots[INGEST_JOBS_MAX];
    uint32_t slots_used;     // those behind have never been taken
    struct job_slot *freed;  // of those before, a stack
    // Jobs that nobody flushes for yet, in the order in which they came. All of them go with the
    // next flush: one batch, one answer.
    struct ingest_job *entered, **entered_end;
    bool is_stopping;
};

// On libtally's thread.
static void
on_refusal(void *context, const struct tally_refusal *refusal)
{
    struct ingest *ingest = context;
    uint32_t index = refusal->tag & (INGEST_EVENTS_MAX - 1);
    struct job_slot *slot = &ingest->slots[(refusal->tag >> INDEX_BITS) & (INGEST_JOBS_MAX - 1)];
    pthread_mutex_lock(&ingest->mutex);
    struct ingest_job *job = slot->job;
    bool is_ours = job != NULL && slot->serial == refusal->tag >> (INDEX_BITS + SLOT_BITS) &&
                   index < job->count && job->refusals_count < job->count;
    if (is_ours)
        job->refusals[job->refusals_count++] = (struct ingest_refusal){
            .index = index,
            .is_conflict = refusal->is_conflict,
            .reason = arena_text(job->arena, refusal->reason),
        };
    pthread_mutex_unlock(&ingest->mutex);
}

bool
ingest_is_connected(struct ingest *ingest)
{
    struct tally_stats stats;
    tally_stats(ingest->tally, &stats);
    return stats.is_connected;
}

// Or was so a moment ago.
static bool
is_there(struct ingest *ingest, int64_t now_ns)
{
    int64_t looked_ns = atomic_load_explicit(&ingest->looked_ns, memory_order_relaxed);
    if (looked_ns != 0 && now_ns - looked_ns < LOOK_US * (SECOND_NS / 1000000))
        return true;
    bool is_there = ingest_is_connected(ingest);
    atomic_store_explicit(&ingest->looked_ns, is_there ? now_ns : 0, memory_order_relaxed);
    return is_there;
}

// The first requests should not be refused only because they came a moment early.
static void
connection_wait(struct ingest *ingest)
{
    struct timespec moment = {.tv_nsec = 5000000};
    int64_t deadline_ns = clock_monotonic_ns() + OPEN_WAIT_MS * (SECOND_NS / 1000);
    while (!ingest_is_connected(ingest) && clock_monotonic_ns() < deadline_ns)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}

// ---- slots

// False: there are as many jobs as may be.
static bool
job_slot_take(struct ingest *ingest, struct ingest_job *job)
{
    pthread_mutex_lock(&ingest->mutex);
    struct job_slot *slot = ingest->freed;
    if (slot != NULL)
        ingest->freed = slot->next_free;
    else if (ingest->slots_used < INGEST_JOBS_MAX)
        slot = &ingest->slots[ingest->slots_used++];
    if (slot != NULL) {
        uint64_t i = (uint64_t)(slot - ingest->slots);
        slot->job = job;
        slot->serial = (slot->serial + 1) & (UINT64_MAX >> (INDEX_BITS + SLOT_BITS));
        job->tag = slot->serial << (INDEX_BITS + SLOT_BITS) | i << INDEX_BITS;
    }
    pthread_mutex_unlock(&ingest->mutex);
    return slot != NULL;
}

// With the mutex.
static void
job_slot_give(struct ingest *ingest, uint64_t tag)
{
    struct job_slot *slot = &ingest->slots[(tag >> INDEX_BITS) & (INGEST_JOBS_MAX - 1)];
    must(slot->job != NULL);
    slot->job = NULL;
    slot->next_free = ingest->freed;
    ingest->freed = slot;
}

static uint32_t
left_ms(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    return left_ns > 0 ? (uint32_t)(left_ns / (SECOND_NS / 1000)) : 0;
}

// ---- sending

// Sends what is left of a job. TALLY_FULL: libtally has no room (is_patient: had none until the
// job's time was over).
static enum tally_result
job_send(struct ingest *ingest, struct ingest_job *job, bool is_patient)
{
    for (; job->sent < job->count; job->sent++) {
        struct tally_event event = job->events[job->sent];
        event.tag = job->tag | job->sent;
        enum tally_result result = tally_send(ingest->tally, &event);
        if (result == TALLY_FULL && is_patient)
            result = tally_send_wait(ingest->tally, &event, left_ms(job->deadline_ns));
        if (result != TALLY_OK)
            return result;
    }
    return TALLY_OK;
}

// ---- waiting for answers

// What became of these. A job is its owner's again from the moment it is told.
static void
jobs_settle(struct ingest *ingest, struct ingest_job *jobs, enum tally_result result)
{
    pthread_mutex_lock(&ingest->mutex);
    for (struct ingest_job *job = jobs; job != NULL; job = job->next)
        job_slot_give(ingest, job->tag);
    pthread_mutex_unlock(&ingest->mutex);
    while (jobs != NULL) {
        struct ingest_job *job = jobs;
        jobs = job->next;
        job->result = result;
        job->settled(job);
    }
}

// Those of the list that found no room before.
static struct ingest_job *
rests_cut(struct ingest_job **jobs)
{
    struct ingest_job *rests = NULL;
    for (struct ingest_job **place = jobs, **end = &rests; *place != NULL;) {
        struct ingest_job *job = *place;
        if (job->sent == job->count) {
            place = &job->next;
            continue;
        }
        *place = job->next;
        job->next = NULL;
        *end = job;
        end = &job->next;
    }
    return rests;
}

// Takes those off the list that find no room now either.
static void
rests_send(struct ingest *ingest, struct ingest_job **jobs)
{
    for (struct ingest_job **place = jobs; *place != NULL;) {
        struct ingest_job *job = *place;
        enum tally_result result = job_send(ingest, job, true);
        if (result == TALLY_OK) {
            place = &job->next;
            continue;
        }
        *place = job->next;
        job->next = NULL;
        jobs_settle(ingest, job, result);
    }
}

// Cuts off the jobs in front whose time is over, the first in any case.
static struct ingest_job *
late_cut(struct ingest_job **jobs)
{
    struct ingest_job *late = *jobs, *last = late;
    int64_t now_ns = clock_monotonic_ns();
    while (last->next != NULL && last->next->deadline_ns <= now_ns)
        last = last->next;
    *jobs = last->next;
    last->next = NULL;
    return late;
}

// Until each has its answer, or its time is over.
static void
sent_flush(struct ingest *ingest, struct ingest_job *jobs)
{
    while (jobs != NULL) {
        enum tally_result result = tally_flush(ingest->tally, left_ms(jobs->deadline_ns));
        struct ingest_job *answered = jobs;
        if (result == TALLY_OK)
            jobs = NULL;
        else
            answered = late_cut(&jobs);
        jobs_settle(ingest, answered, result);
    }
}

// Who is wholly sent does not wait for who is not: their acks make the room.
static void
jobs_flush(struct ingest *ingest, struct ingest_job *jobs)
{
    struct ingest_job *rests = rests_cut(&jobs);
    sent_flush(ingest, jobs);
    rests_send(ingest, &rests);
    sent_flush(ingest, rests);
}

static void *
flusher_run(void *argument)
{
    struct ingest *ingest = argument;
    pthread_mutex_lock(&ingest->mutex);
    while (ingest->entered != NULL || !ingest->is_stopping) {
        struct ingest_job *jobs = ingest->entered;
        if (jobs == NULL) {
            pthread_cond_wait(&ingest->changed, &ingest->mutex);
            continue;
        }
        ingest->entered = NULL;
        ingest->entered_end = &ingest->entered;
        pthread_mutex_unlock(&ingest->mutex);
        jobs_flush(ingest, jobs);
        pthread_mutex_lock(&ingest->mutex);
    }
    pthread_mutex_unlock(&ingest->mutex);
    return NULL;
}

// ---- open and close

// Ends the threads when nothing is left to flush for.
static void
flushers_stop(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->mutex);
    ingest->is_stopping = true;
    pthread_cond_broadcast(&ingest->changed);
    pthread_mutex_unlock(&ingest->mutex);
    for (uint32_t i = 0; i < ingest->threads_count; i++)
        pthread_join(ingest->threads[i], NULL);
}

static enum status
flushers_start(struct ingest *ingest, struct error *error)
{
    for (uint32_t i = 0; i < FLUSHES_MAX; i++) {
        errno = pthread_create(&ingest->threads[i], NULL, flusher_run, ingest);
        if (errno != 0)
            return error_set_errno(error, "cannot start a thread");
        ingest->threads_count++;
    }
    return STATUS_OK;
}

static void
ingest_free(struct ingest *ingest)
{
    must(ingest->entered == NULL);
    pthread_mutex_destroy(&ingest->mutex);
    pthread_cond_destroy(&ingest->changed);
    pool_give(ingest);
}

enum status
ingest_open(const char *unix_path, const char *backfill, struct ingest **out, struct error *error)
{
    char server[SERVER_MAX], text[256];
    if (snprintf(server, sizeof server, "unix:%s", unix_path) >= SERVER_MAX)
        return error_set(error, STATUS_INVALID, "the path %s is too long", unix_path);
    struct ingest *ingest = pool_take(1, sizeof *ingest);
    if (ingest == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for ingest");
    pthread_mutex_init(&ingest->mutex, NULL);
    pthread_cond_init(&ingest->changed, NULL);
    ingest->entered_end = &ingest->entered;
    struct tally_options options = {
        .server = server,
        .in_flight_batches = IN_FLIGHT,
        .retry_max_ms = RETRY_MAX_MS,
        .backfill = backfill,
        .on_refusal = on_refusal,
        .context = ingest,
    };
    ingest->tally = tally_open(&options, text, sizeof text);
    if (ingest->tally == NULL) {
        ingest_free(ingest);
        return error_set(error, STATUS_IO, "libtally: %s", text);
    }
    enum status status = flushers_start(ingest, error);
    if (status) {
        ingest_close(ingest);
        return status;
    }
    connection_wait(ingest);
    *out = ingest;
    return STATUS_OK;
}

void
ingest_close(struct ingest *ingest)
{
    if (ingest == NULL)
        return;
    flushers_stop(ingest);
    // What is left is of clients that were told to send it again.
    (void)tally_close(ingest->tally, CLOSE_WAIT_MS);
    ingest_free(ingest);
}

// ---- jobs

static enum status
result_error(enum tally_result result, struct error *error)
{
    switch (result) {
    case TALLY_OK: return STATUS_OK;
    case TALLY_FULL:
        return error_set(
            error, STATUS_BUSY, "tallyd takes events too slowly; send the same events again");
    case TALLY_INVALID: return error_set(error, STATUS_INVALID, "an event is larger than 64 KiB");
    case TALLY_TIMEOUT:
    case TALLY_CLOSED: break;
    }
    return error_set(
        error, STATUS_TIMEOUT, "tallyd has not answered in time; send the same events again");
}

enum status
ingest_outcome(const struct ingest_job *job, struct error *error)
{
    return result_error(job->result, error);
}

// Whoever is to be woken was told already when others came before.
static void
job_enter(struct ingest *ingest, struct ingest_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&ingest->mutex);
    bool is_first = ingest->entered == NULL;
    *ingest->entered_end = job;
    ingest->entered_end = &job->next;
    pthread_mutex_unlock(&ingest->mutex);
    if (is_first)
        pthread_cond_signal(&ingest->changed);
}

static enum status
job_begin(struct ingest *ingest, struct ingest_job *job, bool is_patient, struct error *error)
{
    must(job->count <= INGEST_EVENTS_MAX && job->settled != NULL);
    int64_t now_ns = clock_monotonic_ns();
    if (!is_there(ingest, now_ns))
        return error_set(error, STATUS_CLOSED, "tallyd is away; nothing was taken");
    job->sent = 0;
    job->refusals_count = 0;
    job->refusals = arena_array(job->arena, (size_t)job->count + 1, struct ingest_refusal);
    job->deadline_ns = now_ns + INGEST_TIMEOUT_MS * (SECOND_NS / 1000);
    if (!job_slot_take(ingest, job))
        return error_set(error, STATUS_BUSY, "too many requests send events; nothing was taken");
    enum tally_result result = job_send(ingest, job, is_patient);
    // Who must not wait leaves the rest to who flushes.
    if (result == TALLY_OK || (result == TALLY_FULL && !is_patient)) {
        job_enter(ingest, job);
        return STATUS_OK;
    }
    pthread_mutex_lock(&ingest->mutex);
    job_slot_give(ingest, job->tag);
    pthread_mutex_unlock(&ingest->mutex);
    return result_error(result, error);
}

enum status
ingest_begin(struct ingest *ingest, struct ingest_job *job, struct error *error)
{
    return job_begin(ingest, job, false, error);
}

static void
sender_wake(struct ingest_job *job)
{
    must(sem_post(job->context) == 0);
}

enum status
ingest_send(struct ingest *ingest, struct ingest_job *job, struct error *error)
{
    sem_t woken;
    must(sem_init(&woken, 0, 0) == 0);
    job->settled = sender_wake;
    job->context = &woken;
    enum status status = job_begin(ingest, job, true, error);
    if (status == STATUS_OK) {
        while (sem_wait(&woken) != 0)
            must(errno == EINTR);
        status = ingest_outcome(job, error);
    }
    must(sem_destroy(&woken) == 0);
    return status;
}
