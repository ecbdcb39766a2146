// tally meter: the registry of what is counted.

#include "base/clock.h"
#include "base/json.h"
#include "base/table.h"
#include "ledger/meter.h"
#include "ledger/meter_rebuild.h"
#include "tools/command.h"

#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *format;
    const char *event_type;
    const char *aggregation;
    const char *value;
    struct option_texts dimensions;
    struct option_texts filters;
    const char *events_from;
    const char *unit;
    const char *description;
};

// clang-format off
static const struct option_row plain_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = NULL},
};
// clang-format on

// clang-format off
static const struct option_row list_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings, "table", "table|json|tsv"),
    {.name = NULL},
};
// clang-format on

// clang-format off
static const struct option_row add_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "event-type",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, event_type),
     .value_name = "TYPE",
     .help = "which events it counts",
     .is_required = true},
    {.name = "aggregation",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, aggregation),
     .fallback = "sum",
     .value_name = "KIND",
     .help = AGGREGATION_NAMES},
    {.name = "value",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, value),
     .value_name = "PATH",
     .help = "the property it looks at, such as $.tokens; without it the event's value"},
    {.name = "dimension",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct settings, dimensions),
     .value_name = "NAME=PATH",
     .help = "what usage can be grouped by"},
    {.name = "filter",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct settings, filters),
     .value_name = "PATH=VALUE",
     .help = "counts only events with this text there; several of one path: any of them"},
    {.name = "events-from",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, events_from),
     .value_name = "TIME",
     .help = "counts no event of a time before this one (2026-11-01T00:00:00Z)"},
    {.name = "unit",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, unit),
     .value_name = "UNIT",
     .help = "for people"},
    {.name = "description",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, description),
     .value_name = "TEXT",
     .help = "for people"},
    {.name = NULL},
};
// clang-format on

static const struct option_spec list_spec = {
    .program = "tally meter list",
    .summary = "Lists the meters.",
    .usage = "[options]",
    .rows = list_rows,
};

static const struct option_spec show_spec = {
    .program = "tally meter show",
    .summary = "Shows one meter as JSON.",
    .usage = "KEY [options]",
    .rows = plain_rows,
    .positional_min = 1,
    .positional_max = 1,
};

static const struct option_spec add_spec = {
    .program = "tally meter add",
    .summary = "Defines a meter, or defines it anew.",
    .usage = "KEY --event-type TYPE [options]",
    .details =
        "A new definition of what is counted makes a new version, which counts all events of "
        "the log again;\nanother unit or description does not.\n"
        "\n"
        "  tally meter add tokens --event-type llm --value '$.tokens' --dimension model=$.model",
    .rows = add_rows,
    .positional_min = 1,
    .positional_max = 1,
};

static const struct option_spec remove_spec = {
    .program = "tally meter remove",
    .summary = "Removes a meter. Its events stay in the log.",
    .usage = "KEY [options]",
    .rows = plain_rows,
    .positional_min = 1,
    .positional_max = 1,
};

// What each subcommand is given.
struct call {
    struct arena *arena;
    struct settings settings;
    const char *key;  // or NULL
    struct registry *registry;
};

static void
member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    member_text(out, key, text);
}

// As in a catalogue.
static void
filters_write(struct json_out *out, const struct meter *meter)
{
    json_key(out, "filters");
    json_begin(out, '{');
    for (uint32_t i = 0; i < meter->filters_count; i++) {
        const struct meter_filter *filter = &meter->filters[i];
        json_key(out, filter->path);
        json_begin(out, '[');
        for (uint32_t k = 0; k < filter->values_count; k++)
            json_text(out, filter->values[k]);
        json_end(out, ']');
    }
    json_end(out, '}');
}

// Without the braces.
static void
members_write(struct json_out *out, const struct meter *meter)
{
    member_text(out, "key", meter->key);
    member_text(out, "event_type", meter->event_type);
    member_text(out, "aggregation", aggregation_name(meter->aggregation));
    member_text(out, "value_property", meter->value_property);
    json_key(out, "dimensions");
    json_begin(out, '{');
    for (uint32_t i = 0; i < meter->dimensions_count; i++)
        member_text(out, meter->dimensions[i].name, meter->dimensions[i].path);
    json_end(out, '}');
    filters_write(out, meter);
    if (meter->events_from_ns != 0)
        member_time(out, "events_from", meter->events_from_ns);
    member_text(out, "unit", meter->unit);
    member_text(out, "description", meter->description);
    json_key(out, "id");
    json_int(out, meter->id);
    json_key(out, "version");
    json_int(out, meter->version);
    member_time(out, "created", meter->created_ns);
    member_time(out, "updated", meter->updated_ns);
}

