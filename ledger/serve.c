#include "base/assert.h"
#include "base/pool.h"
#include "ledger/control_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// One thread that carries questions from the read socket to the writers and answers back, and
// answers them itself where a writer lends what it takes (ledger/answers).
//
//   connection:  FREE -> READING -> WAITING -> ASKED -> WRITING -> READING ...
//                any state -> FREE when the peer goes away or breaks the protocol
//
// Invariants:
// 1. Each shard has one desk, and a desk has at most one question with its writer: so the writer's
// slot is
//    empty when `ask` is called.
// 2. A question belongs to its desk, not to its connection: a peer that goes away leaves the answer
// to
//    be thrown away, never a writer with freed memory.
// 3. One question per connection at a time; the next is not read before the answer is sent. Memory:
// SERVE_CONNECTIONS_MAX requests, and a reply of at most MEMORY_REPLY_MAX per connection and desk,
// given back when it was larger than SERVE_KEEP_BYTES.

enum { SERVE_CONNECTIONS_MAX = 64, SERVE_KEEP_BYTES = 1 << 20, SERVE_BACKLOG = 64 };

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_READING,
    CONNECTION_WAITING,  // for its shard's desk
    CONNECTION_ASKED,    // the writer has the question
    CONNECTION_WRITING,
};

struct connection {
    enum connection_state state;
    int fd;
    size_t received;
    size_t sent;
    uint64_t ticket;                // order of waiting
    bool is_owner;                  // of the uid that this process has: may change the ledger
    bool is_change;                 // the request is one to control
    struct memory_request request;  // subject points into frame
    struct buffer reply;
    uint8_t frame[MEMORY_FRAME_HEAD + CONTROL_REQUEST_MAX];
};

struct desk {
    struct memory_question question;
    struct connection *asker;  // NULL: it went away meanwhile
    bool is_busy;
    uint8_t subject[255];
};

// Owner: the serve thread, except options (read only), stop and waker.
struct serve {
    struct serve_options options;
    int dir_fd;
    int listen_fd;
    pthread_t thread;
    struct flag stop;
    struct waker waker;
    uint64_t tickets;
    struct desk *desks;
    struct control_job job;
    uint8_t job_frame[CONTROL_REQUEST_MAX];  // what the job's views are over
    struct connection *job_asker;            // NULL: it went away meanwhile
    bool is_job_busy;
    struct connection connections[SERVE_CONNECTIONS_MAX];
};

static void
reply_shrink(struct buffer *reply)
{
    if (reply->capacity > SERVE_KEEP_BYTES)
        buffer_done(reply);
    else
        buffer_reset(reply);
}

static void
connection_close(struct serve *serve, struct connection *connection)
{
    if (connection->state == CONNECTION_ASKED && connection->is_change)
        serve->job_asker = NULL;
    else if (connection->state == CONNECTION_ASKED)
        serve->desks[connection->request.shard].asker = NULL;
    (void)close(connection->fd);
    connection->state = CONNECTION_FREE;
    connection->fd = -1;
    reply_shrink(&connection->reply);
}

static void
connection_read_next(struct connection *connection)
{
    connection->state = CONNECTION_READING;
    connection->received = 0;
    connection->sent = 0;
    reply_shrink(&connection->reply);
}

// The size of the frame under way, as far as it is known; 0: it is none of ours.
static size_t
connection_frame_size(const struct connection *connection)
{
    if (connection->received < MEMORY_FRAME_HEAD)
        return MEMORY_FRAME_HEAD;
    uint32_t size;
    memcpy(&size, connection->frame, sizeof size);
    return size >= CONTROL_REQUEST_MIN && size <= CONTROL_REQUEST_MAX ? MEMORY_FRAME_HEAD + size
                                                                      : 0;
}

static void
connection_write(struct serve *serve, struct connection *connection)
{
    must(connection->state == CONNECTION_WRITING);
    while (connection->sent < connection->reply.size) {
        ssize_t count = send(
            connection->fd,
            connection->reply.data + connection->sent,
            connection->reply.size - connection->sent,
            MSG_NOSIGNAL);
        if (count > 0)
            connection->sent += (size_t)count;
        else if (count < 0 && errno == EAGAIN)
            return;
        else if (count == 0 || errno != EINTR) {
            connection_close(serve, connection);
            return;
        }
    }
    connection_read_next(connection);
}

