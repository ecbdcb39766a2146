#include "ingest/conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

// A buffer larger than this and less than half full gives its memory back: at once when it is very
// large or memory is full, else at a tick, so that a connection that streams does not map and unmap
// memory (and touch it for the first time) for every frame. One that is quiet keeps nothing.
enum {
    BUFFER_TIGHT_MAX = 4 * 1024,
    BUFFER_IDLE_MAX = 64 * 1024,
    BUFFER_KEPT_MAX = 1024 * 1024,
};

// What is inflated in a turn, in pieces of 64 KiB (conn_input.c), and how many TLS handshakes are
// gone on with (conn_tls.c): a millisecond.
enum { INFLATE_PIECES = 2, HANDSHAKES = 2 };

static const int64_t QUIET_NS = INT64_C(1000000000);

// --- desk ---

enum status
desk_init(struct desk *desk, const struct desk_options *options, struct error *error)
{
    must(options->frame_max <= options->connection_memory);
    must(options->frame_max + options->inflated.size_max < options->memory_max);
    desk->options = *options;
    desk->stalled_end = &desk->stalled;
    desk->inflating_left = INFLATE_PIECES;
    desk->handshakes_left = HANDSHAKES;
    desk->turn = 1;
    desk->conns = pool_take(options->connections_max, sizeof *desk->conns);
    if (desk->conns == NULL)
        return error_set(
            error, STATUS_NO_MEMORY, "no memory for %u connections", options->connections_max);
    for (uint32_t i = options->connections_max; i > 0; i--) {
        struct conn *conn = &desk->conns[i - 1];
        conn->desk = desk;
        conn->fd = -1;
        conn->next_free = desk->free;
        desk->free = conn;
    }
    enum status status = gzip_open(&desk->gzip, error);
    if (status == STATUS_OK)
        status = tickets_init(&desk->tickets, options->tickets, error);
    desk->tickets.lists_max = TICKET_LISTS_SIZE_MAX;
    return status;
}

void
desk_done(struct desk *desk)
{
    for (uint32_t i = 0; desk->conns != NULL && i < desk->options.connections_max; i++) {
        struct conn *conn = &desk->conns[i];
        if (conn->fd >= 0)
            (void)close(conn->fd);
        tls_close(conn->tls);
        buffer_done(&conn->held);
        buffer_done(&conn->acks);
        buffer_done(&conn->sent);
    }
    tickets_done(&desk->tickets);
    gzip_close(desk->gzip);
    buffer_done(&desk->inflated);
    pool_give(desk->conns);
    desk->conns = NULL;
}

void
conn_touch(struct conn *conn)
{
    if (conn->is_touched)
        return;
    conn->is_touched = true;
    conn->next_touched = conn->desk->touched;
    conn->desk->touched = conn;
}

// --- fates ---

void
conn_ticket_settle(struct desk *desk, struct ticket *ticket)
{
    if (!ticket_is_settled(ticket))
        return;
    struct conn *conn = ticket->conn;
    must(conn->tickets > 0);
    if (!conn->is_deaf && ticket->has_chunk) {
        ticket_pack_ack(ticket, &conn->acks);
        desk->counts.acks++;
    }
    conn->tickets--;
    ticket_give(&desk->tickets, ticket);
    conn_touch(conn);
}

// One event's fate, while the ledger delivers it.
struct delivery {
    struct desk *desk;
    const struct receipt *receipt;
    size_t position;
};

// A reject that only the ledger could decide: by then the frame's bytes are gone, so the ledger is
// asked who it was.
static void
fate_list(const struct delivery *delivery, const struct event_name *name, const char *reason)
{
    struct desk *desk = delivery->desk;
    const struct ticket *ticket = delivery->receipt->ticket;
    struct reject *reject = rejects_take(desk->rejects);
    if (reject == NULL)
        return;
    reject->time_ns = desk->now_ns;
    reject->reason = reason;
    memcpy(reject->peer, ticket->conn->peer, sizeof reject->peer);
    reject->index = delivery->receipt->index;
    reject->subject_size = reject_text_set(reject->subject, name->subject);
    reject->type_size = reject_text_set(reject->type, name->type);
    reject->id_size = reject_text_set(reject->id, name->id);
    rejects_give(desk->rejects, reject);
}

