// The front's turn: what the kernel and the ledger delivered is worked off, then everything that
// was touched is settled.
//
// 1. A turn begins by offering the open groups to the writers, so what the last turn put is
//    committed while this one waits.
// 2. Nothing blocks but loop_step, and it does not sleep when the ledger has fates or main has a
//    message.
// 3. Draining: the listeners stop, every connection ends (ingest/conn.h), and the thread stops when
//    none is left or when FRONT_DRAIN_S are over.

#include "ingest/front.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static const int64_t TICK_NS = 500 * INT64_C(1000000);
// How long a turn waits while a datagram waits for room, as for frames (conn_room.c).
static const int64_t STALLED_WAIT_NS = INT64_C(1000000);

struct gate {
    struct front *front;
    const struct listener *listener;
    struct loop_op accepting;
};

struct front {
    struct desk desk;
    struct ledger *ledger;
    struct udp *udp;  // NULL: none
    struct gate gates[FRONT_LISTENERS_MAX];
    uint32_t gates_count;
    struct loop_op fates_poll;
    struct loop_op waker_poll;
    struct waker waker;
    struct flag drain;  // main says: no more input
    struct flag done;   // the thread says: ended
    bool is_bound;
    bool is_draining;
    bool has_thread;
    pthread_t thread;
    int64_t next_tick_ns;
    int64_t drain_deadline_ns;
    struct throttle broken_lines;
    struct throttle datagram_lines;
    struct throttle conflict_lines;
    struct throttle refused_lines;
    struct throttle turned_away_lines;
    struct throttle accept_lines;
    struct throttle tls_lines;
    struct error failure;
};

static void
log_broken(struct desk *desk, const char *peer, enum frame_fault fault)
{
    struct front *front = desk->context;
    uint64_t suppressed;
    // Anybody can send broken datagrams; they must not keep a connection's line from the log.
    bool is_datagram = strncmp(peer, "udp:", 4) == 0;
    struct throttle *lines = is_datagram ? &front->datagram_lines : &front->broken_lines;
    if (throttle_allows(lines, desk->monotonic_ns, &suppressed))
        log_warn(
            "frame_broken",
            LOG_TEXT("peer", peer),
            LOG_TEXT("reason", frame_fault_name(fault)),
            LOG_INT("suppressed", suppressed));
}

static void
log_conflict(struct desk *desk, const char *peer, const struct event_name *name)
{
    struct front *front = desk->context;
    uint64_t suppressed;
    if (throttle_allows(&front->conflict_lines, desk->monotonic_ns, &suppressed))
        log_warn(
            "event_conflict",
            LOG_TEXT("peer", peer),
            LOG_TEXT("reason", "known identity with another payload: not counted"),
            LOG_BYTES("subject", name->subject),
            LOG_BYTES("id", name->id),
            LOG_INT("suppressed", suppressed));
}

static void
log_turned_away(struct desk *desk, const struct conn *conn, enum handshake_fault fault)
{
    struct front *front = desk->context;
    uint64_t suppressed;
    if (throttle_allows(&front->turned_away_lines, desk->monotonic_ns, &suppressed))
        log_warn(
            "handshake_failed",
            LOG_TEXT("peer", conn->peer),
            LOG_TEXT("reason", handshake_fault_name(fault)),
            LOG_INT("suppressed", suppressed));
}

static void
log_tls_failed(struct desk *desk, const struct conn *conn, enum tls_fault fault, const char *detail)
{
    struct front *front = desk->context;
    uint64_t suppressed;
    if (throttle_allows(&front->tls_lines, desk->monotonic_ns, &suppressed))
        log_warn(
            "tls_failed",
            LOG_TEXT("peer", conn->peer),
            LOG_TEXT("reason", tls_fault_name(fault)),
            LOG_TEXT("detail", detail),
            LOG_INT("suppressed", suppressed));
}

// --- connections ---

static void
log_refused(struct front *front, const struct peer *peer)
{
    uint64_t suppressed;
    if (throttle_allows(&front->refused_lines, front->desk.monotonic_ns, &suppressed))
        log_warn(
            "connection_refused",
            LOG_TEXT("peer", peer->text),
            LOG_TEXT("reason", "too many connections: raise --connections-max"),
            LOG_INT("open", front->desk.conns_open),
            LOG_INT("suppressed", suppressed));
}

bool
front_adopt(struct front *front, int fd, const struct peer *peer)
{
    struct conn *conn = conn_open(&front->desk, fd, peer->text, peer->is_own_user);
    if (conn != NULL)
        metric_add(&front->desk.metrics->connections_accepted, 1);
    else
        metric_add(&front->desk.metrics->connections_refused, 1);
    if (conn != NULL && peer->is_tcp && front->desk.tls != NULL)
        conn_tls_begin(conn);
    return conn != NULL;
}

