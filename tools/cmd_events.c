// tally events: the events themselves, newest first, with what their meters say against them.

#include "base/clock.h"
#include "base/json.h"
#include "base/table.h"
#include "ledger/dump_value.h"
#include "ledger/events.h"
#include "tools/command.h"

#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *subject;
    const char *type;
    const char *source;
    const char *id;
    const char *id_part;
    const char *from;
    const char *to;
    const char *arrived_from;
    const char *arrived_to;
    int64_t limit;
    const char *after;
    const char *format;
};

// clang-format off
static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "subject",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, subject),
     .value_name = "SUBJECT",
     .help = "of one subject"},
    {.name = "type",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, type),
     .value_name = "TYPE",
     .help = "of one event type"},
    {.name = "source",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, source),
     .value_name = "SOURCE",
     .help = "of one source"},
    {.name = "id",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, id),
     .value_name = "ID",
     .help = "with this id"},
    {.name = "id-part",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, id_part),
     .value_name = "TEXT",
     .help = "with this text somewhere in the id"},
    {.name = "from",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, from),
     .value_name = "TIME",
     .help = "not before: 2026-11-01, or RFC 3339; UTC when it names no zone"},
    {.name = "to",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, to),
     .value_name = "TIME",
     .help = "before"},
    {.name = "arrived-from",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, arrived_from),
     .value_name = "TIME",
     .help = "not stored before"},
    {.name = "arrived-to",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, arrived_to),
     .value_name = "TIME",
     .help = "stored before"},
    {.name = "limit",
     .type = OPTION_INT,
     .offset = offsetof(struct settings, limit),
     .fallback = "100",
     .min = 1,
     .max = EVENTS_LIMIT_MAX,
     .value_name = "N",
     .help = "events at most"},
    {.name = "after",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, after),
     .value_name = "CURSOR",
     .help = "what comes after a former answer's cursor"},
    COMMAND_FORMAT_ROW(struct settings, "table", "table|json|tsv"),
    {.name = NULL},
};
// clang-format on

static const struct option_spec spec = {
    .program = "tally events",
    .summary = "Lists events, the newest first.",
    .usage = "[options]",
    .details = "The last column says why a meter of the event's type cannot use it. When there "
               "are more\n"
               "events, a line on standard error (a member of the JSON) has the cursor for "
               "--after.\n"
               "\n"
               "  tally events --subject acme --from 2026-11-01 --limit 20\n"
               "\n"
               "Exit codes: 0 answered; 1 failed; 2 usage.",
    .rows = rows,
};

static struct bytes
text_or_any(const char *text)
{
    return text != NULL ? bytes_text(text) : bytes_of(NULL, 0);
}

static enum status
query_read(const struct settings *settings, struct events_query *out, struct error *error)
{
    struct events_query query = EVENTS_ALL;
    query.subject = text_or_any(settings->subject);
    query.type = text_or_any(settings->type);
    query.source = text_or_any(settings->source);
    query.id = text_or_any(settings->id);
    query.id_part = text_or_any(settings->id_part);
    query.limit = (uint32_t)settings->limit;
    query.after = settings->after;
    enum status status = command_time(settings->from, "--from", &query.from_ns, error);
    if (!status)
        status = command_time(settings->to, "--to", &query.to_ns, error);
    if (!status)
        status =
            command_time(settings->arrived_from, "--arrived-from", &query.arrived_from_ns, error);
    if (!status)
        status = command_time(settings->arrived_to, "--arrived-to", &query.arrived_to_ns, error);
    *out = query;
    return status;
}

static void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    json_key(out, key);
    json_text(out, text);
}

// What the event can be named by: its chunk is no id.
static struct bytes
id_of(const struct entry *entry)
{
    return (entry->flags & ENTRY_ID_IS_CHUNK) == 0 ? entry->id : bytes_of(NULL, 0);
}

