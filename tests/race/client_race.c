// libtally under ThreadSanitizer: three threads send, one flushes, one reads statistics, while
// the server drops the connection again and again before it acks. Every event must be acked in
// the end, and close must not race. Once from memory, once with a spool and a server whose name is
// looked up.
#include "base/buffer.h"
#include "base/pack.h"
#include "base/unpack.h"
#include "client/tally.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SENDERS = 3,
    EVENTS_EACH = 3000,
    FRAMES_PER_CONNECTION = 7,
    FRAME_MAX = 1 << 20,
    WAIT_MS = 60000,
};

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "client_race: line %d: %s\n", __LINE__, #condition);             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct server {
    int listen_fd;
    uint16_t port;
    struct buffer received;
    uint64_t acked_count;  // frames; the server's thread only
};

struct shared {
    struct tally *tally;
    _Atomic bool is_over;
    _Atomic uint64_t refusals_count;
};

static void
server_listen(struct server *server)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    server->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(bind(server->listen_fd, (const struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(getsockname(server->listen_fd, (struct sockaddr *)&address, &size) == 0);
    REQUIRE(listen(server->listen_fd, 16) == 0);
    server->port = ntohs(address.sin_port);
}

// [tag, bin, {"size": n, "chunk": id, ...}]: the chunk is the option's second value.
static struct bytes
frame_chunk(struct bytes frame)
{
    struct cursor in = cursor_over(frame);
    struct unpack_item item;
    // Array, tag, events, map, "size", n, "chunk", and the chunk.
    for (int i = 0; i < 8; i++)
        REQUIRE(unpack_next(&in, &item));
    REQUIRE(item.type == UNPACK_STR);
    return item.text;
}

// Answers one frame as the real server does: some are refused, by index 0.
static void
frame_answer(struct server *server, int fd, struct bytes frame)
{
    scoped(buffer_done) struct buffer answer = {0};
    bool is_refusing = server->acked_count++ % 3 == 0;
    pack_map(&answer, is_refusing ? 2 : 1);
    pack_text(&answer, "ack");
    pack_str(&answer, frame_chunk(frame));
    if (is_refusing) {
        pack_text(&answer, "rejected");
        pack_array(&answer, 1);
        pack_array(&answer, 2);
        pack_uint(&answer, 0);
        pack_text(&answer, "subject missing");
    }
    REQUIRE(!buffer_failed(&answer));
    (void)send(fd, answer.data, answer.size, MSG_NOSIGNAL);
}

// False: the connection ended.
static bool
frame_read(struct server *server, int fd, size_t *out_size)
{
    struct unpack_scan scan = {0};
    for (;;) {
        if (server->received.size > 0) {
            enum unpack_result result =
                unpack_scan(&scan, buffer_view(&server->received), FRAME_MAX);
            REQUIRE(result == UNPACK_COMPLETE || result == UNPACK_INCOMPLETE);
            *out_size = scan.size;
            if (result == UNPACK_COMPLETE)
                return true;
        }
        uint8_t *place = buffer_reserve(&server->received, 65536);
        REQUIRE(place != NULL);
        ssize_t size = recv(fd, place, 65536, 0);
        if (size <= 0)
            return false;
        buffer_commit(&server->received, (size_t)size);
    }
}

static void
connection_serve(struct server *server, int fd)
{
    size_t size;
    buffer_reset(&server->received);
    for (int i = 0; i < FRAMES_PER_CONNECTION && frame_read(server, fd, &size); i++) {
        struct buffer *received = &server->received;
        // The last frame of a connection is taken and never answered.
        if (i + 1 < FRAMES_PER_CONNECTION)
            frame_answer(server, fd, bytes_of(received->data, size));
        memmove(received->data, received->data + size, received->size - size);
        received->size -= size;
    }
    close(fd);
}

// Ends when the listening socket is shut down.
static void *
server_run(void *context)
{
    struct server *server = context;
    int fd;
    while ((fd = accept(server->listen_fd, NULL, NULL)) >= 0)
        connection_serve(server, fd);
    return NULL;
}

static void *
sender_thread(void *context)
{
    const struct shared *shared = context;
    const struct tally_property property = {"n", TALLY_INT, {.integer = 1}};
    for (int i = 0; i < EVENTS_EACH; i++) {
        const struct tally_event event = {
            .subject = "acme",
            .type = "call",
            .value = i % 2 == 0 ? "1.5" : NULL,
            .properties = &property,
            .properties_count = 1,
            .tag = (uint64_t)i,
        };
        REQUIRE(tally_send_wait(shared->tally, &event, WAIT_MS) == TALLY_OK);
    }
    return NULL;
}

static void *
flusher_thread(void *context)
{
    struct shared *shared = context;
    while (!atomic_load(&shared->is_over)) {
        enum tally_result result = tally_flush(shared->tally, 5);
        REQUIRE(result == TALLY_OK || result == TALLY_TIMEOUT);
    }
    return NULL;
}

static void *
watcher_thread(void *context)
{
    struct shared *shared = context;
    uint64_t acked = 0;
    while (!atomic_load(&shared->is_over)) {
        struct tally_stats stats;
        tally_stats(shared->tally, &stats);
        REQUIRE(stats.events_acked >= acked);
        REQUIRE(stats.events_acked + stats.events_buffered == stats.events_sent);
        acked = stats.events_acked;
    }
    return NULL;
}

static void
count_refusal(void *context, const struct tally_refusal *refusal)
{
    struct shared *shared = context;
    REQUIRE(!refusal->is_conflict);
    atomic_fetch_add(&shared->refusals_count, 1);
}

static void
send_all(struct shared *shared)
{
    pthread_t senders[SENDERS], flusher, watcher;
    for (int i = 0; i < SENDERS; i++)
        REQUIRE(pthread_create(&senders[i], NULL, sender_thread, shared) == 0);
    REQUIRE(pthread_create(&flusher, NULL, flusher_thread, shared) == 0);
    REQUIRE(pthread_create(&watcher, NULL, watcher_thread, shared) == 0);
    for (int i = 0; i < SENDERS; i++)
        REQUIRE(pthread_join(senders[i], NULL) == 0);
    REQUIRE(tally_flush(shared->tally, WAIT_MS) == TALLY_OK);
    atomic_store(&shared->is_over, true);
    REQUIRE(pthread_join(flusher, NULL) == 0);
    REQUIRE(pthread_join(watcher, NULL) == 0);
}

static void
run(const char *spool_dir)
{
    struct server server = {0};
    struct shared shared = {0};
    struct tally_stats stats;
    pthread_t thread;
    char name[64], error[256];
    server_listen(&server);
    REQUIRE(pthread_create(&thread, NULL, server_run, &server) == 0);
    // A name is looked up on one more thread, an address is not.
    const char *host = spool_dir != NULL ? "localhost" : "127.0.0.1";
    (void)snprintf(name, sizeof name, "%s:%u", host, server.port);
    const struct tally_options options = {
        .server = name,
        .buffer_bytes = 128 * 1024,
        .batch_events = 40,
        .batch_age_ms = 1,
        .retry_min_ms = 1,
        .retry_max_ms = 2,
        .on_refusal = count_refusal,
        .context = &shared,
        .spool_dir = spool_dir,
    };
    shared.tally = tally_open(&options, error, sizeof error);
    REQUIRE(shared.tally != NULL);
    send_all(&shared);
    tally_stats(shared.tally, &stats);
    REQUIRE(stats.events_acked == (uint64_t)SENDERS * EVENTS_EACH);
    REQUIRE(stats.events_rejected == atomic_load(&shared.refusals_count));
    REQUIRE(stats.batches_resent > 0 && stats.connects > 1);
    REQUIRE(stats.spool_bytes == 0 && stats.spool_errors == 0);
    REQUIRE(tally_close(shared.tally, WAIT_MS) == TALLY_OK);
    REQUIRE(shutdown(server.listen_fd, SHUT_RDWR) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    close(server.listen_fd);
    buffer_done(&server.received);
}

int
main(void)
{
    char spool[] = "/tmp/tally-race-XXXXXX", lock[64];
    run(NULL);
    REQUIRE(mkdtemp(spool) != NULL);
    run(spool);
    // Nothing but the lock is left.
    (void)snprintf(lock, sizeof lock, "%s/lock", spool);
    REQUIRE(unlink(lock) == 0 && rmdir(spool) == 0);
    return 0;
}
