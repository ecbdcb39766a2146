#include "tools/tallyd.h"

#include "base/clock.h"
#include "base/json.h"
#include "tools/file.h"
#include "tools/process.h"

#include <sys/stat.h>

// What a start time read from /proc may be off by.
static const int64_t START_SLACK_NS = 2 * 1000000000LL;

static const char *
member_text(const struct json *root, const char *key, struct arena *arena)
{
    const struct json *member = json_member(root, key);
    bool is_text = member && member->type == JSON_STRING;
    return is_text ? arena_text_of(arena, member->text) : "";
}

enum status
tallyd_read(const char *data, struct arena *arena, struct tallyd *out, struct error *error)
{
    const char *path = arena_format(arena, "%s/tallyd.json", data);
    struct bytes text;
    struct json *root;
    enum status status = file_read(path, arena, &text, error);
    if (status)
        return status;
    status = json_parse(text, NULL, arena, &root, error);
    if (status)
        return error_prefix(error, "%s", path);
    const struct json *pid_member = json_member(root, "pid");
    int64_t pid = 0;
    if (!pid_member || json_int64(pid_member, &pid) || pid <= 0 || pid > INT32_MAX)
        return error_set(error, STATUS_INVALID, "%s names no process", path);
    *out = (struct tallyd){
        .pid = (pid_t)pid,
        .tcp = member_text(root, "tcp", arena),
        .udp = member_text(root, "udp", arena),
        .unix_path = member_text(root, "unix", arena),
        .metrics = member_text(root, "metrics", arena),
    };
    return STATUS_OK;
}

bool
tallyd_is_running(const char *data, const struct tallyd *tallyd)
{
    scoped(arena_done) struct arena arena = {0};
    struct stat info;
    if (stat(arena_format(&arena, "%s/tallyd.json", data), &info) < 0)
        return false;
    int64_t written_ns = info.st_mtim.tv_sec * SECOND_NS + info.st_mtim.tv_nsec;
    int64_t started_ns = process_started_ns(tallyd->pid);
    return process_is(tallyd->pid, "tallyd") && started_ns <= written_ns + START_SLACK_NS;
}
