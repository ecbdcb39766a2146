#include "api/keys.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

// One reading of the table. Replaced as a whole.
struct copy {
    struct arena arena;
    struct api_keys keys;
    _Atomic int64_t *used_ns;  // for each key; 0: not since it was noted
};

struct keys {
    struct database *database;
    pthread_t thread;
    bool has_thread;
    pthread_rwlock_t lock;  // for copy
    struct copy *copy;      // NULL: never read
    pthread_mutex_t mutex;  // one reads at a time; for what follows
    pthread_cond_t stop;
    bool is_stopping;
    uint32_t looks;  // for keys that were not known, since the last poll
    bool is_away;    // the last reading failed
};

// --- the copy ---

static void
copy_free(struct copy *copy)
{
    if (copy == NULL)
        return;
    arena_done(&copy->arena);
    pool_give(copy);
}

static int
key_compare(const void *a, const void *b)
{
    return memcmp(a, ((const struct api_key *)b)->id, API_KEY_ID_SIZE);
}

// The index, or -1.
static int64_t
key_find(const struct copy *copy, const char *id)
{
    if (copy == NULL || copy->keys.count == 0)
        return -1;
    const struct api_key *found =
        bsearch(id, copy->keys.items, copy->keys.count, sizeof(struct api_key), key_compare);
    return found != NULL ? found - copy->keys.items : -1;
}

// What was used since it was last noted. Without the database it is tried again.
static enum status
uses_note(struct copy *copy, struct sql *sql, struct error *error)
{
    for (size_t i = 0; copy != NULL && i < copy->keys.count; i++) {
        int64_t used_ns = atomic_exchange(&copy->used_ns[i], 0);
        if (used_ns == 0)
            continue;
        enum status status = api_key_touch(sql, copy->keys.items[i].id, used_ns, error);
        if (status) {
            atomic_store(&copy->used_ns[i], used_ns);
            return status;
        }
    }
    return STATUS_OK;
}

// Only the holder of the mutex changes the copy, so it may look at it without the lock.
static void
copy_replace(struct keys *keys, struct copy *copy)
{
    pthread_rwlock_wrlock(&keys->lock);
    struct copy *before = keys->copy;
    for (size_t i = 0; before != NULL && i < before->keys.count; i++) {
        int64_t now_at = key_find(copy, before->keys.items[i].id);
        if (now_at >= 0)
            atomic_store(&copy->used_ns[now_at], atomic_load(&before->used_ns[i]));
    }
    keys->copy = copy;
    pthread_rwlock_unlock(&keys->lock);
    copy_free(before);
}

static enum status
copy_read(struct keys *keys, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    enum status status = database_take(keys->database, &loan, error);
    if (status)
        return status;
    struct copy *copy = pool_take(1, sizeof *copy);
    if (copy == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the keys");
    status = uses_note(keys->copy, loan.sql, error);
    if (!status)
        status = api_keys_read(loan.sql, false, &copy->arena, &copy->keys, error);
    loan.status = status;
    if (status) {
        copy_free(copy);
        return status;
    }
    copy->used_ns = arena_take(&copy->arena, copy->keys.count + 1, sizeof *copy->used_ns);
    copy_replace(keys, copy);
    return STATUS_OK;
}

// With the mutex held.
static void
keys_read(struct keys *keys)
{
    struct error error = {0};
    enum status status = copy_read(keys, &error);
    if (status && !keys->is_away)
        log_warn("keys_unreadable", LOG_TEXT("error", error.text));
    if (!status && keys->is_away)
        log_info("keys_readable");
    keys->is_away = status != STATUS_OK;
}

static void *
keys_run(void *argument)
{
    struct keys *keys = argument;
    pthread_mutex_lock(&keys->mutex);
    while (!keys->is_stopping) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += KEYS_POLL_MS / 1000;
        if (pthread_cond_timedwait(&keys->stop, &keys->mutex, &until) != ETIMEDOUT)
            continue;
        keys_read(keys);
        keys->looks = 0;
    }
    pthread_mutex_unlock(&keys->mutex);
    return NULL;
}

