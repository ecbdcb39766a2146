#include "tools/process.h"

#include "base/assert.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROC_TEXT_MAX = 4096, LOOK_MS = 20 };

static volatile sig_atomic_t was_interrupted;

// --- users ---------------------------------------------------------------------------------------

enum status
process_user_find(const char *name, struct process_user *out, struct error *error)
{
    char room[PROC_TEXT_MAX];
    struct passwd entry;
    struct passwd *found = NULL;
    int rc = getpwnam_r(name, &entry, room, sizeof room, &found);
    if (rc != 0 || !found)
        return error_set(error, STATUS_NOT_FOUND, "there is no user `%s`", name);
    *out = (struct process_user){name, entry.pw_uid, entry.pw_gid};
    return STATUS_OK;
}

static bool
user_become(const struct process_user *user)
{
    return initgroups(user->name, user->gid) == 0 && setgid(user->gid) == 0 &&
           setuid(user->uid) == 0;
}

bool
process_user_can_enter(const struct process_user *user, const char *folder)
{
    pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0)
        _exit(user_become(user) && chdir(folder) == 0 ? 0 : 1);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// --- starting ------------------------------------------------------------------------------------

// In the child. Returns only when a step failed, with errno set.
static void
child_run(const struct process_spec *spec, int log_fd)
{
    int null_fd = open("/dev/null", O_RDWR);
    setsid();
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        return;
    // Whoever called us may wait for the end of a pipe that we inherited.
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (spec->user && !user_become(spec->user))
        return;
    if (chdir(spec->folder ? spec->folder : "/") < 0)
        return;
    execv(spec->argv[0], spec->argv);
}

// The child reports the errno of a failed step through a pipe that a successful exec closes.
static int
failure_read(int fd)
{
    int failure = 0;
    ssize_t got;
    do
        got = read(fd, &failure, sizeof failure);
    while (got < 0 && errno == EINTR);
    return got == sizeof failure ? failure : 0;
}

static enum status
child_start(const struct process_spec *spec, int log_fd, pid_t *out, struct error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, "cannot make a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        child_run(spec, log_fd);
        int failure = errno;
        ssize_t put = write(ends[1], &failure, sizeof failure);
        _exit(put == sizeof failure ? 126 : 127);
    }
    close(ends[1]);
    int failure = pid < 0 ? errno : failure_read(ends[0]);
    close(ends[0]);
    if (!failure) {
        *out = pid;
        return STATUS_OK;
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
    errno = failure;
    return error_set_errno(error, "cannot run %s", spec->argv[0]);
}

enum status
process_start(const struct process_spec *spec, pid_t *out, struct error *error)
{
    int log_fd = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log_fd < 0)
        return error_set_errno(error, "cannot write %s", spec->log_path);
    enum status status = child_start(spec, log_fd, out, error);
    close(log_fd);
    return status;
}

enum status
process_run(const struct process_spec *spec, int64_t timeout_ns, struct error *error)
{
    pid_t pid = 0;
    enum status status = process_start(spec, &pid, error);
    if (status)
        return status;
    int64_t deadline_ns = clock_monotonic_ns() + timeout_ns;
    int how = 0;
    pid_t ended = 0;
    while (ended == 0 && clock_monotonic_ns() < deadline_ns && process_pause(LOOK_MS))
        ended = waitpid(pid, &how, WNOHANG);
    if (ended != pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return error_set(error, STATUS_TIMEOUT, "%s did not finish in time", spec->argv[0]);
    }
    if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
        return STATUS_OK;
    return error_set(error, STATUS_IO, "%s failed; %s says why", spec->argv[0], spec->log_path);
}

// --- recognising ---------------------------------------------------------------------------------

// The target of /proc/PID/NAME, false when there is none or we may not see it.
static bool
proc_link(pid_t pid, const char *name, char out[PROC_TEXT_MAX])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    ssize_t size = readlink(path, out, PROC_TEXT_MAX - 1);
    if (size <= 0)
        return false;
    out[size] = 0;
    return true;
}

bool
process_is(pid_t pid, const char *program)
{
    char target[PROC_TEXT_MAX];
    if (pid <= 0 || !proc_link(pid, "exe", target))
        return false;
    // A program that was replaced while it ran shows as "PATH (deleted)".
    static const char deleted[] = " (deleted)";
    size_t size = strlen(target);
    if (size > sizeof deleted - 1 && strcmp(target + size - (sizeof deleted - 1), deleted) == 0)
        target[size - (sizeof deleted - 1)] = 0;
    const char *slash = strrchr(target, '/');
    return strcmp(slash ? slash + 1 : target, program) == 0;
}

