#pragma once
// The handshake of the Forward protocol v1: both sides prove that they know the shared key, and the
// client that it is a user, without saying either.
//
//     handshake_begin(&handshake, &credentials);                  // fresh nonces
//     handshake_pack_helo(&handshake, &out);
//     ... one msgpack value of at most HANDSHAKE_PING_MAX bytes comes ...
//     fault = handshake_check(&handshake, &credentials, message, &answer);
//     handshake_pack_pong(fault, &answer, &out);
//     if (fault) close the connection
//
//     S  ["HELO", {"nonce": text, "auth": text, "keepalive": true}]      auth is empty: no users
//     C  ["PING", host, salt, H(salt + host + nonce + key), user, H(auth + user + password)]
//     S  ["PONG", true, "", "tallyd", H(salt + "tallyd" + nonce + key)]
//     S  ["PONG", false, reason, "", ""]                                 and the end
//
// H is SHA-512 in lower-case hexadecimal digits, + puts bytes one behind the other. Salt, digests
// and names are str or bin. Our nonces are text (32 hexadecimal digits), which every client can
// read. A nonce serves one connection, so an old PING is worth nothing.
//
// Digests are compared in constant time. Every digest is computed and every user's name looked at
// before the answer is decided; an unknown user is measured against a password that nobody has, so
// neither the answer nor its time tells whether the name or the password was wrong.
//
// Owner: values. Thread: any.

#include "base/buffer.h"
#include "base/digest.h"
#include "ingest/users.h"

enum {
    HANDSHAKE_NONCE_SIZE = 32,
    HANDSHAKE_FIELD_MAX = 255,  // host name, salt and user
    HANDSHAKE_PING_MAX = 2048,  // bytes of the whole message
    // Of a reason: Fluent Bit copies it to 32 bytes of its stack and does not look at the size.
    HANDSHAKE_REASON_MAX = 31,
};

enum handshake_fault {
    HANDSHAKE_FINE,
    HANDSHAKE_NOT_PING,       // not six texts of allowed sizes that begin with PING
    HANDSHAKE_SAME_HOST,      // the client calls itself what the server is called
    HANDSHAKE_KEY_MISMATCH,   // another shared key, or another nonce
    HANDSHAKE_USER_MISMATCH,  // no such user, or another password
    HANDSHAKE_TIMEOUT,        // nothing whole came in time
    HANDSHAKE_NO_MEMORY,
    HANDSHAKE_FAULT_COUNT,
};

// Digits for the client to mix in; they are no secret.
struct handshake {
    char nonce[HANDSHAKE_NONCE_SIZE];
    char auth[HANDSHAKE_NONCE_SIZE];
    bool wants_user;
};

struct handshake_answer {
    char digest[DIGEST_HEX_SIZE];
    bool may_backfill;
};

// The reason as the client is told: "shared key mismatch". At most HANDSHAKE_REASON_MAX bytes.
const char *handshake_fault_name(enum handshake_fault fault);

void handshake_begin(struct handshake *handshake, const struct credentials *credentials);
void handshake_pack_helo(const struct handshake *handshake, struct buffer *out);
// message: one whole msgpack value. *out is set only when it is fine.
enum handshake_fault handshake_check(
    const struct handshake *handshake,
    const struct credentials *credentials,
    struct bytes message,
    struct handshake_answer *out) __attribute__((warn_unused_result));
// answer is not looked at when there is a fault.
void handshake_pack_pong(
    enum handshake_fault fault, const struct handshake_answer *answer, struct buffer *out);
