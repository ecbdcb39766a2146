// From received bytes to events put. The problem: frames do not care for the borders of receive
// buffers, the ledger may be full in the middle of a frame, and an event's bytes should be copied
// once.
//
// A frame that lies whole in the receive buffer is decoded there. Of a frame that does not, what
// arrived is kept in `held`, and of the next buffers only as much is added as completes it
// (HOLD_STEP at a time, since its end is not known before); what follows is again decoded in place.

#include "base/assert.h"
#include "base/clock.h"
#include "ingest/conn.h"
#include "ingest/frame_gzip.h"

// Work is counted in units, each about as much as looking at an item of msgpack; measured, that is
// 4 to 8 ns. A message of megabytes of tiny entries would else keep everybody waiting for a second.
enum {
    HOLD_STEP = 16 * 1024,
    ENTRY_WORK = 32,
    FRAME_WORK = 256,
    INFLATE_PIECE = 64 * 1024,
    LOOK_PIECE = 32 * 1024,
};

static struct bytes
held_view(const struct conn *conn)
{
    must(conn->held_start <= conn->held.size);
    if (conn->held.size == 0)
        return bytes_of(NULL, 0);
    return bytes_of(conn->held.data + conn->held_start, conn->held.size - conn->held_start);
}

// --- rejects ---

static void
entry_reject(struct conn *conn, enum refusal refusal, const struct event *event)
{
    struct desk *desk = conn->desk;
    desk->counts.rejected[refusal]++;
    ticket_reject(conn->ticket, conn->index, refusal);
    struct reject *reject = rejects_take(desk->rejects);
    if (reject == NULL)
        return;
    reject->time_ns = desk->now_ns;
    reject->reason = refusal_name(refusal);
    memcpy(reject->peer, conn->peer, sizeof reject->peer);
    reject->index = conn->index;
    reject->subject_size = reject_text_set(reject->subject, event->subject);
    reject->type_size = reject_text_set(reject->type, event->type);
    reject->id_size = reject_text_set(reject->id, event->id);
    rejects_give(desk->rejects, reject);
}

// --- one frame ---

void
conn_break(struct conn *conn, enum frame_fault fault)
{
    struct desk *desk = conn->desk;
    metric_add(&desk->metrics->broken[fault], 1);
    desk->on_broken(desk, conn->peer, fault);
    conn->is_sent_away = true;
    conn_end(conn);
}

// Finds the head frame in bytes. True: has_frame is set, or it was a heartbeat; scan.size is its
// length.
static bool
frame_find(struct conn *conn, struct bytes bytes)
{
    switch (unpack_scan(&conn->scan, bytes, conn->desk->options.frame_max)) {
    case UNPACK_INCOMPLETE: return false;
    case UNPACK_BROKEN: conn_break(conn, FRAME_NOT_MSGPACK); return false;
    case UNPACK_TOO_LARGE: conn_break(conn, FRAME_TOO_LARGE); return false;
    case UNPACK_COMPLETE: break;
    }
    enum frame_fault fault = frame_begin(bytes_of(bytes.data, conn->scan.size), &conn->frame);
    if (fault != FRAME_FINE) {
        conn_break(conn, fault);
        return false;
    }
    conn->frame_data = bytes.data;
    conn->entries = cursor_over(conn->frame.entries);
    conn->walk = (struct frame_walk){.shape = &conn->layout->shape.bytes};
    conn->index = 0;
    conn->has_frame = true;
    return true;
}

// The frame's bytes are now at `to`.
static void
frame_move(struct conn *conn, const uint8_t *to)
{
    if (!conn->has_frame || conn->frame_data == to)
        return;
    size_t at = conn->frame.entries.size - cursor_left(&conn->entries);
    frame_rebase(&conn->frame, conn->frame_data, to);
    conn->frame_data = to;
    if (conn->frame.is_inflated)
        return;
    conn->entries = cursor_over(conn->frame.entries);
    (void)cursor_take(&conn->entries, at);
    must(!cursor_failed(&conn->entries));
}

