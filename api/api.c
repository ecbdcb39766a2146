#include "api/api.h"

#include "api/call.h"
#include "api/caller.h"
#include "api/coding.h"
#include "api/idempotency.h"
#include "api/route.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t MICROSECOND_NS = 1000;

// --- request ids ---

static bool
is_id(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size <= CALL_ID_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               size;
}

// The client's own, when it has one that fits into a header and a log.
static void
id_give(struct call *call)
{
    const char *theirs = http_field(call->request, "X-Request-Id");
    if (theirs != NULL && is_id(theirs))
        call->id = theirs;
    else
        call->id = arena_format(
            call->arena,
            "%s-%" PRIu64,
            call->api->id_prefix,
            atomic_fetch_add_explicit(&call->api->ids, 1, memory_order_relaxed));
    http_add(call->response, "X-Request-Id", call->id);
}

// --- CORS ---

static bool
origin_is_known(const struct settings *settings, const char *origin)
{
    for (size_t i = 0; i < settings->cors_origins.count; i++) {
        const char *known = settings->cors_origins.items[i];
        if (strcmp(known, "*") == 0 || strcmp(known, origin) == 0)
            return true;
    }
    return false;
}

// True: a browser asks from an origin that may see the answer.
static bool
cors_answer(struct call *call)
{
    const char *origin = http_field(call->request, "Origin");
    if (call->api->settings->cors_origins.count == 0)
        return false;
    http_add(call->response, "Vary", "Origin");
    if (origin == NULL || !origin_is_known(call->api->settings, origin))
        return false;
    http_add(call->response, "Access-Control-Allow-Origin", origin);
    http_add(
        call->response,
        "Access-Control-Expose-Headers",
        "X-Request-Id, Retry-After, Content-Disposition, RateLimit-Policy, RateLimit-Limit, "
        "RateLimit-Remaining, RateLimit-Reset, Idempotency-Replayed");
    return true;
}

static void
options_answer(struct call *call, const char *allowed, bool is_cors)
{
    call_empty(call, 204);
    http_add(call->response, "Allow", allowed);
    if (!is_cors || http_field(call->request, "Access-Control-Request-Method") == NULL)
        return;
    http_add(call->response, "Access-Control-Allow-Methods", allowed);
    http_add(
        call->response,
        "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Content-Encoding, Accept, Prefer, Idempotency-Key, "
        "X-Request-Id");
    http_add(call->response, "Access-Control-Max-Age", "600");
}

// --- one request ---

// False: it was answered.
static bool
call_is_welcome(struct call *call)
{
    switch (call->request->refusal) {
    case HTTP_WELCOME: return true;
    case HTTP_TOO_LARGE:
        call_problem(
            call,
            413,
            "The body is larger than %" PRId64 " bytes; send less at a time.",
            call->api->settings->body_max);
        return false;
    case HTTP_OVERLOADED: call_away(call, "Too many requests at a time; try again."); return false;
    case HTTP_MALFORMED:
        call_problem(call, 400, "The request's head is broken: %s.", call->request->fault);
        return false;
    case HTTP_STOPPING: call_away(call, "The server is being stopped; try again."); return false;
    }
    return true;
}

static void
call_route(struct call *call)
{
    const char *fault = NULL;
    char allowed[ROUTE_ALLOWED_MAX] = "";
    bool is_cors = cors_answer(call);
    // The route of a quick call is known.
    bool is_read =
        call->is_quick || target_parse(call->request->target, call->arena, &call->target, &fault);
    if (is_read && !call->is_quick)
        call->route = route_find(call->request->method, &call->target, call->params, allowed);
    if (!call_is_welcome(call) || !caller_admit(call))
        return;
    if (!is_read) {
        call_problem(call, 400, "The target cannot be read: %s.", fault);
        return;
    }
    if (call->route == NULL && allowed[0] == '\0') {
        call_problem(call, 404, "There is nothing at %s.", call->target.path);
        return;
    }
    if (strcmp(call->request->method, "OPTIONS") == 0) {
        options_answer(call, arena_text(call->arena, allowed), is_cors);
        return;
    }
    if (call->route == NULL) {
        call_problem(
            call, 405, "%s is not for this path, which has %s.", call->request->method, allowed);
        http_add(call->response, "Allow", arena_text(call->arena, allowed));
        return;
    }
    if (caller_may(call) && coding_inflate(call) && idempotency_begin(call)) {
        call->route->handle(call);
        idempotency_end(call);
    }
}

