#pragma once
// Clients that are slow, beside the load: every other one sends a few bytes at a time, the others
// send as much as is taken from them and read few of their acks.
//
//     slow_start(&endpoint, 100, &slow, &error);
//     slow_stop(&slow, &error);
//
// Both keep the pace that tallyd asks for (1 KiB a second, --stall-timeout), so that it may not
// close them. Each sends one event of its own again and again, of a type that no meter counts:
// after the first a duplicate. Owner: the caller. Thread: one at a time; it runs one of its own.

#include "base/buffer.h"
#include "base/ring.h"
#include "bench/endpoint.h"

#include <pthread.h>
#include <stdint.h>

struct slow_client {
    int fd;
    struct buffer frame;  // a chunk of one event
    size_t sent;          // of the frame
};

struct slow {
    struct slow_client *clients;
    uint32_t count;
    bool is_running;
    pthread_t thread;
    struct flag stop;
    struct error failure;  // status OK: none lost its connection
};

// count: 0 starts nothing. slow_stop is needed in any case, once.
enum status slow_start(
    const struct endpoint *endpoint, uint32_t count, struct slow *out, struct error *error) CHECKED;
// STATUS_CLOSED: one lost its connection, though it kept the pace.
enum status slow_stop(struct slow *slow, struct error *error) CHECKED;
