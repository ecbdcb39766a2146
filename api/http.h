#pragma once
// The HTTP server: libmicrohttpd's loops read requests and write answers, workers make the answers.
//
//     struct http_options options = {.address = "127.0.0.1:3000", .handle = api_handle, ...};
//     http_start(&options, &http, &error);
//     while (!stop) http_watch(http);          // some times a second: ends late connections
//     http_stop(http, 10 * SECOND_NS);         // takes no more, finishes what it has, ends
//
// A request of which somebody else will say what became of it needs no worker that waits:
//
//     enum http_turn begin(context, request, response)      // on the loop's thread
//     {
//         if (!is_mine(request)) return HTTP_TO_WORKER;
//         http_later(request, finish, state);
//         send(state);                            // says http_continue(request) in the end
//         return HTTP_LATER;
//     }
//     void finish(state) { response->status = ...; }        // on the loop's thread again
//
// 1. A request reaches a worker when all of it has arrived, so a slow client holds none.
// 2. While a worker has it, its connection is suspended: no loop touches the request then.
// 3. `begin` sees a request before workers do, and must not wait: whatever it waits for, all other
//    connections of its loop would wait for too.
// 4. A request that no worker can take (body too large, too many waiting, stopping) is handed to
//    `handle` on the loop's thread with `refusal` set, which must not wait.
// 5. A connection that does not bring a request's head within idle_ns, its body within body_ns of
//    the head, or does not take the answer within answer_ns is ended by http_watch, however many
//    single bytes it sends meanwhile.
//
// libmicrohttpd (known to api/http_*.c and base/exporter.c only) itself answers what is no HTTP
// (400), heads larger than HTTP_HEAD_MAX (431) and the like, without a request to us.
// Owner: main. Thread: handle runs on several at a time.

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>
#include <strings.h>

enum { HTTP_HEAD_MAX = 32 * 1024, HTTP_REMOTE_MAX = 48, HTTP_RESPONSE_FIELDS_MAX = 24 };

struct exchange;

enum http_refusal {
    HTTP_WELCOME,
    HTTP_TOO_LARGE,   // the body
    HTTP_OVERLOADED,  // as many requests wait, or as many bytes of bodies are held, as may be
    HTTP_STOPPING,
    HTTP_MALFORMED,  // the head, as `fault` says; the connection is closed behind the answer
};

struct http_field {
    const char *name;
    const char *value;
};

struct http_request {
    const char *method;
    const char *target;  // as it came: "/api/v1/meters?limit=5"
    const char *remote;  // the client's address without its port
    const struct http_field *fields;
    size_t fields_count;
    struct bytes body;
    enum http_refusal refusal;
    const char *fault;          // of HTTP_MALFORMED
    struct arena *arena;        // lives until the answer is written
    struct exchange *exchange;  // for http_hold, http_later and http_stream
};

struct http_response {
    int status;
    const char *content_type;  // NULL: none
    struct http_field fields[HTTP_RESPONSE_FIELDS_MAX];
    size_t fields_count;
    struct buffer body;
};

// Fills response; texts live in the request's arena or for good.
typedef void (*http_handle)(
    void *context, const struct http_request *request, struct http_response *response);

enum http_turn {
    HTTP_TO_WORKER,  // nothing was done: a worker makes the answer
    HTTP_ANSWERED,   // the response is filled
    HTTP_LATER,      // http_later was called; http_continue was, or will be
};

// Of a request that is welcome and no larger than begin_max.
typedef enum http_turn (*http_begin)(
    void *context, const struct http_request *request, struct http_response *response);
// Fills the response that begin was given.
typedef void (*http_finish)(void *state);

struct http_options {
    const char *address;  // "HOST:PORT"; port 0: any free one
    uint32_t loops;
    uint32_t workers;
    uint32_t waiting_max;  // requests that no worker has yet
    uint32_t connections_max;
    size_t body_max;
    size_t bodies_max;  // of all requests together
    int64_t idle_ns;
    int64_t body_ns;
    int64_t answer_ns;
    uint32_t streams_max;
    bool is_tls;  // with the certificate that is open (api/certificate.h)
    http_handle handle;
    http_begin begin;  // NULL: all requests go to workers
    size_t begin_max;  // bytes of the body
    void *context;
};

struct http_figures {
    int64_t connections;
    int64_t bodies_bytes;
    int64_t waiting;
    int64_t streams;
};

struct http;

// STATUS_INVALID: the address is none. STATUS_IO: it cannot be listened on.
enum status
http_start(const struct http_options *options, struct http **out, struct error *error) CHECKED;
uint16_t http_port(const struct http *http);
void http_watch(struct http *http);
void http_figures(struct http *http, struct http_figures *out);
// Accepts nothing more and lets requests that are under way finish, at most so long; what comes on
// open connections meanwhile is refused with HTTP_STOPPING. NULL is accepted.
void http_stop(struct http *http, int64_t patience_ns);

// For begin: the answer is made by finish(state), once somebody, on any thread, has called
// http_continue. Until then the request, its arena and the response belong to neither loop nor
// worker. http_stop waits for all of these, however long they take.
void http_later(const struct http_request *request, http_finish finish, void *state);
void http_continue(const struct http_request *request);

// Makes the answer to this request a stream: what the response's body has is sent, then each text
// of http_stream_send, until the client goes or the server stops. Who takes texts too slowly misses
// some. False: as many streams as may be. For who makes the answer to a request that came from this
// server.
bool http_stream(const struct http_request *request) CHECKED;
// For all streams at a time. Thread: one.
void http_stream_send(struct http *http, struct bytes text);

// Counts so many bytes more (or less, below 0) among the bodies that are held, until the answer is
// made. False: they are more than bodies_max, and nothing was counted. For who makes the answer to
// a request that came from this server.
bool http_hold(const struct http_request *request, int64_t bytes) CHECKED;

// Names of fields have no case. Most differ in their first letter.
static inline bool
http_name_is(const char *name, const char *wanted)
{
    return ((name[0] ^ wanted[0]) & ~0x20) == 0 && strcasecmp(name, wanted) == 0;
}
// The first field of this name, or NULL.
const char *http_field(const struct http_request *request, const char *name);
void http_add(struct http_response *response, const char *name, const char *value);
