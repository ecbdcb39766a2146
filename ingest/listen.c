#include "ingest/listen.h"

#include "base/assert.h"
#include "base/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 1024, HOST_MAX = 256, PORT_MAX = 6 };

static void
fd_close(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

// --- addresses ---

static enum status
address_invalid(const char *address, struct error *error)
{
    return error_set(
        error, STATUS_INVALID, "%s is no address: HOST:PORT or [IPV6]:PORT is wanted", address);
}

static enum status
address_split(const char *address, char host[HOST_MAX], char port[PORT_MAX], struct error *error)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return address_invalid(address, error);
    const char *start = address;
    size_t host_size = (size_t)(colon - address);
    if (host_size >= 2 && address[0] == '[' && address[host_size - 1] == ']') {
        start++;
        host_size -= 2;
    } else if (memchr(address, ':', host_size) != NULL) {
        return address_invalid(address, error);
    }
    size_t port_size = strlen(colon + 1);
    bool is_number = port_size > 0 && strspn(colon + 1, "0123456789") == port_size;
    if (host_size == 0 || host_size >= HOST_MAX || !is_number || port_size >= PORT_MAX)
        return address_invalid(address, error);
    memcpy(host, start, host_size);
    host[host_size] = '\0';
    memcpy(port, colon + 1, port_size + 1);
    return STATUS_OK;
}

static void
addrinfo_done(struct addrinfo **list)
{
    if (*list != NULL)
        freeaddrinfo(*list);
}

static enum status
address_find(const char *address, struct addrinfo **out, struct error *error)
{
    char host[HOST_MAX];
    char port[PORT_MAX];
    enum status status = address_split(address, host, port, error);
    if (status)
        return status;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int result = getaddrinfo(host, port, &hints, out);
    if (result != 0) {
        *out = NULL;
        return error_set(
            error, STATUS_INVALID, "cannot find the address %s: %s", address, gai_strerror(result));
    }
    return STATUS_OK;
}

static bool
sockaddr_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return (ntohl(in.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

enum status
listen_is_loopback(const char *address, bool *out, struct error *error)
{
    scoped(addrinfo_done) struct addrinfo *found = NULL;
    enum status status = address_find(address, &found, error);
    if (status == STATUS_OK)
        *out = sockaddr_is_loopback(found->ai_addr);
    return status;
}

void
address_print(const struct sockaddr_storage *address, char *out, size_t out_size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        (void)snprintf(out, out_size, "[%s]:%u", host, (unsigned)ntohs(in6.sin6_port));
    } else {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        (void)snprintf(out, out_size, "%s:%u", host, (unsigned)ntohs(in.sin_port));
    }
}

// --- TCP ---

enum status
listen_tcp(const char *address, struct listener *out, struct error *error)
{
    scoped(addrinfo_done) struct addrinfo *found = NULL;
    enum status status = address_find(address, &found, error);
    if (status)
        return status;
    scoped(fd_close) int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "cannot make a socket for %s", address);
    int one = 1;
    struct sockaddr_storage bound = {0};
    socklen_t bound_size = sizeof bound;
    // Reuse: a restart must not wait for the kernel to forget the last run's connections.
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &bound_size) < 0)
        return error_set_errno(error, "cannot listen on %s", address);
    *out = (struct listener){.kind = LISTENER_TCP, .fd = fd};
    address_print(&bound, out->address, sizeof out->address);
    fd = -1;
    return STATUS_OK;
}

// --- UDP ---

// The kernel doubles what is asked, for its bookkeeping, and tells the double.
static int
room_raise(int fd, int room)
{
    int got = 0;
    socklen_t size = sizeof got;
    // Beyond net.core.rmem_max only for who may (CAP_NET_ADMIN).
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    (void)getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &size);
    return got / 2;
}

enum status
listen_udp(const char *address, int room, struct listener *out, int *out_room, struct error *error)
{
    scoped(addrinfo_done) struct addrinfo *found = NULL;
    enum status status = address_find(address, &found, error);
    if (status)
        return status;
    scoped(fd_close) int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "cannot make a UDP socket for %s", address);
    struct sockaddr_storage bound = {0};
    socklen_t bound_size = sizeof bound;
    int got = room_raise(fd, room);
    status = control_ask(fd, found->ai_family, error);
    if (status)
        return status;
    if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &bound_size) < 0)
        return error_set_errno(error, "cannot take datagrams on %s (UDP)", address);
    *out = (struct listener){.kind = LISTENER_UDP, .fd = fd};
    *out_room = got;
    address_print(&bound, out->address, sizeof out->address);
    fd = -1;
    return STATUS_OK;
}

// --- unix ---

