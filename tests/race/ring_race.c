// Two threads at a ring, a slot, a lease and a waker, for ThreadSanitizer: every item arrives once,
// in order and with what was written to it before it was handed over, and no wake is lost.

#include "base/ring.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/metric.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    RING_ITEMS = 200000,
    RING_CAPACITY = 64,
    RING_ITEMS_IN_USE = 2 * RING_CAPACITY,
    SLOT_ITEMS = 100000,
    PONG_ROUNDS = 50000,
    PUBLISHED_STEPS = 100000,
    LEASE_ROUNDS = 100000,
    // A wait that ends by its deadline is a lost wake, and ends the program.
    WAIT_MS = 20000,
};

struct item {
    uint64_t number;  // written before the item is handed over, without any atomic
};

// The consumer sleeps when the ring is empty, the producer when it is full.
struct ring_pair {
    struct ring ring;
    struct waker consumer;
    struct waker producer;
    struct item items[RING_ITEMS_IN_USE];
};

static void
must_wait(struct waker *waker)
{
    int64_t began_ns = clock_monotonic_ns();
    waker_wait(waker, WAIT_MS);
    must(clock_monotonic_ns() - began_ns < (int64_t)WAIT_MS * 1000000);
}

static void
push_or_sleep(struct ring_pair *pair, void *item)
{
    while (!ring_push(&pair->ring, item)) {
        waker_prepare(&pair->producer);
        if (ring_push(&pair->ring, item)) {
            waker_cancel(&pair->producer);
            return;
        }
        must_wait(&pair->producer);
    }
}

static void *
pop_or_sleep(struct ring_pair *pair)
{
    void *item;
    while ((item = ring_pop(&pair->ring)) == NULL) {
        waker_prepare(&pair->consumer);
        item = ring_pop(&pair->ring);
        if (item != NULL) {
            waker_cancel(&pair->consumer);
            return item;
        }
        must_wait(&pair->consumer);
    }
    return item;
}

static void *
ring_produce(void *context)
{
    struct ring_pair *pair = context;
    for (uint64_t i = 0; i < RING_ITEMS; i++) {
        // Twice as many items as the ring holds: this one was popped long ago.
        struct item *item = &pair->items[i % RING_ITEMS_IN_USE];
        item->number = i;
        push_or_sleep(pair, item);
        waker_wake(&pair->consumer);
    }
    return NULL;
}

static void
ring_consume(struct ring_pair *pair)
{
    for (uint64_t i = 0; i < RING_ITEMS; i++) {
        const struct item *item = pop_or_sleep(pair);
        must(item->number == i);
        waker_wake(&pair->producer);
    }
    must(ring_pop(&pair->ring) == NULL && ring_is_empty(&pair->ring));
}

static void
ring_race(struct arena *arena)
{
    struct ring_pair *pair = arena_new(arena, struct ring_pair);
    struct error error;
    pthread_t producer;
    must(ring_init(&pair->ring, RING_CAPACITY) == STATUS_OK);
    must(waker_init(&pair->consumer, &error) == STATUS_OK);
    must(waker_init(&pair->producer, &error) == STATUS_OK);
    must(pthread_create(&producer, NULL, ring_produce, pair) == 0);
    ring_consume(pair);
    must(pthread_join(producer, NULL) == 0);
    ring_done(&pair->ring);
    waker_done(&pair->consumer);
    waker_done(&pair->producer);
}

// One item goes to and fro, and each side sleeps until it has it: with a fence missing in the
// waker, one of these many chances to lose a wake is taken sooner or later.
struct pong_end {
    struct ring in;
    struct waker waker;
};

struct pong_pair {
    struct pong_end ping;
    struct pong_end pong;
};

static void
pong_end_open(struct pong_end *end)
{
    struct error error;
    must(ring_init(&end->in, 2) == STATUS_OK);
    must(waker_init(&end->waker, &error) == STATUS_OK);
}

static void
pong_end_close(struct pong_end *end)
{
    ring_done(&end->in);
    waker_done(&end->waker);
}

static void
pong_send(struct pong_end *to, uint64_t *item)
{
    must(ring_push(&to->in, item));
    waker_wake(&to->waker);
}

static uint64_t *
pong_receive(struct pong_end *end)
{
    for (;;) {
        waker_prepare(&end->waker);
        uint64_t *item = ring_pop(&end->in);
        if (item != NULL) {
            waker_cancel(&end->waker);
            return item;
        }
        must_wait(&end->waker);
    }
}

static void *
pong_answer(void *context)
{
    struct pong_pair *pair = context;
    for (uint64_t i = 0; i < PONG_ROUNDS; i++) {
        uint64_t *item = pong_receive(&pair->pong);
        *item += 1;
        pong_send(&pair->ping, item);
    }
    return NULL;
}

static void
pong_race(struct arena *arena)
{
    struct pong_pair *pair = arena_new(arena, struct pong_pair);
    pong_end_open(&pair->ping);
    pong_end_open(&pair->pong);
    pthread_t answerer;
    must(pthread_create(&answerer, NULL, pong_answer, pair) == 0);
    uint64_t count = 0;
    for (uint64_t i = 0; i < PONG_ROUNDS; i++) {
        pong_send(&pair->pong, &count);
        must(pong_receive(&pair->ping) == &count);
        must(count == i + 1);
    }
    must(pthread_join(answerer, NULL) == 0);
    pong_end_close(&pair->ping);
    pong_end_close(&pair->pong);
}

