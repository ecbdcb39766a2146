#include "base/ring.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>

Test(ring, fills_and_empties_in_order)
{
    struct ring ring = {0};
    cr_assert_eq(ring_init(&ring, 8), STATUS_OK);
    int items[8 * 5];
    size_t pushed = 0;
    size_t popped = 0;
    cr_assert(ring_is_empty(&ring));
    cr_assert_null(ring_pop(&ring));
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 8; i++)
            cr_assert(ring_push(&ring, &items[pushed++]));
        cr_assert_not(ring_push(&ring, &items[0]));
        cr_assert_not(ring_is_empty(&ring));
        for (int i = 0; i < 8; i++)
            cr_assert_eq(ring_pop(&ring), &items[popped++]);
        cr_assert_null(ring_pop(&ring));
        cr_assert(ring_is_empty(&ring));
    }
    ring_done(&ring);
    ring_done(&ring);
}

Test(ring, its_indexes_wrap_around)
{
    struct ring ring = {0};
    cr_assert_eq(ring_init(&ring, 2), STATUS_OK);
    // As after 2^32 - 3 items have passed.
    atomic_store(&ring.head, UINT32_MAX - 2);
    atomic_store(&ring.tail, UINT32_MAX - 2);
    int items[10];
    for (int i = 0; i < 10; i += 2) {
        cr_assert(ring_push(&ring, &items[i]));
        cr_assert(ring_push(&ring, &items[i + 1]));
        cr_assert_not(ring_push(&ring, &items[0]));
        cr_assert_eq(ring_pop(&ring), &items[i]);
        cr_assert_eq(ring_pop(&ring), &items[i + 1]);
        cr_assert_null(ring_pop(&ring));
    }
    ring_done(&ring);
}

Test(ring, wants_a_power_of_two, .signal = SIGABRT)
{
    struct ring ring = {0};
    cr_assert_eq(ring_init(&ring, 6), STATUS_OK);
}

Test(ring, wants_an_item, .signal = SIGABRT)
{
    struct ring ring = {0};
    cr_assert_eq(ring_init(&ring, 2), STATUS_OK);
    cr_assert(ring_push(&ring, NULL));
}

Test(slot, holds_one_item_until_one_side_takes_it)
{
    struct slot slot = {NULL};
    int a;
    int b;
    cr_assert_null(slot_take(&slot));
    cr_assert_null(slot_take_back(&slot));
    slot_offer(&slot, &a);
    cr_assert_eq(slot_take_back(&slot), &a);
    cr_assert_null(slot_take(&slot));
    slot_offer(&slot, &b);
    cr_assert_eq(slot_take(&slot), &b);
    cr_assert_null(slot_take_back(&slot));
}

Test(slot, never_loses_an_offer, .signal = SIGABRT)
{
    struct slot slot = {NULL};
    int a;
    slot_offer(&slot, &a);
    slot_offer(&slot, &a);
}

// Whether the eventfd holds a wake; takes it.
static bool
has_wake(struct waker *waker)
{
    uint64_t wakes = 0;
    return eventfd_read(waker->fd, &wakes) == 0;
}

Test(waker, wakes_only_who_sleeps)
{
    struct waker waker = {0};
    struct error error;
    cr_assert_eq(waker_init(&waker, &error), STATUS_OK);
    waker_wake(&waker);
    cr_assert_not(has_wake(&waker));
    waker_prepare(&waker);
    waker_wake(&waker);
    waker_wake(&waker);
    cr_assert(has_wake(&waker));
    cr_assert_not(has_wake(&waker));
    waker_prepare(&waker);
    waker_cancel(&waker);
    waker_wake(&waker);
    cr_assert_not(has_wake(&waker));
    waker_done(&waker);
    waker_done(&waker);
}

Test(waker, a_wake_before_the_wait_is_not_lost)
{
    struct waker waker = {0};
    struct error error;
    cr_assert_eq(waker_init(&waker, &error), STATUS_OK);
    waker_prepare(&waker);
    waker_wake(&waker);
    waker_wait(&waker, -1);
    cr_assert_not(has_wake(&waker));
    waker_wake(&waker);
    cr_assert_not(has_wake(&waker), "awake after the wait");
    waker_done(&waker);
}

Test(waker, waits_no_longer_than_it_is_told)
{
    struct waker waker = {0};
    struct error error;
    cr_assert_eq(waker_init(&waker, &error), STATUS_OK);
    int64_t began_ns = clock_monotonic_ns();
    waker_prepare(&waker);
    waker_wait(&waker, 20);
    int64_t took_ns = clock_monotonic_ns() - began_ns;
    cr_assert_geq(took_ns, 19 * 1000000);
    waker_drain(&waker);
    waker_done(&waker);
}

static void *
wake_soon(void *context)
{
    struct waker *waker = context;
    // Until the sleeper has said that it sleeps.
    while (atomic_load(&waker->is_asleep) == 0)
        sched_yield();
    waker_wake(waker);
    return NULL;
}

Test(waker, another_thread_ends_the_wait)
{
    struct waker waker = {0};
    struct error error;
    cr_assert_eq(waker_init(&waker, &error), STATUS_OK);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wake_soon, &waker), 0);
    waker_prepare(&waker);
    waker_wait(&waker, -1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    waker_done(&waker);
}

Test(flag, and_published_value_say_what_was_set)
{
    struct flag flag = {0};
    cr_assert_eq(flag_get(&flag), 0);
    flag_set(&flag, 3);
    cr_assert_eq(flag_get(&flag), 3);
    struct published published = {0};
    cr_assert_eq(published_get(&published), 0);
    published_set(&published, UINT64_MAX);
    cr_assert_eq(published_get(&published), UINT64_MAX);
}

struct lent {
    struct lease lease;
    struct waker waker;
};

static void *
return_when_wanted(void *context)
{
    struct lent *lent = context;
    // Until the owner sleeps for it.
    while (atomic_load(&lent->waker.is_asleep) == 0)
        sched_yield();
    lease_return(&lent->lease, &lent->waker);
    return NULL;
}

Test(lease, is_borrowed_while_it_is_lent_and_no_longer, .timeout = 60)
{
    struct lent pair = {0};
    struct error error;
    pthread_t thread;
    cr_assert_eq(waker_init(&pair.waker, &error), STATUS_OK);
    cr_assert_not(lease_borrow(&pair.lease), "it is the owner's");
    lease_lend(&pair.lease);
    for (int i = 0; i < 3; i++) {
        cr_assert(lease_borrow(&pair.lease));
        cr_assert_not(lease_borrow(&pair.lease));
        lease_return(&pair.lease, &pair.waker);
    }
    lease_reclaim(&pair.lease, &pair.waker);
    cr_assert_not(lease_borrow(&pair.lease), "it is the owner's again");
    lease_lend(&pair.lease);
    cr_assert(lease_borrow(&pair.lease));
    cr_assert_eq(pthread_create(&thread, NULL, return_when_wanted, &pair), 0);
    lease_reclaim(&pair.lease, &pair.waker);
    cr_assert_not(lease_borrow(&pair.lease), "nor between its return and its reclaim");
    cr_assert_eq(pthread_join(thread, NULL), 0);
    waker_done(&pair.waker);
}
