#include "billing/api_key.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>

static const char PREFIX[] = "tally_";

static const struct {
    const char *name;
    unsigned scope;
} SCOPES[] = {
    {"ingest",  API_SCOPE_INGEST },
    {"read",    API_SCOPE_READ   },
    {"billing", API_SCOPE_BILLING},
    {"admin",   API_SCOPE_ADMIN  },
};
enum { SCOPES_COUNT = sizeof SCOPES / sizeof SCOPES[0] };

// --- scopes ---

static unsigned
scope_of(struct bytes name)
{
    for (size_t i = 0; i < SCOPES_COUNT; i++)
        if (bytes_equal(name, bytes_text(SCOPES[i].name)))
            return SCOPES[i].scope;
    return 0;
}

enum status
api_scopes_parse(const char *text, unsigned *out, struct error *error)
{
    unsigned scopes = 0;
    for (const char *at = text;; at++) {
        const char *end = strchrnul(at, ',');
        unsigned scope = scope_of(bytes_of(at, (size_t)(end - at)));
        if (scope == 0)
            return error_set(
                error,
                STATUS_INVALID,
                "\"%.*s\" is no scope; there are " API_SCOPE_NAMES,
                (int)(end - at < 64 ? end - at : 64),
                at);
        scopes |= scope;
        at = end;
        if (*at == '\0')
            break;
    }
    *out = scopes;
    return STATUS_OK;
}

const char *
api_scopes_print(unsigned scopes, struct arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < SCOPES_COUNT; i++)
        if (scopes & SCOPES[i].scope)
            text = arena_format(arena, "%s%s%s", text, text[0] ? "," : "", SCOPES[i].name);
    return text;
}

// --- the key's text ---

static bool
is_digits(const char *text, size_t count)
{
    return strspn(text, "0123456789abcdef") >= count;
}

bool
api_key_id(const char *text, char out_id[API_KEY_ID_SIZE + 1])
{
    size_t prefix_size = sizeof PREFIX - 1;
    if (strlen(text) != API_KEY_TEXT_SIZE || strncmp(text, PREFIX, prefix_size) != 0)
        return false;
    const char *id = text + prefix_size;
    if (!is_digits(id, API_KEY_ID_SIZE) || id[API_KEY_ID_SIZE] != '_')
        return false;
    memcpy(out_id, id, API_KEY_ID_SIZE);
    out_id[API_KEY_ID_SIZE] = '\0';
    return true;
}

enum status
api_key_make(
    unsigned scopes, struct api_key *out, char out_text[API_KEY_TEXT_SIZE + 1], struct error *error)
{
    must(scopes != 0);
    uint8_t random[(API_KEY_ID_SIZE + API_KEY_SECRET_SIZE) / 2];
    char digits[sizeof random * 2];
    random_fill(random, sizeof random);
    digest_digits(random, sizeof random, digits);
    (void)snprintf(
        out_text,
        API_KEY_TEXT_SIZE + 1,
        "%s%.*s_%.*s",
        PREFIX,
        API_KEY_ID_SIZE,
        digits,
        API_KEY_SECRET_SIZE,
        digits + API_KEY_ID_SIZE);
    *out = (struct api_key){.scopes = scopes};
    bool is_key = api_key_id(out_text, out->id);
    must(is_key);
    const struct bytes part = bytes_text(out_text);
    if (!digest_hex(&part, 1, out->hash))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the key's hash");
    return STATUS_OK;
}

bool
api_key_is(const struct api_key *key, const char *text)
{
    char hash[DIGEST_HEX_SIZE];
    const struct bytes part = bytes_text(text);
    return digest_hex(&part, 1, hash) &&
           digest_equal(bytes_of(hash, sizeof hash), bytes_of(key->hash, sizeof key->hash));
}

// --- the table ---

static const char *
time_param(int64_t time_ns, char text[CLOCK_TEXT_MAX])
{
    if (time_ns == 0)
        return NULL;
    (void)clock_print(time_ns, text);
    return text;
}

