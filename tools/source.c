#include "tools/source.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
source_skip(struct source *source, size_t size)
{
    must(size <= source_left(source));
    source->begin += size;
}

// Spreadsheets put a byte order mark in front of UTF-8; it is no part of the first column's name.
static void
mark_skip(struct source *source)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    if (source->is_started || (source_left(source) < sizeof mark && !source->is_end))
        return;
    source->is_started = true;
    if (source_left(source) >= sizeof mark && memcmp(source_text(source), mark, sizeof mark) == 0)
        source_skip(source, sizeof mark);
}

enum status
source_open(const char *path, struct arena *arena, struct source *out, struct error *error)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    struct stat info;
    bool is_known = fstat(fd, &info) == 0;
    if (is_known && S_ISDIR(info.st_mode)) {
        if (!is_stdin)
            close(fd);
        return error_set(error, STATUS_INVALID, "%s is a directory", path);
    }
    *out = (struct source){
        .fd = fd,
        .is_owned = !is_stdin,
        .name = is_stdin ? "standard input" : path,
        .window = arena_array(arena, SOURCE_WINDOW_SIZE, uint8_t),
        .size_bytes = is_known && S_ISREG(info.st_mode) ? info.st_size : -1,
    };
    return STATUS_OK;
}

void
source_open_bytes(struct bytes bytes, struct arena *arena, struct source *out)
{
    must(bytes.size <= SOURCE_WINDOW_SIZE);
    *out = (struct source){
        .fd = -1,
        .name = "memory",
        .window = arena_array(arena, bytes.size + 1, uint8_t),
        .end = bytes.size,
        .size_bytes = (int64_t)bytes.size,
        .read_bytes = bytes.size,
        .is_end = true,
    };
    if (bytes.size > 0)
        memcpy(out->window, bytes.data, bytes.size);
    mark_skip(out);
}

void
source_done(struct source *source)
{
    if (source->is_owned)
        close(source->fd);
    *source = (struct source){.fd = -1};
}

static enum status
window_read(struct source *source, struct error *error)
{
    ssize_t got;
    do
        got = read(source->fd, source->window + source->end, SOURCE_WINDOW_SIZE - source->end);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(error, "cannot read %s", source->name);
    source->is_end = got == 0;
    source->end += (size_t)got;
    source->read_bytes += (uint64_t)got;
    return STATUS_OK;
}

enum status
source_fill(struct source *source, struct error *error)
{
    must(source->window != NULL);
    if (source->begin > 0) {
        memmove(source->window, source_text(source), source_left(source));
        source->end -= source->begin;
        source->begin = 0;
    }
    if (source->is_end)
        return STATUS_OK;
    enum status status = STATUS_OK;
    do {
        if (source->end == SOURCE_WINDOW_SIZE)
            return error_set(error, STATUS_FULL, "%s: a record is too long", source->name);
        status = window_read(source, error);
        if (!status)
            mark_skip(source);
    } while (!status && !source->is_end && !source->is_started);
    return status;
}
