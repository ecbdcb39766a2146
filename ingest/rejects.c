#include "ingest/rejects.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/ring.h"
#include "ingest/throttle.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REJECTS_SLOTS = 1024 };

struct rejects {
    // Slots travel: free (collector to front), then filled (front to collector).
    struct reject *slots;
    struct ring free;
    struct ring filled;
    struct metric *unlisted;
    // Under the lock, control plane only:
    pthread_mutex_t lock;
    struct reject *listed;  // a ring of REJECTS_LISTED, oldest at listed_start
    uint32_t listed_start;
    uint32_t listed_count;
    int dir_fd;  // -1: no file
    int64_t second_start_ns;
    uint32_t second_lines;
    struct buffer lines;
    struct throttle warnings;
};

static void
rejects_fill_free(struct rejects *rejects)
{
    for (uint32_t i = 0; i < REJECTS_SLOTS; i++) {
        bool is_pushed = ring_push(&rejects->free, &rejects->slots[i]);
        must(is_pushed);
    }
}

enum status
rejects_open(const char *dir, struct metric *unlisted, struct rejects **out, struct error *error)
{
    struct rejects *rejects = pool_take(1, sizeof *rejects);
    if (rejects == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the reject log");
    rejects->dir_fd = -1;
    rejects->unlisted = unlisted;
    (void)pthread_mutex_init(&rejects->lock, NULL);
    rejects->slots = pool_take(REJECTS_SLOTS, sizeof *rejects->slots);
    rejects->listed = pool_take(REJECTS_LISTED, sizeof *rejects->listed);
    enum status status = ring_init(&rejects->free, REJECTS_SLOTS);
    if (status == STATUS_OK)
        status = ring_init(&rejects->filled, REJECTS_SLOTS);
    if (status || rejects->slots == NULL || rejects->listed == NULL) {
        rejects_close(rejects);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the reject log");
    }
    rejects_fill_free(rejects);
    if (dir != NULL) {
        rejects->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (rejects->dir_fd < 0) {
            status = error_set_errno(error, "cannot open %s for the reject log", dir);
            rejects_close(rejects);
            return status;
        }
    }
    *out = rejects;
    return STATUS_OK;
}

void
rejects_close(struct rejects *rejects)
{
    if (rejects == NULL)
        return;
    if (rejects->dir_fd >= 0)
        (void)close(rejects->dir_fd);
    ring_done(&rejects->free);
    ring_done(&rejects->filled);
    buffer_done(&rejects->lines);
    pool_give(rejects->slots);
    pool_give(rejects->listed);
    (void)pthread_mutex_destroy(&rejects->lock);
    pool_give(rejects);
}

struct reject *
rejects_take(struct rejects *rejects)
{
    struct reject *reject = ring_pop(&rejects->free);
    if (reject == NULL && rejects->unlisted != NULL)
        metric_add(rejects->unlisted, 1);
    return reject;
}

void
rejects_give(struct rejects *rejects, struct reject *reject)
{
    // As many places as slots: it cannot be full.
    bool is_pushed = ring_push(&rejects->filled, reject);
    must(is_pushed);
}

uint8_t
reject_text_set(uint8_t out[REJECT_TEXT_MAX], struct bytes text)
{
    size_t size = text.size < REJECT_TEXT_MAX ? text.size : (size_t)REJECT_TEXT_MAX;
    if (size > 0)
        memcpy(out, text.data, size);
    return (uint8_t)size;
}

static void
reject_member(struct json_out *out, const char *key, const uint8_t *data, uint8_t size)
{
    if (size == 0)
        return;
    json_key(out, key);
    json_string(out, bytes_of(data, size));
}

static void
reject_print(const struct reject *reject, struct buffer *out)
{
    char time[CLOCK_TEXT_MAX];
    (void)clock_print(reject->time_ns, time);
    struct json_out line = json_out_to(out);
    json_begin(&line, '{');
    json_key(&line, "time");
    json_text(&line, time);
    json_key(&line, "peer");
    json_text(&line, reject->peer);
    json_key(&line, "reason");
    json_text(&line, reject->reason);
    reject_member(&line, "subject", reject->subject, reject->subject_size);
    reject_member(&line, "type", reject->type, reject->type_size);
    reject_member(&line, "id", reject->id, reject->id_size);
    json_key(&line, "index");
    json_int(&line, reject->index);
    json_end(&line, '}');
    buffer_text(out, "\n");
}

static void
listed_add(struct rejects *rejects, const struct reject *reject)
{
    uint32_t at = (rejects->listed_start + rejects->listed_count) % REJECTS_LISTED;
    rejects->listed[at] = *reject;
    if (rejects->listed_count < REJECTS_LISTED)
        rejects->listed_count++;
    else
        rejects->listed_start = (rejects->listed_start + 1) % REJECTS_LISTED;
}

static bool
file_has_quota(struct rejects *rejects)
{
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns - rejects->second_start_ns >= SECOND_NS) {
        rejects->second_start_ns = now_ns;
        rejects->second_lines = 0;
    }
    return rejects->dir_fd >= 0 && rejects->second_lines++ < REJECTS_WRITTEN;
}

