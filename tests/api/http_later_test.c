// Answers that no thread waits for, and the loops that carry them: who makes which, how many
// connections a loop has, and what 128 requests at once do.

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

enum {
    TEXT_MAX = 4096,
    SMALL_MAX = 100,
    LATERS_MAX = 256,
    LOOPS_MAX = 4,
    AT_ONCE = 128,  // what libmicrohttpd takes from the kernel at a time
};

struct later {
    const struct http_request *request;
    struct http_response *response;
    atomic_bool is_made;
};

struct fixture {
    struct http *http;
    pthread_mutex_t mutex;  // for what follows
    pthread_cond_t changed;
    struct later laters[LATERS_MAX];
    size_t laters_count;
    pthread_t loops[LOOPS_MAX];  // threads that begin requests, and of how many each
    size_t begun[LOOPS_MAX];
    bool is_open;  // the gate: "/gate" waits for it, on its loop's thread
    bool has_come;
    atomic_int handled;
};

static void
response_fill(struct http_response *response, const char *what, const char *target)
{
    response->status = 200;
    response->content_type = "text/plain";
    buffer_format(&response->body, "%s %s\n", what, target);
}

static void
handle(void *context, const struct http_request *request, struct http_response *response)
{
    struct fixture *fixture = context;
    atomic_fetch_add(&fixture->handled, 1);
    response_fill(response, "worker", request->target);
}

static void
later_finish(void *state)
{
    struct later *later = state;
    response_fill(later->response, "later", later->request->target);
    atomic_store(&later->is_made, true);
}

static void
loop_count(struct fixture *fixture)
{
    for (size_t i = 0; i < LOOPS_MAX; i++) {
        if (fixture->begun[i] > 0 && !pthread_equal(fixture->loops[i], pthread_self()))
            continue;
        fixture->loops[i] = pthread_self();
        fixture->begun[i]++;
        return;
    }
    cr_assert_fail("more loops than there are");
}

static enum http_turn
begin(void *context, const struct http_request *request, struct http_response *response)
{
    struct fixture *fixture = context;
    enum http_turn turn = HTTP_TO_WORKER;
    pthread_mutex_lock(&fixture->mutex);
    loop_count(fixture);
    if (strcmp(request->target, "/gate") == 0) {
        fixture->has_come = true;
        pthread_cond_broadcast(&fixture->changed);
        while (!fixture->is_open)
            pthread_cond_wait(&fixture->changed, &fixture->mutex);
    } else if (strcmp(request->target, "/later") == 0) {
        struct later *later = &fixture->laters[fixture->laters_count++];
        later->request = request;
        later->response = response;
        http_later(request, later_finish, later);
        pthread_cond_broadcast(&fixture->changed);
        turn = HTTP_LATER;
    } else if (strcmp(request->target, "/now") == 0) {
        response_fill(response, "now", request->target);
        turn = HTTP_ANSWERED;
    }
    pthread_mutex_unlock(&fixture->mutex);
    return turn;
}

