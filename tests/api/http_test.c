// The server itself, by a client that writes bytes: order, limits, deadlines, and the end.

#include "api/http.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 16, BODY_MAX = 1000, CONNECTIONS_MAX = 64 };

struct fixture {
    struct http *http;
    pthread_mutex_t gate;  // "/wait" waits for it
    atomic_int inside;
    atomic_int calls;
};

// "METHOD TARGET body refusal".
static void
handle(void *context, const struct http_request *request, struct http_response *response)
{
    struct fixture *fixture = context;
    fixture->calls++;
    if (strcmp(request->target, "/wait") == 0 && request->refusal == HTTP_WELCOME) {
        fixture->inside++;
        pthread_mutex_lock(&fixture->gate);
        pthread_mutex_unlock(&fixture->gate);
    }
    response->status = request->refusal == HTTP_WELCOME ? 200 : 503;
    response->content_type = "text/plain";
    buffer_format(&response->body, "%s %s ", request->method, request->target);
    buffer_bytes(&response->body, request->body);
    buffer_format(&response->body, " %d\n", (int)request->refusal);
    const char *echo = http_field(request, "x-echo");
    if (echo != NULL)
        http_add(response, "X-Echo", echo);
}

static void
fixture_start(struct fixture *fixture, uint32_t workers, uint32_t waiting_max, int64_t idle_ns)
{
    struct error error = {0};
    *fixture = (struct fixture){0};
    pthread_mutex_init(&fixture->gate, NULL);
    struct http_options options = {
        .address = "127.0.0.1:0",
        .loops = 2,
        .workers = workers,
        .waiting_max = waiting_max,
        .connections_max = CONNECTIONS_MAX,
        .body_max = BODY_MAX,
        .bodies_max = (size_t)10 * BODY_MAX,
        .idle_ns = idle_ns,
        .body_ns = idle_ns,
        .answer_ns = 60 * SECOND_NS,
        .handle = handle,
        .context = fixture,
    };
    cr_assert_eq(http_start(&options, &fixture->http, &error), STATUS_OK, "%s", error.text);
}