// All of it or nothing: a line that is cut is no NDJSON.
static bool
lines_write(int fd, struct bytes lines)
{
    struct stat before;
    bool is_written = fstat(fd, &before) == 0;
    while (is_written && lines.size > 0) {
        ssize_t count = write(fd, lines.data, lines.size);
        if (count > 0)
            lines = bytes_of(lines.data + count, lines.size - (size_t)count);
        else
            is_written = count < 0 && errno == EINTR;
    }
    if (is_written)
        return true;
    int cause = errno;
    if (ftruncate(fd, before.st_size) != 0)
        log_warn("rejects_cut", LOG_TEXT("advice", "the last line of rejects.ndjson is not whole"));
    errno = cause;
    return false;
}

static bool
file_write(struct rejects *rejects)
{
    int fd = openat(
        rejects->dir_fd,
        "rejects.ndjson",
        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
        0640);
    if (fd < 0)
        return false;
    bool is_written = lines_write(fd, buffer_view(&rejects->lines));
    int cause = errno;
    (void)close(fd);
    errno = cause;
    return is_written;
}

// A reject log that cannot be written (a full disk) must not stop the metering: the lines are
// dropped, the list in memory stays.
static void
file_append(struct rejects *rejects)
{
    struct stat state;
    uint64_t suppressed;
    if (rejects->lines.size == 0 || buffer_failed(&rejects->lines))
        return;
    if (fstatat(rejects->dir_fd, "rejects.ndjson", &state, AT_SYMLINK_NOFOLLOW) == 0 &&
        state.st_size + (off_t)rejects->lines.size > REJECTS_FILE_MAX)
        (void)renameat(rejects->dir_fd, "rejects.ndjson", rejects->dir_fd, "rejects.ndjson.1");
    if (file_write(rejects))
        return;
    const char *cause = strerrordesc_np(errno);
    if (throttle_allows(&rejects->warnings, clock_monotonic_ns(), &suppressed))
        log_warn(
            "rejects_unwritten",
            LOG_TEXT("error", cause),
            LOG_INT("suppressed", suppressed),
            LOG_TEXT(
                "advice",
                "make room for rejects.ndjson; events are taken, /rejects has the last refused"));
}

void
rejects_collect(struct rejects *rejects)
{
    (void)pthread_mutex_lock(&rejects->lock);
    buffer_reset(&rejects->lines);
    for (uint32_t i = 0; i < REJECTS_SLOTS; i++) {
        struct reject *reject = ring_pop(&rejects->filled);
        if (reject == NULL)
            break;
        listed_add(rejects, reject);
        if (file_has_quota(rejects))
            reject_print(reject, &rejects->lines);
        bool is_pushed = ring_push(&rejects->free, reject);
        must(is_pushed);
    }
    file_append(rejects);
    (void)pthread_mutex_unlock(&rejects->lock);
}

void
rejects_print(struct rejects *rejects, struct buffer *out)
{
    (void)pthread_mutex_lock(&rejects->lock);
    for (uint32_t i = 0; i < rejects->listed_count; i++)
        reject_print(&rejects->listed[(rejects->listed_start + i) % REJECTS_LISTED], out);
    (void)pthread_mutex_unlock(&rejects->lock);
}