static void
fixture_start(struct fixture *fixture, uint32_t loops, uint32_t connections_max)
{
    struct error error = {0};
    *fixture = (struct fixture){0};
    pthread_mutex_init(&fixture->mutex, NULL);
    pthread_cond_init(&fixture->changed, NULL);
    struct http_options options = {
        .address = "127.0.0.1:0",
        .loops = loops,
        .workers = 2,
        .waiting_max = 256,
        .connections_max = connections_max,
        .body_max = 10000,
        .bodies_max = 1000000,
        .idle_ns = 600 * SECOND_NS,
        .body_ns = 600 * SECOND_NS,
        .answer_ns = 600 * SECOND_NS,
        .handle = handle,
        .begin = begin,
        .begin_max = SMALL_MAX,
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
client_ask(int fd, const char *target)
{
    char text[TEXT_MAX];
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    cr_assert_eq(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
}

static void
client_expect(int fd, const char *text)
{
    char got[TEXT_MAX] = {0};
    size_t size = 0;
    while (strstr(got, text) == NULL) {
        ssize_t count = recv(fd, got + size, sizeof got - 1 - size, 0);
        cr_assert_gt(count, 0, "%s instead of %s after: %s", strerror(errno), text, got);
        size += (size_t)count;
        got[size] = '\0';
    }
}

static void
laters_wait(struct fixture *fixture, size_t count)
{
    pthread_mutex_lock(&fixture->mutex);
    while (fixture->laters_count < count)
        pthread_cond_wait(&fixture->changed, &fixture->mutex);
    pthread_mutex_unlock(&fixture->mutex);
}

Test(http_later, is_made_by_who_can, .timeout = 120)
{
    static struct fixture fixture;
    char large[SMALL_MAX + 300];
    fixture_start(&fixture, 2, 64);
    int fd = client_connect(&fixture);
    client_ask(fd, "/now");
    client_expect(fd, "now /now\n");
    client_ask(fd, "/worker");
    client_expect(fd, "worker /worker\n");
    // Twice, for a connection is to go on behind a later answer.
    for (size_t i = 0; i < 2; i++) {
        client_ask(fd, "/later");
        laters_wait(&fixture, i + 1);
        http_continue(fixture.laters[i].request);
        client_expect(fd, "later /later\n");
    }
    // A body larger than begin_max is not begun.
    int head = snprintf(
        large,
        sizeof large,
        "POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
        SMALL_MAX + 1);
    memset(large + head, 'x', SMALL_MAX + 1);
    size_t size = (size_t)head + SMALL_MAX + 1;
    cr_assert_eq(send(fd, large, size, MSG_NOSIGNAL), (ssize_t)size);
    client_expect(fd, "worker /now\n");
    cr_assert_eq(fixture.handled, 2);
    (void)close(fd);
    http_stop(fixture.http, SECOND_NS);
}

static void *
stop_run(void *argument)
{
    struct fixture *fixture = argument;
    http_stop(fixture->http, 0);
    return NULL;
}

// Whoever has the request would write into what is gone.
Test(http_later, is_waited_for_by_the_stop, .timeout = 120)
{
    static struct fixture fixture;
    pthread_t stopper;
    fixture_start(&fixture, 2, 64);
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = client_connect(&fixture);
        client_ask(fds[i], "/later");
    }
    laters_wait(&fixture, 3);
    cr_assert_eq(pthread_create(&stopper, NULL, stop_run, &fixture), 0);
    for (size_t i = 0; i < 3; i++)
        http_continue(fixture.laters[i].request);
    cr_assert_eq(pthread_join(stopper, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        (void)close(fds[i]);
}

// What was asked for is done, so it is counted and logged; and the stop does not wait for ever.
Test(http_later, is_made_though_its_client_has_gone, .timeout = 120)
{
    static struct fixture fixture;
    fixture_start(&fixture, 2, 64);
    for (size_t i = 0; i < 8; i++) {
        int fd = client_connect(&fixture);
        client_ask(fd, "/later");
        laters_wait(&fixture, i + 1);
        // Half of them by a reset.
        struct linger linger = {.l_onoff = i % 2 == 1, .l_linger = 0};
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
        (void)close(fd);
        http_continue(fixture.laters[i].request);
    }
    http_stop(fixture.http, 60 * SECOND_NS);
    for (size_t i = 0; i < 8; i++)
        cr_assert(atomic_load(&fixture.laters[i].is_made), "answer %zu", i);
}

// libmicrohttpd's own threads would wait for a 129th before they look at these.
Test(http_loop, reads_128_requests_that_come_at_once, .timeout = 300)
{
    static struct fixture fixture;
    int fds[AT_ONCE];
    fixture_start(&fixture, 1, AT_ONCE + 1);
    int gate = client_connect(&fixture);
    // Each is known to the loop when it has had an answer.
    for (size_t i = 0; i < AT_ONCE; i++) {
        fds[i] = client_connect(&fixture);
        client_ask(fds[i], "/now");
        client_expect(fds[i], "now /now\n");
    }
    client_ask(gate, "/gate");
    pthread_mutex_lock(&fixture.mutex);
    while (!fixture.has_come)
        pthread_cond_wait(&fixture.changed, &fixture.mutex);
    pthread_mutex_unlock(&fixture.mutex);
    // The loop stands; all of these are there when it goes on.
    for (size_t i = 0; i < AT_ONCE; i++)
        client_ask(fds[i], "/later");
    pthread_mutex_lock(&fixture.mutex);
    fixture.is_open = true;
    pthread_cond_broadcast(&fixture.changed);
    pthread_mutex_unlock(&fixture.mutex);
    laters_wait(&fixture, AT_ONCE);
    client_expect(gate, "worker /gate\n");
    for (size_t i = 0; i < AT_ONCE; i++)
        http_continue(fixture.laters[i].request);
    for (size_t i = 0; i < AT_ONCE; i++) {
        client_expect(fds[i], "later /later\n");
        (void)close(fds[i]);
    }
    (void)close(gate);
    http_stop(fixture.http, SECOND_NS);
}

Test(http_loop, has_as_many_connections_as_the_others, .timeout = 120)
{
    static struct fixture fixture;
    int fds[12];
    fixture_start(&fixture, 3, 64);
    for (size_t i = 0; i < 12; i++) {
        fds[i] = client_connect(&fixture);
        client_ask(fds[i], "/now");
        client_expect(fds[i], "now /now\n");
    }
    for (size_t i = 0; i < LOOPS_MAX; i++)
        cr_assert_eq(fixture.begun[i], i < 3 ? 4 : 0);
    for (size_t i = 0; i < 12; i++)
        (void)close(fds[i]);
    http_stop(fixture.http, SECOND_NS);
}

// The third is taken when one of the two has gone.
Test(http_loop, has_no_more_connections_than_may_be, .timeout = 120)
{
    static struct fixture fixture;
    int fds[3];
    struct http_figures figures;
    fixture_start(&fixture, 2, 2);
    for (size_t i = 0; i < 3; i++)
        fds[i] = client_connect(&fixture);
    client_ask(fds[2], "/now");
    for (size_t i = 0; i < 2; i++) {
        client_ask(fds[i], "/now");
        client_expect(fds[i], "now /now\n");
    }
    char byte;
    cr_assert_lt(recv(fds[2], &byte, 1, MSG_DONTWAIT), 0);
    http_figures(fixture.http, &figures);
    cr_assert_eq(figures.connections, 2);
    (void)close(fds[0]);
    client_expect(fds[2], "now /now\n");
    (void)close(fds[1]);
    (void)close(fds[2]);
    http_stop(fixture.http, SECOND_NS);
}