static void
call_count(struct call *call, int64_t took_ns)
{
    size_t index = call->route != NULL ? (size_t)(call->route - ROUTES) : routes_count();
    struct route_metrics *metrics = &call->api->routes[index];
    int hundreds = call->response->status / 100;
    int class = hundreds == 2 ? 0 : hundreds == 4 ? 1 : hundreds == 5 ? 2 : 3;
    metric_add(&metrics->requests[class], 1);
    metric_add(&metrics->microseconds, took_ns / MICROSECOND_NS);
}

static void
call_log(const struct call *call, int64_t took_ns)
{
    if (!call->api->settings->is_access_log)
        return;
    log_info(
        "request",
        LOG_TEXT("id", call->id),
        LOG_TEXT("method", call->request->method),
        LOG_TEXT("path", call->target.path),
        LOG_INT("status", call->response->status),
        LOG_INT("in", call->request->body.size),
        LOG_INT("out", call->response->body.size),
        LOG_INT("us", took_ns / MICROSECOND_NS),
        LOG_TEXT("key", call->key_id != NULL ? call->key_id : "-"),
        LOG_TEXT("remote", call->client != NULL ? call->client : call->request->remote));
}

static void
call_end(struct call *call)
{
    struct http_response *response = call->response;
    if (response->status == 0)
        call_problem(call, 500, "Nothing answered this request.");
    if (buffer_failed(&response->body))
        call_problem(call, 500, "The answer does not fit into memory.");
    if (response->body.size > 0)
        http_add(response, "X-Content-Type-Options", "nosniff");
    coding_deflate(call);
    int64_t took_ns = clock_monotonic_ns() - call->began_ns;
    call_count(call, took_ns);
    call_log(call, took_ns);
    buffer_done(&call->inflated);
}

// In the arena: what an answer says may lie in the call, and is written when we have returned.
static struct call *
call_make(void *context, const struct http_request *request, struct http_response *response)
{
    struct call *call = arena_new(request->arena, struct call);
    *call = (struct call){
        .api = context,
        .request = request,
        .response = response,
        .arena = request->arena,
        .began_ns = clock_monotonic_ns(),
    };
    return call;
}

void
api_handle(void *context, const struct http_request *request, struct http_response *response)
{
    struct call *call = call_make(context, request, response);
    id_give(call);
    call_route(call);
    call_end(call);
}

// --- requests that nobody waits for ---

// Nothing in this call can make us wait: a route whose handler does not, a key that is known, a
// body as it is.
static bool
is_quick(struct call *call)
{
    const char *fault = NULL;
    char allowed[ROUTE_ALLOWED_MAX];
    // Nothing is looked at here in vain: all quick routes are POSTs.
    if (strcmp(call->request->method, "POST") != 0)
        return false;
    if (!target_parse(call->request->target, call->arena, &call->target, &fault))
        return false;
    call->route = route_find(call->request->method, &call->target, call->params, allowed);
    return call->route != NULL && (call->route->scopes & ROUTE_QUICK) != 0 &&
           http_field(call->request, "Content-Encoding") == NULL && caller_is_known(call);
}

enum http_turn
api_begin(void *context, const struct http_request *request, struct http_response *response)
{
    struct call *call = call_make(context, request, response);
    if (!is_quick(call))
        return HTTP_TO_WORKER;
    call->is_quick = true;
    id_give(call);
    call_route(call);
    // Behind call_later the call may be another's already, but not this.
    if (call->resume != NULL)
        return HTTP_LATER;
    call_end(call);
    return HTTP_ANSWERED;
}

static void
call_finish(void *state)
{
    struct call *call = state;
    call->resume(call);
    call_end(call);
}

void
call_later(struct call *call, void (*resume)(struct call *call), void *state)
{
    must(call->is_quick && call->response->status == 0);
    call->resume = resume;
    call->resume_state = state;
    http_later(call->request, call_finish, call);
}

void
call_continue(struct call *call)
{
    http_continue(call->request);
}

// --- metrics ---

