// What a client was told before it is sent away arrives, whatever it still sends: over TCP, where a
// socket that is closed with bytes unread takes what is on the way with it.

#include "tests/ingest/front_bench.h"

#include <netinet/in.h>

enum { NARROW = 4096 };

static const struct credentials KEY = {
    .shared_key = {(const uint8_t *)"key", 3}
};

// A connection over the loopback; the client's kernel takes little before it is read.
static void
tcp_end_open(struct front_bench *bench, struct peer_end *end)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int room = NARROW;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    *end = (struct peer_end){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    cr_assert_eq(setsockopt(end->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
    cr_assert_eq(connect(end->fd, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(fcntl(end->fd, F_SETFL, O_NONBLOCK), 0);
    struct peer peer = {.text = "test"};
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert(front_adopt(bench->front, fd, &peer));
    close(listener);
}

// As much as the kernel takes at once, none of it for anybody to read.
static void
babble(struct peer_end *end)
{
    static const uint8_t zeros[64 * 1024];
    while (send(end->fd, zeros, sizeof zeros, MSG_NOSIGNAL) > 0)
        ;
}

// A frame with as long a chunk as there is, and its ack.
static void
frame_and_ack(struct buffer *frame, struct buffer *ack, uint32_t number)
{
    char chunk[EVENT_CHUNK_MAX + 1];
    memset(chunk, 'c', sizeof chunk);
    chunk[EVENT_CHUNK_MAX] = '\0';
    wire_forward(frame, "api", &(struct wire){.events = 1, .first = number, .chunk = chunk});
    pack_map(ack, 1);
    pack_text(ack, "ack");
    pack_text(ack, chunk);
}

Test(conn_linger, delivers_acks_before_a_broken_frame_ends_it)
{
    enum { FRAMES = 2000 };
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer frames = {0}, acks = {0};
    front_bench_open(
        &bench,
        &(struct front_bench_options){.acks_max = 4 << 20, .linger_ns = BENCH_WAIT_S * SECOND_NS});
    tcp_end_open(&bench, &end);
    for (uint32_t i = 0; i < FRAMES; i++)
        frame_and_ack(&frames, &acks, i);
    end_send(&bench, &end, buffer_view(&frames));
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.acks) == FRAMES);
    cr_assert_eq(send(end.fd, "\xc1", 1, MSG_NOSIGNAL), 1);
    babble(&end);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.broken[FRAME_NOT_MSGPACK]) == 1);
    // Whoever would be closed too early is closed by now.
    for (uint32_t i = 0; i < 20; i++)
        bench_turn(&bench);
    BENCH_TURN_UNTIL(&bench, (end_read(&end), end.is_ended));
    cr_assert(bytes_equal(buffer_view(&end.answer), buffer_view(&acks)), "every ack");
    cr_assert_not(end.is_reset);
    end_close(&end);
    BENCH_TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    front_bench_close(&bench);
}

// docs/wire.md: W144
Test(conn_linger, tells_a_stranger_why_before_it_ends_it)
{
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer refusal = {0};
    front_bench_open(
        &bench,
        &(struct front_bench_options){.credentials = &KEY, .linger_ns = BENCH_WAIT_S * SECOND_NS});
    tcp_end_open(&bench, &end);
    end_await(&bench, &end, 1);
    buffer_reset(&end.answer);
    handshake_pack_pong(HANDSHAKE_NOT_PING, NULL, &refusal);
    babble(&end);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.turned_away[HANDSHAKE_NOT_PING]) == 1);
    for (uint32_t i = 0; i < 20; i++)
        bench_turn(&bench);
    BENCH_TURN_UNTIL(&bench, (end_read(&end), end.is_ended));
    cr_assert(bytes_equal(buffer_view(&end.answer), buffer_view(&refusal)));
    cr_assert_not(end.is_reset);
    end_close(&end);
    BENCH_TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    front_bench_close(&bench);
}

// A client that was sent away and does not go keeps its place for the linger time only, though it
// sends on and on; nothing that it sends counts.
// docs/wire.md: W144, W184
Test(conn_linger, waits_for_a_client_to_hang_up_but_not_for_ever)
{
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer out = {0};
    front_bench_open(&bench, &(struct front_bench_options){.linger_ns = SECOND_NS / 2});
    tcp_end_open(&bench, &end);
    cr_assert_eq(send(end.fd, "\xc1", 1, MSG_NOSIGNAL), 1);
    BENCH_TURN_UNTIL(&bench, (end_read(&end), end.is_ended));
    cr_assert_not(end.is_reset);
    cr_assert_eq(front_connections(bench.front), 1, "it is waited for");
    wire_forward(&out, "api", &(struct wire){.events = 1, .chunk = "c1"});
    BENCH_TURN_UNTIL(
        &bench,
        (send(end.fd, out.data, out.size, MSG_NOSIGNAL), front_connections(bench.front) == 0));
    cr_assert_eq(metric_get(&bench.metrics.frames), 0);
    cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_NOT_MSGPACK]), 1);
    end_close(&end);
    front_bench_close(&bench);
}
