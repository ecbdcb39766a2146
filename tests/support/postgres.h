#pragma once
// A private PostgreSQL server for tests: a cluster in a temporary directory, on a unix socket only,
// gone afterwards.
//
//     ReportHook(PRE_ALL)(struct criterion_test_set *set) { ... postgres_before_all(&server); }
//     ReportHook(POST_ALL)(struct criterion_global_stats *s) { ... postgres_after_all(&server); }
//     char url[POSTGRES_URL_MAX];
//     if (!postgres_database(url)) return;    // in a test: an empty database of its own
//
// One server per test program, started in the runner; each test makes a database of its own, so
// that tests do not see each other. As root the server runs as the user postgres. It does not
// fsync. Where there are no PostgreSQL binaries, postgres_database says so and returns false: the
// test is skipped with that message. Thread: one at a time.

#include <stdbool.h>
#include <sys/types.h>

enum { POSTGRES_URL_MAX = 256, POSTGRES_DIR_MAX = 64 };

struct postgres {
    char dir[POSTGRES_DIR_MAX];
    char url[POSTGRES_URL_MAX];  // of the database "postgres"
    pid_t pid;
};

// For programs that are not Criterion tests. False: there are no binaries. What goes wrong
// otherwise stops the process.
bool postgres_start(struct postgres *server);
void postgres_stop(struct postgres *server);

// postgres_start, and the environment of the tests gets its URL.
void postgres_before_all(struct postgres *server);
void postgres_after_all(struct postgres *server);

// Makes an empty database and writes its URL. False: skip, the reason is printed.
bool postgres_database(char url[POSTGRES_URL_MAX]);
