#include "tools/cmd_change.h"

#include "base/clock.h"
#include "base/json.h"
#include "ledger/control.h"
#include "ledger/dump.h"
#include "tools/command.h"
#include "tools/field.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *at;
    const char *subject;
    const char *id;
    const char *source;
    const char *time;
    const char *who;
    const char *why;
    const char *value;
    const char *properties;
};

// clang-format off
static const struct option_row cut_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "at",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, at),
     .value_name = "TIME",
     .help = "seals windows that end at or before it: 2026-11-01, or RFC 3339 (default: now)"},
    {.name = NULL},
};

#define CORRECTION_ROWS                                                                            \
    COMMAND_DATA_ROW(struct settings),                                                             \
    {.name = "subject",                                                                            \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, subject),                                                 \
     .value_name = "SUBJECT",                                                                      \
     .help = "the event's subject",                                                                \
     .is_required = true},                                                                         \
    {.name = "id",                                                                                 \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, id),                                                      \
     .value_name = "ID",                                                                           \
     .help = "the event's id",                                                                     \
     .is_required = true},                                                                         \
    {.name = "source",                                                                             \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, source),                                                  \
     .value_name = "SOURCE",                                                                       \
     .help = "the event's source, when it has one"},                                               \
    {.name = "time",                                                                               \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, time),                                                    \
     .value_name = "TIME",                                                                         \
     .help = "the event's time, to the nanosecond: finds it faster in a long log"},                \
    {.name = "who",                                                                                \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, who),                                                     \
     .env = "USER",                                                                                \
     .value_name = "NAME",                                                                         \
     .help = "who does it: kept in the log",                                                       \
     .is_required = true},                                                                         \
    {.name = "why",                                                                                \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, why),                                                     \
     .value_name = "TEXT",                                                                         \
     .help = "why: kept in the log",                                                               \
     .is_required = true}

static const struct option_row cancel_rows[] = {
    CORRECTION_ROWS,
    {.name = NULL},
};

static const struct option_row amend_rows[] = {
    CORRECTION_ROWS,
    {.name = "value",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, value),
     .value_name = "NUMBER",
     .help = "the new value"},
    {.name = "properties",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, properties),
     .value_name = "JSON",
     .help = "the new properties, all of them: a JSON object"},
    {.name = NULL},
};

static const struct option_row audit_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "subject",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, subject),
     .value_name = "SUBJECT",
     .help = "corrections of one subject's events"},
    {.name = NULL},
};
// clang-format on

const struct option_spec cut_spec = {
    .program = "tally ledger cut",
    .summary = "Appends a cut to every shard, and prints its number.",
    .usage = "[options]",
    .details = "Usage at a cut never changes: what comes later for a window that it sealed is "
               "late usage.\n" CHANGE_WHO_WRITES,
    .rows = cut_rows,
};

const struct option_spec cancel_spec = {
    .program = "tally ledger cancel",
    .summary = "Takes an event out: it counts no more.",
    .usage = "--subject SUBJECT --id ID --who NAME --why TEXT [options]",
    .details = "The event stays in the log, and its id stays used: a resend is a duplicate.\n"  //
    CHANGE_WHO_WRITES,
    .rows = cancel_rows,
};

const struct option_spec amend_spec = {
    .program = "tally ledger amend",
    .summary = "Gives an event another value or other properties.",
    .usage = "--subject SUBJECT --id ID --who NAME --why TEXT [--value N] [--properties JSON]",
    .details = "Identity, type and time stay, and so does the one of the two that is not "
               "given.\n" CHANGE_WHO_WRITES,
    .rows = amend_rows,
};

const struct option_spec audit_spec = {
    .program = "tally ledger audit",
    .summary =
        "Prints who changed what and why: corrections, batches and cuts as JSON, one a line.",
    .usage = "[options]",
    .details = "The lines are those of `tally ledger dump`.",
    .rows = audit_rows,
};

// False: *out_code is the exit code.
static bool
change_read(
    const struct option_spec *spec,
    int argc,
    char **argv,
    struct settings *settings,
    struct arena *arena,
    int *out_code)
{
    struct option_texts_rest rest;
    struct error error = {0};
    switch (options_read(spec, argc, argv, settings, arena, &rest, &error)) {
    case OPTION_EXIT: *out_code = EXIT_OK; return false;
    case OPTION_ERROR:
        *out_code = command_usage_error(spec->program + sizeof "tally " - 1, &error);
        return false;
    case OPTION_RUN: break;
    }
    return true;
}