static void
job_answer(
    struct serve *serve,
    struct connection *connection,
    const struct control_answer *answer,
    const struct error *error)
{
    control_answer_write(answer, error, &connection->reply);
    if (buffer_failed(&connection->reply)) {
        connection_close(serve, connection);
        return;
    }
    connection->state = CONNECTION_WRITING;
    connection_write(serve, connection);
}

// Whether the request waits for its turn now; else the connection has its answer, or is closed.
static bool
connection_queue_change(struct serve *serve, struct connection *connection, struct bytes body)
{
    const struct control_answer none = {0};
    struct control_request request;
    struct error error;
    connection->is_change = true;
    if (!control_request_read(body, &request) || serve->options.control == NULL) {
        connection_close(serve, connection);
        return false;
    }
    if (connection->is_owner)
        return true;
    // Nothing is wrong with the request: it may succeed when who runs the programs mended this.
    (void)error_set(
        &error,
        STATUS_BUSY,
        "tallyd lets only its own user change the ledger: run this program as uid %u too",
        (unsigned)geteuid());
    job_answer(serve, connection, &none, &error);
    return false;
}

static void
connection_queue(struct serve *serve, struct connection *connection, size_t frame_size)
{
    struct bytes body =
        bytes_of(connection->frame + MEMORY_FRAME_HEAD, frame_size - MEMORY_FRAME_HEAD);
    connection->is_change = false;
    if (control_is_request(body)) {
        if (!connection_queue_change(serve, connection, body))
            return;
    } else if (
        !memory_request_read(body, &connection->request) ||
        connection->request.shard >= serve->options.shards) {
        connection_close(serve, connection);
        return;
    }
    connection->state = CONNECTION_WAITING;
    connection->ticket = ++serve->tickets;
}

// Reads no further than this frame: a peer that sends ahead waits in the socket.
static void
connection_read(struct serve *serve, struct connection *connection)
{
    while (connection->state == CONNECTION_READING) {
        size_t wanted = connection_frame_size(connection);
        if (connection->received == wanted && wanted > MEMORY_FRAME_HEAD) {
            connection_queue(serve, connection, wanted);
            return;
        }
        if (wanted == 0) {
            connection_close(serve, connection);
            return;
        }
        must(wanted > connection->received && wanted <= sizeof connection->frame);
        ssize_t count = recv(
            connection->fd,
            connection->frame + connection->received,
            wanted - connection->received,
            0);
        if (count > 0)
            connection->received += (size_t)count;
        else if (count < 0 && errno == EAGAIN)
            return;
        else if (count == 0 || errno != EINTR)
            connection_close(serve, connection);
    }
}

static void
desk_collect(struct serve *serve, struct desk *desk)
{
    struct connection *connection = desk->asker;
    desk->is_busy = false;
    desk->asker = NULL;
    if (connection != NULL && buffer_failed(&desk->question.reply)) {
        connection_close(serve, connection);
    } else if (connection != NULL) {
        must(connection->state == CONNECTION_ASKED);
        struct buffer emptied = connection->reply;
        connection->reply = desk->question.reply;
        desk->question.reply = emptied;
        desk->question.reply.limit = MEMORY_REPLY_MAX;
        connection->state = CONNECTION_WRITING;
        connection_write(serve, connection);
    }
    reply_shrink(&desk->question.reply);
    desk->question.reply.limit = MEMORY_REPLY_MAX;
}

static void
desk_ask(struct serve *serve, struct connection *connection)
{
    struct desk *desk = &serve->desks[connection->request.shard];
    struct memory_question *question = &desk->question;
    must(!desk->is_busy && connection->state == CONNECTION_WAITING);
    question->request = connection->request;
    if (question->request.subject.size > 0)
        memcpy(desk->subject, question->request.subject.data, question->request.subject.size);
    question->request.subject.data = desk->subject;
    question->asker = &serve->waker;
    flag_set(&question->is_answered, 0);
    desk->asker = connection;
    desk->is_busy = true;
    connection->state = CONNECTION_ASKED;
    serve->options.ask(serve->options.context, question->request.shard, question);
    if (flag_get(&question->is_answered))
        desk_collect(serve, desk);
}

static void
job_ask(struct serve *serve, struct connection *connection)
{
    struct control_job *job = &serve->job;
    must(!serve->is_job_busy && connection->state == CONNECTION_WAITING);
    const size_t size = connection->received - MEMORY_FRAME_HEAD;
    memcpy(serve->job_frame, connection->frame + MEMORY_FRAME_HEAD, size);
    *job = (struct control_job){.asker = &serve->waker};
    must(control_request_read(bytes_of(serve->job_frame, size), &job->request));
    serve->job_asker = connection;
    serve->is_job_busy = true;
    connection->state = CONNECTION_ASKED;
    serve->options.control(serve->options.context, job);
}

