// A front with its thread between clients, writers, the reject log, readers of metrics and the
// drain, for ThreadSanitizer. Each chunk is sent twice by another client, so that acks of one wait
// for commits of the other; the last ones are still being sent when the front drains. Bounded by
// its counts; exits 1 when an ack is missing, or when what was acked is not counted once.

#include "ingest/front.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/ring.h"
#include "ingest/http.h"
#include "tests/ingest/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 4, CHUNKS = 300, EVENTS_A_CHUNK = 5, LATE_CHUNKS = 1000000 };

struct race {
    struct ledger *ledger;
    struct rejects *rejects;
    struct ingest_metrics metrics;
    struct front *front;
    struct listener listener;
    struct flag stop;
};

struct client {
    struct race *race;
    pthread_t thread;
    int number;
    int chunks;  // to send at most
    int acked;
};

static void
succeed(enum status status, const struct error *error)
{
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s\n", error->text);
        exit(1);
    }
}

static int
client_connect(const struct listener *listener)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strrchr(listener->address, ':');
    must(colon != NULL);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0);
    must(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static bool
is_refused(int chunk)
{
    return chunk % 7 == 6;
}

static bool
bytes_send(int fd, struct bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t count = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (count <= 0)
            return false;
        bytes = bytes_of(bytes.data + count, bytes.size - (size_t)count);
    }
    return true;
}

// False: the server hung up before it.
static bool
ack_read(int fd, const char *chunk)
{
    scoped(buffer_done) struct buffer want = {0};
    uint8_t got[64];
    size_t size = 0;
    pack_map(&want, 1);
    pack_text(&want, "ack");
    pack_text(&want, chunk);
    must(want.size <= sizeof got);
    while (size < want.size) {
        ssize_t count = recv(fd, got + size, want.size - size, 0);
        if (count <= 0)
            return false;
        size += (size_t)count;
    }
    must(memcmp(got, want.data, size) == 0);
    return true;
}

static void *
client_main(void *argument)
{
    struct client *client = argument;
    scoped(buffer_done) struct buffer message = {0};
    int fd = client_connect(&client->race->listener);
    for (int i = 0; i < client->chunks; i++) {
        char chunk[16];
        (void)snprintf(chunk, sizeof chunk, "c%d", i);
        const struct wire wire = {
            .events = EVENTS_A_CHUNK,
            .first = (uint32_t)(i * EVENTS_A_CHUNK),
            .chunk = chunk,
            .time_ns = is_refused(i) ? SECOND_NS : 0};
        buffer_reset(&message);
        wire_forward(&message, "api_call", &wire);
        if (!bytes_send(fd, buffer_view(&message)) || !ack_read(fd, chunk))
            break;
        client->acked++;
    }
    (void)close(fd);
    return NULL;
}

static void
clients_start(struct race *race, struct client clients[CLIENTS], int chunks)
{
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.race = race, .number = i, .chunks = chunks};
        must(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) == 0);
    }
}

// The most chunks that any of them has an ack of.
static int
clients_join(struct client clients[CLIENTS])
{
    int most = 0;
    for (int i = 0; i < CLIENTS; i++) {
        must(pthread_join(clients[i].thread, NULL) == 0);
        most = clients[i].acked > most ? clients[i].acked : most;
    }
    return most;
}

// What main and the exporter do meanwhile.
static void *
watcher_main(void *argument)
{
    struct race *race = argument;
    struct http_facts facts = {race->ledger, race->rejects, &race->metrics};
    scoped(buffer_done) struct buffer out = {0};
    const char *const paths[] = {"/metrics", "/health", "/rejects"};
    for (int i = 0; flag_get(&race->stop) == 0; i++) {
        const char *type = NULL;
        struct error error;
        buffer_reset(&out);
        must(http_answer(&facts, paths[i % 3], &out, &type) == 200);
        rejects_collect(race->rejects);
        succeed(ledger_poll_meters(race->ledger, &error), &error);
        (void)poll(NULL, 0, 1);
    }
    return NULL;
}

