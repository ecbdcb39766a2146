// tally up: everything of one data directory, started and ready.

#include "tools/command.h"
#include "tools/file.h"
#include "tools/process.h"
#include "tools/stack.h"

#include <string.h>
#include <sys/stat.h>

struct settings {
    const char *data;
    const char *pg_dir;
    const char *tcp;
    const char *udp;
    const char *unix_path;
    const char *metrics;
    const char *shards;
    const char *config;
    const char *api;
    int64_t timeout_ns;
};

#define AT(member) .offset = offsetof(struct settings, member)
#define TEXT_ROW(option, member, unit, text)                                                       \
    {                                                                                              \
        .name = (option), .type = OPTION_TEXT, AT(member), .value_name = (unit), .help = (text),   \
        .is_flag_only = true                                                                       \
    }

#define TIMEOUT_ROW                                                                                \
    {                                                                                              \
        .name = "timeout", .type = OPTION_DURATION, AT(timeout_ns), .fallback = "60s",             \
        .min = 1000000, .max = INT64_MAX / 4, .value_name = "T", .help = "for each to be ready"    \
    }

#define API_ROW                                                                                    \
    {                                                                                              \
        .name = "api", .type = OPTION_TEXT, AT(api), .env = "TALLY_API",                           \
        .fallback = "127.0.0.1:3000", .value_name = "HOST:PORT", .is_flag_only = true,             \
        .help = "of tally-api: where HTTP is answered; none: it is not started"                    \
    }

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    TEXT_ROW(
        "pg-dir",
        pg_dir,
        "DIR",
        "folder of the private PostgreSQL; default pg/ in the data directory"),
    TEXT_ROW("tcp", tcp, "HOST:PORT", "of tallyd: where events arrive"),
    TEXT_ROW("udp", udp, "HOST:PORT", "of tallyd: where datagrams arrive"),
    TEXT_ROW("unix", unix_path, "PATH", "of tallyd: its unix socket"),
    TEXT_ROW("metrics", metrics, "HOST:PORT", "of tallyd: /metrics and /health"),
    TEXT_ROW("shards", shards, "N", "of tallyd: fixed when the directory is made"),
    TEXT_ROW("tallyd-config", config, "FILE", "of tallyd: its config file"),
    API_ROW,
    TIMEOUT_ROW,
    {0},
};

static const struct option_spec spec = {
    .program = "tally up",
    .summary = "Starts everything of a data directory and waits until it is ready.",
    .usage = "[options] [-- TALLYD OPTIONS]",
    .details = "Makes the directory if it is missing, runs a private PostgreSQL in it (unless "
               "DATABASE_URL\n"
               "names another), brings the tables up to date, and starts tallyd and tally-api in "
               "the background.\n"
               "What runs already stays as it is. Logs are in log/ in the directory.\n"
               "Exit codes: 0 everything runs; 1 something could not be started; 2 usage.",
    .rows = rows,
    .positional_max = 64,
};

enum { TALLYD_ARGUMENTS_MAX = 80 };

struct argument_list {
    char *items[TALLYD_ARGUMENTS_MAX];
    size_t count;
};

static void
argument_add(struct argument_list *list, struct arena *arena, const char *name, const char *value)
{
    if (!value)
        return;
    list->items[list->count++] = arena_text(arena, name);
    list->items[list->count++] = arena_text(arena, value);
}

static void
arguments_fill(
    const struct settings *settings,
    const struct option_texts_rest *rest,
    struct arena *arena,
    struct argument_list *out)
{
    *out = (struct argument_list){0};
    argument_add(out, arena, "--tcp", settings->tcp);
    argument_add(out, arena, "--udp", settings->udp);
    argument_add(out, arena, "--unix", settings->unix_path);
    argument_add(out, arena, "--metrics", settings->metrics);
    argument_add(out, arena, "--shards", settings->shards);
    argument_add(out, arena, "--config", settings->config);
    for (size_t i = 0; i < rest->count; i++)
        out->items[out->count++] = arena_text(arena, rest->items[i]);
}

static void
farewell_print(const struct stack *stack)
{
    printf("logs        %s\n", stack->log_dir);
    printf("look        tally status --data '%s'\n", stack->data);
    printf("stop        tally down --data '%s'\n", stack->data);
}

int
cmd_up(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("up", &error);
    case OPTION_RUN: break;
    }
    process_catch_interrupts();
    struct argument_list arguments;
    arguments_fill(&settings, &rest, &arena, &arguments);
    struct stack_options options = {
        .tallyd_arguments = arguments.items,
        .tallyd_arguments_count = arguments.count,
        .api = strcmp(settings.api, "none") == 0 ? NULL : settings.api,
        .timeout_ns = settings.timeout_ns,
    };
    struct stack stack;
    // Others may pass through on their way to pg/, which the user `postgres` owns, but not look
    // around.
    enum status status = folder_make(settings.data, 02751, &error);
    if (!status)
        status = stack_open(settings.data, settings.pg_dir, &arena, &stack, &error);
    if (!status)
        status = stack_up(&stack, &options, stdout, &error);
    if (status)
        return command_failed("up", &error);
    farewell_print(&stack);
    return EXIT_OK;
}
