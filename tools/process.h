#pragma once
// Programs that run on their own after we are gone: starting, recognising and stopping them.
//
//     struct process_spec spec = {.argv = argv, .log_path = "log/tallyd.log", .user = NULL};
//     process_start(&spec, &pid, &error);                       // in a session of its own
//     if (process_is(pid, "tallyd")) process_stop(pid, "tallyd", SIGTERM, 30 * SECOND_NS, &error);
//
// A process id in a file may belong to somebody else by now, so nothing is signalled before the
// program behind it was looked at, and the signal goes through a pidfd that was opened before the
// look. Thread: main.

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>
#include <sys/types.h>

struct process_user {
    const char *name;
    uid_t uid;
    gid_t gid;
};

struct process_spec {
    char *const *argv;                // argv[0] is the path of the program
    const char *log_path;             // standard output and error are appended here
    const char *folder;               // to run in; NULL: /
    const struct process_user *user;  // to become; NULL: stay who we are
};

// STATUS_NOT_FOUND: there is no such user.
enum status
process_user_find(const char *name, struct process_user *out, struct error *error) CHECKED;
// Whether that user can go into the folder, access lists and all: a child tries.
bool process_user_can_enter(const struct process_user *user, const char *folder);

// Returns when the program runs or could not be executed. It has no terminal, and none of our
// files.
enum status process_start(const struct process_spec *spec, pid_t *out, struct error *error) CHECKED;
// Starts it and waits for its end. STATUS_IO when it exits with anything but 0; STATUS_TIMEOUT: it
// was killed.
enum status
process_run(const struct process_spec *spec, int64_t timeout_ns, struct error *error) CHECKED;

// Whether pid is alive and runs a program of this file name.
bool process_is(pid_t pid, const char *program);
// The folder it runs in is this one.
bool process_is_in(pid_t pid, const char *folder);
// Whether any process that we can see runs in this folder.
bool process_any_in(const char *folder);
// When it started, by the wall clock, to about a second; 0: not known.
int64_t process_started_ns(pid_t pid);
// For a child of ours: whether it has ended (it is reaped then).
bool process_has_ended(pid_t child);

// Signals it if it still is that program, and waits until it is gone. STATUS_TIMEOUT: it still
// runs.
enum status process_stop(
    pid_t pid, const char *program, int signal, int64_t timeout_ns, struct error *error) CHECKED;

// Waits some milliseconds for the next look at something; false once the user interrupted us.
bool process_pause(int ms);
// From now on SIGINT and SIGTERM only make process_pause return false.
void process_catch_interrupts(void);
bool process_is_interrupted(void);