static void
job_collect(struct serve *serve)
{
    struct connection *connection = serve->job_asker;
    serve->is_job_busy = false;
    serve->job_asker = NULL;
    if (connection != NULL)
        job_answer(serve, connection, &serve->job.answer, &serve->job.error);
}

static bool
serve_is_busy(const struct serve *serve, const struct connection *connection)
{
    return connection->is_change ? serve->is_job_busy
                                 : serve->desks[connection->request.shard].is_busy;
}

static void
serve_collect(struct serve *serve)
{
    for (uint32_t i = 0; i < serve->options.shards; i++) {
        struct desk *desk = &serve->desks[i];
        if (desk->is_busy && flag_get(&desk->question.is_answered))
            desk_collect(serve, desk);
    }
    if (serve->is_job_busy && flag_get(&serve->job.is_answered))
        job_collect(serve);
}

// Who waited longest goes first.
static struct connection *
serve_next_waiting(struct serve *serve)
{
    struct connection *next = NULL;
    for (size_t i = 0; i < SERVE_CONNECTIONS_MAX; i++) {
        struct connection *connection = &serve->connections[i];
        if (connection->state != CONNECTION_WAITING || serve_is_busy(serve, connection))
            continue;
        if (next == NULL || connection->ticket < next->ticket)
            next = connection;
    }
    return next;
}

static void
serve_dispatch(struct serve *serve)
{
    for (struct connection *next; (next = serve_next_waiting(serve)) != NULL;) {
        if (next->is_change)
            job_ask(serve, next);
        else
            desk_ask(serve, next);
    }
}

static bool
serve_has_answer(const struct serve *serve)
{
    for (uint32_t i = 0; i < serve->options.shards; i++)
        if (serve->desks[i].is_busy && flag_get(&serve->desks[i].question.is_answered))
            return true;
    return serve->is_job_busy && flag_get(&serve->job.is_answered);
}

static struct connection *
serve_free_connection(struct serve *serve)
{
    for (size_t i = 0; i < SERVE_CONNECTIONS_MAX; i++)
        if (serve->connections[i].state == CONNECTION_FREE)
            return &serve->connections[i];
    return NULL;
}

