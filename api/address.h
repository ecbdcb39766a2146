#pragma once
// Addresses of clients: what counts as one, and who is believed about whom a request came from.
//
//     address_parse("2001:db8::1", &address);         // IPv4 is ::ffff:a.b.c.d
//     address_net_parse("10.0.0.0/8", &net);
//     remote = address_client(request, nets, nets_count);    // through proxies of ours
//     group = address_group(address);                 // of IPv6 the /64, which is one customer's
//
// Thread: any.

#include "api/http.h"

enum { ADDRESS_SIZE = 16 };

struct address {
    uint8_t bytes[ADDRESS_SIZE];
};

struct address_net {
    struct address address;
    uint32_t bits;  // of 128
};

// "192.0.2.1", "2001:db8::1" or "fe80::1%eth0".
bool address_parse(const char *text, struct address *out) CHECKED;
// An address, or one with "/bits".
bool address_net_parse(const char *text, struct address_net *out) CHECKED;
bool address_is_in(const struct address *address, const struct address_net *net);
struct address address_group(struct address address);
// Whom a request came from. That is who connected, unless nets has it: then the last of
// X-Forwarded-For that nets has not, for whatever stands before that one may be made up. Lives in
// the request's arena.
const char *
address_client(const struct http_request *request, const struct address_net *nets, size_t count);
