// The only file that knows liburing.
//
// 1. op->is_active from start until the event with is_last is delivered; loop->active counts those
//    ops. Their memory is the caller's, so nothing here touches an op after its last event began to
//    run.
// 2. A receive buffer belongs to the kernel, or to exactly one queued completion. It goes back
//    right after that completion's callback.
// 3. Completions are copied to loop->queue before the first callback runs, so the kernel's queue is
//    empty while callbacks start new operations.
// 4. A submission queue that is full is flushed once; the kernel takes entries in that call, so a
//    second failure cannot happen and is an assertion.

#include "base/loop.h"

#include "base/assert.h"
#include "base/pool.h"

#include <liburing.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LOOP_ENTRIES_DEFAULT = 1024,
    LOOP_BUFFERS_DEFAULT = 128,
    LOOP_BUFFER_SIZE_DEFAULT = 128 * 1024,
    LOOP_BUFFERS_MAX = 32768,
    LOOP_COMPLETIONS_PER_ENTRY = 4,
    LOOP_BUFFER_GROUP = 1,
    LOOP_DATAGRAM_GROUP = 2,
    // Before a datagram's bytes the kernel writes a header, room for an address and for control
    // messages. Multiples of 8, so that all three are aligned.
    DATAGRAM_NAME_SIZE = 32,
    DATAGRAM_BUFFER_SIZE = LOOP_DATAGRAM_MAX + 2048,
};

_Static_assert(sizeof(struct sockaddr_in6) <= DATAGRAM_NAME_SIZE, "an address fits");
_Static_assert(DATAGRAM_NAME_SIZE % 8 == 0, "the control messages are aligned");

struct completion {
    struct loop_op *op;  // NULL: the answer to a cancel
    int32_t result;
    uint32_t flags;
};

// A group of receive buffers.
struct buffers {
    struct io_uring_buf_ring *ring;  // shared with the kernel, at the head of memory
    uint8_t *memory;
    size_t memory_size;
    uint8_t *data;
    uint16_t group;
    uint32_t count;
    uint32_t size;      // of each
    uint32_t returned;  // given back since the last publication
};

struct loop {
    struct io_uring ring;
    bool has_ring;
    struct buffers streams;
    struct buffers datagrams;       // count 0: none
    struct msghdr datagram_header;  // what room a datagram's address and control get
    struct completion *queue;
    uint32_t queue_max;
    uint32_t queue_count;
    uint32_t active;
    struct metric *starved;
};

const char *
loop_advice(int error_number)
{
    switch (error_number) {
    case EPERM:
    case EACCES:
        return "io_uring is forbidden here: allow io_uring_setup, io_uring_enter and "
               "io_uring_register in "
               "the container's seccomp profile, or set kernel.io_uring_disabled=0 "
               "(docs/operations.md)";
    case ENOSYS:
        return "no io_uring here: the kernel has none, or the container's seccomp profile hides "
               "it; allow "
               "io_uring_setup, io_uring_enter and io_uring_register (docs/operations.md)";
    case EINVAL: return "the kernel is too old: Linux 6.0 or newer is needed";
    case ENOMEM: return "raise the limit of locked memory (ulimit -l), or free memory";
    case EMFILE: return "raise the limit of open files (ulimit -n), or lower --connections-max";
    case ENFILE: return "raise the system's limit of open files (fs.file-max)";
    case ENOBUFS:
        return "the kernel has no memory for sockets: raise net.ipv4.tcp_mem, or lower the load";
    case EADDRINUSE: return "another process listens there: stop it, or choose another address";
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
    case ECONNABORTED: return "the peer went away: nothing to do here";
    case EBADF: return "the descriptor was closed while in use: a defect, please report it";
    default: return "unexpected here: please report it";
    }
}

// Flags from best to plainest. SINGLE_ISSUER and DEFER_TASKRUN (6.1) keep the kernel's completion
// work on this thread, inside loop_step; without them the loop works the same and a little slower.
// The ring starts disabled, so that it can be opened on one thread and bound by another.
static int
ring_open(struct io_uring *ring, uint32_t entries)
{
    static const uint32_t flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int result = -EINVAL;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0] && result == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE,
            .cq_entries = entries * LOOP_COMPLETIONS_PER_ENTRY,
        };
        result = io_uring_queue_init_params(entries, ring, &params);
    }
    return result;
}

static uint8_t *
buffer_at(const struct buffers *buffers, uint32_t index)
{
    must(index < buffers->count);
    return buffers->data + (size_t)index * buffers->size;
}

static void
buffer_return(struct buffers *buffers, uint32_t index)
{
    must(buffers->returned < buffers->count);
    io_uring_buf_ring_add(
        buffers->ring,
        buffer_at(buffers, index),
        buffers->size,
        (unsigned short)index,
        io_uring_buf_ring_mask(buffers->count),
        (int)buffers->returned);
    buffers->returned++;
}

