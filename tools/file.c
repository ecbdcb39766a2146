#include "tools/file.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

// Reads until the end or size bytes; returns how many, or -1.
static ssize_t
read_all(int fd, uint8_t *data, size_t size)
{
    size_t total = 0;
    while (total < size) {
        ssize_t got = read(fd, data + total, size - total);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        total += (size_t)got;
    }
    return (ssize_t)total;
}

enum status
file_read(const char *path, struct arena *arena, struct bytes *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(error, STATUS_NOT_FOUND, "there is no %s", path);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    struct stat info;
    size_t room = fstat(fd, &info) == 0 && info.st_size > 0 ? (size_t)info.st_size + 1 : 4096;
    if (room > FILE_READ_MAX) {
        close(fd);
        return error_set(error, STATUS_FULL, "%s is longer than %d bytes", path, FILE_READ_MAX);
    }
    uint8_t *data = arena_array(arena, room, uint8_t);
    ssize_t got = read_all(fd, data, room);
    close(fd);
    if (got < 0)
        return error_set_errno(error, "cannot read %s", path);
    *out = bytes_of(data, (size_t)got);
    return STATUS_OK;
}

static bool
write_all(int fd, struct bytes text)
{
    size_t total = 0;
    while (total < text.size) {
        ssize_t put = write(fd, text.data + total, text.size - total);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        total += (size_t)put;
    }
    return fsync(fd) == 0;
}

enum status
file_write(const char *path, mode_t mode, struct bytes text, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    const char *fresh = arena_format(&arena, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(error, "cannot write %s", fresh);
    bool is_done = fchmod(fd, mode) == 0 && write_all(fd, text);
    int failure = errno;
    close(fd);
    if (is_done && rename(fresh, path) == 0)
        return STATUS_OK;
    errno = is_done ? errno : failure;
    enum status status = error_set_errno(error, "cannot write %s", path);
    unlink(fresh);
    return status;
}

int64_t
file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? info.st_size : 0;
}

const char *
file_tail(const char *path, int64_t offset, size_t size_max, struct arena *arena)
{
    int64_t end = file_size(path);
    if (end - offset > (int64_t)size_max)
        offset = end - (int64_t)size_max;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "";
    uint8_t *data = arena_array(arena, size_max + 1, uint8_t);
    ssize_t got = lseek(fd, offset, SEEK_SET) < 0 ? -1 : read_all(fd, data, size_max);
    close(fd);
    return got > 0 ? arena_text_of(arena, bytes_of(data, (size_t)got)) : "";
}

enum status
folder_make(const char *path, mode_t mode, struct error *error)
{
    if (mkdir(path, mode) == 0) {
        if (chmod(path, mode) < 0)
            return error_set_errno(error, "cannot change the mode of %s", path);
        return STATUS_OK;
    }
    struct stat info;
    if (errno != EEXIST)
        return error_set_errno(error, "cannot make the folder %s", path);
    if (stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
        return error_set(error, STATUS_INVALID, "%s is not a folder", path);
    return STATUS_OK;
}

int64_t
folder_disk_bytes(const char *path)
{
    scoped(arena_done) struct arena arena = {0};
    char *roots[] = {arena_text(&arena, path), NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!walk)
        return 0;
    int64_t total = 0;
    for (FTSENT *entry = fts_read(walk); entry; entry = fts_read(walk))
        if (entry->fts_info == FTS_F || entry->fts_info == FTS_D)
            total += entry->fts_statp->st_blocks * 512;
    fts_close(walk);
    return total;
}

void
folder_remove(const char *path)
{
    scoped(arena_done) struct arena arena = {0};
    char *roots[] = {arena_text(&arena, path), NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!walk)
        return;
    for (FTSENT *entry = fts_read(walk); entry; entry = fts_read(walk)) {
        if (entry->fts_info == FTS_DP)
            rmdir(entry->fts_accpath);
        else if (entry->fts_info != FTS_D)
            unlink(entry->fts_accpath);
    }
    fts_close(walk);
}
