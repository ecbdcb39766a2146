#pragma once
// What a user would run instead of tally, as far as a measurement needs to know it: how it is
// started, how a chunk of events is given to it, and how what it holds is checked.
//
//     peer_run(peer, &options, &result, &error)
//
//   start    its program in a directory of its own, and its tables
//   lane_*   one connection in a thread of its own: a chunk is sent, and later settled, which means
//            that it is as durable as this peer can make it; up to `depth` chunks are between both
//   finish   what is left to do before it has what tally has then; in the time, as it must be done
//   check    whether it holds what was sent
//
// Owner: peers.c. Thread: main; lane_* each in its lane's.

#include "bench/generate.h"
#include "bench/histogram.h"
#include "bench/program.h"
#include "bench/talk.h"

enum { PEER_LANES_MAX = 64, PEER_DEPTH_MAX = 8, PEER_TEXT_MAX = 256 };

struct sql;
struct peer;

struct peer_options {
    const char *parent_dir;
    uint64_t events;   // of all lanes, duplicates included; 0: as many as the time allows
    int64_t limit_ns;  // no chunk begins after it; 0: no limit
    uint32_t lanes;
    struct generate_options generate;
};

// One peer's measurement.
struct stand {
    const struct peer *peer;
    const struct peer_options *options;
    char dir[PATH_MAX];
    char home[PATH_MAX];  // inside of dir; the program's own
    struct program program;
    struct endpoint endpoint;  // once it listens
    char url[PATH_MAX + 128];  // of a database
    char text[PEER_TEXT_MAX];  // the peer's own
};

struct lane {
    const struct stand *stand;
    struct generator generator;
    uint8_t *frame;
    struct histogram latency;
    int64_t sent_ns[PEER_DEPTH_MAX];
    uint64_t chunks, sent, settled;
    int64_t ended_ns;
    struct talk talk;  // of those that speak in lines
    struct sql *sql;   // of a database
    struct buffer lists[6];
    struct error error;
};

struct peer {
    const char *name;
    const char *package;  // Debian's, when its program is missing
    const char *settings;
    const char *lacks;      // what it does not do that tally does
    bool takes_duplicates;  // false: none are sent, since it could not take them
    bool drops_duplicates;
    uint32_t depth;
    int stop_signal;
    // STATUS_NOT_FOUND: its program is not installed.
    enum status (*start)(struct stand *stand, struct error *error);
    enum status (*lane_open)(struct lane *lane, struct error *error);
    enum status (*lane_send)(struct lane *lane, struct error *error);
    enum status (*lane_settle)(struct lane *lane, struct error *error);
    void (*lane_close)(struct lane *lane);
    enum status (*finish)(const struct stand *stand, struct error *error);  // or NULL
    enum status (*check)(
        const struct stand *stand,
        const struct generate_totals *sent,
        bool *out_matches,
        struct error *error);
};

struct peer_result {
    bool is_missing;  // its program is not installed: nothing else is known
    uint64_t events;  // acked
    int64_t elapsed_ns;
    int64_t server_cpu_ns;  // from its start to its end; 0: not known
    struct histogram latency;
    bool matches;
};

extern const struct peer PEER_POSTGRES_COPY, PEER_POSTGRES_INSERT, PEER_REDIS_STREAM,
    PEER_REDIS_COUNTED, PEER_NATS;

// STATUS_OK too when the program is missing.
enum status peer_run(
    const struct peer *peer,
    const struct peer_options *options,
    struct peer_result *out,
    struct error *error) CHECKED;