// A socket's address holds 107 bytes of path. Through a descriptor of its folder every path is
// short.
struct unix_place {
    int dir_fd;
    struct sockaddr_un address;
    char name[NAME_MAX + 1];
};

static void
unix_place_done(struct unix_place *place)
{
    fd_close(&place->dir_fd);
}

static enum status
unix_place_find(const char *path, struct unix_place *out, struct error *error)
{
    char dir[LISTENER_ADDRESS_MAX] = ".";
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t dir_size = slash != NULL ? (size_t)(slash - path) : 0;
    if (name[0] == '\0' || strlen(path) >= sizeof dir)
        return error_set(error, STATUS_INVALID, "%s is no path for a socket", path);
    if (slash != NULL) {
        memcpy(dir, path, dir_size + 1);
        dir[dir_size > 0 ? dir_size : 1] = '\0';
    }
    out->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    out->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (out->dir_fd < 0)
        return error_set_errno(error, "cannot open %s for the socket %s", dir, name);
    size_t room = sizeof out->address.sun_path;
    int size = snprintf(out->address.sun_path, room, "/proc/self/fd/%d/%s", out->dir_fd, name);
    if (size < 0 || (size_t)size >= room)
        return error_set(error, STATUS_INVALID, "the socket's name %s is too long", name);
    memcpy(out->name, name, strlen(name) + 1);
    return STATUS_OK;
}

// Makes the name free: a socket that nobody answers on is what a killed process left.
static enum status
unix_place_clear(const struct unix_place *place, const char *path, struct error *error)
{
    struct stat state;
    if (fstatat(place->dir_fd, place->name, &state, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? STATUS_OK : error_set_errno(error, "cannot look at %s", path);
    if (!S_ISSOCK(state.st_mode))
        return error_set(error, STATUS_EXISTS, "%s exists and is no socket", path);
    scoped(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "cannot make a socket for %s", path);
    if (connect(fd, (const struct sockaddr *)&place->address, sizeof place->address) == 0)
        return error_set(error, STATUS_BUSY, "another process listens on %s", path);
    if (unlinkat(place->dir_fd, place->name, 0) < 0)
        return error_set_errno(error, "cannot remove the old socket %s", path);
    return STATUS_OK;
}

enum status
listen_unix(const char *path, struct listener *out, struct error *error)
{
    scoped(unix_place_done) struct unix_place place = {.dir_fd = -1};
    enum status status = unix_place_find(path, &place, error);
    if (status == STATUS_OK)
        status = unix_place_clear(&place, path, error);
    if (status)
        return status;
    scoped(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "cannot make a socket for %s", path);
    if (bind(fd, (const struct sockaddr *)&place.address, sizeof place.address) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0)
        return error_set_errno(error, "cannot listen on %s", path);
    *out = (struct listener){.kind = LISTENER_UNIX, .fd = fd};
    (void)snprintf(out->address, sizeof out->address, "%s", path);
    fd = -1;
    return STATUS_OK;
}

void
listener_close(struct listener *listener)
{
    if (listener->kind == LISTENER_NONE)
        return;
    if (listener->kind == LISTENER_UNIX)
        (void)unlink(listener->address);
    (void)close(listener->fd);
    *listener = (struct listener){.kind = LISTENER_NONE, .fd = -1};
}

// --- peers ---

static void
peer_describe_unix(int fd, struct peer *out)
{
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        return;
    out->is_own_user = cred.uid == geteuid();
    (void)snprintf(out->text, sizeof out->text, "unix:pid=%d uid=%u", (int)cred.pid, cred.uid);
}

// Peers that vanished without a word are noticed in two minutes, whether something is on its way to
// them or not; the kernel's own idea is two hours.
static void
peer_watch(int fd)
{
    static const struct {
        int level, option, value;
    } rows[] = {
        {SOL_SOCKET,  SO_KEEPALIVE,     1         },
        {IPPROTO_TCP, TCP_KEEPIDLE,     60        },
        {IPPROTO_TCP, TCP_KEEPINTVL,    15        },
        {IPPROTO_TCP, TCP_KEEPCNT,      4         },
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 120 * 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        (void)setsockopt(fd, rows[i].level, rows[i].option, &rows[i].value, sizeof rows[i].value);
}

static void
peer_describe_tcp(int fd, struct peer *out)
{
    int one = 1;
    // Acks are small and waited for.
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    peer_watch(fd);
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &size) == 0)
        address_print(&address, out->text, sizeof out->text);
}

void
peer_describe(enum listener_kind kind, int fd, struct peer *out)
{
    must(kind != LISTENER_NONE);
    *out = (struct peer){.text = "unknown", .is_tcp = kind == LISTENER_TCP};
    if (kind == LISTENER_UNIX)
        peer_describe_unix(fd, out);
    else
        peer_describe_tcp(fd, out);
}
