#include "ledger/head.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static const uint64_t HEAD_MAGIC = 0x4441454859414c54ULL;  // "TLAYHEAD"

struct head_bytes {
    uint64_t magic;
    uint64_t sequence;
    uint64_t block_checksum;
    uint64_t checksum;
};

_Static_assert(sizeof(struct head_bytes) == 32, "within one sector: written whole or not at all");

static uint64_t
head_checksum(const struct head_bytes *bytes)
{
    return hash64(bytes_of(bytes, offsetof(struct head_bytes, checksum)), 0);
}

static bool
head_put(int fd, uint64_t sequence, uint64_t checksum)
{
    struct head_bytes bytes = {HEAD_MAGIC, sequence, checksum, 0};
    bytes.checksum = head_checksum(&bytes);
    size_t at = 0;
    while (at < sizeof bytes) {
        ssize_t size = pwrite(fd, (const uint8_t *)&bytes + at, sizeof bytes - at, (off_t)at);
        if (size < 0 && errno != EINTR)
            return false;
        if (size > 0)
            at += (size_t)size;
    }
    return true;
}

static enum status
head_refuse(const char *path, const char *what, struct error *error)
{
    return error_set(
        error,
        STATUS_CORRUPT,
        "%s is %s: restore the ledger from a backup, or, if its log is known to be whole, put an "
        "empty file there",
        path,
        what);
}

enum status
head_read(const char *path, struct head_place *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return head_refuse(path, "missing", error);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    struct head_bytes bytes[2];
    ssize_t size = pread(fd, bytes, sizeof bytes, 0);
    enum status status = size < 0 ? error_set_errno(error, "cannot read %s", path) : STATUS_OK;
    (void)close(fd);
    if (status)
        return status;
    if (size == 0) {
        *out = (struct head_place){.state = HEAD_EMPTY};
        return STATUS_OK;
    }
    if (size != (ssize_t)sizeof bytes[0] || bytes[0].magic != HEAD_MAGIC ||
        bytes[0].checksum != head_checksum(&bytes[0]))
        return head_refuse(path, "damaged", error);
    *out = (struct head_place){HEAD_WRITTEN, bytes[0].sequence, bytes[0].block_checksum};
    return STATUS_OK;
}

enum status
head_make(const char *path, struct error *error)
{
    struct head_place place;
    struct error torn;
    bool is_there = head_read(path, &place, &torn) == STATUS_OK && place.state == HEAD_WRITTEN;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    if (fd < 0)
        return error_set_errno(error, "cannot make %s", path);
    enum status status = STATUS_OK;
    if ((!is_there && (ftruncate(fd, 0) != 0 || !head_put(fd, 0, 0))) || fsync(fd) != 0)
        status = error_set_errno(error, "cannot write %s", path);
    (void)close(fd);
    return status;
}

enum status
head_open(const char *path, struct head_file *out, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return head_refuse(path, "missing", error);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    *out = (struct head_file){.fd = fd};
    return STATUS_OK;
}

enum status
head_write(struct head_file *head, uint64_t sequence, uint64_t checksum, struct error *error)
{
    must(head->fd > 0 && sequence > 0);
    if (!head_put(head->fd, sequence, checksum))
        return error_set_errno(error, "cannot write the head of the log");
    head->is_dirty = true;
    return STATUS_OK;
}

enum status
head_sync(struct head_file *head, int64_t now_ns, struct error *error)
{
    if (!head->is_dirty || now_ns - head->synced_ns < SECOND_NS)
        return STATUS_OK;
    if (fdatasync(head->fd) != 0)
        return error_set_errno(error, "cannot sync the head of the log");
    head->is_dirty = false;
    head->synced_ns = now_ns;
    return STATUS_OK;
}

void
head_close(struct head_file *head)
{
    if (head->fd > 0)
        (void)close(head->fd);
    *head = (struct head_file){0};
}
