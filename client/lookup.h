#pragma once
// The question to DNS, asked on a thread of its own, because getaddrinfo waits as long as it likes.
//
//     status = lookup_start(&name, &lookup, &error)
//     poll(lookup_fd(lookup), POLLIN)                       // readable when the answer is there
//     if (lookup_take(lookup, &addresses, &error, &status)) ...
//     lookup_leave(lookup)                                  // at any time: nobody waits
//
// A lookup that is left before its answer came frees itself when it comes. Owner: the sender, and
// the thread, each until it leaves.

#include "client/server_name.h"

struct lookup;

// The name is copied. STATUS_NO_MEMORY, STATUS_IO.
enum status
lookup_start(const struct server_name *name, struct lookup **out, struct error *error) CHECKED;
int lookup_fd(const struct lookup *lookup);
// False: no answer yet. Otherwise *out_status says what it is, and only then is the rest set.
bool lookup_take(
    struct lookup *lookup,
    enum status *out_status,
    struct server_addresses *out,
    struct error *error) CHECKED;
void lookup_leave(struct lookup *lookup);
