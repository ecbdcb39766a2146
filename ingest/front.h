#pragma once
// A front: one loop thread that accepts, receives, decodes, puts events and sends acks.
//
//     front_open(&options, &front, &error);
//     front_listen(front, &listener);               // before start
//     front_receive(front, &udp, &udp_options, &error);
//     front_start(front, &error);
//     ...
//     front_drain(front);                           // no more input; whole frames go on
//     while (!front_is_done(front)) wait            // at most FRONT_DRAIN_S and a little
//     front_close(front);                           // joins the thread
//
// Several fronts may serve one ledger: each has its loop, its intake and its connections, and
// shares only metrics. Tests run a front without a thread: front_bind, front_adopt, front_turn.
//
// Owner: main opens, starts, drains and closes; everything else is the front's thread.

#include "ingest/conn.h"
#include "ingest/listen.h"
#include "ingest/udp.h"

enum { FRONT_LISTENERS_MAX = 4, FRONT_DRAIN_S = 10 };

struct front_options {
    struct ledger *ledger;
    struct rejects *rejects;
    struct ingest_metrics *metrics;
    const struct credentials *credentials;  // NULL: nobody is asked; outlives the front
    struct tls_server *tls;                 // over TCP; NULL: no TLS; one front's, and outlives it
    struct desk_options desk;
    struct loop_options loop;
};

struct front;

enum status
front_open(const struct front_options *options, struct front **out, struct error *error) CHECKED;
// listener stays the caller's and outlives the front.
void front_listen(struct front *front, const struct listener *listener);
// The same for a listener of kind LISTENER_UDP, once; options.loop.datagrams is not 0.
enum status front_receive(
    struct front *front,
    const struct listener *listener,
    const struct udp_options *options,
    struct error *error) CHECKED;
enum status front_start(struct front *front, struct error *error) CHECKED;
// Any thread. A second call is fine.
void front_drain(struct front *front);
// Any thread: the thread has ended (or was never started).
bool front_is_done(const struct front *front);
// Any thread, once it is done: STATUS_OK, or why it stopped by itself.
enum status front_failure(const struct front *front, const char **out_text);
void front_close(struct front *front);

// For a front without a thread of its own: the calling thread becomes the loop's.
enum status front_bind(struct front *front, struct error *error) CHECKED;
// Takes a connected socket over. False: too many connections; fd is the caller's still.
bool front_adopt(struct front *front, int fd, const struct peer *peer) CHECKED;
// One turn: waits at most timeout_ns for something to do, and does it.
enum status front_turn(struct front *front, int64_t timeout_ns, struct error *error) CHECKED;
// Connections that are open, and events whose fate is not known.
uint32_t front_connections(const struct front *front);
uint64_t front_pending(const struct front *front);
