// Invariants:
// 1. A file with the name .batch is whole: it got its name after its last byte (and, with
//    is_sync, after both were on disk).
// 2. A file is removed only after its batch's ack, so that a crash leaves too much, never too
//    little; what is left too much is sent again under its old name, and counts nothing twice.
#include "client/spool.h"

#include "base/assert.h"
#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    NAME_SIZE = UUID7_TEXT_SIZE + 8,  // with the longest suffix and a NUL
    MAGIC_SIZE = 8,
    BACKFILL_FIELD_SIZE = 104,
    CHECKED_OFFSET = MAGIC_SIZE + 8,  // the checksum covers what comes after it
};

static const char MAGIC[MAGIC_SIZE + 1] = "TALLYSP1";
static const char SUFFIX_BATCH[] = ".batch";
static const char SUFFIX_TMP[] = ".tmp";
static const char SUFFIX_BAD[] = ".bad";

_Static_assert(
    SPOOL_HEADER_SIZE == CHECKED_OFFSET + 4 + 4 + UUID7_TEXT_SIZE + BACKFILL_FIELD_SIZE,
    "the header is what the picture says");
_Static_assert((int)BACKFILL_FIELD_SIZE > (int)BACKLOG_BACKFILL_MAX, "a name ends with a zero");

static void
name_print(const char chunk[UUID7_TEXT_SIZE], const char *suffix, char out[NAME_SIZE])
{
    (void)snprintf(out, NAME_SIZE, "%.*s%s", UUID7_TEXT_SIZE, chunk, suffix);
}

uint64_t
spool_file_size(const struct batch *batch)
{
    return SPOOL_HEADER_SIZE + batch->events_size;
}

bool
spool_has_room(const struct spool *spool, size_t events_size)
{
    uint64_t needed = spool->used_size + SPOOL_HEADER_SIZE + events_size;
    return needed <= spool->size_max;
}

// --- open and close ---

