#include "base/exporter.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct fixture {
    struct exporter *exporter;
    int calls;
};

static int
answer(void *context, const char *path, struct buffer *out, const char **out_content_type)
{
    struct fixture *fixture = context;
    fixture->calls++;
    if (strcmp(path, "/metrics") == 0) {
        buffer_text(out, "up 1\n");
        *out_content_type = "text/plain; version=0.0.4";
        return 200;
    }
    if (strcmp(path, "/huge") == 0) {
        (void)buffer_reserve(out, SIZE_MAX / 4);
        return 200;
    }
    if (strcmp(path, "/empty") == 0)
        return 204;
    buffer_format(out, "no %s here\n", path);
    return 404;
}

static void
fixture_done(struct fixture *fixture)
{
    exporter_stop(fixture->exporter);
}

static void
fixture_start(struct fixture *fixture, const char *address)
{
    *fixture = (struct fixture){0};
    struct error error = {0};
    enum status status = exporter_start(
        &(struct exporter_options){.address = address, .answer = answer, .context = fixture},
        &fixture->exporter,
        &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    cr_assert_neq(exporter_port(fixture->exporter), 0);
}

static int
client_connect(const struct fixture *fixture)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    struct timeval timeout = {.tv_sec = 10};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(exporter_port(fixture->exporter)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

// Sends a request that ends the connection and reads the whole response.
static const char *
exchange(const struct fixture *fixture, const char *request, char *response, size_t size)
{
    int fd = client_connect(fixture);
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    size_t used = 0;
    ssize_t count;
    while ((count = recv(fd, response + used, size - 1 - used, 0)) > 0)
        used += (size_t)count;
    response[used] = '\0';
    close(fd);
    return response;
}

struct request_row {
    const char *line;
    const char *more;
    const char *status;
    const char *contains;
    const char *ends;
};

#define METRICS_TYPE "Content-Type: text/plain; version=0.0.4\r\n"
#define OTHER_TYPE   "Content-Type: text/plain; charset=utf-8\r\n"
#define ALLOW        "Allow: GET, HEAD\r\n"
#define THREE        "Content-Length: 3\r\n"

static const struct request_row requests[] = {
    {"GET /metrics",     "",    "200", METRICS_TYPE,            "\r\n\r\nup 1\n"           },
    {"HEAD /metrics",    "",    "200", "Content-Length: 5\r\n", "\r\n\r\n"                 },
    {"GET /metrics?x=1", "",    "200", "",                      "up 1\n"                   },
    {"GET /",            "",    "404", OTHER_TYPE,              "no / here\n"              },
    {"GET /huge",        "",    "500", "",                      "the answer is too large\n"},
    {"GET /empty",       "",    "204", "",                      "\r\n\r\n"                 },
    {"POST /metrics",    THREE, "405", ALLOW,                   "here\n"                   },
    {"DELETE /metrics",  "",    "405", ALLOW,                   "here\n"                   },
    {"get /metrics",     "",    "405", ALLOW,                   "here\n"                   },
    {"GET /metrics",     THREE, "200", "",                      "up 1\n"                   },
};

// The request of a row, with the body that its headers announce.
static const char *
request_of(const struct request_row *row, char *out, size_t size)
{
    const char *body = row->more[0] ? "abc" : "";
    (void)snprintf(
        out,
        size,
        "%s HTTP/1.1\r\n%sHost: x\r\nConnection: close\r\n\r\n%s",
        row->line,
        row->more,
        body);
    return out;
}

Test(exporter, answers_get_and_head_only)
{
    scoped(fixture_done) struct fixture fixture;
    fixture_start(&fixture, "127.0.0.1:0");
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const struct request_row *row = &requests[i];
        char request[512];
        char response[4096];
        exchange(&fixture, request_of(row, request, sizeof request), response, sizeof response);
        cr_assert_eq(strncmp(response, "HTTP/1.1 ", 9), 0, "row %zu: %s", i, response);
        cr_assert_eq(strncmp(response + 9, row->status, 3), 0, "row %zu: %s", i, response);
        cr_assert_not_null(strstr(response, row->contains), "row %zu: %s", i, response);
        cr_assert_geq(strlen(response), strlen(row->ends));
        const char *end = response + strlen(response) - strlen(row->ends);
        cr_assert_str_eq(end, row->ends, "row %zu: %s", i, response);
    }
    cr_assert_eq(fixture.calls, 7, "refused methods never reach the callback");
}

Test(exporter, survives_what_is_no_request)
{
    scoped(fixture_done) struct fixture fixture;
    fixture_start(&fixture, "localhost:0");
    char response[4096];
    exchange(&fixture, "\x16\x03\x01\r\n\r\n\r\n", response, sizeof response);
    int half_open = client_connect(&fixture);
    cr_assert_eq(send(half_open, "GET /met", 8, MSG_NOSIGNAL), 8);
    char request[512];
    exchange(
        &fixture, request_of(&requests[0], request, sizeof request), response, sizeof response);
    cr_assert_not_null(strstr(response, "up 1\n"));
    close(half_open);
}

Test(exporter, a_kept_connection_is_answered_again)
{
    scoped(fixture_done) struct fixture fixture;
    fixture_start(&fixture, "127.0.0.1:0");
    int fd = client_connect(&fixture);
    for (int i = 0; i < 3; i++) {
        static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        cr_assert_eq(
            send(fd, request, sizeof request - 1, MSG_NOSIGNAL), (ssize_t)sizeof request - 1);
        char response[4096] = "";
        size_t used = 0;
        while (strstr(response, "up 1\n") == NULL) {
            ssize_t count = recv(fd, response + used, sizeof response - 1 - used, 0);
            cr_assert_gt(count, 0);
            used += (size_t)count;
            response[used] = '\0';
        }
    }
    close(fd);
    cr_assert_eq(fixture.calls, 3);
}

Test(exporter, bounds_its_connections)
{
    scoped(fixture_done) struct fixture fixture;
    fixture_start(&fixture, "127.0.0.1:0");
    int held[EXPORTER_CONNECTIONS_MAX];
    for (int i = 0; i < EXPORTER_CONNECTIONS_MAX; i++) {
        held[i] = client_connect(&fixture);
        // An answer shows that the server has the connection, not only the kernel.
        static const char request[] = "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n";
        char response[1024];
        cr_assert_eq(
            send(held[i], request, sizeof request - 1, MSG_NOSIGNAL), (ssize_t)sizeof request - 1);
        cr_assert_gt(recv(held[i], response, sizeof response, 0), 0, "connection %d", i);
    }
    // One more waits, is answered when another one leaves, and nothing else breaks.
    int waiting = client_connect(&fixture);
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    cr_assert_eq(
        send(waiting, request, sizeof request - 1, MSG_NOSIGNAL), (ssize_t)sizeof request - 1);
    char byte;
    struct timeval soon = {.tv_usec = 200000};
    cr_assert_eq(setsockopt(waiting, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
    cr_assert_leq(recv(waiting, &byte, 1, 0), 0);
    for (int i = 0; i < EXPORTER_CONNECTIONS_MAX; i++)
        close(held[i]);
    close(waiting);
    char response[4096];
    for (int tries = 0; tries < 200; tries++) {
        exchange(&fixture, request, response, sizeof response);
        if (strstr(response, "up 1\n") != NULL)
            return;
    }
    cr_assert_fail("not answered after the others left: %s", response);
}

Test(exporter, refuses_what_is_no_address)
{
    static const char *const addresses[] = {
        "",
        ":",
        "localhost",
        "localhost:",
        ":80",
        "127.0.0.1:http",
        "127.0.0.1:99999",
        "::1:80",
        "[::1]",
        "no.such.host.invalid:0"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct exporter *exporter = NULL;
        struct error error = {0};
        struct exporter_options options = {.address = addresses[i], .answer = answer};
        cr_assert_eq(
            exporter_start(&options, &exporter, &error), STATUS_INVALID, "%s", addresses[i]);
        cr_assert_not_null(strstr(error.text, addresses[i]));
        cr_assert_null(exporter);
    }
}

Test(exporter, refuses_a_port_that_is_taken)
{
    scoped(fixture_done) struct fixture fixture;
    fixture_start(&fixture, "127.0.0.1:0");
    char address[64];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", exporter_port(fixture.exporter));
    struct exporter *exporter = NULL;
    struct error error = {0};
    struct exporter_options options = {.address = address, .answer = answer};
    cr_assert_eq(exporter_start(&options, &exporter, &error), STATUS_IO);
    cr_assert_not_null(strstr(error.text, "in use"));
    exporter_stop(NULL);
}
