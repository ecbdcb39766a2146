#include "client/login.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/pack.h"
#include "base/unpack.h"

#include <stdio.h>
#include <unistd.h>

enum { DEPTH_MAX = 8, REASON_TEXT_MAX = 127 };

void
login_host_fill(char out[LOGIN_HOST_MAX])
{
    char name[65];
    if (gethostname(name, sizeof name) != 0)
        name[0] = '\0';
    name[sizeof name - 1] = '\0';
    (void)snprintf(out, LOGIN_HOST_MAX, "libtally@%s", name);
}

void
login_begin(struct login *login, const struct login_secrets *secrets)
{
    uint8_t noise[LOGIN_SALT_SIZE / 2];
    login->secrets = secrets;
    login->phase = secrets->shared_key[0] != '\0' ? LOGIN_WAITS_HELO : LOGIN_DONE;
    login->nonce_size = 0;
    login->ping_sent = 0;
    buffer_reset(&login->ping);
    if (login->phase == LOGIN_DONE)
        return;
    random_fill(noise, sizeof noise);
    digest_digits(noise, sizeof noise, login->salt);
}

void
login_done(struct login *login)
{
    buffer_done(&login->ping);
    *login = (struct login){0};
}

struct bytes
login_unsent(const struct login *login)
{
    if (login->ping_sent == login->ping.size)
        return bytes_of(NULL, 0);
    return bytes_of(login->ping.data + login->ping_sent, login->ping.size - login->ping_sent);
}

void
login_sent(struct login *login, size_t size)
{
    must(size <= login->ping.size - login->ping_sent);
    login->ping_sent += size;
}

const char *
login_missing(const struct login *login)
{
    return login->phase == LOGIN_WAITS_HELO
               ? "the server sent no HELO: it has no shared key, or is no Forward server"
               : "the server did not answer the PING";
}

// --- reading ---

static bool
text_take(struct cursor *in, struct bytes *out)
{
    struct unpack_item item;
    if (!unpack_next(in, &item) || (item.type != UNPACK_STR && item.type != UNPACK_BIN))
        return false;
    *out = item.text;
    return true;
}

// Enters ["WORD", ...] and says how many items the array has.
static bool
word_enter(struct cursor *in, const char *word, uint32_t *out_count)
{
    struct unpack_item item;
    struct bytes text;
    if (!unpack_next(in, &item) || item.type != UNPACK_ARRAY || item.count == 0)
        return false;
    *out_count = item.count;
    return text_take(in, &text) && bytes_equal(text, bytes_text(word));
}

bool
login_is_helo(struct bytes message)
{
    struct cursor in = cursor_over(message);
    uint32_t count;
    return word_enter(&in, "HELO", &count);
}

// The nonce must be there; without auth no user is asked for.
static bool
helo_parse(struct bytes message, struct bytes *out_nonce, struct bytes *out_auth)
{
    struct cursor in = cursor_over(message);
    struct unpack_item map;
    uint32_t count;
    bool has_nonce = false;
    if (!word_enter(&in, "HELO", &count) || count != 2)
        return false;
    if (!unpack_next(&in, &map) || map.type != UNPACK_MAP)
        return false;
    for (uint32_t i = 0; i < map.count; i++) {
        struct bytes key;
        bool is_fine = text_take(&in, &key);
        if (is_fine && bytes_equal(key, bytes_text("nonce")))
            has_nonce = is_fine = text_take(&in, out_nonce);
        else if (is_fine && bytes_equal(key, bytes_text("auth")))
            is_fine = text_take(&in, out_auth);
        else
            is_fine = is_fine && unpack_skip(&in, DEPTH_MAX);
        if (!is_fine)
            return false;
    }
    return has_nonce && cursor_left(&in) == 0;
}

struct pong {
    bool is_fine;
    struct bytes reason, host, digest;
};

static bool
pong_parse(struct bytes message, struct pong *out)
{
    struct cursor in = cursor_over(message);
    struct unpack_item item;
    uint32_t count;
    if (!word_enter(&in, "PONG", &count) || count != 5)
        return false;
    if (!unpack_next(&in, &item) || item.type != UNPACK_BOOL)
        return false;
    out->is_fine = item.boolean;
    // A refusal may carry nil for what it does not say.
    if (!out->is_fine)
        return text_take(&in, &out->reason);
    return text_take(&in, &out->reason) && text_take(&in, &out->host) &&
           text_take(&in, &out->digest) && cursor_left(&in) == 0;
}

