#pragma once
// Listening sockets: TCP and UDP on HOST:PORT, unix on a path of any length.
//
//     listen_tcp("127.0.0.1:0", &listener, &error);       // listener.address says the real port
//     listen_unix("/long/path/tallyd.sock", &listener, &error);
//     listener_close(&listener);                          // removes the unix socket's file
//
// Owner: main. Thread: main.

#include "base/status.h"

#include <stdint.h>

enum listener_kind { LISTENER_NONE, LISTENER_TCP, LISTENER_UNIX, LISTENER_UDP };
enum { LISTENER_ADDRESS_MAX = 4096 };

struct listener {
    enum listener_kind kind;
    int fd;
    char address[LISTENER_ADDRESS_MAX];  // "127.0.0.1:24224", "[::1]:24224", or the path
};

// address: HOST:PORT or [IPV6]:PORT; a host name is looked up, its first address taken.
// STATUS_INVALID: the address is none. STATUS_IO: it cannot be listened on.
enum status listen_tcp(const char *address, struct listener *out, struct error *error) CHECKED;
// room: of the kernel's buffer for datagrams; *out_room: as much of it as is allowed.
enum status
listen_udp(const char *address, int room, struct listener *out, int *out_room, struct error *error)
    CHECKED;
// A socket file that nobody answers on is replaced. STATUS_BUSY: somebody does. STATUS_EXISTS: the
// file is no socket.
enum status listen_unix(const char *path, struct listener *out, struct error *error) CHECKED;
// Closes and, for a unix socket, removes the file. A zeroed listener is fine.
void listener_close(struct listener *listener);

// Whether an address is reachable from this machine only. STATUS_INVALID: the address is none.
enum status listen_is_loopback(const char *address, bool *out, struct error *error) CHECKED;

struct sockaddr_storage;
// "127.0.0.1:24224", "[::1]:24224".
void address_print(const struct sockaddr_storage *address, char *out, size_t out_size);

// What is known of the other end of an accepted connection.
struct peer {
    char text[64];     // "127.0.0.1:51000", "unix:pid=12 uid=1000"
    bool is_own_user;  // unix socket, and the peer runs as this process's user
    bool is_tcp;
};

// Also sets what a socket of this program wants (TCP_NODELAY, keep-alive).
void peer_describe(enum listener_kind kind, int fd, struct peer *out);