// The kernel's answer to accept: a connection, or a condition of the machine. After an error the
// tick tries again.
static void
on_accepted(void *context, const struct loop_event *event)
{
    struct gate *gate = context;
    struct front *front = gate->front;
    uint64_t suppressed;
    if (event->result >= 0) {
        struct peer peer;
        peer_describe(gate->listener->kind, event->result, &peer);
        bool is_adopted = !front->is_draining && front_adopt(front, event->result, &peer);
        if (!is_adopted && !front->is_draining)
            log_refused(front, &peer);
        if (!is_adopted)
            (void)close(event->result);
        return;
    }
    if (event->result == -ECANCELED || front->is_draining)
        return;
    if (throttle_allows(&front->accept_lines, front->desk.monotonic_ns, &suppressed))
        log_error(
            "accept_failed",
            LOG_TEXT("address", gate->listener->address),
            LOG_TEXT("error", strerrordesc_np(-event->result)),
            LOG_TEXT("advice", loop_advice(-event->result)),
            LOG_INT("suppressed", suppressed));
}

static void
gates_open(struct front *front)
{
    for (uint32_t i = 0; i < front->gates_count; i++) {
        struct gate *gate = &front->gates[i];
        if (!loop_op_is_active(&gate->accepting))
            loop_accept(front->desk.loop, &gate->accepting, gate->listener->fd);
    }
}

void
front_listen(struct front *front, const struct listener *listener)
{
    must(!front->is_bound && front->gates_count < FRONT_LISTENERS_MAX);
    struct gate *gate = &front->gates[front->gates_count++];
    gate->front = front;
    gate->listener = listener;
    gate->accepting = (struct loop_op){.run = on_accepted, .context = gate};
}

enum status
front_receive(
    struct front *front,
    const struct listener *listener,
    const struct udp_options *options,
    struct error *error)
{
    must(!front->is_bound && front->udp == NULL);
    return udp_open(&front->desk, front->ledger, listener, options, &front->udp, error);
}

// --- life ---

// The fates themselves are collected once a turn; this only ends the wait.
static void
on_fates_ready(void *context, const struct loop_event *event)
{
    (void)context;
    (void)event;
}

static void
on_waker(void *context, const struct loop_event *event)
{
    struct front *front = context;
    (void)event;
    waker_drain(&front->waker);
}

static enum status
front_parts_open(struct front *front, const struct front_options *options, struct error *error)
{
    enum status status = desk_init(&front->desk, &options->desk, error);
    if (status == STATUS_OK)
        status = waker_init(&front->waker, error);
    if (status == STATUS_OK)
        status = loop_open(&options->loop, &front->desk.loop, error);
    if (status == STATUS_OK)
        status = intake_open(options->ledger, desk_fates, &front->desk, &front->desk.intake, error);
    return status;
}