// A group of work: the producer offers it, and takes it back to add more as long as nobody has it.
struct group {
    uint64_t first;
    uint64_t count;
};

struct slot_pair {
    struct slot slot;
    struct waker consumer;
    struct flag is_over;
    struct group groups[SLOT_ITEMS];
};

static void *
slot_produce(void *context)
{
    struct slot_pair *pair = context;
    size_t used = 0;
    for (uint64_t i = 0; i < SLOT_ITEMS; i++) {
        struct group *group = slot_take_back(&pair->slot);
        if (group == NULL) {
            group = &pair->groups[used++];
            group->first = i;
        }
        group->count++;
        slot_offer(&pair->slot, group);
        waker_wake(&pair->consumer);
        if (i % 64 == 0)
            sched_yield();
    }
    flag_set(&pair->is_over, 1);
    waker_wake(&pair->consumer);
    return NULL;
}

static const struct group *
take_or_sleep(struct slot_pair *pair)
{
    for (;;) {
        const struct group *group = slot_take(&pair->slot);
        if (group != NULL)
            return group;
        waker_prepare(&pair->consumer);
        // The flag first: after it nothing is offered, so an empty slot is the end.
        uint32_t is_over = flag_get(&pair->is_over);
        group = slot_take(&pair->slot);
        if (group != NULL || is_over) {
            waker_cancel(&pair->consumer);
            return group;
        }
        must_wait(&pair->consumer);
    }
}

static uint64_t
slot_race(struct arena *arena)
{
    struct slot_pair *pair = arena_new(arena, struct slot_pair);
    struct error error;
    pthread_t producer;
    must(waker_init(&pair->consumer, &error) == STATUS_OK);
    must(pthread_create(&producer, NULL, slot_produce, pair) == 0);
    uint64_t seen = 0;
    uint64_t groups = 0;
    for (const struct group *group; (group = take_or_sleep(pair)) != NULL; groups++) {
        must(group->first == seen && group->count > 0);
        seen += group->count;
    }
    must(seen == SLOT_ITEMS);
    must(pthread_join(producer, NULL) == 0);
    waker_done(&pair->consumer);
    return groups;
}

// What is written before a value is published is seen by who reads the value; metrics lose nothing.
struct position {
    struct published position;
    uint64_t log[PUBLISHED_STEPS + 1];
    struct metric steps;
};

static void *
position_advance(void *context)
{
    struct position *position = context;
    for (uint64_t i = 1; i <= PUBLISHED_STEPS; i++) {
        position->log[i] = i * 3;
        published_set(&position->position, i);
        metric_add(&position->steps, 1);
    }
    return NULL;
}

static void
published_race(struct arena *arena)
{
    struct position *position = arena_new(arena, struct position);
    pthread_t writer;
    must(pthread_create(&writer, NULL, position_advance, position) == 0);
    uint64_t seen = 0;
    while (seen < PUBLISHED_STEPS) {
        uint64_t now = published_get(&position->position);
        must(now >= seen);
        must(position->log[now] == now * 3);
        if (now == seen)
            sched_yield();
        for (; seen < now; seen++)
            metric_add(&position->steps, 1);
    }
    must(pthread_join(writer, NULL) == 0);
    must(metric_get(&position->steps) == (int64_t)2 * PUBLISHED_STEPS);
}

// Both numbers are changed by the owner alone, while nobody looks.
struct lease_pair {
    struct lease lease;
    struct waker returned;
    struct flag is_over;
    uint64_t left, right;
    uint64_t borrowed;  // the borrower's
};

static void *
lease_look(void *context)
{
    struct lease_pair *pair = context;
    uint64_t last = 0;
    while (!flag_get(&pair->is_over)) {
        if (!lease_borrow(&pair->lease)) {
            sched_yield();
            continue;
        }
        must(pair->left == pair->right && pair->left >= last);
        last = pair->left;
        pair->borrowed++;
        lease_return(&pair->lease, &pair->returned);
    }
    return NULL;
}

static uint64_t
lease_race(struct arena *arena)
{
    struct lease_pair *pair = arena_new(arena, struct lease_pair);
    struct error error;
    pthread_t borrower;
    must(waker_init(&pair->returned, &error) == STATUS_OK);
    must(pthread_create(&borrower, NULL, lease_look, pair) == 0);
    for (uint64_t i = 0; i < LEASE_ROUNDS; i++) {
        pair->left++;
        pair->right++;
        lease_lend(&pair->lease);
        if (i % 64 == 0)
            sched_yield();
        lease_reclaim(&pair->lease, &pair->returned);
    }
    flag_set(&pair->is_over, 1);
    must(pthread_join(borrower, NULL) == 0);
    must(pair->left == LEASE_ROUNDS && pair->right == LEASE_ROUNDS);
    waker_done(&pair->returned);
    return pair->borrowed;
}

int
main(void)
{
    scoped(arena_done) struct arena arena = {0};
    ring_race(&arena);
    pong_race(&arena);
    uint64_t groups = slot_race(&arena);
    published_race(&arena);
    uint64_t borrowed = lease_race(&arena);
    (void)printf(
        "%d items by a ring, %d in %llu groups by a slot, borrowed %llu times\n",
        RING_ITEMS,
        SLOT_ITEMS,
        (unsigned long long)groups,
        (unsigned long long)borrowed);
    return EXIT_SUCCESS;
}
