#include "base/assert.h"
#include "base/pool.h"
#include "ledger/memory_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

// The reader's side of the read socket. A question that failed half-way leaves bytes of unknown
// meaning on the connection, so the client is broken from then on and says CLOSED: open another
// one.

static const char damaged[] = "usage cannot be read: `tally ledger verify` says what is damaged";
static const int ANSWER_TIMEOUT_S = 5;  // without a single byte of progress, if not said otherwise

struct memory_client {
    int fd;
    int timeout_s;
    bool is_broken;
    struct buffer request;
    struct buffer reply;
};

// A path in sockaddr_un has 108 bytes; through /proc/self/fd the length of DATA does not matter.
static enum status
client_connect(int fd, const char *dir, struct error *error)
{
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return errno == ENOENT ? error_set(error, STATUS_NOT_FOUND, "no directory %s", dir)
                               : error_set_errno(error, "cannot open %s", dir);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/read.sock", dir_fd);
    int rc = connect(fd, (const struct sockaddr *)&address, sizeof address);
    int number = errno;
    (void)close(dir_fd);
    errno = number;
    if (rc == 0)
        return STATUS_OK;
    if (errno == ENOENT || errno == ECONNREFUSED)
        return error_set(error, STATUS_NOT_FOUND, "nobody listens on %s/read.sock", dir);
    return error_set_errno(error, "cannot connect to %s/read.sock", dir);
}

enum status
memory_client_open(const char *dir, struct memory_client **out, struct error *error)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "cannot make a socket");
    enum status status = client_connect(fd, dir, error);
    struct memory_client *client = status ? NULL : pool_take(1, sizeof *client);
    if (client == NULL) {
        (void)close(fd);
        return status ? status : error_set(error, STATUS_NO_MEMORY, "no memory for a reader");
    }
    client->fd = fd;
    memory_client_wait(client, ANSWER_TIMEOUT_S);
    client->reply.limit = MEMORY_REPLY_MAX;
    *out = client;
    return STATUS_OK;
}

void
memory_client_wait(struct memory_client *client, int timeout_s)
{
    struct timeval timeout = {.tv_sec = timeout_s};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    (void)setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    client->timeout_s = timeout_s;
}

void
memory_client_close(struct memory_client *client)
{
    if (client == NULL)
        return;
    (void)close(client->fd);
    buffer_done(&client->request);
    buffer_done(&client->reply);
    pool_give(client);
}

static enum status
client_broken(struct memory_client *client, ssize_t count, struct error *error)
{
    client->is_broken = true;
    if (count < 0 && errno == EAGAIN)
        return error_set(
            error, STATUS_TIMEOUT, "no answer on read.sock in %d s", client->timeout_s);
    return error_set(error, STATUS_CLOSED, "tallyd closed read.sock");
}

static enum status
client_send(struct memory_client *client, struct bytes frame, struct error *error)
{
    size_t sent = 0;
    while (sent < frame.size) {
        ssize_t count = send(client->fd, frame.data + sent, frame.size - sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return client_broken(client, count, error);
        sent += (size_t)count;
    }
    return STATUS_OK;
}

static enum status
client_receive(struct memory_client *client, uint8_t *data, size_t size, struct error *error)
{
    size_t received = 0;
    while (received < size) {
        ssize_t count = recv(client->fd, data + received, size - received, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return client_broken(client, count, error);
        received += (size_t)count;
    }
    return STATUS_OK;
}

static enum status
client_receive_frame(struct memory_client *client, struct error *error)
{
    uint8_t head[MEMORY_FRAME_HEAD];
    enum status status = client_receive(client, head, sizeof head, error);
    if (status)
        return status;
    uint32_t size;
    memcpy(&size, head, sizeof size);
    buffer_reset(&client->reply);
    uint8_t *body = size <= MEMORY_REPLY_MAX ? buffer_reserve(&client->reply, size) : NULL;
    if (body == NULL) {
        client->is_broken = true;
        return error_set(error, STATUS_CLOSED, "read.sock announced an answer of %u bytes", size);
    }
    status = client_receive(client, body, size, error);
    if (!status)
        buffer_commit(&client->reply, size);
    return status;
}

enum status
memory_exchange(
    struct memory_client *client, struct bytes frame, struct bytes *out_body, struct error *error)
{
    if (client->is_broken)
        return error_set(error, STATUS_CLOSED, "an earlier question on read.sock failed");
    enum status status = client_send(client, frame, error);
    if (!status)
        status = client_receive_frame(client, error);
    if (!status)
        *out_body = buffer_view(&client->reply);
    return status;
}

static enum status
client_ask(
    struct memory_client *client,
    const struct memory_request *request,
    struct memory_reply *out,
    enum memory_result *out_result,
    struct error *error)
{
    must(request->from_s <= request->to_s);
    buffer_reset(&client->request);
    memory_request_write(request, &client->request);
    if (buffer_failed(&client->request))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a question");
    struct bytes body;
    enum status status = memory_exchange(client, buffer_view(&client->request), &body, error);
    if (status)
        return status;
    if (!memory_reply_read(body, out, out_result)) {
        client->is_broken = true;
        return error_set(error, STATUS_CLOSED, "read.sock answered in an unknown form");
    }
    if (*out_result == MEMORY_RESULT_TOO_LARGE)
        return error_set(error, STATUS_FULL, "the cells in memory are too many for one answer");
    return STATUS_OK;
}

static enum status
client_confused(struct memory_client *client, struct error *error)
{
    client->is_broken = true;
    return error_set(error, STATUS_CLOSED, "read.sock answered another question");
}

enum status
memory_ask(
    struct memory_client *client,
    const struct memory_request *request,
    struct memory_reply *out,
    struct error *error)
{
    enum memory_result result = MEMORY_RESULT_TOO_LARGE;
    struct memory_reply reply;
    enum status status = client_ask(client, request, &reply, &result, error);
    if (status)
        return status;
    if (result != MEMORY_RESULT_CELLS)
        return client_confused(client, error);
    *out = reply;
    return STATUS_OK;
}

enum status
memory_ask_quota(
    struct memory_client *client,
    uint32_t shard,
    uint32_t threshold_id,
    struct bytes subject,
    int64_t time_s,
    struct quota *out,
    struct error *error)
{
    const struct memory_request request = {
        .kind = MEMORY_QUOTA,
        .shard = shard,
        .meter_id = threshold_id,
        .subject = subject,
        .from_s = time_s,
        .to_s = time_s,
    };
    enum memory_result result = MEMORY_RESULT_TOO_LARGE;
    struct memory_reply reply;
    enum status status = client_ask(client, &request, &reply, &result, error);
    if (status)
        return status;
    if (result == MEMORY_RESULT_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "tallyd knows no such threshold");
    if (result == MEMORY_RESULT_DAMAGED)
        return error_set(error, STATUS_CORRUPT, "%s", damaged);
    if (result != MEMORY_RESULT_QUOTA || !memory_quota_read(reply.cells, out))
        return client_confused(client, error);
    return STATUS_OK;
}
