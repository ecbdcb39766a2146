// The drive against a server that the test plays, and heads of answers cut at every length.
#include "bench/http_drive.h"

#include "base/clock.h"
#include "base/pool.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTHING "HTTP/1.1 204 No Content\r\n\r\n"
#define FOUR    "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 4\r\nDate: today\r\n\r\nbody"

enum { STALL_MS = 300, ANSWERS_MAX = 100000 };

Test(http_drive, reads_heads_of_answers)
{
    // clang-format off
    static const struct {
        const char *text;
        uint32_t status;
        size_t body;
        bool is_known, is_kept;
    } cases[] = {
        {NOTHING, 204, 0, true, true},
        {FOUR, 200, 4, true, true},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", 304, 0, true, true},
        {"HTTP/1.1 200 OK\r\n\r\n", 200, 0, false, true},
        {"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 10\r\n\r\n", 503, 10, true,
         false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 200, 1,
         false, true},
        {"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n", 0, 0, false, true},
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", 0, 0, false, true},
        {"\r\n\r\n", 0, 0, false, true},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_answer answer;
        const char *end = strstr(cases[i].text, "\r\n\r\n") + 4;
        size_t head = (size_t)(end - cases[i].text);
        for (size_t size = 0; size < head; size++) {
            // A copy of this size, so that a byte too many is seen.
            uint8_t *cut = pool_take(1, size + 1);
            memcpy(cut, cases[i].text, size);
            cr_assert_not(http_answer_read(bytes_of(cut, size), &answer), "case %zu", i);
            pool_give(cut);
        }
        cr_assert(http_answer_read(bytes_text(cases[i].text), &answer), "case %zu", i);
        cr_assert_eq(answer.head_size, head, "case %zu", i);
        cr_assert_eq(answer.status, cases[i].status, "case %zu", i);
        cr_assert_eq(answer.is_known, cases[i].is_known, "case %zu", i);
        cr_assert_eq(answer.is_kept, cases[i].is_kept, "case %zu", i);
        if (cases[i].is_known)
            cr_assert_eq(answer.body_size, cases[i].body, "case %zu", i);
    }
}

struct stage {
    char dir[32], path[64];
    int listen_fd;
    const char *answer;  // to each request; NULL: the connection is closed
    size_t piece;        // bytes at a time
    bool is_stalling;    // before the first answer
    uint32_t requests;   // received, when the server is joined
    struct http_drive *drive;
    struct http_drive_options options;
    pthread_t server;
};

static void
request_make(void *context, struct buffer *out)
{
    (void)context;
    buffer_text(out, "GET / HTTP/1.1\r\n\r\n");
}

// Requests are told apart by their ends, the only '\n' that follow one another by two bytes.
static bool
request_read(int fd)
{
    char byte;
    uint32_t ends = 0;
    while (ends < 4 && recv(fd, &byte, 1, 0) == 1)
        ends = byte == '\r' || byte == '\n' ? ends + 1 : 0;
    return ends == 4;
}

static void *
server_run(void *context)
{
    struct stage *stage = context;
    int fd = accept(stage->listen_fd, NULL, NULL);
    while (request_read(fd) && stage->answer != NULL) {
        if (stage->is_stalling && stage->requests == 0)
            (void)poll(NULL, 0, STALL_MS);
        stage->requests++;
        size_t left = strlen(stage->answer);
        for (const char *at = stage->answer; left > 0;) {
            size_t part = left < stage->piece ? left : stage->piece;
            (void)send(fd, at, part, MSG_NOSIGNAL);
            at += part;
            left -= part;
        }
    }
    close(fd);
    return NULL;
}

static void
stage_open(struct stage *stage, const char *answer, uint32_t status)
{
    struct error error = {0};
    *stage = (struct stage){.dir = "/tmp/http-XXXXXX", .answer = answer, .piece = ANSWERS_MAX};
    cr_assert_not_null(mkdtemp(stage->dir));
    (void)snprintf(stage->path, sizeof stage->path, "%s/sock", stage->dir);
    stage->options = (struct http_drive_options){
        .connections = 1,
        .requests_max = 50,
        .silence_ns = 60 * SECOND_NS,
        .status = status,
        .make = request_make,
    };
    struct endpoint *endpoint = &stage->options.endpoint;
    cr_assert_eq(endpoint_resolve(TRANSPORT_UNIX, stage->path, endpoint, &error), STATUS_OK);
    stage->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct sockaddr *address = (const struct sockaddr *)&endpoint->address;
    cr_assert_eq(bind(stage->listen_fd, address, endpoint->address_size), 0);
    cr_assert_eq(listen(stage->listen_fd, 1), 0);
    stage->drive = pool_take(1, sizeof *stage->drive);
}

