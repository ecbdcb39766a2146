#pragma once
// Connections that are open and say nothing.
//
//     idle_open(&endpoint, 10000, &idle, &error);
//     idle_close(&idle);
//
// The limit of open files is raised as far as it needs to be. Owner: the caller. Thread: one at a
// time.

#include "bench/endpoint.h"

#include <stdint.h>

struct idle {
    int *fds;
    uint32_t count;
};

// STATUS_FULL: the system's limit of open files is too low. idle_close is needed in any case.
enum status idle_open(
    const struct endpoint *endpoint, uint32_t count, struct idle *out, struct error *error) CHECKED;
void idle_close(struct idle *idle);
