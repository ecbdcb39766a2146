#pragma once
// A thread that keeps a server busy: some connections, some chunks in flight on each, every ack
// timed.
//
//     drive_start(&drive, &options, &error)         // connects, then starts the thread
//     while (!drive_is_over(&drive)) show(drive_acked(&drive));
//     drive_join(&drive, &error)                    // STATUS_OK: everything sent was acked
//     use drive.latency, drive.generator.totals, ...
//     drive_done(&drive)
//
// Closed loop (rate 0): a chunk is made whenever a place in the window is free, and its clock
// starts as it is made. Open loop: chunk n is due at start + n * chunk / rate, and its clock
// starts when it is due, whether or not a place is free then; so a server that stalls is charged
// with every chunk that had to wait (no coordinated omission).
//
// Over UDP a frame is a datagram. One that is not acked within DRIVE_RESEND_NS is sent again until
// it is, its clock running on, so that in the end everything counts once here as well.
//
// Owner: who started it. Thread: its own between start and join; others may call drive_is_over,
// drive_acked and drive_stop.

#include "base/ring.h"
#include "bench/endpoint.h"
#include "bench/generate.h"
#include "bench/histogram.h"

#include <pthread.h>

enum { DRIVE_CONNECTIONS_MAX = 255, DRIVE_IN_FLIGHT_MAX = 1024 };

static const int64_t DRIVE_RESEND_NS = 1000000000;

struct drive_options {
    struct generate_options generate;
    struct endpoint endpoint;
    uint32_t connections;
    uint32_t in_flight;        // chunks on each connection
    uint64_t chunks_max;       // 0: until it is stopped
    double chunks_per_second;  // 0: closed loop
    int64_t ack_timeout_ns;
};

struct drive_connection;

struct drive {
    struct drive_options options;
    struct generator generator;
    struct histogram latency;  // from a chunk's intended start to its ack, in ns
    uint64_t chunks_made;
    uint64_t chunks_acked;
    uint64_t duplicates;  // as the server said
    uint64_t rejected;
    uint64_t conflicts;
    uint64_t resent;    // datagrams that were sent again, their acks missing
    int64_t began_ns;   // monotonic: the first chunk
    int64_t ended_ns;   // the last ack
    int64_t made_ns;    // the last chunk
    int64_t looked_ns;  // for datagrams without an ack
    struct drive_connection *connections;
    int epoll_fd;
    pthread_t thread;
    struct error error;      // why it ended early
    struct flag stop;        // make no more chunks
    struct flag over;        // by the thread: nothing is left to do
    struct published acked;  // chunks, for others to see
};

// The drive stays where it is from here to drive_done: it is large, and its thread knows its
// address.
enum status
drive_start(struct drive *drive, const struct drive_options *options, struct error *error) CHECKED;
void drive_stop(struct drive *drive);
bool drive_is_over(const struct drive *drive);
uint64_t drive_acked(const struct drive *drive);
enum status drive_join(struct drive *drive, struct error *error) CHECKED;
void drive_done(struct drive *drive);
// Of the open loop: how long its thread may wait for acks when the next chunk is due in left_ns (0
// or less: it was due), and there is room for it in the window or not.
int64_t drive_wait_ns(int64_t left_ns, bool has_room);
