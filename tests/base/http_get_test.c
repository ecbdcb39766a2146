#include "base/http_get.h"

#include "base/exporter.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct arena arena;
static struct error error;

static int
answer(void *context, const char *path, struct buffer *out, const char **out_content_type)
{
    (void)context;
    (void)out_content_type;
    if (strcmp(path, "/health") == 0) {
        buffer_text(out, "all is well\n");
        return 200;
    }
    if (strcmp(path, "/large") == 0) {
        for (int i = 0; i < HTTP_ANSWER_MAX / 10; i++)
            buffer_text(out, "ten bytes\n");
        return 200;
    }
    buffer_text(out, "a writer stands still\n");
    return 503;
}

Test(http_get, gets_code_and_body)
{
    struct exporter *exporter;
    struct exporter_options options = {.address = "127.0.0.1:0", .answer = answer};
    cr_assert_eq(exporter_start(&options, &exporter, &error), STATUS_OK, "%s", error.text);
    const char *address = arena_format(&arena, "127.0.0.1:%d", exporter_port(exporter));
    struct http_answer got;
    cr_assert_eq(http_get(address, "/health", 20000, &arena, &got, &error), STATUS_OK);
    cr_assert_eq(got.code, 200);
    cr_assert_str_eq(got.body, "all is well\n");
    cr_assert_eq(http_get(address, "/other", 20000, &arena, &got, &error), STATUS_OK);
    cr_assert_eq(got.code, 503);
    cr_assert_eq(http_get(address, "/large", 20000, &arena, &got, &error), STATUS_FULL);
    exporter_stop(exporter);
    arena_done(&arena);
}

Test(http_get, refuses_addresses_that_are_none)
{
    static const char *const addresses[] = {"", "localhost", "127.0.0.1:no port", "[::1:80"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct http_answer got;
        cr_assert_neq(
            http_get(addresses[i], "/", 1000, &arena, &got, &error), STATUS_OK, "%s", addresses[i]);
    }
    arena_done(&arena);
}

// A listener that accepts nothing: the kernel completes the connection, and no answer ever comes.
Test(http_get, gives_up_on_a_silent_server)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    cr_assert_eq(bind(fd, (struct sockaddr *)&place, sizeof place), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&place, &size), 0);
    const char *address = arena_format(&arena, "127.0.0.1:%d", ntohs(place.sin_port));
    struct http_answer got;
    cr_assert_eq(http_get(address, "/health", 100, &arena, &got, &error), STATUS_TIMEOUT);
    close(fd);
    cr_assert_eq(http_get(address, "/health", 1000, &arena, &got, &error), STATUS_IO);
    arena_done(&arena);
}
