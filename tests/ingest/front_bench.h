#pragma once
// A front on a real ledger in a temporary directory, turned by the test, which plays clients on
// socket pairs.
//
//     struct front_bench bench;
//     front_bench_open(&bench, &options);
//     struct peer_end end;
//     end_open(&bench, &end, is_own_user);
//     end_send(&bench, &end, bytes);
//     end_expect(&bench, &end, answer);         // turns until so much came, and compares
//     end_expect_close(&bench, &end);           // turns until the server hung up
//     end_close(&end);
//     front_bench_close(&bench);
//
// Owner: the test.

#include "base/clock.h"
#include "ingest/front.h"
#include "tests/ingest/wire.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BENCH_FRAME_MAX = 1 << 20, BENCH_WAIT_S = 60 };

struct front_bench {
    char dir[64];
    struct ledger *ledger;
    struct rejects *rejects;
    struct ingest_metrics metrics;
    struct front *front;
};

struct front_bench_options {
    const struct credentials *credentials;
    uint32_t tickets;  // 0: 64
    struct gzip_limits inflated;
    int64_t handshake_ns;       // 0: ten seconds
    int64_t stall_ns;           // 0: for ever
    int64_t idle_ns;            // 0: for ever
    int64_t linger_ns;          // 0: five seconds
    size_t memory_max;          // 0: eight frames and what inflating needs
    uint32_t buffer_size;       // of the loop's; 0: 4 KiB
    size_t acks_max;            // 0: 64 KiB
    size_t connection_memory;   // 0: two frames
    uint32_t group_events_max;  // of the ledger; 0: as it likes
    struct tls_server *tls;     // NULL: none
};

// The client's end of a connection.
struct peer_end {
    int fd;
    struct buffer answer;  // what came and was not yet looked at
    bool is_ended;
    bool is_reset;  // ended so
};

static inline int64_t
bench_now_ns(void)
{
    return 1700167680 * SECOND_NS;
}

static inline struct desk_options
bench_desk(const struct front_bench_options *options)
{
    return (struct desk_options){
        .connections_max = 16,
        .tickets = options->tickets > 0 ? options->tickets : 64,
        .conn_tickets = 32,
        .frame_max = BENCH_FRAME_MAX,
        .connection_memory =
            options->connection_memory > 0 ? options->connection_memory : 2 * BENCH_FRAME_MAX,
        .memory_max = options->memory_max > 0 ? options->memory_max
                                              : 8 * BENCH_FRAME_MAX + options->inflated.size_max,
        .acks_max = options->acks_max > 0 ? options->acks_max : 64 * 1024,
        .linger_ns = options->linger_ns > 0 ? options->linger_ns : 5 * SECOND_NS,
        .stall_ns = options->stall_ns,
        .idle_ns = options->idle_ns,
        .inflated = options->inflated,
        .handshake_ns = options->handshake_ns > 0 ? options->handshake_ns : 10 * SECOND_NS,
    };
}

