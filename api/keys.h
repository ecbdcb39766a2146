#pragma once
// The keys that may be shown to us: a copy of the database's, so that no request waits for it.
//
//     keys_start(database, &keys, &error);
//     switch (keys_check(keys, token, now_ns, &grant)) ...
//     keys_stop(keys);
//
// A thread reads them anew every KEYS_POLL_MS and notes there when each was last used; a key that
// is not known is looked for at once, KEYS_LOOKS_MAX times between two readings. While the database
// is away the copy serves, so that ingest goes on; a key that was revoked meanwhile works until it
// is back.
// Owner: main. Thread: keys_check and keys_peek from any.

#include "api/database.h"
#include "billing/api_key.h"

enum { KEYS_POLL_MS = 2000, KEYS_LOOKS_MAX = 20 };

struct keys;

enum keys_verdict {
    KEYS_GOOD,
    KEYS_UNKNOWN,  // no key, not one of ours, or revoked
    KEYS_EXPIRED,
    KEYS_NOT_READ,  // the database was never reached
};

struct keys_grant {
    char id[API_KEY_ID_SIZE + 1];
    unsigned scopes;
    bool has_limit;  // of its own
    struct limit_rule limit;
};

enum status keys_start(struct database *database, struct keys **out, struct error *error) CHECKED;
void keys_stop(struct keys *keys);
enum keys_verdict
keys_check(struct keys *keys, const char *text, int64_t now_ns, struct keys_grant *out) CHECKED;
// The same by the copy alone, without a look into the database: does not wait.
enum keys_verdict
keys_peek(struct keys *keys, const char *text, int64_t now_ns, struct keys_grant *out) CHECKED;