int
cmd_ledger_cut(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct error error = {0};
    int code = EXIT_OK;
    if (!change_read(&cut_spec, argc, argv, &settings, &arena, &code))
        return code;
    struct control_request request = {.kind = CONTROL_CUT, .time_ns = clock_now_ns()};
    struct control_answer answer;
    if (command_time(settings.at, "--at", &request.time_ns, &error))
        return command_usage_error("ledger cut", &error);
    if (control_do(settings.data, &request, &answer, &error))
        return command_failed("ledger cut", &error);
    printf("%" PRIu64 "\n", answer.number);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

static enum status
payload_read(
    const struct settings *settings,
    struct arena *arena,
    struct correction *out,
    struct error *error)
{
    bool is_rounded = false;
    struct json *root = NULL;
    if (settings->value != NULL &&
        (decimal_parse(bytes_text(settings->value), &out->value, &is_rounded) || is_rounded)) {
        return error_set(
            error,
            STATUS_INVALID,
            "--value %s is no number below 10^19 with at most 18 decimals",
            settings->value);
    }
    out->has_value = settings->value != NULL;
    if (settings->properties == NULL)
        return STATUS_OK;
    // The properties are one level, and each may have so many.
    const struct json_limits limits = {.depth_max = 1 + EVENT_DEPTH_MAX};
    struct bytes text = bytes_text(settings->properties);
    enum status status = json_parse(text, &limits, arena, &root, error);
    if (status)
        return error_prefix(error, "--properties");
    const char *reason = field_pairs(root, arena, &out->properties);
    if (reason != NULL)
        return error_set(error, STATUS_INVALID, "--properties: %s", reason);
    out->properties_count = root->count;
    out->has_properties = true;
    return STATUS_OK;
}

static enum status
correction_read(
    const struct settings *settings,
    struct arena *arena,
    struct correction *out,
    struct error *error)
{
    out->subject = bytes_text(settings->subject);
    out->id = bytes_text(settings->id);
    out->source = bytes_text(settings->source != NULL ? settings->source : "");
    out->who = bytes_text(settings->who);
    out->why = bytes_text(settings->why);
    out->has_time = settings->time != NULL;
    enum status status = command_time(settings->time, "--time", &out->time_ns, error);
    if (!status)
        status = payload_read(settings, arena, out, error);
    if (status)
        return status;
    const char *fault = correction_fault(out);
    return fault != NULL ? error_set(error, STATUS_INVALID, "%s", fault) : STATUS_OK;
}

static int
correct(const struct option_spec *spec, enum entry_kind kind, int argc, char **argv)
{
    const char *command = spec->program + sizeof "tally " - 1;
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct error error = {0};
    struct control_request request = {.kind = CONTROL_CORRECT, .correction = {.kind = kind}};
    struct control_answer answer;
    int code = EXIT_OK;
    if (!change_read(spec, argc, argv, &settings, &arena, &code))
        return code;
    if (correction_read(&settings, &arena, &request.correction, &error))
        return command_usage_error(command, &error);
    if (control_do(settings.data, &request, &answer, &error))
        return command_failed(command, &error);
    printf("block %" PRIu64 "\n", answer.number);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

int
cmd_ledger_cancel(int argc, char **argv)
{
    return correct(&cancel_spec, ENTRY_CANCEL, argc, argv);
}

int
cmd_ledger_amend(int argc, char **argv)
{
    return correct(&amend_spec, ENTRY_AMEND, argc, argv);
}

static bool
audit_write(void *context, struct bytes lines)
{
    bool *is_failed = context;
    *is_failed = fwrite(lines.data, 1, lines.size, stdout) != lines.size;
    return !*is_failed;
}

int
cmd_ledger_audit(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct error error = {0};
    bool is_failed = false;
    int code = EXIT_OK;
    if (!change_read(&audit_spec, argc, argv, &settings, &arena, &code))
        return code;
    const struct dump_options options = {
        .shard = DUMP_ALL_SHARDS,
        .subject = bytes_text(settings.subject != NULL ? settings.subject : ""),
        .from_ns = INT64_MIN,
        .to_ns = INT64_MAX,
        .skips_events = true,
    };
    enum status status = dump_run(settings.data, &options, audit_write, &is_failed, &error);
    if (!status && (is_failed || fflush(stdout) != 0))
        status = error_set_errno(&error, "cannot write the lines");
    return status ? command_failed("ledger audit", &error) : EXIT_OK;
}
