#pragma once
// Events to tallyd, and what became of them: libtally over the unix socket, shared by all.
//
//     struct ingest_job job = {.events = events, .count = count, .arena = &arena};
//     status = ingest_send(ingest, &job, &error);
//     // job.refusals[i].index, .reason: what was not counted; everything else is durable
//
// Or without a thread that waits:
//
//     job->settled = answer_later;                        // on a thread of ours, once
//     status = ingest_begin(ingest, job, &error);         // STATUS_OK: it will be called
//     void answer_later(job) { status = ingest_outcome(job, &error); ... }
//
// STATUS_OK means that tallyd has answered for every event. After STATUS_CLOSED nothing was sent.
// After STATUS_TIMEOUT or STATUS_FULL some may be stored, now or later: who sends the same events
// again has them counted once, for each has an id. Owner: main. Thread: ingest_send and
// ingest_begin from any; two of its own flush, each for all jobs that came while both were busy.

#include "base/arena.h"
#include "base/status.h"
#include "client/tally.h"

// As many jobs at a time as --connections-max may be: nobody who has a connection is refused for
// want of a place.
enum { INGEST_JOBS_MAX = 1 << 16, INGEST_EVENTS_MAX = 1 << 20, INGEST_TIMEOUT_MS = 10000 };

struct ingest;

struct ingest_refusal {
    uint32_t index;
    bool is_conflict;
    const char *reason;  // as tallyd names it; in the job's arena
};

struct ingest_job {
    const struct tally_event *events;  // each with an id; tags are ours
    uint32_t count;                    // at most INGEST_EVENTS_MAX
    struct arena *arena;               // nobody else's until the job is settled
    // With ingest_begin: the job is over, and the caller's again. Must not wait; the context is the
    // caller's too.
    void (*settled)(struct ingest_job *job);
    void *context;
    // Filled:
    struct ingest_refusal *refusals;  // room for count, in no order
    uint32_t refusals_count;
    // Of ingest.c:
    enum tally_result result;
    uint32_t sent;  // events that libtally has
    uint64_t tag;   // of its first event
    int64_t deadline_ns;
    struct ingest_job *next;
};

// backfill: the id of the open one that the events belong to; NULL: none, they are live.
enum status ingest_open(
    const char *unix_path, const char *backfill, struct ingest **out, struct error *error) CHECKED;
// No job is under way. NULL is accepted.
void ingest_close(struct ingest *ingest);
enum status ingest_send(struct ingest *ingest, struct ingest_job *job, struct error *error) CHECKED;
// Does not wait. STATUS_OK: job->settled will be called, perhaps before this returns; otherwise as
// ingest_send, and it will not.
enum status
ingest_begin(struct ingest *ingest, struct ingest_job *job, struct error *error) CHECKED;
// Of a job that is settled: as ingest_send.
enum status ingest_outcome(const struct ingest_job *job, struct error *error) CHECKED;
bool ingest_is_connected(struct ingest *ingest);
