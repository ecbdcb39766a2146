#include "api/workers.h"

#include "base/assert.h"
#include "base/pool.h"

#include <pthread.h>
#include <string.h>

struct workers {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    workers_do work;
    void *context;
    pthread_t *threads;
    uint32_t threads_count;
    // A ring, under the mutex.
    void **items;
    uint32_t items_max;
    uint32_t first;
    uint32_t count;
    bool is_stopping;
};

// NULL: there is nothing left and no more will come.
static void *
item_take(struct workers *workers)
{
    void *item = NULL;
    pthread_mutex_lock(&workers->mutex);
    while (workers->count == 0 && !workers->is_stopping)
        pthread_cond_wait(&workers->changed, &workers->mutex);
    if (workers->count > 0) {
        item = workers->items[workers->first];
        workers->first = (workers->first + 1) % workers->items_max;
        workers->count--;
    }
    pthread_mutex_unlock(&workers->mutex);
    return item;
}

static void *
worker_run(void *argument)
{
    struct workers *workers = argument;
    void *item;
    while ((item = item_take(workers)) != NULL)
        workers->work(workers->context, item);
    return NULL;
}

bool
workers_give(struct workers *workers, void *item)
{
    must(item != NULL);
    pthread_mutex_lock(&workers->mutex);
    bool has_room = workers->count < workers->items_max && !workers->is_stopping;
    if (has_room) {
        workers->items[(workers->first + workers->count) % workers->items_max] = item;
        workers->count++;
    }
    pthread_mutex_unlock(&workers->mutex);
    // Without the mutex, which the one that wakes takes first.
    if (has_room)
        pthread_cond_signal(&workers->changed);
    return has_room;
}

uint32_t
workers_waiting(struct workers *workers)
{
    pthread_mutex_lock(&workers->mutex);
    uint32_t count = workers->count;
    pthread_mutex_unlock(&workers->mutex);
    return count;
}

void
workers_stop(struct workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->mutex);
    workers->is_stopping = true;
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->mutex);
    for (uint32_t i = 0; i < workers->threads_count; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_mutex_destroy(&workers->mutex);
    pthread_cond_destroy(&workers->changed);
    pool_give(workers->threads);
    pool_give(workers->items);
    pool_give(workers);
}

enum status
workers_start(
    uint32_t count,
    uint32_t waiting_max,
    workers_do work,
    void *context,
    struct workers **out,
    struct error *error)
{
    must(count > 0 && waiting_max > 0 && work != NULL);
    struct workers *workers = pool_take(1, sizeof *workers);
    if (workers == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the workers");
    *workers = (struct workers){.work = work, .context = context, .items_max = waiting_max};
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->changed, NULL);
    workers->threads = pool_take(count, sizeof *workers->threads);
    workers->items = pool_take(waiting_max, sizeof *workers->items);
    int rc = workers->threads == NULL || workers->items == NULL ? -1 : 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = pthread_create(&workers->threads[i], NULL, worker_run, workers);
        workers->threads_count += rc == 0;
    }
    if (rc != 0) {
        workers_stop(workers);
        return error_set(error, STATUS_NO_MEMORY, "cannot start %u workers", count);
    }
    *out = workers;
    return STATUS_OK;
}
