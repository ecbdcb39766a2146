// tally status: what runs for a data directory, where, and whether it is well.

#include "base/http_get.h"
#include "base/json.h"
#include "base/sql.h"
#include "billing/migrate.h"
#include "tools/command.h"
#include "tools/file.h"
#include "tools/postgres.h"
#include "tools/stack.h"
#include "tools/stack_api.h"

#include <stdio.h>
#include <string.h>

enum { HEALTH_TIMEOUT_MS = 3000, DATABASE_TIMEOUT_MS = 5000 };

struct settings {
    const char *data;
    const char *format;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings, "text", "text|json"),
    {0},
};

static const struct option_spec spec = {
    .program = "tally status",
    .summary = "Says what runs for a data directory, where, and whether it is well.",
    .usage = "[options]",
    .details =
        "Exit codes: 0 all runs and is well; 1 something does not run or is not well; 2 usage.",
    .rows = rows,
};

// All that is known; texts are never NULL.
struct findings {
    bool is_tallyd_running;
    struct tallyd tallyd;
    const char *tallyd_problem;  // "" when it runs
    bool is_healthy;
    const char *health;  // what /health says, one line
    struct stack_api api;
    bool is_external;
    pid_t postgres;  // 0: does not run, or is not ours
    const char *pg_dir;
    const char *database_url;
    const char *database_problem;  // "" when it answers
    int64_t schema;                // -1: not known
    int64_t disk_bytes;
};

// The first line of a text, short enough for one line of ours.
static const char *
first_line(const char *text, struct arena *arena)
{
    enum { LINE_MAX_BYTES = 300 };
    size_t size = strcspn(text, "\r\n");
    return arena_text_of(arena, bytes_of(text, size < LINE_MAX_BYTES ? size : LINE_MAX_BYTES));
}

static void
tallyd_look(const struct stack *stack, struct findings *out)
{
    struct error error = {0};
    enum status status = stack_tallyd(stack, &out->tallyd, &error);
    out->is_tallyd_running = status == STATUS_OK;
    out->tallyd_problem = status ? arena_text(stack->arena, error.text) : "";
    out->health = "";
    if (status)
        return;
    if (!out->tallyd.metrics[0]) {
        out->is_healthy = true;
        out->health = "not asked: it serves no metrics";
        return;
    }
    struct http_answer answer;
    if (http_get(
            out->tallyd.metrics, "/health", HEALTH_TIMEOUT_MS, stack->arena, &answer, &error)) {
        out->health = arena_text(stack->arena, error.text);
        return;
    }
    out->is_healthy = answer.code == 200;
    out->health = first_line(answer.body, stack->arena);
}

// The newest migration that the database has; what is wrong when it is not ours.
static enum status
schema_look(struct sql *sql, struct arena *arena, int64_t *out, struct error *error)
{
    static const struct sql_query newest = {
        "SELECT coalesce(max(number), 0)::bigint FROM schema_migrations",
        SQL_NO_PARAMS,
        SQL_ONE_ROW,
        1};
    struct sql_rows found;
    enum status status = sql_run(sql, &newest, arena, &found, error);
    if (status && status != STATUS_NOT_FOUND)
        return status;
    *out = status ? 0 : sql_int64(&found, 0, 0);
    int64_t known = MIGRATIONS[MIGRATIONS_COUNT - 1].number;
    if (*out == known)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_INVALID,
        "its tables have version %lld where this program knows %lld: run `tally migrate`",
        (long long)*out,
        (long long)known);
}

static void
database_look(const struct stack *stack, struct findings *out)
{
    scoped(sql_done) struct sql *sql = NULL;
    struct error error = {0};
    out->is_external = stack->external_url != NULL;
    out->pg_dir = stack->pg_dir;
    out->postgres = out->is_external ? 0 : postgres_pid(stack->pg_dir);
    out->database_problem = "";
    out->database_url =
        out->is_external ? "DATABASE_URL" : postgres_url(stack->pg_dir, "tally", stack->arena);
    out->schema = -1;
    if (!out->is_external && out->postgres == 0) {
        out->database_problem = "PostgreSQL does not run";
        return;
    }
    const char *url = out->is_external ? stack->external_url : out->database_url;
    enum status status = sql_open(url, DATABASE_TIMEOUT_MS, &sql, &error);
    if (!status)
        status = schema_look(sql, stack->arena, &out->schema, &error);
    if (status)
        out->database_problem = arena_text(stack->arena, error.text);
}

static void
size_print(int64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    int64_t tenths = bytes * 10;
    while (tenths >= 10240 && unit + 1 < sizeof units / sizeof units[0]) {
        tenths /= 1024;
        unit++;
    }
    snprintf(
        out, 32, "%lld.%lld %s", (long long)(tenths / 10), (long long)(tenths % 10), units[unit]);
}

static void
api_print(const struct stack_api *api)
{
    if (!api->is_running) {
        printf("tally-api   does not run\n");
        return;
    }
    printf("tally-api   runs: pid %d\n", api->pid);
    printf("  http      %s\n", api->url);
    printf("  health    %s\n", api->health);
    printf("  database  %s\n", api->database);
}

