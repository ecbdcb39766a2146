#include "base/log.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// Standard error goes to a file of our own; clock_init makes the time a known one.
static int log_fd;

static void
log_capture(void)
{
    char path[] = "/tmp/tally-log-XXXXXX";
    char clock_path[] = "/tmp/tally-log-clock-XXXXXX";
    log_fd = mkstemp(path);
    int clock_fd = mkstemp(clock_path);
    cr_assert(log_fd >= 0 && clock_fd >= 0);
    int64_t time_ns = 1700158546007000999;
    cr_assert_eq(write(clock_fd, &time_ns, sizeof time_ns), (ssize_t)sizeof time_ns);
    setenv("TALLY_CLOCK", clock_path, 1);
    struct error error;
    cr_assert_eq(clock_init(&error), STATUS_OK);
    close(clock_fd);
    unlink(clock_path);
    unlink(path);
    cr_assert_geq(dup2(log_fd, STDERR_FILENO), 0);
}

// What has been written since the last call.
static char *
log_taken(struct arena *arena)
{
    off_t size = lseek(log_fd, 0, SEEK_END);
    char *text = arena_take(arena, (size_t)size + 1, 1);
    cr_assert_eq(pread(log_fd, text, (size_t)size, 0), size);
    cr_assert_eq(ftruncate(log_fd, 0), 0);
    cr_assert_eq(lseek(log_fd, 0, SEEK_SET), 0);
    return text;
}

TestSuite(log, .init = log_capture);

Test(log, writes_a_line_of_key_and_value)
{
    scoped(arena_done) struct arena arena = {0};
    log_info("listening", LOG_TEXT("tcp", "127.0.0.1:24224"), LOG_INT("shards", 2));
    cr_assert_str_eq(
        log_taken(&arena),
        "time=2023-11-16T18:15:46.007Z level=info event=listening tcp=127.0.0.1:24224 shards=2\n");
    log_error("stopped");
    cr_assert_str_eq(
        log_taken(&arena), "time=2023-11-16T18:15:46.007Z level=error event=stopped\n");
    log_write(LOG_LEVEL_WARN, "bare", NULL);
    cr_assert_str_eq(log_taken(&arena), "time=2023-11-16T18:15:46.007Z level=warn event=bare\n");
}