static enum refusal
entry_decode(struct conn *conn, struct cursor *at, struct event *out, struct decode_stats *stats)
{
    enum refusal refusal =
        decode_entry_alike(conn->layout, &conn->frame, at, conn->index, out, stats);
    if (refusal == REFUSAL_NONE && out->batch.size > 0 && !conn->may_backfill)
        return REFUSAL_BACKFILL;
    return refusal;
}

// False: the ledger has no room, the same entry comes again later.
static bool
entry_put(struct conn *conn)
{
    // Decoding sets what is read of it; clearing all of it first is a good part of decoding's cost.
    __attribute__((uninitialized)) struct event event;
    struct cursor at = conn->entries;
    struct decode_stats stats = {0};
    enum refusal refusal = entry_decode(conn, &at, &event, &stats);
    if (refusal != REFUSAL_NONE) {
        entry_reject(conn, refusal, &event);
    } else {
        struct receipt receipt = {.ticket = conn->ticket, .index = conn->index};
        if (!intake_put(conn->desk->intake, &event, receipt))
            return false;
        conn->ticket->pending++;
        conn->desk->counts.events++;
    }
    // Not before: what comes again later is to count once.
    conn->desk->counts.decode.values_rounded += stats.values_rounded;
    conn->entries = at;
    conn->index++;
    return true;
}

// --- slices ---

// The most work that is still its in this turn. What it did not use in former turns is its as well,
// up to a slice: who sends a frame now and then finds it whole.
static uint32_t
slice_left(struct conn *conn)
{
    struct desk *desk = conn->desk;
    uint64_t turns = desk->turn - conn->slice_turn;
    if (turns > 0) {
        uint64_t share = SLICE_WORK / (desk->hungry_before + 1);
        uint64_t slice = turns < SLICE_WORK ? conn->slice + turns * (share + 1) : SLICE_WORK;
        conn->slice = slice < SLICE_WORK ? (uint32_t)slice : SLICE_WORK;
        conn->slice_turn = desk->turn;
    }
    return desk->worked < TURN_WORK_MAX ? conn->slice : 0;
}

static void
slice_charge(struct conn *conn, size_t work)
{
    uint32_t charge = work < conn->slice ? (uint32_t)work : conn->slice;
    conn->slice -= charge;
    conn->desk->worked += charge;
}

// Its frame goes on in the next turn.
static void
slice_ends(struct conn *conn)
{
    conn->desk->has_more_work = true;
    conn->desk->hungry++;
}

// Whether there is work left for it in this turn, which is taken.
static bool
slice_take(struct conn *conn, uint32_t work)
{
    if (slice_left(conn) == 0) {
        slice_ends(conn);
        return false;
    }
    slice_charge(conn, work);
    return true;
}

// --- what is to be done before entries can be put ---

// What cannot be inflated cannot be counted; without an ack the client sends it again.
static void
frame_fail(struct conn *conn, enum frame_fault fault)
{
    conn_frame_abandon(conn);
    if (fault != FRAME_FINE) {
        conn_break(conn, fault);
    } else {
        conn->is_deaf = true;
        conn_end(conn);
    }
}

// False: more of the head frame's entries is to be looked through, or it is forgotten and the
// connection ends.
static bool
frame_is_looked_through(struct conn *conn)
{
    struct frame *frame = &conn->frame;
    if (frame->is_whole)
        return true;
    size_t before = conn->walk.items;
    enum frame_fault fault = frame_look(frame, slice_left(conn), &conn->walk);
    slice_charge(conn, conn->walk.items - before);
    if (fault != FRAME_FINE) {
        frame_fail(conn, fault);
        return false;
    }
    if (!frame->is_whole)
        slice_ends(conn);
    else
        conn->entries = cursor_over(frame->entries);
    return frame->is_whole;
}