void
api_metrics_init(struct api *api)
{
    static const char *const classes[] = {"2xx", "4xx", "5xx", "other"};
    uint8_t random[4];
    random_fill(random, sizeof random);
    digest_digits(random, sizeof random, api->id_prefix);
    size_t count = routes_count();
    api->routes = arena_array(&api->arena, count + 1, struct route_metrics);
    for (size_t i = 0; i <= count; i++) {
        // What is carried out once asks the database first, and a loop's thread does not wait.
        const uint32_t both = ROUTE_QUICK | ROUTE_CREATES;
        must(i == count || (ROUTES[i].scopes & both) != both);
        const char *name =
            i < count ? arena_format(&api->arena, "%s %s", ROUTES[i].method, ROUTES[i].path)
                      : "none";
        for (size_t class = 0; class < sizeof classes / sizeof classes[0]; class ++)
            api->routes[i].requests[class] = (struct metric){
                .name = "tally_api_requests_total",
                .labels =
                    arena_format(&api->arena, "route=\"%s\",status=\"%s\"", name, classes[class]),
                .help = "requests answered",
                .kind = METRIC_KIND_COUNTER};
        api->routes[i].microseconds = (struct metric){
            .name = "tally_api_request_microseconds_total",
            .labels = arena_format(&api->arena, "route=\"%s\"", name),
            .help = "time that answers took to make",
            .kind = METRIC_KIND_COUNTER};
    }
}

static void
gauge_print(struct buffer *out, const char *name, const char *help, int64_t value)
{
    struct metric metric = {.name = name, .help = help, .kind = METRIC_KIND_GAUGE};
    const struct metric *list[] = {&metric};
    metric_set(&metric, value);
    metrics_print(list, 1, out);
}

// Those of one name stand together.
static void
routes_print(const struct api *api, struct buffer *out)
{
    enum { CLASSES = 4 };
    scoped(arena_done) struct arena arena = {0};
    size_t count = routes_count() + 1;
    const struct metric **list = arena_array(&arena, count * CLASSES, const struct metric *);
    for (size_t i = 0; i < count * CLASSES; i++)
        list[i] = &api->routes[i / CLASSES].requests[i % CLASSES];
    metrics_print(list, count * CLASSES, out);
    for (size_t i = 0; i < count; i++)
        list[i] = &api->routes[i].microseconds;
    metrics_print(list, count, out);
}

static void
limits_print(const struct limits *limits, struct buffer *out)
{
    struct metric metrics[LIMIT_KINDS];
    const struct metric *list[LIMIT_KINDS];
    char labels[LIMIT_KINDS][LIMIT_TEXT_MAX];
    for (size_t i = 0; i < LIMIT_KINDS; i++) {
        (void)snprintf(labels[i], sizeof labels[i], "limit=\"%s\"", limit_name((enum limit_kind)i));
        metrics[i] = (struct metric){
            .name = "tally_api_limited_total",
            .labels = labels[i],
            .help = "requests answered 429",
            .kind = METRIC_KIND_COUNTER,
        };
        metric_set(&metrics[i], limits_refused(limits, (enum limit_kind)i));
        list[i] = &metrics[i];
    }
    metrics_print(list, LIMIT_KINDS, out);
}

static void
counter_print(struct buffer *out, const char *name, const char *help, int64_t value)
{
    struct metric metric = METRIC_COUNTER(name, help);
    const struct metric *list[] = {&metric};
    metric_set(&metric, value);
    metrics_print(list, 1, out);
}

static void
database_print(const struct database_figures *figures, struct buffer *out)
{
    gauge_print(out, "tally_api_database_connections", "open to PostgreSQL", figures->connections);
    gauge_print(
        out,
        "tally_api_database_connections_max",
        "that may be open to PostgreSQL",
        figures->connections_max);
    gauge_print(out, "tally_api_database_lent", "connections in use", figures->lent);
    counter_print(out, "tally_api_database_opened_total", "connections made", figures->opened);
    counter_print(
        out,
        "tally_api_database_failed_total",
        "connections that could not be made",
        figures->failed);
    counter_print(
        out, "tally_api_database_broken_total", "connections that were lost", figures->broken);
    counter_print(
        out,
        "tally_api_database_waited_total",
        "requests that waited for a connection",
        figures->waited);
    counter_print(
        out,
        "tally_api_database_refused_total",
        "requests that found no connection in time",
        figures->refused);
}

void
api_metrics_print(struct api *api, struct buffer *out)
{
    struct http_figures http = {0};
    struct database_figures database;
    routes_print(api, out);
    limits_print(api->limits, out);
    if (api->http != NULL)
        http_figures(api->http, &http);
    database_figures(api->database, &database);
    gauge_print(out, "tally_api_connections", "open HTTP connections", http.connections);
    gauge_print(out, "tally_api_streams", "clients that listen to live figures", http.streams);
    gauge_print(out, "tally_api_bodies_bytes", "bodies of requests in memory", http.bodies_bytes);
    gauge_print(out, "tally_api_waiting", "requests that wait for a worker", http.waiting);
    database_print(&database, out);
}