static void
fate_reject(const struct delivery *delivery, enum refusal refusal)
{
    struct event_name name;
    intake_recall(delivery->desk->intake, delivery->position, &name);
    delivery->desk->counts.rejected[refusal]++;
    ticket_reject(delivery->receipt->ticket, delivery->receipt->index, refusal);
    fate_list(delivery, &name, refusal_name(refusal));
}

static void
fate_conflict(const struct delivery *delivery)
{
    struct desk *desk = delivery->desk;
    struct ticket *ticket = delivery->receipt->ticket;
    struct event_name name;
    intake_recall(desk->intake, delivery->position, &name);
    desk->counts.conflicts++;
    desk->on_conflict(desk, ticket->conn->peer, &name);
    ticket_conflict(ticket, delivery->receipt->index);
    fate_list(delivery, &name, fate_name(FATE_CONFLICT));
}

static void
fate_apply(const struct delivery *delivery, enum fate fate)
{
    struct ticket *ticket = delivery->receipt->ticket;
    switch (fate) {
    case FATE_STORED: break;
    case FATE_DUPLICATE:
        delivery->desk->counts.duplicates++;
        ticket->duplicates++;
        break;
    case FATE_CONFLICT: fate_conflict(delivery); break;
    case FATE_TOO_OLD: fate_reject(delivery, REFUSAL_TOO_OLD); break;
    case FATE_TOO_FAR_AHEAD: fate_reject(delivery, REFUSAL_TOO_FAR_AHEAD); break;
    case FATE_BATCH_NOT_OPEN: fate_reject(delivery, REFUSAL_BATCH_NOT_OPEN); break;
    case FATE_COUNT: must(fate != FATE_COUNT); break;
    }
}

void
desk_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct desk *desk = context;
    for (size_t i = 0; i < count; i++) {
        struct ticket *ticket = receipts[i].ticket;
        must(ticket->pending > 0 && fates[i] < FATE_COUNT);
        if (fates[i] != FATE_STORED) {
            const struct delivery delivery = {desk, &receipts[i], i};
            fate_apply(&delivery, (enum fate)fates[i]);
        }
        ticket->pending--;
        if (ticket->pending == 0)
            conn_ticket_settle(desk, ticket);
    }
}

// --- life ---

void
conn_inflated_give(struct conn *conn)
{
    struct desk *desk = conn->desk;
    if (desk->inflating != conn)
        return;
    buffer_reset(&desk->inflated);
    desk->inflating = NULL;
}

void
conn_frame_abandon(struct conn *conn)
{
    struct ticket *ticket = conn->ticket;
    conn->has_frame = false;
    conn_inflated_give(conn);
    conn->ticket = NULL;
    if (ticket == NULL)
        return;
    ticket->is_open = false;
    ticket->has_chunk = false;
    conn_ticket_settle(conn->desk, ticket);
}

void
conn_end(struct conn *conn)
{
    conn_touch(conn);
    if (conn->state != CONN_OPEN)
        return;
    conn->state = CONN_ENDED;
    conn->waiting_ns = conn->desk->monotonic_ns;
}

void
conn_close(struct conn *conn)
{
    must(conn->state == CONN_OPEN || conn->state == CONN_ENDED);
    conn->state = CONN_CLOSING;
    conn->is_deaf = true;
    conn_frame_abandon(conn);
    loop_cancel(conn->desk->loop, &conn->receiving);
    loop_cancel(conn->desk->loop, &conn->sending);
    conn_touch(conn);
}

static void
conn_free(struct conn *conn)
{
    struct desk *desk = conn->desk;
    must(conn->tickets == 0 && conn->ticket == NULL && !conn->is_stalled && !conn->is_touched);
    must(desk->inflating != conn);
    must(!loop_op_is_active(&conn->receiving) && !loop_op_is_active(&conn->sending));
    desk->memory_used -= conn->charged;
    if (desk->room.owner == conn)
        desk->room.owner = NULL;
    tls_close(conn->tls);
    buffer_done(&conn->held);
    buffer_done(&conn->acks);
    buffer_done(&conn->sent);
    *conn = (struct conn){.desk = desk, .fd = -1, .next_free = desk->free};
    desk->free = conn;
    desk->conns_open--;
    metric_set(&desk->metrics->connections, desk->conns_open);
}

