#include "base/assert.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Test(assert, passes_what_is_true)
{
    int evaluated = 0;
    must(++evaluated == 1);
    cr_assert_eq(evaluated, 1);
}

Test(assert, stops_at_what_is_false, .signal = SIGABRT)
{
    must(1 + 1 == 3);
}

Test(assert, says_file_line_and_condition)
{
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        must_fail("room/file.c", 42, "count < limit");
    }
    close(pipes[1]);
    char text[256] = {0};
    cr_assert_gt(read(pipes[0], text, sizeof text - 1), 0);
    cr_assert_str_eq(text, "room/file.c:42: assertion failed: count < limit\n");
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGABRT);
    close(pipes[0]);
}
