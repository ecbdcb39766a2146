#include "base/ring.h"

#include "base/assert.h"
#include "base/pool.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

// gcc refuses fences under ThreadSanitizer, which ignores the order they give. Here no data is
// handed over by a fence: work travels by release and acquire, the fence only orders a flag against
// it.
#if defined(__GNUC__) && !defined(__clang__) && defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

enum { RING_CAPACITY_MAX = 1 << 20 };

enum status
ring_init(struct ring *ring, uint32_t capacity)
{
    must(capacity >= 2 && capacity <= RING_CAPACITY_MAX);
    must((capacity & (capacity - 1)) == 0);
    void **items = pool_take(capacity, sizeof *items);
    if (items == NULL)
        return STATUS_NO_MEMORY;
    ring->items = items;
    ring->mask = capacity - 1;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    return STATUS_OK;
}

void
ring_done(struct ring *ring)
{
    pool_give(ring->items);
    ring->items = NULL;
    ring->mask = 0;
    atomic_store_explicit(&ring->head, 0, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, 0, memory_order_relaxed);
}

// head and tail run freely and wrap at 2^32; their difference is the number of items.
bool
ring_push(struct ring *ring, void *item)
{
    must(item != NULL && ring->items != NULL);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    // Acquire, partner ring_pop: the consumer has read the cell before we write it again.
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (tail - head > ring->mask)
        return false;
    ring->items[tail & ring->mask] = item;
    // Release, partner ring_pop: the item, and what it points to, before the index.
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

void *
ring_pop(struct ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    // Acquire, partner ring_push: what the item points to is seen.
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head == tail)
        return NULL;
    void *item = ring->items[head & ring->mask];
    // Release, partner ring_push: we have read the cell.
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return item;
}

bool
ring_is_empty(const struct ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_relaxed) ==
           atomic_load_explicit(&ring->tail, memory_order_acquire);
}

void
slot_offer(struct slot *slot, void *item)
{
    must(item != NULL);
    // Release, partner slot_take. An exchange rather than a store, to see that nothing was lost;
    // acquire, so that the item the consumer gave up is not still in use.
    void *earlier = atomic_exchange_explicit(&slot->item, item, memory_order_acq_rel);
    must(earlier == NULL);
}

// Both ends take by one exchange, so exactly one of them gets the item.
void *
slot_take_back(struct slot *slot)
{
    return atomic_exchange_explicit(&slot->item, NULL, memory_order_acq_rel);
}

bool
slot_is_offered(const struct slot *slot)
{
    // Nothing of the item is read.
    return atomic_load_explicit(&slot->item, memory_order_relaxed) != NULL;
}

void *
slot_take(struct slot *slot)
{
    // A look first: polling an empty slot must not pull its cache line from the producer.
    if (atomic_load_explicit(&slot->item, memory_order_relaxed) == NULL)
        return NULL;
    // Acquire, partner slot_offer.
    return atomic_exchange_explicit(&slot->item, NULL, memory_order_acq_rel);
}

enum status
waker_init(struct waker *waker, struct error *error)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot make an eventfd");
    waker->fd = fd;
    atomic_init(&waker->is_asleep, 0);
    return STATUS_OK;
}

// A zeroed waker has fd 0, which is no eventfd of ours: those come after standard input.
void
waker_done(struct waker *waker)
{
    if (waker->fd > 0)
        (void)close(waker->fd);
    waker->fd = 0;
    atomic_store_explicit(&waker->is_asleep, 0, memory_order_relaxed);
}

void
waker_wake(struct waker *waker)
{
    // Full fence, partner waker_prepare: either we see the flag, or the sleeper sees our work.
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&waker->is_asleep, memory_order_relaxed) == 0)
        return;
    // Whoever clears the flag writes; other wakers of the same sleep need not.
    if (atomic_exchange_explicit(&waker->is_asleep, 0, memory_order_acq_rel) == 0)
        return;
    uint64_t one = 1;
    ssize_t count;
    do
        count = write(waker->fd, &one, sizeof one);
    while (count < 0 && errno == EINTR);
    // EAGAIN: the counter is at its maximum, hence readable, hence the sleeper wakes.
    must(count == (ssize_t)sizeof one || errno == EAGAIN);
}