static void
on_received(void *context, const struct loop_event *event)
{
    struct conn *conn = context;
    conn_touch(conn);
    if (event->data.size > 0) {
        conn_bulk_note(conn, event->data.size);
        conn_receive(conn, event->data);
        conn->has_spoken = true;
    }
    if (!event->is_last || event->result > 0 || event->result == -ECANCELED ||
        event->result == -ENOBUFS)
        return;
    // 0: end of stream. An error: the peer is gone, but what it sent whole still counts.
    conn->has_hung_up = true;
    if (event->result < 0)
        conn->is_deaf = true;
    if (!conn_is_deferred(conn))
        conn_end(conn);
}

static void
on_sent(void *context, const struct loop_event *event)
{
    struct conn *conn = context;
    conn_touch(conn);
    if (event->result < 0) {
        conn->is_deaf = true;
        conn_end(conn);
        return;
    }
    conn->waiting_ns = conn->desk->monotonic_ns;
    conn->sent_size += (size_t)event->result;
    must(conn->sent_size <= conn->sent.size);
    if (conn->sent_size == conn->sent.size) {
        buffer_reset(&conn->sent);
        conn->sent_size = 0;
    }
}

struct conn *
conn_open(struct desk *desk, int fd, const char *peer, bool is_own_user)
{
    struct conn *conn = desk->free;
    if (conn == NULL)
        return NULL;
    desk->free = conn->next_free;
    conn->next_free = NULL;
    conn->state = CONN_OPEN;
    conn->fd = fd;
    conn->layout = &desk->layouts[(size_t)(conn - desk->conns) % LAYOUTS];
    conn->received_ns = desk->monotonic_ns;
    conn->is_own_user = is_own_user;
    conn->may_backfill = is_own_user;
    (void)snprintf(conn->peer, sizeof conn->peer, "%s", peer);
    conn->receiving = (struct loop_op){.run = on_received, .context = conn};
    conn->sending = (struct loop_op){.run = on_sent, .context = conn};
    conn_greet(conn);
    desk->conns_open++;
    metric_set(&desk->metrics->connections, desk->conns_open);
    conn_touch(conn);
    return conn;
}

// --- a turn ---

void
desk_resume(struct desk *desk)
{
    struct conn *conn = desk->stalled;
    struct conn **end = desk->stalled_end;
    size_t worked_max = desk->worked + SLICE_WORK;
    desk->stalled = NULL;
    desk->stalled_end = &desk->stalled;
    desk->has_more_work = false;
    while (conn != NULL && desk->worked < worked_max) {
        struct conn *next = conn->next_stalled;
        conn->next_stalled = NULL;
        conn->is_stalled = false;
        if (conn->has_frame)
            conn_resume(conn);
        else if (conn_is_deferred(conn))
            conn_tls_resume(conn);
        conn_touch(conn);
        conn = next;
    }
    if (conn == NULL)
        return;
    // Those that did not get their turn come before those that had one.
    desk->has_more_work = true;
    *end = desk->stalled;
    if (desk->stalled != NULL)
        end = desk->stalled_end;
    desk->stalled = conn;
    desk->stalled_end = end;
}

size_t
conn_acks_unread(const struct conn *conn)
{
    size_t sealed = conn->tls != NULL ? tls_output(conn->tls)->size : 0;
    return conn->acks.size + sealed + conn->sent.size - conn->sent_size;
}

bool
conn_acks_are_full(const struct conn *conn)
{
    return !conn->is_deaf && conn_acks_unread(conn) >= conn->desk->options.acks_max;
}

bool
conn_is_laden(const struct conn *conn)
{
    size_t unread = conn->is_deaf ? 0 : conn_acks_unread(conn);
    return unread > 0 && conn->held.size + unread >= conn->desk->options.connection_memory;
}

static bool
buffer_is_wide(const struct buffer *buffer)
{
    return buffer->size < buffer->capacity / 2;
}

// Gives back what a wide buffer does not use. Its bytes move.
static void
buffer_trim(struct buffer *buffer, size_t kept_max)
{
    struct buffer cut = {0};
    if (buffer->capacity <= kept_max || !buffer_is_wide(buffer) || buffer_failed(buffer))
        return;
    if (buffer->size > 0)
        buffer_bytes(&cut, buffer_view(buffer));
    if (buffer_failed(&cut))
        return;
    buffer_done(buffer);
    *buffer = cut;
}