// The drive's end; the error is "" when there was none.
static enum status
stage_run(struct stage *stage, struct error *error)
{
    error->text[0] = '\0';
    cr_assert_eq(pthread_create(&stage->server, NULL, server_run, stage), 0);
    cr_assert_eq(http_drive_start(stage->drive, &stage->options, error), STATUS_OK);
    return http_drive_join(stage->drive, error);
}

static void
stage_done(struct stage *stage)
{
    http_drive_done(stage->drive);
    cr_assert_eq(pthread_join(stage->server, NULL), 0);
    pool_give(stage->drive);
    close(stage->listen_fd);
    cr_assert_eq(unlink(stage->path), 0);
    cr_assert_eq(rmdir(stage->dir), 0);
}

Test(http_drive, counts_answers_that_come_in_pieces)
{
    static const char *const answers[] = {NOTHING, FOUR};
    static const size_t pieces[] = {1, 7, ANSWERS_MAX};
    for (size_t i = 0; i < 6; i++) {
        struct stage stage;
        struct error error;
        stage_open(&stage, answers[i % 2], i % 2 == 0 ? 204 : 200);
        stage.piece = pieces[i / 2];
        cr_assert_eq(stage_run(&stage, &error), STATUS_OK, "%zu: %s", i, error.text);
        cr_assert_eq(stage.drive->answered, 50);
        cr_assert_eq(http_drive_answered(stage.drive), 50);
        cr_assert(http_drive_is_over(stage.drive));
        cr_assert_eq(stage.drive->latency.total, 50);
        cr_assert_eq(stage.drive->answer_bytes, 50 * strlen(answers[i % 2]));
        stage_done(&stage);
        cr_assert_eq(stage.requests, 50);
    }
}

Test(http_drive, ends_at_an_answer_that_is_not_as_expected)
{
    static const struct {
        const char *answer, *error;
    } cases[] = {
        {"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nsorry", "answered 500: sorry"  },
        {FOUR,                                                "answered 200: body"   },
        {"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n",       "does not keep"        },
        {"HTTP/1.1 200 OK\r\n\r\n",                           "does not say how long"},
        {"SSH-2.0\r\n\r\n",                                   "does not say how long"},
        {NOTHING NOTHING,                                     "what was not asked"   },
        {NULL,                                                "closed a connection"  },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage stage;
        struct error error;
        stage_open(&stage, cases[i].answer, 204);
        cr_assert_neq(stage_run(&stage, &error), STATUS_OK, "case %zu", i);
        cr_assert_not_null(strstr(error.text, cases[i].error), "case %zu: %s", i, error.text);
        cr_assert_eq(stage.drive->answered, 0, "case %zu", i);
        stage_done(&stage);
    }
}

// 50 requests are due within 50 ms, and the first is answered after 300: whoever waited is charged
// from when it was due.
Test(http_drive, a_stall_is_charged_to_all_that_waited)
{
    struct stage stage;
    struct error error;
    stage_open(&stage, NOTHING, 204);
    stage.is_stalling = true;
    stage.options.requests_per_second = 1000;
    cr_assert_eq(stage_run(&stage, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(stage.drive->answered, 50);
    cr_assert_geq(histogram_percentile(&stage.drive->latency, 200), 200 * SECOND_NS / 1000);
    stage_done(&stage);
}

Test(http_drive, stops_when_it_is_told_to)
{
    struct stage stage;
    struct error error;
    stage_open(&stage, NOTHING, 204);
    stage.options.requests_max = 0;
    cr_assert_eq(pthread_create(&stage.server, NULL, server_run, &stage), 0);
    cr_assert_eq(http_drive_start(stage.drive, &stage.options, &error), STATUS_OK);
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (http_drive_answered(stage.drive) < 10 && clock_monotonic_ns() < deadline_ns)
        (void)poll(NULL, 0, 1);
    http_drive_stop(stage.drive);
    cr_assert_eq(http_drive_join(stage.drive, &error), STATUS_OK);
    cr_assert_geq(stage.drive->answered, 10);
    cr_assert_eq(stage.drive->answered, stage.drive->made);
    stage_done(&stage);
}
