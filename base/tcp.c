#include "base/tcp.h"

#include "base/assert.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST_MAX = 256 };

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
                        bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
                        listen(fd, TCP_BACKLOG) == 0;
    if (!is_listening) {
        int reason = errno;
        (void)close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

enum status
tcp_listen(const char *address, int *out_fd, struct error *error)
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

uint16_t
tcp_port(int fd)
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
