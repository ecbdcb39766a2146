#include "tools/process.h"

#include "base/clock.h"
#include "tools/file.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[64];
static struct arena arena;
static struct error error;

static void
begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/process_test_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void
end(void)
{
    folder_remove(folder);
    arena_done(&arena);
}

TestSuite(process, .init = begin, .fini = end);

static struct process_spec
shell(const char *script)
{
    static char *argv[4];
    static char path[] = "/bin/sh";
    static char option[] = "-c";
    argv[0] = path;
    argv[1] = option;
    argv[2] = arena_text(&arena, script);
    argv[3] = NULL;
    return (struct process_spec){
        .argv = argv,
        .log_path = arena_format(&arena, "%s/log", folder),
        .folder = folder,
    };
}

// `read` from /dev/null would return at once, so the shell waits for a child that waits.
static const char waits[] = "exec tail -f /dev/null";

// The shell becomes `tail` a moment after process_start saw the shell run.
static void
await_tail(pid_t pid)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (!process_is(pid, "tail") && clock_monotonic_ns() < deadline_ns)
        process_pause(5);
    cr_assert(process_is(pid, "tail"));
}

Test(process, runs_to_the_end_and_says_when_it_fails)
{
    struct process_spec spec = shell("echo said; pwd");
    cr_assert_eq(process_run(&spec, 60 * SECOND_NS, &error), STATUS_OK, "%s", error.text);
    const char *want = arena_format(&arena, "said\n%s\n", folder);
    cr_assert_str_eq(file_tail(spec.log_path, 0, 200, &arena), want);
    spec = shell("exit 3");
    cr_assert_eq(process_run(&spec, 60 * SECOND_NS, &error), STATUS_IO);
    spec = shell(waits);
    cr_assert_eq(process_run(&spec, SECOND_NS / 10, &error), STATUS_TIMEOUT);
}

Test(process, says_that_a_program_is_missing)
{
    struct process_spec spec = shell("");
    static char missing[] = "/nowhere/program";
    spec.argv = (char *[]){missing, NULL};
    cr_assert_eq(process_run(&spec, 60 * SECOND_NS, &error), STATUS_IO);
    cr_assert_not_null(strstr(error.text, "No such file"), "%s", error.text);
}

Test(process, gives_a_program_none_of_our_files)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    struct process_spec spec = shell(waits);
    pid_t pid;
    cr_assert_eq(process_start(&spec, &pid, &error), STATUS_OK);
    close(ends[1]);
    char byte;
    cr_assert_eq(read(ends[0], &byte, 1), 0, "nobody else holds the pipe open");
    cr_assert_eq(getsid(pid), pid, "it has a session of its own");
    await_tail(pid);
    cr_assert_eq(process_stop(pid, "tail", SIGKILL, 60 * SECOND_NS, &error), STATUS_OK);
}

Test(process, recognises_and_stops_the_right_one)
{
    struct process_spec spec = shell(waits);
    pid_t pid;
    cr_assert_eq(process_start(&spec, &pid, &error), STATUS_OK);
    await_tail(pid);
    cr_assert_not(process_is(pid, "tallyd"));
    cr_assert(process_is_in(pid, folder));
    cr_assert_not(process_is_in(pid, "/"));
    cr_assert(process_any_in(folder));
    cr_assert_not(process_has_ended(pid));
    // Another name: it is left alone.
    cr_assert_eq(process_stop(pid, "tallyd", SIGKILL, SECOND_NS, &error), STATUS_OK);
    cr_assert(process_is(pid, "tail"));
    cr_assert_eq(process_stop(pid, "tail", SIGTERM, 60 * SECOND_NS, &error), STATUS_OK);
    cr_assert_not(process_is(pid, "tail"));
    cr_assert_not(process_any_in(folder));
    cr_assert_eq(process_stop(pid, "tail", SIGTERM, SECOND_NS, &error), STATUS_OK);
}

Test(process, says_that_one_does_not_stop)
{
    struct process_spec spec =
        shell("trap '' TERM; echo ready; while :; do read -r x <&9; done 2>&-"
              " 9</dev/zero");
    pid_t pid;
    cr_assert_eq(process_start(&spec, &pid, &error), STATUS_OK);
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (file_size(spec.log_path) == 0 && clock_monotonic_ns() < deadline_ns)
        process_pause(5);
    char name[64];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t size = readlink(path, name, sizeof name - 1);
    cr_assert_gt(size, 0);
    name[size] = 0;
    const char *program = strrchr(name, '/') + 1;
    cr_assert_eq(process_stop(pid, program, SIGTERM, SECOND_NS / 5, &error), STATUS_TIMEOUT);
    cr_assert_eq(process_stop(pid, program, SIGKILL, 60 * SECOND_NS, &error), STATUS_OK);
}

Test(process, knows_when_one_started)
{
    struct timespec now;
    cr_assert_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
    int64_t now_ns = now.tv_sec * SECOND_NS + now.tv_nsec;
    int64_t started_ns = process_started_ns(getpid());
    cr_assert_leq(started_ns, now_ns + SECOND_NS);
    cr_assert_gt(started_ns, now_ns - 120 * SECOND_NS);
    cr_assert_leq(process_started_ns(1), started_ns);
    cr_assert_eq(process_started_ns(0x7ffffffe), 0);
}

Test(process, knows_users_and_where_they_may_go)
{
    struct process_user user;
    cr_assert_eq(process_user_find("no such user", &user, &error), STATUS_NOT_FOUND);
    cr_assert_eq(process_user_find("nobody", &user, &error), STATUS_OK);
    if (geteuid() != 0)
        cr_skip("only root can become another user");
    cr_assert(process_user_can_enter(&user, "/"));
    cr_assert_not(process_user_can_enter(&user, folder), "mkdtemp makes folders for us only");
}
