// The life of a datagram (see the header). What differs from a connection: it has arrived whole or
// not at all, nobody can be told to wait, and the sender's address may be a lie, so nothing goes
// back that is larger than what came, and an echo goes to nobody who might echo it again.

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/pool.h"
#include "ingest/udp_parts.h"

#include <errno.h>
#include <linux/sock_diag.h>

enum {
    // Of so many letters one must be free, or nothing is received.
    LETTERS_SPARE = 8,
    PORT_PRIVILEGED_MAX = 1023,
    DROP_STEP_MAX = INT32_MAX,
    INFLATED_KEPT_MAX = 64 * 1024,
};

// --- receiving ---

static void
datagram_break(struct udp *udp, const struct loop_event *event, enum frame_fault fault)
{
    struct sockaddr_storage from = {0};
    must(event->datagram->from_size <= sizeof from);
    memcpy(&from, event->datagram->from, event->datagram->from_size);
    broken_note(udp, &from, fault);
}

// Exactly one message, or the reason why not.
static enum frame_fault
datagram_parse(const struct loop_event *event, struct frame *out)
{
    struct unpack_scan scan = {0};
    if (event->datagram->is_cut)
        return FRAME_TOO_LARGE;
    switch (unpack_scan(&scan, event->data, LOOP_DATAGRAM_MAX)) {
    case UNPACK_BROKEN: return FRAME_NOT_MSGPACK;
    case UNPACK_INCOMPLETE:
    case UNPACK_TOO_LARGE: return FRAME_NOT_ONE;
    case UNPACK_COMPLETE: break;
    }
    if (scan.size != event->data.size)
        return FRAME_NOT_ONE;
    return frame_parse(event->data, out);
}

static void
datagram_put(struct udp *udp, const struct loop_event *event, const struct frame *frame)
{
    struct letter *letter = NULL;
    if (udp->held_count < udp->options.held_max)
        letter = letter_take(udp, event);
    if (letter == NULL) {
        udp->counts.dropped[UDP_DROP_LEDGER]++;
        return;
    }
    letter->frame = *frame;
    letter->entries = cursor_over(frame->entries);
    letter->index = 0;
    // As many tickets as letters, so there is one.
    letter->ticket = ticket_take(&udp->tickets, NULL, frame);
    must(letter->ticket != NULL);
    // A compressed one counts when it turned out to be whole.
    udp->desk->counts.frames += !frame->is_gzip;
    if (udp->held_count > 0 || !letter_put(letter))
        letter_hold(letter, event->data);
}

static uint16_t
port_of(const struct sockaddr *address)
{
    struct sockaddr_in in = {0};
    struct sockaddr_in6 in6 = {0};
    if (address->sa_family == AF_INET)
        memcpy(&in, address, sizeof in);
    else if (address->sa_family == AF_INET6)
        memcpy(&in6, address, sizeof in6);
    return ntohs(address->sa_family == AF_INET ? in.sin_port : in6.sin6_port);
}

// Who forges the address of another server, or of a service that answers everything, must not make
// the two talk for ever. What they say to each other is one datagram: one that is not echoed, for
// the last one was a moment ago, ends it.
static bool
echo_is_due(struct udp *udp, const struct loop_datagram *datagram)
{
    uint16_t port = port_of(datagram->from);
    if (port <= PORT_PRIVILEGED_MAX || port == udp->port)
        return false;
    uint64_t hash = hash64(bytes_of(datagram->from, datagram->from_size), udp->echo_seed);
    int64_t *next_ns = &udp->echo_next_ns[hash % UDP_ECHO_SEATS];
    if (udp->desk->monotonic_ns < *next_ns)
        return false;
    *next_ns = udp->desk->monotonic_ns + UDP_ECHO_MS * (SECOND_NS / 1000);
    return true;
}

