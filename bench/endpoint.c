#include "bench/endpoint.h"

#include "base/assert.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

const char *
transport_name(enum transport transport)
{
    static const char *const names[] = {
        [TRANSPORT_TCP] = "tcp", [TRANSPORT_UDP] = "udp", [TRANSPORT_UNIX] = "unix"};
    return names[transport];
}

static int
socket_type(enum transport transport)
{
    return transport == TRANSPORT_UDP ? SOCK_DGRAM : SOCK_STREAM;
}

static enum status
path_resolve(const char *path, struct endpoint *out, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof address.sun_path)
        return error_set(
            error,
            STATUS_INVALID,
            "the path of a unix socket may have 1 to %zu bytes: %s",
            sizeof address.sun_path - 1,
            path);
    memcpy(address.sun_path, path, size);
    memcpy(&out->address, &address, sizeof address);
    out->address_size = sizeof address;
    return STATUS_OK;
}

enum status
endpoint_resolve(
    enum transport transport, const char *text, struct endpoint *out, struct error *error)
{
    *out = (struct endpoint){.transport = transport};
    if (transport == TRANSPORT_UNIX)
        return path_resolve(text, out, error);
    char host[256];
    const char *colon = strrchr(text, ':');
    size_t size = colon != NULL ? (size_t)(colon - text) : 0;
    if (colon == NULL || size == 0 || size >= sizeof host)
        return error_set(error, STATUS_INVALID, "%s is not HOST:PORT", text);
    memcpy(host, text, size);
    host[size] = '\0';
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = socket_type(transport)};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc != 0)
        return error_set(error, STATUS_NOT_FOUND, "cannot resolve %s: %s", text, gai_strerror(rc));
    must(list->ai_addrlen <= sizeof out->address);
    memcpy(&out->address, list->ai_addr, list->ai_addrlen);
    out->address_size = list->ai_addrlen;
    freeaddrinfo(list);
    return STATUS_OK;
}

enum status
endpoint_connect(const struct endpoint *endpoint, int *out_fd, struct error *error)
{
    int one = 1;
    int fd =
        socket(endpoint->address.ss_family, socket_type(endpoint->transport) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "cannot make a socket");
    if (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->address_size) != 0) {
        (void)error_set_errno(error, "cannot connect to the server");
        close(fd);
        return error->status;
    }
    if (endpoint->transport == TRANSPORT_TCP)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *out_fd = fd;
    return STATUS_OK;
}
