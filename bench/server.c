#include "bench/server.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"
#include "bench/check.h"
#include "bench/program.h"
#include "bench/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int64_t READY_TIMEOUT_NS = 60 * 1000000000LL;
static const int64_t LOOK_TIMEOUT_NS = 500000000;
static const int64_t STOP_TIMEOUT_NS = 120 * 1000000000LL;

enum { LOOK_MS = 10, EXIT_EXEC_FAILED = 127 };

// --- places ---

static enum status
directory_make(struct server *server, const char *parent, struct error *error)
{
    enum status status = scratch_make(parent, server->dir, error);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(server->data, sizeof server->data, "%.*s/data", PATH_MAX - 64, server->dir);
    (void)snprintf(server->log, sizeof server->log, "%.*s/log", PATH_MAX - 64, server->dir);
    return STATUS_OK;
}

// --- the process ---

static enum status
file_read(const char *path, struct buffer *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", path);
    for (;;) {
        uint8_t *place = buffer_reserve(out, 4096);
        ssize_t size = place != NULL ? read(fd, place, 4096) : -1;
        if (size > 0)
            buffer_commit(out, (size_t)size);
        if (size == 0)
            break;
        if (size < 0 && errno != EINTR) {
            close(fd);
            return error_set_errno(error, "cannot read %s", path);
        }
    }
    close(fd);
    return STATUS_OK;
}

