#pragma once
// A range of IP addresses, as people write it: 10.0.0.0/8, 192.0.2.7, fd00::/8.
//
//     network_parse("10.0.0.0/8", &network, &error);
//     if (network_has(&network, from)) ...
//
// IPv4 addresses are kept as IPv6 ones (::ffff:a.b.c.d), so a socket that serves both needs one
// comparison. Owner: values. Thread: any.

#include "base/status.h"

#include <stdint.h>

struct sockaddr;

struct network {
    uint8_t address[16];
    uint32_t bits;  // of it that count, from the front
};

// Without a length it is one address. STATUS_INVALID: it is none.
enum status network_parse(const char *text, struct network *out, struct error *error) CHECKED;
// An address of another family is in no network.
bool network_has(const struct network *network, const struct sockaddr *address);
