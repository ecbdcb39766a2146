#include "client/uplink.h"

#include "base/assert.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

enum { READ_SIZE = TLS_RECORD_MAX };

void
uplink_init(struct uplink *uplink, const struct uplink_options *options)
{
    *uplink = (struct uplink){
        .options = *options,
        .fd = -1,
        .addresses = {.directory_fd = -1},
        // One message that is not complete yet, and one read behind it.
        .received = {.limit = options->message_size_max + READ_SIZE},
    };
}

static const struct server_name *
server_of(const struct uplink *uplink)
{
    return &uplink->options.servers->items[uplink->server_index];
}

static void
fd_close(struct uplink *uplink)
{
    tls_close(&uplink->tls);
    if (uplink->fd >= 0)
        close(uplink->fd);
    uplink->fd = -1;
}

void
uplink_stop(struct uplink *uplink)
{
    fd_close(uplink);
    server_addresses_done(&uplink->addresses);
    buffer_reset(&uplink->received);
    uplink->consumed_size = 0;
    uplink->scan = (struct unpack_scan){0};
    uplink->phase = UPLINK_DOWN;
}

static void
lookup_forget(struct uplink *uplink, uint32_t index)
{
    if (uplink->lookups[index] != NULL)
        lookup_leave(uplink->lookups[index]);
    uplink->lookups[index] = NULL;
}

void
uplink_done(struct uplink *uplink)
{
    uplink_stop(uplink);
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        lookup_forget(uplink, i);
    buffer_done(&uplink->received);
}

// --- waiting ---

int
uplink_fd(const struct uplink *uplink)
{
    if (uplink->phase == UPLINK_LOOKING)
        return lookup_fd(uplink->lookups[uplink->server_index]);
    return uplink->fd;
}

short
uplink_events(const struct uplink *uplink, bool is_writing)
{
    bool is_tls = uplink->tls.session != NULL;
    switch (uplink->phase) {
    case UPLINK_DOWN: return 0;
    case UPLINK_LOOKING: return POLLIN;
    case UPLINK_CONNECTING: return POLLOUT;
    case UPLINK_SECURING: return uplink->tls.read_wants;
    case UPLINK_UP: break;
    }
    short reading = is_tls ? uplink->tls.read_wants : POLLIN;
    short writing = is_tls ? uplink->tls.write_wants : POLLOUT;
    return (short)(reading | (is_writing ? writing : 0));
}

// --- connecting ---

// Begins to connect to the address at address_index.
static enum status
address_start(struct uplink *uplink, struct error *error)
{
    const struct server_address *address = &uplink->addresses.items[uplink->address_index];
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "cannot make a socket");
    // Batches are already large; waiting to make segments larger would only delay the last piece
    // of each. A unix socket refuses the option, which is as good.
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    uplink->fd = fd;
    int rc = connect(fd, (const struct sockaddr *)&address->storage, address->size);
    if (rc != 0 && errno != EINPROGRESS) {
        enum status status = error_set_errno(error, "cannot connect");
        fd_close(uplink);
        return status;
    }
    uplink->phase = UPLINK_CONNECTING;
    return STATUS_OK;
}

// Goes on to the next address that can be begun; when there is none, error keeps what the last
// one said.
static enum status
address_next(struct uplink *uplink, struct error *error)
{
    fd_close(uplink);
    while (++uplink->address_index < uplink->addresses.count)
        if (address_start(uplink, error) == STATUS_OK)
            return STATUS_BUSY;
    uplink_stop(uplink);
    return error->status;
}

static enum status
address_first(struct uplink *uplink, struct error *error)
{
    uplink->address_index = -1;
    return address_next(uplink, error);
}

