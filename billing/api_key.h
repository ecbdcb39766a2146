#pragma once
// Keys of the HTTP API: made and revoked by `tally key`, read by tally-api.
//
//     api_key_make(scopes, &key);                    // key.text is shown once and kept nowhere
//     api_key_add(sql, &key, "billing export", expires_ns, now_ns, &error);
//     api_keys_read(sql, &arena, &keys, &error);     // all that are not revoked
//     if (api_key_is(&keys.items[i], token)) ...
//
// A key's text is tally_ID_SECRET: 12 hexadecimal digits that name it, 40 that nobody guesses.
// Thread: the connection's.

#include "base/digest.h"
#include "base/limit_rule.h"
#include "base/sql.h"

#include <stdint.h>

enum {
    API_KEY_ID_SIZE = 12,
    API_KEY_SECRET_SIZE = 40,
    API_KEY_TEXT_SIZE = 6 + API_KEY_ID_SIZE + 1 + API_KEY_SECRET_SIZE,
    API_KEY_NAME_MAX = 255,
};

// A set. Who may administer may do everything.
enum {
    API_SCOPE_INGEST = 1,
    API_SCOPE_READ = 2,
    API_SCOPE_BILLING = 4,
    API_SCOPE_ADMIN = 8,
};
#define API_SCOPE_NAMES "ingest, read, billing and admin"

// "ingest,read"; STATUS_INVALID names what is no scope.
enum status api_scopes_parse(const char *text, unsigned *out, struct error *error) CHECKED;
const char *api_scopes_print(unsigned scopes, struct arena *arena);

struct api_key {
    char id[API_KEY_ID_SIZE + 1];
    char hash[DIGEST_HEX_SIZE];
    unsigned scopes;
    // 0: none, never.
    int64_t created_ns, expires_ns, revoked_ns, used_ns;
    const char *name;        // in the arena
    const char *limit;       // likewise, as it was given; NULL: that of all keys
    struct limit_rule rule;  // what it means
};

struct api_keys {
    struct api_key *items;  // by id
    size_t count;
};

// Fills id, hash and scopes and nothing else; text is the key itself. STATUS_NO_MEMORY: the hash
// could not be made.
enum status api_key_make(
    unsigned scopes,
    struct api_key *out,
    char out_text[API_KEY_TEXT_SIZE + 1],
    struct error *error) CHECKED;
// The id within a key's text; false: it is no key.
bool api_key_id(const char *text, char out_id[API_KEY_ID_SIZE + 1]);
// Whether text is this key, in a time that does not depend on where they differ.
bool api_key_is(const struct api_key *key, const char *text);

// The limit must be one that limit_rule_parse takes.
enum status api_key_add(
    struct sql *sql, const struct api_key *key, int64_t now_ns, struct error *error) CHECKED;
// STATUS_NOT_FOUND: no such key. A second time changes nothing.
enum status
api_key_revoke(struct sql *sql, const char *id, int64_t now_ns, struct error *error) CHECKED;
// with_revoked: all there ever were.
enum status api_keys_read(
    struct sql *sql,
    bool with_revoked,
    struct arena *arena,
    struct api_keys *out,
    struct error *error) CHECKED;
enum status
api_key_touch(struct sql *sql, const char *id, int64_t used_ns, struct error *error) CHECKED;