enum status
api_key_add(struct sql *sql, const struct api_key *key, int64_t now_ns, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    char created[CLOCK_TEXT_MAX], expires[CLOCK_TEXT_MAX];
    const char *hash = arena_text_of(&arena, bytes_of(key->hash, sizeof key->hash));
    struct sql_query query = {
        "INSERT INTO api_keys (id, name, hash, scopes, created_at, expires_at, rate_limit) "
        "VALUES ($1, $2, $3, string_to_array($4, ','), $5::timestamptz, $6::timestamptz, $7)",
        SQL_PARAMS(
            key->id,
            key->name,
            hash,
            api_scopes_print(key->scopes, &arena),
            time_param(now_ns, created),
            time_param(key->expires_ns, expires),
            key->limit),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &query, NULL, NULL, error);
}

enum status
api_key_revoke(struct sql *sql, const char *id, int64_t now_ns, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    char now[CLOCK_TEXT_MAX];
    struct sql_rows rows;
    struct sql_query query = {
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2::timestamptz) WHERE id = $1 "
        "RETURNING id",
        SQL_PARAMS(id, time_param(now_ns, now)),
        SQL_MAYBE_ROW,
        1};
    enum status status = sql_run(sql, &query, &arena, &rows, error);
    if (status == STATUS_OK && rows.count == 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no key %s", id);
    return status;
}

enum status
api_key_touch(struct sql *sql, const char *id, int64_t used_ns, struct error *error)
{
    char used[CLOCK_TEXT_MAX];
    struct sql_query query = {
        "UPDATE api_keys SET last_used_at = greatest(last_used_at, $2::timestamptz) WHERE id = $1",
        SQL_PARAMS(id, time_param(used_ns, used)),
        SQL_NO_ROWS,
        0};
    return sql_run(sql, &query, NULL, NULL, error);
}

// clang-format off
static const char SELECT_KEYS[] =
    "SELECT id, name, hash, array_to_string(scopes, ','), " SQL_EPOCH_US("created_at") ", "
    SQL_EPOCH_US("expires_at") ", " SQL_EPOCH_US("revoked_at") ", " SQL_EPOCH_US("last_used_at")
    ", rate_limit FROM api_keys WHERE $1::boolean OR revoked_at IS NULL ORDER BY id";
// clang-format on

static enum status
row_read(
    const struct sql_rows *rows,
    size_t row,
    struct arena *arena,
    struct api_key *out,
    struct error *error)
{
    const char *id = sql_cell(rows, row, 0);
    const char *hash = sql_cell(rows, row, 2);
    must(strlen(id) == API_KEY_ID_SIZE && strlen(hash) == DIGEST_HEX_SIZE);
    memcpy(out->id, id, sizeof out->id);
    memcpy(out->hash, hash, sizeof out->hash);
    out->name = arena_text(arena, sql_cell(rows, row, 1));
    out->created_ns = sql_time_ns(rows, row, 4, 0);
    out->expires_ns = sql_time_ns(rows, row, 5, 0);
    out->revoked_ns = sql_time_ns(rows, row, 6, 0);
    out->used_ns = sql_time_ns(rows, row, 7, 0);
    const char *limit = sql_cell(rows, row, 8);
    if (limit != NULL && !limit_rule_parse(limit, &out->rule))
        return error_set(
            error, STATUS_CORRUPT, "key %s has the limit %s, which is none", id, limit);
    out->limit = limit != NULL ? arena_text(arena, limit) : NULL;
    return api_scopes_parse(sql_cell(rows, row, 3), &out->scopes, error);
}

enum status
api_keys_read(
    struct sql *sql,
    bool with_revoked,
    struct arena *arena,
    struct api_keys *out,
    struct error *error)
{
    struct sql_rows rows;
    struct sql_query query = {
        SELECT_KEYS, SQL_PARAMS(with_revoked ? "true" : "false"), SQL_ANY_ROWS, 9};
    enum status status = sql_run(sql, &query, arena, &rows, error);
    if (status)
        return status;
    struct api_key *items = arena_array(arena, rows.count + 1, struct api_key);
    for (size_t i = 0; i < rows.count; i++) {
        status = row_read(&rows, i, arena, &items[i], error);
        if (status)
            return status;
    }
    *out = (struct api_keys){items, rows.count};
    return STATUS_OK;
}
