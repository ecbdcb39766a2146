#pragma once
// A private PostgreSQL: a cluster in one folder, reachable by a unix socket in that folder only.
//
//     postgres_find(dir, log_path, &arena, &postgres, &error);  // looks, changes nothing
//     postgres_start(&postgres, &pid, &error);                  // makes a missing cluster
//     url = postgres_url(dir, "tally", &arena);
//     postgres_stop(dir, &error);
//
// The folder has mode 0700, and that is the access control: whoever can reach the socket is let in
// as the role `tally`. PostgreSQL refuses to run as root, so root starts it as the user `postgres`.
// We run the server itself and not pg_ctl, which would hand our paths to a shell. Texts live in the
// arena. Thread: main.

#include "tools/process.h"

struct postgres {
    const char *dir;  // absolute
    const char *log_path;
    const char
        *bin;  // folder of the programs, of the cluster's own version when there is a cluster
    bool has_cluster;
    bool has_user;  // run as `user`: we are root
    struct process_user user;
};

// STATUS_NOT_FOUND: no PostgreSQL is installed (of the cluster's version). STATUS_INVALID: the
// folder cannot serve, and the text names --pg-dir.
enum status postgres_find(
    const char *dir,
    const char *log_path,
    struct arena *arena,
    struct postgres *out,
    struct error *error) CHECKED;
// Starts the server and waits until it takes connections; makes cluster and database first when
// they are missing.
enum status
postgres_start(const struct postgres *postgres, pid_t *out_pid, struct error *error) CHECKED;
// 0: it does not run. Stale files are recognised.
pid_t postgres_pid(const char *dir);
// Fast shutdown: open transactions are rolled back. STATUS_OK when it did not run.
enum status postgres_stop(const char *dir, struct error *error) CHECKED;
const char *postgres_url(const char *dir, const char *database, struct arena *arena);
