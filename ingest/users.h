#pragma once
// Who may come in from outside: the shared key, and the users if there are any.
//
//     struct credentials credentials;
//     status = credentials_read(&sources, &arena, &credentials, &error);     // once, at start
//     if (credentials_are_set(&credentials)) ask every stranger (ingest/handshake.h)
//
// The shared key is a file's content less one newline at its end, or the environment's
// TALLY_SHARED_KEY; it never stands on a command line, which everybody on the machine can read. The
// file of users:
//
//     # comments, empty lines
//     acme = correct-horse-battery
//     importer = staple backfill         the scopes come behind the password
//
// Names and passwords hold no spaces; a name holds no '='. A file of secrets that others than owner
// and group can read, or that others than the owner can change, is refused.
//
// Owner: main; texts live in its arena for as long as the program runs. Thread: read-only for all.

#include "base/arena.h"

enum {
    SHARED_KEY_MAX = 1024,  // bytes
    USER_NAME_MAX = 255,
    USER_PASSWORD_MAX = 1024,
    USERS_MAX = 1024,
};

struct user {
    struct bytes name;
    struct bytes password;
    bool may_backfill;  // scope backfill
};

struct credentials {
    struct bytes shared_key;
    const struct user *users;  // none: the shared key is enough
    size_t users_count;
};

struct credential_sources {
    const char *key_file;    // NULL: none
    const char *key_text;    // of the environment; NULL: none
    const char *users_file;  // NULL: none
};

// STATUS_INVALID: a file that is not as described, users without a shared key, or two shared keys;
// STATUS_IO: one that cannot be read.
enum status credentials_read(
    const struct credential_sources *sources,
    struct arena *arena,
    struct credentials *out,
    struct error *error) CHECKED;

static inline bool
credentials_are_set(const struct credentials *credentials)
{
    return credentials->shared_key.size > 0;
}
