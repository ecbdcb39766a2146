#include "client/server_name.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static const char UNIX_PREFIX[] = "unix:";

static enum status
unix_parse(const char *path, struct server_name *out, struct error *error)
{
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof out->path)
        return error_set(error, STATUS_INVALID, "the path of the unix socket is empty or too long");
    out->is_unix = true;
    memcpy(out->path, path, size + 1);
    return STATUS_OK;
}

static bool
port_is_valid(const char *text)
{
    uint32_t port = 0;
    size_t size = strlen(text);
    if (size == 0 || size > SERVER_PORT_TEXT_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

enum status
server_name_parse(const char *text, struct server_name *out, struct error *error)
{
    struct server_name name = {0};
    if (strncmp(text, UNIX_PREFIX, sizeof UNIX_PREFIX - 1) == 0) {
        enum status status = unix_parse(text + sizeof UNIX_PREFIX - 1, &name, error);
        if (status == STATUS_OK)
            *out = name;
        return status;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !port_is_valid(colon + 1))
        return error_set(
            error, STATUS_INVALID, "server \"%s\" is not HOST:PORT or unix:PATH", text);
    const char *host = text;
    size_t size = (size_t)(colon - text);
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    }
    if (size == 0 || size > SERVER_HOST_MAX)
        return error_set(error, STATUS_INVALID, "the host of server \"%s\" is no name", text);
    memcpy(name.host, host, size);
    memcpy(name.port, colon + 1, strlen(colon + 1));
    *out = name;
    return STATUS_OK;
}

static void
unix_address_set(struct server_addresses *addresses, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    memcpy(&addresses->items[0].storage, &address, sizeof address);
    addresses->items[0].size = sizeof address;
    addresses->count = 1;
}

static enum status
unix_resolve_long(const char *path, struct server_addresses *out, struct error *error)
{
    char directory[PATH_MAX];
    char shorter[sizeof((struct sockaddr_un *)NULL)->sun_path];
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    size_t size = (size_t)(file - path);
    memcpy(directory, size > 0 ? path : ".", size > 0 ? size : 1);
    directory[size > 0 ? size : 1] = '\0';
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open the directory %s", directory);
    int length = snprintf(shorter, sizeof shorter, "/proc/self/fd/%d/%s", fd, file);
    if (length < 0 || (size_t)length >= sizeof shorter) {
        close(fd);
        return error_set(error, STATUS_INVALID, "the socket's file name %s is too long", file);
    }
    unix_address_set(out, shorter);
    out->directory_fd = fd;
    return STATUS_OK;
}

static enum status
host_resolve(const struct server_name *name, struct server_addresses *out, struct error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(name->host, name->port, &hints, &list);
    if (rc != 0)
        return error_set(
            error, STATUS_NOT_FOUND, "cannot resolve %s: %s", name->host, gai_strerror(rc));
    for (struct addrinfo *at = list; at != NULL && out->count < SERVER_ADDRESSES_MAX;
         at = at->ai_next) {
        struct server_address *item = &out->items[out->count];
        if (at->ai_addrlen > sizeof item->storage)
            continue;
        memcpy(&item->storage, at->ai_addr, at->ai_addrlen);
        item->size = at->ai_addrlen;
        out->count++;
    }
    freeaddrinfo(list);
    if (out->count == 0)
        return error_set(error, STATUS_NOT_FOUND, "%s has no address", name->host);
    return STATUS_OK;
}

bool
server_name_is_numeric(const struct server_name *name)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    if (name->is_unix)
        return true;
    if (getaddrinfo(name->host, name->port, &hints, &list) != 0)
        return false;
    freeaddrinfo(list);
    return true;
}

enum status
server_name_resolve(
    const struct server_name *name, struct server_addresses *out, struct error *error)
{
    struct sockaddr_un address;
    *out = (struct server_addresses){.directory_fd = -1};
    if (!name->is_unix)
        return host_resolve(name, out, error);
    if (strlen(name->path) >= sizeof address.sun_path)
        return unix_resolve_long(name->path, out, error);
    unix_address_set(out, name->path);
    return STATUS_OK;
}

void
server_addresses_done(struct server_addresses *addresses)
{
    if (addresses->directory_fd >= 0)
        close(addresses->directory_fd);
    *addresses = (struct server_addresses){.directory_fd = -1};
}