// --- start and stop ---

enum status
keys_start(struct database *database, struct keys **out, struct error *error)
{
    struct keys *keys = pool_take(1, sizeof *keys);
    if (keys == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the keys");
    keys->database = database;
    pthread_rwlock_init(&keys->lock, NULL);
    pthread_mutex_init(&keys->mutex, NULL);
    pthread_cond_init(&keys->stop, NULL);
    pthread_mutex_lock(&keys->mutex);
    keys_read(keys);
    pthread_mutex_unlock(&keys->mutex);
    keys->has_thread = pthread_create(&keys->thread, NULL, keys_run, keys) == 0;
    if (!keys->has_thread) {
        keys_stop(keys);
        return error_set(error, STATUS_NO_MEMORY, "cannot start the thread that reads keys");
    }
    *out = keys;
    return STATUS_OK;
}

void
keys_stop(struct keys *keys)
{
    if (keys == NULL)
        return;
    pthread_mutex_lock(&keys->mutex);
    keys->is_stopping = true;
    pthread_cond_signal(&keys->stop);
    pthread_mutex_unlock(&keys->mutex);
    if (keys->has_thread)
        pthread_join(keys->thread, NULL);
    // The last uses.
    pthread_mutex_lock(&keys->mutex);
    keys_read(keys);
    pthread_mutex_unlock(&keys->mutex);
    copy_free(keys->copy);
    pthread_rwlock_destroy(&keys->lock);
    pthread_mutex_destroy(&keys->mutex);
    pthread_cond_destroy(&keys->stop);
    pool_give(keys);
}

// --- checks ---

static enum keys_verdict
copy_check(
    struct keys *keys, const char *id, const char *text, int64_t now_ns, struct keys_grant *out)
{
    enum keys_verdict verdict = KEYS_UNKNOWN;
    pthread_rwlock_rdlock(&keys->lock);
    struct copy *copy = keys->copy;
    int64_t index = key_find(copy, id);
    if (copy == NULL) {
        verdict = KEYS_NOT_READ;
    } else if (index >= 0 && api_key_is(&copy->keys.items[index], text)) {
        const struct api_key *key = &copy->keys.items[index];
        bool is_over = key->expires_ns != 0 && key->expires_ns <= now_ns;
        verdict = is_over ? KEYS_EXPIRED : KEYS_GOOD;
        memcpy(out->id, key->id, sizeof out->id);
        out->scopes = key->scopes;
        out->has_limit = key->limit != NULL;
        out->limit = key->rule;
        atomic_store_explicit(&copy->used_ns[index], now_ns, memory_order_relaxed);
    }
    pthread_rwlock_unlock(&keys->lock);
    return verdict;
}

enum keys_verdict
keys_peek(struct keys *keys, const char *text, int64_t now_ns, struct keys_grant *out)
{
    char id[API_KEY_ID_SIZE + 1];
    return api_key_id(text, id) ? copy_check(keys, id, text, now_ns, out) : KEYS_UNKNOWN;
}

enum keys_verdict
keys_check(struct keys *keys, const char *text, int64_t now_ns, struct keys_grant *out)
{
    char id[API_KEY_ID_SIZE + 1];
    if (!api_key_id(text, id))
        return KEYS_UNKNOWN;
    enum keys_verdict verdict = copy_check(keys, id, text, now_ns, out);
    if (verdict == KEYS_GOOD || verdict == KEYS_EXPIRED)
        return verdict;
    // It may be newer than the copy. Nobody waits here for a database that is away.
    pthread_mutex_lock(&keys->mutex);
    if (!keys->is_away && !keys->is_stopping && keys->looks < KEYS_LOOKS_MAX) {
        keys->looks++;
        keys_read(keys);
    }
    pthread_mutex_unlock(&keys->mutex);
    return copy_check(keys, id, text, now_ns, out);
}
