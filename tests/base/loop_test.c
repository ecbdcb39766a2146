#include "base/loop.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TAKEN_MAX = 1 << 20 };

// What a callback saw.
struct seen {
    struct loop_op op;
    uint32_t events;
    uint32_t last_events;
    int32_t result;  // of the latest event
    int fds[8];
    uint32_t fds_count;
    uint8_t taken[TAKEN_MAX];
    size_t taken_size;
};

static void
on_event(void *context, const struct loop_event *event)
{
    struct seen *seen = context;
    seen->events++;
    seen->last_events += event->is_last;
    seen->result = event->result;
    if (event->data.size > 0) {
        cr_assert_leq(seen->taken_size + event->data.size, TAKEN_MAX);
        memcpy(seen->taken + seen->taken_size, event->data.data, event->data.size);
        seen->taken_size += event->data.size;
    }
    if (seen->op.kind == LOOP_ACCEPT && event->result >= 0)
        seen->fds[seen->fds_count++] = event->result;
}

static void
seen_init(struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    seen->op = (struct loop_op){.run = on_event, .context = seen};
}

static struct loop *
loop_make(const struct loop_options *options)
{
    struct loop *loop = NULL;
    struct error error = {0};
    cr_assert_eq(loop_open(options, &loop, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(loop_bind(loop, &error), STATUS_OK, "%s", error.text);
    return loop;
}

static void
step(struct loop *loop, int64_t timeout_ns)
{
    struct error error = {0};
    cr_assert_eq(loop_step(loop, timeout_ns, &error), STATUS_OK, "%s", error.text);
}

// Turns the loop until the condition holds, for a minute at most.
#define STEP_UNTIL(loop, condition)                                                                \
    do {                                                                                           \
        int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;                               \
        while (!(condition)) {                                                                     \
            cr_assert_lt(clock_monotonic_ns(), deadline_ns, "waited too long for " #condition);    \
            step((loop), 10 * 1000000);                                                            \
        }                                                                                          \
    } while (0)

static void
pair_make(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static struct seen first, second;

Test(loop, receives_what_is_sent_and_the_end)
{
    struct loop *loop = loop_make(&(struct loop_options){0});
    int fds[2];
    pair_make(fds);
    seen_init(&first);
    loop_recv(loop, &first.op, fds[0]);
    cr_assert(loop_op_is_active(&first.op));
    cr_assert_eq(loop_active(loop), 1);
    cr_assert_eq(write(fds[1], "hello", 5), 5);
    STEP_UNTIL(loop, first.taken_size == 5);
    cr_assert_eq(memcmp(first.taken, "hello", 5), 0);
    cr_assert_eq(write(fds[1], " again", 6), 6);
    STEP_UNTIL(loop, first.taken_size == 11);
    cr_assert_eq(first.last_events, 0, "one start is enough for all");
    close(fds[1]);
    STEP_UNTIL(loop, first.last_events == 1);
    cr_assert_eq(first.result, 0);
    cr_assert_not(loop_op_is_active(&first.op));
    cr_assert_eq(loop_active(loop), 0);
    close(fds[0]);
    loop_close(loop);
}

Test(loop, receives_no_more_than_asked)
{
    struct loop *loop = loop_make(&(struct loop_options){.buffers = 8, .buffer_size = 64});
    int fds[2];
    pair_make(fds);
    seen_init(&first);
    uint8_t sent[200] = {0};
    cr_assert_eq(write(fds[1], sent, sizeof sent), (ssize_t)sizeof sent);
    // As many as asked, then as many as a buffer holds; each start is good for one event.
    size_t expected = 0;
    for (uint32_t i = 1; i <= 4; i++) {
        uint32_t size_max = i <= 2 ? 10 : 1000;
        loop_recv_some(loop, &first.op, fds[0], size_max);
        STEP_UNTIL(loop, first.last_events == i);
        expected += size_max < 64 ? size_max : 64;
        cr_assert_eq(first.taken_size, expected);
        cr_assert_not(loop_op_is_active(&first.op));
        step(loop, 0);
        cr_assert_eq(first.taken_size, expected, "nothing comes unasked");
    }
    loop_recv_some(loop, &first.op, fds[0], 10);
    STEP_UNTIL(loop, first.last_events == 5);
    loop_recv_some(loop, &first.op, fds[0], 1000);
    close(fds[1]);
    STEP_UNTIL(loop, first.last_events == 6);
    cr_assert_eq(first.taken_size, 200);
    loop_recv_some(loop, &first.op, fds[0], 10);
    STEP_UNTIL(loop, first.last_events == 7);
    cr_assert_eq(first.result, 0, "the end");
    cr_assert_eq(loop_active(loop), 0);
    close(fds[0]);
    loop_close(loop);
}

// Eight buffers of 64 bytes for a megabyte: the kernel runs out all the time, nothing is lost or
// swapped.
Test(loop, goes_on_when_buffers_run_out)
{
    struct metric starved = METRIC_COUNTER("starved", "test");
    struct loop *loop = loop_make(
        &(struct loop_options){.entries = 8, .buffers = 8, .buffer_size = 64, .starved = &starved});
    int fds[2];
    pair_make(fds);
    seen_init(&first);
    loop_recv(loop, &first.op, fds[0]);
    uint8_t chunk[4096];
    size_t written = 0;
    while (written < 512 * 1024) {
        for (size_t i = 0; i < sizeof chunk; i++)
            chunk[i] = (uint8_t)((written + i) * 31 >> 3);
        cr_assert_eq(write(fds[1], chunk, sizeof chunk), sizeof chunk);
        written += sizeof chunk;
        STEP_UNTIL(loop, first.taken_size == written);
    }
    for (size_t i = 0; i < written; i++)
        cr_assert_eq(first.taken[i], (uint8_t)(i * 31 >> 3), "byte %zu", i);
    cr_assert_gt(metric_get(&starved), 0, "the test must have run out of buffers");
    close(fds[0]);
    close(fds[1]);
    loop_close(loop);
}

Test(loop, sends_and_tells_how_much)
{
    struct loop *loop = loop_make(&(struct loop_options){0});
    int fds[2];
    pair_make(fds);
    seen_init(&first);
    loop_send(loop, &first.op, fds[0], bytes_text("answer"));
    STEP_UNTIL(loop, first.last_events == 1);
    cr_assert_eq(first.result, 6);
    char text[8] = {0};
    cr_assert_eq(read(fds[1], text, sizeof text), 6);
    cr_assert_str_eq(text, "answer");
    close(fds[1]);
    loop_send(loop, &first.op, fds[0], bytes_text("nobody"));
    STEP_UNTIL(loop, first.last_events == 2);
    cr_assert_eq(first.result, -EPIPE);
    close(fds[0]);
    loop_close(loop);
}

Test(loop, ends_what_is_cancelled_and_can_start_it_again)
{
    struct loop *loop = loop_make(&(struct loop_options){0});
    int fds[2];
    pair_make(fds);
    seen_init(&first);
    loop_recv(loop, &first.op, fds[0]);
    step(loop, 0);
    loop_cancel(loop, &first.op);
    loop_cancel(loop, &first.op);
    STEP_UNTIL(loop, first.last_events == 1);
    cr_assert_eq(first.result, -ECANCELED);
    cr_assert_eq(first.events, 1);
    loop_cancel(loop, &first.op);
    cr_assert_eq(write(fds[1], "kept", 4), 4);
    loop_recv(loop, &first.op, fds[0]);
    STEP_UNTIL(loop, first.taken_size == 4);
    close(fds[0]);
    close(fds[1]);
    loop_close(loop);
}

static int
listener_make(struct sockaddr_in *out)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *out;
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    cr_assert_eq(bind(fd, (struct sockaddr *)out, sizeof *out), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)out, &size), 0);
    return fd;
}

Test(loop, accepts_again_and_again)
{
    struct loop *loop = loop_make(&(struct loop_options){0});
    struct sockaddr_in address;
    int listener = listener_make(&address);
    seen_init(&first);
    loop_accept(loop, &first.op, listener);
    int clients[3];
    for (uint32_t i = 0; i < 3; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_eq(connect(clients[i], (struct sockaddr *)&address, sizeof address), 0);
        STEP_UNTIL(loop, first.fds_count == i + 1);
    }
    seen_init(&second);
    loop_recv(loop, &second.op, first.fds[1]);
    cr_assert_eq(write(clients[1], "x", 1), 1);
    STEP_UNTIL(loop, second.taken_size == 1);
    for (uint32_t i = 0; i < 3; i++) {
        close(clients[i]);
        close(first.fds[i]);
    }
    close(listener);
    loop_close(loop);
}

Test(loop, polls_a_foreign_descriptor_for_each_wake)
{
    struct loop *loop = loop_make(&(struct loop_options){0});
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    seen_init(&first);
    loop_poll(loop, &first.op, fd);
    for (uint32_t i = 1; i <= 3; i++) {
        cr_assert_eq(eventfd_write(fd, 1), 0);
        STEP_UNTIL(loop, first.events >= i);
        eventfd_t value;
        cr_assert_eq(eventfd_read(fd, &value), 0);
    }
    cr_assert_eq(first.last_events, 0);
    close(fd);
    loop_close(loop);
}

Test(loop, returns_after_its_timeout)
{
    struct loop *loop = loop_make(&(struct loop_options){0});
    int64_t start_ns = clock_monotonic_ns();
    step(loop, 20 * 1000000);
    int64_t passed_ns = clock_monotonic_ns() - start_ns;
    cr_assert_geq(passed_ns, 19 * 1000000);
    cr_assert_lt(passed_ns, 5 * SECOND_NS);
    step(loop, 0);
    loop_close(loop);
}

// More starts in one turn than the submission queue holds: it is flushed in between.
Test(loop, takes_more_starts_than_the_queue_is_long)
{
    enum { PAIRS = 64 };
    static struct seen many[PAIRS];
    int fds[PAIRS][2];
    struct loop *loop = loop_make(&(struct loop_options){.entries = 8});
    for (uint32_t i = 0; i < PAIRS; i++) {
        pair_make(fds[i]);
        seen_init(&many[i]);
        loop_recv(loop, &many[i].op, fds[i][0]);
        cr_assert_eq(write(fds[i][1], &i, sizeof i), sizeof i);
    }
    for (uint32_t i = 0; i < PAIRS; i++) {
        STEP_UNTIL(loop, many[i].taken_size == sizeof i);
        cr_assert_eq(memcmp(many[i].taken, &i, sizeof i), 0);
        close(fds[i][0]);
        close(fds[i][1]);
    }
    loop_close(loop);
}

// --- datagrams ---

static int
datagram_socket(struct sockaddr_in *out)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *out;
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    cr_assert_eq(bind(fd, (struct sockaddr *)out, sizeof *out), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)out, &size), 0);
    return fd;
}

