// Who may go on while memory is full, and who is given up. The problem: a client may begin a large
// message and leave it at that, on many connections, slowly or not at all, and others must not
// notice.
//
// 1. A connection that holds less than its share is always read, and the shares of all together are
//    half of the memory for messages, so who sends messages smaller than that never waits for those
//    who fill the other half.
// 2. While that is full the kernel is asked for no more than what is left of the share, or many
//    bursts at once would overfill it. While it is not, who sends much is asked for a little in
//    each turn, since the kernel would deliver 4 MiB of each, and others wait while that is
//    copied.
// 3. Beyond its share one connection at a time goes on (room.owner), in the room that is kept for
//    one frame.
// 4. The others wait in a queue, first come, first served: each gets its turn after as many as were
//    before it.
// 5. A turn of which bytes came ends with the frame, or with the connection: when the rest does not
//    come, or comes too slowly.
// 6. A turn in which nothing came ends after some milliseconds and puts the connection at the back;
//    it is closed when its turns have been like that for twice linger_ns.
// 7. A client is too slow by the clock and by turns of the loop, both: a loop that is slow itself
//    holds that against nobody.
// 8. Memory full or not, a message that was begun has to come on and acks have to be read
//    (stall_ns).
// 9. Time in which this side does not read is not held against the client.

#include "base/assert.h"
#include "ingest/conn.h"

enum {
    ROOM_WORDS_SIZE = 4096,
    RATION_MAX = 1 << 30,
    // Of a message that is not whole after so many bytes, as many come in a turn.
    RATION_LARGE = 64 * 1024,
    RATION_BULK = 128 * 1024,
    // So often something less came before it is believed to send less.
    BULK_EVENTS = 8,
    // The same in looks: how often the kernel was asked for the owner's bytes, which has them ready
    // when the client sends more quickly than the loop turns.
    ROOM_QUIET_LOOKS = 2,
    ROOM_GRACE_LOOKS = 8,
    ROOM_BYTES_PER_LOOK = 4096,
};

// A turn of the room's owner: until the first bytes come, between any two, and for all of the
// frame: a second, and one more for each 256 KiB that came.
static const int64_t ROOM_LEASH_NS = 10 * INT64_C(1000000);
static const int64_t ROOM_IDLE_NS = 500 * INT64_C(1000000);
static const int64_t ROOM_GRACE_NS = INT64_C(1000000000);
static const int64_t ROOM_NS_PER_BYTE = 4000;
// The same for a frame when memory is not full: a second for each kibibyte, beyond stall_ns.
static const int64_t STALL_NS_PER_BYTE = 1000 * INT64_C(1000);
static const int64_t TICK_NS_MAX = INT64_C(1000000000);
// How long a turn waits while a frame waits for room. The writer announces fates, but not that a
// group is free again.
static const int64_t STALLED_WAIT_NS = INT64_C(1000000);

// --- who may go on ---

// It may say a few words at any time: that costs next to nothing, and its time runs.
static bool
conn_is_new(const struct conn *conn)
{
    return conn->is_stranger || conn_is_shaking_hands(conn);
}

static size_t
desk_pool(const struct desk *desk)
{
    // Inflating has room of its own, so that it never waits for connections that wait for it.
    return desk->options.memory_max - desk->options.frame_max - desk->options.inflated.size_max;
}

// What is left of its share.
static size_t
conn_share(const struct conn *conn)
{
    const struct desk *desk = conn->desk;
    size_t share = desk_pool(desk) / 2 / desk->options.connections_max;
    return conn->charged < share ? share - conn->charged : 0;
}

void
conn_bulk_note(struct conn *conn, size_t size)
{
    if (size >= RATION_BULK)
        conn->bulk_events = BULK_EVENTS;
    else if (conn->bulk_events > 0)
        conn->bulk_events--;
}

// How much at a time, memory aside. For who sends less than that, any number: then the kernel need
// not be asked again for each message.
static size_t
conn_gulp(const struct conn *conn)
{
    if (conn->held.size >= RATION_LARGE)
        return RATION_LARGE;
    return conn->bulk_events > 0 || !conn->has_spoken ? RATION_BULK : SIZE_MAX;
}

size_t
conn_ration(const struct conn *conn)
{
    const struct desk *desk = conn->desk;
    if (desk->room.owner == conn)
        return SIZE_MAX;
    if (!desk->memory_is_full)
        return conn_gulp(conn);
    size_t share = conn_share(conn);
    if (conn_is_new(conn) && share < ROOM_WORDS_SIZE)
        return ROOM_WORDS_SIZE;
    return share < RATION_MAX ? share : (size_t)RATION_MAX;
}

