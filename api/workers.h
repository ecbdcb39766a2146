#pragma once
// Threads that work off a queue of bounded length.
//
//     workers_start(4, 1024, do_it, context, &workers, &error);
//     if (!workers_give(workers, item)) refuse(item);      // the queue is full
//     workers_stop(workers);                               // does what was given, then ends
//
// Owner: who started it. Thread: workers_give from any.

#include "base/status.h"

#include <stdint.h>

struct workers;

typedef void (*workers_do)(void *context, void *item);

enum status workers_start(
    uint32_t count,
    uint32_t waiting_max,
    workers_do work,
    void *context,
    struct workers **out,
    struct error *error) CHECKED;
bool workers_give(struct workers *workers, void *item) CHECKED;
uint32_t workers_waiting(struct workers *workers);
// NULL is accepted.
void workers_stop(struct workers *workers);
