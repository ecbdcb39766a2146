#pragma once
// One connection: bytes come in, frames go to the ledger, acks go back.
//
//     conn = conn_open(desk, fd, peer, is_own_user);      // NULL: too many
//     ... the loop delivers bytes, the ledger delivers fates ...
//     desk_settle(desk)                                   // once a turn
//
//   FREE --opened--> OPEN --end of stream, error, broken frame, drain--> ENDED
//                                                                          |
//   FREE <--nothing under way-- CLOSING <------all put and acked-----------'
//                                              and, when the fault was the peer's, it hung up
//
// OPEN     reads, unless something is full
// ENDED    reads nothing more; whole frames that have arrived still go to the ledger, their acks
//          still go out
// CLOSING  operations are cancelled; waits for their last events and for fates that are under way
//
// 1. Callbacks change state and touch the connection; only conn_settle starts and cancels
//    operations and frees the slot.
// 2. The frame at the head is either incomplete (scan knows how far it was walked), or complete and
//    being put (has_frame). It lies in the loop's buffer during conn_take, afterwards in held.
// 3. While has_frame is set after a put (the ledger's group is full, no ticket was free, or the
//    peer has too many acks to read), nothing is read: TCP pushes back.
// 4. A connection that is_stranger is greeted (ingest/handshake.h) and has to answer in time; until
//    it has passed, only that answer is looked for in its bytes (conn_greet.c).
// 5. Compressed entries are inflated when their turn has come, into the one buffer of the desk. Its
//    holder (desk.inflating) has a ticket already, so it waits for the ledger only, and gives the
//    buffer back when the frame is put; others wait as in 3.
//
// 6. Work is shared out by turns. A connection may have a slice of it done (SLICE_WORK), then the
//    rest of its frame waits as in 3. Every turn gives each connection its share of a slice again,
//    which those divide who had not enough in the turn before. So who always wants more gets
//    little at a time, a turn stays short however many these are, and a connection of less work
//    than that has its frames put at once. Those that waited go on in the order in which they
//    came, until a slice of work was done for all of them; what a turn inflates is bounded, too
//    (INFLATE_PIECES), and beyond TURN_WORK_MAX everybody waits for the next.
//
// 7. A peer that is sent away may be in the middle of sending. Closing the socket on its bytes
//    would reset the connection, and acks and reasons that are still on their way would be lost. So
//    our side is shut, and what comes is dropped until the peer hangs up, for linger_ns at most.
//
// 8. Over TLS (conn_tls.c) everything above is about decrypted bytes; a connection whose TLS
//    handshake is under way is treated as a stranger, in the same time. A turn goes on with a few
//    handshakes; of others what came lies in held, encrypted, and waits as in 3 (conn_is_deferred).
//
// Memory: a slot per connection, made at start. Buffers grow with what arrives, never with what is
// declared: a frame of up to frame_max in held, acks up to acks_max (then reading stops). Their sum
// over all connections is held to memory_max: inflated_max of it is for inflating, frame_max for
// one connection at a time (room.owner), so that some frame can always finish, half of the rest is
// shared out evenly, and the other half is for whoever comes (conn_room.c). Bytes that the kernel
// had delivered before reading stopped may exceed that by the loop's receive buffers. Bytes are
// what is counted: buffers grow by doubling and are cut when they are less than half full.
//
// Owner: a front. Thread: the front's.

#include "base/buffer.h"
#include "base/gzip.h"
#include "base/loop.h"
#include "base/unpack.h"
#include "ingest/decode_alike.h"
#include "ingest/handshake.h"
#include "ingest/metrics.h"
#include "ingest/rejects.h"
#include "ingest/throttle.h"
#include "ingest/ticket.h"
#include "ingest/tls.h"
#include "ledger/ledger.h"

// A slice is one to two milliseconds' work (conn_input.c), some 4,000 events.
enum { CONN_PEER_MAX = REJECT_PEER_MAX, SLICE_WORK = 192 * 1024, TURN_WORK_MAX = 4 * SLICE_WORK };

// Connections share layouts: each has its own place among so many.
enum { LAYOUTS = 16 };

enum conn_state { CONN_FREE, CONN_OPEN, CONN_ENDED, CONN_CLOSING };

