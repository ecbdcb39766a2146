#pragma once
// Memory that belongs to one object for as long as the object lives: rings, servers, tables made at
// start.
//
//     ring->items = pool_take(capacity, sizeof *ring->items);
//     if (ring->items == NULL)
//         return STATUS_NO_MEMORY;
//     ...
//     pool_give(ring->items);
//
// Taken when an object is opened, given back when it is closed, never in between: short-lived
// results belong in an arena, growing bytes in a buffer. Owner: the object. Thread: any.

#include <stddef.h>

enum { POOL_ALIGNMENT = 64 };  // a cache line, enough for every type we have

// Zeroed memory of count * size bytes, or NULL when the product overflows or the system refuses.
void *pool_take(size_t count, size_t size) __attribute__((warn_unused_result));
// NULL is accepted.
void pool_give(void *memory);
