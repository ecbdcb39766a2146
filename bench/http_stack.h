#pragma once
// A private stack for measurements over HTTP: what `tally up` starts in a directory of its own
// (PostgreSQL unless DATABASE_URL names one, tallyd, tally-api), a key, and meters.
//
//     http_stack_start(&stack, &options, &error)
//     http_stack_sample(&stack, &sample, &error)      // CPU so far
//     http_stack_stop(&stack, &error)
//     http_stack_done(&stack)                         // stops what still runs, removes it all
//
// `tally` is the program of that name beside our own. Owner: the caller. Thread: main.

#include "base/arena.h"
#include "base/json.h"
#include "bench/endpoint.h"

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

struct http_stack_options {
    const char *parent_dir;  // where the directory is made
    uint32_t shards;
};

struct http_stack {
    char dir[PATH_MAX];  // empty: none
    char data[PATH_MAX];
    struct arena arena;
    const char *http, *tcp;  // HOST:PORT
    const char *key;
    pid_t api_pid, tallyd_pid;
    bool is_up;
};

struct http_stack_sample {
    int64_t api_cpu_ns, tallyd_cpu_ns;  // of all their threads, user and system
};

enum status http_stack_start(
    struct http_stack *stack,
    const struct http_stack_options *options,
    struct error *error) CHECKED;
enum status http_stack_sample(
    const struct http_stack *stack, struct http_stack_sample *out, struct error *error) CHECKED;
enum status http_stack_stop(struct http_stack *stack, struct error *error) CHECKED;
void http_stack_done(struct http_stack *stack);