struct conn {
    struct desk *desk;
    enum conn_state state;
    int fd;             // -1: closed
    bool is_own_user;   // a unix socket, and the peer runs as this process's user
    bool is_stranger;   // has to pass the handshake first
    bool may_backfill;  // from the start for the own user, else by its scope
    bool is_deaf;       // the peer takes no more acks
    bool is_sent_away;  // for a fault: it is to read why, so it may hang up first
    bool is_shut;       // our last word is said; what still comes is dropped
    bool has_hung_up;   // nothing more comes
    bool is_touched;    // in desk->touched
    bool is_stalled;    // in desk->stalled
    char peer[CONN_PEER_MAX];
    bool has_spoken;         // some byte came
    uint8_t bulk_events;     // it sends much: until so often less came at once (conn_room.c)
    struct tls *tls;         // NULL: none
    int64_t waiting_ns;      // monotonic: when it ended, or the peer last took a part of its acks
    int64_t greeted_ns;      // monotonic
    int64_t received_ns;     // monotonic: when bytes last came
    int64_t frame_since_ns;  // since when ticks saw the head frame incomplete; 0: not
    int64_t room_first_ns;   // when it first was the room's owner for the head frame; 0: not
    uint64_t room_place;     // in the queue for the room; 0: none
    struct handshake handshake;
    struct conn *next_touched;
    struct conn *next_stalled;
    struct conn *next_free;
    struct loop_op receiving;
    struct loop_op sending;
    // Input: the head frame and what came behind it.
    struct buffer held;
    size_t held_start;
    struct unpack_scan scan;
    bool has_frame;
    const uint8_t *frame_data;
    struct frame frame;
    struct frame_walk walk;  // how far its entries were looked through
    struct cursor entries;   // the next entry
    uint32_t index;          // its number
    struct decode_layout *layout;
    uint32_t slice;         // work that was left in slice_turn
    uint64_t slice_turn;    // desk->turn when it last worked; 0: never
    struct ticket *ticket;  // of the frame
    uint32_t tickets;       // frames of this connection under way, that one included
    // Output: acks are packed into one buffer while the other is being sent.
    struct buffer acks;
    struct buffer sent;
    size_t sent_size;  // of `sent`, already taken by the kernel
    size_t charged;    // memory counted for it: bytes in the three buffers and in TLS's output
};

// Counted during a turn, added to the metrics at its end.
struct desk_counts {
    uint64_t bytes;
    uint64_t frames;
    uint64_t heartbeats;
    uint64_t events;
    uint64_t duplicates;
    uint64_t conflicts;
    uint64_t acks;
    uint64_t rejected[REFUSAL_COUNT];
    struct decode_stats decode;
};

// Who may go on while memory is full (conn_room.c).
struct room {
    struct conn *owner;    // NULL: nobody
    int64_t since_ns;      // when its turn began
    size_t size;           // what it held then
    size_t seen_size;      // and in the last turn of the loop
    uint32_t looks;        // turns of the loop that asked the kernel for its bytes
    uint32_t quiet_looks;  // those since bytes last came
};

struct desk_options {
    uint32_t connections_max;
    uint32_t tickets;       // frames under way, all connections
    uint32_t conn_tickets;  // and of one
    size_t frame_max;
    size_t connection_memory;  // bytes received and of acks that one may hold; from frame_max on
    size_t memory_max;
    size_t acks_max;   // bytes of acks that a connection has not read
    int64_t stall_ns;  // how long acks may lie unread, or a message unfinished; 0: for ever
    int64_t idle_ns;   // how long a connection may say nothing; 0: for ever
    // How long a peer is waited for that does not read what it is told, or does not hang up.
    int64_t linger_ns;
    struct gzip_limits inflated;  // size_max 0: compressed frames are too large
    int64_t handshake_ns;         // how long a stranger may take
};

typedef void (*desk_broken_fn)(struct desk *desk, const char *peer, enum frame_fault fault);
typedef void (*desk_conflict_fn)(
    struct desk *desk, const char *peer, const struct event_name *name);
typedef void (*desk_turned_away_fn)(
    struct desk *desk, const struct conn *conn, enum handshake_fault fault);
typedef void (*desk_tls_failed_fn)(
    struct desk *desk, const struct conn *conn, enum tls_fault fault, const char *detail);

// What the connections of one front share.
struct desk {
    struct desk_options options;
    struct loop *loop;
    struct intake *intake;
    struct rejects *rejects;
    struct ingest_metrics *metrics;
    desk_broken_fn on_broken;               // says so in the log
    desk_conflict_fn on_conflict;           // the same
    desk_turned_away_fn on_turned_away;     // the same
    desk_tls_failed_fn on_tls_failed;       // the same
    const struct credentials *credentials;  // NULL: there are no strangers
    struct tls_server *tls;                 // NULL: no TLS
    void *context;
    struct tickets tickets;
    struct decode_layout layouts[LAYOUTS];
    struct conn *conns;
    struct conn *free;
    struct conn *touched;
    struct conn *stalled;  // first come, first served
    struct conn **stalled_end;
    uint32_t conns_open;
    size_t memory_used;
    bool memory_is_full;
    struct room room;
    uint64_t room_places;  // given so far
    struct gzip *gzip;
    struct buffer inflated;            // the entries of inflating's head frame
    size_t inflated_charged;           // of memory_used
    struct conn *inflating;            // NULL: nobody
    enum gzip_result inflated_result;  // GZIP_MORE: of its entries there is more to come
    struct frame_walk inflated_walk;   // over what came
    uint64_t turn;                     // number of this turn, from 1
    size_t worked;                     // work done in it
    uint32_t hungry;                   // connections that would have had more done
    uint32_t hungry_before;            // in the turn before
    bool has_more_work;                // a frame was stopped at the end of its slice: do not wait
    int64_t ticked_ns;                 // monotonic: the last tick
    int64_t late_ns;                   // how much later than it should it came
    uint32_t handshakes_left;          // TLS handshakes that may be gone on with in this turn
    uint32_t inflating_left;  // pieces that may be inflated, or looked through, in this turn
    int64_t now_ns;           // wall clock of this turn
    int64_t monotonic_ns;     // the same for deadlines
    struct desk_counts counts;
};

