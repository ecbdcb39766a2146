#include "api/http.h"

#include "api/certificate.h"
#include "api/http_head.h"
#include "api/http_parts.h"
#include "api/workers.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/tcp.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

// --- requests ---

// The library would take the parameters apart into its memory for heads, and when they do not fit
// there, it neither answers nor ends the connection, nor tells us of its end (0.9.75). It is asked
// before that, about text of its own that it goes on to write to; what it finds behind the mark is
// then nothing. api/target takes them apart.
static void
parameters_hide(const char *target)
{
    const char *mark = strchr(target, '?');
    char *theirs = NULL;
    if (mark == NULL || mark[1] == '\0')
        return;
    memcpy(&theirs, &mark, sizeof theirs);
    theirs[1] = '\0';
}

// The library's first word of a request. What is returned comes back as *state; NULL when there is
// no memory.
static void *
on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct http *http = ((struct http_loop *)context)->http;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info == NULL || info->socket_context == NULL)
        return NULL;
    struct visitor *visitor = info->socket_context;
    http_idle_end(visitor);
    struct exchange *exchange = arena_new(&visitor->arena, struct exchange);
    exchange->http = http;
    exchange->connection = connection;
    exchange->visitor = visitor;
    exchange->arena = &visitor->arena;
    exchange->request.target = arena_text(exchange->arena, target);
    parameters_hide(target);
    exchange->request.remote = exchange->visitor->remote;
    exchange->request.arena = exchange->arena;
    exchange->request.exchange = exchange;
    atomic_fetch_add(&http->exchanges_count, 1);
    return exchange;
}

static void
body_release(struct exchange *exchange)
{
    buffer_done(&exchange->body);
    exchange->body = (struct buffer){0};
    atomic_fetch_sub_explicit(
        &exchange->http->bodies_bytes, exchange->held_bytes, memory_order_relaxed);
    exchange->held_bytes = 0;
}

// The answer is written, or the connection broke.
static void
on_completed(
    void *context,
    struct MHD_Connection *connection,
    void **state,
    enum MHD_RequestTerminationCode reason)
{
    (void)connection;
    (void)reason;
    struct http *http = ((struct http_loop *)context)->http;
    struct exchange *exchange = *state;
    *state = NULL;
    if (exchange == NULL)
        return;
    must(exchange->step != STEP_WORKING && exchange->step != STEP_LATER);
    // Its client has gone, so nobody will ask for the answer: it is made and counted all the same.
    if (exchange->step == STEP_SETTLED) {
        exchange->finish(exchange->state);
        http_count_down(http, &http->laters_count);
    }
    http_idle_begin(exchange->visitor);
    bool is_stream = exchange->is_stream;
    body_release(exchange);
    buffer_done(&exchange->response.body);
    arena_reset(exchange->arena);
    if (is_stream) {
        pthread_mutex_lock(&http->mutex);
        http->streams_count--;
        pthread_mutex_unlock(&http->mutex);
    }
    http_count_down(http, &http->exchanges_count);
}

struct field_list {
    struct arena *arena;
    struct http_field *items;
    size_t count;
};

static enum MHD_Result
on_field(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    struct field_list *list = context;
    if (list->items != NULL) {
        list->items[list->count].name = arena_text(list->arena, name);
        list->items[list->count].value = arena_text(list->arena, value != NULL ? value : "");
    }
    list->count++;
    return MHD_YES;
}

static void
fields_read(struct exchange *exchange)
{
    struct field_list list = {.arena = exchange->arena};
    (void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, on_field, &list);
    list.items = arena_array(exchange->arena, list.count + 1, struct http_field);
    list.count = 0;
    (void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, on_field, &list);
    exchange->request.fields = list.items;
    exchange->request.fields_count = list.count;
}

