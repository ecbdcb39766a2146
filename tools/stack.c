#include "tools/stack.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/sql.h"
#include "billing/migrate.h"
#include "tools/file.h"
#include "tools/postgres.h"
#include "tools/stack_api.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOOK_MS = 20, LOG_TAIL_SIZE = 500, TALLYD_ARGUMENTS_OWN = 3 };

static const int64_t TALLYD_STOP_TIMEOUT_NS = 120 * 1000000000LL;

// --- where things are ----------------------------------------------------------------------------

// The absolute path of a folder that may not exist yet; the one above it must.
static enum status
path_absolute(const char *path, struct arena *arena, const char **out, struct error *error)
{
    char real[PATH_MAX];
    if (realpath(path, real)) {
        *out = arena_text(arena, real);
        return STATUS_OK;
    }
    char *name = arena_text(arena, path);
    const char *above = ".";
    for (size_t size = strlen(name); size > 1 && name[size - 1] == '/'; size--)
        name[size - 1] = 0;
    char *slash = strrchr(name, '/');
    if (slash) {
        *slash = 0;
        above = slash == name ? "/" : name;
        name = slash + 1;
    }
    if (!name[0] || !realpath(above, real))
        return error_set_errno(error, "cannot find the folder above %s", path);
    *out = arena_format(arena, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    return STATUS_OK;
}

// The first line of DATA/pg-dir, or DATA/pg.
static enum status
pg_dir_read(const struct stack *stack, const char **out, struct error *error)
{
    struct arena *arena = stack->arena;
    struct bytes text;
    enum status status =
        file_read(arena_format(arena, "%s/pg-dir", stack->data), arena, &text, error);
    *out = arena_format(arena, "%s/pg", stack->data);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status)
        return status;
    char *line = arena_text_of(arena, text);
    line[strcspn(line, "\n")] = 0;
    *out = line;
    return STATUS_OK;
}

// A cluster cannot move by itself: once there is one, another --pg-dir is a mistake.
static enum status
pg_dir_choose(struct stack *stack, const char *asked, struct error *error)
{
    const char *wanted = NULL;
    enum status status = pg_dir_read(stack, &stack->pg_dir, error);
    if (status || !asked)
        return status;
    status = path_absolute(asked, stack->arena, &wanted, error);
    if (status)
        return status;
    must(wanted != NULL);
    if (strcmp(wanted, stack->pg_dir) == 0)
        return STATUS_OK;
    if (stack_has_postgres(stack))
        return error_set(
            error,
            STATUS_INVALID,
            "the database of %s is in %s already, so --pg-dir %s is refused",
            stack->data,
            stack->pg_dir,
            asked);
    stack->pg_dir = wanted;
    return STATUS_OK;
}

enum status
stack_open(
    const char *data,
    const char *pg_dir,
    struct arena *arena,
    struct stack *out,
    struct error *error)
{
    char real[PATH_MAX];
    if (!realpath(data, real))
        return error_set_errno(error, "cannot find the data directory %s", data);
    const char *url = getenv("DATABASE_URL");  // NOLINT(concurrency-mt-unsafe): no thread yet
    *out = (struct stack){
        .arena = arena,
        .data = arena_text(arena, real),
        .log_dir = arena_format(arena, "%s/log", real),
        .external_url = url && url[0] ? url : NULL,
    };
    return pg_dir_choose(out, pg_dir, error);
}

bool
stack_has_postgres(const struct stack *stack)
{
    struct stat info;
    const char *mark = arena_format(stack->arena, "%s/PG_VERSION", stack->pg_dir);
    return !stack->external_url && stat(mark, &info) == 0;
}

enum status
stack_tallyd(const struct stack *stack, struct tallyd *out, struct error *error)
{
    enum status status = tallyd_read(stack->data, stack->arena, out, error);
    if (!status && !tallyd_is_running(stack->data, out))
        status = error_set(error, STATUS_NOT_FOUND, "tallyd does not run");
    return status;
}

// One `up` or `down` at a time. The lock goes with the process.
static enum status
stack_lock(const struct stack *stack, struct error *error)
{
    const char *path = arena_format(stack->arena, "%s/stack.lock", stack->data);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return STATUS_OK;
    close(fd);
    return error_set(
        error, STATUS_BUSY, "another `tally up` or `tally down` is at work in %s", stack->data);
}

// --- up: the database ----------------------------------------------------------------------------

static enum status
database_remember(const struct stack *stack, const char *url, struct error *error)
{
    struct arena *arena = stack->arena;
    enum status status = file_write(
        arena_format(arena, "%s/database.url", stack->data),
        0600,
        bytes_text(arena_format(arena, "%s\n", url)),
        error);
    if (status || strcmp(stack->pg_dir, arena_format(arena, "%s/pg", stack->data)) == 0)
        return status;
    return file_write(
        arena_format(arena, "%s/pg-dir", stack->data),
        0644,
        bytes_text(arena_format(arena, "%s\n", stack->pg_dir)),
        error);
}