static void
text_print(const struct stack *stack, const struct findings *findings)
{
    printf("data        %s\n", stack->data);
    if (findings->is_tallyd_running) {
        const struct tallyd *tallyd = &findings->tallyd;
        printf("tallyd      runs: pid %d\n", (int)tallyd->pid);
        printf("  tcp       %s\n", tallyd->tcp[0] ? tallyd->tcp : "-");
        printf("  udp       %s\n", tallyd->udp[0] ? tallyd->udp : "-");
        printf("  unix      %s\n", tallyd->unix_path[0] ? tallyd->unix_path : "-");
        printf("  metrics   %s\n", tallyd->metrics[0] ? tallyd->metrics : "-");
        printf("  health    %s\n", findings->health);
    } else {
        printf("tallyd      does not run: %s\n", findings->tallyd_problem);
    }
    api_print(&findings->api);
    if (findings->is_external)
        printf("PostgreSQL  the one of DATABASE_URL\n");
    else if (findings->postgres > 0)
        printf("PostgreSQL  runs: pid %d, %s\n", (int)findings->postgres, findings->pg_dir);
    else
        printf("PostgreSQL  does not run: %s\n", findings->pg_dir);
    if (findings->database_problem[0])
        printf("database    %s\n", findings->database_problem);
    else
        printf(
            "database    %s, schema version %lld\n",
            findings->database_url,
            (long long)findings->schema);
    char size[32];
    size_print(findings->disk_bytes, size);
    printf("disk        %s\n", size);
}

static void
tallyd_write(const struct findings *findings, struct json_out *out)
{
    const struct tallyd *tallyd = &findings->tallyd;
    json_key(out, "tallyd");
    json_begin(out, '{');
    json_key(out, "running");
    json_bool(out, findings->is_tallyd_running);
    if (findings->is_tallyd_running) {
        json_key(out, "pid");
        json_int(out, tallyd->pid);
        json_key(out, "tcp");
        json_text(out, tallyd->tcp);
        json_key(out, "udp");
        json_text(out, tallyd->udp);
        json_key(out, "unix");
        json_text(out, tallyd->unix_path);
        json_key(out, "metrics");
        json_text(out, tallyd->metrics);
        json_key(out, "healthy");
        json_bool(out, findings->is_healthy);
        json_key(out, "health");
        json_text(out, findings->health);
    } else {
        json_key(out, "problem");
        json_text(out, findings->tallyd_problem);
    }
    json_end(out, '}');
}

static void
api_write(const struct stack_api *api, struct json_out *out)
{
    json_key(out, "api");
    json_begin(out, '{');
    json_key(out, "running");
    json_bool(out, api->is_running);
    if (api->is_running) {
        json_key(out, "pid");
        json_int(out, api->pid);
        json_key(out, "url");
        json_text(out, api->url);
        json_key(out, "healthy");
        json_bool(out, api->is_healthy);
        json_key(out, "health");
        json_text(out, api->health);
        json_key(out, "database");
        json_text(out, api->database);
    }
    json_end(out, '}');
}

static void
database_write(const struct findings *findings, struct json_out *out)
{
    json_key(out, "database");
    json_begin(out, '{');
    json_key(out, "external");
    json_bool(out, findings->is_external);
    json_key(out, "running");
    json_bool(out, findings->postgres > 0 || (findings->is_external && findings->schema >= 0));
    json_key(out, "pid");
    if (findings->postgres > 0)
        json_int(out, findings->postgres);
    else
        json_null(out);
    json_key(out, "url");
    json_text(out, findings->database_url);
    json_key(out, "schema_version");
    if (findings->schema >= 0)
        json_int(out, findings->schema);
    else
        json_null(out);
    json_key(out, "problem");
    json_text(out, findings->database_problem[0] ? findings->database_problem : NULL);
    json_end(out, '}');
}

static void
json_print(const struct stack *stack, const struct findings *findings, bool is_well)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct json_out out = json_out_to(&buffer);
    json_begin(&out, '{');
    json_key(&out, "data");
    json_text(&out, stack->data);
    json_key(&out, "well");
    json_bool(&out, is_well);
    tallyd_write(findings, &out);
    api_write(&findings->api, &out);
    database_write(findings, &out);
    json_key(&out, "disk_bytes");
    json_int(&out, findings->disk_bytes);
    json_end(&out, '}');
    printf("%.*s\n", (int)buffer.size, (const char *)buffer.data);
}

static int
status_show(const struct stack *stack, bool is_json)
{
    struct findings findings = {0};
    tallyd_look(stack, &findings);
    database_look(stack, &findings);
    findings.disk_bytes = folder_disk_bytes(stack->data);
    // tally-api may be left out (--api none), but one that runs must answer.
    stack_api_look(stack, &findings.api);
    bool is_well = findings.is_tallyd_running && findings.is_healthy &&
                   !findings.database_problem[0] &&
                   (!findings.api.is_running || findings.api.is_healthy);
    if (is_json)
        json_print(stack, &findings, is_well);
    else
        text_print(stack, &findings);
    return is_well ? EXIT_OK : EXIT_FAILED;
}

int
cmd_status(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("status", &error);
    case OPTION_RUN: break;
    }
    bool is_json = strcmp(settings.format, "json") == 0;
    if (!is_json && strcmp(settings.format, "text") != 0) {
        if (error_set(&error, STATUS_INVALID, "--format is text or json"))
            return command_usage_error("status", &error);
    }
    struct stack stack;
    if (stack_open(settings.data, NULL, &arena, &stack, &error))
        return command_failed("status", &error);
    return status_show(&stack, is_json);
}
