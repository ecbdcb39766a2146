#include "client/tally.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "client/handle.h"
#include "client/sender.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum {
    // Most events fit; a larger one is encoded again into memory of its own.
    SCRATCH_SIZE = 2048,
};

static const int64_t MS_NS = 1000000;

// --- open and close ---

// No signal of the program is to be handled on the library's thread.
static int
thread_start(struct tally *tally)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&tally->thread, NULL, sender_run, tally);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

// Waits are measured on the clock that nobody sets.
static int
locks_init(struct tally *tally)
{
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);
    if (rc != 0)
        return rc;
    rc = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (rc == 0)
        rc = pthread_cond_init(&tally->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (rc != 0)
        return rc;
    rc = pthread_mutex_init(&tally->mutex, NULL);
    if (rc != 0)
        pthread_cond_destroy(&tally->changed);
    return rc;
}

static enum status
started_error(struct error *error, int rc)
{
    errno = rc;
    return error_set_errno(error, "cannot start");
}

// With the mutex held. A batch that gets no file is sent all the same.
static void
batch_spool(void *context, struct batch *batch)
{
    struct tally *tally = context;
    struct error error;
    batch->is_spooled = spool_write(&tally->spool, batch, &error) == STATUS_OK;
    if (!batch->is_spooled)
        handle_spool_error(tally, &error);
}

static enum status
spool_start(struct tally *tally, struct error *error)
{
    const struct client_settings *settings = &tally->settings;
    const struct spool_options options = {
        .path = settings->spool_dir,
        .size_max = settings->spool_size,
        .is_sync = settings->is_spool_sync,
    };
    if (settings->spool_dir[0] == '\0')
        return STATUS_OK;
    enum status status = spool_open(&tally->spool, &options, error);
    if (status == STATUS_OK)
        status = leftovers_open(&tally->leftovers, &tally->spool, error);
    tally->leftovers_count = leftovers_count(&tally->leftovers);
    tally->backlog.sealed = batch_spool;
    tally->backlog.sealed_context = tally;
    return status;
}

// What start made and the thread does not give back.
static void
storage_done(struct tally *tally)
{
    waker_done(&tally->waker);
    leftovers_done(&tally->leftovers);
    spool_close(&tally->spool);
    backlog_done(&tally->backlog);
    tls_setup_close(&tally->tls);
}

// What is secret does not stay in freed memory.
static void
tally_free(struct tally *tally)
{
    if (tally != NULL)
        explicit_bzero(&tally->settings.secrets, sizeof tally->settings.secrets);
    pool_give(tally);
}

static enum status
tls_start(struct tally *tally, struct error *error)
{
    const struct client_settings *settings = &tally->settings;
    if (settings->is_tls || settings->secrets.shared_key[0] != '\0')
        tls_library_start();
    return settings->is_tls ? tls_setup_open(&tally->tls, &settings->tls, error) : STATUS_OK;
}

// Each step undoes itself when it fails; the label undoes the steps before it.
static enum status
tally_start(struct tally *tally, struct error *error)
{
    int rc;
    enum status status = backlog_init(&tally->backlog, &tally->settings.limits, error);
    if (status != STATUS_OK)
        return status;
    status = tls_start(tally, error);
    if (status == STATUS_OK)
        status = waker_init(&tally->waker, error);
    if (status != STATUS_OK)
        goto done;
    status = spool_start(tally, error);
    if (status != STATUS_OK)
        goto done;
    rc = locks_init(tally);
    if (rc != 0) {
        status = started_error(error, rc);
        goto done;
    }
    rc = thread_start(tally);
    if (rc != 0) {
        pthread_mutex_destroy(&tally->mutex);
        pthread_cond_destroy(&tally->changed);
        status = started_error(error, rc);
    }
done:
    if (status != STATUS_OK)
        storage_done(tally);
    return status;
}

struct tally *
tally_open(const struct tally_options *options, char *error, size_t error_size)
{
    static const struct tally_options defaults = {0};
    struct error cause;
    enum status status;
    struct tally *tally = pool_take(1, sizeof *tally);
    if (tally == NULL) {
        status = error_set(&cause, STATUS_NO_MEMORY, "no memory");
    } else {
        const struct tally_options *given = options != NULL ? options : &defaults;
        status = client_settings_read(given, &tally->settings, &cause);
        if (status == STATUS_OK)
            status = tally_start(tally, &cause);
    }
    if (status == STATUS_OK)
        return tally;
    if (error != NULL && error_size > 0)
        (void)bytes_to_text(bytes_text(cause.text), error, error_size);
    tally_free(tally);
    return NULL;
}

// --- waiting ---

static int64_t
deadline_after(uint32_t timeout_ms)
{
    return clock_monotonic_ns() + (int64_t)timeout_ms * MS_NS;
}

// Waits for a change, with the mutex held. False when the deadline has passed.
static bool
change_wait(struct tally *tally, int64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = deadline_ns / SECOND_NS,
        .tv_nsec = deadline_ns % SECOND_NS,
    };
    tally->waiters_count++;
    int rc = pthread_cond_timedwait(&tally->changed, &tally->mutex, &deadline);
    tally->waiters_count--;
    must(rc == 0 || rc == ETIMEDOUT);
    // The last waiter to leave lets close go on.
    if (tally->is_stopping && tally->waiters_count == 0)
        pthread_cond_broadcast(&tally->changed);
    return rc == 0;
}

// --- sending ---

static enum tally_result
event_encode(
    const struct tally_event *event,
    int64_t wall_ns,
    struct buffer *scratch,
    struct buffer *large,
    struct encoded *out)
{
    enum encode_result result = encode_event(event, wall_ns, scratch, out);
    if (result == ENCODE_NO_ROOM)
        result = encode_event(event, wall_ns, large, out);
    return result == ENCODE_DONE ? TALLY_OK : TALLY_INVALID;
}

