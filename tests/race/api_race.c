// The HTTP server between clients, loops, workers and the threads that flush events, for
// ThreadSanitizer: answers are made on loops, on workers, and later, when libtally (played here)
// has answered. Connections come and go, figures are read, and the stop comes while clients still
// ask. Bounded by its counts; exits 1 when an answer is missing or wrong.

#include "api/http.h"
#include "api/ingest.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 6, REQUESTS = 300, LATE_REQUESTS = 1000000, REQUESTS_A_CONNECTION = 40 };

// ---- libtally

struct tally {
    tally_refusal_fn on_refusal;
    void *context;
};

static struct tally played;
static atomic_uint_fast64_t refused_tag;  // of an event that the next flush refuses; 0: none

struct tally *
tally_open(const struct tally_options *options, char *error, size_t error_size)
{
    (void)error, (void)error_size;
    played = (struct tally){options->on_refusal, options->context};
    return &played;
}

enum tally_result
tally_close(struct tally *tally, uint32_t timeout_ms)
{
    (void)tally, (void)timeout_ms;
    return TALLY_OK;
}

void
tally_stats(struct tally *tally, struct tally_stats *out)
{
    (void)tally;
    *out = (struct tally_stats){.is_connected = true};
}

enum tally_result
tally_send(struct tally *tally, const struct tally_event *event)
{
    (void)tally;
    if (event->subject[0] == 'x')
        atomic_store(&refused_tag, event->tag);
    return TALLY_OK;
}

enum tally_result
tally_send_wait(struct tally *tally, const struct tally_event *event, uint32_t timeout_ms)
{
    (void)timeout_ms;
    return tally_send(tally, event);
}

enum tally_result
tally_flush(struct tally *tally, uint32_t timeout_ms)
{
    uint_fast64_t tag = atomic_exchange(&refused_tag, 0);
    const struct tally_refusal refusal = {.tag = tag, .reason = "refused"};
    (void)timeout_ms;
    if (tag != 0)
        tally->on_refusal(tally->context, &refusal);
    return TALLY_OK;
}

// ---- the server

struct race {
    struct http *http;
    uint16_t port;
    struct ingest *ingest;
    struct flag stop;
    atomic_uint_fast64_t ids;
};

struct call {
    const struct http_request *request;
    struct http_response *response;
    struct tally_event event;
    struct ingest_job job;
};

static void
response_fill(const struct http_request *request, struct http_response *response, const char *what)
{
    response->status = 200;
    buffer_format(&response->body, "%s %s\n", what, request->target);
}

static void
handle(void *context, const struct http_request *request, struct http_response *response)
{
    struct race *race = context;
    struct error error;
    struct tally_event event = {.subject = "good"};
    struct ingest_job job = {.events = &event, .count = 1, .arena = request->arena};
    if (request->refusal != HTTP_WELCOME) {
        response->status = 503;
        return;
    }
    must(ingest_send(race->ingest, &job, &error) == STATUS_OK);
    response_fill(request, response, "worker");
}

static void
later_finish(void *state)
{
    struct call *call = state;
    struct error error;
    must(ingest_outcome(&call->job, &error) == STATUS_OK);
    response_fill(call->request, call->response, "later");
}

static void
later_settled(struct ingest_job *job)
{
    struct call *call = job->context;
    http_continue(call->request);
}

static enum http_turn
begin(void *context, const struct http_request *request, struct http_response *response)
{
    struct race *race = context;
    struct error error;
    if (strcmp(request->target, "/worker") == 0)
        return HTTP_TO_WORKER;
    if (strcmp(request->target, "/now") == 0) {
        response_fill(request, response, "now");
        return HTTP_ANSWERED;
    }
    struct call *call = arena_new(request->arena, struct call);
    call->request = request;
    call->response = response;
    call->event.subject = atomic_fetch_add(&race->ids, 1) % 7 == 0 ? "x" : "good";
    call->job = (struct ingest_job){
        .events = &call->event,
        .count = 1,
        .arena = request->arena,
        .settled = later_settled,
        .context = call,
    };
    http_later(request, later_finish, call);
    must(ingest_begin(race->ingest, &call->job, &error) == STATUS_OK);
    return HTTP_LATER;
}

