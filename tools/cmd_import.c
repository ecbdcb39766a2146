// tally import: rows of CSV and NDJSON files as events.

#include "base/clock.h"
#include "ledger/backfill_list.h"
#include "ledger/control.h"
#include "tools/command.h"
#include "tools/import_run.h"
#include "tools/tallyd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *data;
    const char *format;
    const char *delimiter;
    struct mapping_options mapping;
    const char *backfill;
    const char *server;
    const char *rejects;
    const char *report;
    bool is_dry_run;
    bool has_allow_rejects;
    int64_t limit;
    int64_t timeout_ns;
};

#define AT(member) .offset = offsetof(struct settings, member)
#define TEXT_ROW(option, member, unit, text)                                                       \
    {                                                                                              \
        .name = (option), .type = OPTION_TEXT, AT(member), .value_name = (unit), .help = (text)    \
    }
#define FLAG_ROW(option, member, text)                                                             \
    {                                                                                              \
        .name = (option), .type = OPTION_FLAG, AT(member), .help = (text)                          \
    }

#define PROPERTY_ROW                                                                               \
    {                                                                                              \
        .name = "property", .type = OPTION_TEXTS, AT(mapping.properties),                          \
        .value_name = "NAME=COLUMN", .help = "a property of the event"                             \
    }
#define REPORT_ROW                                                                                 \
    {                                                                                              \
        .name = "report", .type = OPTION_TEXT, AT(report), .fallback = "text",                     \
        .value_name = "text|json", .help = "form of the summary"                                   \
    }
#define LIMIT_ROW                                                                                  \
    {                                                                                              \
        .name = "limit", .type = OPTION_INT, AT(limit), .fallback = "0", .max = INT64_MAX,         \
        .value_name = "N", .help = "stop after N rows; 0: none"                                    \
    }
#define TIMEOUT_ROW                                                                                \
    {                                                                                              \
        .name = "timeout", .type = OPTION_DURATION, AT(timeout_ns), .fallback = "60s",             \
        .min = 1000000, .max = INT64_MAX / 4, .value_name = "T",                                   \
        .help = "give up when the server answers nothing for so long"                              \
    }

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    TEXT_ROW(
        "format", format, "csv|ndjson", "of all files; else by name (.ndjson, .jsonl), else csv"),
    TEXT_ROW("delimiter", delimiter, "C", "between the fields of CSV; default a comma, \\t a tab"),
    TEXT_ROW("subject", mapping.subject, "S", "the subject of every row"),
    TEXT_ROW("subject-column", mapping.subject_column, "C", "the column with the subject"),
    TEXT_ROW("type", mapping.type, "T", "the event type of every row"),
    TEXT_ROW("type-column", mapping.type_column, "C", "the column with the event type"),
    TEXT_ROW("source", mapping.source, "S", "the source of every row"),
    TEXT_ROW("source-column", mapping.source_column, "C", "the column with the source"),
    TEXT_ROW("value-column", mapping.value_column, "C", "the column with the value; else it is 1"),
    TEXT_ROW("time-column", mapping.time_column, "C", "the column with the time; else now"),
    TEXT_ROW("id-column", mapping.id_column, "C", "the column with an id that is unique to a row"),
    PROPERTY_ROW,
    FLAG_ROW(
        "properties",
        mapping.has_all_properties,
        "all columns with no other use become properties"),
    TEXT_ROW("backfill", backfill, "NAME", "accept rows of any age, as a backfill of this name"),
    TEXT_ROW("server", server, "ADDR", "HOST:PORT or unix:PATH instead of the tallyd of --data"),
    TEXT_ROW("rejects", rejects, "FILE", "write every refused row's line and reason as NDJSON"),
    REPORT_ROW,
    FLAG_ROW("dry-run", is_dry_run, "read and check, send nothing"),
    FLAG_ROW("allow-rejects", has_allow_rejects, "exit 0 though rows were refused"),
    LIMIT_ROW,
    TIMEOUT_ROW,
    {0},
};