// Its bytes; of a wide buffer all that it keeps.
static size_t
buffer_cost(const struct buffer *buffer)
{
    return buffer_is_wide(buffer) ? buffer->capacity : buffer->size;
}

static size_t
buffer_kept_max(const struct conn *conn, bool is_tick)
{
    const struct desk *desk = conn->desk;
    if (is_tick && desk->monotonic_ns - conn->received_ns > QUIET_NS)
        return 0;
    if (desk->memory_is_full)
        return BUFFER_TIGHT_MAX;
    return is_tick ? BUFFER_IDLE_MAX : BUFFER_KEPT_MAX;
}

void
conn_charge(struct conn *conn, bool is_tick)
{
    struct desk *desk = conn->desk;
    size_t kept_max = buffer_kept_max(conn, is_tick);
    // A frame that waits points into held, and the kernel reads from sent.
    if (!conn->has_frame)
        buffer_trim(&conn->held, kept_max);
    buffer_trim(&conn->acks, kept_max);
    if (!loop_op_is_active(&conn->sending))
        buffer_trim(&conn->sent, kept_max);
    size_t held = buffer_cost(&conn->held) + buffer_cost(&conn->acks) + buffer_cost(&conn->sent);
    if (conn->tls != NULL) {
        buffer_trim(tls_output(conn->tls), kept_max);
        held += buffer_cost(tls_output(conn->tls));
    }
    must(desk->memory_used >= conn->charged);
    desk->memory_used += held - conn->charged;
    conn->charged = held;
}

// The inflated entries cost the memory that is reserved for them, used or not.
void
desk_inflated_charge(struct desk *desk, bool is_tick)
{
    // Its holder's entries point into it. It has memory of its own, so there is time until a tick.
    if (desk->inflating == NULL && is_tick)
        buffer_trim(&desk->inflated, BUFFER_IDLE_MAX);
    must(desk->memory_used >= desk->inflated_charged);
    desk->memory_used += desk->inflated.capacity - desk->inflated_charged;
    desk->inflated_charged = desk->inflated.capacity;
}

static void
conn_send(struct conn *conn)
{
    bool is_free = !loop_op_is_active(&conn->sending) && conn->sent.size == 0;
    struct buffer *next = is_free && !conn->is_deaf ? conn_output(conn) : &conn->acks;
    if (conn->is_deaf || buffer_failed(next)) {
        // Nobody to tell, or no memory to tell with: the client sends its chunks again.
        conn->is_deaf = true;
        buffer_reset(&conn->acks);
        conn_end(conn);
        return;
    }
    if (loop_op_is_active(&conn->sending))
        return;
    if (is_free) {
        struct buffer empty = conn->sent;
        conn->sent = *next;
        *next = empty;
    }
    if (conn->sent.size > 0) {
        struct bytes rest =
            bytes_of(conn->sent.data + conn->sent_size, conn->sent.size - conn->sent_size);
        loop_send(conn->desk->loop, &conn->sending, conn->fd, rest);
        conn->waiting_ns = conn->desk->monotonic_ns;
    }
}

bool
conn_wants_bytes(const struct conn *conn)
{
    const struct desk *desk = conn->desk;
    return conn->state == CONN_OPEN && !conn->has_frame && !conn_is_deferred(conn) &&
           !conn_is_laden(conn) && !conn_acks_are_full(conn) &&
           conn->tickets < desk->options.conn_tickets;
}

static void
conn_read_or_not(struct conn *conn)
{
    const struct desk *desk = conn->desk;
    struct loop_op *receiving = &conn->receiving;
    bool is_leaving = conn->is_shut && !conn->has_hung_up;
    size_t ration = conn_wants_bytes(conn) ? conn_ration(conn) : 0;
    bool is_free = is_leaving || ration == SIZE_MAX;
    bool is_too_much = !is_free && (ration == 0 || receiving->kind == LOOP_RECV);
    if (loop_op_is_active(receiving) && is_too_much)
        loop_cancel(desk->loop, receiving);
    else if (loop_op_is_active(receiving) || (!is_free && ration == 0))
        return;
    else if (is_free)
        loop_recv(desk->loop, receiving, conn->fd);
    else
        loop_recv_some(desk->loop, receiving, conn->fd, (uint32_t)ration);
}

