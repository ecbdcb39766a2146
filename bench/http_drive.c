// A request's way: a free connection is taken, the request is written into its buffer and sent as
// far as the socket takes it, its answer is gathered until the head says that it is whole, and the
// connection is free again.
#include "bench/http_drive.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { READ_SIZE = 16 * 1024, ANSWER_SIZE_MAX = 64 << 20, EVENTS_AT_ONCE = 128, SAID_MAX = 200 };

// How long the thread sleeps at most before it looks at the stop flag and the time.
static const int64_t LOOK_NS = 50000000;

struct http_connection {
    int fd;
    bool is_busy;
    int64_t intended_ns;
    size_t sent;  // of out
    struct buffer out, in;
};

// --- answers ---

// The value of a header line of that name, or nothing.
static struct bytes
line_value(const char *line, size_t size, const char *name)
{
    size_t length = strlen(name);
    if (size <= length || line[length] != ':' || strncasecmp(line, name, length) != 0)
        return (struct bytes){0};
    const char *at = line + length + 1, *end = line + size;
    while (at < end && *at == ' ')
        at++;
    return bytes_of(at, (size_t)(end - at));
}

static void
line_read(const char *line, size_t size, struct http_answer *out)
{
    struct bytes length = line_value(line, size, "Content-Length");
    struct bytes kept = line_value(line, size, "Connection");
    if (length.size > 0) {
        out->body_size = strtoull((const char *)length.data, NULL, 10);
        out->is_known = true;
    }
    if (kept.size == 5 && strncasecmp((const char *)kept.data, "close", 5) == 0)
        out->is_kept = false;
    if (line_value(line, size, "Transfer-Encoding").size > 0)
        out->is_known = false;
}

bool
http_answer_read(struct bytes received, struct http_answer *out)
{
    static const char version[] = "HTTP/1.1 ";
    const char *text = (const char *)received.data;
    const char *end =
        received.size > 0 ? memmem(received.data, received.size, "\r\n\r\n", 4) : NULL;
    if (end == NULL)
        return false;
    *out = (struct http_answer){.is_kept = true, .head_size = (size_t)(end - text) + 4};
    if (out->head_size < sizeof version + 3 || memcmp(text, version, sizeof version - 1) != 0)
        return true;
    out->status = (uint32_t)strtoul(text + sizeof version - 1, NULL, 10);
    // These have no body, and need not say so.
    out->is_known = out->status == 204 || out->status == 304;
    for (const char *line = text; line < end;) {
        const char *stop = memchr(line, '\r', (size_t)(end - line) + 1);
        line_read(line, (size_t)(stop - line), out);
        line = stop + 2;
    }
    return true;
}

// --- start ---