static int64_t
stored_count(struct race *race)
{
    const struct metric *const *list = NULL;
    size_t count = ledger_metrics(race->ledger, &list);
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i]->name, "tally_events_stored_total") == 0)
            sum += metric_get(list[i]);
    return sum;
}

static void
race_open(struct race *race, const char *dir)
{
    struct error error;
    const struct ledger_create_options create = {.shards = 2, .map_size = 256 << 20};
    const struct ledger_options options = {
        .group_events_max = 64, .tail_max_bytes = 200000, .idle_flush_ns = 1000000};
    ingest_metrics_init(&race->metrics);
    succeed(ledger_create(dir, &create, &error), &error);
    succeed(ledger_open(dir, &options, &race->ledger, &error), &error);
    succeed(rejects_open(NULL, &race->metrics.rejects_unlisted, &race->rejects, &error), &error);
    succeed(listen_tcp("127.0.0.1:0", &race->listener, &error), &error);
    const struct front_options front = {
        .ledger = race->ledger,
        .rejects = race->rejects,
        .metrics = &race->metrics,
        .desk =
            {.connections_max = 2 * CLIENTS,
                   .tickets = 64,
                   .conn_tickets = 32,
                   .frame_max = 1 << 20,
                   .connection_memory = 2 << 20,
                   .memory_max = 16 << 20,
                   .acks_max = 64 << 10,
                   .linger_ns = SECOND_NS,
                   .handshake_ns = 10 * SECOND_NS},
        .loop = {.entries = 64,   .buffers = 16, .buffer_size = 4096},
    };
    succeed(front_open(&front, &race->front, &error), &error);
    front_listen(race->front, &race->listener);
    succeed(front_start(race->front, &error), &error);
}

static void
race_close(struct race *race)
{
    struct error error;
    front_close(race->front);
    listener_close(&race->listener);
    rejects_collect(race->rejects);
    rejects_close(race->rejects);
    succeed(ledger_close(race->ledger, &error), &error);
}

static int
accepted(int chunks)
{
    int count = 0;
    for (int i = 0; i < chunks; i++)
        count += !is_refused(i);
    return count;
}

static void
run(const char *dir)
{
    static struct race race;
    static struct client clients[CLIENTS];
    pthread_t watcher;
    race_open(&race, dir);
    must(pthread_create(&watcher, NULL, watcher_main, &race) == 0);
    clients_start(&race, clients, CHUNKS);
    int acked = clients_join(clients);
    for (int i = 0; i < CLIENTS; i++)
        must(clients[i].acked == CHUNKS);
    must(stored_count(&race) == (int64_t)accepted(acked) * EVENTS_A_CHUNK);
    // They begin again with what is known, and are still sending when it drains.
    int64_t before = metric_get(&race.metrics.events);
    clients_start(&race, clients, LATE_CHUNKS);
    while (metric_get(&race.metrics.events) < before + 2 * CLIENTS * CHUNKS * EVENTS_A_CHUNK)
        (void)poll(NULL, 0, 1);
    front_drain(race.front);
    while (!front_is_done(race.front))
        (void)poll(NULL, 0, 1);
    acked = clients_join(clients);
    must(acked > CHUNKS && acked < LATE_CHUNKS);
    must(stored_count(&race) >= (int64_t)accepted(acked) * EVENTS_A_CHUNK);
    must(stored_count(&race) <= (int64_t)accepted(acked + 1) * EVENTS_A_CHUNK);
    flag_set(&race.stop, 1);
    must(pthread_join(watcher, NULL) == 0);
    race_close(&race);
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

int
main(void)
{
    char dir[] = "/tmp/tally-race-XXXXXX";
    must(mkdtemp(dir) != NULL);
    run(dir);
    must(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    (void)puts("front race: ok");
    return 0;
}
