#pragma once
// A real tallyd on a port of its own, for a test.
//
//     struct tallyd tallyd; tallyd_open(&tallyd);              // a directory, with a key and users
//     tallyd_start(&tallyd, (const char *[]){"--shared-key-file", tallyd.key, NULL});
//     ... tallyd.server goes into tally_options.server ...
//     tallyd_done(&tallyd);                                    // it ended well, and left nothing
//
// The key is "key"; the users are acme with the password horse, and importer with the password
// staple, who may backfill. Every wait has a deadline and fails the test. Thread: one at a time.

#include <sys/types.h>

enum { TALLYD_WAIT_MS = 20000 };

struct tallyd {
    char dir[64];
    char key[128], users[128];  // files
    char server[64];            // "127.0.0.1:PORT"
    pid_t pid;
};

void tallyd_open(struct tallyd *tallyd);
// arguments: what comes behind those that every test has; ends with NULL.
void tallyd_start(struct tallyd *tallyd, const char *const *arguments);
// A backfill with this id, which events may name from now on (`tally ledger backfill open`).
void tallyd_open_backfill(const struct tallyd *tallyd, const char *id);
void tallyd_done(const struct tallyd *tallyd);
