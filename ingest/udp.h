#pragma once
// The Forward protocol over UDP: one message in any mode per datagram.
//
//     udp_open(desk, ledger, &listener, &options, &udp, &error);
//     udp_start(udp);                    // on the front's thread, once the loop is bound
//     can_sleep = udp_prepare_wait(udp); // before a turn waits: offers what was put
//     udp_turn(udp);                     // after it: fates, what is held, receive or not
//     udp_drain(udp) ... udp_is_drained(udp)
//     udp_close(udp);                    // after loop_close
//
// A datagram under way is a letter: it has a ticket until its fates are known, then it is its own
// answer on the way back.
//
//   free -> being put -> waits for fates -> being answered -> free
//             |   ^
//            held-'  the ledger's group was full, or it was enough inflating for one turn
//
// 1. A datagram counts whole or not at all: one that was begun is held and put to its end; one
//    that finds no room before its first event is dropped and counted.
// 2. While one is held, or letters run low, nothing is received: the kernel's buffer takes the
//    burst, and drops and counts what is beyond it. What the loop had received already is held too,
//    up to held_max datagrams.
// 3. An answer is never larger than its request. Lists of results that do not fit are left out.
//    What cannot be answered is not; the client sends its chunk again.
// 4. UDP has an intake of its own: a flood of datagrams fills no group that connections use.
//
// 5. Compressed entries are inflated whole, and checked, before anything of them counts. The one
//    buffer for them belongs to the datagram being put, or to the first that is held: only the
//    first can have been begun. The others are held as they came.
//
// Memory: letters and tickets, about 1 KiB for each letter (4 MiB by default); held_max datagrams
// of 64 KiB (8 MiB); answers UDP_ANSWERS_MAX (4 MiB) and a plain ack for each letter; the lists of
// rejects of frames that ask for results (5 KiB a letter); inflated entries (UDP_INFLATED_MAX,
// given back within a tick) and zlib's state (about 40 KiB); the loop's buffers (66 KiB each); the
// intake's groups (ledger/group.h).
//
// Owner: a front. Thread: the front's; open and close: main's.

#include "ingest/conn.h"
#include "ingest/listen.h"
#include "ingest/network.h"

enum {
    UDP_EVENT_MAX = 60000,  // bytes of an event that a datagram may bring
    UDP_BUFFERS = 64,       // of the loop, for datagrams
    UDP_LETTERS = 4096,
    // What the loop can still deliver when receiving is stopped: its buffers once over, and once
    // more if it had asked for the next round already.
    UDP_HELD_MAX = 2 * UDP_BUFFERS,
    UDP_ANSWERS_MAX = 4 * 1024 * 1024,  // bytes of answers with results that wait to be sent
    // Bytes that a compressed datagram may inflate to, or less (--inflated-max, --ratio-max): 64
    // times the largest datagram. Anybody can send one, so it may not cost what a connection may.
    UDP_INFLATED_MAX = 4 * 1024 * 1024,
    UDP_INFLATED_TURN = 4 * 1024 * 1024,  // after so many in a turn the next one waits a turn
    // A sender is echoed once in so long, and so are those who share its seat. Heartbeats come once
    // a second.
    UDP_ECHO_MS = 100,
    UDP_ECHO_SEATS = 1024,
    UDP_DRAIN_MS = 1000,  // how long a drain goes on receiving what the kernel has
};

struct udp_options {
    const struct network *allowed;  // whose datagrams are taken; borrowed
    size_t allowed_count;           // 0: everybody's
    uint32_t letters;               // datagrams under way; 0: UDP_LETTERS
    uint32_t held_max;              // 0: UDP_HELD_MAX
    uint32_t drain_ms;              // 0: UDP_DRAIN_MS
};

struct udp;

// listener: of kind LISTENER_UDP; it and the desk stay the caller's.
enum status udp_open(
    struct desk *desk,
    struct ledger *ledger,
    const struct listener *listener,
    const struct udp_options *options,
    struct udp **out,
    struct error *error) CHECKED;
// The loop is closed. NULL is fine.
void udp_close(struct udp *udp);

void udp_start(struct udp *udp);
// Offers what was put to the writers. False: there are fates to collect, do not sleep.
bool udp_prepare_wait(struct udp *udp) CHECKED;
// Datagrams are held for want of room, of whose end nobody tells: sleep shortly.
bool udp_is_stalled(const struct udp *udp);
void udp_turn(struct udp *udp);
// Asks the kernel how many it dropped and starts again after an error. Some times a second.
void udp_tick(struct udp *udp);

// Receives what the kernel has by now, then nothing more.
void udp_drain(struct udp *udp);
// Nothing is received any more, and what was has its answers.
bool udp_is_drained(const struct udp *udp);
// Events put whose fate is not known.
uint64_t udp_pending(const struct udp *udp);