// In the child: only calls that are safe after fork, and then tallyd.
_Noreturn static void
child_run(const struct server *server, char *const *arguments, pid_t parent)
{
    int log = open(server->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    // A group of its own, so that a ^C at the terminal is ours to act on.
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    bool is_ready = log >= 0 && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
                    dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0;
    // Our parent may have died before the signal was asked for.
    if (is_ready && getppid() == parent && slow_disk_enter(&server->disk))
        execv(arguments[0], arguments);
    _exit(EXIT_EXEC_FAILED);
}

static enum status
process_start(struct server *server, struct error *error)
{
    char program[PATH_MAX];
    enum status status = program_beside("tallyd", program, error);
    if (status != STATUS_OK)
        return status;
    char names[][20] = {
        "--data",
        "--tcp",
        "127.0.0.1:0",
        "--metrics",
        "none",
        "--log-level",
        "warn",
        "--connections-max"};
    char connections[16];
    uint32_t connections_max = server->connections_max > 0 ? server->connections_max : 1024;
    (void)snprintf(connections, sizeof connections, "%" PRIu32, connections_max);
    char *arguments[] = {
        program,
        names[0],
        server->data,
        names[1],
        names[2],
        names[3],
        names[4],
        names[5],
        names[6],
        names[7],
        connections,
        NULL};
    status = slow_disk_prepare(server->sync_delay_ms, &server->disk, error);
    if (status != STATUS_OK)
        return status;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return error_set_errno(error, "cannot start tallyd");
    if (pid == 0)
        child_run(server, arguments, parent);
    server->pid = pid;
    return slow_disk_begin(&server->disk, error);
}

// The last line that tallyd logged, for an error.
static void
log_last_line(const struct server *server, char *out, size_t out_size)
{
    scoped(buffer_done) struct buffer text = {0};
    struct error ignored;
    out[0] = '\0';
    if (file_read(server->log, &text, &ignored) != STATUS_OK || text.size == 0)
        return;
    size_t end = text.size;
    while (end > 0 && text.data[end - 1] == '\n')
        end--;
    size_t start = end;
    while (start > 0 && text.data[start - 1] != '\n')
        start--;
    scoped(buffer_done) struct buffer line = {0};
    buffer_text(&line, ": ");
    buffer_put(&line, text.data + start, end - start);
    (void)bytes_to_text(buffer_view(&line), out, out_size);
}

static bool
has_ended(struct server *server, int *out_wait_status)
{
    if (waitpid(server->pid, out_wait_status, WNOHANG) != server->pid)
        return false;
    server->pid = 0;
    return true;
}

static enum status
ended_error(const struct server *server, int wait_status, struct error *error)
{
    char line[512];
    log_last_line(server, line, sizeof line);
    if (WIFSIGNALED(wait_status))
        return error_set(
            error, STATUS_IO, "tallyd was ended by signal %d%s", WTERMSIG(wait_status), line);
    return error_set(
        error, STATUS_IO, "tallyd ended with status %d%s", WEXITSTATUS(wait_status), line);
}

static void
announcement_path(const struct server *server, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%.*s/tallyd.json", PATH_MAX - 32, server->data);
}

static bool
address_read(const struct json *root, const char *name, char out[SERVER_ADDRESS_MAX])
{
    const struct json *address = json_member(root, name);
    if (address == NULL || address->type != JSON_STRING)
        return false;
    return bytes_to_text(address->text, out, SERVER_ADDRESS_MAX) == address->text.size;
}

// What tallyd says of itself once it listens. STATUS_NOT_FOUND: not yet.
static enum status
announcement_read(struct server *server, struct error *error)
{
    char path[PATH_MAX];
    struct json *root;
    int64_t pid;
    scoped(buffer_done) struct buffer text = {0};
    scoped(arena_done) struct arena arena = {0};
    announcement_path(server, path);
    if (access(path, R_OK) != 0)
        return STATUS_NOT_FOUND;
    enum status status = file_read(path, &text, error);
    if (status == STATUS_OK)
        status = json_parse(buffer_view(&text), &(struct json_limits){0}, &arena, &root, error);
    if (status != STATUS_OK)
        return status;
    const struct json *id = json_member(root, "pid");
    bool is_ours = id != NULL && json_int64(id, &pid) == STATUS_OK && pid == server->pid;
    if (!is_ours || !address_read(root, "tcp", server->tcp) ||
        !address_read(root, "udp", server->udp) || !address_read(root, "unix", server->unix_path))
        return error_set(error, STATUS_INVALID, "%s is not what our tallyd writes", path);
    return STATUS_OK;
}

static enum status
ready_wait(struct server *server, int64_t began_ns, struct error *error)
{
    for (;;) {
        int wait_status;
        enum status status = announcement_read(server, error);
        server->ready_ns = clock_monotonic_ns() - began_ns;
        if (status != STATUS_NOT_FOUND)
            return status;
        if (has_ended(server, &wait_status))
            return ended_error(server, wait_status, error);
        if (server->ready_ns > READY_TIMEOUT_NS)
            return error_set(error, STATUS_TIMEOUT, "tallyd does not become ready");
        (void)poll(NULL, 0, LOOK_MS);
    }
}

enum status
server_prepare(struct server *server, const struct server_options *options, struct error *error)
{
    *server = (struct server){
        .connections_max = options->connections_max,
        .sync_delay_ms = options->sync_delay_ms,
    };
    enum status status = directory_make(server, options->parent_dir, error);
    if (status == STATUS_OK)
        status = check_prepare(server->data, options->shards, options->map_size, error);
    if (status != STATUS_OK)
        server_done(server);
    return status;
}

enum status
server_run(struct server *server, struct error *error)
{
    int64_t began_ns = clock_monotonic_ns();
    enum status status = process_start(server, error);
    return status == STATUS_OK ? ready_wait(server, began_ns, error) : status;
}

enum status
server_start(struct server *server, const struct server_options *options, struct error *error)
{
    enum status status = server_prepare(server, options, error);
    if (status == STATUS_OK)
        status = server_run(server, error);
    if (status != STATUS_OK)
        server_done(server);
    return status;
}

enum status
server_kill(struct server *server, struct error *error)
{
    must(server->pid > 0);
    if (kill(server->pid, SIGKILL) != 0)
        return error_set_errno(error, "cannot kill tallyd");
    if (waitpid(server->pid, NULL, 0) != server->pid)
        return error_set_errno(error, "cannot wait for tallyd");
    server->pid = 0;
    slow_disk_end(&server->disk);
    // It names a process that is gone, and the next one is waited for by it.
    char path[PATH_MAX];
    announcement_path(server, path);
    (void)unlink(path);
    return STATUS_OK;
}

const char *
server_address(const struct server *server, enum transport transport)
{
    switch (transport) {
    case TRANSPORT_TCP: return server->tcp;
    case TRANSPORT_UDP: return server->udp;
    case TRANSPORT_UNIX: return server->unix_path;
    }
    return NULL;
}

// "RssAnon:     123 kB" of /proc/PID/status, in bytes.
static uint64_t
status_field(const struct buffer *text, const char *name)
{
    const char *at = strstr((const char *)text->data, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

enum status
server_sample(const struct server *server, struct server_sample *out, struct error *error)
{
    char path[64];
    clockid_t clock;
    struct timespec cpu;
    scoped(buffer_done) struct buffer text = {0};
    // The same figure as in /proc/PID/stat, in nanoseconds instead of hundredths of a second.
    if (clock_getcpuclockid(server->pid, &clock) != 0 || clock_gettime(clock, &cpu) != 0)
        return error_set(error, STATUS_CLOSED, "tallyd is gone");
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)server->pid);
    enum status status = file_read(path, &text, error);
    buffer_u8(&text, 0);
    if (status == STATUS_OK && buffer_failed(&text))
        status = error_set(error, STATUS_NO_MEMORY, "no memory");
    if (status != STATUS_OK)
        return status;
    out->cpu_ns = (int64_t)cpu.tv_sec * SECOND_NS + cpu.tv_nsec;
    out->anon_bytes = status_field(&text, "\nRssAnon:");
    out->shared_bytes = status_field(&text, "\nRssShmem:");
    return STATUS_OK;
}

enum status
server_look(struct server *server, struct error *error)
{
    int wait_status;
    int64_t deadline_ns = clock_monotonic_ns() + LOOK_TIMEOUT_NS;
    while (clock_monotonic_ns() < deadline_ns) {
        if (has_ended(server, &wait_status))
            return ended_error(server, wait_status, error);
        (void)poll(NULL, 0, LOOK_MS);
    }
    return STATUS_OK;
}

enum status
server_stop(struct server *server, struct error *error)
{
    int wait_status;
    int64_t deadline_ns = clock_monotonic_ns() + STOP_TIMEOUT_NS;
    // kill(0) would signal our own group.
    must(server->pid > 0);
    if (kill(server->pid, SIGTERM) != 0)
        return error_set_errno(error, "cannot stop tallyd");
    while (!has_ended(server, &wait_status)) {
        if (clock_monotonic_ns() > deadline_ns)
            return error_set(error, STATUS_TIMEOUT, "tallyd does not stop");
        (void)poll(NULL, 0, LOOK_MS);
    }
    if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0)
        return ended_error(server, wait_status, error);
    return STATUS_OK;
}

void
server_done(struct server *server)
{
    if (server->pid > 0) {
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
    slow_disk_end(&server->disk);
    scratch_remove(server->dir);
}