enum status
uplink_start(struct uplink *uplink, uint32_t index, struct error *error)
{
    must(uplink->phase == UPLINK_DOWN && index < uplink->options.servers->count);
    uplink->server_index = index;
    const struct server_name *name = server_of(uplink);
    if (server_name_is_numeric(name)) {
        enum status status = server_name_resolve(name, &uplink->addresses, error);
        if (status == STATUS_OK)
            status = address_first(uplink, error);
        return status == STATUS_BUSY ? STATUS_OK : status;
    }
    // An answer that came too late for the last attempt is good for this one; when it is of no use
    // the next attempt asks again.
    if (uplink->lookups[index] == NULL) {
        enum status status = lookup_start(name, &uplink->lookups[index], error);
        if (status != STATUS_OK)
            return status;
    }
    uplink->phase = UPLINK_LOOKING;
    return STATUS_OK;
}

static enum status
lookup_finish(struct uplink *uplink, struct error *error)
{
    enum status status;
    struct lookup *lookup = uplink->lookups[uplink->server_index];
    if (!lookup_take(lookup, &status, &uplink->addresses, error))
        return STATUS_OK;
    lookup_forget(uplink, uplink->server_index);
    if (status == STATUS_OK)
        return address_first(uplink, error);
    uplink_stop(uplink);
    return status;
}

static enum status
shake_finish(struct uplink *uplink, struct error *error)
{
    enum status status = tls_shake(&uplink->tls, error);
    if (status == STATUS_BUSY)
        return STATUS_OK;
    if (status == STATUS_CLOSED)
        status = error_set(
            error, status, "the server ended the TLS handshake: perhaps it speaks no TLS");
    if (status != STATUS_OK)
        return address_next(uplink, error);
    server_addresses_done(&uplink->addresses);
    uplink->phase = UPLINK_UP;
    return STATUS_OK;
}

static enum status
shake_start(struct uplink *uplink, struct error *error)
{
    const struct uplink_options *options = &uplink->options;
    const char *name = options->tls_name != NULL ? options->tls_name : server_of(uplink)->host;
    if (tls_open(&uplink->tls, options->tls, uplink->fd, name, error) != STATUS_OK)
        return address_next(uplink, error);
    uplink->phase = UPLINK_SECURING;
    return shake_finish(uplink, error);
}

static enum status
connect_finish(struct uplink *uplink, struct error *error)
{
    int cause = 0;
    socklen_t size = sizeof cause;
    if (getsockopt(uplink->fd, SOL_SOCKET, SO_ERROR, &cause, &size) != 0)
        cause = errno;
    if (cause != 0) {
        errno = cause;
        (void)error_set_errno(error, "cannot connect");
        return address_next(uplink, error);
    }
    if (uplink->options.tls != NULL)
        return shake_start(uplink, error);
    server_addresses_done(&uplink->addresses);
    uplink->phase = UPLINK_UP;
    return STATUS_OK;
}

enum status
uplink_finish(struct uplink *uplink, struct error *error)
{
    must(uplink->phase != UPLINK_DOWN && uplink->phase != UPLINK_UP);
    switch (uplink->phase) {
    case UPLINK_LOOKING: return lookup_finish(uplink, error);
    case UPLINK_CONNECTING: return connect_finish(uplink, error);
    case UPLINK_SECURING: return shake_finish(uplink, error);
    case UPLINK_DOWN:
    case UPLINK_UP: break;
    }
    return STATUS_OK;
}

enum status
uplink_give_up(struct uplink *uplink, struct error *error)
{
    must(uplink->phase != UPLINK_DOWN && uplink->phase != UPLINK_UP);
    if (uplink->phase == UPLINK_LOOKING) {
        uplink_stop(uplink);
        return error_set(
            error,
            STATUS_TIMEOUT,
            "cannot resolve %s: DNS does not answer",
            server_of(uplink)->host);
    }
    if (uplink->phase == UPLINK_SECURING)
        (void)error_set(error, STATUS_TIMEOUT, "TLS: the server does not answer");
    else
        (void)error_set(error, STATUS_TIMEOUT, "cannot connect: the server does not answer");
    return address_next(uplink, error);
}

// --- bytes ---

