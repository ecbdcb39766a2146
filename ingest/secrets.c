#include "ingest/secrets.h"

#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void
fd_close(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static enum status
file_check(int fd, const char *path, bool is_secret, struct error *error)
{
    struct stat state;
    if (fstat(fd, &state) < 0)
        return error_set_errno(error, "cannot look at %s", path);
    if (!S_ISREG(state.st_mode))
        return error_set(error, STATUS_INVALID, "%s is no file", path);
    if (is_secret && (state.st_mode & (S_IRWXO | S_IWGRP)))
        return error_set(
            error,
            STATUS_INVALID,
            "%s holds secrets, but its mode is %04o: chmod 600 it (640 for a group that may read)",
            path,
            (unsigned)(state.st_mode & 07777));
    if (state.st_size > SECRETS_FILE_MAX)
        return error_set(error, STATUS_INVALID, "%s is too large", path);
    return STATUS_OK;
}

static enum status
file_read(
    const char *path, bool is_secret, struct arena *arena, struct bytes *out, struct error *error)
{
    scoped(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    enum status status = file_check(fd, path, is_secret, error);
    if (status)
        return status;
    scoped(buffer_done) struct buffer text = {.limit = SECRETS_FILE_MAX};
    char piece[4096];
    ssize_t size;
    while ((size = read(fd, piece, sizeof piece)) > 0)
        buffer_put(&text, piece, (size_t)size);
    if (size < 0)
        return error_set_errno(error, "cannot read %s", path);
    if (buffer_failed(&text))
        return error_set(error, STATUS_INVALID, "%s is too large", path);
    *out = arena_bytes(arena, buffer_view(&text));
    return STATUS_OK;
}

enum status
secrets_read(const char *path, struct arena *arena, struct bytes *out, struct error *error)
{
    return file_read(path, true, arena, out, error);
}

enum status
public_read(const char *path, struct arena *arena, struct bytes *out, struct error *error)
{
    return file_read(path, false, arena, out, error);
}
