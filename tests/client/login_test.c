// The handshake as values: what is answered to any HELO and PONG.
#include "client/login.h"

#include "base/pack.h"
#include "base/unpack.h"

#include <criterion/criterion.h>

#include <stdio.h>

#define BYTES(text) bytes_of(text, sizeof(text) - 1)

static const char NONCE[] = "0123456789abcdef";

static struct login_secrets
secrets_of(const char *key, const char *user, const char *password)
{
    struct login_secrets secrets = {.host = "libtally@here"};
    (void)snprintf(secrets.shared_key, sizeof secrets.shared_key, "%s", key);
    (void)snprintf(secrets.username, sizeof secrets.username, "%s", user);
    (void)snprintf(secrets.password, sizeof secrets.password, "%s", password);
    return secrets;
}

static void
helo_pack(struct buffer *out, struct bytes auth)
{
    pack_array(out, 2);
    pack_text(out, "HELO");
    pack_map(out, 3);
    pack_text(out, "nonce");
    pack_bin(out, bytes_text(NONCE));
    pack_text(out, "auth");
    pack_str(out, auth);
    pack_text(out, "keepalive");
    pack_bool(out, true);
}

static void
digest_of(const struct bytes *parts, size_t count, char out[DIGEST_HEX_SIZE])
{
    cr_assert(digest_hex(parts, count, out));
}

// The PONG of a server with that name and key.
static void
pong_pack(struct buffer *out, const struct login *login, const char *host, const char *key)
{
    char digest[DIGEST_HEX_SIZE];
    const struct bytes parts[] = {
        bytes_of(login->salt, sizeof login->salt),
        bytes_text(host),
        bytes_text(NONCE),
        bytes_text(key)};
    digest_of(parts, 4, digest);
    pack_array(out, 5);
    pack_text(out, "PONG");
    pack_bool(out, true);
    pack_text(out, "");
    pack_text(out, host);
    pack_str(out, bytes_of(digest, sizeof digest));
}

