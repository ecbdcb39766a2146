// Between the socket and conn_take, for connections over TLS: what came is decrypted, acks are
// encrypted when the line is free. One buffer of acks is encrypted at a time, so what waits for a
// slow peer waits as plain acks do.

#include "base/assert.h"
#include "ingest/conn.h"

void
conn_tls_begin(struct conn *conn)
{
    struct desk *desk = conn->desk;
    must(desk->tls != NULL && conn->tls == NULL && conn->state == CONN_OPEN);
    conn->tls = tls_open(desk->tls);
    conn->greeted_ns = desk->monotonic_ns;
    if (conn->tls == NULL) {
        metric_add(&desk->metrics->tls_failed[TLS_NO_MEMORY], 1);
        desk->on_tls_failed(desk, conn, TLS_NO_MEMORY, "");
        conn->is_deaf = true;
        conn_end(conn);
    }
}

static void
tls_give_up(struct conn *conn, enum tls_fault fault, const char *detail)
{
    struct desk *desk = conn->desk;
    if (conn->state != CONN_OPEN)
        return;
    metric_add(&desk->metrics->tls_failed[fault], 1);
    desk->on_tls_failed(desk, conn, fault, detail);
    conn_end(conn);
}

// Without TLS. No message begins with the byte that begins a TLS handshake.
static void
plain_receive(struct conn *conn, struct bytes data)
{
    if (!conn->has_spoken && data.data[0] == TLS_FIRST_BYTE && conn->state == CONN_OPEN)
        conn_break(conn, FRAME_TLS);
    conn_take(conn, data);
}

static void
tls_receive(struct conn *conn, struct bytes data)
{
    enum tls_result result = TLS_BYTES;
    bool was_open = tls_is_open(conn->tls);
    tls_feed(conn->tls, data);
    while (result == TLS_BYTES) {
        struct bytes plain = {0};
        result = tls_read(conn->tls, &plain);
        if (result == TLS_BYTES)
            conn_take(conn, plain);
    }
    if (!was_open && tls_is_open(conn->tls))
        metric_add(&conn->desk->metrics->tls_handshakes, 1);
    if (result == TLS_ENDED)
        conn_end(conn);
    if (result == TLS_FAILED)
        tls_give_up(conn, tls_fault(conn->tls), tls_detail(conn->tls));
}

// A handshake is a millisecond's work. When many come at once, what they sent is kept, still
// encrypted, until the turn is theirs; nothing decrypted is held before that.
static bool
tls_defer(struct conn *conn, struct bytes data)
{
    struct desk *desk = conn->desk;
    if (!conn_is_shaking_hands(conn))
        return false;
    bool is_deferred = conn_is_deferred(conn);
    if (!is_deferred && desk->handshakes_left > 0) {
        desk->handshakes_left--;
        return false;
    }
    buffer_bytes(&conn->held, data);
    if (buffer_failed(&conn->held)) {
        tls_give_up(conn, TLS_NO_MEMORY, "");
        return true;
    }
    desk->has_more_work = true;
    if (!is_deferred)
        conn_stall(conn);
    return true;
}

void
conn_receive(struct conn *conn, struct bytes data)
{
    if (conn->tls == NULL) {
        plain_receive(conn, data);
        return;
    }
    if (conn->state != CONN_OPEN || tls_defer(conn, data))
        return;
    tls_receive(conn, data);
}

void
conn_tls_resume(struct conn *conn)
{
    if (conn->state != CONN_OPEN || !conn_is_deferred(conn))
        return;
    if (conn->desk->handshakes_left == 0) {
        conn->desk->has_more_work = true;
        conn_stall(conn);
        return;
    }
    conn->desk->handshakes_left--;
    // What is decrypted may be held, too.
    scoped(buffer_done) struct buffer sealed = conn->held;
    conn->held = (struct buffer){0};
    tls_receive(conn, buffer_view(&sealed));
    if (conn->has_hung_up)
        conn_end(conn);
}

bool
conn_is_deferred(const struct conn *conn)
{
    return conn_is_shaking_hands(conn) && conn->held.size > 0;
}

// Nothing more is to be said to the peer but this.
static bool
conn_is_said(const struct conn *conn)
{
    return conn->state == CONN_ENDED && !conn->has_frame && conn->tickets == 0;
}

struct buffer *
conn_output(struct conn *conn)
{
    struct tls *tls = conn->tls;
    if (tls == NULL || buffer_failed(&conn->acks))
        return &conn->acks;
    bool is_lost = tls_fault(tls) != TLS_FINE || (conn->state != CONN_OPEN && !tls_is_open(tls));
    if (!is_lost && conn->acks.size > 0 && tls_is_open(tls))
        is_lost = !tls_seal(tls, buffer_view(&conn->acks));
    if (is_lost)
        tls_give_up(conn, tls_fault(tls), tls_detail(tls));
    // Without a session nobody can be told: the client sends its chunks again.
    if (is_lost || tls_is_open(tls))
        buffer_reset(&conn->acks);
    if (conn_is_said(conn))
        tls_end(tls);
    return tls_output(tls);
}

bool
conn_is_shaking_hands(const struct conn *conn)
{
    return conn->tls != NULL && !tls_is_open(conn->tls);
}

void
conn_tls_tick(struct conn *conn)
{
    const struct desk *desk = conn->desk;
    if (conn->state == CONN_OPEN && conn_is_shaking_hands(conn) &&
        desk->monotonic_ns - conn->greeted_ns > desk->options.handshake_ns)
        tls_give_up(conn, TLS_TIMEOUT, "");
}