// Tells the kernel, unless fewer than returned_min were given back.
static void
buffers_publish(struct buffers *buffers, uint32_t returned_min)
{
    if (buffers->returned == 0 || buffers->returned < returned_min)
        return;
    io_uring_buf_ring_advance(buffers->ring, (int)buffers->returned);
    buffers->returned = 0;
}

// liburing 2.3 has no io_uring_setup_buf_ring: the ring of buffers and the buffers are one mapping
// of ours, whose head the kernel is told about.
static enum status
buffers_open(struct loop *loop, struct buffers *buffers, struct error *error)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t ring_size = buffers->count * sizeof(struct io_uring_buf);
    ring_size = (ring_size + page - 1) / page * page;
    buffers->memory_size = ring_size + (size_t)buffers->count * buffers->size;
    void *memory = mmap(
        NULL, buffers->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return error_set_errno(
            error, "cannot get %zu bytes of receive buffers", buffers->memory_size);
    buffers->memory = memory;
    buffers->ring = memory;
    buffers->data = buffers->memory + ring_size;
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)memory,
        .ring_entries = buffers->count,
        .bgid = buffers->group,
    };
    int result = io_uring_register_buf_ring(&loop->ring, &reg, 0);
    if (result < 0)
        return error_set(
            error,
            STATUS_IO,
            "io_uring refuses the receive buffers (%s): %s",
            strerrordesc_np(-result),
            loop_advice(-result));
    io_uring_buf_ring_init(buffers->ring);
    for (uint32_t i = 0; i < buffers->count; i++)
        buffer_return(buffers, i);
    buffers_publish(buffers, 0);
    return STATUS_OK;
}

static void
buffers_close(struct buffers *buffers)
{
    if (buffers->memory != NULL)
        (void)munmap(buffers->memory, buffers->memory_size);
}

static void
loop_configure(struct loop *loop, const struct loop_options *options)
{
    loop->streams = (struct buffers){
        .group = LOOP_BUFFER_GROUP,
        .count = options->buffers > 0 ? options->buffers : LOOP_BUFFERS_DEFAULT,
        .size = options->buffer_size > 0 ? options->buffer_size : LOOP_BUFFER_SIZE_DEFAULT,
    };
    loop->datagrams = (struct buffers){
        .group = LOOP_DATAGRAM_GROUP,
        .count = options->datagrams,
        .size = DATAGRAM_BUFFER_SIZE,
    };
    loop->datagram_header = (struct msghdr){
        .msg_namelen = DATAGRAM_NAME_SIZE,
        .msg_controllen = CONTROL_SIZE,
    };
    loop->starved = options->starved;
    must(loop->streams.count <= LOOP_BUFFERS_MAX && loop->datagrams.count <= LOOP_BUFFERS_MAX);
    must((loop->streams.count & (loop->streams.count - 1)) == 0);
    must((loop->datagrams.count & (loop->datagrams.count - 1)) == 0);
}

enum status
loop_open(const struct loop_options *options, struct loop **out, struct error *error)
{
    struct loop *loop = pool_take(1, sizeof *loop);
    if (loop == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the event loop");
    loop_configure(loop, options);
    int result =
        ring_open(&loop->ring, options->entries > 0 ? options->entries : LOOP_ENTRIES_DEFAULT);
    if (result < 0) {
        pool_give(loop);
        return error_set(
            error,
            STATUS_IO,
            "cannot start io_uring (%s): %s",
            strerrordesc_np(-result),
            loop_advice(-result));
    }
    loop->has_ring = true;
    loop->queue_max = loop->ring.cq.ring_entries;
    loop->queue = pool_take(loop->queue_max, sizeof *loop->queue);
    enum status status = buffers_open(loop, &loop->streams, error);
    if (status == STATUS_OK && loop->datagrams.count > 0)
        status = buffers_open(loop, &loop->datagrams, error);
    if (status == STATUS_OK && loop->queue == NULL)
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the event loop's queue");
    if (status) {
        loop_close(loop);
        return status;
    }
    *out = loop;
    return STATUS_OK;
}

void
loop_close(struct loop *loop)
{
    if (loop == NULL)
        return;
    // Ending the ring cancels what is active; only then may the buffers go.
    if (loop->has_ring)
        io_uring_queue_exit(&loop->ring);
    buffers_close(&loop->streams);
    buffers_close(&loop->datagrams);
    pool_give(loop->queue);
    pool_give(loop);
}

enum status
loop_bind(struct loop *loop, struct error *error)
{
    // By its number: the shared liburing 2.3 forgot to export io_uring_enable_rings.
    unsigned fd = (unsigned)loop->ring.ring_fd;
    int result = io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (result < 0)
        return error_set(
            error,
            STATUS_IO,
            "cannot enable io_uring (%s): %s",
            strerrordesc_np(-result),
            loop_advice(-result));
    return STATUS_OK;
}

static struct io_uring_sqe *
entry_take(struct loop *loop)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&loop->ring);
    if (entry == NULL) {
        (void)io_uring_submit(&loop->ring);
        entry = io_uring_get_sqe(&loop->ring);
    }
    must(entry != NULL);
    return entry;
}

