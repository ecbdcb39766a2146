// The first words of a connection that has to show that it may come in. Until it has, nothing of it
// is decoded, counted as a frame, or acked; what it sent behind its PING waits its turn in the same
// bytes.

#include "base/assert.h"
#include "ingest/conn.h"

void
conn_greet(struct conn *conn)
{
    struct desk *desk = conn->desk;
    conn->is_stranger = desk->credentials != NULL && !conn->is_own_user;
    if (!conn->is_stranger)
        return;
    handshake_begin(&conn->handshake, desk->credentials);
    handshake_pack_helo(&conn->handshake, &conn->acks);
    conn->greeted_ns = desk->monotonic_ns;
}

static void
conn_turn_away(struct conn *conn, enum handshake_fault fault)
{
    struct desk *desk = conn->desk;
    metric_add(&desk->metrics->turned_away[fault], 1);
    desk->on_turned_away(desk, conn, fault);
    handshake_pack_pong(fault, NULL, &conn->acks);
    conn->is_sent_away = true;
    conn_end(conn);
}

size_t
conn_ping_take(struct conn *conn, struct bytes bytes)
{
    struct desk *desk = conn->desk;
    must(conn->is_stranger);
    struct handshake_answer answer = {0};
    enum handshake_fault fault = HANDSHAKE_NOT_PING;
    enum unpack_result result = unpack_scan(&conn->scan, bytes, HANDSHAKE_PING_MAX);
    if (result == UNPACK_INCOMPLETE)
        return 0;
    if (result == UNPACK_COMPLETE)
        fault = handshake_check(
            &conn->handshake, desk->credentials, bytes_of(bytes.data, conn->scan.size), &answer);
    if (fault != HANDSHAKE_FINE) {
        conn_turn_away(conn, fault);
        return 0;
    }
    size_t used = conn->scan.size;
    conn->scan = (struct unpack_scan){0};
    conn->is_stranger = false;
    conn->may_backfill = answer.may_backfill;
    metric_add(&desk->metrics->handshakes, 1);
    handshake_pack_pong(HANDSHAKE_FINE, &answer, &conn->acks);
    return used;
}

void
conn_greet_tick(struct conn *conn)
{
    const struct desk *desk = conn->desk;
    bool waits = conn->state == CONN_OPEN && conn->is_stranger;
    if (waits && desk->monotonic_ns - conn->greeted_ns > desk->options.handshake_ns)
        conn_turn_away(conn, HANDSHAKE_TIMEOUT);
}