// A heartbeat of the protocol's older kind.
static void
datagram_echo(struct udp *udp, const struct loop_event *event)
{
    udp->desk->counts.heartbeats++;
    if (!echo_is_due(udp, event->datagram)) {
        udp->counts.dropped[UDP_DROP_PEER]++;
        return;
    }
    struct letter *letter = letter_take(udp, event);
    if (letter == NULL) {
        udp->counts.dropped[UDP_DROP_LEDGER]++;
        return;
    }
    letter->answer.limit = 0;
    buffer_bytes(&letter->answer, event->data);
    if (buffer_failed(&letter->answer))
        letter_free(letter);
    else
        letter_answer(letter);
}

static bool
peer_is_allowed(const struct udp *udp, const struct sockaddr *from)
{
    for (size_t i = 0; i < udp->options.allowed_count; i++)
        if (network_has(&udp->options.allowed[i], from))
            return true;
    return udp->options.allowed_count == 0;
}

static void
datagram_take(struct udp *udp, const struct loop_event *event)
{
    struct frame frame;
    udp->has_received = true;
    udp->counts.datagrams++;
    udp->desk->counts.bytes += event->data.size;
    if (!peer_is_allowed(udp, event->datagram->from)) {
        udp->counts.dropped[UDP_DROP_PEER]++;
        return;
    }
    if (event->data.size == 1 && event->data.data[0] == 0) {
        datagram_echo(udp, event);
        return;
    }
    enum frame_fault fault = datagram_parse(event, &frame);
    if (fault != FRAME_FINE)
        datagram_break(udp, event, fault);
    else if (frame.mode == FRAME_HEARTBEAT)
        udp->desk->counts.heartbeats++;
    else
        datagram_put(udp, event, &frame);
}

// The kernel's count only grows, but is told twice and out of order (by datagrams of long ago).
static void
kernel_drops_note(struct udp *udp, uint32_t drops)
{
    uint32_t more = drops - udp->kernel_drops;
    if (more == 0 || more > DROP_STEP_MAX)
        return;
    udp->kernel_drops = drops;
    udp->counts.dropped[UDP_DROP_KERNEL] += more;
}

static void
on_datagram(void *context, const struct loop_event *event)
{
    struct udp *udp = context;
    if (event->datagram != NULL) {
        if (event->datagram->control.dropped > 0)
            kernel_drops_note(udp, event->datagram->control.dropped);
        datagram_take(udp, event);
    }
    if (event->is_last && event->result < 0 && event->result != -ECANCELED)
        udp->has_failed = true;
}

// The fates themselves are collected once a turn; this only ends the wait.
static void
on_fates_ready(void *context, const struct loop_event *event)
{
    (void)context;
    (void)event;
}

// --- life ---

