#pragma once
// Everything that runs for one data directory: a private PostgreSQL, tallyd and tally-api.
//
//     stack_open(data, pg_dir, &arena, &stack, &error);
//     stack_up(&stack, &options, stdout, &error);       // starts what does not run
//     stack_down(&stack, stdout, &error);
//
// In the directory: pg/ (the cluster, or the file pg-dir says where it is), log/, database.url,
// tallyd.json and tally-api.json (they write them), stack.lock (held while we start or stop). With
// DATABASE_URL in the environment PostgreSQL is somebody else's: it is migrated, not started and
// not stopped. Texts live in the arena. Thread: main.

#include "tools/tallyd.h"

#include <stdio.h>

struct stack {
    struct arena *arena;
    const char *data;    // absolute
    const char *pg_dir;  // absolute; also with an external database
    const char *log_dir;
    const char *external_url;  // DATABASE_URL, or NULL
};

struct stack_options {
    char *const *tallyd_arguments;  // what follows --data DIR
    size_t tallyd_arguments_count;
    const char *api;     // "HOST:PORT" of tally-api; NULL: it is not started
    int64_t timeout_ns;  // for tallyd, and then tally-api, to listen
};

// data must exist. pg_dir NULL: as it was at the first start, else DATA/pg. STATUS_INVALID when it
// was another one.
enum status stack_open(
    const char *data,
    const char *pg_dir,
    struct arena *arena,
    struct stack *out,
    struct error *error) CHECKED;
// What it started itself it stops again when a later step fails.
enum status stack_up(
    const struct stack *stack,
    const struct stack_options *options,
    FILE *out,
    struct error *error) CHECKED;
enum status stack_down(const struct stack *stack, FILE *out, struct error *error) CHECKED;
// The tallyd that runs now; STATUS_NOT_FOUND when none does.
enum status
stack_tallyd(const struct stack *stack, struct tallyd *out, struct error *error) CHECKED;
// The path of a program that lies beside this one.
enum status
stack_program(const char *name, struct arena *arena, const char **out, struct error *error) CHECKED;
// Whether the private PostgreSQL is ours to run: there is a cluster and no DATABASE_URL.
bool stack_has_postgres(const struct stack *stack);
