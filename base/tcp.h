#pragma once
// A TCP socket that listens, for servers that bring a loop of their own.
//
//     tcp_listen("127.0.0.1:0", &fd, &error);
//     uint16_t port = tcp_port(fd);
//
// Owner: the caller closes the socket. Thread: any.

#include "base/status.h"

#include <stdint.h>

enum { TCP_BACKLOG = 1024 };

// "HOST:PORT", "[IPV6]:PORT"; port 0: any free one. Non-blocking, closed on exec. STATUS_INVALID:
// the address is none. STATUS_IO: it cannot be listened on.
enum status tcp_listen(const char *address, int *out_fd, struct error *error) CHECKED;
// The port that a listening socket was given.
uint16_t tcp_port(int fd);
