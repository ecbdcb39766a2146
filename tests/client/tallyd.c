#include "tests/client/tallyd.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 32, LOOK_MS = 2 };

static void
file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(close(fd), 0);
}

void
tallyd_open(struct tallyd *tallyd)
{
    *tallyd = (struct tallyd){.dir = "/tmp/tally-daemon-XXXXXX"};
    cr_assert_not_null(mkdtemp(tallyd->dir));
    (void)snprintf(tallyd->key, sizeof tallyd->key, "%s/key", tallyd->dir);
    file_write(tallyd->key, "key\n");
    (void)snprintf(tallyd->users, sizeof tallyd->users, "%s/users", tallyd->dir);
    file_write(tallyd->users, "acme = horse\nimporter = staple backfill\n");
}

// Where tallyd logs that it listens. False: it has not said so yet.
static bool
port_find(const char *log, char out[64])
{
    char text[8192];
    unsigned port;
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    const char *at = strstr(text, "127.0.0.1:");
    if (at == NULL || strpbrk(at, " \"\n,") == NULL)
        return false;
    cr_assert_eq(sscanf(at, "127.0.0.1:%u", &port), 1);
    (void)snprintf(out, 64, "127.0.0.1:%u", port);
    return true;
}

// In the child.
static void
program_run(const struct tallyd *tallyd, const char *log, const char *const *arguments)
{
    char program[PATH_MAX], data[128];
    const char *bin = getenv("TALLY_BIN_DIR");
    int fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (bin == NULL || fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    (void)snprintf(program, sizeof program, "%s/tallyd", bin);
    (void)snprintf(data, sizeof data, "%s/data", tallyd->dir);
    const char *all[ARGUMENTS_MAX + 1] = {
        program,
        "--data",
        data,
        "--tcp",
        "127.0.0.1:0",
        "--udp",
        "none",
        "--metrics",
        "none",
        "--shards",
        "1"};
    for (size_t i = 11; i < ARGUMENTS_MAX && *arguments != NULL; i++)
        all[i] = *arguments++;
    // execv writes to none of them.
    execv(program, (char *const *)all);
    _exit(127);
}

void
tallyd_start(struct tallyd *tallyd, const char *const *arguments)
{
    char log[128];
    (void)snprintf(log, sizeof log, "%s/log", tallyd->dir);
    file_write(log, "");
    tallyd->pid = fork();
    cr_assert_geq(tallyd->pid, 0);
    if (tallyd->pid == 0)
        program_run(tallyd, log, arguments);
    int64_t deadline_ns = clock_monotonic_ns() + TALLYD_WAIT_MS * INT64_C(1000000);
    while (!port_find(log, tallyd->server)) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "tallyd did not say where it listens");
        (void)poll(NULL, 0, LOOK_MS);
    }
}

void
tallyd_open_backfill(const struct tallyd *tallyd, const char *id)
{
    char program[PATH_MAX], data[128];
    int wait_status;
    const char *bin = getenv("TALLY_BIN_DIR");
    cr_assert_not_null(bin);
    (void)snprintf(program, sizeof program, "%s/tally", bin);
    (void)snprintf(data, sizeof data, "%s/data", tallyd->dir);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        execl(
            program,
            program,
            "ledger",
            "backfill",
            "open",
            "--data",
            data,
            "--id",
            id,
            "--who",
            "test",
            (char *)NULL);
        _exit(127);
    }
    cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
    cr_assert(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
}

static int
entry_remove(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

void
tallyd_done(const struct tallyd *tallyd)
{
    int wait_status;
    cr_assert_eq(kill(tallyd->pid, SIGTERM), 0);
    cr_assert_eq(waitpid(tallyd->pid, &wait_status, 0), tallyd->pid);
    cr_assert(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
    cr_assert_eq(nftw(tallyd->dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}