static enum status
connection_open(struct http_drive *drive, uint32_t index, struct error *error)
{
    struct http_connection *connection = &drive->connections[index];
    connection->in.limit = ANSWER_SIZE_MAX;
    enum status status = endpoint_connect(&drive->options.endpoint, &connection->fd, error);
    if (status != STATUS_OK)
        return status;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = index};
    if (fcntl(connection->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(drive->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        return error_set_errno(error, "cannot watch a socket");
    drive->free[drive->free_count++] = index;
    return STATUS_OK;
}

static enum status
connections_open(struct http_drive *drive, struct error *error)
{
    uint32_t count = drive->options.connections;
    drive->connections = pool_take(count, sizeof *drive->connections);
    drive->free = pool_take(count, sizeof *drive->free);
    if (drive->connections == NULL || drive->free == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for connections");
    for (uint32_t i = 0; i < count; i++)
        drive->connections[i].fd = -1;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        status = connection_open(drive, i, error);
    return status;
}

static void *drive_run(void *context);

enum status
http_drive_start(
    struct http_drive *drive, const struct http_drive_options *options, struct error *error)
{
    must(options->connections > 0 && options->make != NULL);
    *drive = (struct http_drive){.options = *options};
    drive->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (drive->epoll_fd < 0)
        return error_set_errno(error, "cannot make an epoll");
    enum status status = connections_open(drive, error);
    if (status == STATUS_OK) {
        errno = pthread_create(&drive->thread, NULL, drive_run, drive);
        if (errno != 0)
            status = error_set_errno(error, "cannot start a thread");
    }
    if (status != STATUS_OK)
        http_drive_done(drive);
    return status;
}

// --- requests ---

static enum status
connection_write(struct http_connection *connection, struct error *error)
{
    while (connection->sent < connection->out.size) {
        ssize_t size = send(
            connection->fd,
            connection->out.data + connection->sent,
            connection->out.size - connection->sent,
            MSG_NOSIGNAL);
        if (size < 0 && errno == EAGAIN)
            return STATUS_OK;
        if (size < 0 && errno != EINTR)
            return error_set_errno(error, "cannot send to the server");
        connection->sent += size > 0 ? (size_t)size : 0;
    }
    return STATUS_OK;
}

static enum status
request_make(struct http_drive *drive, int64_t intended_ns, struct error *error)
{
    struct http_connection *connection = &drive->connections[drive->free[--drive->free_count]];
    must(!connection->is_busy);
    buffer_reset(&connection->out);
    drive->options.make(drive->options.context, &connection->out);
    if (buffer_failed(&connection->out))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a request");
    connection->sent = 0;
    connection->is_busy = true;
    connection->intended_ns = intended_ns;
    drive->made++;
    return connection_write(connection, error);
}

static bool
is_complete(const struct http_drive *drive)
{
    uint64_t most = drive->options.requests_max;
    return flag_get(&drive->stop) != 0 || (most > 0 && drive->made >= most);
}

// When the next request is to start.
static int64_t
due_ns(const struct http_drive *drive)
{
    double rate = drive->options.requests_per_second;
    if (rate <= 0)
        return clock_monotonic_ns();
    return drive->began_ns + (int64_t)((double)drive->made / rate * 1e9);
}

static enum status
requests_make(struct http_drive *drive, struct error *error)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && drive->free_count > 0 && !is_complete(drive)) {
        int64_t due = due_ns(drive);
        if (due > clock_monotonic_ns())
            break;
        status = request_make(drive, due, error);
    }
    return status;
}

// --- the loop ---

static enum status
answer_take(struct http_drive *drive, uint32_t index, struct error *error)
{
    struct http_connection *connection = &drive->connections[index];
    struct http_answer answer;
    struct bytes received = buffer_view(&connection->in);
    if (!http_answer_read(received, &answer))
        return STATUS_OK;
    if (!answer.is_known)
        return error_set(error, STATUS_INVALID, "an answer does not say how long it is");
    size_t size = answer.head_size + answer.body_size;
    if (received.size < size)
        return STATUS_OK;
    if (!connection->is_busy || received.size > size)
        return error_set(error, STATUS_INVALID, "the server answers what was not asked");
    if (answer.status != drive->options.status) {
        size_t said = answer.body_size < SAID_MAX ? answer.body_size : SAID_MAX;
        return error_set(
            error,
            STATUS_INVALID,
            "the server answered %u: %.*s",
            answer.status,
            (int)said,
            (const char *)received.data + answer.head_size);
    }
    if (!answer.is_kept)
        return error_set(error, STATUS_CLOSED, "the server does not keep the connection");
    drive->ended_ns = clock_monotonic_ns();
    histogram_add(&drive->latency, (uint64_t)(drive->ended_ns - connection->intended_ns));
    drive->answer_bytes += size;
    published_set(&drive->seen, ++drive->answered);
    connection->is_busy = false;
    buffer_reset(&connection->in);
    drive->free[drive->free_count++] = index;
    return STATUS_OK;
}

static enum status
connection_read(struct http_drive *drive, uint32_t index, struct error *error)
{
    struct http_connection *connection = &drive->connections[index];
    for (;;) {
        uint8_t *place = buffer_reserve(&connection->in, READ_SIZE);
        if (place == NULL)
            return error_set(error, STATUS_NO_MEMORY, "no memory for an answer");
        ssize_t size = recv(connection->fd, place, READ_SIZE, 0);
        if (size == 0)
            return error_set(error, STATUS_CLOSED, "the server closed a connection");
        if (size < 0 && errno == EAGAIN)
            return STATUS_OK;
        if (size < 0 && errno != EINTR)
            return error_set_errno(error, "cannot receive from the server");
        buffer_commit(&connection->in, size > 0 ? (size_t)size : 0);
        enum status status = answer_take(drive, index, error);
        if (status != STATUS_OK)
            return status;
    }
}

static int64_t
sleep_ns(const struct http_drive *drive)
{
    if (drive->free_count == 0 || is_complete(drive))
        return LOOK_NS;
    int64_t left_ns = due_ns(drive) - clock_monotonic_ns();
    return left_ns < 0 ? 0 : left_ns < LOOK_NS ? left_ns : LOOK_NS;
}

static enum status
events_handle(struct http_drive *drive, struct error *error)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int64_t left_ns = sleep_ns(drive);
    struct timespec timeout = {left_ns / SECOND_NS, left_ns % SECOND_NS};
    int count = epoll_pwait2(drive->epoll_fd, events, EVENTS_AT_ONCE, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        return error_set_errno(error, "cannot wait for the server");
    for (int i = 0; i < count; i++) {
        uint32_t index = events[i].data.u32;
        enum status status = connection_write(&drive->connections[index], error);
        if (status == STATUS_OK && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            status = connection_read(drive, index, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status
drive_work(struct http_drive *drive, struct error *error)
{
    drive->began_ns = drive->ended_ns = clock_monotonic_ns();
    while (!is_complete(drive) || drive->answered < drive->made) {
        enum status status = requests_make(drive, error);
        if (status == STATUS_OK)
            status = events_handle(drive, error);
        if (status != STATUS_OK)
            return status;
        bool is_waiting = drive->answered < drive->made;
        if (is_waiting && clock_monotonic_ns() - drive->ended_ns > drive->options.silence_ns)
            return error_set(error, STATUS_TIMEOUT, "the server answers nothing any more");
    }
    return STATUS_OK;
}

static void *
drive_run(void *context)
{
    struct http_drive *drive = context;
    drive->error.status = drive_work(drive, &drive->error);
    flag_set(&drive->over, 1);
    return NULL;
}

void
http_drive_stop(struct http_drive *drive)
{
    flag_set(&drive->stop, 1);
}

bool
http_drive_is_over(const struct http_drive *drive)
{
    return flag_get(&drive->over) != 0;
}

uint64_t
http_drive_answered(const struct http_drive *drive)
{
    return published_get(&drive->seen);
}

enum status
http_drive_join(struct http_drive *drive, struct error *error)
{
    must(pthread_join(drive->thread, NULL) == 0);
    if (drive->error.status != STATUS_OK)
        *error = drive->error;
    return drive->error.status;
}

void
http_drive_done(struct http_drive *drive)
{
    for (uint32_t i = 0; drive->connections != NULL && i < drive->options.connections; i++) {
        struct http_connection *connection = &drive->connections[i];
        if (connection->fd >= 0)
            close(connection->fd);
        buffer_done(&connection->out);
        buffer_done(&connection->in);
    }
    pool_give(drive->connections);
    pool_give(drive->free);
    if (drive->epoll_fd >= 0)
        close(drive->epoll_fd);
    *drive = (struct http_drive){.epoll_fd = -1};
}