// *out_pid is the server that we started, 0 when it ran before.
static enum status
postgres_up(const struct stack *stack, pid_t *out_pid, FILE *out, struct error *error)
{
    *out_pid = 0;
    pid_t running = postgres_pid(stack->pg_dir);
    if (running > 0) {
        fprintf(out, "PostgreSQL  runs already: pid %d, %s\n", (int)running, stack->pg_dir);
        return STATUS_OK;
    }
    struct postgres postgres;
    const char *log_path = arena_format(stack->arena, "%s/postgres.log", stack->log_dir);
    enum status status = postgres_find(stack->pg_dir, log_path, stack->arena, &postgres, error);
    if (!status)
        status = postgres_start(&postgres, out_pid, error);
    if (!status)
        fprintf(
            out,
            "PostgreSQL  started: pid %d, %s, reachable by a socket in there only\n",
            (int)*out_pid,
            stack->pg_dir);
    return status;
}

static enum status
database_migrate(const struct stack *stack, const char *url, FILE *out, struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    struct migrations_applied applied = {0};
    enum status status = sql_open(url, SQL_TIMEOUT_MS, &sql, error);
    if (!status)
        status = migrate_apply(
            sql, MIGRATIONS, MIGRATIONS_COUNT, clock_now_ns(), stack->arena, &applied, error);
    if (status)
        return error_prefix(error, "database");
    fprintf(out, "database    %s", stack->external_url ? "DATABASE_URL" : url);
    if (applied.count > 0)
        fprintf(out, ", %zu migrations applied\n", applied.count);
    else
        fputs(", tables are up to date\n", out);
    return STATUS_OK;
}

static enum status
database_up(const struct stack *stack, pid_t *out_pid, FILE *out, struct error *error)
{
    *out_pid = 0;
    if (stack->external_url) {
        fputs("PostgreSQL  the one of DATABASE_URL, which is not ours to start\n", out);
        return database_migrate(stack, stack->external_url, out, error);
    }
    enum status status = postgres_up(stack, out_pid, out, error);
    const char *url = postgres_url(stack->pg_dir, "tally", stack->arena);
    if (!status)
        status = database_remember(stack, url, error);
    if (!status)
        status = database_migrate(stack, url, out, error);
    return status;
}

// --- up: tallyd ----------------------------------------------------------------------------------

enum status
stack_program(const char *name, struct arena *arena, const char **out, struct error *error)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size < 0)
        return error_set_errno(error, "cannot find our own program");
    self[size] = 0;
    char *slash = strrchr(self, '/');
    must(slash != NULL);
    *slash = 0;
    *out = arena_format(arena, "%s/%s", self, name);
    if (access(*out, X_OK) < 0)
        return error_set_errno(error, "%s belongs beside tally, but %s cannot be run", name, *out);
    return STATUS_OK;
}

static void
tallyd_print(const struct tallyd *tallyd, const char *state, FILE *out)
{
    fprintf(out, "tallyd      %s: pid %d", state, (int)tallyd->pid);
    if (tallyd->tcp[0])
        fprintf(out, ", tcp %s", tallyd->tcp);
    if (tallyd->udp[0])
        fprintf(out, ", udp %s", tallyd->udp);
    if (tallyd->unix_path[0])
        fprintf(out, ", unix %s", tallyd->unix_path);
    if (tallyd->metrics[0])
        fprintf(out, ", metrics http://%s/metrics", tallyd->metrics);
    fputc('\n', out);
}

// Until tallyd.json is that of our child, which it writes once it listens.
static enum status
tallyd_wait(
    const struct stack *stack,
    pid_t pid,
    int64_t timeout_ns,
    struct tallyd *out,
    struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + timeout_ns;
    while (clock_monotonic_ns() < deadline_ns) {
        if (process_has_ended(pid))
            return error_set(error, STATUS_CLOSED, "tallyd ended at once");
        struct error ignored;
        if (stack_tallyd(stack, out, &ignored) == STATUS_OK && out->pid == pid)
            return STATUS_OK;
        if (!process_pause(LOOK_MS))
            return error_set(error, STATUS_CLOSED, "interrupted");
    }
    return error_set(
        error,
        STATUS_TIMEOUT,
        "tallyd does not listen after %lld s",
        (long long)(timeout_ns / SECOND_NS));
}

static char *const *
tallyd_arguments(const struct stack *stack, const struct stack_options *options, const char *path)
{
    struct arena *arena = stack->arena;
    size_t count = options->tallyd_arguments_count;
    char **argv = arena_array(arena, count + TALLYD_ARGUMENTS_OWN + 1, char *);
    argv[0] = arena_text(arena, path);
    argv[1] = arena_text(arena, "--data");
    argv[2] = arena_text(arena, stack->data);
    for (size_t i = 0; i < count; i++)
        argv[TALLYD_ARGUMENTS_OWN + i] = options->tallyd_arguments[i];
    return argv;
}

