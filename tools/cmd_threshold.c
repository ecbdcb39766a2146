// tally threshold: how much may be used before it fires, what fired, and what is left.

#include "base/clock.h"
#include "base/hash.h"
#include "base/table.h"
#include "ledger/fired.h"
#include "ledger/ledger.h"
#include "ledger/memory.h"
#include "ledger/threshold.h"
#include "tools/command.h"

#include <stdio.h>
#include <string.h>

enum { FIRED_PAGE = 1000 };

struct settings {
    const char *data;
    const char *format;
    const char *meter;
    const char *subject;
    const char *period;
    const char *limit;
};

// clang-format off
static const struct option_row plain_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = NULL},
};
static const struct option_row list_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings, "table", "table|tsv"),
    {.name = NULL},
};
static const struct option_row quota_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings, "table", "table|tsv"),
    {.name = "subject", .type = OPTION_TEXT, .offset = offsetof(struct settings, subject),
     .value_name = "SUBJECT", .help = "whose usage", .is_required = true},
    {.name = NULL},
};
static const struct option_row add_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "meter", .type = OPTION_TEXT, .offset = offsetof(struct settings, meter),
     .value_name = "KEY",
     .help = "what is watched: a meter of count, sum, max, latest or unique_count",
     .is_required = true},
    {.name = "subject", .type = OPTION_TEXT, .offset = offsetof(struct settings, subject),
     .value_name = "SUBJECT", .help = "whose usage; without it each subject for itself"},
    {.name = "period", .type = OPTION_TEXT, .offset = offsetof(struct settings, period),
     .fallback = "month", .value_name = "day|month", .help = "what usage is added up over, in UTC"},
    {.name = "limit", .type = OPTION_TEXT, .offset = offsetof(struct settings, limit),
     .value_name = "NUMBER", .help = "it fires once per period, at this or more",
     .is_required = true},
    {.name = NULL},
};
// clang-format on

static const struct option_spec list_spec = {
    .program = "tally threshold list",
    .summary = "Lists the thresholds.",
    .usage = "[options]",
    .rows = list_rows,
};

static const struct option_spec add_spec = {
    .program = "tally threshold add",
    .summary = "Defines a threshold, or defines it anew.",
    .usage = "KEY --meter METER --limit NUMBER [options]",
    .details = "It counts from the period in which it is made. Defined anew, it may fire again.",
    .rows = add_rows,
    .positional_min = 1,
    .positional_max = 1,
};

static const struct option_spec remove_spec = {
    .program = "tally threshold remove",
    .summary = "Removes a threshold. What fired stays listed.",
    .usage = "KEY [options]",
    .rows = plain_rows,
    .positional_min = 1,
    .positional_max = 1,
};

static const struct option_spec fired_spec = {
    .program = "tally threshold fired",
    .summary = "Lists what fired, by shard and in the order in which it did.",
    .usage = "[options]",
    .rows = list_rows,
};

static const struct option_spec quota_spec = {
    .program = "tally threshold quota",
    .summary = "Says how much of a threshold is used now. Asks tallyd.",
    .usage = "KEY --subject SUBJECT [options]",
    .rows = quota_rows,
    .positional_min = 1,
    .positional_max = 1,
};

// What each subcommand is given.
struct call {
    struct arena *arena;
    struct settings settings;
    const char *key;  // or NULL
    struct registry *registry;
    enum table_format format;
};

static const char *
time_text(struct arena *arena, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    return arena_format(arena, "%s", text);
}

static const char *
wide_text(struct arena *arena, struct wide value)
{
    char text[WIDE_TEXT_MAX];
    (void)wide_divide_print(value, 1, DECIMAL_PLACES, text);
    return arena_format(arena, "%s", text);
}

static const char *
decimal_text(struct arena *arena, struct decimal value)
{
    char text[DECIMAL_TEXT_MAX];
    (void)decimal_print(value, text);
    return arena_format(arena, "%s", text);
}

static void
table_show(const struct call *call, struct table *table)
{
    scoped(buffer_done) struct buffer buffer = {0};
    table_print(table, call->format, &buffer);
    (void)fwrite(buffer.data, 1, buffer.size, stdout);
}

