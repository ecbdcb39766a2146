#include "ingest/users.h"

#include "ingest/secrets.h"

// --- the shared key ---

static bool
key_is_fine(struct bytes key)
{
    bool is_sized = key.size > 0 && key.size <= SHARED_KEY_MAX;
    return is_sized && memchr(key.data, '\n', key.size) == NULL &&
           memchr(key.data, '\0', key.size) == NULL;
}

static enum status
key_read(
    const struct credential_sources *sources,
    struct arena *arena,
    struct bytes *out,
    struct error *error)
{
    const char *origin = "TALLY_SHARED_KEY";
    struct bytes key = {0};
    if (sources->key_file != NULL) {
        origin = sources->key_file;
        enum status status = secrets_read(sources->key_file, arena, &key, error);
        if (status)
            return status;
        if (key.size > 0 && key.data[key.size - 1] == '\n')
            key.size--;
    } else if (sources->key_text != NULL) {
        key = arena_bytes(arena, bytes_text(sources->key_text));
    } else {
        return STATUS_OK;
    }
    if (!key_is_fine(key))
        return error_set(
            error,
            STATUS_INVALID,
            "%s: a shared key is one line of 1 to %d bytes",
            origin,
            SHARED_KEY_MAX);
    *out = key;
    return STATUS_OK;
}

// --- users ---

// One line under way; `at` counts from 1.
struct line {
    const char *path;
    size_t at;
    struct bytes rest;
};

static bool
is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static void
spaces_skip(struct line *line)
{
    while (line->rest.size > 0 && is_space(line->rest.data[0]))
        line->rest = bytes_of(line->rest.data + 1, line->rest.size - 1);
}

// The next run of bytes without spaces, which ends before `stop` as well; empty at the line's end.
static struct bytes
word_take(struct line *line, char stop)
{
    spaces_skip(line);
    size_t size = 0;
    while (size < line->rest.size && !is_space(line->rest.data[size]) &&
           (stop == '\0' || line->rest.data[size] != (uint8_t)stop))
        size++;
    struct bytes word = bytes_of(line->rest.data, size);
    line->rest = bytes_of(line->rest.data + size, line->rest.size - size);
    return word;
}

static enum status
scopes_read(struct line *line, struct user *user, struct error *error)
{
    for (;;) {
        struct bytes word = word_take(line, '\0');
        if (word.size == 0)
            return STATUS_OK;
        if (!bytes_equal(word, bytes_text("backfill")))
            return error_set(
                error,
                STATUS_INVALID,
                "%s:%zu: unknown scope behind the password; there is one: backfill",
                line->path,
                line->at);
        user->may_backfill = true;
    }
}

static enum status
user_read(struct line *line, struct user *out, struct error *error)
{
    struct user user = {0};
    user.name = word_take(line, '=');
    spaces_skip(line);
    bool has_sign = line->rest.size > 0 && line->rest.data[0] == '=';
    if (has_sign) {
        line->rest = bytes_of(line->rest.data + 1, line->rest.size - 1);
        user.password = word_take(line, '\0');
    }
    bool is_sized = user.name.size > 0 && user.name.size <= USER_NAME_MAX &&
                    user.password.size > 0 && user.password.size <= USER_PASSWORD_MAX;
    if (!has_sign || !is_sized)
        return error_set(
            error,
            STATUS_INVALID,
            "%s:%zu: a line is `user = password`, and scopes behind it",
            line->path,
            line->at);
    enum status status = scopes_read(line, &user, error);
    if (status == STATUS_OK)
        *out = user;
    return status;
}

static bool
user_is_known(const struct credentials *credentials, struct bytes name)
{
    for (size_t i = 0; i < credentials->users_count; i++)
        if (bytes_equal(credentials->users[i].name, name))
            return true;
    return false;
}

static struct bytes
line_take(struct bytes *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->size);
    size_t size = end != NULL ? (size_t)(end - text->data) : text->size;
    struct bytes line = bytes_of(text->data, size);
    size_t used = end != NULL ? size + 1 : size;
    *text = bytes_of(text->data + used, text->size - used);
    return line;
}

static enum status
users_parse(
    const char *path,
    struct bytes text,
    struct user *users,
    struct credentials *credentials,
    struct error *error)
{
    struct line line = {.path = path};
    credentials->users = users;
    while (text.size > 0) {
        line.at++;
        line.rest = line_take(&text);
        spaces_skip(&line);
        if (line.rest.size == 0 || line.rest.data[0] == '#')
            continue;
        if (credentials->users_count == USERS_MAX)
            return error_set(error, STATUS_INVALID, "%s: more than %d users", path, USERS_MAX);
        struct user user;
        enum status status = user_read(&line, &user, error);
        if (status)
            return status;
        if (user_is_known(credentials, user.name))
            return error_set(error, STATUS_INVALID, "%s:%zu: this user again", path, line.at);
        users[credentials->users_count++] = user;
    }
    if (credentials->users_count == 0)
        return error_set(error, STATUS_INVALID, "%s: no user, so nobody could come in", path);
    return STATUS_OK;
}

enum status
credentials_read(
    const struct credential_sources *sources,
    struct arena *arena,
    struct credentials *out,
    struct error *error)
{
    struct credentials credentials = {0};
    if (sources->key_file != NULL && sources->key_text != NULL)
        return error_set(
            error, STATUS_INVALID, "--shared-key-file and TALLY_SHARED_KEY: which of the two?");
    enum status status = key_read(sources, arena, &credentials.shared_key, error);
    if (status)
        return status;
    if (sources->users_file != NULL) {
        if (!credentials_are_set(&credentials))
            return error_set(error, STATUS_INVALID, "--users needs a shared key as well");
        struct bytes text = {0};
        status = secrets_read(sources->users_file, arena, &text, error);
        if (status)
            return status;
        struct user *users = arena_array(arena, USERS_MAX, struct user);
        status = users_parse(sources->users_file, text, users, &credentials, error);
        if (status)
            return status;
    }
    *out = credentials;
    return STATUS_OK;
}
