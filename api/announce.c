#include "api/announce.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "tally-api.json";

static void
facts_print(const char *address, bool is_tls, int64_t started_ns, struct buffer *out)
{
    char started[CLOCK_TEXT_MAX];
    (void)clock_print(started_ns, started);
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    json_key(&json, "pid");
    json_int(&json, getpid());
    json_key(&json, "version");
    json_text(&json, TALLY_VERSION);
    json_key(&json, "started");
    json_text(&json, started);
    json_key(&json, "http");
    json_text(&json, address);
    json_key(&json, "tls");
    json_bool(&json, is_tls);
    json_end(&json, '}');
    buffer_text(out, "\n");
}

static enum status
file_write(const char *path, struct bytes text, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return error_set_errno(error, "cannot write %s", path);
    ssize_t size = write(fd, text.data, text.size);
    int write_errno = size < 0 ? errno : ENOSPC;
    (void)close(fd);
    if (size == (ssize_t)text.size)
        return STATUS_OK;
    errno = write_errno;
    return error_set_errno(error, "cannot write %s", path);
}

enum status
api_announce(
    const char *dir, const char *address, bool is_tls, int64_t started_ns, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0};
    facts_print(address, is_tls, started_ns, &text);
    if (buffer_failed(&text))
        return error_set(error, STATUS_NO_MEMORY, "no memory for %s", NAME);
    const char *path = arena_format(&arena, "%s/%s", dir, NAME);
    const char *fresh = arena_format(&arena, "%s.new", path);
    enum status status = file_write(fresh, buffer_view(&text), error);
    if (status == STATUS_OK && rename(fresh, path) < 0)
        return error_set_errno(error, "cannot rename %s", fresh);
    return status;
}

// Whether the file is of this process, and not of one that began before we ended.
static bool
is_ours(const char *path)
{
    char begin[64], read_begin[64];
    int size = snprintf(begin, sizeof begin, "{\"pid\":%d,", (int)getpid());
    must(size > 0 && (size_t)size < sizeof begin);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    ssize_t read_size = read(fd, read_begin, (size_t)size);
    (void)close(fd);
    return read_size == size && memcmp(begin, read_begin, (size_t)size) == 0;
}

void
api_announce_remove(const char *dir)
{
    scoped(arena_done) struct arena arena = {0};
    const char *path = arena_format(&arena, "%s/%s", dir, NAME);
    if (is_ours(path))
        (void)unlink(path);
}
