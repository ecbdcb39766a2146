#pragma once
// What the files of api/http share with each other, and nobody else includes.
//
//     http.c         connections, requests, answers
//     http_stream.c  answers that go on: text for all who listen
//
// The only files beside base/exporter.c that know libmicrohttpd. Owner and thread: see each struct.

#include "api/http.h"

#include <microhttpd.h>

#include <pthread.h>
#include <stdatomic.h>

// One TCP connection.
struct visitor {
    struct visitor *next, *previous;
    int fd;
    // When http_watch ends it, by clock_monotonic_ns; 0: never, for the next step is ours. Written
    // by the connection's loop, read by http_watch; a stale value is seen at the next look.
    _Atomic int64_t deadline_ns;
    char remote[HTTP_REMOTE_MAX];
};

// HEAD -> BODY -> WORKING -> ANSWERED -> SENT; what is refused goes from HEAD to SENT at once when
// its body is not waited for, or from BODY to ANSWERED.
enum step { STEP_HEAD, STEP_BODY, STEP_WORKING, STEP_ANSWERED, STEP_SENT };

// One request and its answer. Owner: the connection's loop, but for STEP_WORKING, when it is a
// worker's.
struct exchange {
    struct http *http;
    struct MHD_Connection *connection;
    struct visitor *visitor;
    enum step step;
    struct http_request request;
    struct http_response response;
    struct buffer body;
    int64_t held_bytes;  // counted in http->bodies_bytes
    // Of a stream: how much of response.body was taken, the text it is of, and whom it waits with.
    bool is_stream;
    size_t stream_at;
    uint64_t stream_serial;
    struct exchange *next_waiting;
    struct arena arena;
};

struct http {
    struct MHD_Daemon *daemon;
    struct workers *workers;
    struct http_options options;
    uint16_t port;
    atomic_bool is_stopping;
    _Atomic int64_t bodies_bytes;
    pthread_mutex_t mutex;  // for what follows
    pthread_cond_t settled;
    struct visitor *visitors;
    int64_t visitors_count;
    int64_t exchanges_count;
    int64_t streams_count;
    struct exchange *waiting;  // streams that have taken all there is, suspended
    struct buffer news;        // what streams are sent
    uint64_t news_serial;
};

// Moves the end of a visitor's time; 0: it has none.
void http_deadline_set(struct visitor *visitor, int64_t from_now_ns);
// The answer of an exchange that is a stream. NULL: no memory.
struct MHD_Response *http_stream_response(struct exchange *exchange);
// Lets all that wait go on. Without the mutex.
void http_streams_wake(struct http *http);
