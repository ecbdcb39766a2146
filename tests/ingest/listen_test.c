#include "ingest/listen.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const struct {
    const char *address;
    bool is_loopback;
} ADDRESSES[] = {
    {"127.0.0.1:24224", true },
    {"127.9.9.9:0",     true },
    {"[::1]:24224",     true },
    {"localhost:24224", true },
    {"0.0.0.0:24224",   false},
    {"[::]:24224",      false},
    {"192.0.2.1:24224", false},
    {"[2001:db8::1]:1", false},
};

Test(listen, tells_addresses_of_this_machine_from_others)
{
    for (size_t i = 0; i < sizeof ADDRESSES / sizeof ADDRESSES[0]; i++) {
        struct error error = {0};
        bool is_loopback = !ADDRESSES[i].is_loopback;
        cr_assert_eq(
            listen_is_loopback(ADDRESSES[i].address, &is_loopback, &error),
            STATUS_OK,
            "%s",
            error.text);
        cr_assert_eq(is_loopback, ADDRESSES[i].is_loopback, "%s", ADDRESSES[i].address);
    }
}

static const char *const NO_ADDRESSES[] = {
    "",
    "127.0.0.1",
    "127.0.0.1:",
    ":24224",
    "::1:24224",
    "[::1]",
    "[]:1",
    "127.0.0.1:port",
    "127.0.0.1:-1",
    "127.0.0.1:123456",
    "127.0.0.1: 1",
    "no such host:1",
};

Test(listen, refuses_what_is_no_address)
{
    for (size_t i = 0; i < sizeof NO_ADDRESSES / sizeof NO_ADDRESSES[0]; i++) {
        struct error error = {0};
        struct listener listener = {0};
        bool is_loopback;
        cr_assert_eq(
            listen_is_loopback(NO_ADDRESSES[i], &is_loopback, &error),
            STATUS_INVALID,
            "%s",
            NO_ADDRESSES[i]);
        cr_assert_eq(
            listen_tcp(NO_ADDRESSES[i], &listener, &error), STATUS_INVALID, "%s", NO_ADDRESSES[i]);
    }
}

