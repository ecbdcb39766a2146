// tally key: who may use the HTTP API.

#include "base/clock.h"
#include "base/sql.h"
#include "base/table.h"
#include "billing/api_key.h"
#include "tools/command.h"

#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *scopes;
    const char *name;
    const char *expires;
    const char *limit;
    const char *format;
    bool is_all;
};

// clang-format off
static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "scopes",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, scopes),
     .value_name = "LIST",
     .help = "create: what it may do: " API_SCOPE_NAMES ", separated by commas"},
    {.name = "name",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, name),
     .value_name = "TEXT",
     .help = "create: who uses it, for the list"},
    {.name = "expires",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, expires),
     .value_name = "TIME",
     .help = "create: until when it works (2027-01-01); without it for good"},
    {.name = "limit",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, limit),
     .value_name = "N/TIME",
     .help = "create: how often it may ask (100/15m), or none; without it as tally-api "
             "--limit-key says"},
    {.name = "all",
     .type = OPTION_FLAG,
     .offset = offsetof(struct settings, is_all),
     .help = "list: revoked ones, too"},
    COMMAND_FORMAT_ROW(struct settings, "table", "table|tsv"),
    {.name = NULL},
};
// clang-format on

static const struct option_spec spec = {
    .program = "tally key",
    .summary = "Makes, lists and revokes the keys of the HTTP API.",
    .usage = "[options] create | list | revoke ID",
    .details = "A key is printed once, when it is made, and kept as a hash only. It goes into the "
               "header\n"
               "Authorization: Bearer KEY. ingest may send events, read may ask for usage, billing "
               "may see\n"
               "and change what is billed, admin may do everything. A running tally-api knows a "
               "new key\n"
               "at once, and forgets a revoked one within seconds.\n"
               "\n"
               "  tally key create --scopes ingest,read --name 'checkout service'\n"
               "  tally key create --scopes read --name report --expires 2027-01-01 --limit 60/1m\n"
               "  tally key revoke 1f2e3d4c5b6a\n"
               "\n"
               "Exit codes: 0 done; 1 failed; 2 usage.",
    .rows = rows,
    .positional_min = 1,
    .positional_max = 2,
};

static enum status
create_check(const struct settings *settings, struct api_key *out, struct error *error)
{
    if (settings->scopes == NULL || settings->name == NULL)
        return error_set(error, STATUS_INVALID, "create needs --scopes and --name");
    size_t size = strlen(settings->name);
    if (size == 0 || size > API_KEY_NAME_MAX || !bytes_is_utf8(bytes_text(settings->name)))
        return error_set(error, STATUS_INVALID, "--name has 1 to 255 bytes of UTF-8");
    enum status status = api_scopes_parse(settings->scopes, &out->scopes, error);
    if (status)
        return error_prefix(error, "--scopes");
    status = command_time(settings->expires, "--expires", &out->expires_ns, error);
    if (!status && settings->expires != NULL && out->expires_ns <= clock_now_ns())
        status = error_set(error, STATUS_INVALID, "--expires %s is over", settings->expires);
    out->limit = settings->limit;
    if (!status && out->limit != NULL && !limit_rule_parse(out->limit, &out->rule))
        status = error_set(error, STATUS_INVALID, "--limit %s is not " LIMIT_RULE_FORM, out->limit);
    return status;
}

static enum status
create(
    struct sql *sql,
    const struct settings *settings,
    const struct api_key *wanted,
    struct error *error)
{
    struct api_key key;
    char text[API_KEY_TEXT_SIZE + 1];
    enum status status = api_key_make(wanted->scopes, &key, text, error);
    key.name = settings->name;
    key.expires_ns = wanted->expires_ns;
    key.limit = wanted->limit;
    if (!status)
        status = api_key_add(sql, &key, clock_now_ns(), error);
    if (status)
        return status;
    (void)fprintf(stderr, "key %s; this is the only time that it is shown:\n", key.id);
    printf("%s\n", text);
    return STATUS_OK;
}

static const char *
time_text(int64_t time_ns, struct arena *arena)
{
    char text[CLOCK_TEXT_MAX];
    if (time_ns == 0)
        return "";
    (void)clock_print(time_ns, text);
    return arena_text(arena, text);
}

static enum status
list(struct sql *sql, const struct settings *settings, struct arena *arena, struct error *error)
{
    static const struct table_column columns[] = {
        {"id",        TABLE_LEFT},
        {"name",      TABLE_LEFT},
        {"scopes",    TABLE_LEFT},
        {"created",   TABLE_LEFT},
        {"expires",   TABLE_LEFT},
        {"limit",     TABLE_LEFT},
        {"last used", TABLE_LEFT},
        {"revoked",   TABLE_LEFT},
    };
    scoped(buffer_done) struct buffer out = {0};
    enum table_format format = TABLE_TEXT;
    struct api_keys keys;
    if (!table_format_parse(settings->format, &format))
        return error_set(error, STATUS_INVALID, "--format is table or tsv");
    enum status status = api_keys_read(sql, settings->is_all, arena, &keys, error);
    if (status)
        return status;
    struct table table = table_over(arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < keys.count; i++) {
        const struct api_key *key = &keys.items[i];
        table_row(
            &table,
            (const char *const[]){
                key->id,
                key->name,
                api_scopes_print(key->scopes, arena),
                time_text(key->created_ns, arena),
                time_text(key->expires_ns, arena),
                key->limit,
                time_text(key->used_ns, arena),
                time_text(key->revoked_ns, arena)});
    }
    table_print(&table, format, &out);
    (void)fwrite(out.data, 1, out.size, stdout);
    return STATUS_OK;
}

static enum status
revoke(struct sql *sql, const char *id, struct error *error)
{
    enum status status = api_key_revoke(sql, id, clock_now_ns(), error);
    if (!status)
        printf("key %s: revoked\n", id);
    return status;
}

enum action { ACTION_NONE, ACTION_CREATE, ACTION_LIST, ACTION_REVOKE };

static enum action
action_of(const struct option_texts_rest *rest)
{
    const char *word = rest->items[0];
    if (strcmp(word, "create") == 0 && rest->count == 1)
        return ACTION_CREATE;
    if (strcmp(word, "list") == 0 && rest->count == 1)
        return ACTION_LIST;
    return strcmp(word, "revoke") == 0 && rest->count == 2 ? ACTION_REVOKE : ACTION_NONE;
}

int
cmd_key(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = NULL;
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    struct api_key wanted = {0};
    const char *url = NULL;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("key", &error);
    case OPTION_RUN: break;
    }
    enum action action = action_of(&rest);
    enum status status = STATUS_OK;
    if (action == ACTION_NONE)
        status = error_set(&error, STATUS_INVALID, "expected create, list or revoke ID");
    if (action == ACTION_CREATE)
        status = create_check(&settings, &wanted, &error);
    if (status)
        return command_usage_error("key", &error);
    status = sql_url(settings.data, &arena, &url, &error);
    if (!status)
        status = sql_open(url, SQL_TIMEOUT_MS, &sql, &error);
    if (!status && action == ACTION_CREATE)
        status = create(sql, &settings, &wanted, &error);
    else if (!status && action == ACTION_LIST)
        status = list(sql, &settings, &arena, &error);
    else if (!status)
        status = revoke(sql, rest.items[1], &error);
    return status ? command_failed("key", &error) : EXIT_OK;
}