static enum status
tallyd_start(
    const struct stack *stack,
    const struct stack_options *options,
    struct tallyd *out,
    struct error *error)
{
    struct arena *arena = stack->arena;
    const char *path = NULL;
    enum status status = stack_program("tallyd", arena, &path, error);
    if (status)
        return status;
    const char *log_path = arena_format(arena, "%s/tallyd.log", stack->log_dir);
    int64_t log_from = file_size(log_path);
    struct process_spec spec = {
        .argv = tallyd_arguments(stack, options, path),
        .log_path = log_path,
        .folder = ".",  // its options may hold relative paths
    };
    pid_t pid = 0;
    status = process_start(&spec, &pid, error);
    if (status)
        return status;
    status = tallyd_wait(stack, pid, options->timeout_ns, out, error);
    if (status) {
        struct error ignored;
        if (process_stop(pid, "tallyd", SIGTERM, TALLYD_STOP_TIMEOUT_NS, &ignored))
            return error_prefix(error, "%s; before that", ignored.text);
        const char *tail = file_tail(log_path, log_from, LOG_TAIL_SIZE, arena);
        return error_prefix(error, "%s says: %s; so", log_path, tail);
    }
    return STATUS_OK;
}

// *out_pid is the one that we started, 0 when it ran before.
static enum status
tallyd_up(
    const struct stack *stack,
    const struct stack_options *options,
    pid_t *out_pid,
    FILE *out,
    struct error *error)
{
    struct tallyd tallyd = {0};
    struct error ignored;
    if (stack_tallyd(stack, &tallyd, &ignored) == STATUS_OK) {
        tallyd_print(&tallyd, "runs already", out);
        return STATUS_OK;
    }
    enum status status = tallyd_start(stack, options, &tallyd, error);
    if (status)
        return status;
    *out_pid = tallyd.pid;
    tallyd_print(&tallyd, "started", out);
    return STATUS_OK;
}

// After a failure, in the order of `tally down`. Returns that failure's status.
static enum status
started_stop(
    const struct stack *stack, pid_t postgres, pid_t tallyd, FILE *out, struct error *error)
{
    struct error ignored;
    if (tallyd > 0) {
        if (process_stop(tallyd, "tallyd", SIGTERM, TALLYD_STOP_TIMEOUT_NS, &ignored))
            return error_prefix(error, "%s; before that", ignored.text);
        fputs("tallyd      stopped again\n", out);
    }
    if (postgres > 0) {
        if (postgres_stop(stack->pg_dir, &ignored))
            return error_prefix(error, "%s; before that", ignored.text);
        fputs("PostgreSQL  stopped again\n", out);
    }
    return error->status;
}

enum status
stack_up(
    const struct stack *stack, const struct stack_options *options, FILE *out, struct error *error)
{
    pid_t postgres_started = 0, tallyd_started = 0;
    enum status status = stack_lock(stack, error);
    if (!status)
        status = folder_make(stack->log_dir, 0750, error);
    if (!status)
        status = database_up(stack, &postgres_started, out, error);
    if (!status)
        status = tallyd_up(stack, options, &tallyd_started, out, error);
    if (!status && options->api)
        status = stack_api_up(stack, options, out, error);
    if (status)
        return started_stop(stack, postgres_started, tallyd_started, out, error);
    return STATUS_OK;
}

// --- down ----------------------------------------------------------------------------------------

enum status
stack_down(const struct stack *stack, FILE *out, struct error *error)
{
    enum status status = stack_lock(stack, error);
    if (status)
        return status;
    struct tallyd tallyd = {0};
    struct error ignored;
    bool has_api = false;
    // It asks the other two.
    status = stack_api_down(stack, &has_api, out, error);
    if (status)
        return status;
    bool has_tallyd = stack_tallyd(stack, &tallyd, &ignored) == STATUS_OK;
    if (has_tallyd) {
        status = process_stop(tallyd.pid, "tallyd", SIGTERM, TALLYD_STOP_TIMEOUT_NS, error);
        if (status)
            return status;
        fprintf(out, "tallyd      stopped (pid %d)\n", (int)tallyd.pid);
    }
    pid_t postgres = postgres_pid(stack->pg_dir);
    if (postgres > 0) {
        status = postgres_stop(stack->pg_dir, error);
        if (status)
            return status;
        fprintf(out, "PostgreSQL  stopped (pid %d)\n", (int)postgres);
    }
    if (!has_api && !has_tallyd && postgres <= 0)
        fprintf(out, "nothing runs in %s\n", stack->data);
    return STATUS_OK;
}