enum inflating { INFLATING_DONE, INFLATING_WAITS, INFLATING_FAILED };

// Inflates the head frame's entries, then looks through them, in pieces: a turn does a bounded
// amount of both, whoever it is for. INFLATING_FAILED: the frame is forgotten and the connection
// ends.
static enum inflating
frame_inflate(struct conn *conn)
{
    struct desk *desk = conn->desk;
    struct frame *frame = &conn->frame;
    if (desk->inflating != NULL && desk->inflating != conn)
        return INFLATING_WAITS;
    if (desk->inflating == NULL) {
        desk->inflating = conn;
        desk->inflated_result = GZIP_MORE;
        desk->inflated_walk = (struct frame_walk){.shape = &conn->layout->shape.bytes};
        gzip_begin(desk->gzip, frame->entries.size, &desk->options.inflated, &desk->inflated);
    }
    enum frame_fault fault = FRAME_FINE;
    while (fault == FRAME_FINE && !frame->is_inflated) {
        if (desk->inflating_left == 0) {
            desk->has_more_work = true;
            return INFLATING_WAITS;
        }
        desk->inflating_left--;
        if (desk->inflated_result == GZIP_MORE)
            desk->inflated_result =
                gzip_some(desk->gzip, frame->entries, INFLATE_PIECE, &desk->inflated);
        else if (desk->inflated_result == GZIP_FINE)
            fault = frame_inflated(
                frame, buffer_view(&desk->inflated), LOOK_PIECE, &desk->inflated_walk);
        else
            break;
    }
    if (frame->is_inflated) {
        conn->entries = cursor_over(frame->entries);
        desk->counts.frames++;
        return INFLATING_DONE;
    }
    frame_fail(conn, fault != FRAME_FINE ? fault : frame_fault_of_gzip(desk->inflated_result));
    return INFLATING_FAILED;
}

// --- a frame's way ---

// Puts the rest of the head frame. False: stopped for want of a ticket or of room, in the ledger,
// for one more ack or to inflate; at the end of the slice; or (has_frame is unset) for good.
static bool
frame_put(struct conn *conn)
{
    struct desk *desk = conn->desk;
    if (!slice_take(conn, FRAME_WORK))
        return false;
    if (conn->frame.mode == FRAME_HEARTBEAT) {
        desk->counts.heartbeats++;
        return true;
    }
    if (!conn->frame.is_gzip && !frame_is_looked_through(conn))
        return false;
    if (conn->ticket == NULL) {
        if (conn->tickets == desk->options.conn_tickets || conn_acks_are_full(conn))
            return false;
        conn->ticket = ticket_take(&desk->tickets, conn, &conn->frame);
        if (conn->ticket == NULL)
            return false;
        conn->tickets++;
        // A compressed one counts when it turned out to be whole.
        desk->counts.frames += !conn->frame.is_gzip;
    }
    bool is_packed = conn->frame.is_gzip && !conn->frame.is_inflated;
    if (is_packed && frame_inflate(conn) != INFLATING_DONE)
        return false;
    while (conn->index < conn->frame.entries_count)
        if (!slice_take(conn, ENTRY_WORK) || !entry_put(conn))
            return false;
    struct ticket *ticket = conn->ticket;
    conn->ticket = NULL;
    ticket->is_open = false;
    conn_ticket_settle(desk, ticket);
    return true;
}

void
conn_stall(struct conn *conn)
{
    if (conn->is_stalled)
        return;
    conn->is_stalled = true;
    conn->next_stalled = NULL;
    *conn->desk->stalled_end = conn;
    conn->desk->stalled_end = &conn->next_stalled;
}