static bool
peer_is_owner(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static void
serve_accept(struct serve *serve)
{
    for (struct connection *connection; (connection = serve_free_connection(serve)) != NULL;) {
        int fd = accept4(serve->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;  // nobody there, or no descriptor left: poll brings us back
        connection->fd = fd;
        connection->is_owner = peer_is_owner(fd);
        connection_read_next(connection);
    }
}

enum { POLL_WAKER, POLL_LISTEN, POLL_FIXED };

static nfds_t
serve_poll_set(struct serve *serve, struct pollfd *polls, struct connection **out_connections)
{
    polls[POLL_WAKER] = (struct pollfd){.fd = serve->waker.fd, .events = POLLIN};
    int listen_fd = serve_free_connection(serve) != NULL ? serve->listen_fd : -1;
    polls[POLL_LISTEN] = (struct pollfd){.fd = listen_fd, .events = POLLIN};
    nfds_t count = POLL_FIXED;
    for (size_t i = 0; i < SERVE_CONNECTIONS_MAX; i++) {
        struct connection *connection = &serve->connections[i];
        if (connection->state == CONNECTION_FREE)
            continue;
        short events = 0;  // hang-ups are reported unasked
        if (connection->state == CONNECTION_READING)
            events = POLLIN;
        else if (connection->state == CONNECTION_WRITING)
            events = POLLOUT;
        out_connections[count] = connection;
        polls[count++] = (struct pollfd){.fd = connection->fd, .events = events};
    }
    return count;
}

static void
serve_handle(struct serve *serve, struct connection *connection, short events)
{
    if (connection->state == CONNECTION_FREE || events == 0)
        return;
    if (connection->state == CONNECTION_READING)
        connection_read(serve, connection);
    else if (connection->state == CONNECTION_WRITING)
        connection_write(serve, connection);
    else if (events & (POLLHUP | POLLERR | POLLNVAL))
        connection_close(serve, connection);
}

static void
serve_turn(struct serve *serve)
{
    struct pollfd polls[POLL_FIXED + SERVE_CONNECTIONS_MAX];
    struct connection *connections[POLL_FIXED + SERVE_CONNECTIONS_MAX] = {0};
    serve_collect(serve);
    serve_dispatch(serve);
    nfds_t count = serve_poll_set(serve, polls, connections);
    waker_prepare(&serve->waker);
    bool has_work = flag_get(&serve->stop) || serve_has_answer(serve);
    int ready = poll(polls, count, has_work ? 0 : -1);
    must(ready >= 0 || errno == EINTR);
    waker_cancel(&serve->waker);
    if (ready <= 0)
        return;
    if (polls[POLL_WAKER].revents)
        waker_drain(&serve->waker);
    for (nfds_t i = POLL_FIXED; i < count; i++)
        serve_handle(serve, connections[i], polls[i].revents);
    if (polls[POLL_LISTEN].revents)
        serve_accept(serve);
}

static void *
serve_main(void *argument)
{
    struct serve *serve = argument;
    while (!flag_get(&serve->stop))
        serve_turn(serve);
    return NULL;
}

// A socket file of an earlier process is in the way; the directory's lock says that it is nobody's.
static enum status
serve_listen(struct serve *serve, struct error *error)
{
    const char *dir = serve->options.dir;
    serve->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (serve->dir_fd < 0)
        return error_set_errno(error, "cannot open %s", dir);
    if (unlinkat(serve->dir_fd, "read.sock", 0) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot remove the old %s/read.sock", dir);
    serve->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (serve->listen_fd < 0)
        return error_set_errno(error, "cannot make a socket");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(
        address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/read.sock", serve->dir_fd);
    if (bind(serve->listen_fd, (const struct sockaddr *)&address, sizeof address) != 0)
        return error_set_errno(error, "cannot bind %s/read.sock", dir);
    // The directory's group may read usage.
    if (fchmodat(serve->dir_fd, "read.sock", 0660, 0) != 0)
        return error_set_errno(error, "cannot set the mode of %s/read.sock", dir);
    if (listen(serve->listen_fd, SERVE_BACKLOG) != 0)
        return error_set_errno(error, "cannot listen on %s/read.sock", dir);
    return STATUS_OK;
}

static void
serve_free(struct serve *serve)
{
    for (size_t i = 0; i < SERVE_CONNECTIONS_MAX; i++) {
        if (serve->connections[i].state != CONNECTION_FREE)
            connection_close(serve, &serve->connections[i]);
        buffer_done(&serve->connections[i].reply);
    }
    for (uint32_t i = 0; serve->desks != NULL && i < serve->options.shards; i++)
        buffer_done(&serve->desks[i].question.reply);
    if (serve->listen_fd >= 0) {
        (void)close(serve->listen_fd);
        (void)unlinkat(serve->dir_fd, "read.sock", 0);
    }
    if (serve->dir_fd >= 0)
        (void)close(serve->dir_fd);
    waker_done(&serve->waker);
    pool_give(serve->desks);
    pool_give(serve);
}

static enum status
serve_begin(struct serve *serve, struct error *error)
{
    serve->desks = pool_take(serve->options.shards, sizeof *serve->desks);
    if (serve->desks == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the read socket");
    for (uint32_t i = 0; i < serve->options.shards; i++)
        serve->desks[i].question.reply.limit = MEMORY_REPLY_MAX;
    enum status status = waker_init(&serve->waker, error);
    if (!status)
        status = serve_listen(serve, error);
    if (status)
        return status;
    int rc = pthread_create(&serve->thread, NULL, serve_main, serve);
    errno = rc;
    return rc == 0 ? STATUS_OK : error_set_errno(error, "cannot start the serve thread");
}

enum status
serve_start(const struct serve_options *options, struct serve **out, struct error *error)
{
    must(options->shards > 0 && options->ask != NULL);
    struct serve *serve = pool_take(1, sizeof *serve);
    if (serve == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the read socket");
    serve->options = *options;
    serve->dir_fd = -1;
    serve->listen_fd = -1;
    enum status status = serve_begin(serve, error);
    if (status)
        serve_free(serve);
    else
        *out = serve;
    return status;
}

void
serve_stop(struct serve *serve)
{
    if (serve == NULL)
        return;
    flag_set(&serve->stop, 1);
    waker_wake(&serve->waker);
    int rc = pthread_join(serve->thread, NULL);
    must(rc == 0);
    serve_free(serve);
}
