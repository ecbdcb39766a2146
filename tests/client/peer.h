#pragma once
// The server's side of a connection, played by a test step by step: accept, take a frame, answer,
// drop.
//
//     struct peer peer; peer_listen(&peer);       // peer.name goes into tally_options.server
//     peer_accept(&peer);
//     struct parcel parcel; peer_take(&peer, &parcel);   // one whole frame, read by msgpack-c
//     peer_ack(&peer, &parcel); parcel_done(&parcel);
//
// Every wait has a deadline and fails the test when it passes. Thread: one at a time.

#include "base/buffer.h"

#include <msgpack.h>

enum { PEER_WAIT_MS = 20000 };

struct peer {
    char name[256];  // "127.0.0.1:PORT" or "unix:PATH"
    int listen_fd;
    int fd;                  // -1: none
    struct ssl_st *session;  // TLS over fd; NULL: none
    struct buffer received;
};

struct parcel {
    struct buffer frame;  // its bytes
    msgpack_unpacked unpacked;
    char chunk[64];
    uint64_t size;          // as the option says
    struct bytes events;    // the packed entries
    uint64_t events_count;  // as counted
    char backfill[128];     // empty: none
};

void peer_listen(struct peer *peer);
void peer_listen_unix(struct peer *peer, const char *path);
// A port where nobody listens; peer_listen_at begins to.
void peer_reserve(struct peer *peer);
void peer_listen_at(struct peer *peer);
void peer_done(struct peer *peer);

void peer_accept(struct peer *peer);
// The other side's TLS handshake over what was accepted (tests/client/certificates.h makes such
// files). client_ca: the client must show a certificate that leads to it; NULL: it need not. False
// when the client, or this side, ended it.
bool
peer_secure(struct peer *peer, const char *cert_file, const char *key_file, const char *client_ca);
// One whole msgpack value that need not be a frame, appended to out.
void peer_take_value(struct peer *peer, struct buffer *out);
// False when the connection ended before a whole frame came.
bool peer_try_take(struct peer *peer, struct parcel *out);
void peer_take(struct peer *peer, struct parcel *out);
void peer_ack(struct peer *peer, const struct parcel *parcel);
void peer_write(struct peer *peer, struct bytes bytes);
// Closes the connection; is_reset: with a RST, so that the other side loses what it has not read.
void peer_drop(struct peer *peer, bool is_reset);
// No more is sent to the client, which can still write.
void peer_half_close(struct peer *peer);
// Whether nothing arrives for this long.
bool peer_is_quiet(struct peer *peer, int ms);

void parcel_done(struct parcel *parcel);
// The text of a key of the n-th event's record, copied; empty when it has none.
void parcel_text(const struct parcel *parcel, uint64_t index, const char *key, char out[256]);
