#include "ingest/handshake.h"

#include "tests/ingest/ping.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define BYTES(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

static const struct user USERS[] = {
    {.name = BYTES("acme"),        .password = BYTES("correct-horse")},
    { .name = BYTES("importer"), .password = BYTES("staple"),               .may_backfill = true},
};
static const struct credentials KEY_ONLY = {.shared_key = BYTES("a shared key")};
static const struct credentials WITH_USERS = {
    .shared_key = BYTES("a shared key"), .users = USERS, .users_count = 2};

static struct ping
ping_right(const struct handshake *handshake)
{
    return (struct ping){
        .host = BYTES("client.example"),
        .salt = BYTES("\x01salt\xff\0 of bytes"),
        .nonce = bytes_of(handshake->nonce, sizeof handshake->nonce),
        .key = BYTES("a shared key"),
        .auth = bytes_of(handshake->auth, handshake->wants_user ? sizeof handshake->auth : 0),
        .user = handshake->wants_user ? BYTES("acme") : BYTES(""),
        .password = BYTES("correct-horse"),
    };
}

static enum handshake_fault
checked(
    const struct handshake *handshake,
    const struct credentials *credentials,
    const struct ping *ping,
    struct handshake_answer *answer)
{
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(ping, &out);
    return handshake_check(handshake, credentials, buffer_view(&out), answer);
}

Test(handshake, greets_as_the_protocol_says)
{
    for (int with_users = 0; with_users < 2; with_users++) {
        struct handshake handshake;
        handshake_begin(&handshake, with_users ? &WITH_USERS : &KEY_ONLY);
        scoped(buffer_done) struct buffer out = {0}, wanted = {0};
        handshake_pack_helo(&handshake, &out);
        pack_array(&wanted, 2);
        pack_text(&wanted, "HELO");
        pack_map(&wanted, 3);
        pack_text(&wanted, "nonce");
        pack_str(&wanted, bytes_of(handshake.nonce, 32));
        pack_text(&wanted, "auth");
        pack_str(&wanted, bytes_of(handshake.auth, with_users ? 32 : 0));
        pack_text(&wanted, "keepalive");
        pack_bool(&wanted, true);
        cr_assert(bytes_equal(buffer_view(&out), buffer_view(&wanted)));
        for (size_t i = 0; i < sizeof handshake.nonce; i++)
            cr_assert_not_null(strchr("0123456789abcdef", handshake.nonce[i]));
    }
}

Test(handshake, never_says_the_same_twice)
{
    struct handshake one, two;
    handshake_begin(&one, &WITH_USERS);
    handshake_begin(&two, &WITH_USERS);
    cr_assert(memcmp(one.nonce, two.nonce, sizeof one.nonce) != 0);
    cr_assert(memcmp(one.auth, two.auth, sizeof one.auth) != 0);
    cr_assert(memcmp(one.auth, one.nonce, sizeof one.auth) != 0);
}

// An example whose digests were computed with Python's hashlib.
// docs/wire.md: W156
Test(handshake, computes_the_digests_of_the_specification)
{
    struct handshake handshake = {.wants_user = true};
    memcpy(handshake.nonce, "0123456789abcdef0123456789abcdef", 32);
    memcpy(handshake.auth, "fedcba9876543210fedcba9876543210", 32);
    scoped(buffer_done) struct buffer out = {0};
    pack_array(&out, 6);
    pack_text(&out, "PING");
    pack_text(&out, "client.example");
    pack_text(&out, "salt");
    pack_text(
        &out,
        "81328bfde4818707c76246325c7e3209f1b70062d3cfb17566cc91d162d52537"
        "5810a9a1cc5cab4bb28eefc3ce78ecf6f625df3dc0dcf8cc2dee1887e2b922cb");
    pack_text(&out, "acme");
    pack_text(
        &out,
        "b642a054be5adf8b7421a708748fb1fc12a47c14a948ab62a096a3bf1aabbddb"
        "75990196ae0261d28ea9979a60ebaa5d79ca288db6afeb1c8d9454eb35e57d4b");
    struct handshake_answer answer;
    cr_assert_eq(
        handshake_check(&handshake, &WITH_USERS, buffer_view(&out), &answer), HANDSHAKE_FINE);
    cr_assert(bytes_equal(
        bytes_of(answer.digest, sizeof answer.digest),
        bytes_text("17c68e3c71e6254210fb7d0d16b1065a28a921d0731e710985cc47e8473ac5f1"
                   "3b2b0ad6dbb097ca961eb96b868a9b4f8b0340551fe89f70aa03382f5eb02995")));
}

