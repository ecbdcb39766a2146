#include "ingest/users.h"

#include "base/buffer.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char dir[64];
    struct arena arena;
    struct error error;
};

static void
place_open(struct place *place)
{
    *place = (struct place){.dir = "/tmp/tally-users-XXXXXX"};
    cr_assert_not_null(mkdtemp(place->dir));
}

static const char *
place_write(struct place *place, const char *name, struct bytes text, mode_t mode)
{
    const char *path = arena_format(&place->arena, "%s/%s", place->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text.data, text.size), (ssize_t)text.size);
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static void
place_close(struct place *place)
{
    (void)unlink(arena_format(&place->arena, "%s/key", place->dir));
    (void)unlink(arena_format(&place->arena, "%s/users", place->dir));
    cr_assert_eq(rmdir(place->dir), 0);
    arena_done(&place->arena);
}

#define BYTES(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

Test(users, are_none_without_a_key)
{
    struct place place;
    place_open(&place);
    struct credentials credentials = {0};
    const struct credential_sources sources = {0};
    cr_assert_eq(credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_OK);
    cr_assert_not(credentials_are_set(&credentials));
    place_close(&place);
}

static const struct {
    const char *name;
    struct bytes text;
    struct bytes key;  // empty: refused
} KEYS[] = {
    {"a line",              BYTES("secret\n"),     BYTES("secret")      },
    {"no newline",          BYTES("secret"),       BYTES("secret")      },
    {"spaces belong to it", BYTES(" sec ret \n"),  BYTES(" sec ret ")   },
    {"any bytes",           BYTES("\xff\x01\xc3"), BYTES("\xff\x01\xc3")},
    {"nothing",             BYTES(""),             {0}                  },
    {"an empty line",       BYTES("\n"),           {0}                  },
    {"two lines",           BYTES("one\ntwo\n"),   {0}                  },
    {"two newlines",        BYTES("one\n\n"),      {0}                  },
    {"a NUL",               BYTES("one\0two"),     {0}                  },
};

Test(users, reads_the_shared_key)
{
    struct place place;
    place_open(&place);
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++) {
        struct credentials credentials = {0};
        const struct credential_sources sources = {
            .key_file = place_write(&place, "key", KEYS[i].text, 0600)};
        enum status status = credentials_read(&sources, &place.arena, &credentials, &place.error);
        cr_assert_eq(status, KEYS[i].key.size > 0 ? STATUS_OK : STATUS_INVALID, "%s", KEYS[i].name);
        cr_assert(bytes_equal(credentials.shared_key, KEYS[i].key), "%s", KEYS[i].name);
    }
    place_close(&place);
}

Test(users, takes_the_key_of_the_environment_but_not_two)
{
    struct place place;
    place_open(&place);
    struct credentials credentials = {0};
    struct credential_sources sources = {.key_text = "from outside"};
    cr_assert_eq(credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_OK);
    cr_assert(bytes_equal(credentials.shared_key, bytes_text("from outside")));
    sources.key_text = "";
    cr_assert_eq(
        credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_INVALID);
    sources.key_text = "x";
    sources.key_file = place_write(&place, "key", BYTES("y"), 0600);
    cr_assert_eq(
        credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_INVALID);
    place_close(&place);
}

Test(users, bounds_the_shared_key)
{
    struct place place;
    place_open(&place);
    char text[SHARED_KEY_MAX + 1];
    memset(text, 'k', sizeof text);
    struct credentials credentials = {0};
    struct credential_sources sources = {
        .key_file = place_write(&place, "key", bytes_of(text, SHARED_KEY_MAX), 0600)};
    cr_assert_eq(credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_OK);
    sources.key_file = place_write(&place, "key", bytes_of(text, SHARED_KEY_MAX + 1), 0600);
    cr_assert_eq(
        credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_INVALID);
    place_close(&place);
}

static const struct {
    mode_t mode;
    bool is_fine;
} MODES[] = {
    {0600, true },
    {0400, true },
    {0440, true },
    {0640, true },
    {0644, false},
    {0604, false},
    {0660, false},
    {0602, false},
    {0601, false},
};

Test(users, refuses_secrets_that_others_can_read)
{
    struct place place;
    place_open(&place);
    for (size_t i = 0; i < sizeof MODES / sizeof MODES[0]; i++) {
        struct credentials credentials = {0};
        enum status wanted = MODES[i].is_fine ? STATUS_OK : STATUS_INVALID;
        struct credential_sources sources = {
            .key_file = place_write(&place, "key", BYTES("secret"), MODES[i].mode)};
        cr_assert_eq(
            credentials_read(&sources, &place.arena, &credentials, &place.error),
            wanted,
            "%o",
            MODES[i].mode);
        (void)unlink(sources.key_file);
        sources = (struct credential_sources){
            .key_text = "secret",
            .users_file = place_write(&place, "users", BYTES("a = b"), MODES[i].mode)};
        cr_assert_eq(
            credentials_read(&sources, &place.arena, &credentials, &place.error),
            wanted,
            "%o",
            MODES[i].mode);
        (void)unlink(sources.users_file);
    }
    place_close(&place);
}