// loop, intake, rejects, metrics, the on_... functions, credentials and context are set by the
// caller, before the first turn.
enum status
desk_init(struct desk *desk, const struct desk_options *options, struct error *error) CHECKED;
// Every connection is free, or the loop is closed.
void desk_done(struct desk *desk);
// Fates of events, as the ledger delivers them; context is the desk.
void desk_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count);
// Goes on with the frames that waited for room. Once a turn.
void desk_resume(struct desk *desk);
// Sends, reads, stops reading, closes and frees what was touched. Once a turn, last.
void desk_settle(struct desk *desk);
// Ends every connection: whole frames go on, nothing more is read.
void desk_end_all(struct desk *desk);
// Gives up waiting for peers: what is still open is closed without its acks.
void desk_close_all(struct desk *desk);
// Gives up peers that keep things waiting (conn_room.c): those that ended, or keep memory full, and
// have read no ack, or not hung up, for linger_ns; that read no acks or finish no message for
// stall_ns; that are idle. Some times a second.
void desk_tick(struct desk *desk);
// How long the loop may wait, at most timeout_ns.
int64_t desk_patience_ns(const struct desk *desk, int64_t timeout_ns);
// Counts what the buffer of inflated entries keeps, and gives back what it need not.
void desk_inflated_charge(struct desk *desk, bool is_tick);

// Takes the descriptor over. NULL: connections_max are open; the descriptor is left to the caller.
struct conn *conn_open(struct desk *desk, int fd, const char *peer, bool is_own_user);
void conn_touch(struct conn *conn);
void conn_end(struct conn *conn);
// Gives the peer up: cancels what is under way, sends nothing more. It is open or ended.
void conn_close(struct conn *conn);
// Counts its memory, and gives back what its buffers do not use.
void conn_charge(struct conn *conn, bool is_tick);
// Whether more of its bytes could be worked with, memory aside.
bool conn_wants_bytes(const struct conn *conn);
size_t conn_acks_unread(const struct conn *conn);
// How many bytes more may be received now; SIZE_MAX: any number, for as long as this is so
// (conn_room.c).
size_t conn_ration(const struct conn *conn);
// So many bytes came at once (conn_room.c).
void conn_bulk_note(struct conn *conn, size_t size);
// The head frame is done with (conn_room.c).
void room_frame_done(struct conn *conn);
// Decides whether memory is full, and who may go on then (conn_room.c).
void room_update(struct desk *desk);
// Whether the peer is to read acks before more frames are taken.
bool conn_acks_are_full(const struct conn *conn);
// Whether what it holds comes to connection_memory and a part of that are acks, which are to be
// read first. An unfinished frame alone always goes on, to frame_max.
bool conn_is_laden(const struct conn *conn);

// The connection speaks TLS; before anything was received (conn_tls.c).
void conn_tls_begin(struct conn *conn);
// Whether its TLS handshake is under way (conn_tls.c).
bool conn_is_shaking_hands(const struct conn *conn);
// Ends a connection whose TLS handshake took too long (conn_tls.c).
void conn_tls_tick(struct conn *conn);
// Whether bytes of its handshake wait until other handshakes have had their turn (conn_tls.c).
bool conn_is_deferred(const struct conn *conn);
// Goes on with them (conn_tls.c).
void conn_tls_resume(struct conn *conn);
// Received bytes as they come, lent for the call (conn_tls.c).
void conn_receive(struct conn *conn, struct bytes data);
// What is to be sent next: acks, encrypted over TLS (conn_tls.c). Nothing is being sent.
struct buffer *conn_output(struct conn *conn);

// Received bytes, decrypted, lent for the call (conn_input.c).
void conn_take(struct conn *conn, struct bytes data);
// Goes on with a frame that waited (conn_input.c).
void conn_resume(struct conn *conn);
// The frame is to go on in the next turn, after those that wait already (conn_input.c).
void conn_stall(struct conn *conn);
// Counts and tells a fault, and ends the connection (conn_input.c).
void conn_break(struct conn *conn, enum frame_fault fault);
// Greets a stranger (conn_greet.c).
void conn_greet(struct conn *conn);
// A stranger's bytes, from the first that was not looked at. Returns the size of its PING when it
// has passed and is a stranger no more; 0: more is to come, or it was turned away (conn_greet.c).
size_t conn_ping_take(struct conn *conn, struct bytes bytes);
// Turns a stranger away that took too long (conn_greet.c).
void conn_greet_tick(struct conn *conn);
// Lets others inflate, if it was this connection's turn.
void conn_inflated_give(struct conn *conn);
// Forgets the head frame: what was put of it stays in the ledger, its ack is never sent.
void conn_frame_abandon(struct conn *conn);
// A ticket that may be settled by now: acks and gives it back.
void conn_ticket_settle(struct desk *desk, struct ticket *ticket);