Test(handshake, lets_in_who_knows_the_key)
{
    struct handshake handshake;
    handshake_begin(&handshake, &KEY_ONLY);
    for (int is_bin = 0; is_bin < 2; is_bin++) {
        struct ping ping = ping_right(&handshake);
        struct handshake_answer answer;
        ping.is_bin = is_bin;
        cr_assert_eq(checked(&handshake, &KEY_ONLY, &ping, &answer), HANDSHAKE_FINE);
        cr_assert_not(answer.may_backfill);
        scoped(buffer_done) struct buffer out = {0}, wanted = {0};
        handshake_pack_pong(HANDSHAKE_FINE, &answer, &out);
        pong_pack(&ping, &wanted);
        cr_assert(bytes_equal(buffer_view(&out), buffer_view(&wanted)));
    }
}

// Whoever says a name that nobody asked for is not held to it, and gets nothing by it.
Test(handshake, ignores_a_user_when_there_are_none)
{
    struct handshake handshake;
    handshake_begin(&handshake, &KEY_ONLY);
    struct ping ping = ping_right(&handshake);
    struct handshake_answer answer;
    ping.user = BYTES("importer");
    cr_assert_eq(checked(&handshake, &KEY_ONLY, &ping, &answer), HANDSHAKE_FINE);
    cr_assert_not(answer.may_backfill);
}

Test(handshake, knows_users_and_their_scopes)
{
    struct handshake handshake;
    handshake_begin(&handshake, &WITH_USERS);
    struct ping ping = ping_right(&handshake);
    struct handshake_answer answer;
    cr_assert_eq(checked(&handshake, &WITH_USERS, &ping, &answer), HANDSHAKE_FINE);
    cr_assert_not(answer.may_backfill);
    ping.user = BYTES("importer");
    ping.password = BYTES("staple");
    cr_assert_eq(checked(&handshake, &WITH_USERS, &ping, &answer), HANDSHAKE_FINE);
    cr_assert(answer.may_backfill);
}

// One thing wrong at a time: what is set replaces what is right.
// clang-format off
static const struct {
    const char *name;
    struct ping wrong;
    enum handshake_fault fault;
} WRONG[] = {
    {"another key", {.key = BYTES("another key")}, HANDSHAKE_KEY_MISMATCH},
    {"a NUL for a key", {.key = BYTES("\0")}, HANDSHAKE_KEY_MISMATCH},
    {"a longer key", {.key = BYTES("a shared key.")}, HANDSHAKE_KEY_MISMATCH},
    {"the nonce of another connection",
     {.nonce = BYTES("0123456789abcdef0123456789abcdef")}, HANDSHAKE_KEY_MISMATCH},
    {"no nonce", {.nonce = BYTES("")}, HANDSHAKE_KEY_MISMATCH},
    {"an unknown user", {.user = BYTES("nobody")}, HANDSHAKE_USER_MISMATCH},
    {"no user", {.user = BYTES("")}, HANDSHAKE_USER_MISMATCH},
    {"a user in other letters", {.user = BYTES("ACME")}, HANDSHAKE_USER_MISMATCH},
    {"another password", {.password = BYTES("battery")}, HANDSHAKE_USER_MISMATCH},
    {"another's password", {.password = BYTES("staple")}, HANDSHAKE_USER_MISMATCH},
    {"another's name", {.user = BYTES("importer")}, HANDSHAKE_USER_MISMATCH},
    {"the salt of another connection",
     {.auth = BYTES("0123456789abcdef0123456789abcdef")}, HANDSHAKE_USER_MISMATCH},
    {"no password digest", {.auth = BYTES("")}, HANDSHAKE_USER_MISMATCH},
    {"our own name", {.host = BYTES("tallyd")}, HANDSHAKE_SAME_HOST},
    {"key and user wrong",
     {.key = BYTES("x"), .user = BYTES("nobody")}, HANDSHAKE_KEY_MISMATCH},
};
// clang-format on

static void
replace(struct bytes *right, struct bytes wrong)
{
    if (wrong.data != NULL)
        *right = wrong;
}