enum status
udp_open(
    struct desk *desk,
    struct ledger *ledger,
    const struct listener *listener,
    const struct udp_options *options,
    struct udp **out,
    struct error *error)
{
    must(listener->kind == LISTENER_UDP);
    struct udp *udp = pool_take(1, sizeof *udp);
    if (udp == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for UDP");
    udp->desk = desk;
    udp->listener = listener;
    udp->options = *options;
    if (udp->options.letters == 0)
        udp->options.letters = UDP_LETTERS;
    if (udp->options.held_max == 0)
        udp->options.held_max = UDP_HELD_MAX;
    if (udp->options.drain_ms == 0)
        udp->options.drain_ms = UDP_DRAIN_MS;
    random_fill(&udp->echo_seed, sizeof udp->echo_seed);
    udp->receiving = (struct loop_op){.run = on_datagram, .context = udp};
    udp->fates_poll = (struct loop_op){.run = on_fates_ready, .context = udp};
    struct sockaddr_storage own = {0};
    socklen_t own_size = sizeof own;
    if (getsockname(listener->fd, (struct sockaddr *)&own, &own_size) == 0)
        udp->port = port_of((const struct sockaddr *)&own);
    enum status status = letters_open(udp, error);
    if (status == STATUS_OK)
        status = gzip_open(&udp->gzip, error);
    if (status == STATUS_OK)
        status = intake_open(ledger, letters_fates, udp, &udp->intake, error);
    if (status) {
        udp_close(udp);
        return status;
    }
    *out = udp;
    return STATUS_OK;
}

void
udp_close(struct udp *udp)
{
    if (udp == NULL)
        return;
    intake_close(udp->intake);
    for (uint32_t i = 0; udp->letters != NULL && i < udp->options.letters; i++) {
        buffer_done(&udp->letters[i].held);
        buffer_done(&udp->letters[i].answer);
    }
    gzip_close(udp->gzip);
    buffer_done(&udp->inflated);
    tickets_done(&udp->tickets);
    pool_give(udp->letters);
    pool_give(udp);
}

void
udp_start(struct udp *udp)
{
    loop_poll(udp->desk->loop, &udp->fates_poll, intake_fd(udp->intake));
    loop_datagrams(udp->desk->loop, &udp->receiving, udp->listener->fd);
}

// --- turns ---

bool
udp_prepare_wait(struct udp *udp)
{
    intake_offer(udp->intake);
    return intake_prepare_sleep(udp->intake);
}

bool
udp_is_stalled(const struct udp *udp)
{
    return udp->held_count > 0;
}

static void
receive_or_not(struct udp *udp)
{
    bool has_letters = (uint64_t)udp->free_count * LETTERS_SPARE >= udp->options.letters;
    bool wants = !udp->is_stopped && !udp->has_failed && udp->held_count == 0 && has_letters;
    if (!wants)
        loop_cancel(udp->desk->loop, &udp->receiving);
    else if (!loop_op_is_active(&udp->receiving))
        loop_datagrams(udp->desk->loop, &udp->receiving, udp->listener->fd);
    udp->has_listened = wants;
    udp->has_received = false;
}

static void
counts_publish(struct udp *udp)
{
    struct ingest_metrics *metrics = udp->desk->metrics;
    if (udp->counts.datagrams > 0)
        metric_add(&metrics->udp_datagrams, udp->counts.datagrams);
    for (size_t i = 0; i < UDP_DROP_COUNT; i++)
        if (udp->counts.dropped[i] > 0)
            metric_add(&metrics->udp_dropped[i], udp->counts.dropped[i]);
    udp->counts = (struct udp_counts){0};
}

void
udp_turn(struct udp *udp)
{
    intake_collect(udp->intake);
    held_resume(udp);
    udp->inflated_turn = 0;
    // The kernel has nothing more when a turn in which it was listened to brought nothing.
    bool is_quiet = udp->has_listened && !udp->has_received;
    if (udp->is_draining && (is_quiet || udp->desk->monotonic_ns > udp->drain_ns))
        udp->is_stopped = true;
    receive_or_not(udp);
    counts_publish(udp);
}

void
udp_tick(struct udp *udp)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof info;
    // Drops at the end of a burst: no later datagram tells of them.
    if (getsockopt(udp->listener->fd, SOL_SOCKET, SO_MEMINFO, info, &size) == 0)
        kernel_drops_note(udp, info[SK_MEMINFO_DROPS]);
    udp->has_failed = false;
    // The entries of the first that is held may lie in it.
    if (udp->held_count == 0 && udp->inflated.capacity > INFLATED_KEPT_MAX)
        buffer_done(&udp->inflated);
}

void
udp_drain(struct udp *udp)
{
    udp->is_draining = true;
    udp->drain_ns = udp->desk->monotonic_ns + udp->options.drain_ms * (SECOND_NS / 1000);
    // The turn that ends now does not count: it began before.
    udp->has_listened = false;
}

bool
udp_is_drained(const struct udp *udp)
{
    return udp->is_stopped && !loop_op_is_active(&udp->receiving) &&
           udp->free_count == udp->options.letters;
}

uint64_t
udp_pending(const struct udp *udp)
{
    return intake_pending(udp->intake);
}