// How much of the log is in the meter's cells; the rest is read at each question until it is.
static uint32_t
progress_percent(const struct meter_progress *progress)
{
    if (progress->covered >= progress->blocks)
        return 100;
    return (uint32_t)(progress->covered * 100 / progress->blocks);
}

static void
list_write_json(
    struct json_out *out, const struct meter *meter, const struct meter_progress *progress)
{
    json_begin(out, '{');
    members_write(out, meter);
    json_key(out, "counted_percent");
    json_int(out, progress_percent(progress));
    json_end(out, '}');
}

static void
print(struct buffer *buffer)
{
    (void)fwrite(buffer->data, 1, buffer->size, stdout);
}

static const char *
dimensions_text(const struct meter *meter, struct arena *arena)
{
    const char *text = "";
    for (uint32_t i = 0; i < meter->dimensions_count; i++)
        text = arena_format(arena, "%s%s%s", text, i > 0 ? ", " : "", meter->dimensions[i].name);
    return text;
}

static void
list_write_table(
    const struct meter *meters,
    const struct meter_progress *progress,
    uint32_t count,
    enum table_format format,
    struct arena *arena,
    struct buffer *out)
{
    static const struct table_column columns[] = {
        {"meter",      TABLE_LEFT },
        {"events",     TABLE_LEFT },
        {"of",         TABLE_LEFT },
        {"value",      TABLE_LEFT },
        {"dimensions", TABLE_LEFT },
        {"unit",       TABLE_LEFT },
        {"version",    TABLE_RIGHT},
        {"counted",    TABLE_RIGHT},
    };
    struct table table = table_over(arena, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < count; i++) {
        const struct meter *meter = &meters[i];
        const char *const cells[] = {
            meter->key,
            aggregation_name(meter->aggregation),
            meter->event_type,
            meter->value_property,
            dimensions_text(meter, arena),
            meter->unit,
            arena_format(arena, "%u", meter->version),
            arena_format(arena, "%u%%", progress_percent(&progress[i])),
        };
        table_row(&table, cells);
    }
    table_print(&table, format, out);
}

static enum status
run_list(const struct call *call, struct error *error)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct meter *meters;
    uint32_t count;
    enum table_format format = TABLE_TEXT;
    bool is_json = strcmp(call->settings.format, "json") == 0;
    if (!is_json && !table_format_parse(call->settings.format, &format))
        return error_set(error, STATUS_INVALID, "--format is table, json or tsv");
    enum status status = registry_list(call->registry, call->arena, &meters, &count, error);
    if (status)
        return status;
    struct meter_progress *progress = arena_array(call->arena, count, struct meter_progress);
    status = meter_progress_read(call->settings.data, meters, count, progress, error);
    if (status)
        return status;
    if (is_json) {
        struct json_out out = json_out_to(&buffer);
        json_begin(&out, '[');
        for (uint32_t i = 0; i < count; i++)
            list_write_json(&out, &meters[i], &progress[i]);
        json_end(&out, ']');
        buffer_text(&buffer, "\n");
    } else {
        list_write_table(meters, progress, count, format, call->arena, &buffer);
    }
    print(&buffer);
    return STATUS_OK;
}

static enum status
run_show(const struct call *call, struct error *error)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct meter meter;
    enum status status = registry_find(call->registry, call->key, call->arena, &meter, error);
    if (status)
        return status;
    struct json_out out = json_out_to(&buffer);
    out.indent = 2;
    json_begin(&out, '{');
    members_write(&out, &meter);
    json_end(&out, '}');
    buffer_text(&buffer, "\n");
    print(&buffer);
    return STATUS_OK;
}

