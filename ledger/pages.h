#pragma once
// Large memory straight from the kernel: zeroed, and not touched before it is used.
//
//     bytes = pages_take(size);     // NULL: the system refuses
//     pages_give(bytes, size);
//
// Why not base/pool: a group's 8 MiB or a hash table of gigabytes costs nothing until it is written
// to, and goes back to the system at once. Owner: the object that took it. Thread: any.

#include <stddef.h>

void *pages_take(size_t size) __attribute__((warn_unused_result));
// NULL is accepted.
void pages_give(void *pages, size_t size);