struct datagrams_seen {
    struct loop_op op;
    uint32_t count;
    uint32_t last_events;
    int32_t sizes[64];
    struct sockaddr_in from;
    uint32_t dropped;
    uint8_t bytes[LOOP_DATAGRAM_MAX];
};

static void
on_datagram(void *context, const struct loop_event *event)
{
    struct datagrams_seen *seen = context;
    seen->last_events += event->is_last;
    if (event->datagram == NULL)
        return;
    cr_assert_not(event->datagram->is_cut);
    cr_assert_eq(event->datagram->from_size, sizeof seen->from);
    memcpy(&seen->from, event->datagram->from, sizeof seen->from);
    if (event->datagram->control.dropped > 0)
        seen->dropped = event->datagram->control.dropped;
    cr_assert_eq((size_t)event->result, event->data.size);
    memcpy(seen->bytes, event->data.data, event->data.size);
    seen->sizes[seen->count++ % 64] = event->result;
}

// With four buffers the kernel runs out of them all the time; empty and largest ones come as well.
Test(loop, receives_datagrams_with_their_sender)
{
    enum { LARGEST = 65507 };
    static const int32_t sizes[] = {1, 100, 0, LARGEST, 0, 0, 9000, 3, 2, LARGEST, 1};
    static uint8_t bytes[LARGEST];
    static struct datagrams_seen seen;
    struct loop *loop =
        loop_make(&(struct loop_options){.buffers = 2, .buffer_size = 64, .datagrams = 4});
    struct sockaddr_in server, client;
    int fd = datagram_socket(&server), other = datagram_socket(&client);
    seen.op = (struct loop_op){.run = on_datagram, .context = &seen};
    loop_datagrams(loop, &seen.op, fd);
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = (size_t)sizes[i];
        memset(bytes, (int)('a' + i), size);
        cr_assert_eq(
            sendto(other, bytes, size, 0, (struct sockaddr *)&server, sizeof server),
            (ssize_t)size);
        if (i % 3 != 0)
            continue;
        STEP_UNTIL(loop, seen.count == i + 1);
        cr_assert_eq(memcmp(seen.bytes, bytes, size), 0, "datagram %u", i);
        cr_assert_eq(memcmp(&seen.from, &client, sizeof client), 0);
    }
    STEP_UNTIL(loop, seen.count == sizeof sizes / sizeof sizes[0]);
    cr_assert_eq(memcmp(seen.sizes, sizes, sizeof sizes), 0);
    cr_assert_eq(seen.last_events, 0);
    loop_cancel(loop, &seen.op);
    STEP_UNTIL(loop, seen.last_events == 1);
    close(fd);
    close(other);
    loop_close(loop);
}

