#pragma once
// A front without a thread that takes datagrams into a real ledger in a temporary directory. The
// test turns it, and is the client on another socket of the loopback.
//
//     bench_open(&PLAIN);
//     wire_send(wire_forward, &(struct wire){.events = 3, .chunk = "c1"});
//     ack_expect("c1");
//     bench_close();
//
// Owner: the test.

#include "base/clock.h"
#include "ingest/front.h"
#include "ingest/udp.h"
#include "tests/ingest/wire.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME_MAX = 1 << 20, PAYLOAD_MAX = 65507, ROOM = 4 << 20 };

struct bench {
    char dir[64];
    struct ledger *ledger;
    struct rejects *rejects;
    struct ingest_metrics metrics;
    struct listener listener;
    struct front *front;
    int client;
    uint8_t answer[PAYLOAD_MAX];
};

struct bench_options {
    struct udp_options udp;
    const char *address;  // NULL: 127.0.0.1:0
    struct gzip_limits inflated;
    uint64_t group_size_bytes;
    uint32_t group_events_max;
    int room;  // 0: ROOM
};

static const struct bench_options PLAIN = {0};
static int64_t wall_ns;
static struct bench bench;

static inline int64_t
wall_now_ns(void)
{
    return wall_ns;
}

// A socket that talks to the server and to nobody else; port 0: any.
static inline int
client_open(uint16_t port)
{
    struct sockaddr_storage server = {0};
    socklen_t size = sizeof server;
    cr_assert_eq(getsockname(bench.listener.fd, (struct sockaddr *)&server, &size), 0);
    int fd = socket(server.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in own = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK + 1)}};
    if (port != 0)
        cr_assert_eq(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&server, size), 0);
    return fd;
}

static inline uint16_t
server_port(void)
{
    return (uint16_t)strtol(strrchr(bench.listener.address, ':') + 1, NULL, 10);
}

static inline void
ledger_start(const struct bench_options *options)
{
    struct error error = {0};
    struct ledger_create_options create = {.shards = 2, .map_size = 64 << 20};
    cr_assert_eq(ledger_create(bench.dir, &create, &error), STATUS_OK, "%s", error.text);
    struct ledger_options ledger = {
        .now_ns = wall_now_ns,
        .group_size_bytes = options->group_size_bytes,
        .group_events_max = options->group_events_max,
    };
    cr_assert_eq(
        ledger_open(bench.dir, &ledger, &bench.ledger, &error), STATUS_OK, "%s", error.text);
}

static inline void
bench_open(const struct bench_options *options)
{
    struct error error = {0};
    int room = 0;
    bench = (struct bench){.dir = "/tmp/tally-udp-XXXXXX"};
    wall_ns = 1700167680 * SECOND_NS;
    cr_assert_not_null(mkdtemp(bench.dir));
    ingest_metrics_init(&bench.metrics);
    ledger_start(options);
    cr_assert_eq(
        rejects_open(NULL, &bench.metrics.rejects_unlisted, &bench.rejects, &error), STATUS_OK);
    struct front_options front = {
        .ledger = bench.ledger,
        .rejects = bench.rejects,
        .metrics = &bench.metrics,
        .desk =
            {
                   .connections_max = 2,
                   .tickets = 4,
                   .conn_tickets = 4,
                   .frame_max = FRAME_MAX,
                   .connection_memory = 2 * FRAME_MAX,
                   .memory_max = FRAME_MAX * 8 + options->inflated.size_max,
                   .acks_max = 64 * 1024,
                   .inflated = options->inflated,
                   },
        .loop =
            {
                   .entries = 64,
                   .buffers = 2,
                   .buffer_size = 4096,
                   .datagrams = UDP_BUFFERS,
                   },
    };
    cr_assert_eq(
        listen_udp(
            options->address != NULL ? options->address : "127.0.0.1:0",
            options->room > 0 ? options->room : ROOM,
            &bench.listener,
            &room,
            &error),
        STATUS_OK,
        "%s",
        error.text);
    cr_assert_eq(front_open(&front, &bench.front, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(front_receive(bench.front, &bench.listener, &options->udp, &error), STATUS_OK);
    cr_assert_eq(front_bind(bench.front, &error), STATUS_OK, "%s", error.text);
    bench.client = client_open(0);
}

static inline int
path_remove(const char *path, const struct stat *state, int kind, struct FTW *walk)
{
    (void)state;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void
bench_close(void)
{
    struct error error = {0};
    close(bench.client);
    front_close(bench.front);
    listener_close(&bench.listener);
    cr_assert_eq(ledger_close(bench.ledger, &error), STATUS_OK, "%s", error.text);
    rejects_close(bench.rejects);
    cr_assert_eq(nftw(bench.dir, path_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void
turn(void)
{
    struct error error = {0};
    cr_assert_eq(front_turn(bench.front, 5 * 1000000, &error), STATUS_OK, "%s", error.text);
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;                               \
        while (!(condition)) {                                                                     \
            cr_assert_lt(clock_monotonic_ns(), deadline_ns, "waited too long for " #condition);    \
            turn();                                                                                \
        }                                                                                          \
    } while (0)

static inline void
datagram_send(struct bytes bytes)
{
    cr_assert_eq(send(bench.client, bytes.data, bytes.size, 0), (ssize_t)bytes.size, "%d", errno);
}

static inline void
wire_send(void (*make)(struct buffer *, const char *, const struct wire *), const struct wire *wire)
{
    scoped(buffer_done) struct buffer out = {0};
    make(&out, "api_call", wire);
    datagram_send(buffer_view(&out));
}

// Turns until the client gets a datagram.
static inline struct bytes
answer_await(void)
{
    ssize_t size = -1;
    TURN_UNTIL((size = recv(bench.client, bench.answer, sizeof bench.answer, 0)) >= 0);
    return bytes_of(bench.answer, (size_t)size);
}

// Nothing is under way any more, and nothing came.
static inline void
silence_expect(void)
{
    TURN_UNTIL(front_pending(bench.front) == 0);
    turn();
    cr_assert_lt(recv(bench.client, bench.answer, sizeof bench.answer, 0), 0);
}

static inline bool
answer_is_ack(struct bytes answer, const char *chunk)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 1);
    pack_text(&wanted, "ack");
    pack_text(&wanted, chunk);
    return bytes_equal(answer, buffer_view(&wanted));
}

static inline void
ack_expect(const char *chunk)
{
    cr_assert(answer_is_ack(answer_await(), chunk), "the ack of %s", chunk);
}

static inline void
results_expect(const char *chunk, uint32_t duplicates, const char *reason)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 4);
    pack_text(&wanted, "ack");
    pack_text(&wanted, chunk);
    pack_text(&wanted, "duplicates");
    pack_uint(&wanted, duplicates);
    pack_text(&wanted, "rejected");
    pack_array(&wanted, reason != NULL);
    if (reason != NULL) {
        pack_array(&wanted, 2);
        pack_uint(&wanted, 0);
        pack_text(&wanted, reason);
    }
    pack_text(&wanted, "conflicts");
    pack_array(&wanted, 0);
    cr_assert(bytes_equal(answer_await(), buffer_view(&wanted)), "the results of %s", chunk);
}

static inline int64_t
dropped(enum udp_drop by)
{
    return metric_get(&bench.metrics.udp_dropped[by]);
}

// The server goes on; answers to what was sent before may come first.
static inline void
alive_expect(void)
{
    wire_send(wire_forward, &(struct wire){.events = 1, .chunk = "alive"});
    while (!answer_is_ack(answer_await(), "alive"))
        ;
}
