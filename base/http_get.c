#include "base/http_get.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct exchange {
    int fd;
    int64_t deadline_ns;
    const char *address;
};

static enum status
ready_wait(const struct exchange *exchange, short events, struct error *error)
{
    struct pollfd ready = {.fd = exchange->fd, .events = events};
    for (;;) {
        int64_t left_ns = exchange->deadline_ns - clock_monotonic_ns();
        int rc = left_ns > 0 ? poll(&ready, 1, (int)(left_ns / 1000000) + 1) : 0;
        if (rc > 0)
            return STATUS_OK;
        if (rc == 0)
            return error_set(error, STATUS_TIMEOUT, "%s does not answer", exchange->address);
        if (errno != EINTR)
            return error_set_errno(error, "cannot wait for %s", exchange->address);
    }
}

static enum status
address_resolve(
    const char *address, struct arena *arena, struct addrinfo **out, struct error *error)
{
    const char *colon = strrchr(address, ':');
    if (!colon)
        return error_set(error, STATUS_INVALID, "%s is not HOST:PORT", address);
    bool is_bracketed = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
    const char *from = address + is_bracketed;
    const char *to = colon - is_bracketed;
    char *host = arena_text_of(arena, bytes_of(from, (size_t)(to - from)));
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(host, colon + 1, &hints, out);
    if (rc != 0)
        return error_set(error, STATUS_INVALID, "%s: %s", address, gai_strerror(rc));
    return STATUS_OK;
}

static enum status
exchange_connect(struct exchange *exchange, const struct addrinfo *target, struct error *error)
{
    exchange->fd = socket(target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (exchange->fd < 0)
        return error_set_errno(error, "cannot make a socket");
    if (connect(exchange->fd, target->ai_addr, target->ai_addrlen) == 0)
        return STATUS_OK;
    if (errno != EINPROGRESS)
        return error_set_errno(error, "cannot connect to %s", exchange->address);
    enum status status = ready_wait(exchange, POLLOUT, error);
    if (status)
        return status;
    int failure = 0;
    socklen_t size = sizeof failure;
    getsockopt(exchange->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    errno = failure;
    return failure ? error_set_errno(error, "cannot connect to %s", exchange->address) : STATUS_OK;
}

// The request is far smaller than any socket's buffer, so one send takes it.
static enum status
request_send(
    const struct exchange *exchange, const char *path, struct arena *arena, struct error *error)
{
    const char *request =
        arena_format(arena, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, exchange->address);
    size_t size = strlen(request);
    if (send(exchange->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size)
        return error_set_errno(error, "cannot ask %s", exchange->address);
    return STATUS_OK;
}

static enum status
answer_receive(const struct exchange *exchange, struct buffer *out, struct error *error)
{
    for (;;) {
        enum status status = ready_wait(exchange, POLLIN, error);
        if (status)
            return status;
        uint8_t *room = buffer_reserve(out, 4096);
        if (!room)
            return error_set(error, STATUS_FULL, "%s answers too much", exchange->address);
        ssize_t got = recv(exchange->fd, room, 4096, 0);
        if (got == 0)
            return STATUS_OK;
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return error_set_errno(error, "cannot read from %s", exchange->address);
        buffer_commit(out, got > 0 ? (size_t)got : 0);
    }
}

static enum status
answer_read(
    const struct exchange *exchange, const char *text, struct http_answer *out, struct error *error)
{
    const char *space = strncmp(text, "HTTP/1.", 7) == 0 ? strchr(text, ' ') : NULL;
    const char *body = strstr(text, "\r\n\r\n");
    if (!space || !body)
        return error_set(error, STATUS_INVALID, "%s does not speak HTTP", exchange->address);
    *out = (struct http_answer){(int)strtol(space + 1, NULL, 10), body + 4};
    return STATUS_OK;
}

enum status
http_get(
    const char *address,
    const char *path,
    int timeout_ms,
    struct arena *arena,
    struct http_answer *out,
    struct error *error)
{
    struct addrinfo *target = NULL;
    enum status status = address_resolve(address, arena, &target, error);
    if (status)
        return status;
    must(target != NULL);
    struct exchange exchange = {-1, clock_monotonic_ns() + timeout_ms * 1000000LL, address};
    scoped(buffer_done) struct buffer text = {.limit = HTTP_ANSWER_MAX};
    status = exchange_connect(&exchange, target, error);
    if (!status)
        status = request_send(&exchange, path, arena, error);
    if (!status)
        status = answer_receive(&exchange, &text, error);
    if (!status)
        status = answer_read(&exchange, arena_text_of(arena, buffer_view(&text)), out, error);
    if (exchange.fd >= 0)
        close(exchange.fd);
    freeaddrinfo(target);
    return status;
}