// Part by part: what TLS did not take at once must be offered again just so.
static enum status
tls_write_parts(
    struct uplink *uplink,
    const struct iovec *parts,
    size_t parts_count,
    size_t *out_size,
    struct error *error)
{
    size_t whole = 0;
    for (size_t i = 0; i < parts_count; i++) {
        for (size_t done = 0; done < parts[i].iov_len;) {
            const uint8_t *data = parts[i].iov_base;
            size_t size;
            struct bytes left = bytes_of(data + done, parts[i].iov_len - done);
            enum status status = tls_write(&uplink->tls, left, &size, error);
            if (status != STATUS_OK)
                return status;
            if (size == 0) {
                *out_size = whole;
                return STATUS_OK;
            }
            done += size;
            whole += size;
        }
    }
    *out_size = whole;
    return STATUS_OK;
}

enum status
uplink_write(
    struct uplink *uplink,
    struct iovec *parts,
    size_t parts_count,
    size_t *out_size,
    struct error *error)
{
    must(uplink->phase == UPLINK_UP);
    if (uplink->tls.session != NULL)
        return tls_write_parts(uplink, parts, parts_count, out_size, error);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = parts_count};
    ssize_t size;
    do
        size = sendmsg(uplink->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0 && errno != EAGAIN)
        return error_set_errno(error, "cannot send");
    *out_size = size > 0 ? (size_t)size : 0;
    return STATUS_OK;
}

// Moves what was not given out to the front.
static void
received_compact(struct uplink *uplink)
{
    size_t left = uplink->received.size - uplink->consumed_size;
    if (uplink->consumed_size > 0 && left > 0)
        memmove(uplink->received.data, uplink->received.data + uplink->consumed_size, left);
    uplink->received.size = left;
    uplink->consumed_size = 0;
}

// *out_size is 0 when nothing is there now.
static enum status
socket_read(int fd, void *place, size_t place_size, size_t *out_size, struct error *error)
{
    ssize_t size;
    do
        size = recv(fd, place, place_size, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0 && errno != EAGAIN)
        return error_set_errno(error, "cannot receive");
    if (size == 0)
        return error_set(error, STATUS_CLOSED, "the server closed the connection");
    *out_size = size > 0 ? (size_t)size : 0;
    return STATUS_OK;
}

enum status
uplink_read(struct uplink *uplink, struct error *error)
{
    must(uplink->phase == UPLINK_UP);
    received_compact(uplink);
    for (;;) {
        // When an incomplete message fills the buffer to its limit, the scan has refused it
        // already.
        uint8_t *place = buffer_reserve(&uplink->received, READ_SIZE);
        if (place == NULL) {
            uplink->received.failed = false;
            return uplink->received.size > 0
                       ? STATUS_OK
                       : error_set(error, STATUS_NO_MEMORY, "no memory to read acks");
        }
        size_t size;
        enum status status = uplink->tls.session != NULL
                                 ? tls_read(&uplink->tls, place, READ_SIZE, &size, error)
                                 : socket_read(uplink->fd, place, READ_SIZE, &size, error);
        if (status != STATUS_OK || size == 0)
            return status;
        buffer_commit(&uplink->received, size);
    }
}

enum status
uplink_message(struct uplink *uplink, struct bytes *out, struct error *error)
{
    size_t left_size = uplink->received.size - uplink->consumed_size;
    if (left_size == 0)
        return STATUS_NOT_FOUND;
    struct bytes left = bytes_of(uplink->received.data + uplink->consumed_size, left_size);
    switch (unpack_scan(&uplink->scan, left, uplink->options.message_size_max)) {
    case UNPACK_COMPLETE: break;
    case UNPACK_INCOMPLETE: return STATUS_NOT_FOUND;
    case UNPACK_BROKEN:
    case UNPACK_TOO_LARGE:
        return error_set(error, STATUS_INVALID, "the server's answer is not one of Fluent Forward");
    }
    *out = bytes_of(left.data, uplink->scan.size);
    uplink->consumed_size += uplink->scan.size;
    uplink->scan = (struct unpack_scan){0};
    return STATUS_OK;
}
