// tally ledger: verify and dump. Its figures are in tools/ledger_stat, what makes or restores one
// in tools/ledger_ops, what changes one in cmd_change.

#include "base/clock.h"
#include "base/json.h"
#include "base/progress.h"
#include "ledger/dump.h"
#include "ledger/verify.h"
#include "tools/cmd_change.h"
#include "tools/command.h"
#include "tools/ledger_ops.h"
#include "tools/ledger_stat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *format;
    int64_t shard;
    const char *subject;
    const char *type;
    const char *from;
    const char *to;
};

// clang-format off
static const struct option_row verify_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings, "text", "text|json"),
    {.name = NULL},
};
// clang-format on

// clang-format off
static const struct option_row dump_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "shard",
     .type = OPTION_INT,
     .offset = offsetof(struct settings, shard),
     .fallback = "-1",
     .min = -1,
     .max = 255,
     .value_name = "N",
     .help = "one shard; -1: all"},
    {.name = "subject",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, subject),
     .value_name = "SUBJECT",
     .help = "one subject"},
    {.name = "type",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, type),
     .value_name = "TYPE",
     .help = "one event type"},
    {.name = "from",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, from),
     .value_name = "TIME",
     .help = "event time not before: 2026-11-01, or RFC 3339; UTC when it names no zone"},
    {.name = "to",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, to),
     .value_name = "TIME",
     .help = "event time before"},
    {.name = NULL},
};
// clang-format on

static const struct option_spec verify_spec = {
    .program = "tally ledger verify",
    .summary = "Checks every stored value, and the cells against the log.",
    .usage = "[options]",
    .details = "Works beside a running tallyd. A finding is one line: shard, key, what is wrong. "
               "Memory: 24\n"
               "bytes an event of the largest shard.\n"
               "\n"
               "Exit codes: 0 all is well; 1 findings, or it could not be checked; 2 usage.",
    .rows = verify_rows,
};

static const struct option_spec dump_spec = {
    .program = "tally ledger dump",
    .summary = "Prints the events of the log as JSON, one a line, in log order per shard.",
    .usage = "[options]",
    .details =
        "Bytes that are no UTF-8 show as U+FFFD, and a second member, such as subject_base64, has\n"
        "them as they are. In properties: text that is no UTF-8 is {\"text_base64\": ...}, binary "
        "is\n"
        "{\"binary_base64\": ...}, an extension value is {\"ext\": TYPE, \"data\": BASE64}, a "
        "float "
        "that\n"
        "JSON has no word for is {\"float\": \"nan\"}. A map that could be mistaken for one of "
        "these "
        "is\n"
        "followed by properties_base64, as are properties that JSON cannot have: their msgpack "
        "pairs.",
    .rows = dump_rows,
};

static int
print(const struct buffer *buffer)
{
    bool is_written = !buffer_failed(buffer) &&
                      fwrite(buffer->data, 1, buffer->size, stdout) == buffer->size &&
                      fflush(stdout) == 0;
    return is_written ? EXIT_OK : EXIT_FAILED;
}

static void
member_number(struct json_out *out, const char *key, uint64_t number)
{
    json_key(out, key);
    json_int(out, (int64_t)number);
}

static void
member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

struct verification {
    bool is_json;
    struct json_out out;  // of the findings
    struct progress progress;
    bool has_progress;
    uint32_t shard;
    uint64_t total;
    char label[32];
};

static void
verify_show(void *context, const struct verify_progress *progress)
{
    struct verification *verification = context;
    bool is_same = verification->has_progress && verification->shard == progress->shard &&
                   verification->total == progress->total;
    if (!is_same) {
        if (verification->has_progress)
            progress_end(&verification->progress);
        (void)snprintf(
            verification->label,
            sizeof verification->label,
            "shard %u of %u",
            progress->shard + 1,
            progress->shards);
        progress_begin(&verification->progress, verification->label, progress->total);
        verification->has_progress = true;
        verification->shard = progress->shard;
        verification->total = progress->total;
    }
    progress_set(&verification->progress, progress->done);
}

static void
verify_tell(void *context, const struct verify_finding *finding)
{
    struct verification *verification = context;
    if (verification->is_json) {
        json_begin(&verification->out, '{');
        json_key(&verification->out, "shard");
        if (finding->shard >= 0)
            json_int(&verification->out, finding->shard);
        else
            json_null(&verification->out);
        member_text(&verification->out, "key", finding->key);
        member_text(&verification->out, "what", finding->what);
        json_end(&verification->out, '}');
        return;
    }
    if (verification->has_progress)
        progress_end(&verification->progress);
    verification->has_progress = false;
    if (finding->shard >= 0)
        printf("shard %d, %s: %s\n", finding->shard, finding->key, finding->what);
    else
        printf("%s: %s\n", finding->key, finding->what);
}

static void
summary_write(const struct verify_summary *summary, struct json_out *out)
{
    json_key(out, "summary");
    json_begin(out, '{');
    member_number(out, "shards", summary->shards);
    member_number(out, "blocks", summary->blocks);
    member_number(out, "events", summary->events);
    member_number(out, "cells", summary->cells);
    member_number(out, "meters", summary->meters);
    member_number(out, "findings", summary->findings);
    json_end(out, '}');
}

