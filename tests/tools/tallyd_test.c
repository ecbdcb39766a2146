#include "tools/tallyd.h"

#include "tools/file.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];
static struct arena arena;
static struct error error;

static void
begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/tallyd_test_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void
end(void)
{
    folder_remove(folder);
    arena_done(&arena);
}

TestSuite(tallyd, .init = begin, .fini = end);

static enum status
read_text(const char *text, struct tallyd *out)
{
    const char *path = arena_format(&arena, "%s/tallyd.json", folder);
    cr_assert_eq(file_write(path, 0644, bytes_text(text), &error), STATUS_OK);
    return tallyd_read(folder, &arena, out, &error);
}

Test(tallyd, reads_what_it_says_of_itself)
{
    struct tallyd tallyd;
    cr_assert_eq(tallyd_read(folder, &arena, &tallyd, &error), STATUS_NOT_FOUND);
    cr_assert_eq(
        read_text(
            "{\"pid\":12,\"tcp\":\"127.0.0.1:24224\",\"udp\":\"[::1]:24224\",\"unix\":\"/d/"
            "tallyd.sock\","
            "\"metrics\":null}\n",
            &tallyd),
        STATUS_OK);
    cr_assert_eq(tallyd.pid, 12);
    cr_assert_str_eq(tallyd.tcp, "127.0.0.1:24224");
    cr_assert_str_eq(tallyd.udp, "[::1]:24224");
    cr_assert_str_eq(tallyd.unix_path, "/d/tallyd.sock");
    cr_assert_str_eq(tallyd.metrics, "");
}

Test(tallyd, refuses_what_it_would_not_write)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"pid\":\"12\"}",
        "{\"pid\":0}",
        "{\"pid\":-1}",
        "{\"pid\":1.5}",
        "{\"pid\":4294967297}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct tallyd tallyd;
        cr_assert_eq(read_text(texts[i], &tallyd), STATUS_INVALID, "%s", texts[i]);
    }
}

Test(tallyd, takes_no_stranger_for_it)
{
    struct tallyd tallyd;
    const char *text = arena_format(&arena, "{\"pid\":%d}", (int)getpid());
    cr_assert_eq(read_text(text, &tallyd), STATUS_OK);
    cr_assert_not(tallyd_is_running(folder, &tallyd), "we live, but are no tallyd");
}
