#pragma once
// The tally-api of a data directory: started, found again and stopped.
//
//     stack_api_up(&stack, &options, stdout, &error);
//     stack_api_down(&stack, &has_run, stdout, &error);
//
// It says where it listens in DIR/tally-api.json. After a kill -9 the file stays, and its process
// id may be somebody else's: a process is held against the file. Thread: main.

#include "tools/stack.h"

// options->api is where it is to listen. One that runs already stays as it is.
enum status stack_api_up(
    const struct stack *stack,
    const struct stack_options *options,
    FILE *out,
    struct error *error) CHECKED;
// What is known of it; texts are never NULL.
struct stack_api {
    bool is_running;
    int pid;
    const char *url;       // "http://127.0.0.1:3000"
    bool is_healthy;       // it answers
    const char *health;    // what it says of itself, one line; "" when it does not run
    const char *database;  // and of PostgreSQL
};

void stack_api_look(const struct stack *stack, struct stack_api *out);
// *out_has_run: there was one.
enum status stack_api_down(
    const struct stack *stack, bool *out_has_run, FILE *out, struct error *error) CHECKED;
