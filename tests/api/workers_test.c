#include "api/workers.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

enum { WORKERS = 4, WAITING_MAX = 3, GIVERS = 4, ITEMS = 20000 };

// What the items do: they are counted, and those of a held desk wait until they may go on.
struct desk {
    _Atomic int64_t done;
    _Atomic int64_t sum;
    sem_t begun, held;
};

static void
item_count(void *context, void *item)
{
    struct desk *desk = context;
    atomic_fetch_add(&desk->sum, (int64_t)(uintptr_t)item);
    atomic_fetch_add(&desk->done, 1);
}

static void
item_hold(void *context, void *item)
{
    struct desk *desk = context;
    sem_post(&desk->begun);
    while (sem_wait(&desk->held) != 0) {
    }
    item_count(context, item);
}

static struct workers *
workers_made(uint32_t count, workers_do work, struct desk *desk)
{
    struct workers *workers;
    struct error error;
    cr_assert_eq(workers_start(count, WAITING_MAX, work, desk, &workers, &error), STATUS_OK);
    return workers;
}

static void
many_wait(sem_t *sem, int count)
{
    for (int i = 0; i < count; i++)
        while (sem_wait(sem) != 0) {
        }
}

Test(workers, all_work_at_a_time_and_what_is_beyond_the_bound_is_refused)
{
    struct desk desk = {0};
    sem_init(&desk.begun, 0, 0);
    sem_init(&desk.held, 0, 0);
    struct workers *workers = workers_made(WORKERS, item_hold, &desk);
    // A thread may not sleep yet when its item comes: it takes it from the queue then.
    for (uintptr_t i = 1; i <= WORKERS; i++)
        while (!workers_give(workers, (void *)i)) {
        }
    many_wait(&desk.begun, WORKERS);
    for (uintptr_t i = 0; i < WAITING_MAX; i++)
        cr_assert(workers_give(workers, (void *)(WORKERS + 1 + i)));
    cr_assert_eq(workers_waiting(workers), WAITING_MAX);
    cr_assert_not(workers_give(workers, (void *)1));
    for (int i = 0; i < WORKERS + WAITING_MAX; i++)
        sem_post(&desk.held);
    workers_stop(workers);
    cr_assert_eq(desk.done, WORKERS + WAITING_MAX);
    cr_assert_eq(desk.sum, 7 * 8 / 2, "each item once");
}

Test(workers, one_that_is_free_takes_what_comes_while_the_others_are_busy)
{
    struct desk desk = {0};
    sem_init(&desk.begun, 0, 0);
    sem_init(&desk.held, 0, 0);
    struct workers *workers = workers_made(2, item_hold, &desk);
    cr_assert(workers_give(workers, (void *)1));
    many_wait(&desk.begun, 1);
    // Ten times the same one: each begins while the first is held.
    for (uintptr_t i = 0; i < 10; i++) {
        cr_assert(workers_give(workers, (void *)1));
        many_wait(&desk.begun, 1);
        cr_assert_leq(desk.done, 9);
        int64_t before = desk.done;
        sem_post(&desk.held);
        while (atomic_load(&desk.done) == before) {
        }
    }
    sem_post(&desk.held);
    workers_stop(workers);
    cr_assert_eq(desk.done, 11);
}

struct giver {
    struct workers *workers;
    int64_t given;
};

static void *
giver_run(void *argument)
{
    struct giver *giver = argument;
    for (int i = 0; i < ITEMS; i++)
        giver->given += workers_give(giver->workers, (void *)1);
    return NULL;
}

Test(workers, what_was_given_is_done_once_however_many_give_and_stop_waits_for_it)
{
    struct desk desk = {0};
    struct giver givers[GIVERS];
    pthread_t threads[GIVERS];
    struct workers *workers = workers_made(WORKERS, item_count, &desk);
    int64_t given = 0;
    for (int i = 0; i < GIVERS; i++) {
        givers[i] = (struct giver){.workers = workers};
        cr_assert_eq(pthread_create(&threads[i], NULL, giver_run, &givers[i]), 0);
    }
    for (int i = 0; i < GIVERS; i++) {
        pthread_join(threads[i], NULL);
        given += givers[i].given;
    }
    workers_stop(workers);
    cr_assert_gt(given, 0);
    cr_assert_eq(desk.done, given);
    cr_assert_eq(desk.sum, given);
}