static enum status
run_list(const struct call *call, struct error *error)
{
    static const struct table_column columns[] = {
        {"threshold", TABLE_LEFT },
        {"meter",     TABLE_LEFT },
        {"subject",   TABLE_LEFT },
        {"period",    TABLE_LEFT },
        {"limit",     TABLE_RIGHT},
    };
    struct threshold *list = NULL;
    uint32_t count = 0;
    enum status status = threshold_list(call->registry, call->arena, &list, &count, error);
    if (status)
        return status;
    struct table table = table_over(call->arena, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < count; i++) {
        const char *const cells[] = {
            list[i].key,
            list[i].meter,
            list[i].subject,
            threshold_period_name(list[i].period),
            decimal_text(call->arena, list[i].limit),
        };
        table_row(&table, cells);
    }
    table_show(call, &table);
    return STATUS_OK;
}

static enum status
run_add(const struct call *call, struct error *error)
{
    const struct settings *settings = &call->settings;
    enum meter_change change = METER_UNCHANGED;
    bool is_rounded = false;
    struct threshold one = {
        .key = call->key, .meter = settings->meter, .subject = settings->subject};
    if (!threshold_period_parse(settings->period, &one.period))
        return error_set(error, STATUS_INVALID, "--period is day or month");
    if (decimal_parse(bytes_text(settings->limit), &one.limit, &is_rounded) || is_rounded)
        return error_set(error, STATUS_INVALID, "--limit %s is no quantity", settings->limit);
    enum status status = threshold_put(call->registry, &one, clock_now_ns(), &change, error);
    if (status)
        return status;
    const char *what = change == METER_UNCHANGED ? "is as it was"
                       : change == METER_CREATED ? "created"
                                                 : "redefined";
    printf("threshold %s %s\n", call->key, what);
    return STATUS_OK;
}

static enum status
run_remove(const struct call *call, struct error *error)
{
    enum status status = threshold_remove(call->registry, call->key, error);
    if (!status)
        printf("threshold %s removed\n", call->key);
    return status;
}

static void
fired_row(
    const struct call *call,
    struct table *table,
    uint32_t shard,
    const struct threshold *list,
    uint32_t count,
    const struct fired *one)
{
    struct arena *arena = call->arena;
    const char *key = "(removed)";
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].id == one->threshold_id)
            key = list[i].key;
    }
    const char *const cells[] = {
        arena_format(arena, "%u", shard),
        arena_format(arena, "%llu", (unsigned long long)one->sequence),
        key,
        arena_text_of(arena, one->subject),
        time_text(arena, one->from_s * SECOND_NS),
        wide_text(arena, one->value),
        time_text(arena, one->time_ns),
    };
    table_row(table, cells);
}

static enum status
fired_shard(const struct call *call, struct table *table, uint32_t shard, struct error *error)
{
    struct threshold *list;
    struct fired *fired;
    uint32_t count = 0;
    uint32_t fired_count = FIRED_PAGE;
    struct env *env = NULL;
    enum status status = threshold_list(call->registry, call->arena, &list, &count, error);
    if (!status)
        status = fired_open_view(call->settings.data, shard, &env, error);
    for (uint64_t since = 0; !status && env != NULL && fired_count == FIRED_PAGE;) {
        scoped(tx_done) struct tx tx = tx_read(env);
        status = fired_list(&tx, since, FIRED_PAGE, call->arena, &fired, &fired_count, error);
        for (uint32_t i = 0; !status && i < fired_count; i++) {
            fired_row(call, table, shard, list, count, &fired[i]);
            since = fired[i].sequence;
        }
    }
    env_close(env);
    return status;
}

static enum status
run_fired(const struct call *call, struct error *error)
{
    static const struct table_column columns[] = {
        {"shard",     TABLE_RIGHT},
        {"sequence",  TABLE_RIGHT},
        {"threshold", TABLE_LEFT },
        {"subject",   TABLE_LEFT },
        {"period",    TABLE_LEFT },
        {"value",     TABLE_RIGHT},
        {"event",     TABLE_LEFT },
    };
    struct ledger_conf conf;
    enum status status = ledger_shape_read(call->settings.data, &conf, error);
    if (status)
        return status;
    struct table table = table_over(call->arena, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t shard = 0; shard < conf.shards && !status; shard++)
        status = fired_shard(call, &table, shard, error);
    if (!status)
        table_show(call, &table);
    return status;
}

