#pragma once
// A thread that keeps an HTTP server busy: some kept connections, one request at a time on each,
// every answer timed.
//
//     http_drive_start(&drive, &options, &error)     // connects, then starts the thread
//     http_drive_stop(&drive)                        // no more requests
//     http_drive_join(&drive, &error)                // STATUS_OK: all were answered as expected
//     use drive.latency, drive.answered, ...
//     http_drive_done(&drive)
//
// Closed loop (rate 0): a request is made whenever a connection is free, and its clock starts then.
// Open loop: request n is due at start + n / rate, and its clock starts when it is due, whether or
// not a connection is free then; so a server that stalls is charged with every request that had to
// wait (no coordinated omission).
//
// Owner: who started it. Thread: its own between start and join; others may call http_drive_stop,
// http_drive_is_over and http_drive_answered.

#include "base/buffer.h"
#include "base/ring.h"
#include "bench/endpoint.h"
#include "bench/histogram.h"

#include <pthread.h>

enum { HTTP_CONNECTIONS_MAX = 4096 };

struct http_drive_options {
    struct endpoint endpoint;
    uint32_t connections;
    uint64_t requests_max;       // 0: until it is stopped
    double requests_per_second;  // 0: closed loop
    int64_t silence_ns;          // the longest that nothing may be answered
    uint32_t status;             // of every answer; another one ends the drive
    // Appends one whole request. On the drive's thread.
    void (*make)(void *context, struct buffer *out);
    void *context;
};

struct http_connection;

struct http_drive {
    struct http_drive_options options;
    struct histogram latency;  // from a request's intended start to the end of its answer, in ns
    uint64_t made, answered;
    uint64_t answer_bytes;
    int64_t began_ns, ended_ns;  // monotonic: the first request, the last answer
    struct http_connection *connections;
    uint32_t *free;  // indexes of connections without a request
    uint32_t free_count;
    int epoll_fd;
    pthread_t thread;
    struct error error;
    struct flag stop, over;
    struct published seen;  // answers, for others to see
};

enum status http_drive_start(
    struct http_drive *drive,
    const struct http_drive_options *options,
    struct error *error) CHECKED;
void http_drive_stop(struct http_drive *drive);
bool http_drive_is_over(const struct http_drive *drive);
uint64_t http_drive_answered(const struct http_drive *drive);
enum status http_drive_join(struct http_drive *drive, struct error *error) CHECKED;
void http_drive_done(struct http_drive *drive);

// The head of an answer that has arrived so far. False: not all of it yet.
struct http_answer {
    uint32_t status;
    size_t head_size, body_size;
    bool is_kept;   // the connection stays
    bool is_known;  // it is HTTP, and says how long it is
};
bool http_answer_read(struct bytes received, struct http_answer *out);
