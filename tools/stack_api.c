#include "tools/stack_api.h"

#include "base/clock.h"
#include "base/http_get.h"
#include "base/json.h"
#include "tools/file.h"
#include "tools/process.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { HEALTH_TIMEOUT_MS = 3000, LOOK_MS = 20, LOG_TAIL_SIZE = 500, ARGUMENTS = 9 };

static const int64_t STOP_TIMEOUT_NS = 60 * 1000000000LL;
// What a start time read from /proc may be off by.
static const int64_t START_SLACK_NS = 2 * 1000000000LL;

struct api_process {
    pid_t pid;
    const char *http;
    bool is_tls;
};

static enum status
api_read(const struct stack *stack, struct api_process *out, struct error *error)
{
    struct arena *arena = stack->arena;
    const char *path = arena_format(arena, "%s/tally-api.json", stack->data);
    struct bytes text;
    struct json *root;
    struct stat info;
    int64_t pid = 0;
    enum status status = file_read(path, arena, &text, error);
    if (!status)
        status = json_parse(text, NULL, arena, &root, error);
    if (status)
        return status;
    const struct json *http = json_member(root, "http");
    const struct json *number = json_member(root, "pid");
    bool is_right = http != NULL && http->type == JSON_STRING && number != NULL &&
                    json_int64(number, &pid) == STATUS_OK && pid > 0 && pid <= INT32_MAX;
    if (!is_right || stat(path, &info) < 0)
        return error_set(error, STATUS_INVALID, "%s names no process", path);
    int64_t written_ns = info.st_mtim.tv_sec * SECOND_NS + info.st_mtim.tv_nsec;
    if (!process_is((pid_t)pid, "tally-api") ||
        process_started_ns((pid_t)pid) > written_ns + START_SLACK_NS)
        return error_set(error, STATUS_NOT_FOUND, "tally-api does not run");
    const struct json *tls = json_member(root, "tls");
    *out = (struct api_process){
        .pid = (pid_t)pid,
        .http = arena_text_of(arena, http->text),
        .is_tls = tls != NULL && tls->type == JSON_BOOL && tls->boolean,
    };
    return STATUS_OK;
}

static void
api_print(const struct api_process *api, const char *state, FILE *out)
{
    fprintf(
        out,
        "tally-api   %s: pid %d, %s://%s\n",
        state,
        (int)api->pid,
        api->is_tls ? "https" : "http",
        api->http);
}

static const char *
api_ask(
    const struct stack *stack, const struct api_process *api, const char *path, bool *out_is_well)
{
    struct error error = {0};
    struct http_answer answer;
    *out_is_well = false;
    if (http_get(api->http, path, HEALTH_TIMEOUT_MS, stack->arena, &answer, &error))
        return arena_text(stack->arena, error.text);
    *out_is_well = answer.code == 200;
    return arena_text_of(stack->arena, bytes_of(answer.body, strcspn(answer.body, "\r\n")));
}

void
stack_api_look(const struct stack *stack, struct stack_api *out)
{
    struct api_process api = {0};
    struct error ignored;
    bool is_database_well;
    *out = (struct stack_api){.url = "", .health = "", .database = ""};
    if (api_read(stack, &api, &ignored))
        return;
    out->is_running = true;
    out->pid = (int)api.pid;
    out->url = arena_format(stack->arena, "%s://%s", api.is_tls ? "https" : "http", api.http);
    if (api.is_tls) {
        out->is_healthy = true;
        out->health = out->database = "not asked: it speaks TLS";
        return;
    }
    out->health = api_ask(stack, &api, "/health", &out->is_healthy);
    out->database = api_ask(stack, &api, "/api/health/db", &is_database_well);
}

// Until the file is that of our child, which it writes once it listens.
static enum status
api_wait(
    const struct stack *stack,
    pid_t pid,
    int64_t timeout_ns,
    struct api_process *out,
    struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + timeout_ns;
    while (clock_monotonic_ns() < deadline_ns) {
        struct error ignored;
        if (process_has_ended(pid))
            return error_set(error, STATUS_CLOSED, "tally-api ended at once");
        if (api_read(stack, out, &ignored) == STATUS_OK && out->pid == pid)
            return STATUS_OK;
        if (!process_pause(LOOK_MS))
            return error_set(error, STATUS_CLOSED, "interrupted");
    }
    return error_set(error, STATUS_TIMEOUT, "tally-api does not listen in time");
}

static enum status
arguments_make(
    const struct stack *stack, const char *address, char *argv[ARGUMENTS + 1], struct error *error)
{
    struct arena *arena = stack->arena;
    const char *path = NULL;
    struct tallyd tallyd;
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address)
        return error_set(error, STATUS_INVALID, "--api %s is not HOST:PORT", address);
    enum status status = stack_program("tally-api", arena, &path, error);
    if (!status)
        status = stack_tallyd(stack, &tallyd, error);
    if (status)
        return status;
    argv[0] = arena_text(arena, path);
    argv[1] = arena_text(arena, "--data");
    argv[2] = arena_text(arena, stack->data);
    argv[3] = arena_text(arena, "--host");
    argv[4] = arena_text_of(arena, bytes_of(address, (size_t)(colon - address)));
    argv[5] = arena_text(arena, "--port");
    argv[6] = arena_text(arena, colon + 1);
    argv[7] = arena_text(arena, "--unix");
    argv[8] = arena_text(arena, tallyd.unix_path);
    argv[ARGUMENTS] = NULL;
    return STATUS_OK;
}

static enum status
api_start(
    const struct stack *stack,
    const struct stack_options *options,
    struct api_process *out,
    struct error *error)
{
    struct arena *arena = stack->arena;
    char *argv[ARGUMENTS + 1];
    enum status status = arguments_make(stack, options->api, argv, error);
    if (status)
        return status;
    const char *log_path = arena_format(arena, "%s/tally-api.log", stack->log_dir);
    int64_t log_from = file_size(log_path);
    struct process_spec spec = {.argv = argv, .log_path = log_path, .folder = "."};
    pid_t pid = 0;
    status = process_start(&spec, &pid, error);
    if (status)
        return status;
    status = api_wait(stack, pid, options->timeout_ns, out, error);
    if (status == STATUS_OK)
        return status;
    struct error ignored;
    if (process_stop(pid, "tally-api", SIGTERM, STOP_TIMEOUT_NS, &ignored))
        return error_prefix(error, "%s; before that", ignored.text);
    return error_prefix(
        error,
        "%s says: %s; so (--api names another address, or none)",
        log_path,
        file_tail(log_path, log_from, LOG_TAIL_SIZE, arena));
}

enum status
stack_api_up(
    const struct stack *stack, const struct stack_options *options, FILE *out, struct error *error)
{
    struct api_process api = {0};
    struct error ignored;
    if (api_read(stack, &api, &ignored) == STATUS_OK) {
        api_print(&api, "runs already", out);
        return STATUS_OK;
    }
    enum status status = api_start(stack, options, &api, error);
    if (!status)
        api_print(&api, "started", out);
    return status;
}

enum status
stack_api_down(const struct stack *stack, bool *out_has_run, FILE *out, struct error *error)
{
    struct api_process api = {0};
    struct error ignored;
    *out_has_run = api_read(stack, &api, &ignored) == STATUS_OK;
    if (!*out_has_run)
        return STATUS_OK;
    enum status status = process_stop(api.pid, "tally-api", SIGTERM, STOP_TIMEOUT_NS, error);
    if (!status)
        fprintf(out, "tally-api   stopped (pid %d)\n", (int)api.pid);
    return status;
}