Test(users, names_a_file_that_is_not_there_or_none)
{
    struct place place;
    place_open(&place);
    struct credentials credentials = {0};
    struct credential_sources sources = {
        .key_file = arena_format(&place.arena, "%s/none", place.dir)};
    cr_assert_eq(credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_IO);
    cr_assert_not_null(strstr(place.error.text, sources.key_file));
    sources.key_file = place.dir;
    cr_assert_eq(
        credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_INVALID);
    place_close(&place);
}

static enum status
users_read(struct place *place, struct bytes text, struct credentials *out)
{
    const struct credential_sources sources = {
        .key_text = "key", .users_file = place_write(place, "users", text, 0600)};
    return credentials_read(&sources, &place->arena, out, &place->error);
}

Test(users, reads_names_passwords_and_scopes)
{
    struct place place;
    place_open(&place);
    struct credentials credentials = {0};
    struct bytes text = BYTES("# who may come in\n"
                              "\n"
                              "acme = correct-horse\n"
                              "  importer=staple  backfill\t\r\n"
                              "\t# indented\n"
                              "odd =a=b#c backfill backfill\n"
                              "last = \xc3\xa9");
    cr_assert_eq(users_read(&place, text, &credentials), STATUS_OK, "%s", place.error.text);
    static const struct {
        const char *name, *password;
        bool may_backfill;
    } WANTED[] = {
        {"acme",     "correct-horse", false},
        {"importer", "staple",        true },
        {"odd",      "a=b#c",         true },
        {"last",     "\xc3\xa9",      false},
    };
    cr_assert_eq(credentials.users_count, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct user *user = &credentials.users[i];
        cr_assert(bytes_equal(user->name, bytes_text(WANTED[i].name)), "%zu", i);
        cr_assert(bytes_equal(user->password, bytes_text(WANTED[i].password)), "%zu", i);
        cr_assert_eq(user->may_backfill, WANTED[i].may_backfill, "%zu", i);
    }
    place_close(&place);
}

static const struct {
    const char *name;
    struct bytes text;
    const char *says;
} REFUSED[] = {
    {"no users",          BYTES("# nobody\n"),            "no user"      },
    {"an empty file",     BYTES(""),                      "no user"      },
    {"no sign",           BYTES("acme secret\n"),         "users:1:"     },
    {"no name",           BYTES(" = secret\n"),           "users:1:"     },
    {"no password",       BYTES("\nacme =\n"),            "users:2:"     },
    {"a name in two",     BYTES("ac me = secret\n"),      "users:1:"     },
    {"an unknown scope",  BYTES("acme = secret admin\n"), "unknown scope"},
    {"a password in two", BYTES("acme = se cret\n"),      "unknown scope"},
    {"the same again",    BYTES("a = b\n#\na = c\n"),     "users:3:"     },
};

Test(users, refuses_other_lines)
{
    struct place place;
    place_open(&place);
    for (size_t i = 0; i < sizeof REFUSED / sizeof REFUSED[0]; i++) {
        struct credentials credentials = {0};
        cr_assert_eq(
            users_read(&place, REFUSED[i].text, &credentials),
            STATUS_INVALID,
            "%s",
            REFUSED[i].name);
        cr_assert_not_null(
            strstr(place.error.text, REFUSED[i].says), "%s: %s", REFUSED[i].name, place.error.text);
        cr_assert_eq(credentials.users_count, 0, "untouched");
        cr_assert_null(strstr(place.error.text, "secret"), "no password in a message");
    }
    place_close(&place);
}

Test(users, bounds_names_passwords_and_their_number)
{
    struct place place;
    place_open(&place);
    scoped(buffer_done) struct buffer text = {0};
    struct credentials credentials = {0};
    for (int over = 0; over < 2; over++) {
        buffer_reset(&text);
        buffer_format(&text, "%0*d = x\n", USER_NAME_MAX + over, 7);
        cr_assert_eq(
            users_read(&place, buffer_view(&text), &credentials),
            over ? STATUS_INVALID : STATUS_OK);
        buffer_reset(&text);
        buffer_format(&text, "x = %0*d\n", USER_PASSWORD_MAX + over, 7);
        cr_assert_eq(
            users_read(&place, buffer_view(&text), &credentials),
            over ? STATUS_INVALID : STATUS_OK);
        buffer_reset(&text);
        for (int i = 0; i < USERS_MAX + over; i++)
            buffer_format(&text, "user-%d = x\n", i);
        cr_assert_eq(
            users_read(&place, buffer_view(&text), &credentials),
            over ? STATUS_INVALID : STATUS_OK);
    }
    place_close(&place);
}

Test(users, need_a_shared_key)
{
    struct place place;
    place_open(&place);
    struct credentials credentials = {0};
    const struct credential_sources sources = {
        .users_file = place_write(&place, "users", BYTES("a = b"), 0600)};
    cr_assert_eq(
        credentials_read(&sources, &place.arena, &credentials, &place.error), STATUS_INVALID);
    place_close(&place);
}
