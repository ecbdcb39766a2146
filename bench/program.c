#include "bench/program.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t STOP_TIMEOUT_NS = 120 * 1000000000LL;

enum { LOOK_MS = 10, EXIT_EXEC_FAILED = 127, READ_SIZE = 64 * 1024 };

enum status
program_find(const char *name, char out[PATH_MAX], struct error *error)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the environment
    const char *list = getenv("PATH");
    char places[PATH_MAX];
    (void)snprintf(places, sizeof places, "%s:/usr/sbin", list != NULL ? list : "/usr/bin");
    for (const char *place = places; *place != '\0';) {
        size_t size = strcspn(place, ":");
        (void)snprintf(out, PATH_MAX, "%.*s/%s", (int)size, place, name);
        if (size > 0 && access(out, X_OK) == 0)
            return STATUS_OK;
        place += size + (place[size] == ':');
    }
    return error_set(error, STATUS_NOT_FOUND, "there is no program %s", name);
}

enum status
program_beside(const char *name, char out[PATH_MAX], struct error *error)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size <= 0)
        return error_set_errno(error, "cannot find our own program");
    self[size] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = '\0';
    scoped(buffer_done) struct buffer path = {0};
    buffer_format(&path, "%s/%s", self, name);
    size_t length = bytes_to_text(buffer_view(&path), out, PATH_MAX);
    if (length != path.size || access(out, X_OK) != 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no program %s in %s", name, self);
    return STATUS_OK;
}

struct identity {
    uid_t uid;
    gid_t gid;
    bool is_other;
};

static enum status
identity_find(const char *user, struct identity *out, struct error *error)
{
    *out = (struct identity){0};
    if (user == NULL || geteuid() != 0)
        return STATUS_OK;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): main, before any thread
    const struct passwd *found = getpwnam(user);
    if (found == NULL)
        return error_set(error, STATUS_NOT_FOUND, "there is no user %s to run it as", user);
    *out = (struct identity){.uid = found->pw_uid, .gid = found->pw_gid, .is_other = true};
    return STATUS_OK;
}

// In the child: only calls that are safe after fork, and then the program.
_Noreturn static void
child_run(
    const struct program *program,
    char *const *argv,
    const char *dir,
    const struct identity *identity,
    pid_t parent)
{
    int log = open(program->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    bool is_ready = log >= 0 && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
                    dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0 &&
                    chdir(dir) == 0;
    if (is_ready && identity->is_other)
        is_ready = setgroups(1, &identity->gid) == 0 && setgid(identity->gid) == 0 &&
                   setuid(identity->uid) == 0;
    // After the change of the user, which would clear it.
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (is_ready && getppid() == parent)
        execv(argv[0], argv);
    _exit(EXIT_EXEC_FAILED);
}

enum status
program_start(
    struct program *program,
    char *const *argv,
    const char *dir,
    const char *user,
    struct error *error)
{
    struct identity identity;
    *program = (struct program){0};
    (void)snprintf(program->log, sizeof program->log, "%.*s/log", PATH_MAX - 8, dir);
    enum status status = identity_find(user, &identity, error);
    if (status != STATUS_OK)
        return status;
    if (identity.is_other && chown(dir, identity.uid, identity.gid) != 0)
        return error_set_errno(error, "cannot give %s to %s", dir, user);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return error_set_errno(error, "cannot start %s", argv[0]);
    if (pid == 0)
        child_run(program, argv, dir, &identity, parent);
    program->pid = pid;
    return STATUS_OK;
}

enum status
program_run(char *const *argv, const char *dir, const char *user, struct error *error)
{
    struct program program;
    int wait_status = 0;
    enum status status = program_start(&program, argv, dir, user, error);
    if (status != STATUS_OK)
        return status;
    while (waitpid(program.pid, &wait_status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_IO,
        "%s fails in %s: may %s go into it?",
        argv[0],
        dir,
        user != NULL ? user : "this user");
}

bool
program_has_ended(struct program *program)
{
    if (program->pid > 0 && waitpid(program->pid, NULL, WNOHANG) != program->pid)
        return false;
    program->pid = 0;
    return true;
}

enum status
program_stop(struct program *program, int signal, int64_t *out_cpu_ns, struct error *error)
{
    struct rusage usage;
    int64_t deadline_ns = clock_monotonic_ns() + STOP_TIMEOUT_NS;
    // kill(0) would signal our own group.
    must(program->pid > 0);
    if (kill(program->pid, signal) != 0)
        return error_set_errno(error, "cannot stop a program");
    // Its children's time is in it: those that it waited for, as servers do.
    while (wait4(program->pid, NULL, WNOHANG, &usage) != program->pid) {
        if (clock_monotonic_ns() > deadline_ns)
            return error_set(error, STATUS_TIMEOUT, "a program does not stop");
        (void)poll(NULL, 0, LOOK_MS);
    }
    program->pid = 0;
    *out_cpu_ns = ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND_NS +
                  ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
    return STATUS_OK;
}

void
program_done(struct program *program)
{
    if (program->pid <= 0)
        return;
    (void)kill(program->pid, SIGKILL);
    (void)waitpid(program->pid, NULL, 0);
    program->pid = 0;
}

// --- one that is run for what it prints ---

static enum status
output_start(char *const *argv, pid_t *out_pid, int *out_fd, struct error *error)
{
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_set_errno(error, "cannot make a pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int rc = posix_spawn(out_pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *out_fd = ends[0];
    if (rc == 0)
        return STATUS_OK;
    close(ends[0]);
    errno = rc;
    return error_set_errno(error, "cannot run %s", argv[0]);
}

static void
output_read(int fd, struct buffer *out)
{
    for (;;) {
        uint8_t *place = buffer_reserve(out, READ_SIZE);
        ssize_t size = place != NULL ? read(fd, place, READ_SIZE) : 0;
        if (size > 0)
            buffer_commit(out, (size_t)size);
        if (size == 0 || (size < 0 && errno != EINTR))
            return;
    }
}

enum status
program_output(char *const *argv, struct buffer *out, int *out_exit_status, struct error *error)
{
    int fd = -1, wait_status = 0;
    pid_t pid = 0, waited;
    enum status status = output_start(argv, &pid, &fd, error);
    if (status != STATUS_OK)
        return status;
    output_read(fd, out);
    close(fd);
    do
        waited = waitpid(pid, &wait_status, 0);
    while (waited < 0 && errno == EINTR);
    if (waited != pid || !WIFEXITED(wait_status))
        return error_set(error, STATUS_IO, "%s did not end well", argv[0]);
    if (buffer_failed(out))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the output of %s", argv[0]);
    *out_exit_status = WEXITSTATUS(wait_status);
    return STATUS_OK;
}