static bool
conn_is_through(const struct conn *conn)
{
    bool is_told = conn->is_deaf || conn_acks_unread(conn) == 0;
    return conn->state == CONN_ENDED && !conn->has_frame && conn->tickets == 0 && is_told;
}

// Says that nothing more will be said, and whether the peer may be closed.
static bool
conn_takes_leave(struct conn *conn)
{
    if (!conn_is_through(conn))
        return false;
    if (conn->is_sent_away && !conn->is_shut) {
        (void)shutdown(conn->fd, SHUT_WR);
        conn->is_shut = true;
        conn->waiting_ns = conn->desk->monotonic_ns;
    }
    return !conn->is_sent_away || conn->is_deaf || conn->has_hung_up;
}

static void
conn_settle(struct conn *conn)
{
    if (conn->state == CONN_OPEN || conn->state == CONN_ENDED) {
        conn_send(conn);
        if (conn_takes_leave(conn))
            conn_close(conn);
        else
            conn_read_or_not(conn);
        // What waited for the peer to read may go on.
        if (conn->has_frame && !conn_acks_are_full(conn))
            conn_stall(conn);
    }
    if (conn->state != CONN_OPEN && !conn->has_frame) {
        buffer_reset(&conn->held);
        conn->held_start = 0;
    }
    conn_charge(conn, false);
    bool is_idle = !loop_op_is_active(&conn->receiving) && !loop_op_is_active(&conn->sending);
    if (conn->state == CONN_CLOSING && is_idle && conn->fd >= 0) {
        (void)close(conn->fd);
        conn->fd = -1;
    }
}

static bool
conn_is_free_to_go(const struct conn *conn)
{
    return conn->state == CONN_CLOSING && conn->fd < 0 && conn->tickets == 0 && !conn->is_stalled;
}

static void
counts_publish(struct desk *desk)
{
    struct desk_counts *counts = &desk->counts;
    struct ingest_metrics *metrics = desk->metrics;
    metric_add(&metrics->bytes_received, (int64_t)counts->bytes);
    metric_add(&metrics->frames, (int64_t)counts->frames);
    metric_add(&metrics->heartbeats, (int64_t)counts->heartbeats);
    metric_add(&metrics->events, (int64_t)counts->events);
    metric_add(&metrics->duplicates, (int64_t)counts->duplicates);
    metric_add(&metrics->conflicts, (int64_t)counts->conflicts);
    metric_add(&metrics->acks, (int64_t)counts->acks);
    metric_add(&metrics->values_rounded, (int64_t)counts->decode.values_rounded);
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        if (counts->rejected[i] > 0)
            metric_add(&metrics->rejected[i], (int64_t)counts->rejected[i]);
    metric_add(&metrics->turns, 1);
    metric_set(&metrics->memory, (int64_t)desk->memory_used);
    *counts = (struct desk_counts){0};
}

void
desk_settle(struct desk *desk)
{
    // Charging first, so that the decision about memory is made once and for all of them.
    for (struct conn *conn = desk->touched; conn != NULL; conn = conn->next_touched)
        conn_charge(conn, false);
    desk_inflated_charge(desk, false);
    room_update(desk);
    struct conn *conn = desk->touched;
    desk->touched = NULL;
    while (conn != NULL) {
        struct conn *next = conn->next_touched;
        conn->next_touched = NULL;
        conn_settle(conn);
        conn->is_touched = false;
        if (conn_is_free_to_go(conn))
            conn_free(conn);
        conn = next;
    }
    desk->inflating_left = INFLATE_PIECES;
    desk->handshakes_left = HANDSHAKES;
    desk->worked = 0;
    desk->hungry_before = desk->hungry;
    desk->hungry = 0;
    desk->turn++;
    counts_publish(desk);
}

void
desk_end_all(struct desk *desk)
{
    for (uint32_t i = 0; i < desk->options.connections_max; i++)
        if (desk->conns[i].state == CONN_OPEN)
            conn_end(&desk->conns[i]);
}

void
desk_close_all(struct desk *desk)
{
    for (uint32_t i = 0; i < desk->options.connections_max; i++) {
        enum conn_state state = desk->conns[i].state;
        if (state == CONN_OPEN || state == CONN_ENDED)
            conn_close(&desk->conns[i]);
    }
}