static int
run_verify(const struct settings *settings, struct arena *arena)
{
    (void)arena;
    scoped(buffer_done) struct buffer buffer = {0};
    struct verification verification = {
        .is_json = strcmp(settings->format, "json") == 0, .out = json_out_to(&buffer)};
    const struct verify_options options = {
        .on_finding = verify_tell, .on_progress = verify_show, .context = &verification};
    struct verify_summary summary;
    struct error error = {0};
    if (!verification.is_json && strcmp(settings->format, "text") != 0) {
        (void)error_set(&error, STATUS_INVALID, "--format is text or json");
        return command_usage_error("ledger verify", &error);
    }
    json_begin(&verification.out, '{');
    json_key(&verification.out, "findings");
    json_begin(&verification.out, '[');
    enum status status = verify_run(settings->data, &options, &summary, &error);
    if (verification.has_progress)
        progress_end(&verification.progress);
    if (status)
        return command_failed("ledger verify", &error);
    json_end(&verification.out, ']');
    summary_write(&summary, &verification.out);
    json_end(&verification.out, '}');
    buffer_text(&buffer, "\n");
    if (!verification.is_json) {
        buffer_reset(&buffer);
        buffer_format(
            &buffer,
            "%" PRIu64 " findings: %u shards, %" PRIu64 " blocks, %" PRIu64 " events, %" PRIu64
            " cells of %u meters\n",
            summary.findings,
            summary.shards,
            summary.blocks,
            summary.events,
            summary.cells,
            summary.meters);
    }
    int code = print(&buffer);
    return summary.findings > 0 ? EXIT_FAILED : code;
}

static bool
dump_write(void *context, struct bytes lines)
{
    bool *is_failed = context;
    *is_failed = fwrite(lines.data, 1, lines.size, stdout) != lines.size;
    return !*is_failed;
}

static int
run_dump(const struct settings *settings, struct arena *arena)
{
    (void)arena;
    struct error error = {0};
    struct dump_options options = {
        .shard = (int32_t)settings->shard,
        .subject = settings->subject ? bytes_text(settings->subject) : bytes_of(NULL, 0),
        .type = settings->type ? bytes_text(settings->type) : bytes_of(NULL, 0),
        .from_ns = INT64_MIN,
        .to_ns = INT64_MAX,
    };
    bool is_failed = false;
    if (command_time(settings->from, "--from", &options.from_ns, &error) ||
        command_time(settings->to, "--to", &options.to_ns, &error))
        return command_usage_error("ledger dump", &error);
    enum status status = dump_run(settings->data, &options, dump_write, &is_failed, &error);
    if (!status && (is_failed || fflush(stdout) != 0))
        status = error_set_errno(&error, "cannot write the lines");
    return status ? command_failed("ledger dump", &error) : EXIT_OK;
}

struct subcommand {
    const char *name;
    const struct option_spec *spec;
    int (*run)(const struct settings *settings, struct arena *arena);
    int (*whole)(int argc, char **argv);  // instead of run: reads its options itself
};

static const struct subcommand subcommands[] = {
    {"verify",   &verify_spec,   run_verify, NULL               },
    {"dump",     &dump_spec,     run_dump,   NULL               },
    {"cut",      &cut_spec,      NULL,       cmd_ledger_cut     },
    {"cancel",   &cancel_spec,   NULL,       cmd_ledger_cancel  },
    {"amend",    &amend_spec,    NULL,       cmd_ledger_amend   },
    {"audit",    &audit_spec,    NULL,       cmd_ledger_audit   },
    {"backfill", &backfill_spec, NULL,       cmd_ledger_backfill},
};
enum { SUBCOMMANDS_COUNT = sizeof subcommands / sizeof subcommands[0] };

static int
subcommand_run(const struct subcommand *subcommand, int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    if (subcommand->whole != NULL)
        return subcommand->whole(argc, argv);
    switch (options_read(subcommand->spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR:
        return command_usage_error(subcommand->spec->program + sizeof "tally " - 1, &error);
    case OPTION_RUN: break;
    }
    return subcommand->run(&settings, &arena);
}

static int
help_print(FILE *out, int code)
{
    (void)fputs(
        "usage: tally ledger "
        "stat|verify|dump|cut|cancel|amend|audit|backfill|backup|restore|rebuild|"
        "repair|resize "
        "[options]\n\n",
        out);
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++)
        (void)fprintf(out, "  %-8s %s\n", subcommands[i].name, subcommands[i].spec->summary);
    ledger_stat_help(out);
    ledger_ops_help(out);
    (void)fputs("\n`tally ledger stat --help` and so on say more.\n", out);
    return code;
}

int
cmd_ledger(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++)
        if (strcmp(name, subcommands[i].name) == 0)
            return subcommand_run(&subcommands[i], argc - 1, argv + 1);
    if (strcmp(name, "stat") == 0)
        return ledger_stat_run(argc - 1, argv + 1);
    int code = argc > 1 ? ledger_ops_run(argc - 1, argv + 1) : -1;
    if (code >= 0)
        return code;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help_print(stdout, EXIT_OK);
    return help_print(stderr, EXIT_USAGE);
}