// ---- clients

struct client {
    struct race *race;
    pthread_t thread;
    int requests;  // at most
    int answered;
};

static int
client_connect(const struct race *race)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(race->port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

// False: the server is going.
static bool
client_ask(int fd, const char *what)
{
    char text[1024], wanted[64];
    size_t size = 0;
    int length = snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", what);
    (void)snprintf(wanted, sizeof wanted, "%s /%s\n", what, what);
    if (fd < 0 || send(fd, text, (size_t)length, MSG_NOSIGNAL) != length)
        return false;
    memset(text, 0, sizeof text);
    while (strstr(text, wanted) == NULL) {
        ssize_t count = recv(fd, text + size, sizeof text - 1 - size, 0);
        if (count <= 0 || strstr(text, "HTTP/1.1 503") != NULL)
            return false;
        size += (size_t)count;
    }
    return true;
}

static void *
client_run(void *argument)
{
    static const char *const what[] = {"later", "worker", "later", "now", "later"};
    struct client *client = argument;
    int fd = -1;
    for (int i = 0; i < client->requests; i++) {
        if (i % REQUESTS_A_CONNECTION == 0) {
            if (fd >= 0)
                (void)close(fd);
            fd = client_connect(client->race);
        }
        if (!client_ask(fd, what[(size_t)i % (sizeof what / sizeof what[0])]))
            break;
        client->answered++;
    }
    if (fd >= 0)
        (void)close(fd);
    return NULL;
}

static void *
watch_run(void *argument)
{
    struct race *race = argument;
    struct timespec moment = {.tv_nsec = 1000000};
    struct http_figures figures;
    while (flag_get(&race->stop) == 0) {
        http_watch(race->http);
        http_figures(race->http, &figures);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
    return NULL;
}

static void
clients_start(struct client *clients, struct race *race, int requests)
{
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.race = race, .requests = requests};
        must(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]) == 0);
    }
}

static int
clients_join(struct client *clients)
{
    int answered = 0;
    for (int i = 0; i < CLIENTS; i++) {
        must(pthread_join(clients[i].thread, NULL) == 0);
        answered += clients[i].answered;
    }
    return answered;
}

int
main(void)
{
    static struct race race;
    struct client clients[CLIENTS];
    struct error error = {0};
    pthread_t watcher;
    struct http_options options = {
        .address = "127.0.0.1:0",
        .loops = 2,
        .workers = 3,
        .waiting_max = 64,
        .connections_max = CLIENTS - 1,  // so that some wait to be taken
        .body_max = 1000,
        .bodies_max = 100000,
        .idle_ns = 60 * SECOND_NS,
        .body_ns = 60 * SECOND_NS,
        .answer_ns = 60 * SECOND_NS,
        .handle = handle,
        .begin = begin,
        .begin_max = 1000,
        .context = &race,
    };
    must(ingest_open("/nowhere", NULL, &race.ingest, &error) == STATUS_OK);
    must(http_start(&options, &race.http, &error) == STATUS_OK);
    race.port = http_port(race.http);
    must(pthread_create(&watcher, NULL, watch_run, &race) == 0);
    clients_start(clients, &race, REQUESTS);
    int answered = clients_join(clients);
    if (answered != CLIENTS * REQUESTS) {
        (void)fprintf(stderr, "%d of %d requests were answered\n", answered, CLIENTS * REQUESTS);
        return 1;
    }
    clients_start(clients, &race, LATE_REQUESTS);
    struct timespec moment = {.tv_nsec = 100000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    flag_set(&race.stop, 1);
    must(pthread_join(watcher, NULL) == 0);
    http_stop(race.http, SECOND_NS);
    (void)clients_join(clients);
    ingest_close(race.ingest);
    return 0;
}