// A socket whose room is full: the kernel drops, and tells it with the next datagram.
Test(loop, tells_how_many_datagrams_the_kernel_dropped)
{
    enum { SENT = 2000 };
    static struct datagrams_seen seen;
    struct loop *loop = loop_make(&(struct loop_options){.datagrams = 4});
    struct sockaddr_in server, client;
    int fd = datagram_socket(&server), other = datagram_socket(&client);
    int one = 1, room = 4096;
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
    for (uint32_t i = 0; i < SENT; i++)
        cr_assert_eq(sendto(other, "12345678", 8, 0, (struct sockaddr *)&server, sizeof server), 8);
    seen.op = (struct loop_op){.run = on_datagram, .context = &seen};
    loop_datagrams(loop, &seen.op, fd);
    STEP_UNTIL(loop, seen.count > 0);
    for (uint32_t before = 0; seen.count > before; step(loop, 10 * 1000000))
        before = seen.count;
    cr_assert_lt(seen.count, SENT);
    cr_assert_eq(sendto(other, "last", 4, 0, (struct sockaddr *)&server, sizeof server), 4);
    STEP_UNTIL(loop, seen.dropped > 0);
    cr_assert_eq(seen.dropped + seen.count, SENT + 1);
    close(fd);
    close(other);
    loop_close(loop);
}