// 0 when it is not said; what is no number is refused by the library.
static uint64_t
body_announced(const struct exchange *exchange)
{
    const char *text = http_field(&exchange->request, "Content-Length");
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

// --- answers ---

static enum MHD_Result
answer_send(struct exchange *exchange)
{
    struct http_response *answer = &exchange->response;
    // The library reads the body until on_completed, which gives it back.
    struct MHD_Response *response =
        exchange->is_stream ? http_stream_response(exchange)
                            : MHD_create_response_from_buffer(
                                  answer->body.size, answer->body.data, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_YES;
    if (answer->content_type != NULL)
        result =
            MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
    for (size_t i = 0; result == MHD_YES && i < answer->fields_count; i++)
        result = MHD_add_response_header(response, answer->fields[i].name, answer->fields[i].value);
    // Behind a head that is broken, nobody knows where the next one begins.
    bool is_last =
        atomic_load(&exchange->http->is_stopping) || exchange->request.refusal == HTTP_MALFORMED;
    if (result == MHD_YES && is_last)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (result == MHD_YES)
        result = MHD_queue_response(exchange->connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    exchange->step = STEP_SENT;
    http_deadline_set(exchange->visitor, exchange->http->options.answer_ns);
    return result;
}

static void
answer_made(struct exchange *exchange)
{
    must(exchange->response.status >= 200 && exchange->response.status <= 599);
    body_release(exchange);
    exchange->step = STEP_ANSWERED;
}

static void
answer_make(struct exchange *exchange)
{
    struct http *http = exchange->http;
    exchange->request.body = buffer_view(&exchange->body);
    http->options.handle(http->options.context, &exchange->request, &exchange->response);
    answer_made(exchange);
}

static enum MHD_Result
answer_finish(struct exchange *exchange)
{
    exchange->finish(exchange->state);
    answer_made(exchange);
    http_count_down(exchange->http, &exchange->http->laters_count);
    return answer_send(exchange);
}

// On a worker's thread. The connection is the loop's again from the resuming on.
static void
worker_do(void *context, void *item)
{
    (void)context;
    struct exchange *exchange = item;
    answer_make(exchange);
    http_loop_resume(exchange);
}

static enum http_turn
answer_begin(struct exchange *exchange)
{
    const struct http_options *options = &exchange->http->options;
    if (options->begin == NULL || exchange->body.size > options->begin_max)
        return HTTP_TO_WORKER;
    exchange->request.body = buffer_view(&exchange->body);
    return options->begin(options->context, &exchange->request, &exchange->response);
}

// Suspended before it is given away: the worker may be faster than we.
static enum MHD_Result
exchange_offer(struct exchange *exchange)
{
    struct http *http = exchange->http;
    if (exchange->request.refusal != HTTP_WELCOME) {
        answer_make(exchange);
        return answer_send(exchange);
    }
    switch (answer_begin(exchange)) {
    case HTTP_LATER: return MHD_YES;
    case HTTP_ANSWERED: answer_made(exchange); return answer_send(exchange);
    case HTTP_TO_WORKER: break;
    }
    http_deadline_set(exchange->visitor, 0);
    exchange->step = STEP_WORKING;
    MHD_suspend_connection(exchange->connection);
    if (!workers_give(http->workers, exchange)) {
        exchange->request.refusal = HTTP_OVERLOADED;
        answer_make(exchange);
        http_loop_resume(exchange);
    }
    return MHD_YES;
}

// The request is whole. Counted before the look: http_stop waits for us, or we see that it is too
// late to give anything away.
static enum MHD_Result
exchange_give(struct exchange *exchange)
{
    struct http *http = exchange->http;
    atomic_fetch_add(&http->laters_count, 1);
    if (atomic_load(&http->is_over) && exchange->request.refusal == HTTP_WELCOME)
        exchange->request.refusal = HTTP_STOPPING;
    enum MHD_Result result = exchange_offer(exchange);
    http_count_down(http, &http->laters_count);
    return result;
}

// --- the library's callback ---

static enum MHD_Result
head_take(struct exchange *exchange, const char *method)
{
    const struct http *http = exchange->http;
    exchange->request.method = arena_text(exchange->arena, method);
    fields_read(exchange);
    exchange->step = STEP_BODY;
    http_deadline_set(exchange->visitor, http->options.body_ns);
    if (atomic_load(&http->is_stopping))
        exchange->request.refusal = HTTP_STOPPING;
    if (body_announced(exchange) > http->options.body_max)
        exchange->request.refusal = HTTP_TOO_LARGE;
    exchange->request.fault = http_head_fault(&exchange->request);
    if (exchange->request.fault != NULL)
        exchange->request.refusal = HTTP_MALFORMED;
    // Who waits for our leave to send the body is told at once; of others the body is read and
    // dropped, for a connection that is closed over unread bytes may lose the answer.
    bool is_asking = http_field(&exchange->request, "Expect") != NULL;
    bool is_told = is_asking || exchange->request.refusal == HTTP_MALFORMED;
    if (exchange->request.refusal == HTTP_WELCOME || !is_told)
        return MHD_YES;
    answer_make(exchange);
    return answer_send(exchange);
}

static void
body_take(struct exchange *exchange, const void *data, size_t size)
{
    struct http *http = exchange->http;
    if (exchange->request.refusal != HTTP_WELCOME)
        return;
    if (exchange->body.size + size > http->options.body_max) {
        exchange->request.refusal = HTTP_TOO_LARGE;
        body_release(exchange);
        return;
    }
    int64_t held =
        atomic_fetch_add_explicit(&http->bodies_bytes, (int64_t)size, memory_order_relaxed) +
        (int64_t)size;
    exchange->held_bytes += (int64_t)size;
    buffer_put(&exchange->body, data, size);
    if (held > (int64_t)http->options.bodies_max || buffer_failed(&exchange->body)) {
        exchange->request.refusal = HTTP_OVERLOADED;
        body_release(exchange);
    }
}

static enum MHD_Result
on_request(  // NOLINT(readability-function-size): the library chose the parameters
    void *context,
    struct MHD_Connection *connection,
    const char *path,
    const char *method,
    const char *version,
    const char *body,
    size_t *body_size,
    void **state)
{
    (void)context;
    (void)connection;
    (void)path;
    (void)version;
    struct exchange *exchange = *state;
    if (exchange == NULL)
        return MHD_NO;
    switch (exchange->step) {
    case STEP_HEAD: return head_take(exchange, method);
    case STEP_ANSWERED: return answer_send(exchange);
    case STEP_SETTLED: return answer_finish(exchange);
    case STEP_LATER:
    case STEP_WORKING:
    case STEP_SENT: return MHD_YES;
    case STEP_BODY: break;
    }
    if (*body_size == 0)
        return exchange_give(exchange);
    body_take(exchange, body, *body_size);
    *body_size = 0;
    return MHD_YES;
}

// Paths are decoded after they were cut at their slashes, by api/target.
static size_t
unescape_nothing(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

// --- start and stop ---

// Connections are counted by http_accept.c, so the library's limit is never met.
struct MHD_Daemon *
http_daemon_start(struct http_loop *loop)
{
    const struct http_options *options = &loop->http->options;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, NULL},
        {MHD_OPTION_HTTPS_PRIORITIES,    0, NULL},
        {MHD_OPTION_END,                 0, NULL},
    };
    // The library's list has room for pointers to what it may change, which it does not.
    const char *priorities = CERTIFICATE_PRIORITIES;
    certificate_function callback = certificate_callback();
    memcpy(&tls[0].ptr_value, &callback, sizeof callback);
    memcpy(&tls[1].ptr_value, &priorities, sizeof priorities);
    struct MHD_OptionItem *extra = options->is_tls ? tls : &tls[2];
    return MHD_start_daemon(
        (unsigned)MHD_USE_EPOLL | (unsigned)MHD_ALLOW_SUSPEND_RESUME |
            (unsigned)MHD_USE_NO_LISTEN_SOCKET | (options->is_tls ? (unsigned)MHD_USE_TLS : 0U),
        0,
        NULL,
        NULL,
        on_request,
        loop,
        MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)options->connections_max + 1,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_HEAD_MAX,
        MHD_OPTION_NOTIFY_CONNECTION,
        http_on_connection,
        loop,
        MHD_OPTION_NOTIFY_COMPLETED,
        on_completed,
        loop,
        MHD_OPTION_URI_LOG_CALLBACK,
        on_target,
        loop,
        MHD_OPTION_UNESCAPE_CALLBACK,
        unescape_nothing,
        NULL,
        MHD_OPTION_STRICT_FOR_CLIENT,
        1,
        MHD_OPTION_ARRAY,
        extra,
        MHD_OPTION_END);
}

static void
http_free(struct http *http)
{
    if (http->listen_fd >= 0)
        (void)close(http->listen_fd);
    waker_done(&http->acceptor_waker);
    buffer_done(&http->news);
    pthread_mutex_destroy(&http->mutex);
    pthread_cond_destroy(&http->settled);
    pool_give(http);
}

// What runs already is stopped again when a later part cannot start.
static enum status
parts_start(struct http *http, struct error *error)
{
    const struct http_options *options = &http->options;
    enum status status = workers_start(
        options->workers, options->waiting_max, worker_do, http, &http->workers, error);
    if (status == STATUS_OK)
        status = http_loops_start(http, error);
    if (status == STATUS_OK)
        status = http_accept_start(http, error);
    if (status == STATUS_OK)
        return STATUS_OK;
    workers_stop(http->workers);
    http_loops_stop(http);
    return status;
}

enum status
http_start(const struct http_options *options, struct http **out, struct error *error)
{
    must(options->handle != NULL && options->loops > 0);
    int fd = -1;
    enum status status = tcp_listen(options->address, &fd, error);
    if (status)
        return status;
    struct http *http = pool_take(1, sizeof *http);
    if (http == NULL) {
        (void)close(fd);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the HTTP server");
    }
    http->options = *options;
    http->listen_fd = fd;
    http->port = tcp_port(fd);
    pthread_mutex_init(&http->mutex, NULL);
    pthread_cond_init(&http->settled, NULL);
    status = waker_init(&http->acceptor_waker, error);
    if (status == STATUS_OK)
        status = parts_start(http, error);
    if (status) {
        http_free(http);
        return status;
    }
    *out = http;
    return STATUS_OK;
}

uint16_t
http_port(const struct http *http)
{
    return http->port;
}

void
http_figures(struct http *http, struct http_figures *out)
{
    pthread_mutex_lock(&http->mutex);
    out->connections = http->visitors_count;
    out->streams = http->streams_count;
    pthread_mutex_unlock(&http->mutex);
    out->bodies_bytes = atomic_load_explicit(&http->bodies_bytes, memory_order_relaxed);
    out->waiting = workers_waiting(http->workers);
}

static void
exchanges_wait(struct http *http, int64_t patience_ns)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    int64_t until_ns = until.tv_nsec + patience_ns;
    until.tv_sec += until_ns / SECOND_NS;
    until.tv_nsec = until_ns % SECOND_NS;
    pthread_mutex_lock(&http->mutex);
    int rc = 0;
    while (atomic_load(&http->exchanges_count) > 0 && rc == 0)
        rc = pthread_cond_timedwait(&http->settled, &http->mutex, &until);
    pthread_mutex_unlock(&http->mutex);
}

