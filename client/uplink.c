#include "client/uplink.h"

#include "base/assert.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { READ_SIZE = 16 * 1024 };

void
uplink_init(struct uplink *uplink, size_t message_size_max)
{
    *uplink = (struct uplink){
        .fd = -1,
        .addresses = {.directory_fd = -1},
        .message_size_max = message_size_max,
        // One message that is not complete yet, and one read behind it.
        .received = {.limit = message_size_max + READ_SIZE},
    };
}

static void
fd_close(struct uplink *uplink)
{
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

void
uplink_done(struct uplink *uplink)
{
    uplink_stop(uplink);
    buffer_done(&uplink->received);
}

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

enum status
uplink_start(struct uplink *uplink, const struct server_name *name, struct error *error)
{
    must(uplink->phase == UPLINK_DOWN);
    enum status status = server_name_resolve(name, &uplink->addresses, error);
    if (status != STATUS_OK)
        return status;
    uplink->address_index = 0;
    if (address_start(uplink, error) == STATUS_OK)
        return STATUS_OK;
    status = address_next(uplink, error);
    return status == STATUS_BUSY ? STATUS_OK : status;
}

enum status
uplink_finish(struct uplink *uplink, struct error *error)
{
    must(uplink->phase == UPLINK_CONNECTING);
    int cause = 0;
    socklen_t size = sizeof cause;
    if (getsockopt(uplink->fd, SOL_SOCKET, SO_ERROR, &cause, &size) != 0)
        cause = errno;
    if (cause != 0) {
        errno = cause;
        (void)error_set_errno(error, "cannot connect");
        return address_next(uplink, error);
    }
    server_addresses_done(&uplink->addresses);
    uplink->phase = UPLINK_UP;
    return STATUS_OK;
}

enum status
uplink_give_up(struct uplink *uplink, struct error *error)
{
    must(uplink->phase == UPLINK_CONNECTING);
    (void)error_set(error, STATUS_TIMEOUT, "cannot connect: the server does not answer");
    return address_next(uplink, error);
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
        ssize_t size = recv(uplink->fd, place, READ_SIZE, MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && (errno == EAGAIN))
            return STATUS_OK;
        if (size < 0)
            return error_set_errno(error, "cannot receive");
        if (size == 0)
            return error_set(error, STATUS_CLOSED, "the server closed the connection");
        buffer_commit(&uplink->received, (size_t)size);
    }
}

enum status
uplink_message(struct uplink *uplink, struct bytes *out, struct error *error)
{
    size_t left_size = uplink->received.size - uplink->consumed_size;
    if (left_size == 0)
        return STATUS_NOT_FOUND;
    struct bytes left = bytes_of(uplink->received.data + uplink->consumed_size, left_size);
    switch (unpack_scan(&uplink->scan, left, uplink->message_size_max)) {
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
