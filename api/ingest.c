#include "api/ingest.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum {
    SERVER_MAX = 256,
    INDEX_BITS = 20,
    SLOT_BITS = 10,
    IN_FLIGHT = 64,
    RETRY_MAX_MS = 500,
    OPEN_WAIT_MS = 2000,
    CLOSE_WAIT_MS = 5000,
};

_Static_assert(INGEST_EVENTS_MAX == 1 << INDEX_BITS, "an index fits into a tag");
_Static_assert(INGEST_JOBS_MAX == 1 << SLOT_BITS, "a slot fits into a tag");

// Where a refusal finds its job: the tag is the slot's serial, the slot and the event's index. A
// job that gave up is found no more, for its slot's serial has risen.
struct slot {
    uint64_t serial;
    struct ingest_job *job;  // NULL: free
};

struct ingest {
    struct tally *tally;
    pthread_mutex_t mutex;  // for what follows
    struct slot slots[INGEST_JOBS_MAX];
};

// On libtally's thread.
static void
on_refusal(void *context, const struct tally_refusal *refusal)
{
    struct ingest *ingest = context;
    uint32_t index = refusal->tag & (INGEST_EVENTS_MAX - 1);
    struct slot *slot = &ingest->slots[(refusal->tag >> INDEX_BITS) & (INGEST_JOBS_MAX - 1)];
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
        pthread_mutex_destroy(&ingest->mutex);
        pool_give(ingest);
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
    pthread_mutex_destroy(&ingest->mutex);
    pool_give(ingest);
}

// False: there are as many jobs as may be. *out_tag is that of the job's first event.
static bool
slot_take(struct ingest *ingest, struct ingest_job *job, uint64_t *out_tag)
{
    bool is_found = false;
    pthread_mutex_lock(&ingest->mutex);
    for (uint64_t i = 0; i < INGEST_JOBS_MAX && !is_found; i++) {
        struct slot *slot = &ingest->slots[i];
        is_found = slot->job == NULL;
        if (!is_found)
            continue;
        slot->job = job;
        slot->serial = (slot->serial + 1) & (UINT64_MAX >> (INDEX_BITS + SLOT_BITS));
        *out_tag = slot->serial << (INDEX_BITS + SLOT_BITS) | i << INDEX_BITS;
    }
    pthread_mutex_unlock(&ingest->mutex);
    return is_found;
}

static void
slot_give(struct ingest *ingest, uint64_t tag)
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
    return tally_flush(ingest->tally, left_ms(deadline_ns));
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
    if (!slot_take(ingest, job, &tag))
        return error_set(error, STATUS_BUSY, "too many requests send events; nothing was taken");
    enum tally_result result = events_send(ingest, job, tag);
    slot_give(ingest, tag);
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