void
http_stop(struct http *http, int64_t patience_ns)
{
    if (http == NULL)
        return;
    atomic_store(&http->is_stopping, true);
    http_accept_stop(http);
    (void)close(http->listen_fd);
    http->listen_fd = -1;
    http_streams_wake(http);
    exchanges_wait(http, patience_ns);
    // Nothing is suspended any more when these are done, as the library demands.
    atomic_store(&http->is_over, true);
    http_laters_wait(http);
    workers_stop(http->workers);
    http_loops_stop(http);
    http_free(http);
}

// --- values ---

// Only the worker that has the exchange asks, so held_bytes is its own.
bool
http_hold(const struct http_request *request, int64_t bytes)
{
    struct exchange *exchange = request->exchange;
    struct http *http = exchange->http;
    int64_t held =
        atomic_fetch_add_explicit(&http->bodies_bytes, bytes, memory_order_relaxed) + bytes;
    if (bytes > 0 && held > (int64_t)http->options.bodies_max) {
        atomic_fetch_sub_explicit(&http->bodies_bytes, bytes, memory_order_relaxed);
        return false;
    }
    exchange->held_bytes += bytes;
    must(exchange->held_bytes >= 0);
    return true;
}

const char *
http_field(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->fields_count; i++)
        if (http_name_is(request->fields[i].name, name))
            return request->fields[i].value;
    return NULL;
}

void
http_add(struct http_response *response, const char *name, const char *value)
{
    must(response->fields_count < HTTP_RESPONSE_FIELDS_MAX);
    response->fields[response->fields_count++] = (struct http_field){name, value};
}