static bool
conn_waits_for_room(const struct conn *conn)
{
    return conn_wants_bytes(conn) && !conn_is_new(conn) && conn_share(conn) == 0;
}

// Who is first seen waiting gets the next place; of those seen at once, any order will do.
static void
room_owner_choose(struct desk *desk)
{
    struct conn *chosen = NULL;
    for (uint32_t i = 0; i < desk->options.connections_max; i++) {
        struct conn *conn = &desk->conns[i];
        if (!conn_waits_for_room(conn))
            continue;
        if (conn->room_place == 0)
            conn->room_place = ++desk->room_places;
        if (chosen == NULL || conn->room_place < chosen->room_place)
            chosen = conn;
    }
    if (chosen == NULL)
        return;
    metric_add(&desk->metrics->room_turns, 1);
    conn_touch(chosen);
    size_t size = chosen->held.size;
    desk->room = (struct room){
        .owner = chosen, .since_ns = desk->monotonic_ns, .size = size, .seen_size = size};
    if (chosen->room_first_ns == 0)
        chosen->room_first_ns = desk->monotonic_ns;
}

static void
room_leave(struct desk *desk)
{
    struct conn *owner = desk->room.owner;
    desk->room.owner = NULL;
    if (owner == NULL)
        return;
    owner->room_place = 0;
    conn_touch(owner);
}

// Counts a look, unless the kernel was not asked or had no buffer.
static void
room_look(struct room *room)
{
    if (room->owner == NULL)
        return;
    size_t size = room->owner->held.size;
    bool has_come = size != room->seen_size;
    if (!has_come && !loop_op_is_active(&room->owner->receiving))
        return;
    room->seen_size = size;
    room->looks++;
    room->quiet_looks = has_come ? 0 : room->quiet_looks + 1;
}

enum room_use { ROOM_USED, ROOM_UNUSED, ROOM_WASTED };

// Nothing came. ROOM_WASTED: as so often before.
static enum room_use
room_unused_of(const struct desk *desk)
{
    const struct room *room = &desk->room;
    int64_t now_ns = desk->monotonic_ns;
    if (now_ns - room->since_ns <= ROOM_LEASH_NS || room->quiet_looks < ROOM_QUIET_LOOKS)
        return ROOM_USED;
    bool is_hopeless = now_ns - room->owner->room_first_ns > 2 * desk->options.linger_ns;
    return is_hopeless ? ROOM_WASTED : ROOM_UNUSED;
}

// ROOM_WASTED: the owner does not go on with its frame, and is to be closed.
static enum room_use
room_use_of(const struct desk *desk)
{
    const struct room *room = &desk->room;
    const struct conn *owner = room->owner;
    if (owner == NULL || owner->state == CONN_CLOSING)
        return ROOM_UNUSED;
    size_t growth = owner->held.size > room->size ? owner->held.size - room->size : 0;
    // Its frame is whole, or the ledger or its peer is to go on first.
    if (owner->has_frame || (growth > 0 && !conn_wants_bytes(owner)))
        return ROOM_USED;
    if (!conn_waits_for_room(owner))
        return ROOM_UNUSED;
    if (growth == 0)
        return room_unused_of(desk);
    int64_t elapsed_ns = desk->monotonic_ns - room->since_ns;
    bool is_idle = desk->monotonic_ns - owner->received_ns > ROOM_IDLE_NS &&
                   room->quiet_looks >= ROOM_QUIET_LOOKS;
    bool is_late = elapsed_ns > ROOM_GRACE_NS + (int64_t)growth * ROOM_NS_PER_BYTE ||
                   elapsed_ns > 2 * desk->options.linger_ns;
    bool is_slow = is_late && room->looks > ROOM_GRACE_LOOKS + growth / ROOM_BYTES_PER_LOOK;
    return is_idle || is_slow ? ROOM_WASTED : ROOM_USED;
}

void
room_frame_done(struct conn *conn)
{
    conn->frame_since_ns = 0;
    conn->room_first_ns = 0;
    conn->room_place = 0;
    if (conn->desk->room.owner == conn)
        room_leave(conn->desk);
}

void
room_update(struct desk *desk)
{
    size_t pool = desk_pool(desk);
    size_t used = desk->memory_used - desk->inflated_charged;
    bool is_full = used > pool - pool / 2;
    if (is_full != desk->memory_is_full) {
        metric_add(&desk->metrics->memory_full, is_full);
        desk->room.owner = NULL;
        desk->memory_is_full = is_full;
        for (uint32_t i = 0; i < desk->options.connections_max; i++)
            if (desk->conns[i].state == CONN_OPEN)
                conn_touch(&desk->conns[i]);
    }
    room_look(&desk->room);
    enum room_use use = room_use_of(desk);
    if (!is_full || use == ROOM_USED)
        return;
    if (use == ROOM_WASTED)
        conn_break(desk->room.owner, FRAME_STALLED);
    room_leave(desk);
    room_owner_choose(desk);
}