static void
quota_show(const struct call *call, const struct quota *quota)
{
    static const struct table_column columns[] = {
        {"period",    TABLE_LEFT },
        {"used",      TABLE_RIGHT},
        {"limit",     TABLE_RIGHT},
        {"remaining", TABLE_RIGHT},
        {"fired",     TABLE_LEFT },
        {"counted",   TABLE_LEFT },
    };
    struct wide left = wide_from_int128(quota->limit.units);
    struct wide used = wide_negate(quota->used);
    wide_add(&left, &used);
    if (wide_is_negative(&left))
        left = (struct wide){0};
    struct table table = table_over(call->arena, columns, sizeof columns / sizeof columns[0]);
    const char *const cells[] = {
        time_text(call->arena, quota->from_s * SECOND_NS),
        wide_text(call->arena, quota->used),
        decimal_text(call->arena, quota->limit),
        wide_text(call->arena, left),
        quota->has_fired ? "yes" : "no",
        quota->is_complete ? "all" : "in part",
    };
    table_row(&table, cells);
    table_show(call, &table);
}

static enum status
run_quota(const struct call *call, struct error *error)
{
    const struct settings *settings = &call->settings;
    struct bytes subject = bytes_text(settings->subject);
    struct ledger_conf conf;
    struct threshold *list = NULL;
    uint32_t count = 0;
    struct memory_client *client = NULL;
    struct quota quota;
    if (subject.size == 0 || subject.size > 255)
        return error_set(error, STATUS_INVALID, "--subject is 1 to 255 bytes");
    enum status status = ledger_shape_read(settings->data, &conf, error);
    if (!status)
        status = threshold_list(call->registry, call->arena, &list, &count, error);
    if (status)
        return status;
    const struct threshold *one = threshold_find(list, count, call->key);
    if (one == NULL)
        return error_set(error, STATUS_NOT_FOUND, "there is no threshold \"%s\"", call->key);
    uint32_t shard = (uint32_t)(hash64(subject, 0) % conf.shards);
    int64_t now_s = clock_now_ns() / SECOND_NS;
    status = memory_client_open(settings->data, &client, error);
    if (!status)
        status = memory_ask_quota(client, shard, one->id, subject, now_s, &quota, error);
    memory_client_close(client);
    if (!status)
        quota_show(call, &quota);
    return status;
}

struct subcommand {
    const char *name;
    const struct option_spec *spec;
    enum status (*run)(const struct call *call, struct error *error);
};

static const struct subcommand subcommands[] = {
    {"add",    &add_spec,    run_add   },
    {"list",   &list_spec,   run_list  },
    {"remove", &remove_spec, run_remove},
    {"fired",  &fired_spec,  run_fired },
    {"quota",  &quota_spec,  run_quota },
};
enum { SUBCOMMANDS_COUNT = sizeof subcommands / sizeof subcommands[0] };

static int
subcommand_run(const struct subcommand *subcommand, int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct call call = {.arena = &arena};
    struct option_texts_rest rest;
    struct error error = {0};
    const char *name = subcommand->spec->program + sizeof "tally " - 1;
    switch (options_read(subcommand->spec, argc, argv, &call.settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error(name, &error);
    case OPTION_RUN: break;
    }
    call.key = rest.count > 0 ? rest.items[0] : NULL;
    enum status status = STATUS_OK;
    if (call.settings.format != NULL && !table_format_parse(call.settings.format, &call.format))
        status = error_set(&error, STATUS_INVALID, "--format is table or tsv");
    if (!status)
        status = registry_open(call.settings.data, &call.registry, &error);
    if (!status)
        status = subcommand->run(&call, &error);
    registry_close(call.registry);
    if (status == STATUS_INVALID)
        return command_usage_error(name, &error);
    return status ? command_failed(name, &error) : EXIT_OK;
}

static int
help_print(FILE *out, int code)
{
    (void)fputs("usage: tally threshold add|list|remove|fired|quota [options]\n\n", out);
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++)
        (void)fprintf(out, "  %-8s %s\n", subcommands[i].name, subcommands[i].spec->summary);
    (void)fputs("\n`tally threshold add --help` and so on say more.\n", out);
    return code;
}

int
cmd_threshold(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++)
        if (strcmp(name, subcommands[i].name) == 0)
            return subcommand_run(&subcommands[i], argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help_print(stdout, EXIT_OK);
    return help_print(stderr, EXIT_USAGE);
}