static int
client_connect(const struct fixture *fixture)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    struct timeval timeout = {.tv_sec = 60};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(http_port(fixture->http)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void
client_send(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

// Reads until the text is there.
static void
client_expect(int fd, const char *text)
{
    static char got[TEXT_MAX];
    size_t size = 0;
    got[0] = '\0';
    while (strstr(got, text) == NULL) {
        ssize_t count = recv(fd, got + size, sizeof got - 1 - size, 0);
        cr_assert_gt(
            count, 0, "%zd (%s) instead of %s after: %s", count, strerror(errno), text, got);
        size += (size_t)count;
        got[size] = '\0';
    }
}

// The connection ends, by a close or a reset.
static void
client_expect_end(int fd)
{
    char got[TEXT_MAX];
    ssize_t count;
    while ((count = recv(fd, got, sizeof got, 0)) > 0) {
    }
    cr_assert(count == 0 || errno == ECONNRESET, "%s", strerror(errno));
}

static void
inside_wait(struct fixture *fixture, int count)
{
    struct timespec moment = {.tv_nsec = 1000000};
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (atomic_load(&fixture->inside) < count) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
}

Test(http, answers_one_request_after_the_other)
{
    struct fixture fixture;
    fixture_start(&fixture, 2, 10, 60 * SECOND_NS);
    int fd = client_connect(&fixture);
    client_send(fd, "GET /a?b=%20 HTTP/1.1\r\nHost: x\r\nX-Echo: here\r\n\r\n");
    client_expect(fd, "GET /a?b=%20  0\n");
    client_send(fd, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
    client_send(fd, "lo");
    client_expect(fd, "POST /b hello 0\n");
    client_send(
        fd,
        "PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
        "0\r\n\r\n");
    client_expect(fd, "PUT /c abcde 0\n");
    client_send(fd, "HEAD /d HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(fd, "Content-Length: 11\r\n\r\n");
    (void)close(fd);
    http_stop(fixture.http, SECOND_NS);
    cr_assert_eq(fixture.calls, 4);
}

Test(http, asks_for_the_body_of_who_waits)
{
    struct fixture fixture;
    fixture_start(&fixture, 1, 10, 60 * SECOND_NS);
    int fd = client_connect(&fixture);
    client_send(
        fd, "POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client_expect(fd, "100 Continue");
    client_send(fd, "ok");
    client_expect(fd, "POST /a ok 0\n");
    (void)close(fd);
    fd = client_connect(&fixture);
    client_send(
        fd, "POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    client_expect(fd, "POST /a  1\n");
    (void)close(fd);
    http_stop(fixture.http, SECOND_NS);
}

Test(http, reads_and_drops_a_body_that_is_too_large)
{
    struct fixture fixture;
    char body[BODY_MAX + 2];
    fixture_start(&fixture, 1, 10, 60 * SECOND_NS);
    int fd = client_connect(&fixture);
    memset(body, 'x', sizeof body);
    body[BODY_MAX + 1] = '\0';
    client_send(fd, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
    client_send(fd, body);
    client_expect(fd, "POST /a  1\n");
    client_send(fd, "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
    client_send(fd, body);
    client_send(fd, "\r\n0\r\n\r\n");
    client_expect(fd, "POST /b  1\n");
    body[BODY_MAX] = '\0';
    client_send(fd, "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    client_send(fd, body);
    client_expect(fd, "xxx 0\n");
    struct http_figures figures;
    http_figures(fixture.http, &figures);
    cr_assert_eq(figures.bodies_bytes, 0);
    (void)close(fd);
    http_stop(fixture.http, SECOND_NS);
}

Test(http, refuses_what_no_worker_can_take)
{
    struct fixture fixture;
    fixture_start(&fixture, 1, 1, 60 * SECOND_NS);
    pthread_mutex_lock(&fixture.gate);
    int first = client_connect(&fixture), second = client_connect(&fixture);
    int third = client_connect(&fixture);
    client_send(first, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    inside_wait(&fixture, 1);
    client_send(second, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_figures figures = {0};
    struct timespec moment = {.tv_nsec = 1000000};
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (figures.waiting < 1) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
        http_figures(fixture.http, &figures);
    }
    client_send(third, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(third, "GET /late  2\n");
    pthread_mutex_unlock(&fixture.gate);
    client_expect(first, "GET /wait  0\n");
    client_expect(second, "GET /next  0\n");
    (void)close(first);
    (void)close(second);
    (void)close(third);
    http_stop(fixture.http, SECOND_NS);
}

Test(http, ends_connections_that_never_finish_a_request)
{
    static const char *const begun[] = {
        "",
        "GET /a HT",
        "GET /a HTTP/1.1\r\nHost: x\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"};
    enum { COUNT = sizeof begun / sizeof begun[0] };
    struct fixture fixture;
    int fds[COUNT];
    fixture_start(&fixture, 1, 10, SECOND_NS / 5);
    for (size_t i = 0; i < COUNT; i++) {
        fds[i] = client_connect(&fixture);
        client_send(fds[i], begun[i]);
    }
    struct timespec moment = {.tv_nsec = 10000000};
    struct http_figures figures = {.connections = COUNT};
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    // The server may not have accepted all of them yet: they are counted by their ends.
    for (size_t i = 0; i < COUNT; i++) {
        char byte;
        while (recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
            cr_assert_lt(clock_monotonic_ns(), deadline_ns);
            http_watch(fixture.http);
            (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
        }
        (void)close(fds[i]);
    }
    while (figures.connections > 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        http_figures(fixture.http, &figures);
    }
    cr_assert_eq(fixture.calls, 0);
    http_stop(fixture.http, SECOND_NS);
}

// Until something can be read of a connection, or it has ended.
static void
readable_wait(struct fixture *fixture, int fd)
{
    char byte;
    struct timespec moment = {.tv_nsec = 10000000};
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        http_watch(fixture->http);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
}

Test(http, who_has_no_request_makes_room_for_who_waits_at_the_door)
{
    struct fixture fixture;
    int fds[CONNECTIONS_MAX];
    fixture_start(&fixture, 1, 10, 600 * SECOND_NS);
    pthread_mutex_lock(&fixture.gate);
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        fds[i] = client_connect(&fixture);
    client_send(fds[0], "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    inside_wait(&fixture, 1);
    struct http_figures figures = {0};
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (figures.connections < CONNECTIONS_MAX) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        http_figures(fixture.http, &figures);
    }
    // Nobody is at the door: all may stay.
    for (int i = 0; i < 3; i++)
        http_watch(fixture.http);
    http_figures(fixture.http, &figures);
    cr_assert_eq(figures.connections, CONNECTIONS_MAX);
    int late = client_connect(&fixture);
    client_send(
        late, "BREW /late HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: x\r\n\r\n");
    readable_wait(&fixture, late);
    client_expect(late, "BREW /late  1\n");
    http_figures(fixture.http, &figures);
    cr_assert_gt(figures.connections, CONNECTIONS_MAX / 2, "they do not all go");
    pthread_mutex_unlock(&fixture.gate);
    client_expect(fds[0], "GET /wait  0\n");
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        (void)close(fds[i]);
    (void)close(late);
    http_stop(fixture.http, SECOND_NS);
}

static void *
stop_run(void *argument)
{
    struct fixture *fixture = argument;
    http_stop(fixture->http, 60 * SECOND_NS);
    return NULL;
}

Test(http, finishes_what_it_has_when_it_stops)
{
    struct fixture fixture;
    pthread_t stopper;
    fixture_start(&fixture, 1, 10, 60 * SECOND_NS);
    pthread_mutex_lock(&fixture.gate);
    int busy = client_connect(&fixture), idle = client_connect(&fixture);
    client_send(idle, "GET /one HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(idle, "GET /one  0\n");
    client_send(busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    inside_wait(&fixture, 1);
    cr_assert_eq(pthread_create(&stopper, NULL, stop_run, &fixture), 0);
    pthread_mutex_unlock(&fixture.gate);
    client_expect(busy, "GET /wait  0\n");
    cr_assert_eq(pthread_join(stopper, NULL), 0);
    client_expect_end(busy);
    client_expect_end(idle);
    (void)close(busy);
    (void)close(idle);
}

Test(http, answers_what_is_no_request_itself)
{
    static const char *const broken[] = {
        "\r\n\r\nGET\r\n\r\n",
        "GET /a\r\n\r\n",
        "GET /a HTTP/9.9\r\n\r\n",
        "GET /a HTTP/1.1\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    struct fixture fixture;
    fixture_start(&fixture, 1, 10, 60 * SECOND_NS);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        int fd = client_connect(&fixture);
        client_send(fd, broken[i]);
        (void)shutdown(fd, SHUT_WR);
        client_expect_end(fd);
        (void)close(fd);
    }
    int fd = client_connect(&fixture);
    client_send(fd, "GET /a HTTP/1.1\r\nHost: x\r\nX-Large: ");
    char piece[1025];
    memset(piece, 'x', sizeof piece - 1);
    piece[sizeof piece - 1] = '\0';
    ssize_t sent = 1;
    for (int i = 0; i < 128 && sent > 0; i++)
        sent = send(fd, piece, sizeof piece - 1, MSG_NOSIGNAL);
    client_expect_end(fd);
    (void)close(fd);
    cr_assert_eq(fixture.calls, 0);
    http_stop(fixture.http, SECOND_NS);
}

// A byte at a time, for as long as it is taken.
Test(http, ends_who_sends_single_bytes)
{
    struct fixture fixture;
    fixture_start(&fixture, 1, 10, SECOND_NS / 2);
    int fd = client_connect(&fixture);
    client_send(fd, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    struct timespec moment = {.tv_nsec = 10000000};
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    char byte;
    while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        http_watch(fixture.http);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
    (void)close(fd);
    http_stop(fixture.http, SECOND_NS);
    cr_assert_eq(fixture.calls, 0);
}

Test(http, answers_a_broken_head_and_closes)
{
    struct fixture fixture;
    fixture_start(&fixture, 1, 10, 60 * SECOND_NS);
    int fd = client_connect(&fixture);
    client_send(
        fd,
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(fd, "POST /a  4\n");
    client_expect_end(fd);
    (void)close(fd);
    http_stop(fixture.http, SECOND_NS);
    cr_assert_eq(fixture.calls, 1);
}
