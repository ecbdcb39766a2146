#include "bench/program.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char SHELL[] = "/bin/sh", SCRIPT[] = "-c";

static enum status
script_output(char *text, struct buffer *out, int *out_exit_status)
{
    struct error error = {0};
    char *argv[] = {SHELL, SCRIPT, text, NULL};
    return program_output(argv, out, out_exit_status, &error);
}

Test(program, keeps_what_another_prints_and_how_it_ended)
{
    scoped(buffer_done) struct buffer out = {0};
    int exit_status = -1;
    char text[] = "echo one; echo two; exit 3";
    cr_assert_eq(script_output(text, &out, &exit_status), STATUS_OK);
    cr_assert_eq(exit_status, 3);
    cr_assert_eq(out.size, 8);
    cr_assert_eq(memcmp(out.data, "one\ntwo\n", 8), 0);
}

Test(program, says_when_one_was_killed)
{
    scoped(buffer_done) struct buffer out = {0};
    int exit_status = -1;
    char text[] = "kill -9 $$";
    cr_assert_eq(script_output(text, &out, &exit_status), STATUS_IO);
    cr_assert_eq(exit_status, -1);
}

Test(program, finds_what_is_installed)
{
    char path[PATH_MAX];
    struct error error = {0};
    cr_assert_eq(program_find("sh", path, &error), STATUS_OK);
    cr_assert_eq(access(path, X_OK), 0);
    cr_assert_eq(program_find("no-such-program-of-ours", path, &error), STATUS_NOT_FOUND);
}

Test(program, runs_until_it_is_stopped_and_tells_its_time)
{
    char dir[] = "/tmp/program-XXXXXX", mark[64], text[128];
    struct program program;
    struct error error = {0};
    int64_t cpu_ns = 0;
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(mark, sizeof mark, "%s/mark", dir);
    // A child's time counts as well, once it was waited for.
    (void)snprintf(
        text,
        sizeof text,
        "(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done); echo > mark; while :; do :; done");
    char *argv[] = {SHELL, SCRIPT, text, NULL};
    cr_assert_eq(program_start(&program, argv, dir, NULL, &error), STATUS_OK, "%s", error.text);
    int64_t deadline_ns = clock_monotonic_ns() + INT64_C(60000000000);
    while (access(mark, F_OK) != 0) {
        cr_assert_not(program_has_ended(&program));
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)poll(NULL, 0, 5);
    }
    cr_assert_eq(program_stop(&program, SIGTERM, &cpu_ns, &error), STATUS_OK, "%s", error.text);
    cr_assert_gt(cpu_ns, 0);
    cr_assert_eq(program.pid, 0);
    program_done(&program);
    cr_assert_eq(unlink(mark), 0);
    cr_assert_eq(unlink(program.log), 0);
    cr_assert_eq(rmdir(dir), 0);
}

Test(program, must_end_well_when_it_is_run)
{
    char dir[] = "/tmp/program-XXXXXX", good[] = "exit 0", bad[] = "exit 1", log[64];
    struct error error = {0};
    cr_assert_not_null(mkdtemp(dir));
    char *good_argv[] = {SHELL, SCRIPT, good, NULL}, *bad_argv[] = {SHELL, SCRIPT, bad, NULL};
    cr_assert_eq(program_run(good_argv, dir, NULL, &error), STATUS_OK);
    cr_assert_eq(program_run(bad_argv, dir, NULL, &error), STATUS_IO);
    (void)snprintf(log, sizeof log, "%s/log", dir);
    cr_assert_eq(unlink(log), 0);
    cr_assert_eq(rmdir(dir), 0);
}
