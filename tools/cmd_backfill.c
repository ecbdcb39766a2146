// tally ledger backfill: batches of events of any age, which are closed, and taken out together
// when they were wrong.

#include "base/clock.h"
#include "base/json.h"
#include "base/table.h"
#include "client/uuid7.h"
#include "ledger/backfill_list.h"
#include "ledger/control.h"
#include "ledger/dump.h"
#include "ledger/dump_value.h"
#include "tools/cmd_change.h"
#include "tools/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *id;
    const char *who;
    const char *why;
    const char *format;
};

// clang-format off
#define WHO_ROW                                                                                    \
    {.name = "who",                                                                                \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, who),                                                     \
     .env = "USER",                                                                                \
     .value_name = "NAME",                                                                         \
     .help = "who does it: kept in the log",                                                       \
     .is_required = true}
#define WHY_ROW(required)                                                                          \
    {.name = "why",                                                                                \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, why),                                                     \
     .value_name = "TEXT",                                                                         \
     .help = "why: kept in the log",                                                               \
     .is_required = (required)}
#define ID_ROW(text, required)                                                                     \
    {.name = "id",                                                                                 \
     .type = OPTION_TEXT,                                                                          \
     .offset = offsetof(struct settings, id),                                                      \
     .value_name = "ID",                                                                           \
     .help = text,                                                                                 \
     .is_required = (required)}

static const struct option_row open_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    ID_ROW("1 to 100 bytes that were never used (default: a UUIDv7)", false),
    WHO_ROW,
    WHY_ROW(false),
    {.name = NULL},
};

static const struct option_row close_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    ID_ROW("the backfill's", true),
    WHO_ROW,
    WHY_ROW(false),
    {.name = NULL},
};

static const struct option_row revert_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    ID_ROW("the backfill's", true),
    WHO_ROW,
    WHY_ROW(true),
    {.name = NULL},
};

static const struct option_row list_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings, "table", "table|json|tsv"),
    {.name = NULL},
};
// clang-format on

const struct option_spec backfill_spec = {
    .program = "tally ledger backfill",
    .summary = "Opens, closes, reverts and lists backfills.",
};

static const struct option_spec open_spec = {
    .program = "tally ledger backfill open",
    .summary = "Opens a backfill, and prints its id: events that name it may be of any age.",
    .usage = "--who NAME [options]",
    .details = "An event names it by the option `tally: {\"backfill\": ID}` of its message.\n"  //
    CHANGE_WHO_WRITES,
    .rows = open_rows,
};

static const struct option_spec close_spec = {
    .program = "tally ledger backfill close",
    .summary = "Closes a backfill: it takes no more events.",
    .usage = "--id ID --who NAME [options]",
    .details = CHANGE_WHO_WRITES,
    .rows = close_rows,
};

static const struct option_spec revert_spec = {
    .program = "tally ledger backfill revert",
    .summary = "Takes out all events of a backfill, and prints how many that were.",
    .usage = "--id ID --who NAME --why TEXT [options]",
    .details = "An open one is closed first. The events' ids are free afterwards: they may come "
               "again, in\n"
               "another backfill. What was cancelled by itself stays so. Once begun it goes on, "
               "also after\n"
               "a crash; asked again it says that it is done.\n"  //
    CHANGE_WHO_WRITES,
    .rows = revert_rows,
};

static const struct option_spec list_spec = {
    .program = "tally ledger backfill list",
    .summary = "Lists all backfills, with who and why.",
    .usage = "[options]",
    .rows = list_rows,
};

static const char *
id_or_new(const char *id, struct arena *arena)
{
    struct uuid7_source source;
    char text[UUID7_TEXT_SIZE];
    struct error error;
    if (id != NULL || uuid7_init(&source, &error))
        return id;
    uuid7_next(&source, clock_now_ns(), text);
    return arena_text_of(arena, bytes_of(text, sizeof text));
}

static int
change(const struct settings *settings, enum backfill_act act, const char *command)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct control_answer answer;
    const char *id = act == BACKFILL_OPEN ? id_or_new(settings->id, &arena) : settings->id;
    const struct control_request request = {
        .kind = CONTROL_BACKFILL,
        .backfill =
            {
                       .act = act,
                       .id = bytes_text(id != NULL ? id : ""),
                       .who = bytes_text(settings->who),
                       .why = bytes_text(settings->why != NULL ? settings->why : ""),
                       },
    };
    const char *fault = backfill_fault(&request.backfill);
    if (fault != NULL && error_set(&error, STATUS_INVALID, "%s", fault))
        return command_usage_error(command, &error);
    if (control_do(settings->data, &request, &answer, &error))
        return command_failed(command, &error);
    if (act == BACKFILL_OPEN)
        printf("%s\n", id);
    else if (act == BACKFILL_REVERT)
        printf("%" PRIu64 " events\n", answer.number);
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

static int
run_open(const struct settings *settings)
{
    return change(settings, BACKFILL_OPEN, "ledger backfill open");
}

static int
run_close(const struct settings *settings)
{
    return change(settings, BACKFILL_CLOSE, "ledger backfill close");
}

static int
run_revert(const struct settings *settings)
{
    return change(settings, BACKFILL_REVERT, "ledger backfill revert");
}

// --- the list ---

