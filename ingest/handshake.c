#include "ingest/handshake.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/pack.h"
#include "base/unpack.h"

// What the server is called. Not the machine's name, which a client on this machine may well use
// for itself, and the protocol wants two names.
static const char HOST_NAME[] = "tallyd";

const char *
handshake_fault_name(enum handshake_fault fault)
{
    switch (fault) {
    case HANDSHAKE_FINE: return "";
    case HANDSHAKE_NOT_PING: return "no PING of six texts";
    case HANDSHAKE_SAME_HOST: return "same host name as the server";
    case HANDSHAKE_KEY_MISMATCH: return "shared key mismatch";
    case HANDSHAKE_USER_MISMATCH: return "username or password mismatch";
    case HANDSHAKE_TIMEOUT: return "no PING came in time";
    case HANDSHAKE_NO_MEMORY: return "no memory";
    case HANDSHAKE_FAULT_COUNT: break;
    }
    return "unknown";
}

static void
nonce_fill(char out[HANDSHAKE_NONCE_SIZE])
{
    uint8_t bytes[HANDSHAKE_NONCE_SIZE / 2];
    random_fill(bytes, sizeof bytes);
    digest_digits(bytes, sizeof bytes, out);
}

void
handshake_begin(struct handshake *handshake, const struct credentials *credentials)
{
    must(credentials_are_set(credentials));
    *handshake = (struct handshake){.wants_user = credentials->users_count > 0};
    nonce_fill(handshake->nonce);
    nonce_fill(handshake->auth);
}

void
handshake_pack_helo(const struct handshake *handshake, struct buffer *out)
{
    pack_array(out, 2);
    pack_text(out, "HELO");
    pack_map(out, 3);
    pack_text(out, "nonce");
    pack_str(out, bytes_of(handshake->nonce, sizeof handshake->nonce));
    pack_text(out, "auth");
    pack_str(out, bytes_of(handshake->auth, handshake->wants_user ? sizeof handshake->auth : 0));
    pack_text(out, "keepalive");
    pack_bool(out, true);
}

void
handshake_pack_pong(
    enum handshake_fault fault, const struct handshake_answer *answer, struct buffer *out)
{
    bool is_fine = fault == HANDSHAKE_FINE;
    pack_array(out, 5);
    pack_text(out, "PONG");
    pack_bool(out, is_fine);
    pack_text(out, handshake_fault_name(fault));
    pack_text(out, is_fine ? HOST_NAME : "");
    pack_str(out, is_fine ? bytes_of(answer->digest, sizeof answer->digest) : bytes_of(NULL, 0));
}

// --- PING ---

struct ping {
    struct bytes host;
    struct bytes salt;
    struct bytes key_digest;
    struct bytes user;
    struct bytes password_digest;
};

static bool
text_take(struct cursor *in, size_t size_max, struct bytes *out)
{
    struct unpack_item item;
    if (!unpack_next(in, &item) || (item.type != UNPACK_STR && item.type != UNPACK_BIN))
        return false;
    *out = item.text;
    return item.text.size <= size_max;
}

static bool
ping_parse(struct bytes message, struct ping *out)
{
    struct cursor in = cursor_over(message);
    struct unpack_item top;
    struct bytes word;
    if (!unpack_next(&in, &top) || top.type != UNPACK_ARRAY || top.count != 6)
        return false;
    if (!text_take(&in, HANDSHAKE_FIELD_MAX, &word) || !bytes_equal(word, bytes_text("PING")))
        return false;
    return text_take(&in, HANDSHAKE_FIELD_MAX, &out->host) &&
           text_take(&in, HANDSHAKE_FIELD_MAX, &out->salt) &&
           text_take(&in, DIGEST_HEX_SIZE, &out->key_digest) &&
           text_take(&in, HANDSHAKE_FIELD_MAX, &out->user) &&
           text_take(&in, DIGEST_HEX_SIZE, &out->password_digest) && cursor_left(&in) == 0;
}

// --- the check ---

// The shared key's digest for one end: a client's when it comes in, ours when it goes out.
static bool
key_digest(
    const struct handshake *handshake,
    struct bytes key,
    struct bytes salt,
    struct bytes host,
    char out[DIGEST_HEX_SIZE])
{
    const struct bytes parts[] = {
        salt, host, bytes_of(handshake->nonce, sizeof handshake->nonce), key};
    return digest_hex(parts, sizeof parts / sizeof parts[0], out);
}

// Looks at every user, so that the time does not tell where in the list a name stands. NULL: none.
static const struct user *
user_find(const struct credentials *credentials, struct bytes name)
{
    const struct user *found = NULL;
    for (size_t i = 0; i < credentials->users_count; i++)
        if (digest_equal(credentials->users[i].name, name))
            found = &credentials->users[i];
    return found;
}

// *out_is_right: the digest is that of a password that the user has.
static bool
password_check(
    const struct handshake *handshake,
    const struct ping *ping,
    const struct user *user,
    bool *out_is_right)
{
    // Nobody's password: an unknown name costs what a wrong password does. Fresh noise, lest
    // somebody computes its digest.
    uint8_t noise[HANDSHAKE_NONCE_SIZE];
    random_fill(noise, sizeof noise);
    struct bytes password = user != NULL ? user->password : bytes_of(noise, sizeof noise);
    const struct bytes parts[] = {
        bytes_of(handshake->auth, sizeof handshake->auth), ping->user, password};
    char digest[DIGEST_HEX_SIZE];
    if (!digest_hex(parts, sizeof parts / sizeof parts[0], digest))
        return false;
    bool is_equal = digest_equal(bytes_of(digest, sizeof digest), ping->password_digest);
    *out_is_right = is_equal && user != NULL;
    return true;
}

enum handshake_fault
handshake_check(
    const struct handshake *handshake,
    const struct credentials *credentials,
    struct bytes message,
    struct handshake_answer *out)
{
    must(credentials_are_set(credentials));
    struct ping ping = {0};
    struct handshake_answer answer = {0};
    struct bytes key = credentials->shared_key;
    struct bytes own_host = bytes_text(HOST_NAME);
    char expected[DIGEST_HEX_SIZE];
    bool has_password = false;
    if (!ping_parse(message, &ping))
        return HANDSHAKE_NOT_PING;
    // With one name for both ends our PONG could be made from the client's own PING.
    if (bytes_equal(ping.host, own_host))
        return HANDSHAKE_SAME_HOST;
    const struct user *user = user_find(credentials, ping.user);
    if (!key_digest(handshake, key, ping.salt, ping.host, expected) ||
        !key_digest(handshake, key, ping.salt, own_host, answer.digest) ||
        !password_check(handshake, &ping, user, &has_password))
        return HANDSHAKE_NO_MEMORY;
    if (!digest_equal(bytes_of(expected, sizeof expected), ping.key_digest))
        return HANDSHAKE_KEY_MISMATCH;
    if (handshake->wants_user && !has_password)
        return HANDSHAKE_USER_MISMATCH;
    answer.may_backfill = handshake->wants_user && user->may_backfill;
    *out = answer;
    return HANDSHAKE_FINE;
}
