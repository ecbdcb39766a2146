#pragma once
// A private tallyd: in a directory of its own, started for one measurement and gone after it.
//
//     struct server server;
//     server_start(&server, &options, &error)       // returns when it listens
//     server_sample(&server, &sample)               // CPU and memory so far
//     server_stop(&server, &error)                  // SIGTERM; it must exit with 0
//     server_done(&server)                          // removes the directory
//
// tallyd is the program of that name beside our own. It gets a signal when we die, so that none
// is left behind. Owner: the caller. Thread: main.

#include "base/status.h"
#include "bench/endpoint.h"
#include "bench/slow_disk.h"

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

struct server_options {
    const char *parent_dir;    // where the directory is made
    uint32_t shards;           // 0: the ledger's default
    uint64_t map_size;         // 0: the ledger's default
    uint32_t connections_max;  // 0: tallyd's default
    uint32_t sync_delay_ms;    // each fsync takes so much longer
};

enum { SERVER_ADDRESS_MAX = 256 };

struct server {
    char dir[PATH_MAX];   // empty: none
    char data[PATH_MAX];  // the ledger's directory
    char log[PATH_MAX];
    char tcp[SERVER_ADDRESS_MAX];  // HOST:PORT, as are those of udp
    char udp[SERVER_ADDRESS_MAX];
    char unix_path[SERVER_ADDRESS_MAX];
    uint32_t connections_max;
    uint32_t sync_delay_ms;
    struct slow_disk disk;
    pid_t pid;         // 0: none
    int64_t ready_ns;  // from its start to its listening
};

struct server_sample {
    int64_t cpu_ns;         // of all its threads, user and system
    uint64_t anon_bytes;    // RssAnon
    uint64_t shared_bytes;  // RssShmem
};

// The directory, an empty ledger and its meters; nothing runs yet.
enum status server_prepare(
    struct server *server, const struct server_options *options, struct error *error) CHECKED;
// Starts tallyd in a prepared directory, and returns when it listens.
enum status server_run(struct server *server, struct error *error) CHECKED;
// Both.
enum status server_start(
    struct server *server, const struct server_options *options, struct error *error) CHECKED;
// SIGKILL, and waits for its end; server_run may follow.
enum status server_kill(struct server *server, struct error *error) CHECKED;
const char *server_address(const struct server *server, enum transport transport);
enum status
server_sample(const struct server *server, struct server_sample *out, struct error *error) CHECKED;
// After something failed: STATUS_IO says how tallyd ended, STATUS_OK that it has not ended. Waits
// a moment for it, since a connection closes before its process is gone.
enum status server_look(struct server *server, struct error *error) CHECKED;
enum status server_stop(struct server *server, struct error *error) CHECKED;
void server_done(struct server *server);