int64_t
desk_patience_ns(const struct desk *desk, int64_t timeout_ns)
{
    if (desk->touched != NULL || desk->has_more_work)
        return 0;
    int64_t wait_ns = desk->stalled != NULL ? STALLED_WAIT_NS : timeout_ns;
    if (desk->room.owner != NULL && wait_ns > ROOM_LEASH_NS)
        wait_ns = ROOM_LEASH_NS;
    return wait_ns < timeout_ns ? wait_ns : timeout_ns;
}

// --- who is given up ---

// Whether only the peer, by reading its acks, can make the connection go on.
static bool
conn_waits_for_peer(const struct conn *conn)
{
    bool is_put = !conn->has_frame && conn->tickets == 0;
    return (conn->state == CONN_ENDED && is_put) || conn_acks_are_full(conn) ||
           (conn->state == CONN_OPEN && conn_is_laden(conn));
}

static bool
conn_is_deaf_peer(const struct conn *conn)
{
    const struct desk_options *options = &conn->desk->options;
    int64_t waited_ns = conn->desk->monotonic_ns - conn->waiting_ns;
    if (conn->state == CONN_ENDED)
        return conn_waits_for_peer(conn) && waited_ns > options->linger_ns;
    // What was packed in this turn has not been offered yet.
    if (!loop_op_is_active(&conn->sending))
        return false;
    if (conn->desk->memory_is_full && conn_waits_for_peer(conn) && waited_ns > options->linger_ns)
        return true;
    return options->stall_ns > 0 && waited_ns > options->stall_ns;
}

// A message, or a TLS record, was begun.
static bool
conn_has_begun(const struct conn *conn)
{
    return conn->held.size > 0 || (conn->tls != NULL && tls_is_inside(conn->tls));
}

// Looks at each tick whether the same frame is still incomplete.
static bool
conn_is_slow(struct conn *conn)
{
    const struct desk *desk = conn->desk;
    bool is_asked = conn->state == CONN_OPEN && !conn_is_new(conn) && conn_has_begun(conn) &&
                    conn_wants_bytes(conn) && conn_ration(conn) > 0;
    if (!is_asked) {
        conn->frame_since_ns = 0;
        return false;
    }
    if (conn->frame_since_ns == 0)
        conn->frame_since_ns = desk->monotonic_ns;
    else if (desk->late_ns > 0)
        conn->frame_since_ns += desk->late_ns;
    int64_t allowed_ns = desk->options.stall_ns + (int64_t)conn->held.size * STALL_NS_PER_BYTE;
    return desk->options.stall_ns > 0 && desk->monotonic_ns - conn->frame_since_ns > allowed_ns;
}

static bool
conn_is_idle(const struct conn *conn)
{
    const struct desk *desk = conn->desk;
    return desk->options.idle_ns > 0 && conn->state == CONN_OPEN && !conn_is_new(conn) &&
           !conn_has_begun(conn) && conn->tickets == 0 && conn_acks_unread(conn) == 0 &&
           desk->monotonic_ns - conn->received_ns > desk->options.idle_ns;
}

static void
conn_tick(struct conn *conn)
{
    conn_charge(conn, true);
    conn_tls_tick(conn);
    conn_greet_tick(conn);
    if (conn->state == CONN_CLOSING)
        return;
    if (conn_is_deaf_peer(conn)) {
        if (conn->state == CONN_OPEN)
            conn_break(conn, FRAME_ACKS_UNREAD);
        conn_close(conn);
    } else if (conn_is_slow(conn)) {
        conn_break(conn, FRAME_SLOW);
    } else if (conn_is_idle(conn)) {
        metric_add(&conn->desk->metrics->connections_idle, 1);
        conn_end(conn);
    }
}

void
desk_tick(struct desk *desk)
{
    // A tick that comes late says nothing about clients: their bytes may wait in the kernel.
    desk->late_ns = desk->monotonic_ns - desk->ticked_ns - TICK_NS_MAX;
    desk->ticked_ns = desk->monotonic_ns;
    desk_inflated_charge(desk, true);
    for (uint32_t i = 0; i < desk->options.connections_max; i++)
        if (desk->conns[i].state != CONN_FREE)
            conn_tick(&desk->conns[i]);
}