static enum status
dimensions_read(
    const struct option_texts *texts, struct arena *arena, struct meter *meter, struct error *error)
{
    if (texts->count > METER_DIMENSIONS_MAX)
        return error_set(
            error, STATUS_INVALID, "a meter has at most %d dimensions", METER_DIMENSIONS_MAX);
    for (size_t i = 0; i < texts->count; i++) {
        const char *equals = strchr(texts->items[i], '=');
        if (equals == NULL || equals == texts->items[i])
            return error_set(
                error, STATUS_INVALID, "--dimension %s is not NAME=PATH", texts->items[i]);
        size_t name_size = (size_t)(equals - texts->items[i]);
        meter->dimensions[i].name = arena_text_of(arena, bytes_of(texts->items[i], name_size));
        meter->dimensions[i].path = equals + 1;
    }
    meter->dimensions_count = (uint32_t)texts->count;
    return STATUS_OK;
}

static enum status
filters_read(
    const struct option_texts *texts, struct arena *arena, struct meter *meter, struct error *error)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < texts->count && !status; i++) {
        const char *equals = strchr(texts->items[i], '=');
        if (equals == NULL || equals == texts->items[i])
            return error_set(
                error, STATUS_INVALID, "--filter %s is not PATH=VALUE", texts->items[i]);
        size_t path_size = (size_t)(equals - texts->items[i]);
        const char *path = arena_text_of(arena, bytes_of(texts->items[i], path_size));
        status = meter_filter_add(meter, path, equals + 1, arena, error);
    }
    return status;
}

static void
change_print(const struct meter *meter, enum meter_change change)
{
    switch (change) {
    case METER_UNCHANGED: printf("meter %s is as it was\n", meter->key); return;
    case METER_CREATED: printf("meter %s created\n", meter->key); return;
    case METER_DESCRIBED: printf("meter %s described anew\n", meter->key); return;
    case METER_REDEFINED:
        printf("meter %s redefined: version %u\n", meter->key, meter->version);
        return;
    }
}

static enum status
run_add(const struct call *call, struct error *error)
{
    const struct settings *settings = &call->settings;
    enum meter_change change = METER_UNCHANGED;
    struct meter meter = {
        .key = call->key,
        .event_type = settings->event_type,
        .value_property = settings->value,
        .unit = settings->unit,
        .description = settings->description,
    };
    if (!aggregation_parse(bytes_text(settings->aggregation), &meter.aggregation))
        return error_set(error, STATUS_INVALID, "--aggregation is " AGGREGATION_NAMES);
    if (settings->events_from != NULL &&
        clock_parse(bytes_text(settings->events_from), &meter.events_from_ns) != STATUS_OK)
        return error_set(
            error,
            STATUS_INVALID,
            "--events-from %s is no time: 2026-11-01T00:00:00Z",
            settings->events_from);
    enum status status = dimensions_read(&settings->dimensions, call->arena, &meter, error);
    if (!status)
        status = filters_read(&settings->filters, call->arena, &meter, error);
    if (!status)
        status = registry_put(call->registry, &meter, clock_now_ns(), &change, error);
    if (!status)
        status = registry_find(call->registry, call->key, call->arena, &meter, error);
    if (!status)
        change_print(&meter, change);
    return status;
}

static enum status
run_remove(const struct call *call, struct error *error)
{
    enum status status = registry_remove(call->registry, call->key, error);
    if (!status)
        printf("meter %s removed\n", call->key);
    return status;
}

struct subcommand {
    const char *name;
    const struct option_spec *spec;
    enum status (*run)(const struct call *call, struct error *error);
};

static const struct subcommand subcommands[] = {
    {"list",   &list_spec,   run_list  },
    {"show",   &show_spec,   run_show  },
    {"add",    &add_spec,    run_add   },
    {"remove", &remove_spec, run_remove},
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
    enum status status = registry_open(call.settings.data, &call.registry, &error);
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
    (void)fputs("usage: tally meter list|show|add|remove [options]\n\n", out);
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++)
        (void)fprintf(out, "  %-8s %s\n", subcommands[i].name, subcommands[i].spec->summary);
    (void)fputs("\n`tally meter list --help` and so on say more.\n", out);
    return code;
}

int
cmd_meter(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < SUBCOMMANDS_COUNT; i++)
        if (strcmp(name, subcommands[i].name) == 0)
            return subcommand_run(&subcommands[i], argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help_print(stdout, EXIT_OK);
    return help_print(stderr, EXIT_USAGE);
}