enum status
front_open(const struct front_options *options, struct front **out, struct error *error)
{
    struct front *front = pool_take(1, sizeof *front);
    if (front == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a front");
    front->ledger = options->ledger;
    front->desk.rejects = options->rejects;
    front->desk.metrics = options->metrics;
    front->desk.on_broken = log_broken;
    front->desk.on_conflict = log_conflict;
    front->desk.on_turned_away = log_turned_away;
    front->desk.on_tls_failed = log_tls_failed;
    front->desk.credentials = options->credentials;
    front->desk.tls = options->tls;
    front->desk.context = front;
    front->desk.now_ns = clock_now_ns();
    front->desk.monotonic_ns = clock_monotonic_ns();
    front->fates_poll = (struct loop_op){.run = on_fates_ready, .context = front};
    front->waker_poll = (struct loop_op){.run = on_waker, .context = front};
    enum status status = front_parts_open(front, options, error);
    if (status) {
        front_close(front);
        return status;
    }
    *out = front;
    return STATUS_OK;
}

enum status
front_bind(struct front *front, struct error *error)
{
    must(!front->is_bound);
    enum status status = loop_bind(front->desk.loop, error);
    if (status)
        return status;
    front->is_bound = true;
    loop_poll(front->desk.loop, &front->fates_poll, intake_fd(front->desk.intake));
    loop_poll(front->desk.loop, &front->waker_poll, front->waker.fd);
    gates_open(front);
    if (front->udp != NULL)
        udp_start(front->udp);
    return STATUS_OK;
}

void
front_close(struct front *front)
{
    if (front == NULL)
        return;
    if (front->has_thread) {
        front_drain(front);
        (void)pthread_join(front->thread, NULL);
    }
    if (front->desk.intake != NULL)
        intake_close(front->desk.intake);
    loop_close(front->desk.loop);
    udp_close(front->udp);
    desk_done(&front->desk);
    waker_done(&front->waker);
    pool_give(front);
}

// --- turns ---

static void
front_drain_begin(struct front *front)
{
    front->is_draining = true;
    front->drain_deadline_ns = front->desk.monotonic_ns + FRONT_DRAIN_S * SECOND_NS;
    for (uint32_t i = 0; i < front->gates_count; i++)
        loop_cancel(front->desk.loop, &front->gates[i].accepting);
    desk_end_all(&front->desk);
    if (front->udp != NULL)
        udp_drain(front->udp);
}

static void
front_tick(struct front *front)
{
    if (front->desk.monotonic_ns < front->next_tick_ns)
        return;
    front->next_tick_ns = front->desk.monotonic_ns + TICK_NS;
    desk_tick(&front->desk);
    if (front->desk.tls != NULL)
        tls_server_refresh(front->desk.tls);
    if (front->udp != NULL)
        udp_tick(front->udp);
    if (!front->is_draining)
        gates_open(front);
    else if (front->desk.monotonic_ns > front->drain_deadline_ns)
        desk_close_all(&front->desk);
}

// Waits for the kernel, the ledger or main.
static enum status
front_wait(struct front *front, int64_t timeout_ns, struct error *error)
{
    intake_offer(front->desk.intake);
    waker_prepare(&front->waker);
    bool has_work = !intake_prepare_sleep(front->desk.intake) ||
                    (flag_get(&front->drain) && !front->is_draining);
    if (front->udp != NULL && !udp_prepare_wait(front->udp))
        has_work = true;
    timeout_ns = desk_patience_ns(&front->desk, timeout_ns);
    bool is_stalled = front->udp != NULL && udp_is_stalled(front->udp);
    if (is_stalled && timeout_ns > STALLED_WAIT_NS)
        timeout_ns = STALLED_WAIT_NS;
    enum status status = loop_step(front->desk.loop, has_work ? 0 : timeout_ns, error);
    waker_cancel(&front->waker);
    return status;
}

enum status
front_turn(struct front *front, int64_t timeout_ns, struct error *error)
{
    must(front->is_bound);
    struct desk *desk = &front->desk;
    enum status status = front_wait(front, timeout_ns, error);
    if (status)
        return status;
    desk->now_ns = clock_now_ns();
    desk->monotonic_ns = clock_monotonic_ns();
    // Before the fates: an ack that they make is to be sent before its peer can be given up.
    front_tick(front);
    intake_collect(desk->intake);
    desk_resume(desk);
    if (flag_get(&front->drain) && !front->is_draining)
        front_drain_begin(front);
    if (front->udp != NULL)
        udp_turn(front->udp);
    desk_settle(desk);
    return STATUS_OK;
}

// Draining ends with the last connection. Beyond the deadline it ends anyway: a ledger that
// delivers no fates any more keeps their connections' slots for ever.
static bool
front_is_drained(const struct front *front)
{
    if (!front->is_draining)
        return false;
    bool is_through =
        front->desk.conns_open == 0 && (front->udp == NULL || udp_is_drained(front->udp));
    return is_through || front->desk.monotonic_ns > front->drain_deadline_ns + 2 * SECOND_NS;
}

static void *
front_run(void *context)
{
    struct front *front = context;
    struct error error = {0};
    enum status status = front_bind(front, &error);
    while (status == STATUS_OK && !front_is_drained(front))
        status = front_turn(front, TICK_NS, &error);
    if (status) {
        log_error("front_failed", LOG_TEXT("error", error.text));
        front->failure = error;
    }
    flag_set(&front->done, 1);
    return NULL;
}

enum status
front_start(struct front *front, struct error *error)
{
    must(!front->has_thread && !front->is_bound);
    int result = pthread_create(&front->thread, NULL, front_run, front);
    if (result != 0) {
        errno = result;
        return error_set_errno(error, "cannot start the front's thread");
    }
    front->has_thread = true;
    return STATUS_OK;
}

void
front_drain(struct front *front)
{
    flag_set(&front->drain, 1);
    waker_wake(&front->waker);
}

bool
front_is_done(const struct front *front)
{
    return !front->has_thread || flag_get(&front->done) != 0;
}

enum status
front_failure(const struct front *front, const char **out_text)
{
    must(front_is_done(front));
    *out_text = front->failure.text;
    return front->failure.status;
}

uint32_t
front_connections(const struct front *front)
{
    return front->desk.conns_open;
}

uint64_t
front_pending(const struct front *front)
{
    uint64_t datagrams = front->udp != NULL ? udp_pending(front->udp) : 0;
    return intake_pending(front->desk.intake) + datagrams;
}
