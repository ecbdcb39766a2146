#pragma once
// Where the server is: "HOST:PORT", "[IPV6]:PORT" or "unix:PATH", and the socket addresses that
// it stands for.
//
//     struct server_name name;
//     server_name_parse("127.0.0.1:24224", &name, &error)
//     scoped(server_addresses_done) struct server_addresses addresses = {.directory_fd = -1};
//     server_name_resolve(&name, &addresses, &error)          // asks DNS: may take seconds
//
// A unix socket's path may be longer than the 107 bytes of a socket address: its directory is
// then opened, and the address goes through /proc/self/fd. The addresses hold that descriptor and
// are good until server_addresses_done. Values. Thread: any.

#include "base/status.h"

#include <limits.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    SERVER_HOST_MAX = 255,
    SERVER_PORT_TEXT_MAX = 5,
    SERVER_ADDRESSES_MAX = 8,  // of one name; the first ones are tried
};

struct server_name {
    bool is_unix;
    char host[SERVER_HOST_MAX + 1];
    char port[SERVER_PORT_TEXT_MAX + 1];
    char path[PATH_MAX];
};

struct server_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

struct server_addresses {
    struct server_address items[SERVER_ADDRESSES_MAX];
    int count;
    int directory_fd;  // -1: none
};

// STATUS_INVALID says what is wrong with the text.
enum status
server_name_parse(const char *text, struct server_name *out, struct error *error) CHECKED;
enum status server_name_resolve(
    const struct server_name *name, struct server_addresses *out, struct error *error) CHECKED;
// Whether it is a path or an address in digits, so that resolving it asks nobody.
bool server_name_is_numeric(const struct server_name *name);
void server_addresses_done(struct server_addresses *addresses);
