#include "ingest/announce.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char NAME[] = "tallyd.json";
static const char NAME_NEW[] = "tallyd.json.new";

static void
announce_print(const struct announce *facts, struct buffer *out)
{
    char started[CLOCK_TEXT_MAX];
    (void)clock_print(facts->started_ns, started);
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    json_key(&json, "pid");
    json_int(&json, getpid());
    json_key(&json, "version");
    json_text(&json, TALLY_VERSION);
    json_key(&json, "started");
    json_text(&json, started);
    json_key(&json, "shards");
    json_int(&json, facts->shards);
    json_key(&json, "tcp");
    json_text(&json, facts->tcp);
    json_key(&json, "udp");
    json_text(&json, facts->udp);
    json_key(&json, "unix");
    json_text(&json, facts->unix_path);
    json_key(&json, "metrics");
    json_text(&json, facts->metrics);
    json_end(&json, '}');
    buffer_text(out, "\n");
}

static void
dir_close(const int *dir_fd)
{
    if (*dir_fd >= 0)
        (void)close(*dir_fd);
}

static enum status
file_write(int dir_fd, struct bytes text, struct error *error)
{
    int fd = openat(dir_fd, NAME_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return error_set_errno(error, "cannot write %s", NAME_NEW);
    ssize_t size = 0;
    while (text.size > 0 && (size >= 0 || errno == EINTR)) {
        size = write(fd, text.data, text.size);
        if (size > 0)
            text = bytes_of(text.data + size, text.size - (size_t)size);
    }
    enum status status = STATUS_OK;
    if (text.size > 0)
        status = error_set_errno(error, "cannot write %s", NAME_NEW);
    (void)close(fd);
    return status;
}

enum status
announce_write(const char *dir, const struct announce *facts, struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    announce_print(facts, &text);
    if (buffer_failed(&text))
        return error_set(error, STATUS_NO_MEMORY, "no memory for %s", NAME);
    scoped(dir_close) int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return error_set_errno(error, "cannot open %s", dir);
    enum status status = file_write(dir_fd, buffer_view(&text), error);
    if (status)
        return status;
    if (renameat(dir_fd, NAME_NEW, dir_fd, NAME) < 0)
        return error_set_errno(error, "cannot rename %s in %s", NAME_NEW, dir);
    return STATUS_OK;
}

void
announce_remove(const char *dir)
{
    scoped(dir_close) int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd >= 0)
        (void)unlinkat(dir_fd, NAME, 0);
}