static enum status
lock_take(struct spool *spool, const char *path, struct error *error)
{
    spool->lock_fd = openat(spool->directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (spool->lock_fd < 0)
        return error_set_errno(error, "cannot make %s/lock", path);
    if (flock(spool->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return STATUS_OK;
    if (errno == EWOULDBLOCK)
        return error_set(error, STATUS_BUSY, "spool_dir %s is in use by another handle", path);
    return error_set_errno(error, "cannot lock %s/lock", path);
}

// A new directory survives a power loss when the one that it is in is on disk.
static enum status
parent_sync(const struct spool *spool, const char *path, struct error *error)
{
    int fd = openat(spool->directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open the directory of spool_dir %s", path);
    enum status status = STATUS_OK;
    if (fsync(fd) != 0)
        status = error_set_errno(error, "cannot sync the directory of spool_dir %s", path);
    close(fd);
    return status;
}

enum status
spool_open(struct spool *spool, const struct spool_options *options, struct error *error)
{
    const char *path = options->path;
    *spool = (struct spool){
        .is_open = true,
        .is_sync = options->is_sync,
        .directory_fd = -1,
        .lock_fd = -1,
        .size_max = options->size_max,
    };
    enum status status = STATUS_OK;
    bool is_new = mkdir(path, 0700) == 0;
    if (!is_new && errno != EEXIST)
        status = error_set_errno(error, "cannot make spool_dir %s", path);
    if (status == STATUS_OK) {
        spool->directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (spool->directory_fd < 0)
            status = error_set_errno(error, "cannot open spool_dir %s", path);
    }
    if (status == STATUS_OK && is_new && spool->is_sync)
        status = parent_sync(spool, path, error);
    if (status == STATUS_OK)
        status = lock_take(spool, path, error);
    if (status != STATUS_OK)
        spool_close(spool);
    return status;
}

void
spool_close(struct spool *spool)
{
    if (!spool->is_open)
        return;
    if (spool->lock_fd >= 0)
        close(spool->lock_fd);
    if (spool->directory_fd >= 0)
        close(spool->directory_fd);
    *spool = (struct spool){0};
}

// --- scan ---

static bool
name_is(const char *name, const char *suffix)
{
    size_t size = strspn(name, "0123456789abcdef-");
    return size == UUID7_TEXT_SIZE && strcmp(name + size, suffix) == 0;
}

static int
chunks_compare(const void *a, const void *b)
{
    return memcmp(a, b, UUID7_TEXT_SIZE);
}

uint64_t
spool_stored_size(const struct spool *spool, const char chunk[UUID7_TEXT_SIZE])
{
    struct stat info;
    char name[NAME_SIZE];
    name_print(chunk, SUFFIX_BATCH, name);
    if (fstatat(spool->directory_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return (uint64_t)info.st_size;
}

static void
entry_scan(struct spool *spool, const char *name, struct buffer *names)
{
    if (name_is(name, SUFFIX_TMP))
        (void)unlinkat(spool->directory_fd, name, 0);
    if (!name_is(name, SUFFIX_BATCH))
        return;
    spool->used_size += spool_stored_size(spool, name);
    buffer_put(names, name, UUID7_TEXT_SIZE);
}

enum status
spool_scan(struct spool *spool, struct buffer *out_names, struct error *error)
{
    int fd = openat(spool->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory == NULL) {
        enum status status = error_set_errno(error, "cannot read spool_dir");
        if (fd >= 0)
            close(fd);
        return status;
    }
    spool->used_size = 0;
    // Only this thread reads this directory stream.
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)  // NOLINT
        entry_scan(spool, entry->d_name, out_names);
    closedir(directory);
    if (buffer_failed(out_names))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the names of the spool's files");
    // A chunk begins with its time, so this is the order in which they were sealed.
    if (out_names->size > 0)
        qsort(out_names->data, out_names->size / UUID7_TEXT_SIZE, UUID7_TEXT_SIZE, chunks_compare);
    return STATUS_OK;
}

// --- write ---

static void
header_print(const struct batch *batch, struct bytes events, uint8_t out[SPOOL_HEADER_SIZE])
{
    struct buffer header = {.data = out, .capacity = SPOOL_HEADER_SIZE, .limit = SPOOL_HEADER_SIZE};
    char backfill[BACKFILL_FIELD_SIZE] = "";
    memcpy(backfill, batch->backfill, sizeof batch->backfill);
    buffer_put(&header, MAGIC, MAGIC_SIZE);
    buffer_u64le(&header, 0);
    buffer_u32le(&header, (uint32_t)batch->events_size);
    buffer_u32le(&header, batch->events_count);
    buffer_put(&header, batch->chunk, sizeof batch->chunk);
    buffer_put(&header, backfill, sizeof backfill);
    must(!buffer_failed(&header) && header.size == SPOOL_HEADER_SIZE);
    // The events' own hash is the seed of the header's: one pass, no copy.
    uint64_t sum = hash64(events, 0);
    sum = hash64(bytes_of(out + CHECKED_OFFSET, SPOOL_HEADER_SIZE - CHECKED_OFFSET), sum);
    memcpy(out + MAGIC_SIZE, &sum, sizeof sum);
}

static bool
parts_write(int fd, struct bytes header, struct bytes events)
{
    size_t whole = header.size + events.size;
    for (size_t done = 0; done < whole;) {
        struct bytes part = done < header.size
                                ? bytes_of(header.data + done, header.size - done)
                                : bytes_of(events.data + (done - header.size), whole - done);
        ssize_t size = write(fd, part.data, part.size);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return false;
        done += (size_t)size;
    }
    return true;
}

static enum status
file_fill(const struct spool *spool, int fd, const struct batch *batch, struct error *error)
{
    uint8_t header[SPOOL_HEADER_SIZE];
    struct bytes events = backlog_events(batch);
    header_print(batch, events, header);
    if (!parts_write(fd, bytes_of(header, sizeof header), events))
        return error_set_errno(error, "cannot write a batch to spool_dir");
    if (spool->is_sync && fsync(fd) != 0)
        return error_set_errno(error, "cannot sync a batch in spool_dir");
    return STATUS_OK;
}

static enum status
file_publish(const struct spool *spool, const char *from, const char *to, struct error *error)
{
    if (renameat(spool->directory_fd, from, spool->directory_fd, to) != 0)
        return error_set_errno(error, "cannot rename %s in spool_dir", from);
    if (spool->is_sync && fsync(spool->directory_fd) != 0)
        return error_set_errno(error, "cannot sync spool_dir");
    return STATUS_OK;
}

enum status
spool_write(struct spool *spool, const struct batch *batch, struct error *error)
{
    char tmp[NAME_SIZE], name[NAME_SIZE];
    must(spool->is_open);
    must(batch->events_size <= SPOOL_EVENTS_SIZE_MAX && batch->events_count <= SPOOL_EVENTS_MAX);
    name_print(batch->chunk, SUFFIX_TMP, tmp);
    name_print(batch->chunk, SUFFIX_BATCH, name);
    int fd = openat(spool->directory_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(error, "cannot make %s in spool_dir", tmp);
    enum status status = file_fill(spool, fd, batch, error);
    if (close(fd) != 0 && status == STATUS_OK)
        status = error_set_errno(error, "cannot close %s in spool_dir", tmp);
    if (status == STATUS_OK)
        status = file_publish(spool, tmp, name, error);
    if (status != STATUS_OK) {
        // Under either name it must not come back: this batch counts as not spooled.
        (void)unlinkat(spool->directory_fd, tmp, 0);
        (void)unlinkat(spool->directory_fd, name, 0);
        return status;
    }
    spool->used_size += spool_file_size(batch);
    return STATUS_OK;
}

// --- read ---

static enum status
file_load(int fd, struct buffer *out, struct error *error)
{
    enum { PIECE_SIZE = 256 * 1024 };
    buffer_reset(out);
    for (;;) {
        uint8_t *place = buffer_reserve(out, PIECE_SIZE);
        if (place == NULL)
            return error_set(error, STATUS_CORRUPT, "the file is larger than any batch");
        ssize_t size = read(fd, place, PIECE_SIZE);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return error_set_errno(error, "cannot read a batch from spool_dir");
        if (size == 0)
            return STATUS_OK;
        buffer_commit(out, (size_t)size);
    }
}

// Takes the file apart; nothing in it is believed before the checksum was right.
static bool
file_parse(
    struct bytes file,
    const char chunk[UUID7_TEXT_SIZE],
    struct batch *out,
    struct bytes *out_events)
{
    struct cursor in = cursor_over(file);
    struct bytes magic = cursor_take(&in, MAGIC_SIZE);
    uint64_t sum = cursor_u64le(&in);
    struct bytes checked = bytes_of(in.at, SPOOL_HEADER_SIZE - CHECKED_OFFSET);
    uint32_t events_size = cursor_u32le(&in);
    uint32_t events_count = cursor_u32le(&in);
    struct bytes name = cursor_take(&in, UUID7_TEXT_SIZE);
    struct bytes backfill = cursor_take(&in, BACKFILL_FIELD_SIZE);
    struct bytes events = cursor_take(&in, events_size);
    if (cursor_failed(&in) || cursor_left(&in) > 0)
        return false;
    if (!bytes_equal(magic, bytes_of(MAGIC, MAGIC_SIZE)) ||
        hash64(checked, hash64(events, 0)) != sum)
        return false;
    bool is_in_range = events_size > 0 && events_size <= SPOOL_EVENTS_SIZE_MAX &&
                       events_count > 0 && events_count <= SPOOL_EVENTS_MAX;
    if (!is_in_range || !bytes_equal(name, bytes_of(chunk, UUID7_TEXT_SIZE)))
        return false;
    *out = (struct batch){.events_size = events_size, .events_count = events_count};
    memcpy(out->chunk, chunk, sizeof out->chunk);
    memcpy(out->backfill, backfill.data, BACKLOG_BACKFILL_MAX);
    *out_events = events;
    return true;
}

enum status
spool_read(
    const struct spool *spool,
    const char chunk[UUID7_TEXT_SIZE],
    struct buffer *scratch,
    struct batch *out,
    struct bytes *out_events,
    struct error *error)
{
    char name[NAME_SIZE];
    name_print(chunk, SUFFIX_BATCH, name);
    int fd = openat(spool->directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s in spool_dir", name);
    enum status status = file_load(fd, scratch, error);
    close(fd);
    if (status == STATUS_OK && !file_parse(buffer_view(scratch), chunk, out, out_events))
        status = error_set(error, STATUS_CORRUPT, "%s is not what was written", name);
    return status;
}

// --- remove ---

enum status
spool_remove(const struct spool *spool, const char chunk[UUID7_TEXT_SIZE], struct error *error)
{
    char name[NAME_SIZE];
    name_print(chunk, SUFFIX_BATCH, name);
    if (unlinkat(spool->directory_fd, name, 0) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot remove %s from spool_dir", name);
    return STATUS_OK;
}

enum status
spool_set_aside(const struct spool *spool, const char chunk[UUID7_TEXT_SIZE], struct error *error)
{
    char name[NAME_SIZE], bad[NAME_SIZE];
    name_print(chunk, SUFFIX_BATCH, name);
    name_print(chunk, SUFFIX_BAD, bad);
    return file_publish(spool, name, bad, error);
}
