#pragma once
// An event loop on io_uring: accept, receive, send and poll, completed in batches; streams and
// datagrams.
//
//     loop_open(&options, &loop, &error);     // any thread; says plainly when io_uring is blocked
//     loop_bind(loop, &error);                // from now on this thread's
//     op->run = on_received; op->context = conn;
//     loop_recv(loop, op, fd);                // queued; goes to the kernel in the next step
//     while (loop_step(loop, timeout_ns, &error) == STATUS_OK)
//         ...                                 // it has called op->run(op->context, &event)
//
// One operation is one struct loop_op, owned by the caller and not moved while it is active.
// Accept, receive and poll go on until they fail, end or are cancelled (multishot), other than
// loop_recv_some; an event with is_last set is the last one of its start, after which the op may be
// started again or forgotten. Received bytes lie in the loop's buffers and are lent until the
// callback returns. Datagrams have buffers of their own, so that a flood of them takes none from
// streams.
//
// A step is three things that never nest: submit (and wait), harvest (completions go to a queue),
// dispatch (callbacks run from that queue). Callbacks start and cancel operations; they never enter
// the kernel through the loop. When buffers ran out the loop takes up receiving again by itself.
//
// Owner: the thread that called loop_bind. Needs Linux 6.0.

#include "base/bytes.h"
#include "base/control.h"
#include "base/metric.h"
#include "base/status.h"

struct loop;
struct msghdr;
struct sockaddr;

// The largest datagram; what IP carries is a little less.
enum { LOOP_DATAGRAM_MAX = 65536 };

enum loop_kind {
    LOOP_IDLE,
    LOOP_ACCEPT,
    LOOP_RECV,
    LOOP_RECV_SOME,
    LOOP_DATAGRAMS,
    LOOP_SEND,
    LOOP_SEND_MESSAGE,
    LOOP_POLL,
};

// Where a datagram came from, and where to.
struct loop_datagram {
    const struct sockaddr *from;
    uint32_t from_size;
    struct control control;  // what the kernel told beside it
    bool is_cut;             // it was longer than data
};

struct loop_event {
    int32_t result;  // accepted fd; bytes received (0: end of stream) or sent; poll mask; or -errno
    struct bytes data;                     // received: lent until the callback returns
    const struct loop_datagram *datagram;  // of loop_datagrams, lent like data; NULL: none came
    bool is_last;                          // the operation has ended
};

typedef void (*loop_fn)(void *context, const struct loop_event *event);

struct loop_op {
    loop_fn run;
    void *context;
    // The loop's own:
    enum loop_kind kind;
    int fd;
    struct bytes data;             // being sent
    uint32_t size_max;             // of loop_recv_some
    const struct msghdr *message;  // being sent
    bool is_active;                // started, its last event not yet delivered
    bool is_cancelled;
};

struct loop_options {
    uint32_t entries;        // submission queue; 0: 1024
    uint32_t buffers;        // receive buffers, a power of two up to 32768; 0: 128
    uint32_t buffer_size;    // bytes of each; 0: 128 KiB
    uint32_t datagrams;      // buffers for datagrams, a power of two; 0: loop_datagrams is not used
    struct metric *starved;  // counts receives that found no buffer; or NULL
};

// Memory: buffers * buffer_size (16 MiB by default), datagrams * 66 KiB, and the queues. STATUS_IO:
// the kernel refuses io_uring; the text names what blocks it and where the remedy is described.
enum status
loop_open(const struct loop_options *options, struct loop **out, struct error *error) CHECKED;
// Ends the kernel's side: what was active is cancelled and delivers nothing more.
void loop_close(struct loop *loop);
// Makes the calling thread the loop's. Once, before the first start or step.
enum status loop_bind(struct loop *loop, struct error *error) CHECKED;

// Starts. The op is not active; run and context are set.
void loop_accept(struct loop *loop, struct loop_op *op, int fd);
void loop_recv(struct loop *loop, struct loop_op *op, int fd);
// At most size_max bytes, in one event, which is the last.
void loop_recv_some(struct loop *loop, struct loop_op *op, int fd, uint32_t size_max);
// Each event with a result of 0 or more is one datagram, which may be empty.
void loop_datagrams(struct loop *loop, struct loop_op *op, int fd);
// data stays until the one event, which may tell of fewer bytes than asked.
void loop_send(struct loop *loop, struct loop_op *op, int fd, struct bytes data);
// One datagram. message and all it points to stay until the one event.
void loop_send_message(struct loop *loop, struct loop_op *op, int fd, const struct msghdr *message);
// Readable.
void loop_poll(struct loop *loop, struct loop_op *op, int fd);

// Asks the kernel to end an operation; its last event still comes (-ECANCELED, or what it came to
// before). An op that is not active, or is cancelled already, is left alone.
void loop_cancel(struct loop *loop, struct loop_op *op);

static inline bool
loop_op_is_active(const struct loop_op *op)
{
    return op->is_active;
}

// Submits, waits until something completes or timeout_ns passed (0: does not wait), runs the
// callbacks. STATUS_IO: the ring itself is broken.
enum status loop_step(struct loop *loop, int64_t timeout_ns, struct error *error) CHECKED;

// Operations whose last event is still to come.
uint32_t loop_active(const struct loop *loop);

// What a person can do about a failed operation (errno, positive): "raise the limit of open files
// (ulimit -n)". Never NULL.
const char *loop_advice(int error_number);
