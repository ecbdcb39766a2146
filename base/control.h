#pragma once
// What the kernel tells beside a datagram (control messages): how many it dropped, and to which of
// this machine's addresses the datagram came.
//
//     control_ask(fd, AF_INET6);                      // once: the kernel is to tell
//     control_read(control, control_size, &out);      // of each datagram
//     message.msg_control = out.source, message.msg_controllen = out.source_size
//                                                     // an answer leaves from that address
//
// A socket bound to every address of the machine would otherwise answer from whichever the route
// back prefers, and a client that is connected, or a firewall between, drops that.
//
// Owner: values. Thread: any.

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum {
    CONTROL_SIZE = 80,         // room for all that control_ask asks for
    CONTROL_SOURCE_SIZE = 40,  // room for one control message with an address
};

struct control {
    uint32_t dropped;  // by the kernel since the socket was made (SO_RXQ_OVFL); wraps; 0: not told
    uint32_t source_size;  // 0: the kernel is to choose
    _Alignas(8) uint8_t source[CONTROL_SOURCE_SIZE];
};

// family: AF_INET or AF_INET6. STATUS_IO: the kernel does not know how.
enum status control_ask(int fd, int family, struct error *error) CHECKED;
// control: size bytes as the kernel wrote them, aligned to 8; may be NULL when size is 0. What is
// unknown there is stepped over. The source is left out when it is an address nobody can answer
// from (multicast).
void control_read(const void *control, size_t size, struct control *out);
