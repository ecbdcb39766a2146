#include "api/workers.h"

#include "base/assert.h"
#include "base/pool.h"

#include <pthread.h>
#include <string.h>

// One thread. Under the mutex of the workers, but for the thread.
struct worker {
    struct workers *workers;
    pthread_t thread;
    pthread_cond_t woken;
    void *item;            // given to it while it slept
    struct worker *below;  // of those that sleep
};

// Who went to sleep last is woken first: its stack, its arena and the reader and connection that it
// gave back last are still in the caches, and a hundred others need not be touched.
struct workers {
    pthread_mutex_t mutex;
    workers_do work;
    void *context;
    struct worker *all;
    uint32_t all_count;
    struct worker *asleep;  // a stack; nobody sleeps while an item waits
    // A ring, under the mutex.
    void **items;
    uint32_t items_max;
    uint32_t first;
    uint32_t count;
    bool is_stopping;
};

// With the mutex. NULL: none waits.
static void *
waiting_take(struct workers *workers)
{
    if (workers->count == 0)
        return NULL;
    void *item = workers->items[workers->first];
    workers->first = (workers->first + 1) % workers->items_max;
    workers->count--;
    return item;
}

// With the mutex: until there is an item for it, or no more will come.
static void
worker_sleep(struct worker *self)
{
    struct workers *workers = self->workers;
    self->below = workers->asleep;
    workers->asleep = self;
    while (self->item == NULL && !workers->is_stopping)
        pthread_cond_wait(&self->woken, &workers->mutex);
}

// NULL: there is nothing left and no more will come.
static void *
item_take(struct worker *self)
{
    struct workers *workers = self->workers;
    pthread_mutex_lock(&workers->mutex);
    void *item = waiting_take(workers);
    if (item == NULL && !workers->is_stopping) {
        worker_sleep(self);
        item = self->item;
        self->item = NULL;
    }
    pthread_mutex_unlock(&workers->mutex);
    return item;
}

static void *
worker_run(void *argument)
{
    struct worker *self = argument;
    void *item;
    while ((item = item_take(self)) != NULL)
        self->workers->work(self->workers->context, item);
    return NULL;
}

// With the mutex. NULL: nobody sleeps.
static struct worker *
sleeper_take(struct workers *workers, void *item)
{
    struct worker *worker = workers->asleep;
    if (worker != NULL) {
        workers->asleep = worker->below;
        worker->item = item;
    }
    return worker;
}

bool
workers_give(struct workers *workers, void *item)
{
    must(item != NULL);
    pthread_mutex_lock(&workers->mutex);
    struct worker *worker = workers->is_stopping ? NULL : sleeper_take(workers, item);
    bool has_room = workers->count < workers->items_max && !workers->is_stopping;
    if (worker == NULL && has_room) {
        workers->items[(workers->first + workers->count) % workers->items_max] = item;
        workers->count++;
    }
    pthread_mutex_unlock(&workers->mutex);
    // Without the mutex, which the one that wakes takes first.
    if (worker != NULL)
        pthread_cond_signal(&worker->woken);
    return worker != NULL || has_room;
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
    for (uint32_t i = 0; i < workers->all_count; i++)
        pthread_cond_signal(&workers->all[i].woken);
    pthread_mutex_unlock(&workers->mutex);
    for (uint32_t i = 0; i < workers->all_count; i++) {
        pthread_join(workers->all[i].thread, NULL);
        pthread_cond_destroy(&workers->all[i].woken);
    }
    pthread_mutex_destroy(&workers->mutex);
    pool_give(workers->all);
    pool_give(workers->items);
    pool_give(workers);
}

static bool
worker_start(struct workers *workers)
{
    struct worker *worker = &workers->all[workers->all_count];
    worker->workers = workers;
    pthread_cond_init(&worker->woken, NULL);
    if (pthread_create(&worker->thread, NULL, worker_run, worker) != 0) {
        pthread_cond_destroy(&worker->woken);
        return false;
    }
    workers->all_count++;
    return true;
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
    workers->all = pool_take(count, sizeof *workers->all);
    workers->items = pool_take(waiting_max, sizeof *workers->items);
    bool is_good = workers->all != NULL && workers->items != NULL;
    while (is_good && workers->all_count < count)
        is_good = worker_start(workers);
    if (!is_good) {
        workers_stop(workers);
        return error_set(error, STATUS_NO_MEMORY, "cannot start %u workers", count);
    }
    *out = workers;
    return STATUS_OK;
}
