#pragma once
// Another's program, started for one measurement and gone after it.
//
//     if (program_find("redis-server", path) != STATUS_OK) say what to install;
//     program_start(&program, argv, dir, user, &error);      // its output goes to DIR/log
//     if (program_has_ended(&program)) ...
//     program_stop(&program, SIGTERM, &cpu_ns, &error);
//     program_done(&program);                                // kills what still runs
//
// It gets a signal when we die, so that none is left behind. Owner: the caller. Thread: main.

#include "base/buffer.h"
#include "base/status.h"

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

struct program {
    pid_t pid;  // 0: none
    char log[PATH_MAX];
};

// In PATH or /usr/sbin. STATUS_NOT_FOUND: it is not installed.
enum status program_find(const char *name, char out[PATH_MAX], struct error *error) CHECKED;
// Beside our own program. STATUS_NOT_FOUND: there is none that can be run.
enum status program_beside(const char *name, char out[PATH_MAX], struct error *error) CHECKED;
// user: whom to become, when we are root and it must not be; NULL: we stay.
enum status program_start(
    struct program *program,
    char *const *argv,
    const char *dir,
    const char *user,
    struct error *error) CHECKED;
// Runs it to its end; it must end with 0.
enum status
program_run(char *const *argv, const char *dir, const char *user, struct error *error) CHECKED;
// Runs it to its end, with our standard error, and keeps what it prints.
enum status program_output(
    char *const *argv, struct buffer *out, int *out_exit_status, struct error *error) CHECKED;
bool program_has_ended(struct program *program);
// Signals it and waits. out_cpu_ns: of it and all its children, from start to end.
enum status
program_stop(struct program *program, int signal, int64_t *out_cpu_ns, struct error *error) CHECKED;
void program_done(struct program *program);
