#include "api/ingest.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

enum {
    SERVER_MAX = 256,
    INDEX_BITS = 20,
    SLOT_BITS = 10,
    IN_FLIGHT = 64,
    RETRY_MAX_MS = 500,
    FLUSHES_MAX = 2,  // at a time: one is gathered while one is answered
    OPEN_WAIT_MS = 2000,
    CLOSE_WAIT_MS = 5000,
};

_Static_assert(INGEST_EVENTS_MAX == 1 << INDEX_BITS, "an index fits into a tag");
_Static_assert(INGEST_JOBS_MAX == 1 << SLOT_BITS, "a slot fits into a tag");

// Where a refusal finds its job: the tag is the slot's serial, the slot and the event's index. A
// job that gave up is found no more, for its slot's serial has risen.
struct job_slot {
    uint64_t serial;
    struct ingest_job *job;  // NULL: free
};

// A job whose events were all sent, until tallyd has answered for them.
struct waiter {
    uint64_t ticket;
    sem_t woken;
    struct flag settled;  // why it was woken: it has its answer, and is on the list no more
    struct flag asked;    // or to lead a flush
    struct waiter *next;
};

struct ingest {
    struct tally *tally;
    pthread_mutex_t mutex;  // for what follows
    struct job_slot slots[INGEST_JOBS_MAX];
    uint64_t slot_next;  // where to look for a free one first
    // Jobs that come while others are flushed are flushed together: one batch, one answer, and only
    // those are woken that have theirs.
    struct waiter *waiters, **waiters_end;  // by ticket
    uint64_t tickets;                       // given to jobs in the order in which they were sent
    uint64_t covered;                       // tickets up to this one are being flushed
    uint64_t settled;                       // tickets up to this one are answered
    uint32_t flushes;                       // under way
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

// The first requests should not be refused only because they came a moment early.
static void
connection_wait(struct ingest *ingest)
{
    struct timespec moment = {.tv_nsec = 5000000};
    int64_t deadline_ns = clock_monotonic_ns() + OPEN_WAIT_MS * (SECOND_NS / 1000);
    while (!ingest_is_connected(ingest) && clock_monotonic_ns() < deadline_ns)
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}

static void
ingest_free(struct ingest *ingest)
{
    must(ingest->waiters == NULL);
    pthread_mutex_destroy(&ingest->mutex);
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
    ingest->waiters_end = &ingest->waiters;
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
    connection_wait(ingest);
    *out = ingest;
    return STATUS_OK;
}

void
ingest_close(struct ingest *ingest)
{
    if (ingest == NULL)
        return;
    // What is left is of clients that were told to send it again.
    (void)tally_close(ingest->tally, CLOSE_WAIT_MS);
    ingest_free(ingest);
}

// False: there are as many jobs as may be. *out_tag is that of the job's first event.
static bool
job_slot_take(struct ingest *ingest, struct ingest_job *job, uint64_t *out_tag)
{
    bool is_found = false;
    pthread_mutex_lock(&ingest->mutex);
    for (uint64_t k = 0; k < INGEST_JOBS_MAX && !is_found; k++) {
        uint64_t i = (ingest->slot_next + k) & (INGEST_JOBS_MAX - 1);
        struct job_slot *slot = &ingest->slots[i];
        is_found = slot->job == NULL;
        if (!is_found)
            continue;
        ingest->slot_next = i + 1;
        slot->job = job;
        slot->serial = (slot->serial + 1) & (UINT64_MAX >> (INDEX_BITS + SLOT_BITS));
        *out_tag = slot->serial << (INDEX_BITS + SLOT_BITS) | i << INDEX_BITS;
    }
    pthread_mutex_unlock(&ingest->mutex);
    return is_found;
}

static void
job_slot_give(struct ingest *ingest, uint64_t tag)
{
    pthread_mutex_lock(&ingest->mutex);
    ingest->slots[(tag >> INDEX_BITS) & (INGEST_JOBS_MAX - 1)].job = NULL;
    pthread_mutex_unlock(&ingest->mutex);
}

static uint32_t
left_ms(int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    return left_ns > 0 ? (uint32_t)(left_ns / (SECOND_NS / 1000)) : 0;
}

// ---- waiting for answers

// Under the mutex: takes those off the list who have an answer, and asks the first who is not being
// flushed for to lead. They are woken without the mutex, by waiters_wake, for it is what they would
// wait for next.
struct woken {
    struct waiter *settled;
    struct waiter *leader;
};

static struct woken
waiters_take(struct ingest *ingest)
{
    struct woken woken = {0};
    struct waiter **settled_end = &woken.settled, *waiter = ingest->waiters;
    for (; waiter != NULL && waiter->ticket <= ingest->settled; waiter = waiter->next) {
        flag_set(&waiter->settled, 1);
        *settled_end = waiter;
        settled_end = &waiter->next;
    }
    ingest->waiters = waiter;
    if (waiter == NULL)
        ingest->waiters_end = &ingest->waiters;
    *settled_end = NULL;
    while (waiter != NULL && waiter->ticket <= ingest->covered)
        waiter = waiter->next;
    if (waiter != NULL && ingest->flushes < FLUSHES_MAX && flag_get(&waiter->asked) == 0) {
        flag_set(&waiter->asked, 1);
        woken.leader = waiter;
    }
    return woken;
}

static void
waiters_wake(const struct woken *woken)
{
    struct waiter *waiter = woken->settled;
    if (woken->leader != NULL)
        must(sem_post(&woken->leader->woken) == 0);
    while (waiter != NULL) {
        struct waiter *next = waiter->next;
        must(sem_post(&waiter->woken) == 0);  // from here on it may be gone
        waiter = next;
    }
}

static void
waiter_enter(struct ingest *ingest, struct waiter *waiter)
{
    must(sem_init(&waiter->woken, 0, 0) == 0);
    waiter->ticket = ++ingest->tickets;
    *ingest->waiters_end = waiter;
    ingest->waiters_end = &waiter->next;
}

static void
waiter_leave(struct ingest *ingest, struct waiter *waiter)
{
    struct waiter **place = &ingest->waiters;
    while (*place != waiter)
        place = &(*place)->next;
    *place = waiter->next;
    if (waiter->next == NULL)
        ingest->waiters_end = place;
}

// False: the deadline (INT64_MAX: none) has passed.
static bool
waiter_sleep(struct waiter *waiter, int64_t deadline_ns)
{
    const struct timespec deadline = {deadline_ns / SECOND_NS, deadline_ns % SECOND_NS};
    int rc;
    do
        rc = sem_clockwait(&waiter->woken, CLOCK_MONOTONIC, &deadline);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

// Waits for whoever wakes it, once for each reason, to have done so: after that nobody knows the
// waiter any more. taken: how often it was woken already since it was asked.
static void
waiter_done(struct waiter *waiter, uint32_t is_settled, uint32_t taken)
{
    uint32_t posts = is_settled + flag_get(&waiter->asked);
    for (; taken < posts; taken++)
        (void)waiter_sleep(waiter, INT64_MAX);
    must(sem_destroy(&waiter->woken) == 0);
}

// Flushes for all that were sent until now. With the mutex, which is free meanwhile.
static enum tally_result
flush_lead(struct ingest *ingest, int64_t deadline_ns)
{
    uint64_t upto = ingest->tickets;
    ingest->covered = upto;
    ingest->flushes++;
    pthread_mutex_unlock(&ingest->mutex);
    enum tally_result result = tally_flush(ingest->tally, left_ms(deadline_ns));
    pthread_mutex_lock(&ingest->mutex);
    ingest->flushes--;
    // Those who came later have more time than this one had: one of them tries again.
    if (result != TALLY_OK)
        ingest->covered = ingest->settled;
    else if (upto > ingest->settled)
        ingest->settled = upto;
    struct woken woken = waiters_take(ingest);
    pthread_mutex_unlock(&ingest->mutex);
    waiters_wake(&woken);
    pthread_mutex_lock(&ingest->mutex);
    return result;
}

// With the mutex: the time is over, or tallyd is. Who was asked to lead passes it on.
static void
waiter_give_up(struct ingest *ingest, struct waiter *waiter)
{
    waiter_leave(ingest, waiter);
    struct woken woken = waiters_take(ingest);
    pthread_mutex_unlock(&ingest->mutex);
    waiters_wake(&woken);
    waiter_done(waiter, 0, 0);
}

// Until tallyd has answered for everything that this thread has sent.
static enum tally_result
events_settle(struct ingest *ingest, int64_t deadline_ns)
{
    struct waiter waiter = {0};
    enum tally_result result = TALLY_OK;
    pthread_mutex_lock(&ingest->mutex);
    waiter_enter(ingest, &waiter);
    while (result == TALLY_OK && flag_get(&waiter.settled) == 0) {
        if (waiter.ticket > ingest->covered && ingest->flushes < FLUSHES_MAX) {
            result = flush_lead(ingest, deadline_ns);
            continue;
        }
        pthread_mutex_unlock(&ingest->mutex);
        uint32_t taken = waiter_sleep(&waiter, deadline_ns);
        // Once settled it is on no list, and asked no more: no need for the mutex.
        if (flag_get(&waiter.settled) != 0) {
            waiter_done(&waiter, 1, taken);
            return TALLY_OK;
        }
        pthread_mutex_lock(&ingest->mutex);
        if (taken != 0)
            flag_set(&waiter.asked, 0);
        else
            result = TALLY_TIMEOUT;
    }
    if (flag_get(&waiter.settled) == 0) {
        waiter_give_up(ingest, &waiter);
        return result;
    }
    pthread_mutex_unlock(&ingest->mutex);
    waiter_done(&waiter, 1, 0);
    return TALLY_OK;
}

static enum tally_result
events_send(struct ingest *ingest, const struct ingest_job *job, uint64_t tag)
{
    int64_t deadline_ns = clock_monotonic_ns() + INGEST_TIMEOUT_MS * (SECOND_NS / 1000);
    for (uint32_t i = 0; i < job->count; i++) {
        struct tally_event event = job->events[i];
        event.tag = tag | i;
        enum tally_result result = tally_send(ingest->tally, &event);
        if (result == TALLY_FULL)
            result = tally_send_wait(ingest->tally, &event, left_ms(deadline_ns));
        if (result != TALLY_OK)
            return result;
    }
    return events_settle(ingest, deadline_ns);
}

enum status
ingest_send(struct ingest *ingest, struct ingest_job *job, struct error *error)
{
    uint64_t tag;
    must(job->count <= INGEST_EVENTS_MAX);
    if (!ingest_is_connected(ingest))
        return error_set(error, STATUS_CLOSED, "tallyd is away; nothing was taken");
    job->refusals_count = 0;
    job->refusals = arena_array(job->arena, (size_t)job->count + 1, struct ingest_refusal);
    if (!job_slot_take(ingest, job, &tag))
        return error_set(error, STATUS_BUSY, "too many requests send events; nothing was taken");
    enum tally_result result = events_send(ingest, job, tag);
    job_slot_give(ingest, tag);
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