void
waker_prepare(struct waker *waker)
{
    atomic_store_explicit(&waker->is_asleep, 1, memory_order_relaxed);
    // Full fence, partner waker_wake: see there.
    atomic_thread_fence(memory_order_seq_cst);
}

void
waker_cancel(struct waker *waker)
{
    atomic_store_explicit(&waker->is_asleep, 0, memory_order_relaxed);
}

void
waker_wait(struct waker *waker, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = waker->fd, .events = POLLIN};
    // A signal ends the wait early; the caller looks for work and comes back.
    int count = poll(&poll_fd, 1, timeout_ms);
    must(count >= 0 || errno == EINTR);
    waker_drain(waker);
    waker_cancel(waker);
}

void
waker_drain(struct waker *waker)
{
    uint64_t wakes;
    ssize_t count;
    do
        count = read(waker->fd, &wakes, sizeof wakes);
    while (count < 0 && errno == EINTR);
    must(count == (ssize_t)sizeof wakes || errno == EAGAIN);
}

enum lease_state { LEASE_KEPT, LEASE_LENT, LEASE_BORROWED, LEASE_WANTED };

void
lease_lend(struct lease *lease)
{
    must(atomic_load_explicit(&lease->state, memory_order_relaxed) == LEASE_KEPT);
    // Release, partner lease_borrow: what the owner did to it is seen.
    atomic_store_explicit(&lease->state, LEASE_LENT, memory_order_release);
    // Full fence, partner lease_borrow: either the borrower sees that it is lent, or what the
    // borrower offered before is there for the owner.
    atomic_thread_fence(memory_order_seq_cst);
}

// Acquire, partner lease_return: the borrower has looked for the last time.
static bool
lease_move(struct lease *lease, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(
        &lease->state, &from, to, memory_order_acq_rel, memory_order_acquire);
}

void
lease_reclaim(struct lease *lease, struct waker *waker)
{
    while (!lease_move(lease, LEASE_LENT, LEASE_KEPT)) {
        // It may have been returned meanwhile.
        if (!lease_move(lease, LEASE_BORROWED, LEASE_WANTED))
            continue;
        // Who finds that it is wanted keeps it for the owner.
        for (;;) {
            waker_prepare(waker);
            if (atomic_load_explicit(&lease->state, memory_order_acquire) == LEASE_KEPT)
                break;
            waker_wait(waker, -1);
        }
        waker_cancel(waker);
        return;
    }
}

bool
lease_borrow(struct lease *lease)
{
    // Full fence, partner lease_lend.
    atomic_thread_fence(memory_order_seq_cst);
    return lease_move(lease, LEASE_LENT, LEASE_BORROWED);
}

void
lease_return(struct lease *lease, struct waker *waker)
{
    if (lease_move(lease, LEASE_BORROWED, LEASE_LENT))
        return;
    // Release, partner lease_reclaim.
    uint32_t earlier = atomic_exchange_explicit(&lease->state, LEASE_KEPT, memory_order_acq_rel);
    must(earlier == LEASE_WANTED);
    waker_wake(waker);
}

void
flag_set(struct flag *flag, uint32_t value)
{
    // Release, partner flag_get: what was done before the flag is seen after it.
    atomic_store_explicit(&flag->value, value, memory_order_release);
}

uint32_t
flag_get(const struct flag *flag)
{
    return atomic_load_explicit(&flag->value, memory_order_acquire);
}

void
published_set(struct published *published, uint64_t value)
{
    // Release, partner published_get.
    atomic_store_explicit(&published->value, value, memory_order_release);
}

uint64_t
published_get(const struct published *published)
{
    return atomic_load_explicit(&published->value, memory_order_acquire);
}