// --- PING and PONG ---

static bool
key_digest(const struct login *login, struct bytes host, char out[DIGEST_HEX_SIZE])
{
    const struct bytes parts[] = {
        bytes_of(login->salt, sizeof login->salt),
        host,
        bytes_of(login->nonce, login->nonce_size),
        bytes_text(login->secrets->shared_key),
    };
    return digest_hex(parts, sizeof parts / sizeof parts[0], out);
}

// auth: empty when no user is asked for.
static bool
ping_pack(struct login *login, struct bytes auth)
{
    const struct login_secrets *secrets = login->secrets;
    const struct bytes parts[] = {
        auth, bytes_text(secrets->username), bytes_text(secrets->password)};
    char key[DIGEST_HEX_SIZE], password[DIGEST_HEX_SIZE];
    struct buffer *out = &login->ping;
    if (!key_digest(login, bytes_text(secrets->host), key) || !digest_hex(parts, 3, password))
        return false;
    pack_array(out, 6);
    pack_text(out, "PING");
    pack_text(out, secrets->host);
    pack_str(out, bytes_of(login->salt, sizeof login->salt));
    pack_str(out, bytes_of(key, sizeof key));
    pack_text(out, auth.size > 0 ? secrets->username : "");
    pack_str(out, bytes_of(password, auth.size > 0 ? sizeof password : 0));
    return !buffer_failed(out);
}

static enum status
helo_answer(struct login *login, struct bytes message, struct error *error)
{
    struct bytes nonce = {0}, auth = {0};
    if (!helo_parse(message, &nonce, &auth))
        return error_set(error, STATUS_INVALID, "the server's greeting is no HELO");
    if (nonce.size == 0 || nonce.size > LOGIN_NONCE_MAX || auth.size > LOGIN_NONCE_MAX)
        return error_set(error, STATUS_INVALID, "the server's HELO has no nonce of a usual size");
    if (auth.size > 0 && login->secrets->username[0] == '\0')
        return error_set(
            error, STATUS_INVALID, "the server asks for a user: set username and password");
    memcpy(login->nonce, nonce.data, nonce.size);
    login->nonce_size = nonce.size;
    if (!ping_pack(login, auth))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the handshake");
    login->phase = LOGIN_WAITS_PONG;
    return STATUS_OK;
}

// The server's own words, as far as they can be shown on a line.
static enum status
refusal_error(struct bytes reason, struct error *error)
{
    char text[REASON_TEXT_MAX + 1];
    size_t size = reason.size < REASON_TEXT_MAX ? reason.size : REASON_TEXT_MAX;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = reason.data[i];
        text[i] = '?';
        if (c >= ' ' && c < 0x7f)
            text[i] = (char)c;
    }
    text[size] = '\0';
    return error_set(error, STATUS_INVALID, "the server refused the handshake: %s", text);
}

static enum status
pong_check(struct login *login, struct bytes message, struct error *error)
{
    struct pong pong = {0};
    char expected[DIGEST_HEX_SIZE];
    if (login_unsent(login).size > 0 || !pong_parse(message, &pong))
        return error_set(error, STATUS_INVALID, "the server answered the PING with no PONG");
    if (!pong.is_fine)
        return refusal_error(pong.reason, error);
    if (bytes_equal(pong.host, bytes_text(login->secrets->host)))
        return error_set(error, STATUS_INVALID, "the server calls itself what we are called");
    if (!key_digest(login, pong.host, expected))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the handshake");
    if (!digest_equal(bytes_of(expected, sizeof expected), pong.digest))
        return error_set(
            error, STATUS_INVALID, "the server did not prove that it knows the shared key");
    login->phase = LOGIN_DONE;
    return STATUS_OK;
}

enum status
login_message(struct login *login, struct bytes message, struct error *error)
{
    must(login->phase != LOGIN_DONE);
    if (login->phase == LOGIN_WAITS_HELO)
        return helo_answer(login, message, error);
    return pong_check(login, message, error);
}