// Begins, takes a HELO, and has its PING written.
static void
login_greeted(struct login *login, const struct login_secrets *secrets)
{
    scoped(buffer_done) struct buffer helo = {0};
    struct error error = {0};
    login_begin(login, secrets);
    cr_assert_eq(login->phase, LOGIN_WAITS_HELO);
    helo_pack(&helo, BYTES(""));
    cr_assert_eq(login_message(login, buffer_view(&helo), &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(login->phase, LOGIN_WAITS_PONG);
    login_sent(login, login_unsent(login).size);
}

static void
assert_pong(struct login *login, struct bytes pong, const char *part)
{
    struct error error = {0};
    enum status status = login_message(login, pong, &error);
    if (part == NULL) {
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        cr_assert_eq(login->phase, LOGIN_DONE);
        return;
    }
    cr_assert_eq(status, STATUS_INVALID);
    cr_assert_neq(login->phase, LOGIN_DONE);
    cr_assert_not_null(strstr(error.text, part), "%s", error.text);
}

static struct bytes
text_next(struct cursor *in)
{
    struct unpack_item item;
    cr_assert(unpack_next(in, &item) && item.type == UNPACK_STR);
    return item.text;
}

static void
assert_text(struct bytes text, struct bytes wanted)
{
    cr_assert(bytes_equal(text, wanted), "%.*s", (int)text.size, (const char *)text.data);
}

// auth: as the HELO says.
static void
assert_ping(struct bytes auth, const char *user, const char *password_of_it)
{
    scoped(login_done) struct login login = {0};
    scoped(buffer_done) struct buffer helo = {0};
    const struct login_secrets secrets = secrets_of("key", "acme", "horse");
    struct error error = {0};
    struct unpack_item array;
    char key[DIGEST_HEX_SIZE], password[DIGEST_HEX_SIZE];
    login_begin(&login, &secrets);
    cr_assert_eq(login_unsent(&login).size, 0, "nothing is said before the server's HELO");
    helo_pack(&helo, auth);
    cr_assert_eq(login_message(&login, buffer_view(&helo), &error), STATUS_OK, "%s", error.text);
    const struct bytes key_parts[] = {
        bytes_of(login.salt, sizeof login.salt),
        bytes_text("libtally@here"),
        bytes_text(NONCE),
        bytes_text("key")};
    const struct bytes password_parts[] = {auth, bytes_text(user), bytes_text(password_of_it)};
    digest_of(key_parts, 4, key);
    digest_of(password_parts, 3, password);
    struct cursor in = cursor_over(login_unsent(&login));
    cr_assert(unpack_next(&in, &array) && array.type == UNPACK_ARRAY && array.count == 6);
    assert_text(text_next(&in), BYTES("PING"));
    assert_text(text_next(&in), BYTES("libtally@here"));
    assert_text(text_next(&in), bytes_of(login.salt, sizeof login.salt));
    assert_text(text_next(&in), bytes_of(key, sizeof key));
    assert_text(text_next(&in), bytes_text(user));
    assert_text(text_next(&in), bytes_of(password, auth.size > 0 ? sizeof password : 0));
    cr_assert_eq(cursor_left(&in), 0);
}

Test(login, answers_a_helo_with_the_key)
{
    assert_ping(BYTES(""), "", "");
}

Test(login, answers_a_helo_that_asks_for_a_user)
{
    assert_ping(BYTES("salt\x00of auth"), "acme", "horse");
}

Test(login, has_nothing_to_do_without_a_key)
{
    struct login login = {0};
    const struct login_secrets secrets = {.host = "libtally@here"};
    login_begin(&login, &secrets);
    cr_assert_eq(login.phase, LOGIN_DONE);
}

Test(login, takes_another_salt_each_time)
{
    scoped(login_done) struct login login = {0};
    const struct login_secrets secrets = secrets_of("key", "", "");
    char salt[LOGIN_SALT_SIZE];
    login_begin(&login, &secrets);
    memcpy(salt, login.salt, sizeof salt);
    login_begin(&login, &secrets);
    cr_assert_neq(memcmp(salt, login.salt, sizeof salt), 0);
}

Test(login, refuses_what_is_no_helo)
{
    const struct {
        const char *part;
        struct bytes message;
    } rows[] = {
        {"no HELO",
         BYTES("\x81\xa3"
               "ack\xa1x")                                          },
        {"no HELO",      BYTES("\x90")                              },
        {"no HELO",      BYTES("\x92\xa4HELP\x80")                  },
        {"no HELO",      BYTES("\x92\xa4HELO\x80")                  },
        {"no HELO",      BYTES("\x92\xa4HELO\x90")                  },
        {"no HELO",      BYTES("\x93\xa4HELO\x81\xa5nonce\xa1n\xc0")},
        {"no HELO",      BYTES("\x92\xa4HELO\x81\xa5nonce\x01")     },
        {"no HELO",
         BYTES("\x92\xa4HELO\x82\xa5nonce\xa1n\xa4"
               "auth\xc0")                                          },
        {"no nonce",     BYTES("\x92\xa4HELO\x81\xa5nonce\xa0")     },
        {"set username",
         BYTES("\x92\xa4HELO\x82\xa5nonce\xa1n\xa4"
               "auth\xa1s")                                         },
    };
    const struct login_secrets secrets = secrets_of("key", "", "");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(login_done) struct login login = {0};
        struct error error = {0};
        login_begin(&login, &secrets);
        cr_assert_eq(login_message(&login, rows[i].message, &error), STATUS_INVALID, "row %zu", i);
        cr_assert_not_null(strstr(error.text, rows[i].part), "row %zu: %s", i, error.text);
        cr_assert_eq(login_unsent(&login).size, 0, "row %zu: no PING", i);
    }
}

// At every length: nothing is read behind the end.
Test(login, refuses_a_helo_that_is_cut)
{
    const struct login_secrets secrets = secrets_of("key", "", "");
    scoped(buffer_done) struct buffer helo = {0};
    helo_pack(&helo, BYTES(""));
    for (size_t size = 0; size < helo.size; size++) {
        scoped(login_done) struct login login = {0};
        scoped(buffer_done) struct buffer cut = {0};
        struct error error = {0};
        buffer_put(&cut, helo.data, size);
        login_begin(&login, &secrets);
        cr_assert_eq(login_message(&login, buffer_view(&cut), &error), STATUS_INVALID);
    }
}

Test(login, believes_a_server_that_proves_the_key)
{
    scoped(login_done) struct login login = {0};
    scoped(buffer_done) struct buffer pong = {0};
    const struct login_secrets secrets = secrets_of("key", "", "");
    login_greeted(&login, &secrets);
    pong_pack(&pong, &login, "tallyd", "key");
    assert_pong(&login, buffer_view(&pong), NULL);
}

Test(login, refuses_a_server_with_another_key)
{
    scoped(login_done) struct login login = {0};
    scoped(buffer_done) struct buffer pong = {0};
    const struct login_secrets secrets = secrets_of("key", "", "");
    login_greeted(&login, &secrets);
    pong_pack(&pong, &login, "tallyd", "kez");
    assert_pong(&login, buffer_view(&pong), "did not prove");
}

// Whoever knows no key can still send our own digest back.
Test(login, refuses_its_own_proof)
{
    scoped(login_done) struct login login = {0};
    scoped(buffer_done) struct buffer pong = {0};
    const struct login_secrets secrets = secrets_of("key", "", "");
    login_greeted(&login, &secrets);
    pong_pack(&pong, &login, "libtally@here", "key");
    assert_pong(&login, buffer_view(&pong), "calls itself");
}

Test(login, refuses_what_is_no_pong)
{
    const struct {
        const char *part;
        struct bytes message;
    } rows[] = {
        {"no PONG",
         BYTES("\x81\xa3"
               "ack\xa1x")                                                              },
        {"no PONG",                        BYTES("\x95\xa4PONG\xc3\xa0\xa6tallyd")      },
        {"no PONG",                        BYTES("\x94\xa4PONG\xc3\xa0\xa6tallyd")      },
        {"no PONG",                        BYTES("\x95\xa4PONG\x01\xa0\xa6tallyd\xa0")  },
        {"did not prove",                  BYTES("\x95\xa4PONG\xc3\xa0\xa6tallyd\xa0")  },
        {"did not prove",
         BYTES("\x95\xa4PONG\xc3\xa0\xa6tallyd\xa3"
               "abc")                                                                   },
        {"refused the handshake: go?away", BYTES("\x95\xa4PONG\xc2\xa7go\naway\xa0\xa0")},
        {"refused the handshake: no",      BYTES("\x95\xa4PONG\xc2\xa2no\xc0\xc0")      },
    };
    const struct login_secrets secrets = secrets_of("key", "", "");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(login_done) struct login login = {0};
        login_greeted(&login, &secrets);
        assert_pong(&login, rows[i].message, rows[i].part);
    }
}