Test(handshake, turns_away_who_says_something_wrong)
{
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct handshake handshake;
        handshake_begin(&handshake, &WITH_USERS);
        struct ping ping = ping_right(&handshake);
        struct handshake_answer answer = {.digest = "untouched"};
        cr_assert_eq(checked(&handshake, &WITH_USERS, &ping, &answer), HANDSHAKE_FINE);
        answer = (struct handshake_answer){.digest = "untouched"};
        replace(&ping.host, WRONG[i].wrong.host);
        replace(&ping.key, WRONG[i].wrong.key);
        replace(&ping.nonce, WRONG[i].wrong.nonce);
        replace(&ping.auth, WRONG[i].wrong.auth);
        replace(&ping.user, WRONG[i].wrong.user);
        replace(&ping.password, WRONG[i].wrong.password);
        enum handshake_fault fault = checked(&handshake, &WITH_USERS, &ping, &answer);
        cr_assert_eq(fault, WRONG[i].fault, "%s: %s", WRONG[i].name, handshake_fault_name(fault));
        cr_assert_str_eq(answer.digest, "untouched", "%s", WRONG[i].name);
    }
}

// Wherever one digit of a digest is wrong or missing.
Test(handshake, compares_whole_digests)
{
    struct handshake handshake;
    handshake_begin(&handshake, &WITH_USERS);
    struct ping ping = ping_right(&handshake);
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(&ping, &out);
    char digest[DIGEST_HEX_SIZE];
    ping_key_digest(&ping, ping.host, digest);
    uint8_t *at = memmem(out.data, out.size, digest, sizeof digest);
    cr_assert_not_null(at);
    struct handshake_answer answer;
    for (size_t i = 0; i < sizeof digest; i++) {
        at[i] ^= 1;
        cr_assert_eq(
            handshake_check(&handshake, &WITH_USERS, buffer_view(&out), &answer),
            HANDSHAKE_KEY_MISMATCH);
        at[i] ^= 1;
        uint8_t *password = out.data + out.size - sizeof digest;
        password[i] ^= 1;
        cr_assert_eq(
            handshake_check(&handshake, &WITH_USERS, buffer_view(&out), &answer),
            HANDSHAKE_USER_MISMATCH);
        password[i] ^= 1;
    }
    cr_assert_eq(
        handshake_check(&handshake, &WITH_USERS, buffer_view(&out), &answer), HANDSHAKE_FINE);
}

// Why somebody was turned away does not tell which names exist.
Test(handshake, says_the_same_of_unknown_users_and_wrong_passwords)
{
    struct handshake handshake;
    handshake_begin(&handshake, &WITH_USERS);
    struct ping ping = ping_right(&handshake);
    scoped(buffer_done) struct buffer unknown = {0}, wrong = {0};
    struct handshake_answer answer;
    ping.user = BYTES("nobody");
    handshake_pack_pong(checked(&handshake, &WITH_USERS, &ping, &answer), NULL, &unknown);
    ping.user = BYTES("acme");
    ping.password = BYTES("x");
    handshake_pack_pong(checked(&handshake, &WITH_USERS, &ping, &answer), NULL, &wrong);
    cr_assert(bytes_equal(buffer_view(&unknown), buffer_view(&wrong)));
    scoped(buffer_done) struct buffer wanted = {0};
    pong_refusal_pack("username or password mismatch", &wanted);
    cr_assert(bytes_equal(buffer_view(&wrong), buffer_view(&wanted)));
}

static const struct {
    const char *name;
    struct bytes bytes;
} NO_PING[] = {
    {"nil",                 BYTES("\xc0")                              },
    {"an integer",          BYTES("\x05")                              },
    {"a map",               BYTES("\x80")                              },
    {"an empty array",      BYTES("\x90")                              },
    {"five elements",
     BYTES("\x95\xa4PING\xa1h\xa1s\xa1"
           "d\xa0")                                                    },
    {"seven elements",
     BYTES("\x97\xa4PING\xa1h\xa1s\xa1"
           "d\xa0\xa0\xa0")                                            },
    {"PONG",
     BYTES("\x96\xa4PONG\xa1h\xa1s\xa1"
           "d\xa0\xa0")                                                },
    {"ping",
     BYTES("\x96\xa4ping\xa1h\xa1s\xa1"
           "d\xa0\xa0")                                                },
    {"PINGS",
     BYTES("\x96\xa5PINGS\xa1h\xa1s\xa1"
           "d\xa0\xa0")                                                },
    {"a frame",             BYTES("\x92\xa1t\x90")                     },
    {"host is nil",
     BYTES("\x96\xa4PING\xc0\xa1s\xa1"
           "d\xa0\xa0")                                                },
    {"salt is an integer",
     BYTES("\x96\xa4PING\xa1h\x01\xa1"
           "d\xa0\xa0")                                                },
    {"digest is an array",  BYTES("\x96\xa4PING\xa1h\xa1s\x90\xa0\xa0")},
    {"user is true",
     BYTES("\x96\xa4PING\xa1h\xa1s\xa1"
           "d\xc3\xa0")                                                },
    {"password is a map",
     BYTES("\x96\xa4PING\xa1h\xa1s\xa1"
           "d\xa0\x80")                                                },
    {"cut",
     BYTES("\x96\xa4PING\xa1h\xa1s\xa1"
           "d\xa0")                                                    },
    {"something behind it",
     BYTES("\x96\xa4PING\xa1h\xa1s\xa1"
           "d\xa0\xa0\xc0")                                            },
};

