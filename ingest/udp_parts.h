#pragma once
// What udp.c (receiving, turns, life) and udp_letter.c (a datagram's way) share; private to them.
//
//     letter = letter_take(udp, event);           // NULL: too many under way
//     if (!letter_put(letter))                    // no room in the ledger
//         letter_hold(letter, event->data);       // goes on in held_resume
//     letters_fates(udp, receipts, fates, count); // answers and frees
//
// Owner: struct udp is a front's. Thread: the front's.

#include "ingest/decode_alike.h"
#include "ingest/udp.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct letter {
    struct udp *udp;
    struct letter *next;  // in free or held
    struct ticket *ticket;
    struct frame frame;
    struct cursor entries;  // the next entry
    uint32_t index;         // its number
    struct buffer held;     // the datagram, while it waits for room
    size_t request_size;
    struct sockaddr_storage from;
    socklen_t from_size;
    struct buffer answer;
    size_t answer_charged;   // counted in answers_size
    struct control control;  // the address it came to, from which the answer leaves
    struct iovec part;
    struct msghdr message;
    struct loop_op sending;
};

// Counted during a turn.
struct udp_counts {
    int64_t datagrams;
    int64_t dropped[UDP_DROP_COUNT];
};

struct udp {
    struct desk *desk;
    struct intake *intake;
    const struct listener *listener;
    struct udp_options options;
    struct tickets tickets;
    struct letter *letters;
    struct letter *free;
    uint32_t free_count;
    struct letter *held_first;
    struct letter *held_last;
    uint32_t held_count;
    size_t answers_size;
    struct gzip *gzip;       // of its own: a connection may be in the middle of inflating
    struct buffer inflated;  // entries of the datagram being put, or of the first that is held
    size_t inflated_turn;    // bytes inflated since the turn began, or tried in vain
    struct loop_op receiving;
    struct loop_op fates_poll;
    uint16_t port;                         // ours
    uint64_t echo_seed;                    // nobody can tell who shares a seat
    int64_t echo_next_ns[UDP_ECHO_SEATS];  // monotonic: when the next echo may go out
    uint32_t kernel_drops;                 // as last told; wraps
    bool has_failed;  // receiving ended with an error; the next tick tries again
    bool is_draining;
    bool is_stopped;    // nothing is received any more
    bool has_listened;  // receiving was on when the last turn ended
    bool has_received;  // a datagram came in this turn
    int64_t drain_ns;   // the drain receives until then, monotonic
    struct decode_layout layout;
    struct udp_counts counts;
};

// The letters and tickets that options asks for, all free.
enum status letters_open(struct udp *udp, struct error *error) CHECKED;
struct letter *letter_take(struct udp *udp, const struct loop_event *event);
void letter_free(struct letter *letter);
// "udp:127.0.0.1:51000"
void peer_print(const struct sockaddr_storage *from, char out[CONN_PEER_MAX]);
// Counts a broken datagram and says so in the log.
void broken_note(struct udp *udp, const struct sockaddr_storage *from, enum frame_fault fault);
// Sends what lies in the answer, then frees the letter.
void letter_answer(struct letter *letter);
// Puts the rest of the datagram; then it waits for its fates, or is answered at once, or turned out
// to be broken and is gone. False: stopped for want of room, in the ledger or to inflate.
bool letter_put(struct letter *letter) CHECKED;
// Keeps a datagram whose bytes are lent (its frame's views point there) until there is room.
void letter_hold(struct letter *letter, struct bytes message);
void held_resume(struct udp *udp);
// As the ledger delivers them; context is the udp.
void
letters_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count);