// A PONG to a PING that was not written yet answers something else.
Test(login, refuses_a_pong_before_its_ping)
{
    scoped(login_done) struct login login = {0};
    scoped(buffer_done) struct buffer helo = {0};
    scoped(buffer_done) struct buffer pong = {0};
    const struct login_secrets secrets = secrets_of("key", "", "");
    struct error error = {0};
    login_begin(&login, &secrets);
    helo_pack(&helo, BYTES(""));
    cr_assert_eq(login_message(&login, buffer_view(&helo), &error), STATUS_OK);
    login_sent(&login, 1);
    pong_pack(&pong, &login, "tallyd", "key");
    assert_pong(&login, buffer_view(&pong), "no PONG");
}

Test(login, has_a_name_that_no_server_has)
{
    char host[LOGIN_HOST_MAX];
    login_host_fill(host);
    cr_assert_eq(strncmp(host, "libtally@", 9), 0, "%s", host);
    cr_assert_lt(strlen(host), LOGIN_HOST_MAX);
}

Test(login, knows_a_greeting)
{
    cr_assert(login_is_helo(BYTES("\x92\xa4HELO\x80")));
    cr_assert_not(login_is_helo(BYTES("\x92\xa4PONG\x80")));
    cr_assert_not(login_is_helo(BYTES("\x81\xa3"
                                      "ack\xa1x")));
}