Test(listen, takes_a_free_port_and_says_which)
{
    struct error error = {0};
    struct listener listener = {0}, second = {0};
    cr_assert_eq(listen_tcp("127.0.0.1:0", &listener, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(strncmp(listener.address, "127.0.0.1:", 10), 0);
    cr_assert_str_neq(listener.address + 10, "0");
    cr_assert_eq(listen_tcp(listener.address, &second, &error), STATUS_IO);
    cr_assert_not_null(strstr(error.text, listener.address), "%s", error.text);
    listener_close(&listener);
    listener_close(&second);
}

Test(listen, takes_datagrams_on_a_free_port_with_the_room_it_got)
{
    struct error error = {0};
    struct listener listener = {0}, second = {0};
    int room = 0;
    cr_assert_eq(
        listen_udp("127.0.0.1:0", 65536, &listener, &room, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(listener.kind, LISTENER_UDP);
    cr_assert_eq(strncmp(listener.address, "127.0.0.1:", 10), 0);
    cr_assert_str_neq(listener.address + 10, "0");
    cr_assert_eq(room, 65536);
    cr_assert_eq(listen_udp(listener.address, 65536, &second, &room, &error), STATUS_IO);
    cr_assert_not_null(strstr(error.text, listener.address), "%s", error.text);
    cr_assert_eq(listen_udp("127.0.0.1", 65536, &second, &room, &error), STATUS_INVALID);
    listener_close(&listener);
}

static char dir[] = "/tmp/tally-listen-XXXXXX";
static char path[256];

static void
path_make(void)
{
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/s.sock", dir);
}

Test(listen, replaces_a_socket_that_nobody_answers_on)
{
    struct error error = {0};
    struct listener listener = {0};
    path_make();
    cr_assert_eq(listen_unix(path, &listener, &error), STATUS_OK, "%s", error.text);
    // As a killed process leaves it: closed, but the file is there.
    close(listener.fd);
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert_eq(listen_unix(path, &listener, &error), STATUS_OK, "%s", error.text);
    listener_close(&listener);
    cr_assert_eq(access(path, F_OK), -1);
    cr_assert_eq(rmdir(dir), 0);
}

Test(listen, leaves_a_socket_alone_that_is_answered)
{
    struct error error = {0};
    struct listener listener = {0}, second = {0};
    path_make();
    cr_assert_eq(listen_unix(path, &listener, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(listen_unix(path, &second, &error), STATUS_BUSY);
    cr_assert_eq(access(path, F_OK), 0);
    listener_close(&listener);
    cr_assert_eq(rmdir(dir), 0);
}

Test(listen, leaves_a_file_alone_that_is_no_socket)
{
    struct error error = {0};
    struct listener listener = {0};
    path_make();
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fclose(file);
    cr_assert_eq(listen_unix(path, &listener, &error), STATUS_EXISTS);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(listen_unix(dir, &listener, &error), STATUS_EXISTS);
    cr_assert_eq(listen_unix("/no/such/folder/s", &listener, &error), STATUS_IO);
    cr_assert_eq(listen_unix("", &listener, &error), STATUS_INVALID);
    cr_assert_eq(rmdir(dir), 0);
}

Test(listen, knows_its_own_user_on_a_unix_socket_only)
{
    int fds[2];
    struct peer peer;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    peer_describe(LISTENER_UNIX, fds[0], &peer);
    cr_assert(peer.is_own_user);
    char text[64];
    (void)snprintf(text, sizeof text, "unix:pid=%d uid=%u", (int)getpid(), getuid());
    cr_assert_str_eq(peer.text, text);
    close(fds[0]);
    close(fds[1]);

    struct error error = {0};
    struct listener listener = {0};
    struct sockaddr_in in;
    socklen_t size = sizeof in;
    cr_assert_eq(listen_tcp("127.0.0.1:0", &listener, &error), STATUS_OK);
    cr_assert_eq(getsockname(listener.fd, (struct sockaddr *)&in, &size), 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&in, sizeof in), 0);
    int server = accept(listener.fd, NULL, NULL);
    peer_describe(LISTENER_TCP, server, &peer);
    cr_assert_not(peer.is_own_user);
    cr_assert_eq(strncmp(peer.text, "127.0.0.1:", 10), 0, "%s", peer.text);
    close(client);
    close(server);
    listener_close(&listener);
}

// A peer that vanished says nothing, so the kernel has to ask.
Test(listen, asks_whether_peers_are_still_there)
{
    static const struct {
        int level, option, value;
    } rows[] = {
        {SOL_SOCKET,  SO_KEEPALIVE,     1     },
        {IPPROTO_TCP, TCP_KEEPIDLE,     60    },
        {IPPROTO_TCP, TCP_KEEPINTVL,    15    },
        {IPPROTO_TCP, TCP_KEEPCNT,      4     },
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 120000},
    };
    struct error error = {0};
    struct listener listener = {0};
    struct sockaddr_in in;
    socklen_t size = sizeof in;
    cr_assert_eq(listen_tcp("127.0.0.1:0", &listener, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(getsockname(listener.fd, (struct sockaddr *)&in, &size), 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&in, sizeof in), 0);
    int fd = accept(listener.fd, NULL, NULL);
    cr_assert_geq(fd, 0);
    struct peer peer;
    peer_describe(LISTENER_TCP, fd, &peer);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int value = -1;
        socklen_t value_size = sizeof value;
        cr_assert_eq(getsockopt(fd, rows[i].level, rows[i].option, &value, &value_size), 0);
        cr_assert_eq(value, rows[i].value, "row %zu", i);
    }
    close(fd);
    close(client);
    listener_close(&listener);
}
