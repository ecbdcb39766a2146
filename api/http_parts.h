#pragma once
// What the files of api/http share with each other, and nobody else includes.
//
//     http.c         requests and answers
//     http_accept.c  connections: taken, counted, given to the loop that has least, ended when late
//     http_loop.c    the threads that run the library
//     http_later.c   answers that are made when somebody else has spoken
//     http_stream.c  answers that go on: text for all who listen
//
// The only files beside base/exporter.c that know libmicrohttpd. Owner and thread: see each struct.

#include "api/http.h"
#include "base/ring.h"

#include <microhttpd.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

// One TCP connection. Its requests have the same arena one after the other, whose first chunk is
// kept.
struct visitor {
    struct arena arena;
    struct visitor *next, *previous;
    struct http_loop *loop;
    struct visitor *next_new;  // until its loop has given it to the library
    int fd;
    struct sockaddr_storage address;
    socklen_t address_size;
    // When http_watch ends it, by clock_monotonic_ns; 0: never, for the next step is ours. Written
    // by the connection's loop, read by http_watch; a stale value is seen at the next look.
    _Atomic int64_t deadline_ns;
    // Since when it has had no request, by the same clock; 0: it has one. Likewise.
    _Atomic int64_t idle_since_ns;
    char remote[HTTP_REMOTE_MAX];
};

// HEAD -> BODY -> WORKING -> ANSWERED -> SENT; what is refused goes from HEAD to SENT at once when
// its body is not waited for, or from BODY to ANSWERED. What is answered later goes from BODY to
// LATER, and by http_continue to SETTLED.
enum step {
    STEP_HEAD,
    STEP_BODY,
    STEP_WORKING,
    STEP_LATER,
    STEP_SETTLED,
    STEP_ANSWERED,
    STEP_SENT,
};

// One request and its answer. Owner: the connection's loop, but for STEP_WORKING, when it is a
// worker's, and STEP_LATER, when it is nobody's of ours.
struct exchange {
    struct http *http;
    struct MHD_Connection *connection;
    struct visitor *visitor;
    enum step step;
    struct http_request request;
    struct http_response response;
    struct buffer body;
    int64_t held_bytes;  // counted in http->bodies_bytes
    http_finish finish;  // with STEP_LATER, and its argument
    void *state;
    // Of a stream: how much of response.body was taken, the text it is of, and whom it waits with.
    bool is_stream;
    size_t stream_at;
    uint64_t stream_serial;
    struct exchange *next_waiting;
    struct exchange *next_resumed;  // until its loop has seen that it may go on
    struct arena *arena;            // the visitor's; this struct lies in it
};

// A thread and the library's daemon that it runs, which nobody else touches. Others leave what it
// is to do in its inbox and wake it.
struct http_loop {
    struct http *http;
    struct MHD_Daemon *daemon;
    int epoll_fd;  // the daemon's
    pthread_t thread;
    bool has_thread;
    struct waker waker;
    struct flag stop;
    struct visitor *adding;  // the library has these, and has not yet told us that it began
    int64_t connections;     // under the mutex of http
    pthread_mutex_t mutex;   // for what follows
    struct visitor *newcomers;
    struct exchange *resumed;
};

struct http {
    struct http_loop *loops;
    uint32_t loops_count;
    int listen_fd;
    pthread_t acceptor;
    bool has_acceptor;
    struct waker acceptor_waker;
    struct flag acceptor_stop;
    struct workers *workers;
    struct http_options options;
    uint16_t port;
    atomic_bool is_stopping;
    atomic_bool is_over;  // and nothing more is given to workers, or answered later
    _Atomic int64_t bodies_bytes;
    // Changed by loops only, which http_stop ends after it has seen them at 0.
    _Atomic int64_t exchanges_count;
    _Atomic int64_t laters_count;  // exchanges that are given away, and from STEP_LATER until a
                                   // loop has their answers
    pthread_mutex_t mutex;         // for what follows
    pthread_cond_t settled;        // with is_stopping: one of the counts above came to 0
    struct visitor *visitors;
    int64_t visitors_count;
    bool is_full;  // as many as may be: the acceptor waits for one to go
    int64_t streams_count;
    struct exchange *waiting;  // streams that have taken all there is, suspended
    struct buffer news;        // what streams are sent
    uint64_t news_serial;
};

// --- http.c: the library's callbacks

// What the library is told to call, with the loop as context, and how it is to behave.
struct MHD_Daemon *http_daemon_start(struct http_loop *loop);

// --- http_accept.c

enum status http_accept_start(struct http *http, struct error *error) CHECKED;
// From then on nobody is taken; who waits in the kernel is refused when the socket is closed.
void http_accept_stop(struct http *http);
// The library's word that a connection begins or ends; context: the loop.
void http_on_connection(
    void *context,
    struct MHD_Connection *connection,
    void **socket_context,
    enum MHD_ConnectionNotificationCode code);
// It is closed, or never was the library's.
void http_visitor_remove(struct visitor *visitor);

// --- http_loop.c

enum status http_loops_start(struct http *http, struct error *error) CHECKED;
// Nobody has anything for them any more, but for what they have to finish.
void http_loops_stop(struct http *http);
void http_loop_add(struct http_loop *loop, struct visitor *visitor);
// Lets a connection that was suspended go on. From then on the exchange is its loop's.
void http_loop_resume(struct exchange *exchange);

// --- http_later.c and http_stream.c

// Moves the end of a visitor's time; 0: it has none.
void http_deadline_set(struct visitor *visitor, int64_t from_now_ns);
// The visitor has no request from now on, until one begins.
void http_idle_begin(struct visitor *visitor);
void http_idle_end(struct visitor *visitor);
// The answer of an exchange that is a stream. NULL: no memory.
struct MHD_Response *http_stream_response(struct exchange *exchange);
// A loop's: one less; tells http_stop of the last.
void http_count_down(struct http *http, _Atomic int64_t *count);
// Waits until all that is answered later is answered.
void http_laters_wait(struct http *http);
// Lets all that wait go on. Without the mutex.
void http_streams_wake(struct http *http);