static void
step_write(struct json_out *out, const char *name, const struct backfill_step *step)
{
    char text[CLOCK_TEXT_MAX];
    json_key(out, name);
    if (step->time_ns == 0) {
        json_null(out);
        return;
    }
    (void)clock_print(step->time_ns, text);
    json_begin(out, '{');
    json_key(out, "time");
    json_text(out, text);
    dump_text(out, "who", step->who);
    dump_text(out, "why", step->why);
    json_end(out, '}');
}

static void
row_write(struct json_out *out, const struct backfill_row *row)
{
    json_begin(out, '{');
    dump_text(out, "id", row->id);
    json_key(out, "state");
    json_text(out, batch_state_name(row->state));
    json_key(out, "is_partial");
    json_bool(out, row->is_partial);
    json_key(out, "events");
    json_int(out, (int64_t)row->stored);
    json_key(out, "reverted_events");
    json_int(out, (int64_t)row->taken);
    json_key(out, "cancelled_events");
    json_int(out, (int64_t)row->cancelled);
    step_write(out, "opened", &row->opened);
    step_write(out, "closed", &row->closed);
    step_write(out, "reverted", &row->reverted);
    json_end(out, '}');
}

static void
list_json(const struct backfill_row *rows, size_t count, struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    json_key(&out, "backfills");
    json_begin(&out, '[');
    for (size_t i = 0; i < count; i++)
        row_write(&out, &rows[i]);
    json_end(&out, ']');
    json_end(&out, '}');
    buffer_text(buffer, "\n");
}

// What was said last.
static const struct backfill_step *
row_last(const struct backfill_row *row)
{
    if (row->reverted.time_ns != 0)
        return &row->reverted;
    return row->closed.time_ns != 0 ? &row->closed : &row->opened;
}

static void
list_table(
    const struct backfill_row *rows,
    size_t count,
    enum table_format format,
    struct arena *arena,
    struct buffer *buffer)
{
    static const struct table_column columns[] = {
        {"opened",   TABLE_LEFT },
        {"id",       TABLE_LEFT },
        {"state",    TABLE_LEFT },
        {"events",   TABLE_RIGHT},
        {"reverted", TABLE_RIGHT},
        {"who",      TABLE_LEFT },
        {"why",      TABLE_LEFT },
    };
    struct table table = table_over(arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < count; i++) {
        const struct backfill_row *row = &rows[i];
        const struct backfill_step *last = row_last(row);
        const char *state = batch_state_name(row->state);
        char time[CLOCK_TEXT_MAX];
        bool is_known = row->opened.time_ns != 0;
        (void)clock_print(row->opened.time_ns, time);
        const char *const cells[] = {
            is_known ? time : "-",
            arena_text_of(arena, row->id),
            row->is_partial ? arena_format(arena, "%s, partly further", state) : state,
            arena_format(arena, "%" PRIu64, row->stored),
            arena_format(arena, "%" PRIu64, row->taken),
            arena_text_of(arena, last->who),
            arena_text_of(arena, last->why),
        };
        table_row(&table, cells);
    }
    table_print(&table, format, buffer);
}

static int
run_list(const struct settings *settings)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer buffer = {0};
    struct backfill_row *rows = NULL;
    size_t count = 0;
    enum table_format format = TABLE_TEXT;
    struct error error = {0};
    bool is_json = strcmp(settings->format, "json") == 0;
    if (!is_json && !table_format_parse(settings->format, &format)) {
        (void)error_set(&error, STATUS_INVALID, "--format is table, json or tsv");
        return command_usage_error("ledger backfill list", &error);
    }
    if (backfill_list(settings->data, &arena, &rows, &count, &error))
        return command_failed("ledger backfill list", &error);
    if (is_json)
        list_json(rows, count, &buffer);
    else if (count == 0 && format == TABLE_TEXT)
        buffer_text(&buffer, "no backfills\n");
    else
        list_table(rows, count, format, &arena, &buffer);
    bool is_written = !buffer_failed(&buffer) &&
                      fwrite(buffer.data, 1, buffer.size, stdout) == buffer.size &&
                      fflush(stdout) == 0;
    return is_written ? EXIT_OK : EXIT_FAILED;
}

struct act {
    const char *name;
    const struct option_spec *spec;
    int (*run)(const struct settings *settings);
};

static const struct act acts[] = {
    {"open",   &open_spec,   run_open  },
    {"close",  &close_spec,  run_close },
    {"revert", &revert_spec, run_revert},
    {"list",   &list_spec,   run_list  },
};
enum { ACTS_COUNT = sizeof acts / sizeof acts[0] };

static int
act_run(const struct act *act, int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    switch (options_read(act->spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error(act->spec->program + sizeof "tally " - 1, &error);
    case OPTION_RUN: break;
    }
    return act->run(&settings);
}

static int
help_print(FILE *out, int code)
{
    (void)fputs("usage: tally ledger backfill open|close|revert|list [options]\n\n", out);
    for (size_t i = 0; i < ACTS_COUNT; i++)
        (void)fprintf(out, "  %-7s %s\n", acts[i].name, acts[i].spec->summary);
    (void)fputs("\n`tally ledger backfill open --help` and so on say more.\n", out);
    return code;
}

int
cmd_ledger_backfill(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < ACTS_COUNT; i++)
        if (strcmp(name, acts[i].name) == 0)
            return act_run(&acts[i], argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help_print(stdout, EXIT_OK);
    return help_print(stderr, EXIT_USAGE);
}