bool
process_is_in(pid_t pid, const char *folder)
{
    char target[PROC_TEXT_MAX];
    char real[PATH_MAX];
    return pid > 0 && proc_link(pid, "cwd", target) && realpath(folder, real) &&
           strcmp(target, real) == 0;
}

bool
process_any_in(const char *folder)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return false;
    bool is_found = false;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone
    for (struct dirent *entry = readdir(proc); entry && !is_found; entry = readdir(proc)) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        is_found = *end == 0 && pid > 0 && process_is_in((pid_t)pid, folder);
    }
    closedir(proc);
    return is_found;
}

// The start of a file of /proc; empty when there is none.
static void
proc_text(const char *path, char out[PROC_TEXT_MAX])
{
    out[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, out, PROC_TEXT_MAX - 1);
    close(fd);
    out[got > 0 ? got : 0] = 0;
}

int64_t
process_started_ns(pid_t pid)
{
    enum { START_FIELD = 22, NAME_FIELD = 2 };
    char path[64];
    char text[PROC_TEXT_MAX];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    proc_text(path, text);
    // The name in parentheses may hold anything, so the fields are counted from its end.
    const char *at = strrchr(text, ')');
    for (int field = NAME_FIELD; at && field < START_FIELD; field++)
        at = strchr(at + 1, ' ');
    int64_t ticks = at ? strtoll(at, NULL, 10) : 0;
    long ticks_per_second = sysconf(_SC_CLK_TCK);
    struct timespec boot;
    struct timespec wall;
    if (ticks == 0 || ticks_per_second <= 0 || clock_gettime(CLOCK_BOOTTIME, &boot) < 0 ||
        clock_gettime(CLOCK_REALTIME, &wall) < 0)
        return 0;
    int64_t booted_ns = (wall.tv_sec - boot.tv_sec) * SECOND_NS + wall.tv_nsec - boot.tv_nsec;
    return booted_ns + ticks * (SECOND_NS / ticks_per_second);
}

bool
process_has_ended(pid_t child)
{
    return waitpid(child, NULL, WNOHANG) != 0;
}

// --- stopping ------------------------------------------------------------------------------------

static enum status
gone_wait(int pidfd, int64_t deadline_ns)
{
    struct pollfd ready = {.fd = pidfd, .events = POLLIN};
    for (;;) {
        int64_t left_ns = deadline_ns - clock_monotonic_ns();
        if (left_ns <= 0)
            return STATUS_TIMEOUT;
        int rc = poll(&ready, 1, (int)(left_ns / 1000000) + 1);
        if (rc > 0)
            return STATUS_OK;
        if (rc < 0 && errno != EINTR)
            return STATUS_IO;
    }
}

enum status
process_stop(pid_t pid, const char *program, int signal, int64_t timeout_ns, struct error *error)
{
    must(pid > 0);
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0 && errno == ESRCH)
        return STATUS_OK;
    if (pidfd < 0)
        return error_set_errno(error, "cannot look at process %d", (int)pid);
    enum status status = STATUS_OK;
    if (process_is(pid, program)) {
        if (pidfd_send_signal(pidfd, signal, NULL, 0) < 0 && errno != ESRCH)
            status = error_set_errno(error, "cannot signal %s (pid %d)", program, (int)pid);
        else
            status = gone_wait(pidfd, clock_monotonic_ns() + timeout_ns);
        if (status && status != STATUS_IO)
            status = error_set(
                error,
                status,
                "%s (pid %d) did not stop in %lld s",
                program,
                (int)pid,
                (long long)(timeout_ns / SECOND_NS));
    }
    close(pidfd);
    // When it is a child of ours nobody else reaps it.
    waitpid(pid, NULL, WNOHANG);
    return status;
}

// --- waiting -------------------------------------------------------------------------------------

static void
interrupt_note(int signal)
{
    (void)signal;
    was_interrupted = 1;
}

void
process_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt_note};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool
process_is_interrupted(void)
{
    return was_interrupted != 0;
}

bool
process_pause(int ms)
{
    if (!was_interrupted)
        poll(NULL, 0, ms);
    return !was_interrupted;
}
