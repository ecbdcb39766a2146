#pragma once
// Large memory straight from the kernel: zeroed, and not touched before it is used.
//
//     bytes = pages_take(size);     // NULL: the system refuses
//     table = pages_take_scattered(size);    // the same, for memory that is used at random
//     pages_give(bytes, size);
//
// Why not base/pool: a group's 8 MiB or a hash table of gigabytes costs nothing until it is written
// to, and goes back to the system at once. Owner: the object that took it. Thread: any.

#include <stddef.h>

void *pages_take(size_t size) __attribute__((warn_unused_result));
// In large pages when the system has them: a lookup then misses one cache and not two (the other is
// that of the page tables), and first touches are few. What is touched at all is touched by 2 MiB.
void *pages_take_scattered(size_t size) __attribute__((warn_unused_result));
// Has the kernel find memory for all of them now, so that nobody waits when they are written first.
// Beside any other use of them. Advice: a kernel that cannot does nothing.
void pages_touch(void *pages, size_t size);
// NULL is accepted.
void pages_give(void *pages, size_t size);
