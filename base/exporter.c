#include "base/exporter.h"

#include "base/assert.h"
#include "base/pool.h"

#include <microhttpd.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HOST_MAX = 256,
    BACKLOG = 64,
    BODY_MAX = 16 << 20,
};

struct exporter {
    struct MHD_Daemon *daemon;
    exporter_answer answer;
    void *context;
    uint16_t port;
};

// Splits "HOST:PORT" at the last colon; an IPv6 address stands in brackets.
static bool
address_split(const char *address, char host[HOST_MAX], const char **out_port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0')
        return false;
    const char *begin = address;
    size_t size = (size_t)(colon - address);
    if (size >= 2 && begin[0] == '[' && begin[size - 1] == ']') {
        begin++;
        size -= 2;
    } else if (memchr(begin, ':', size) != NULL) {
        return false;
    }
    if (size == 0 || size >= HOST_MAX)
        return false;
    memcpy(host, begin, size);
    host[size] = '\0';
    *out_port = colon + 1;
    return true;
}

// getaddrinfo would take 99999 for 34463.
static bool
is_port(const char *text)
{
    unsigned port = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return false;
        port = port * 10 + (unsigned)(*at - '0');
        if (port > UINT16_MAX)
            return false;
    }
    return true;
}

static int
listen_on(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int yes = 1;
    bool is_listening = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
                        bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    if (!is_listening) {
        int reason = errno;
        (void)close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

static enum status
address_listen(const char *address, int *out_fd, struct error *error)
{
    char host[HOST_MAX];
    const char *port;
    if (!address_split(address, host, &port) || !is_port(port))
        return error_set(error, STATUS_INVALID, "\"%s\" is not HOST:PORT", address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *infos = NULL;
    int rc = getaddrinfo(host, port, &hints, &infos);
    if (rc != 0)
        return error_set(error, STATUS_INVALID, "\"%s\": %s", address, gai_strerror(rc));
    int fd = listen_on(infos);
    int reason = errno;
    freeaddrinfo(infos);
    errno = reason;
    if (fd < 0)
        return error_set_errno(error, "cannot listen on %s", address);
    *out_fd = fd;
    return STATUS_OK;
}

static uint16_t
port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address = {0};
    socklen_t size = sizeof address;
    int rc = getsockname(fd, &address.any, &size);
    must(rc == 0);
    return ntohs(address.any.sa_family == AF_INET6 ? address.in6.sin6_port : address.in.sin_port);
}

// Takes no body over: the library copies it.
static enum MHD_Result
respond(
    struct MHD_Connection *connection,
    unsigned status,
    const struct buffer *body,
    const char *header,
    const char *value)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->size, body->data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, header, value);
    if (result == MHD_YES)
        result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
answer(const struct exporter *exporter, struct MHD_Connection *connection, const char *path)
{
    scoped(buffer_done) struct buffer out = {.limit = BODY_MAX};
    const char *content_type = "text/plain; charset=utf-8";
    int status = exporter->answer(exporter->context, path, &out, &content_type);
    must(status >= 200 && status <= 599);
    if (buffer_failed(&out)) {
        buffer_reset(&out);
        buffer_text(&out, "the answer is too large\n");
        content_type = "text/plain; charset=utf-8";
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    return respond(connection, (unsigned)status, &out, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
}

static enum MHD_Result
refuse_method(struct MHD_Connection *connection)
{
    scoped(buffer_done) struct buffer out = {0};
    buffer_text(&out, "only GET and HEAD are answered here\n");
    return respond(
        connection, MHD_HTTP_METHOD_NOT_ALLOWED, &out, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
}

// The library's callback. A request's body is read and dropped.
static enum MHD_Result
on_request(  // NOLINT(readability-function-size): the library chose the parameters
    void *context,
    struct MHD_Connection *connection,
    const char *path,
    const char *method,
    const char *version,
    const char *body,
    size_t *body_size,
    void **state)
{
    (void)version;
    (void)body;
    // Refused before its body is read, which also ends the connection.
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return refuse_method(connection);
    // The library calls once before the request is whole, then with parts of a body, then at its
    // end. Answering at the end lets the connection live on.
    if (*state == NULL || *body_size > 0) {
        *state = context;
        *body_size = 0;
        return MHD_YES;
    }
    return answer(context, connection, path);
}

static struct MHD_Daemon *
daemon_start(int fd, struct exporter *exporter)
{
    return MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
        0,
        NULL,
        NULL,
        on_request,
        exporter,
        MHD_OPTION_LISTEN_SOCKET,
        fd,
        MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)EXPORTER_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)EXPORTER_TIMEOUT_S,
        MHD_OPTION_END);
}

enum status
exporter_start(const struct exporter_options *options, struct exporter **out, struct error *error)
{
    must(options->address != NULL && options->answer != NULL);
    int fd = -1;
    enum status status = address_listen(options->address, &fd, error);
    if (status)
        return status;
    struct exporter *exporter = pool_take(1, sizeof *exporter);
    if (exporter == NULL) {
        (void)close(fd);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the metrics server");
    }
    exporter->answer = options->answer;
    exporter->context = options->context;
    exporter->port = port_of(fd);
    exporter->daemon = daemon_start(fd, exporter);
    if (exporter->daemon == NULL) {
        (void)close(fd);
        pool_give(exporter);
        return error_set(
            error, STATUS_IO, "cannot start the metrics server on %s", options->address);
    }
    *out = exporter;
    return STATUS_OK;
}

uint16_t
exporter_port(const struct exporter *exporter)
{
    return exporter->port;
}

void
exporter_stop(struct exporter *exporter)
{
    if (exporter == NULL)
        return;
    // Ends the thread and closes the listening socket, too.
    MHD_stop_daemon(exporter->daemon);
    pool_give(exporter);
}
