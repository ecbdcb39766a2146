#include "base/progress.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line_row {
    uint64_t total;
    uint64_t done;
    int64_t elapsed_ms;
    const char *line;
};

static const struct line_row lines[] = {
    {0,          0,          0,       "load  0  0/s"                                             },
    {0,          1500,       1000,    "load  1.5k  1.5k/s"                                       },
    {100,        0,          0,       "load  [                        ]   0%  0/s  eta -:--"     },
    {100,        0,          5000,    "load  [                        ]   0%  0/s  eta -:--"     },
    {100,        50,         5000,    "load  [############            ]  50%  10/s  eta 0:05"    },
    {100,        100,        5000,    "load  [########################] 100%  20/s  eta 0:00"    },
    {10000000,   2500000,    1000,    "load  [######                  ]  25%  2.5M/s  eta 0:03"  },
    {1000000,    1000,       60000,   "load  [                        ]   0%  16/s  eta 16:39:00"},
    {3,          1,          90000,   "load  [########                ]  33%  0/s  eta 3:00"     },
    {UINT64_MAX, UINT64_MAX, 1000000, "load  [########################] 100%  18P/s  eta 0:00"   },
    {20000,      9999,       1000,    "load  [###########             ]  49%  9.9k/s  eta 0:01"  },
    {2000000,    999999,     1000,    "load  [###########             ]  49%  999k/s  eta 0:01"  },
};

Test(progress, draws_bar_rate_and_time_left)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct progress progress = {
            .label = "load", .total = lines[i].total, .done = lines[i].done};
        char line[PROGRESS_LINE_MAX];
        size_t size = progress_line(&progress, lines[i].elapsed_ms * 1000000, line);
        cr_assert_str_eq(line, lines[i].line, "row %zu", i);
        cr_assert_eq(size, strlen(line));
    }
}

Test(progress, cuts_a_long_label)
{
    char label[500];
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    struct progress progress = {.label = label, .total = UINT64_MAX, .done = 1};
    char line[PROGRESS_LINE_MAX];
    cr_assert_lt(progress_line(&progress, INT64_MAX, line), PROGRESS_LINE_MAX);
}

Test(progress, says_nothing_without_a_terminal)
{
    int pipes[2];
    cr_assert_eq(pipe2(pipes, O_NONBLOCK), 0);
    cr_assert_geq(dup2(pipes[1], STDERR_FILENO), 0);
    struct progress progress;
    progress_begin(&progress, "importing", 10);
    for (uint64_t i = 0; i <= 12; i++)
        progress_set(&progress, i);
    cr_assert_eq(progress.done, 10);
    progress_end(&progress);
    char text[16];
    cr_assert_eq(read(pipes[0], text, sizeof text), -1);
}

// All a terminal got so far.
static size_t
terminal_read(int fd, char *text, size_t size)
{
    size_t used = 0;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (used < size - 1 && poll(&poll_fd, 1, 100) == 1 && (poll_fd.revents & POLLIN)) {
        ssize_t count = read(fd, text + used, size - 1 - used);
        if (count <= 0)
            break;
        used += (size_t)count;
    }
    text[used] = '\0';
    return used;
}

Test(progress, draws_seldom_on_a_terminal_and_clears_the_line)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        cr_skip_test("no pseudo terminals here");
    cr_assert_eq(grantpt(master), 0);
    cr_assert_eq(unlockpt(master), 0);
    char name[128];
    cr_assert_eq(ptsname_r(master, name, sizeof name), 0);
    int terminal = open(name, O_RDWR | O_NOCTTY);
    cr_assert_geq(terminal, 0);
    cr_assert_geq(dup2(terminal, STDERR_FILENO), 0);

    struct progress progress;
    int64_t began_ns = clock_monotonic_ns();
    progress_begin(&progress, "importing", 1000000);
    for (uint64_t i = 0; i <= 1000; i++)
        progress_set(&progress, i * 1000);
    int64_t took_ns = clock_monotonic_ns() - began_ns;
    progress_end(&progress);

    static char text[1 << 16];
    size_t size = terminal_read(master, text, sizeof text);
    cr_assert_gt(size, 8);
    int64_t draws = 0;
    for (const char *at = strstr(text, "\r\x1b[Kimporting"); at;
         at = strstr(at + 1, "\r\x1b[Kimporting"))
        draws++;
    cr_assert_geq(draws, 1);
    cr_assert_leq(draws, 1 + took_ns / 100000000);
    cr_assert_str_eq(text + size - 4, "\r\x1b[K");
    close(terminal);
    close(master);
}
