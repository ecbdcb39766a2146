// What no ingest on this machine can beat, each by itself: bytes of events received over loopback,
// events counted once in memory, memory touched, bytes appended to LMDB, bytes written to the disk.
#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/pool.h"
#include "bench/endpoint.h"
#include "bench/generate.h"
#include "bench/micro.h"
#include "bench/scratch.h"
#include "ledger/shard_view.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EVENT_SIZE = 110, CHUNK = 1000, BLOCK_SIZE = 1 << 20, SYNC_SIZE = 4096, SYNCS_MAX = 1000 };

static const size_t TOUCH_SIZE = 256U << 20;

static double
seconds_since(int64_t began_ns)
{
    return (double)(clock_monotonic_ns() - began_ns) / 1e9;
}

static enum status
generator_make(
    const struct micro_options *options,
    struct generator *generator,
    uint8_t **out_frame,
    struct error *error)
{
    const struct generate_options generate = {
        .seed = (uint64_t)options->seed,
        .event_size = EVENT_SIZE,
        .chunk_events = CHUNK,
        .subjects = 10000,
        .duplicates_percent = 1,
    };
    enum status status = generator_init(generator, &generate, error);
    if (status != STATUS_OK)
        return status;
    *out_frame = pool_take(1, generator_frame_size(generator));
    if (*out_frame == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a chunk");
    generator_prepare(generator, *out_frame);
    return STATUS_OK;
}

// --- loopback ---

struct sender {
    int fd;
    const uint8_t *frame;
    uint32_t frame_size;
    uint64_t frames;
    pthread_t thread;
};

static void *
sender_main(void *context)
{
    const struct sender *sender = context;
    for (uint64_t i = 0; i < sender->frames; i++)
        for (uint32_t sent = 0; sent < sender->frame_size;) {
            ssize_t size =
                send(sender->fd, sender->frame + sent, sender->frame_size - sent, MSG_NOSIGNAL);
            if (size < 0 && errno != EINTR)
                return NULL;
            sent += size > 0 ? (uint32_t)size : 0;
        }
    return NULL;
}

// Both ends of a connection over TCP to ourselves.
static enum status
loopback_open(int *out_send, int *out_receive, struct error *error)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    struct endpoint endpoint = {.transport = TRANSPORT_TCP, .address_size = sizeof address};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return error_set_errno(error, "cannot make a socket");
    enum status status = STATUS_OK;
    if (bind(listener, (const struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        status = error_set_errno(error, "cannot listen");
    memcpy(&endpoint.address, &address, sizeof address);
    if (status == STATUS_OK)
        status = endpoint_connect(&endpoint, out_send, error);
    if (status == STATUS_OK) {
        *out_receive = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (*out_receive < 0)
            status = error_set_errno(error, "cannot accept");
    }
    close(listener);
    return status;
}

static enum status
all_receive(int fd, uint64_t expected, struct error *error)
{
    static uint8_t place[256 * 1024];
    for (uint64_t got = 0; got < expected;) {
        ssize_t size = recv(fd, place, sizeof place, 0);
        if (size == 0 || (size < 0 && errno != EINTR))
            return error_set(error, STATUS_IO, "the loopback ended");
        got += size > 0 ? (uint64_t)size : 0;
    }
    return STATUS_OK;
}

static enum status
loopback_measure(
    const struct micro_options *options,
    struct generator *generator,
    const uint8_t *frame,
    struct micro_figures *out,
    struct error *error)
{
    int receive_fd = -1;
    struct sender sender = {
        .fd = -1,
        .frame = frame,
        .frame_size = generator_frame_size(generator),
        .frames = (uint64_t)options->events / CHUNK + 1,
    };
    enum status status = loopback_open(&sender.fd, &receive_fd, error);
    int64_t began_ns = clock_monotonic_ns();
    if (status == STATUS_OK) {
        errno = pthread_create(&sender.thread, NULL, sender_main, &sender);
        if (errno != 0)
            status = error_set_errno(error, "cannot start a thread");
    }
    if (status == STATUS_OK) {
        status = all_receive(receive_fd, sender.frames * sender.frame_size, error);
        double rate = (double)(sender.frames * CHUNK) / seconds_since(began_ns);
        micro_add(out, "limits_receive_events_per_second", rate, 0, "events/s, not looked at");
        int rc = pthread_join(sender.thread, NULL);
        must(rc == 0);
    }
    if (sender.fd >= 0)
        close(sender.fd);
    if (receive_fd >= 0)
        close(receive_fd);
    return status;
}

// --- memory ---

// Twice as many places as events, by the ids' hash, and sums by subject: a program that keeps
// everything in memory and writes nothing down.
struct counts {
    uint64_t *ids;
    uint64_t mask;
    uint64_t sums[10000][3];
    uint64_t events;
};

static bool
id_add(struct counts *counts, struct bytes id)
{
    uint64_t hash = hash64(id, 0) | 1;
    uint64_t place = hash >> 1 & counts->mask;
    while (counts->ids[place] != 0 && counts->ids[place] != hash)
        place = (place + 1) & counts->mask;
    bool is_new = counts->ids[place] == 0;
    counts->ids[place] = hash;
    return is_new;
}

static void
event_count(struct counts *counts, const struct generated *event)
{
    uint32_t subject = 0;
    if (!id_add(counts, event->id))
        return;
    for (size_t i = 2; i < event->subject.size; i++)
        subject = subject * 10 + (event->subject.data[i] - '0');
    uint64_t *sums = counts->sums[subject % 10000];
    sums[0]++;
    sums[1] += event->value;
    sums[2] += event->tokens;
    counts->events++;
}

static enum status
memory_measure(
    const struct micro_options *options,
    struct generator *generator,
    uint8_t *frame,
    struct micro_figures *out,
    struct error *error)
{
    uint64_t places = 1024, chunks = (uint64_t)options->events / CHUNK + 1;
    while (places < 2 * chunks * CHUNK)
        places *= 2;
    struct counts *counts = pool_take(1, sizeof *counts);
    uint64_t *ids = pool_take(places, sizeof *ids);
    int64_t counting_ns = 0;
    if (counts == NULL || ids == NULL) {
        pool_give(counts);
        pool_give(ids);
        return error_set(error, STATUS_NO_MEMORY, "no memory for %d events", CHUNK);
    }
    counts->ids = ids;
    counts->mask = places - 1;
    for (uint64_t chunk = 0; chunk < chunks; chunk++) {
        generator_fill(generator, frame, chunk, clock_now_ns());
        int64_t began_ns = clock_monotonic_ns();
        for (uint32_t i = 0; i < CHUNK; i++) {
            struct generated event;
            generator_event(generator, frame, i, &event);
            event_count(counts, &event);
        }
        counting_ns += clock_monotonic_ns() - began_ns;
    }
    bool is_right = counts->events == generator->totals.events;
    pool_give(ids);
    pool_give(counts);
    if (!is_right)
        return error_set(error, STATUS_CORRUPT, "events were mistaken for others");
    double rate = (double)(chunks * CHUNK) / ((double)counting_ns / 1e9);
    micro_add(out, "limits_memory_events_per_second", rate, 0, "events/s, nothing on disk");
    return STATUS_OK;
}

// --- LMDB, and the disk ---

static enum status
lmdb_write(struct env *env, uint64_t blocks, const uint8_t *block, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint64_t i = 1; i <= blocks && status == STATUS_OK; i++) {
        scoped(tx_done) struct tx tx = tx_write(env);
        tx_append(&tx, LOG_DB_BLOCKS, bytes_of(&i, sizeof i), bytes_of(block, BLOCK_SIZE));
        status = tx_commit(&tx, error);
    }
    return status;
}

static enum status
lmdb_measure(
    const char *dir,
    uint64_t blocks,
    const uint8_t *block,
    struct micro_figures *out,
    struct error *error)
{
    struct env *env = NULL;
    const struct env_options options = {
        .map_size = (blocks + 64) * BLOCK_SIZE * 2, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    enum status status = env_open(dir, &options, &env, error);
    if (status != STATUS_OK)
        return status;
    int64_t began_ns = clock_monotonic_ns();
    status = lmdb_write(env, blocks, block, error);
    double seconds = seconds_since(began_ns);
    env_close(env);
    double rate = (double)blocks * BLOCK_SIZE / seconds;
    micro_add(out, "limits_lmdb_bytes_per_second", rate, 0, "bytes/s, each MiB synced");
    return status;
}

static bool
block_write(int fd, const uint8_t *block, size_t size, off_t at)
{
    return pwrite(fd, block, size, at) == (ssize_t)size && fdatasync(fd) == 0;
}

static enum status
disk_measure(
    const char *dir,
    uint64_t blocks,
    const uint8_t *block,
    struct micro_figures *out,
    struct error *error)
{
    char path[PATH_MAX];
    double *syncs = pool_take(SYNCS_MAX, sizeof *syncs);
    int64_t count = (int64_t)(blocks < SYNCS_MAX ? blocks : SYNCS_MAX);
    (void)snprintf(path, sizeof path, "%.*s/raw", PATH_MAX - 8, dir);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool is_done = syncs != NULL && fd >= 0;
    int64_t began_ns = clock_monotonic_ns();
    for (uint64_t i = 0; i < blocks && is_done; i++)
        is_done = block_write(fd, block, BLOCK_SIZE, (off_t)(i * BLOCK_SIZE));
    double rate = (double)blocks * BLOCK_SIZE / seconds_since(began_ns);
    for (int64_t i = 0; i < count && is_done; i++) {
        int64_t sync_ns = clock_monotonic_ns();
        is_done = block_write(fd, block, SYNC_SIZE, 0);
        syncs[i] = (double)(clock_monotonic_ns() - sync_ns) / 1e3;
    }
    enum status status = STATUS_OK;
    if (is_done) {
        micro_add(out, "limits_disk_bytes_per_second", rate, 0, "bytes/s, each MiB synced");
        micro_add(out, "limits_disk_sync_p50_us", micro_median(syncs, count), 0, "us, 4 KiB");
    } else {
        status = error_set_errno(error, "cannot write to %s", path);
    }
    if (fd >= 0)
        close(fd);
    pool_give(syncs);
    return status;
}

static enum status
storage_measure(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    char dir[PATH_MAX];
    uint64_t blocks = (uint64_t)options->events * EVENT_SIZE / BLOCK_SIZE + 1;
    uint8_t *block = pool_take(1, BLOCK_SIZE);
    if (block == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a block");
    // Bytes that no disk makes smaller.
    random_fill(block, BLOCK_SIZE);
    enum status status = scratch_make(options->dir, dir, error);
    if (status == STATUS_OK)
        status = lmdb_measure(dir, blocks, block, out, error);
    if (status == STATUS_OK)
        status = disk_measure(dir, blocks, block, out, error);
    scratch_remove(dir);
    pool_give(block);
    return status;
}

// The first touch of memory, a small page at a time: a host that took it back has to find it again.
static enum status
touch_measure(struct micro_figures *out, struct error *error)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory = mmap(
        NULL,
        TOUCH_SIZE,
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
        -1,
        0);
    if (memory == MAP_FAILED)
        return error_set_errno(error, "no memory to touch");
    (void)madvise(memory, TOUCH_SIZE, MADV_NOHUGEPAGE);
    int64_t began_ns = clock_monotonic_ns();
    for (size_t at = 0; at < TOUCH_SIZE; at += page)
        ((volatile uint8_t *)memory)[at] = 1;
    double seconds = seconds_since(began_ns);
    must(munmap(memory, TOUCH_SIZE) == 0);
    micro_add(
        out,
        "limits_touch_bytes_per_second",
        (double)TOUCH_SIZE / seconds,
        0,
        "bytes/s of memory, touched for the first time");
    return STATUS_OK;
}

enum status
micro_limits(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    // First: what others give back is handed out before anything else.
    enum status status = touch_measure(out, error);
    if (status != STATUS_OK)
        return status;
    struct generator *generator = pool_take(1, sizeof *generator);
    uint8_t *frame = NULL;
    if (generator == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a generator");
    status = generator_make(options, generator, &frame, error);
    if (status == STATUS_OK)
        status = loopback_measure(options, generator, frame, out, error);
    if (status == STATUS_OK)
        status = memory_measure(options, generator, frame, out, error);
    pool_give(frame);
    pool_give(generator);
    return status == STATUS_OK ? storage_measure(options, out, error) : status;
}
