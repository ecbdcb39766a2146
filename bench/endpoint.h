#pragma once
// Where the load goes: an address, and by which transport.
//
//     endpoint_resolve(ENDPOINT_UDP, "127.0.0.1:24224", &endpoint, &error);
//     endpoint_connect(&endpoint, &fd, &error);       // the caller closes fd
//
// Values. Thread: any (resolving a name may wait for a name server).

#include "base/status.h"

#include <sys/socket.h>

enum transport { TRANSPORT_TCP, TRANSPORT_UDP, TRANSPORT_UNIX };

enum { ENDPOINT_DATAGRAM_MAX = 65507 };  // bytes of a UDP datagram over IPv4

struct endpoint {
    enum transport transport;
    struct sockaddr_storage address;
    socklen_t address_size;
};

const char *transport_name(enum transport transport);
// text: HOST:PORT (HOST may be a name), or the path of a unix socket.
enum status endpoint_resolve(
    enum transport transport, const char *text, struct endpoint *out, struct error *error) CHECKED;
// A connected socket; of UDP one that sends to this address only and hears from no other.
enum status
endpoint_connect(const struct endpoint *endpoint, int *out_fd, struct error *error) CHECKED;