// Queues the op as its fields say; also takes up again what the kernel ended without an error.
static void
op_submit(struct loop *loop, struct loop_op *op)
{
    struct io_uring_sqe *entry = entry_take(loop);
    switch (op->kind) {
    case LOOP_ACCEPT:
        // Blocking sockets on purpose: a non-blocking one makes io_uring answer EAGAIN instead of
        // waiting.
        io_uring_prep_multishot_accept(entry, op->fd, NULL, NULL, SOCK_CLOEXEC);
        break;
    case LOOP_RECV:
        io_uring_prep_recv_multishot(entry, op->fd, NULL, 0, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = LOOP_BUFFER_GROUP;
        break;
    case LOOP_RECV_SOME:
        io_uring_prep_recv(entry, op->fd, NULL, op->size_max, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = LOOP_BUFFER_GROUP;
        break;
    case LOOP_DATAGRAMS:
        io_uring_prep_recvmsg_multishot(entry, op->fd, &loop->datagram_header, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = LOOP_DATAGRAM_GROUP;
        break;
    case LOOP_SEND:
        io_uring_prep_send(entry, op->fd, op->data.data, op->data.size, MSG_NOSIGNAL);
        break;
    case LOOP_SEND_MESSAGE: io_uring_prep_sendmsg(entry, op->fd, op->message, MSG_NOSIGNAL); break;
    case LOOP_POLL: io_uring_prep_poll_multishot(entry, op->fd, POLLIN); break;
    case LOOP_IDLE: must(op->kind != LOOP_IDLE); break;
    }
    io_uring_sqe_set_data(entry, op);
}

static void
op_start(struct loop *loop, struct loop_op *op, enum loop_kind kind, int fd)
{
    must(!op->is_active && op->run != NULL && fd >= 0);
    op->kind = kind;
    op->fd = fd;
    op->is_active = true;
    op->is_cancelled = false;
    loop->active++;
    op_submit(loop, op);
}

void
loop_accept(struct loop *loop, struct loop_op *op, int fd)
{
    op_start(loop, op, LOOP_ACCEPT, fd);
}

void
loop_recv(struct loop *loop, struct loop_op *op, int fd)
{
    op_start(loop, op, LOOP_RECV, fd);
}

void
loop_recv_some(struct loop *loop, struct loop_op *op, int fd, uint32_t size_max)
{
    must(size_max > 0 && size_max <= INT32_MAX);
    op->size_max = size_max;
    op_start(loop, op, LOOP_RECV_SOME, fd);
}

void
loop_datagrams(struct loop *loop, struct loop_op *op, int fd)
{
    must(loop->datagrams.count > 0);
    op_start(loop, op, LOOP_DATAGRAMS, fd);
}

void
loop_send_message(struct loop *loop, struct loop_op *op, int fd, const struct msghdr *message)
{
    op->message = message;
    op_start(loop, op, LOOP_SEND_MESSAGE, fd);
}

void
loop_send(struct loop *loop, struct loop_op *op, int fd, struct bytes data)
{
    must(data.size > 0 && data.size <= INT32_MAX);
    op->data = data;
    op_start(loop, op, LOOP_SEND, fd);
}

void
loop_poll(struct loop *loop, struct loop_op *op, int fd)
{
    op_start(loop, op, LOOP_POLL, fd);
}

void
loop_cancel(struct loop *loop, struct loop_op *op)
{
    if (!op->is_active || op->is_cancelled)
        return;
    op->is_cancelled = true;
    struct io_uring_sqe *entry = entry_take(loop);
    io_uring_prep_cancel(entry, op, 0);
    io_uring_sqe_set_data(entry, NULL);
}

// What the kernel may answer to a wait without anything being wrong: the timeout, a signal, a full
// completion queue (EBUSY, EAGAIN: harvest first).
static bool
wait_is_fine(int result)
{
    return result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
           result == -EAGAIN;
}

static enum status
loop_submit(struct loop *loop, int64_t timeout_ns, struct error *error)
{
    int result;
    if (timeout_ns <= 0) {
        result = io_uring_submit_and_get_events(&loop->ring);
    } else {
        struct __kernel_timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        struct io_uring_cqe *first = NULL;
        result = io_uring_submit_and_wait_timeout(&loop->ring, &first, 1, &timeout, NULL);
    }
    if (wait_is_fine(result))
        return STATUS_OK;
    return error_set(
        error,
        STATUS_IO,
        "io_uring stopped working (%s): %s",
        strerrordesc_np(-result),
        loop_advice(-result));
}

static void
loop_harvest(struct loop *loop)
{
    must(loop->queue_count == 0);
    unsigned head;
    struct io_uring_cqe *entry;
    io_uring_for_each_cqe(&loop->ring, head, entry)
    {
        if (loop->queue_count == loop->queue_max)
            break;
        loop->queue[loop->queue_count++] = (struct completion){
            .op = io_uring_cqe_get_data(entry),
            .result = entry->res,
            .flags = entry->flags,
        };
    }
    io_uring_cq_advance(&loop->ring, loop->queue_count);
}

// Whether a multishot operation ended only because the kernel wants it asked again.
static bool
completion_wants_restart(const struct loop_op *op, int32_t result)
{
    if (op->is_cancelled || op->kind == LOOP_SEND || op->kind == LOOP_SEND_MESSAGE)
        return false;
    if (op->kind == LOOP_RECV_SOME)
        return result == -ENOBUFS;
    if (op->kind == LOOP_RECV)
        return result > 0 || result == -ENOBUFS;
    return result >= 0 || (op->kind == LOOP_DATAGRAMS && result == -ENOBUFS);
}

// What the kernel wrote: header, address, control messages, then the datagram.
static void
datagram_read(
    struct loop *loop,
    const struct completion *completion,
    uint8_t *buffer,
    struct loop_datagram *out,
    struct loop_event *out_event)
{
    struct msghdr *header = &loop->datagram_header;
    struct io_uring_recvmsg_out *head =
        io_uring_recvmsg_validate(buffer, completion->result, header);
    must(head != NULL && head->namelen <= DATAGRAM_NAME_SIZE);
    *out = (struct loop_datagram){
        .from = io_uring_recvmsg_name(head),
        .from_size = head->namelen,
        .is_cut = (head->flags & MSG_TRUNC) != 0,
    };
    const void *control = io_uring_recvmsg_cmsg_firsthdr(head, header);
    control_read(control, control != NULL ? head->controllen : 0, &out->control);
    size_t size = io_uring_recvmsg_payload_length(head, completion->result, header);
    out_event->result = (int32_t)size;
    out_event->data = bytes_of(io_uring_recvmsg_payload(head, header), size);
    out_event->datagram = out;
}

static void
completion_run(struct loop *loop, const struct completion *completion)
{
    struct loop_op *op = completion->op;
    if (op == NULL)
        return;
    must(op->is_active);
    int32_t result = completion->result;
    bool has_buffer = (completion->flags & IORING_CQE_F_BUFFER) != 0;
    uint32_t buffer = completion->flags >> IORING_CQE_BUFFER_SHIFT;
    bool is_datagrams = op->kind == LOOP_DATAGRAMS;
    struct buffers *buffers = is_datagrams ? &loop->datagrams : &loop->streams;
    bool is_receive = op->kind == LOOP_RECV || op->kind == LOOP_RECV_SOME || is_datagrams;
    struct loop_event event = {.result = result};
    struct loop_datagram datagram;
    if (has_buffer && result > 0 && is_datagrams)
        datagram_read(loop, completion, buffer_at(buffers, buffer), &datagram, &event);
    else if (has_buffer && result > 0)
        event.data = bytes_of(buffer_at(buffers, buffer), (size_t)result);
    if ((completion->flags & IORING_CQE_F_MORE) == 0) {
        event.is_last = !completion_wants_restart(op, result);
        if (event.is_last) {
            op->is_active = false;
            loop->active--;
        } else {
            op_submit(loop, op);
        }
    }
    if (result == -ENOBUFS && is_receive && loop->starved != NULL)
        metric_add(loop->starved, 1);
    if (result != -ENOBUFS || !is_receive || event.is_last)
        op->run(op->context, &event);
    if (has_buffer)
        buffer_return(buffers, buffer);
}

static void
loop_dispatch(struct loop *loop)
{
    for (uint32_t i = 0; i < loop->queue_count; i++) {
        completion_run(loop, &loop->queue[i]);
        // Published at once when many are out, so that a long dispatch does not starve the others.
        buffers_publish(&loop->streams, loop->streams.count / 4);
        buffers_publish(&loop->datagrams, loop->datagrams.count / 4);
    }
    loop->queue_count = 0;
    buffers_publish(&loop->streams, 0);
    buffers_publish(&loop->datagrams, 0);
}

enum status
loop_step(struct loop *loop, int64_t timeout_ns, struct error *error)
{
    enum status status = loop_submit(loop, timeout_ns, error);
    if (status)
        return status;
    loop_harvest(loop);
    loop_dispatch(loop);
    return STATUS_OK;
}

uint32_t
loop_active(const struct loop *loop)
{
    return loop->active;
}
