// A chunk's way: a free slot of a connection is taken and its clock starts (chunk_make), it stands
// in the connection's queue until its frame is filled and written (connection_write), is in flight
// until its ack comes (connection_read), and is free again. Chunks are written in the order in
// which they were made.
//
// The chunks of a stream share one frame: the kernel has its copy when a chunk is written, and a
// frame that stays in the cache costs half as much to fill and to copy as 32 of them in turn. A
// datagram may have to be sent again, so each slot has its own.
#include "bench/drive.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/unpack.h"
#include "client/answer.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 * 1024,
    ANSWER_SIZE_MAX = 32 * 1024 * 1024,  // every event of the largest chunk refused
    EVENTS_AT_ONCE = 64,
};

// How long the thread sleeps at most before it looks at the stop flag and the timeouts.
static const int64_t LOOK_NS = 50000000;

struct window_slot {
    uint8_t *frame;       // the connection's, or its own where it may be sent again
    uint64_t chunk;       // the number in its frame
    int64_t intended_ns;  // when its clock started
    int64_t queued_ns;    // when it was put into the queue last
    bool is_filled;       // its chunk is in the frame, and stays until it is acked or written
    bool is_busy;
};

struct drive_connection {
    int fd;
    uint32_t index;
    struct window_slot *slots;
    uint8_t *frames;  // one after the other
    uint32_t frame_count;
    uint32_t free_count;
    uint32_t search_slot;  // where to look for a free one first
    uint32_t *queue;       // ring of slots to be written
    uint32_t queue_first;
    uint32_t queue_count;
    uint32_t sent_size;  // of the first one's frame
    bool is_writable;
    struct buffer received;
    struct unpack_scan scan;
};

static bool
is_datagrams(const struct drive *drive)
{
    return drive->options.endpoint.transport == TRANSPORT_UDP;
}

// --- start ---

static enum status
connection_alloc(const struct drive *drive, struct drive_connection *connection)
{
    uint32_t in_flight = drive->options.in_flight;
    size_t frame_size = generator_frame_size(&drive->generator);
    connection->received.limit = ANSWER_SIZE_MAX;
    connection->slots = pool_take(in_flight, sizeof *connection->slots);
    connection->queue = pool_take(in_flight, sizeof *connection->queue);
    if (connection->slots == NULL || connection->queue == NULL)
        return STATUS_NO_MEMORY;
    connection->free_count = in_flight;
    connection->frame_count = is_datagrams(drive) ? in_flight : 1;
    connection->frames = pool_take(connection->frame_count, frame_size);
    if (connection->frames == NULL)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < connection->frame_count; i++)
        generator_prepare(&drive->generator, connection->frames + frame_size * i);
    for (uint32_t i = 0; i < in_flight; i++)
        connection->slots[i].frame =
            connection->frames + frame_size * (i % connection->frame_count);
    return STATUS_OK;
}

