#include "bench/http_stack.h"

#include "base/clock.h"
#include "bench/check.h"
#include "bench/http_request.h"
#include "bench/program.h"
#include "bench/scratch.h"
#include "ledger/meter.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum { ARGUMENTS_MAX = 12 };

static const struct json_limits LIMITS = {0};

// Runs `tally` with these arguments and the data directory, and keeps what it prints.
static enum status
tally_run(
    const struct http_stack *stack,
    const char *const *arguments,
    struct buffer *out,
    struct error *error)
{
    scoped(arena_done) struct arena texts = {0};
    char program[PATH_MAX], data[PATH_MAX + 8];
    char *argv[ARGUMENTS_MAX + 3] = {program};
    size_t count = 0;
    int exit_status = 0;
    enum status status = program_beside("tally", program, error);
    for (; status == STATUS_OK && arguments[count] != NULL; count++)
        argv[1 + count] = arena_text(&texts, arguments[count]);
    (void)snprintf(data, sizeof data, "--data=%s", stack->data);
    argv[1 + count] = data;
    if (status == STATUS_OK)
        status = program_output(argv, out, &exit_status, error);
    if (status == STATUS_OK && exit_status != 0)
        status = error_set(error, STATUS_IO, "`tally %s` ended with %d", arguments[0], exit_status);
    return status;
}

static enum status
meters_put(const char *data, struct error *error)
{
    struct registry *registry = NULL;
    enum status status = registry_open(data, &registry, error);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < HTTP_METERS && status == STATUS_OK; i++) {
        const struct meter meter = {
            .key = HTTP_METER_KEYS[i],
            .event_type = HTTP_TYPE,
            .aggregation = i == 0 ? AGGREGATION_COUNT : AGGREGATION_SUM,
            .value_property = i == 0   ? NULL
                              : i == 1 ? "$.value"
                                       : "$.tokens",
        };
        status = registry_put(registry, &meter, clock_now_ns(), NULL, error);
    }
    registry_close(registry);
    return status;
}

// The directory, which the user of a private PostgreSQL must be able to pass, and the ledger.
static enum status
ledger_make(struct http_stack *stack, const struct http_stack_options *options, struct error *error)
{
    enum status status = scratch_make(options->parent_dir, stack->dir, error);
    if (status != STATUS_OK)
        return status;
    if (chmod(stack->dir, 0755) != 0)
        return error_set_errno(error, "cannot open %s for others", stack->dir);
    if (snprintf(stack->data, sizeof stack->data, "%s/data", stack->dir) >= PATH_MAX)
        return error_set(error, STATUS_INVALID, "%s is too long", stack->dir);
    status = check_prepare(stack->data, options->shards, 0, error);
    return status == STATUS_OK ? meters_put(stack->data, error) : status;
}

// What a program announced: its pid, and where it listens.
static enum status
announcement_read(
    struct http_stack *stack,
    const char *name,
    const char *listens,
    pid_t *out_pid,
    const char **out_address,
    struct error *error)
{
    char path[PATH_MAX + 32];
    scoped(buffer_done) struct buffer text = {0};
    struct json *root = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.json", stack->data, name);
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return error_set_errno(error, "cannot open %s", path);
    uint8_t *place = buffer_reserve(&text, 4096);
    if (place != NULL)
        buffer_commit(&text, fread(place, 1, 4096, file));
    (void)fclose(file);
    enum status status = json_parse(buffer_view(&text), &LIMITS, &stack->arena, &root, error);
    if (status != STATUS_OK)
        return error_prefix(error, "%s", path);
    const struct json *pid = json_member(root, "pid"), *address = json_member(root, listens);
    int64_t number = 0;
    if (pid == NULL || address == NULL || address->type != JSON_STRING ||
        json_int64(pid, &number) != STATUS_OK)
        return error_set(error, STATUS_INVALID, "%s does not say where it listens", path);
    *out_pid = (pid_t)number;
    *out_address = arena_text_of(&stack->arena, address->text);
    return STATUS_OK;
}

static enum status
key_make(struct http_stack *stack, struct error *error)
{
    static const char *const arguments[] = {
        "key", "create", "--scopes=ingest,read", "--name=tally-bench", NULL};
    scoped(buffer_done) struct buffer text = {0};
    enum status status = tally_run(stack, arguments, &text, error);
    if (status != STATUS_OK)
        return status;
    size_t size = text.size;
    while (size > 0 && text.data[size - 1] == '\n')
        size--;
    stack->key = arena_text_of(&stack->arena, bytes_of(text.data, size));
    return STATUS_OK;
}

enum status
http_stack_start(
    struct http_stack *stack, const struct http_stack_options *options, struct error *error)
{
    scoped(buffer_done) struct buffer said = {0};
    *stack = (struct http_stack){0};
    enum status status = ledger_make(stack, options, error);
    if (status != STATUS_OK)
        return status;
    // Beside the ledger, which is for nobody else.
    const char *pg = arena_format(&stack->arena, "--pg-dir=%s/pg", stack->dir);
    const char *const up[] = {
        "up", "--tcp=127.0.0.1:0", "--metrics=none", "--api=127.0.0.1:0", pg, NULL};
    stack->is_up = true;  // some of it may be
    status = tally_run(stack, up, &said, error);
    if (status == STATUS_OK)
        status = announcement_read(stack, "tallyd", "tcp", &stack->tallyd_pid, &stack->tcp, error);
    if (status == STATUS_OK)
        status =
            announcement_read(stack, "tally-api", "http", &stack->api_pid, &stack->http, error);
    return status == STATUS_OK ? key_make(stack, error) : status;
}

static enum status
cpu_read(pid_t pid, const char *name, int64_t *out, struct error *error)
{
    clockid_t clock;
    struct timespec cpu;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &cpu) != 0)
        return error_set(error, STATUS_CLOSED, "%s is gone", name);
    *out = (int64_t)cpu.tv_sec * SECOND_NS + cpu.tv_nsec;
    return STATUS_OK;
}

enum status
http_stack_sample(
    const struct http_stack *stack, struct http_stack_sample *out, struct error *error)
{
    enum status status = cpu_read(stack->api_pid, "tally-api", &out->api_cpu_ns, error);
    return status == STATUS_OK ? cpu_read(stack->tallyd_pid, "tallyd", &out->tallyd_cpu_ns, error)
                               : status;
}

enum status
http_stack_stop(struct http_stack *stack, struct error *error)
{
    static const char *const down[] = {"down", NULL};
    scoped(buffer_done) struct buffer said = {0};
    stack->is_up = false;
    return tally_run(stack, down, &said, error);
}

void
http_stack_done(struct http_stack *stack)
{
    struct error error;
    // What still runs keeps its directory.
    if (stack->is_up && http_stack_stop(stack, &error) != STATUS_OK)
        fprintf(stderr, "tally-bench http: %s is left behind: %s\n", stack->dir, error.text);
    else
        scratch_remove(stack->dir);
    arena_done(&stack->arena);
}
