// The other end is played by the test, which sends in pieces that end anywhere.
#include "bench/talk.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

struct stage {
    char dir[32];
    char path[64];
    int listen_fd;
    struct endpoint endpoint;
    const char *answer;
    size_t piece;
    char heard[64];
    pthread_t thread;
};

static void *
server_run(void *context)
{
    struct stage *stage = context;
    int fd = accept(stage->listen_fd, NULL, NULL);
    ssize_t size = recv(fd, stage->heard, sizeof stage->heard - 1, 0);
    stage->heard[size > 0 ? size : 0] = '\0';
    size_t left = strlen(stage->answer);
    for (const char *at = stage->answer; left > 0;) {
        size_t part = left < stage->piece ? left : stage->piece;
        (void)send(fd, at, part, MSG_NOSIGNAL);
        at += part;
        left -= part;
    }
    close(fd);
    return NULL;
}

static struct talk
stage_open(struct stage *stage, const char *answer, size_t piece)
{
    struct talk talk;
    struct error error = {0};
    *stage = (struct stage){.dir = "/tmp/talk-XXXXXX", .answer = answer, .piece = piece};
    cr_assert_not_null(mkdtemp(stage->dir));
    (void)snprintf(stage->path, sizeof stage->path, "%s/sock", stage->dir);
    enum status status = endpoint_resolve(TRANSPORT_UNIX, stage->path, &stage->endpoint, &error);
    cr_assert_eq(status, STATUS_OK);
    stage->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct sockaddr *address = (const struct sockaddr *)&stage->endpoint.address;
    cr_assert_eq(bind(stage->listen_fd, address, stage->endpoint.address_size), 0);
    cr_assert_eq(listen(stage->listen_fd, 1), 0);
    cr_assert_eq(pthread_create(&stage->thread, NULL, server_run, stage), 0);
    cr_assert_eq(talk_open(&stage->endpoint, &talk, &error), STATUS_OK, "%s", error.text);
    buffer_text(&talk.out, "HELLO");
    cr_assert_eq(talk_flush(&talk, &error), STATUS_OK);
    cr_assert_eq(talk.out.size, 0);
    return talk;
}

static void
stage_done(struct stage *stage, struct talk *talk)
{
    talk_close(talk);
    cr_assert_eq(pthread_join(stage->thread, NULL), 0);
    cr_assert_str_eq(stage->heard, "HELLO");
    close(stage->listen_fd);
    cr_assert_eq(unlink(stage->path), 0);
    cr_assert_eq(rmdir(stage->dir), 0);
}

static void
line_expect(struct talk *talk, const char *text)
{
    struct bytes line;
    struct error error = {0};
    cr_assert_eq(talk_line(talk, &line, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(line.size, strlen(text));
    cr_assert_eq(memcmp(line.data, text, line.size), 0);
}

Test(talk, reads_lines_and_counted_bytes_however_they_are_cut)
{
    static const size_t pieces[] = {1, 2, 3, 7, 100};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct stage stage;
        struct bytes bytes;
        struct error error = {0};
        struct talk talk = stage_open(&stage, "one\r\n\r\n$9\r\na\nb\r\nc\r\n!end\n", pieces[i]);
        line_expect(&talk, "one");
        line_expect(&talk, "");
        line_expect(&talk, "$9");
        cr_assert_eq(talk_bytes(&talk, 9, &bytes, &error), STATUS_OK);
        cr_assert_eq(memcmp(bytes.data, "a\nb\r\nc\r\n!", 9), 0);
        line_expect(&talk, "end");
        stage_done(&stage, &talk);
    }
}

Test(talk, says_that_the_other_end_is_gone)
{
    struct stage stage;
    struct bytes bytes;
    struct error error = {0};
    struct talk talk = stage_open(&stage, "half", 100);
    cr_assert_eq(talk_line(&talk, &bytes, &error), STATUS_CLOSED);
    cr_assert_eq(talk_bytes(&talk, 5, &bytes, &error), STATUS_CLOSED);
    stage_done(&stage, &talk);
}