Test(log, drops_what_is_below_the_level)
{
    scoped(arena_done) struct arena arena = {0};
    log_debug("quiet");
    cr_assert_str_eq(log_taken(&arena), "");
    log_init("tallyd", LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    log_warn("quiet");
    cr_assert_str_eq(log_taken(&arena), "");
    log_init("tallyd", LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG);
    log_debug("loud");
    cr_assert_not_null(strstr(log_taken(&arena), "level=debug event=loud\n"));
}

#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

struct value_row {
    struct bytes value;
    const char *text;
    const char *json;
};

static const struct value_row values[] = {
    {BYTES("plain"),        "plain",                  "\"plain\""                   },
    {BYTES("a\\b"),         "a\\b",                   "\"a\\\\b\""                  },
    {BYTES("\xC3\xA4"),     "\xC3\xA4",               "\"\xC3\xA4\""                },
    {{NULL, 0},             "\"\"",                   "\"\""                        },
    {BYTES("two words"),    "\"two words\"",          "\"two words\""               },
    {BYTES("a=b"),          "\"a=b\"",                "\"a=b\""                     },
    {BYTES("say \"hi\"\\"), "\"say \\\"hi\\\"\\\\\"", "\"say \\\"hi\\\"\\\\\""      },
    {BYTES("1\n2\r3\t"),    "\"1\\n2\\r3\\t\"",       "\"1\\n2\\r3\\t\""            },
    {BYTES("\0\x1B\x7F"),   "\"\\x00\\x1b\\x7f\"",    "\"\\u0000\\u001b\x7F\""      },
    {BYTES("\xFF\xC3"),     "\"\\xff\\xc3\"",         "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
};

Test(log, quotes_and_escapes_values)
{
    scoped(arena_done) struct arena arena = {0};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        log_init("p", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
        log_info("e", LOG_BYTES("v", values[i].value));
        const char *line = strstr(log_taken(&arena), " v=");
        cr_assert_not_null(line);
        cr_assert_str_eq(line + 3, arena_format(&arena, "%s\n", values[i].text), "row %zu", i);

        log_init("p", LOG_FORMAT_JSON, LOG_LEVEL_INFO);
        log_info("e", LOG_BYTES("v", values[i].value));
        line = strstr(log_taken(&arena), "\"v\":");
        cr_assert_not_null(line);
        cr_assert_str_eq(line + 4, arena_format(&arena, "%s}\n", values[i].json), "row %zu", i);
    }
}

Test(log, json_lines_are_json_whatever_the_bytes)
{
    scoped(arena_done) struct arena arena = {0};
    log_init("tallyd", LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    for (int first = 0; first < 256; first++) {
        uint8_t bytes[] = {(uint8_t)first, 0xC3, (uint8_t)first, '"'};
        log_warn(
            "odd",
            LOG_BYTES("b", bytes_of(bytes, sizeof bytes)),
            LOG_INT("n", INT64_MIN),
            LOG_TEXT("none", NULL));
        const char *line = log_taken(&arena);
        struct json *root = NULL;
        struct error error = {0};
        cr_assert_eq(
            json_parse(bytes_text(line), NULL, &arena, &root, &error), STATUS_OK, "%s", line);
        cr_assert(json_is_text(json_member(root, "time"), "2023-11-16T18:15:46.007Z"));
        cr_assert(json_is_text(json_member(root, "program"), "tallyd"));
        cr_assert(json_is_text(json_member(root, "event"), "odd"));
        cr_assert_eq(json_member(root, "none")->type, JSON_NULL);
        int64_t number = 0;
        cr_assert_eq(json_int64(json_member(root, "n"), &number), STATUS_OK);
        cr_assert_eq(number, INT64_MIN);
        cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1);
        arena_reset(&arena);
    }
}

Test(log, a_long_value_is_cut)
{
    scoped(arena_done) struct arena arena = {0};
    char *text = arena_take(&arena, 100000, 1);
    memset(text, 'x', 99999);
    log_info("long", LOG_TEXT("v", text), LOG_INT("after", 1));
    const char *line = log_taken(&arena);
    cr_assert_lt(strlen(line), 3000);
    cr_assert_not_null(strstr(line, "xx after=1\n"));
}

Test(log, keeps_errno)
{
    errno = EBADF;
    log_info("x");
    cr_assert_eq(errno, EBADF);
}

enum { THREADS = 4, LINES = 300 };

static void *
lines_write(void *context)
{
    for (int i = 0; i < LINES; i++)
        log_info(
            "line", LOG_TEXT("who", context), LOG_INT("n", i), LOG_TEXT("pad", "some padding"));
    return NULL;
}

// What is in the pipe, which ends then.
static char *
pipe_drained(int fd, struct arena *arena)
{
    enum { TEXT_MAX = 4 << 20 };
    char *text = arena_take(arena, TEXT_MAX, 1);
    size_t size = 0;
    ssize_t count;
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while ((count = read(fd, text + size, TEXT_MAX - 1 - size)) > 0)
        size += (size_t)count;
    text[size] = '\0';
    return text;
}

// Every line is written or counted; none is torn but one at the end of what had room, which has its
// end before the next.
static void
lines_count(char *text, int64_t *out_whole, int64_t *out_lost)
{
    *out_whole = *out_lost = 0;
    for (char *line = strsep(&text, "\n"); line != NULL; line = strsep(&text, "\n")) {
        const char *lost = strstr(line, "event=log_lost lines=");
        size_t size = strlen(line);
        if (lost != NULL)
            *out_lost += strtoll(lost + strlen("event=log_lost lines="), NULL, 10);
        else
            *out_whole += size > 4 && strcmp(line + size - 4, " z=1") == 0;
    }
}

Test(log, a_reader_who_does_not_read_stops_nobody_and_what_is_lost_is_counted)
{
    scoped(arena_done) struct arena arena = {0};
    enum { LINES_MORE = 5000, ROUNDS = 3 };
    int fds[2];
    char *pad = arena_take(&arena, 2048, 1);
    memset(pad, 'x', 2047);
    cr_assert_eq(pipe(fds), 0);
    cr_assert_geq(dup2(fds[1], STDERR_FILENO), 0);
    int64_t whole = 0, lost = 0, given = 0;
    for (int round = 0; round < ROUNDS; round++) {
        // Lines of two hundred bytes, and some that are longer than PIPE_BUF.
        for (int i = 0; i < LINES_MORE; i++) {
            bool is_long = i % 7 == 3;
            log_info(
                "line",
                LOG_TEXT("a", is_long ? pad : pad + 1900),
                LOG_TEXT("b", is_long ? pad : ""),
                LOG_TEXT("c", is_long ? pad : ""),
                LOG_INT("z", 1));
        }
        given += LINES_MORE;
        int64_t round_whole, round_lost;
        lines_count(pipe_drained(fds[0], &arena), &round_whole, &round_lost);
        whole += round_whole;
        lost += round_lost;
        cr_assert_gt(round_whole, 0);
        cr_assert_lt(whole, given, "a pipe does not hold them all");
    }
    int64_t last_whole, last_lost;
    log_info("line", LOG_INT("z", 1));
    lines_count(pipe_drained(fds[0], &arena), &last_whole, &last_lost);
    cr_assert_eq(last_whole, 1);
    cr_assert_gt(last_lost, 0);
    cr_assert_eq(whole + lost + last_whole + last_lost, given + 1);
}

Test(log, threads_do_not_mix_lines)
{
    scoped(arena_done) struct arena arena = {0};
    static const char *const names[THREADS] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    cr_assert_eq(fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND), 0);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(
            pthread_create(&threads[i], NULL, lines_write, (void *)(uintptr_t)names[i]), 0);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    int count = 0;
    char *rest = log_taken(&arena);
    for (char *line = strsep(&rest, "\n"); line != NULL && *line; line = strsep(&rest, "\n")) {
        char who;
        int n;
        cr_assert_eq(
            sscanf(
                line, "time=2023-11-16T18:15:46.007Z level=info event=line who=%c n=%d", &who, &n),
            2,
            "%s",
            line);
        cr_assert_not_null(strstr(line, " pad=\"some padding\""));
        count++;
    }
    cr_assert_eq(count, THREADS * LINES);
}

Test(log, names_of_levels_and_formats)
{
    enum log_level level;
    enum log_format format;
    cr_assert(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
    cr_assert(log_level_parse("error", &level) && level == LOG_LEVEL_ERROR);
    cr_assert_not(log_level_parse("ERROR", &level));
    cr_assert_not(log_level_parse("", &level));
    cr_assert(log_format_parse("json", &format) && format == LOG_FORMAT_JSON);
    cr_assert(log_format_parse("text", &format) && format == LOG_FORMAT_TEXT);
    cr_assert_not(log_format_parse("xml", &format));
}