// Goes through whole frames at the front of bytes. Returns how many bytes are done with; the rest
// begins with a frame that is incomplete or waits (has_frame).
static size_t
frames_consume(struct conn *conn, struct bytes bytes)
{
    size_t done = conn->is_stranger ? conn_ping_take(conn, bytes) : 0;
    while (conn->state != CONN_CLOSING && !conn->is_stranger) {
        struct bytes rest = bytes_of(bytes.data + done, bytes.size - done);
        if (!conn->has_frame && (rest.size == 0 || !frame_find(conn, rest)))
            break;
        if (!frame_put(conn)) {
            // With a ticket the frame will be put, whatever the peer reads.
            if (conn->has_frame && (conn->ticket != NULL || !conn_acks_are_full(conn)))
                conn_stall(conn);
            break;
        }
        room_frame_done(conn);
        conn->has_frame = false;
        conn_inflated_give(conn);
        done += conn->scan.size;
        conn->scan = (struct unpack_scan){0};
    }
    return done;
}

// --- held bytes ---

static void
held_drop(struct conn *conn)
{
    buffer_reset(&conn->held);
    conn->held_start = 0;
}

// Appends to what is held. False: no memory; the connection ends.
static bool
held_append(struct conn *conn, struct bytes more)
{
    if (conn->held_start > 0) {
        struct bytes rest = held_view(conn);
        memmove(conn->held.data, rest.data, rest.size);
        conn->held.size = rest.size;
        conn->held_start = 0;
    }
    buffer_bytes(&conn->held, more);
    if (buffer_failed(&conn->held)) {
        // What cannot be kept cannot be counted; without an ack the client sends it again.
        conn_frame_abandon(conn);
        conn->is_deaf = true;
        conn_end(conn);
        return false;
    }
    frame_move(conn, conn->held.data);
    return true;
}

// Completes the held frame from data. Returns the bytes of data that are done with; when it returns
// with nothing held, the rest of data is to be decoded in place.
static size_t
held_complete(struct conn *conn, struct bytes data)
{
    size_t used = 0;
    while (used < data.size && conn->held.size > 0 && !conn->has_frame &&
           conn->state == CONN_OPEN) {
        size_t step = data.size - used < HOLD_STEP ? data.size - used : (size_t)HOLD_STEP;
        if (!held_append(conn, bytes_of(data.data + used, step)))
            return data.size;
        used += step;
        conn->held_start += frames_consume(conn, held_view(conn));
        if (conn->held_start > 0 && !conn->has_frame) {
            // What is left lies in data as well, since without this step nothing was whole.
            size_t left = conn->held.size - conn->held_start;
            must(left <= used);
            used -= left;
            held_drop(conn);
        }
    }
    return used;
}

static void
ended_input_drop(struct conn *conn)
{
    if (conn->state != CONN_OPEN && !conn->has_frame) {
        held_drop(conn);
        conn->scan = (struct unpack_scan){0};
    }
}

void
conn_take(struct conn *conn, struct bytes data)
{
    conn->desk->counts.bytes += data.size;
    conn->received_ns = conn->desk->monotonic_ns;
    conn_touch(conn);
    if (conn->state != CONN_OPEN)
        return;
    size_t used = 0;
    if (conn->held.size > 0 && !conn->has_frame)
        used = held_complete(conn, data);
    struct bytes rest = bytes_of(data.data + used, data.size - used);
    if (conn->held.size == 0 && conn->state == CONN_OPEN && rest.size > 0) {
        size_t done = frames_consume(conn, rest);
        rest = bytes_of(rest.data + done, rest.size - done);
    }
    if (rest.size > 0 && (conn->state == CONN_OPEN || conn->has_frame))
        (void)held_append(conn, rest);
    ended_input_drop(conn);
}

void
conn_resume(struct conn *conn)
{
    must(conn->has_frame && conn->frame_data == held_view(conn).data);
    conn_touch(conn);
    conn->held_start += frames_consume(conn, held_view(conn));
    if (conn->held_start == conn->held.size)
        held_drop(conn);
    ended_input_drop(conn);
}