static void
row_write(const struct events_row *row, struct json_out *out)
{
    char value[DECIMAL_TEXT_MAX];
    (void)decimal_print(row->entry.value, value);
    json_begin(out, '{');
    member_time(out, "time", row->entry.time_ns);
    member_time(out, "arrival", row->arrival_ns);
    dump_text(out, "subject", row->entry.subject);
    dump_text(out, "type", row->entry.type);
    dump_text(out, "id", id_of(&row->entry));
    dump_text(out, "source", row->entry.source);
    json_key(out, "value");
    json_text(out, value);
    dump_properties(out, row->entry.properties, row->entry.properties_count);
    json_key(out, "status");
    json_text(out, events_status_name(row->status));
    if (row->entry.batch.size > 0)
        dump_text(out, "backfill", row->entry.batch);
    json_key(out, "validation_error");
    json_text(out, row->validation_error);
    json_end(out, '}');
}

static void
write_json(const struct events_result *result, struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    json_key(&out, "events");
    json_begin(&out, '[');
    for (size_t i = 0; i < result->count; i++)
        row_write(&result->rows[i], &out);
    json_end(&out, ']');
    json_key(&out, "next");
    json_text(&out, result->next);
    json_end(&out, '}');
    buffer_text(buffer, "\n");
}

static void
write_table(
    const struct events_result *result,
    enum table_format format,
    struct arena *arena,
    struct buffer *buffer)
{
    static const struct table_column columns[] = {
        {"time",    TABLE_LEFT },
        {"arrival", TABLE_LEFT },
        {"subject", TABLE_LEFT },
        {"type",    TABLE_LEFT },
        {"id",      TABLE_LEFT },
        {"source",  TABLE_LEFT },
        {"value",   TABLE_RIGHT},
        {"status",  TABLE_LEFT },
        {"error",   TABLE_LEFT },
    };
    struct table table = table_over(arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < result->count; i++) {
        const struct events_row *row = &result->rows[i];
        char time[CLOCK_TEXT_MAX];
        char arrival[CLOCK_TEXT_MAX];
        char value[DECIMAL_TEXT_MAX];
        (void)clock_print(row->entry.time_ns, time);
        (void)clock_print(row->arrival_ns, arrival);
        (void)decimal_print(row->entry.value, value);
        const char *const cells[] = {
            time,
            arrival,
            arena_text_of(arena, row->entry.subject),
            arena_text_of(arena, row->entry.type),
            arena_text_of(arena, id_of(&row->entry)),
            arena_text_of(arena, row->entry.source),
            value,
            events_status_name(row->status),
            row->validation_error,
        };
        table_row(&table, cells);
    }
    table_print(&table, format, buffer);
}

static int
result_print(
    const struct settings *settings, const struct events_result *result, struct arena *arena)
{
    scoped(buffer_done) struct buffer buffer = {0};
    enum table_format format = TABLE_TEXT;
    bool is_json = !table_format_parse(settings->format, &format);
    if (is_json)
        write_json(result, &buffer);
    else if (format == TABLE_TEXT && result->count == 0)
        buffer_text(&buffer, "no events\n");
    else
        write_table(result, format, arena, &buffer);
    bool is_written = !buffer_failed(&buffer) &&
                      fwrite(buffer.data, 1, buffer.size, stdout) == buffer.size &&
                      fflush(stdout) == 0;
    if (!is_json && result->next != NULL)
        (void)fprintf(stderr, "tally events: there are more: --after %s\n", result->next);
    return is_written ? EXIT_OK : EXIT_FAILED;
}

int
cmd_events(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct events_query query;
    struct events_result result = {0};
    struct reader *reader = NULL;
    enum table_format format;
    struct error error = {0};
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("events", &error);
    case OPTION_RUN: break;
    }
    if (strcmp(settings.format, "json") != 0 && !table_format_parse(settings.format, &format)) {
        (void)error_set(&error, STATUS_INVALID, "--format is table, json or tsv");
        return command_usage_error("events", &error);
    }
    if (query_read(&settings, &query, &error))
        return command_usage_error("events", &error);
    enum status status = reader_open(settings.data, &reader, &error);
    if (!status)
        status = events_list(reader, &query, &arena, &result, &error);
    reader_close(reader);
    return status ? command_failed("events", &error) : result_print(&settings, &result, &arena);
}