static const struct option_spec spec = {
    .program = "tally import",
    .summary = "Sends the rows of CSV and NDJSON files as events.",
    .usage = "[options] FILE...|-",
    .details =
        "A column named subject, type, value, time, id or source is that unless an option says\n"
        "otherwise (--id-column= : it is not). Without an id column, a row's id is a hash of what "
        "it\n"
        "became plus its ordinal among equal rows of its file: importing a file again, renamed or "
        "not,\n"
        "counts nothing twice, and equal rows of one file count each.\n"
        "--backfill without =NAME names the backfill after the time. It is opened and, when every\n"
        "row is answered, closed; with --server it must be open (`tally ledger backfill open`).\n"
        "\n"
        "  tally import trace.csv --subject acme --type llm_request --time-column TIMESTAMP \\\n"
        "      --property context_tokens=ContextTokens --property "
        "generated_tokens=GeneratedTokens\n"
        "\n"
        "Exit codes: 0 every row is accounted for; 1 rows were refused or it failed; 2 usage.",
    .rows = rows,
    .positional_min = 1,
    .positional_max = 4096,
};

static enum status
format_parse(const char *text, enum rows_format *out, struct error *error)
{
    *out = ROWS_BY_NAME;
    if (text && strcmp(text, "csv") == 0)
        *out = ROWS_CSV;
    else if (text && strcmp(text, "ndjson") == 0)
        *out = ROWS_NDJSON;
    else if (text)
        return error_set(error, STATUS_INVALID, "--format is csv or ndjson, not `%s`", text);
    return STATUS_OK;
}

static enum status
delimiter_parse(const char *text, char *out, struct error *error)
{
    *out = ',';
    if (!text)
        return STATUS_OK;
    *out = text[0];
    if (strcmp(text, "\\t") == 0)
        *out = '\t';
    bool is_one = strlen(text) == 1 || *out == '\t';
    if (!is_one || strchr("\"\r\n", *out))
        return error_set(error, STATUS_INVALID, "--delimiter is one byte, or \\t");
    return STATUS_OK;
}

static enum status
plan_make(
    const struct settings *settings,
    const struct option_texts_rest *files,
    struct arena *arena,
    struct import_plan *out,
    struct error *error)
{
    *out = (struct import_plan){
        .files = files->items,
        .files_count = files->count,
        .backfill = settings->backfill,
        .is_dry_run = settings->is_dry_run,
        .rows_max = (uint64_t)settings->limit,
        .stall_max_ns = settings->timeout_ns,
    };
    enum status status = format_parse(settings->format, &out->rows.format, error);
    if (!status)
        status = delimiter_parse(settings->delimiter, &out->rows.delimiter, error);
    if (!status)
        status = mapping_make(&settings->mapping, arena, &out->mapping, error);
    return status;
}

// The unix socket of the running tallyd: only there may its own user backfill.
static enum status
server_find(
    const struct settings *settings, struct arena *arena, const char **out, struct error *error)
{
    *out = settings->server;
    if (settings->server || settings->is_dry_run)
        return STATUS_OK;
    struct tallyd tallyd;
    enum status status = tallyd_read(settings->data, arena, &tallyd, error);
    if (status == STATUS_NOT_FOUND || (!status && !tallyd_is_running(settings->data, &tallyd)))
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "tallyd does not run for %s: run `tally up --data %s`, or name a --server",
            settings->data,
            settings->data);
    if (!status)
        *out = tallyd.unix_path[0] ? arena_format(arena, "unix:%s", tallyd.unix_path) : tallyd.tcp;
    return status;
}