static inline void
front_bench_open(struct front_bench *bench, const struct front_bench_options *options)
{
    struct error error = {0};
    *bench = (struct front_bench){.dir = "/tmp/tally-front-XXXXXX"};
    cr_assert_not_null(mkdtemp(bench->dir));
    ingest_metrics_init(&bench->metrics);
    struct ledger_create_options create = {.shards = 2, .map_size = 64 << 20};
    cr_assert_eq(ledger_create(bench->dir, &create, &error), STATUS_OK, "%s", error.text);
    struct ledger_options ledger = {
        .now_ns = bench_now_ns, .group_events_max = options->group_events_max};
    cr_assert_eq(
        ledger_open(bench->dir, &ledger, &bench->ledger, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(
        rejects_open(NULL, &bench->metrics.rejects_unlisted, &bench->rejects, &error), STATUS_OK);
    struct front_options front = {
        .ledger = bench->ledger,
        .rejects = bench->rejects,
        .metrics = &bench->metrics,
        .credentials = options->credentials,
        .tls = options->tls,
        .desk = bench_desk(options),
        .loop =
            {.entries = 64,
                   .buffers = 16,
                   .buffer_size = options->buffer_size > 0 ? options->buffer_size : 4096},
    };
    cr_assert_eq(front_open(&front, &bench->front, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(front_bind(bench->front, &error), STATUS_OK, "%s", error.text);
}

static inline int
bench_path_remove(const char *path, const struct stat *state, int kind, struct FTW *walk)
{
    (void)state;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void
front_bench_close(struct front_bench *bench)
{
    struct error error = {0};
    front_close(bench->front);
    cr_assert_eq(ledger_close(bench->ledger, &error), STATUS_OK, "%s", error.text);
    rejects_close(bench->rejects);
    cr_assert_eq(nftw(bench->dir, bench_path_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void
bench_turn(struct front_bench *bench)
{
    struct error error = {0};
    cr_assert_eq(front_turn(bench->front, 5 * 1000000, &error), STATUS_OK, "%s", error.text);
}

#define BENCH_TURN_UNTIL(bench, condition)                                                         \
    do {                                                                                           \
        int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;                     \
        while (!(condition)) {                                                                     \
            cr_assert_lt(clock_monotonic_ns(), deadline_ns, "waited too long for " #condition);    \
            bench_turn(bench);                                                                     \
        }                                                                                          \
    } while (0)

static inline void
end_open_as(struct front_bench *bench, struct peer_end *end, const struct peer *peer)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert(front_adopt(bench->front, fds[0], peer));
    cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    *end = (struct peer_end){.fd = fds[1]};
}

static inline void
end_open(struct front_bench *bench, struct peer_end *end, bool is_own_user)
{
    end_open_as(bench, end, &(struct peer){.text = "test", .is_own_user = is_own_user});
}

static inline void
end_close(struct peer_end *end)
{
    close(end->fd);
    buffer_done(&end->answer);
}

static inline void
end_send(struct front_bench *bench, struct peer_end *end, struct bytes bytes)
{
    int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;
    while (bytes.size > 0) {
        ssize_t size = send(end->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        cr_assert(size > 0 || errno == EAGAIN, "send: %d", errno);
        if (size > 0)
            bytes = bytes_of(bytes.data + size, bytes.size - (size_t)size);
        else
            bench_turn(bench);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    }
}

static inline void
end_read(struct peer_end *end)
{
    uint8_t data[4096];
    ssize_t size;
    while ((size = read(end->fd, data, sizeof data)) > 0)
        buffer_put(&end->answer, data, (size_t)size);
    end->is_reset = end->is_reset || (size < 0 && errno == ECONNRESET);
    end->is_ended = end->is_ended || size == 0 || end->is_reset;
}

static inline void
end_await(struct front_bench *bench, struct peer_end *end, size_t size)
{
    BENCH_TURN_UNTIL(bench, (end_read(end), end->answer.size >= size || end->is_ended));
    cr_assert_geq(end->answer.size, size, "the server hung up");
}

static inline void
end_expect(struct front_bench *bench, struct peer_end *end, struct bytes wanted)
{
    end_await(bench, end, wanted.size);
    cr_assert(bytes_equal(buffer_view(&end->answer), wanted), "another answer");
    buffer_reset(&end->answer);
}

static inline void
end_expect_ack(struct front_bench *bench, struct peer_end *end, const char *chunk)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 1);
    pack_text(&wanted, "ack");
    pack_text(&wanted, chunk);
    end_expect(bench, end, buffer_view(&wanted));
}

static inline void
end_expect_close(struct front_bench *bench, struct peer_end *end)
{
    BENCH_TURN_UNTIL(bench, (end_read(end), end->is_ended));
    cr_assert_eq(end->answer.size, 0, "no word more");
}