Test(loop, sends_a_datagram_to_its_address)
{
    struct loop *loop = loop_make(&(struct loop_options){0});
    struct sockaddr_in server, client;
    int fd = datagram_socket(&server), other = datagram_socket(&client);
    struct iovec part = {.iov_base = (void *)"answer", .iov_len = 6};
    struct msghdr message = {
        .msg_name = &client, .msg_namelen = sizeof client, .msg_iov = &part, .msg_iovlen = 1};
    seen_init(&first);
    loop_send_message(loop, &first.op, fd, &message);
    STEP_UNTIL(loop, first.last_events == 1);
    cr_assert_eq(first.result, 6);
    char text[8] = {0};
    cr_assert_eq(recv(other, text, sizeof text, 0), 6);
    cr_assert_str_eq(text, "answer");
    // An address that cannot be reached is an answer like any other.
    client.sin_port = 0;
    loop_send_message(loop, &first.op, fd, &message);
    STEP_UNTIL(loop, first.last_events == 2);
    cr_assert_lt(first.result, 0);
    close(fd);
    close(other);
    loop_close(loop);
}

static void *
bind_and_step(void *context)
{
    struct loop *loop = context;
    struct error error = {0};
    cr_assert_eq(loop_bind(loop, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(loop_step(loop, 1000000, &error), STATUS_OK, "%s", error.text);
    return NULL;
}

Test(loop, is_opened_on_one_thread_and_run_on_another)
{
    struct loop *loop = NULL;
    struct error error = {0};
    cr_assert_eq(loop_open(&(struct loop_options){0}, &loop, &error), STATUS_OK, "%s", error.text);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, bind_and_step, loop), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    loop_close(loop);
}

Test(loop, advises_on_what_blocks_it)
{
    cr_assert_not_null(strstr(loop_advice(EPERM), "seccomp"));
    cr_assert_not_null(strstr(loop_advice(EPERM), "io_uring_disabled"));
    cr_assert_not_null(strstr(loop_advice(ENOSYS), "seccomp"));
    cr_assert_not_null(strstr(loop_advice(EMFILE), "ulimit -n"));
    cr_assert_not_null(loop_advice(12345));
}
