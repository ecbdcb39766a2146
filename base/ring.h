#pragma once
// Where two threads meet: a single-producer single-consumer ring, a slot with take-back, a lease,
// and a waker.
//
// struct ring: pointers in order, fixed capacity (a power of two).
//     producer: ring_push(&ring, item)  -> false when full (stop reading your input)
//     consumer: ring_pop(&ring)         -> NULL when empty
//
// struct slot: holds at most one pointer. The producer offers its open work and may take it back to
// add more, if the consumer has not taken it. This is how group commit times itself: the writer
// takes what is there the moment it is free, and the front goes on filling while it is not.
//     producer: slot_offer(&slot, item) (the slot must be empty), item = slot_take_back(&slot)
//     consumer: item = slot_take(&slot), slot_is_offered(&slot)
//
// struct lease: what one thread owns, lent to one other thread while the owner only looks at it (it
// waits for a disk, or sleeps). Neither waits to lend or to borrow; the owner waits for its own
// back as long as the borrower still looks.
//     owner:    lease_lend(&lease); ... lease_reclaim(&lease, &waker)
//     borrower: if (lease_borrow(&lease)) { ... lease_return(&lease, &waker) }
//
// struct waker: an eventfd with a sleeping flag, so that a wake costs a system call only when the
// other side sleeps or wants events. The sleeper: waker_prepare; look once more for work;
// waker_wait or waker_cancel.
//
// Memory order: an index or pointer is published with release and read with acquire by its partner;
// the waker's flag and the work are ordered by a full fence on both sides (store work, fence, read
// flag || store flag, fence, read work). Each function names its thread.

#include "base/status.h"

#include <stdatomic.h>
#include <stdint.h>

enum { RING_CACHE_LINE = 64 };

// The padding keeps the two ends on cache lines of their own.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct ring {
    void **items;
    uint32_t mask;
    _Alignas(RING_CACHE_LINE) _Atomic uint32_t head;  // written by the consumer
    _Alignas(RING_CACHE_LINE) _Atomic uint32_t tail;  // written by the producer
};

// capacity: a power of two, 2 to 2^20. Allocates; ring_done frees.
enum status ring_init(struct ring *ring, uint32_t capacity) CHECKED;
void ring_done(struct ring *ring);
bool ring_push(struct ring *ring, void *item) CHECKED;  // producer; item not NULL
void *ring_pop(struct ring *ring);                      // consumer; NULL when empty
bool ring_is_empty(const struct ring *ring);            // either; exact only for the consumer

// Zeroed is empty. On the stack write {NULL}: clang 14 takes no 0 for an atomic pointer.
struct slot {
    _Alignas(RING_CACHE_LINE) _Atomic(void *) item;
};

void slot_offer(struct slot *slot, void *item);  // producer; asserts that the slot was empty
void *slot_take_back(struct slot *slot);         // producer; NULL: the consumer has it
void *slot_take(struct slot *slot);              // consumer; NULL: nothing offered
bool slot_is_offered(const struct slot *slot);   // consumer; the producer may take it back

struct waker {
    int fd;  // eventfd, non-blocking; a loop may poll it
    _Atomic uint32_t is_asleep;
};

enum status waker_init(struct waker *waker, struct error *error) CHECKED;
void waker_done(struct waker *waker);
void waker_wake(struct waker *waker);     // the other side, after it stored work
void waker_prepare(struct waker *waker);  // the sleeper: wakes from now on are seen
void waker_cancel(struct waker *waker);   // the sleeper found work
// Sleeps until woken or until timeout_ms passed (-1: for ever); then drains the eventfd and
// cancels.
void waker_wait(struct waker *waker, int timeout_ms);
// Drains the eventfd after a loop reported it readable.
void waker_drain(struct waker *waker);

// KEPT -> LENT <-> BORROWED -> WANTED -> KEPT, and LENT -> KEPT. Zeroed is kept.
struct lease {
    _Alignas(RING_CACHE_LINE) _Atomic uint32_t state;
};

// Owner. What it stored in a slot before that, or looks for in one after that, is ordered with
// lease_borrow: of an offer and a borrowing by one side and a lending and a look by the other, one
// side sees the other's.
void lease_lend(struct lease *lease);
// Owner: what was lent is its own again. waker: of the owner, for nothing else.
void lease_reclaim(struct lease *lease, struct waker *waker);
bool lease_borrow(struct lease *lease) CHECKED;  // borrower; false: the owner has it
// Borrower: it looks no more. waker: as lease_reclaim.
void lease_return(struct lease *lease, struct waker *waker);

// A flag that one thread sets and others read (stop, health).
struct flag {
    _Atomic uint32_t value;
};
void flag_set(struct flag *flag, uint32_t value);
uint32_t flag_get(const struct flag *flag);

// A 64-bit value one thread publishes and others read (a log position).
struct published {
    _Alignas(RING_CACHE_LINE) _Atomic uint64_t value;
};
void published_set(struct published *published, uint64_t value);
uint64_t published_get(const struct published *published);