Test(handshake, refuses_what_is_no_ping)
{
    struct handshake handshake;
    handshake_begin(&handshake, &KEY_ONLY);
    for (size_t i = 0; i < sizeof NO_PING / sizeof NO_PING[0]; i++) {
        struct handshake_answer answer;
        cr_assert_eq(
            handshake_check(&handshake, &KEY_ONLY, NO_PING[i].bytes, &answer),
            HANDSHAKE_NOT_PING,
            "%s",
            NO_PING[i].name);
    }
}

Test(handshake, refuses_every_truncation)
{
    struct handshake handshake;
    handshake_begin(&handshake, &WITH_USERS);
    struct ping ping = ping_right(&handshake);
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(&ping, &out);
    cr_assert_leq(out.size, HANDSHAKE_PING_MAX);
    for (size_t size = 0; size < out.size; size++) {
        uint8_t *copy = malloc(size > 0 ? size : 1);
        memcpy(copy, out.data, size);
        struct handshake_answer answer;
        cr_assert_eq(
            handshake_check(&handshake, &WITH_USERS, bytes_of(copy, size), &answer),
            HANDSHAKE_NOT_PING,
            "%zu bytes",
            size);
        free(copy);
    }
}

// A field at its limit is looked at, one byte more is not.
Test(handshake, bounds_its_fields)
{
    char text[HANDSHAKE_FIELD_MAX + 1];
    memset(text, 'x', sizeof text);
    struct handshake handshake;
    handshake_begin(&handshake, &KEY_ONLY);
    for (size_t field = 0; field < 3; field++) {
        for (size_t over = 0; over < 2; over++) {
            struct ping ping = ping_right(&handshake);
            struct bytes value = bytes_of(text, HANDSHAKE_FIELD_MAX + over);
            *(field == 0 ? &ping.host : field == 1 ? &ping.salt : &ping.user) = value;
            struct handshake_answer answer;
            cr_assert_eq(
                checked(&handshake, &KEY_ONLY, &ping, &answer),
                over ? HANDSHAKE_NOT_PING : HANDSHAKE_FINE,
                "field %zu",
                field);
        }
    }
}

// The largest PING that has a chance fits into the limit of the message.
Test(handshake, has_room_for_the_largest_ping)
{
    char text[HANDSHAKE_FIELD_MAX];
    memset(text, 'x', sizeof text);
    struct handshake handshake;
    handshake_begin(&handshake, &WITH_USERS);
    struct ping ping = ping_right(&handshake);
    ping.host = ping.salt = ping.user = bytes_of(text, sizeof text);
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(&ping, &out);
    cr_assert_leq(out.size, HANDSHAKE_PING_MAX);
}

// docs/wire.md: W155
Test(handshake, names_every_fault)
{
    for (enum handshake_fault i = HANDSHAKE_FINE; i < HANDSHAKE_FAULT_COUNT; i++)
        cr_assert_str_neq(handshake_fault_name(i), "unknown");
}

// A longer one would crash Fluent Bit.
Test(handshake, gives_reasons_that_every_client_has_room_for)
{
    for (enum handshake_fault i = HANDSHAKE_FINE; i < HANDSHAKE_FAULT_COUNT; i++)
        cr_assert_leq(
            strlen(handshake_fault_name(i)), HANDSHAKE_REASON_MAX, "%s", handshake_fault_name(i));
}
