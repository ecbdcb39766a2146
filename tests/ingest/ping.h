#pragma once
// The client's side of the handshake for tests.
//
//     struct ping ping = {.host = ..., .salt = ..., .nonce = ..., .key = ...};
//     ping_pack(&ping, &out);          // what a client with that key says
//     pong_pack(&ping, &wanted);       // what the server says to it
//
// Owner: the test.

#include "base/assert.h"
#include "base/digest.h"
#include "base/pack.h"

struct ping {
    struct bytes host, salt, nonce, key;
    struct bytes auth, user, password;
    bool is_bin;  // salt as bin, as some clients send it
};

static inline void
ping_digest(const struct bytes *parts, size_t count, char out[DIGEST_HEX_SIZE])
{
    bool is_fine = digest_hex(parts, count, out);
    must(is_fine);
}

// The digest that proves the key, for a client's or a server's host name.
static inline void
ping_key_digest(const struct ping *ping, struct bytes host, char out[DIGEST_HEX_SIZE])
{
    const struct bytes parts[] = {ping->salt, host, ping->nonce, ping->key};
    ping_digest(parts, 4, out);
}

static inline void
ping_pack(const struct ping *ping, struct buffer *out)
{
    char digest[DIGEST_HEX_SIZE];
    pack_array(out, 6);
    pack_text(out, "PING");
    pack_str(out, ping->host);
    (ping->is_bin ? pack_bin : pack_str)(out, ping->salt);
    ping_key_digest(ping, ping->host, digest);
    pack_str(out, bytes_of(digest, sizeof digest));
    pack_str(out, ping->user);
    const struct bytes parts[] = {ping->auth, ping->user, ping->password};
    ping_digest(parts, 3, digest);
    pack_str(out, bytes_of(digest, ping->auth.size > 0 ? sizeof digest : 0));
}

static inline void
pong_pack(const struct ping *ping, struct buffer *out)
{
    char digest[DIGEST_HEX_SIZE];
    ping_key_digest(ping, bytes_text("tallyd"), digest);
    pack_array(out, 5);
    pack_text(out, "PONG");
    pack_bool(out, true);
    pack_text(out, "");
    pack_text(out, "tallyd");
    pack_str(out, bytes_of(digest, sizeof digest));
}

static inline void
pong_refusal_pack(const char *reason, struct buffer *out)
{
    pack_array(out, 5);
    pack_text(out, "PONG");
    pack_bool(out, false);
    pack_text(out, reason);
    pack_text(out, "");
    pack_text(out, "");
}