// Whether the batch that the entry goes into will still find room for its file. Counts one more
// header than is needed when the entry joins the batch being filled.
static bool
spool_takes(const struct tally *tally, size_t entry_size)
{
    const struct batch *filling = tally->backlog.filling;
    size_t before = filling != NULL ? SPOOL_HEADER_SIZE + filling->events_size : 0;
    return !tally->spool.is_open || spool_has_room(&tally->spool, before + entry_size);
}

// Appends under the mutex. *out_is_wake: the sender must look, for a batch was begun or is
// complete.
static enum tally_result
entry_append(struct tally *tally, const struct encoded *entry, int64_t wall_ns, bool *out_is_wake)
{
    struct backlog *backlog = &tally->backlog;
    if (tally->is_closing)
        return TALLY_CLOSED;
    uint64_t sealed_count = backlog->sealed_count;
    bool is_first = backlog->filling == NULL;
    if (!spool_takes(tally, entry->bytes.size) ||
        !backlog_append(backlog, entry, clock_monotonic_ns(), wall_ns)) {
        // Room comes only from acks, and what is sealed is sent soonest.
        backlog_seal(backlog, wall_ns);
        *out_is_wake = true;
        return TALLY_FULL;
    }
    tally->stats.events_sent++;
    *out_is_wake = is_first || backlog->sealed_count != sealed_count;
    return TALLY_OK;
}

// deadline_ns: 0 does not wait.
static enum tally_result
event_send(struct tally *tally, const struct tally_event *event, int64_t deadline_ns)
{
    uint8_t bytes[SCRATCH_SIZE];
    struct buffer scratch = {.data = bytes, .capacity = sizeof bytes, .limit = sizeof bytes};
    scoped(buffer_done) struct buffer large = {.limit = ENCODE_SIZE_MAX};
    struct encoded entry;
    int64_t wall_ns = clock_now_ns();
    enum tally_result result = event_encode(event, wall_ns, &scratch, &large, &entry);
    if (result != TALLY_OK)
        return result;
    bool is_in_time = deadline_ns != 0;
    pthread_mutex_lock(&tally->mutex);
    for (;;) {
        bool is_wake = false;
        result = entry_append(tally, &entry, wall_ns, &is_wake);
        if (is_wake)
            waker_wake(&tally->waker);
        if (result != TALLY_FULL || !is_in_time)
            break;
        is_in_time = change_wait(tally, deadline_ns);
    }
    pthread_mutex_unlock(&tally->mutex);
    return result;
}

enum tally_result
tally_send(struct tally *tally, const struct tally_event *event)
{
    return event_send(tally, event, 0);
}

enum tally_result
tally_send_wait(struct tally *tally, const struct tally_event *event, uint32_t timeout_ms)
{
    return event_send(tally, event, timeout_ms > 0 ? deadline_after(timeout_ms) : 0);
}

// With the mutex held.
static enum tally_result
backlog_flush(struct tally *tally, int64_t deadline_ns)
{
    backlog_seal(&tally->backlog, clock_now_ns());
    uint64_t sequence = tally->backlog.sealed_count;
    bool is_in_time = true;
    waker_wake(&tally->waker);
    while (!backlog_is_settled(&tally->backlog, sequence) || tally->leftovers_count > 0) {
        if (!is_in_time || tally->is_stopping)
            return TALLY_TIMEOUT;
        is_in_time = change_wait(tally, deadline_ns);
    }
    return TALLY_OK;
}

enum tally_result
tally_flush(struct tally *tally, uint32_t timeout_ms)
{
    int64_t deadline_ns = deadline_after(timeout_ms);
    pthread_mutex_lock(&tally->mutex);
    enum tally_result result = backlog_flush(tally, deadline_ns);
    pthread_mutex_unlock(&tally->mutex);
    return result;
}

void
tally_stats(struct tally *tally, struct tally_stats *out)
{
    pthread_mutex_lock(&tally->mutex);
    *out = tally->stats;
    out->events_buffered = tally->backlog.events_count + tally->leftovers_events;
    out->spool_bytes = tally->spool.used_size;
    out->buffered_bytes = tally->backlog.used_size;
    pthread_mutex_unlock(&tally->mutex);
}

enum tally_result
tally_close(struct tally *tally, uint32_t timeout_ms)
{
    if (tally == NULL)
        return TALLY_OK;
    int64_t deadline_ns = deadline_after(timeout_ms);
    pthread_mutex_lock(&tally->mutex);
    must(!tally->is_closing);
    tally->is_closing = true;
    pthread_cond_broadcast(&tally->changed);
    enum tally_result result = backlog_flush(tally, deadline_ns);
    tally->is_stopping = true;
    waker_wake(&tally->waker);
    pthread_cond_broadcast(&tally->changed);
    while (tally->waiters_count > 0)
        pthread_cond_wait(&tally->changed, &tally->mutex);
    pthread_mutex_unlock(&tally->mutex);
    pthread_join(tally->thread, NULL);
    pthread_mutex_destroy(&tally->mutex);
    pthread_cond_destroy(&tally->changed);
    storage_done(tally);
    tally_free(tally);
    return result;
}

// --- texts ---

const char *
tally_result_text(enum tally_result result)
{
    switch (result) {
    case TALLY_OK: return "ok";
    case TALLY_FULL: return "the buffer is full";
    case TALLY_INVALID: return "the event is invalid";
    case TALLY_TIMEOUT: return "timed out with unacked events";
    case TALLY_CLOSED: return "the handle is being closed";
    }
    return "unknown result";
}

const char *
tally_version(void)
{
    return TALLY_CLIENT_VERSION;
}