static enum status
connection_open(const struct drive *drive, struct drive_connection *connection, struct error *error)
{
    enum status status = endpoint_connect(&drive->options.endpoint, &connection->fd, error);
    if (status != STATUS_OK)
        return status;
    // Edge-triggered: written and read until the kernel says that there is no more.
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(drive->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        return error_set_errno(error, "cannot watch a socket");
    connection->is_writable = true;
    return STATUS_OK;
}

static void
connection_done(struct drive_connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    pool_give(connection->frames);
    pool_give(connection->slots);
    pool_give(connection->queue);
    buffer_done(&connection->received);
}

static void *drive_run(void *context);

static enum status
connections_open(struct drive *drive, struct error *error)
{
    uint32_t count = drive->options.connections;
    drive->connections = pool_take(count, sizeof *drive->connections);
    if (drive->connections == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for connections");
    for (uint32_t i = 0; i < count; i++) {
        drive->connections[i].fd = -1;
        drive->connections[i].index = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (connection_alloc(drive, &drive->connections[i]) != STATUS_OK)
            return error_set(error, STATUS_NO_MEMORY, "no memory for the chunks in flight");
        enum status status = connection_open(drive, &drive->connections[i], error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status
options_check(const struct drive_options *options, struct error *error)
{
    if (options->connections < 1 || options->connections > DRIVE_CONNECTIONS_MAX)
        return error_set(
            error, STATUS_INVALID, "connections may be 1 to %d a thread", DRIVE_CONNECTIONS_MAX);
    if (options->in_flight < 1 || options->in_flight > DRIVE_IN_FLIGHT_MAX)
        return error_set(
            error, STATUS_INVALID, "chunks in flight may be 1 to %d", DRIVE_IN_FLIGHT_MAX);
    return STATUS_OK;
}

static enum status
frame_check(const struct drive *drive, struct error *error)
{
    uint32_t frame_size = generator_frame_size(&drive->generator);
    if (!is_datagrams(drive) || frame_size <= ENDPOINT_DATAGRAM_MAX)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "a chunk has %u bytes, and a datagram at most %d: say a smaller --chunk or --event-size",
        frame_size,
        ENDPOINT_DATAGRAM_MAX);
}

enum status
drive_start(struct drive *drive, const struct drive_options *options, struct error *error)
{
    *drive = (struct drive){.options = *options, .epoll_fd = -1};
    enum status status = options_check(options, error);
    if (status == STATUS_OK)
        status = generator_init(&drive->generator, &options->generate, error);
    if (status == STATUS_OK)
        status = frame_check(drive, error);
    if (status != STATUS_OK)
        return status;
    drive->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (drive->epoll_fd < 0)
        return error_set_errno(error, "cannot make an epoll");
    status = connections_open(drive, error);
    if (status == STATUS_OK) {
        errno = pthread_create(&drive->thread, NULL, drive_run, drive);
        if (errno != 0)
            status = error_set_errno(error, "cannot start a thread");
    }
    if (status != STATUS_OK)
        drive_done(drive);
    return status;
}

// --- making chunks ---

static uint32_t
slot_find(const struct drive *drive, struct drive_connection *connection)
{
    must(connection->free_count > 0);
    uint32_t index = connection->search_slot;
    while (connection->slots[index].is_busy)
        index = (index + 1) % drive->options.in_flight;
    connection->search_slot = (index + 1) % drive->options.in_flight;
    return index;
}

// The number says where the chunk is in flight, so an ack finds its slot without a search.
static uint64_t
chunk_number(const struct drive *drive, const struct drive_connection *connection, uint32_t slot)
{
    return (uint64_t)drive->options.generate.lane << 56 | (uint64_t)connection->index << 48 |
           (uint64_t)slot << 32 | (drive->chunks_made & UINT32_MAX);
}

static void
slot_queue(const struct drive *drive, struct drive_connection *connection, uint32_t index)
{
    uint32_t in_flight = drive->options.in_flight;
    must(connection->queue_count < in_flight);
    connection->queue[(connection->queue_first + connection->queue_count) % in_flight] = index;
    connection->queue_count++;
    connection->slots[index].queued_ns = clock_monotonic_ns();
}

static void
chunk_make(struct drive *drive, struct drive_connection *connection, int64_t intended_ns)
{
    uint32_t index = slot_find(drive, connection);
    struct window_slot *slot = &connection->slots[index];
    slot->chunk = chunk_number(drive, connection, index);
    slot->intended_ns = intended_ns;
    slot->is_busy = true;
    slot->is_filled = false;
    connection->free_count--;
    slot_queue(drive, connection, index);
    drive->chunks_made++;
    drive->made_ns = slot->queued_ns;
}

// --- writing ---

static enum status
connection_write(struct drive *drive, struct drive_connection *connection, struct error *error)
{
    uint32_t frame_size = generator_frame_size(&drive->generator);
    while (connection->is_writable && connection->queue_count > 0) {
        struct window_slot *slot = &connection->slots[connection->queue[connection->queue_first]];
        if (!slot->is_filled)
            generator_fill(&drive->generator, slot->frame, slot->chunk, clock_now_ns());
        slot->is_filled = true;
        ssize_t size = send(
            connection->fd,
            slot->frame + connection->sent_size,
            frame_size - connection->sent_size,
            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN) {
            connection->is_writable = false;
            break;
        }
        if (size < 0)
            return error_set_errno(error, "cannot send to the server");
        connection->sent_size += (uint32_t)size;
        if (connection->sent_size < frame_size)
            continue;
        connection->sent_size = 0;
        connection->queue_first = (connection->queue_first + 1) % drive->options.in_flight;
        connection->queue_count--;
    }
    return STATUS_OK;
}

// --- reading acks ---

static enum status
answer_settle(
    struct drive *drive,
    struct drive_connection *connection,
    struct bytes message,
    struct error *error)
{
    struct answer answer;
    uint64_t chunk = 0;
    bool is_ours = answer_read(message, &answer) &&
                   generator_chunk_parse(answer.chunk.data, (uint32_t)answer.chunk.size, &chunk);
    uint32_t index = is_ours ? chunk >> 32 & UINT16_MAX : 0;
    if (!is_ours || index >= drive->options.in_flight)
        return error_set(error, STATUS_INVALID, "the server answered with no ack of ours");
    struct window_slot *slot = &connection->slots[index];
    if (!slot->is_busy || slot->chunk != chunk) {
        // A datagram that was sent again may be acked twice.
        if (is_datagrams(drive) && drive->resent > 0)
            return STATUS_OK;
        return error_set(error, STATUS_INVALID, "the server acked what is not in flight");
    }
    int64_t now_ns = clock_monotonic_ns();
    histogram_add(&drive->latency, (uint64_t)(now_ns - slot->intended_ns));
    slot->is_busy = false;
    connection->free_count++;
    drive->chunks_acked++;
    drive->duplicates += answer.duplicates;
    // The lists are cut at 1,000; then the counts say how many there were.
    drive->rejected += answer.rejected_count ? answer.rejected_count : answer.rejected_left;
    drive->conflicts += answer.conflicts_count ? answer.conflicts_count : answer.conflicts_left;
    drive->ended_ns = now_ns;
    published_set(&drive->acked, drive->chunks_acked);
    return STATUS_OK;
}

static enum status
received_settle(struct drive *drive, struct drive_connection *connection, struct error *error)
{
    struct buffer *received = &connection->received;
    size_t consumed = 0;
    while (consumed < received->size) {
        struct bytes left = bytes_of(received->data + consumed, received->size - consumed);
        enum unpack_result result = unpack_scan(&connection->scan, left, ANSWER_SIZE_MAX);
        if (result == UNPACK_INCOMPLETE)
            break;
        if (result != UNPACK_COMPLETE)
            return error_set(error, STATUS_INVALID, "the server's answer is no msgpack");
        struct bytes message = bytes_of(left.data, connection->scan.size);
        enum status status = answer_settle(drive, connection, message, error);
        if (status != STATUS_OK)
            return status;
        consumed += message.size;
        connection->scan = (struct unpack_scan){0};
    }
    if (consumed > 0) {
        memmove(received->data, received->data + consumed, received->size - consumed);
        received->size -= consumed;
    }
    return STATUS_OK;
}

// A datagram is one whole answer.
static enum status
datagram_settle(struct drive *drive, struct drive_connection *connection, struct error *error)
{
    struct bytes message = buffer_view(&connection->received);
    enum status status = answer_settle(drive, connection, message, error);
    connection->received.size = 0;
    return status;
}

static enum status
connection_read(struct drive *drive, struct drive_connection *connection, struct error *error)
{
    for (;;) {
        uint8_t *place = buffer_reserve(&connection->received, READ_SIZE);
        if (place == NULL)
            return error_set(error, STATUS_NO_MEMORY, "no memory for an answer");
        ssize_t size = recv(connection->fd, place, READ_SIZE, MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return STATUS_OK;
        if (size < 0)
            return error_set_errno(error, "cannot receive from the server");
        if (size == 0)
            return error_set(error, STATUS_CLOSED, "the server closed the connection");
        buffer_commit(&connection->received, (size_t)size);
        enum status status = is_datagrams(drive) ? datagram_settle(drive, connection, error)
                                                 : received_settle(drive, connection, error);
        if (status != STATUS_OK)
            return status;
    }
}

// --- datagrams that were lost ---

// Past the queue: what is in it was not lost. What the socket does not take is for the next look.
static enum status
connection_resend(
    struct drive *drive, struct drive_connection *connection, int64_t now_ns, struct error *error)
{
    uint32_t frame_size = generator_frame_size(&drive->generator);
    for (uint32_t i = 0; i < drive->options.in_flight && connection->queue_count == 0; i++) {
        struct window_slot *slot = &connection->slots[i];
        if (!slot->is_busy || now_ns - slot->queued_ns < DRIVE_RESEND_NS)
            continue;
        ssize_t size = send(connection->fd, slot->frame, frame_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (size < 0)
            return error_set_errno(error, "cannot send to the server");
        slot->queued_ns = now_ns;
        drive->resent++;
    }
    return STATUS_OK;
}

static enum status
lost_resend(struct drive *drive, struct error *error)
{
    int64_t now_ns = clock_monotonic_ns();
    enum status status = STATUS_OK;
    if (!is_datagrams(drive) || now_ns - drive->looked_ns < LOOK_NS)
        return STATUS_OK;
    drive->looked_ns = now_ns;
    for (uint32_t i = 0; i < drive->options.connections && status == STATUS_OK; i++)
        status = connection_resend(drive, &drive->connections[i], now_ns, error);
    return status;
}

// --- the loop ---

static bool
is_complete(const struct drive *drive)
{
    if (flag_get(&drive->stop) != 0)
        return true;
    return drive->options.chunks_max > 0 && drive->chunks_made >= drive->options.chunks_max;
}

// When chunk number n is to start.
static int64_t
due_ns(const struct drive *drive, uint64_t number)
{
    double seconds = (double)number / drive->options.chunks_per_second;
    return drive->began_ns + (int64_t)(seconds * 1e9);
}

// Makes what the closed loop allows: all that the window has room for.
static enum status
make_all(struct drive *drive, struct error *error)
{
    for (uint32_t i = 0; i < drive->options.connections; i++) {
        struct drive_connection *connection = &drive->connections[i];
        while (connection->free_count > 0 && !is_complete(drive)) {
            chunk_make(drive, connection, clock_monotonic_ns());
            enum status status = connection_write(drive, connection, error);
            if (status != STATUS_OK)
                return status;
        }
    }
    return STATUS_OK;
}

// Makes what is due, one connection after the other; what finds no room waits, its clock running.
static enum status
make_due(struct drive *drive, struct error *error)
{
    uint32_t tried = 0, count = drive->options.connections;
    int64_t now_ns = clock_monotonic_ns();
    while (tried < count && !is_complete(drive) && due_ns(drive, drive->chunks_made) <= now_ns) {
        struct drive_connection *connection =
            &drive->connections[(drive->chunks_made + tried) % count];
        if (connection->free_count == 0) {
            tried++;
            continue;
        }
        chunk_make(drive, connection, due_ns(drive, drive->chunks_made));
        tried = 0;
        enum status status = connection_write(drive, connection, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static bool
window_has_room(const struct drive *drive)
{
    for (uint32_t i = 0; i < drive->options.connections; i++)
        if (drive->connections[i].free_count > 0)
            return true;
    return false;
}

int64_t
drive_wait_ns(int64_t left_ns, bool has_room)
{
    // Without room a chunk waits for an ack, not for the clock.
    if (!has_room || left_ns > LOOK_NS)
        return LOOK_NS;
    // With room it became due since it was looked for: while others were written, or while this
    // thread had no processor.
    return left_ns > 0 ? left_ns : 0;
}

static int64_t
sleep_ns(const struct drive *drive)
{
    if (drive->options.chunks_per_second <= 0 || is_complete(drive))
        return LOOK_NS;
    int64_t left_ns = due_ns(drive, drive->chunks_made) - clock_monotonic_ns();
    return drive_wait_ns(left_ns, window_has_room(drive));
}

static enum status
events_handle(struct drive *drive, struct error *error)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int64_t timeout_ns = sleep_ns(drive);
    struct timespec timeout = {timeout_ns / SECOND_NS, timeout_ns % SECOND_NS};
    int count = epoll_pwait2(drive->epoll_fd, events, EVENTS_AT_ONCE, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        return error_set_errno(error, "cannot wait for the server");
    for (int i = 0; i < count; i++) {
        struct drive_connection *connection = events[i].data.ptr;
        enum status status = STATUS_OK;
        if (events[i].events & EPOLLOUT)
            connection->is_writable = true;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            status = connection_read(drive, connection, error);
        if (status == STATUS_OK)
            status = connection_write(drive, connection, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status
drive_step(struct drive *drive, struct error *error)
{
    enum status status =
        drive->options.chunks_per_second > 0 ? make_due(drive, error) : make_all(drive, error);
    if (status == STATUS_OK)
        status = events_handle(drive, error);
    if (status == STATUS_OK)
        status = lost_resend(drive, error);
    if (status != STATUS_OK)
        return status;
    bool is_waiting = drive->chunks_acked < drive->chunks_made;
    int64_t since_ns = drive->ended_ns > drive->made_ns ? drive->ended_ns : drive->made_ns;
    if (is_waiting && clock_monotonic_ns() - since_ns > drive->options.ack_timeout_ns)
        return error_set(error, STATUS_TIMEOUT, "the server acks nothing any more");
    return STATUS_OK;
}

static void *
drive_run(void *context)
{
    struct drive *drive = context;
    enum status status = STATUS_OK;
    drive->began_ns = clock_monotonic_ns();
    while (status == STATUS_OK &&
           !(is_complete(drive) && drive->chunks_acked == drive->chunks_made))
        status = drive_step(drive, &drive->error);
    flag_set(&drive->over, 1);
    return NULL;
}

void
drive_stop(struct drive *drive)
{
    flag_set(&drive->stop, 1);
}

bool
drive_is_over(const struct drive *drive)
{
    return flag_get(&drive->over) != 0;
}

uint64_t
drive_acked(const struct drive *drive)
{
    return published_get(&drive->acked);
}

enum status
drive_join(struct drive *drive, struct error *error)
{
    int rc = pthread_join(drive->thread, NULL);
    must(rc == 0);
    if (drive->error.status == STATUS_OK)
        return STATUS_OK;
    return error_set(error, drive->error.status, "%s", drive->error.text);
}

void
drive_done(struct drive *drive)
{
    for (uint32_t i = 0; drive->connections != NULL && i < drive->options.connections; i++)
        connection_done(&drive->connections[i]);
    pool_give(drive->connections);
    drive->connections = NULL;
    if (drive->epoll_fd >= 0)
        close(drive->epoll_fd);
    drive->epoll_fd = -1;
}
