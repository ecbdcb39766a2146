#pragma once
// The client's side of the Forward protocol's handshake: both sides prove that they know the shared
// key. Nothing else is sent before the server's proof was right.
//
//     login_begin(&login, &secrets)                      // no key: nothing to do, LOGIN_DONE
//     status = login_message(&login, message, &error)    // one whole msgpack value from the server
//     login_unsent(&login)                               // what is to be written: the PING
//     login_sent(&login, size)
//     login.phase == LOGIN_DONE                          // batches may go
//
//     S  ["HELO", {"nonce": text, "auth": text, ...}]            an empty auth asks for no user
//     C  ["PING", host, salt, H(salt + host + nonce + key), user, H(auth + user + password)]
//     S  ["PONG", true, "", host, H(salt + host + nonce + key)]
//     S  ["PONG", false, reason, ...]
//
// H is SHA-512 in lower-case hexadecimal digits. Nonce, auth and salt may be any bytes, str or bin.
// Our salt is fresh for each connection, so an old PONG is worth nothing, and a PONG that bears our
// own host name, for which our PING has the right digest, is refused.
//
// Source: Fluentd's Forward Protocol Specification v1. Owner and thread: the sender.

#include "base/buffer.h"
#include "base/digest.h"

enum {
    LOGIN_KEY_MAX = 1024,  // as in the server: bytes of the key, and of a password
    LOGIN_USER_MAX = 255,
    LOGIN_NONCE_MAX = 255,
    LOGIN_SALT_SIZE = 32,
    LOGIN_HOST_MAX = 80,
};

struct login_secrets {
    char host[LOGIN_HOST_MAX];           // what this client calls itself
    char shared_key[LOGIN_KEY_MAX + 1];  // empty: no handshake
    char username[LOGIN_USER_MAX + 1];   // empty: none
    char password[LOGIN_KEY_MAX + 1];
};

enum login_phase { LOGIN_DONE, LOGIN_WAITS_HELO, LOGIN_WAITS_PONG };

struct login {
    enum login_phase phase;
    const struct login_secrets *secrets;
    char salt[LOGIN_SALT_SIZE];
    uint8_t nonce[LOGIN_NONCE_MAX];
    size_t nonce_size;
    struct buffer ping;
    size_t ping_sent;
};

// host, from the machine's name. Never the name of a server: it begins with "libtally@".
void login_host_fill(char out[LOGIN_HOST_MAX]);

// The secrets are borrowed until the next begin. A zeroed login is a valid one to begin with.
void login_begin(struct login *login, const struct login_secrets *secrets);
void login_done(struct login *login);
// Not in LOGIN_DONE. STATUS_INVALID: no HELO or PONG, or a refusal, whose reason error tells, or a
// server that did not prove the key; STATUS_NO_MEMORY.
enum status login_message(struct login *login, struct bytes message, struct error *error) CHECKED;
struct bytes login_unsent(const struct login *login);
void login_sent(struct login *login, size_t size);
// What is missing when the time is over.
const char *login_missing(const struct login *login);

// Whether a message is a server's greeting.
bool login_is_helo(struct bytes message);