// `--backfill` alone stands for a name made from the time; the option table wants a value.
static char **
backfill_name(int argc, char **argv, struct arena *arena)
{
    char time[CLOCK_TEXT_MAX];
    clock_print(clock_now_ns(), time);
    char **copy = arena_array(arena, (size_t)argc + 1, char *);
    bool is_ended = false;
    for (int i = 0; i < argc; i++) {
        is_ended = is_ended || strcmp(argv[i], "--") == 0;
        bool is_bare = !is_ended && strcmp(argv[i], "--backfill") == 0;
        copy[i] = is_bare ? arena_format(arena, "--backfill=import-%s", time) : argv[i];
    }
    return copy;
}

static int
exit_code(const struct settings *settings, const struct import_outcome *outcome, enum status status)
{
    if (status || outcome->unanswered > 0)
        return EXIT_FAILED;
    bool has_refused = outcome->rejected > 0 || outcome->conflicts > 0;
    return has_refused && !settings->has_allow_rejects ? EXIT_FAILED : EXIT_OK;
}

// STATUS_EXISTS: done before, by an import that was interrupted or by hand.
static enum status
backfill_change(
    const struct settings *settings,
    enum backfill_act act,
    struct arena *arena,
    struct error *error)
{
    const char *user = getenv("USER");
    struct control_answer answer;
    const struct control_request request = {
        .kind = CONTROL_BACKFILL,
        .backfill =
            {
                       .act = act,
                       .id = bytes_text(settings->backfill),
                       .who = bytes_text(
                    user != NULL && user[0] != '\0' ? user
                                                    : arena_format(arena, "uid %u", getuid())),
                       .why = bytes_text("tally import"),
                       },
    };
    return control_do(settings->data, &request, &answer, error);
}

// One that is open already is gone on with.
static enum status
backfill_open(
    const struct settings *settings, struct arena *arena, bool *out_is_ours, struct error *error)
{
    struct backfill_row *known = NULL;
    size_t count = 0;
    struct error ignored;
    *out_is_ours = settings->backfill != NULL && settings->server == NULL && !settings->is_dry_run;
    if (!*out_is_ours)
        return STATUS_OK;
    enum status status = backfill_change(settings, BACKFILL_OPEN, arena, error);
    if (status != STATUS_EXISTS || backfill_list(settings->data, arena, &known, &count, &ignored))
        return status;
    for (size_t i = 0; i < count; i++) {
        if (known[i].state == BATCH_OPEN &&
            bytes_equal(known[i].id, bytes_text(settings->backfill)))
            return STATUS_OK;
    }
    return status;
}

static int
import_files(
    struct import_plan *plan,
    const struct settings *settings,
    struct arena *arena,
    struct error *error)
{
    bool closes = false;
    enum status status = report_open(settings->rejects, &plan->report, error);
    if (!status)
        status = backfill_open(settings, arena, &closes, error);
    if (status)
        return command_failed("import", error);
    struct import_outcome outcome;
    status = import_run(plan, &outcome, error);
    if (!status && closes && outcome.unanswered == 0)
        status = backfill_change(settings, BACKFILL_CLOSE, arena, error);
    report_list(plan->report, stderr);
    if (status)
        command_failed("import", error);
    import_print(plan, &outcome, strcmp(settings->report, "json") == 0, stdout);
    int code = exit_code(settings, &outcome, status);
    if (report_close(&plan->report, error))
        code = command_failed("import", error);
    return code;
}

int
cmd_import(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest files;
    struct error error = {0};
    char **arguments = backfill_name(argc, argv, &arena);
    switch (options_read(&spec, argc, arguments, &settings, &arena, &files, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("import", &error);
    case OPTION_RUN: break;
    }
    struct import_plan plan;
    if (strcmp(settings.report, "text") != 0 && strcmp(settings.report, "json") != 0) {
        if (error_set(&error, STATUS_INVALID, "--report is text or json"))
            return command_usage_error("import", &error);
    }
    if (plan_make(&settings, &files, &arena, &plan, &error))
        return command_usage_error("import", &error);
    if (server_find(&settings, &arena, &plan.server, &error))
        return command_failed("import", &error);
    return import_files(&plan, &settings, &arena, &error);
}
