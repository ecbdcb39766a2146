// tally usage: how much was used of a meter, by subject or customer, window and dimension.

#include "base/clock.h"
#include "base/decimal.h"
#include "base/json.h"
#include "base/sql.h"
#include "base/table.h"
#include "billing/store.h"
#include "ledger/usage.h"
#include "tools/command.h"
#include "tools/usage_late_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS_MAX = 3 + METER_DIMENSIONS_MAX + 2, TEXT_SUBJECT_MAX = 255 };

static const int64_t DATABASE_TIMEOUT_MS = 5000;

struct settings {
    const char *data;
    const char *meter;
    struct option_texts subjects;
    const char *customer;
    bool is_merged;
    const char *from;
    const char *to;
    const char *period;
    const char *window;
    const char *zone;
    int64_t at_cut;
    int64_t since_cut;
    struct option_texts group_by;
    struct option_texts filters;
    const char *where;
    const char *format;
};

// clang-format off
static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "meter",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, meter),
     .value_name = "KEY",
     .help = "what to ask for (`tally meter list` has the keys)",
     .is_required = true},
    {.name = "subject",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct settings, subjects),
     .value_name = "SUBJECT",
     .help = "these subjects; without it and --customer: all"},
    {.name = "customer",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, customer),
     .value_name = "ID",
     .help = "the subjects of a customer"},
    {.name = "total",
     .type = OPTION_FLAG,
     .offset = offsetof(struct settings, is_merged),
     .help = "one row for the subjects together instead of one for each"},
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
    {.name = "period",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, period),
     .value_name = "YYYY-MM",
     .help = "a month, instead of --from and --to"},
    {.name = "window",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, window),
     .fallback = "none",
     .value_name = "WINDOW",
     .help = USAGE_WINDOW_NAMES},
    {.name = "at-cut",
     .type = OPTION_INT,
     .offset = offsetof(struct settings, at_cut),
     .fallback = "0",
     .max = 100000,
     .value_name = "N",
     .help = "what was there before cut N (tally ledger cut); the range ends at its time"},
    {.name = "since-cut",
     .type = OPTION_INT,
     .offset = offsetof(struct settings, since_cut),
     .fallback = "0",
     .max = 100000,
     .value_name = "N",
     .help = "what came since cut N for what it sealed: late events and corrections"},
    {.name = "zone",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, zone),
     .fallback = "UTC",
     .value_name = "ZONE",
     .help = "whose hours, days and months: Europe/Berlin"},
    {.name = "group-by",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct settings, group_by),
     .value_name = "DIMENSION",
     .help = "a row for each of its values"},
    {.name = "filter",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct settings, filters),
     .value_name = "DIM=VALUE",
     .help = "only this value; several of one dimension: any of them"},
    {.name = "where",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, where),
     .value_name = "JSON",
     .help = "only what this accepts, such as {\"region\": {\"$ne\": \"eu\"}}"},
    COMMAND_FORMAT_ROW(struct settings, "table", "table|json|tsv"),
    {.name = NULL},
};
// clang-format on

static const struct option_spec spec = {
    .program = "tally usage",
    .summary = "Says how much was used.",
    .usage = "--meter KEY [options]",
    .details = "Ranges hold their beginning and not their end. Windows are whole ones, also at the "
               "ends of\n"
               "the range; those without usage have no row. Every event that was acknowledged is "
               "counted.\n"
               "--where takes $eq $ne $in $nin $like $nlike $ilike $nilike $gt $gte $lt $lte $and "
               "$or, on\n"
               "dimensions and on subject. --from, --to and --period are UTC, whatever the zone.\n"
               "--since-cut prints what came since, before and now; of MIN, MAX, AVG, LATEST and\n"
               "UNIQUE_COUNT, which do not add up, only the last two.\n"
               "\n"
               "  tally usage --meter tokens --subject azure-conv --period 2023-11 --window day\n"
               "  tally usage --meter tokens --customer acme --group-by model --filter region=eu\n"
               "  tally usage --meter tokens --total --window day --zone Asia/Kathmandu\n"
               "\n"
               "Exit codes: 0 answered; 1 failed; 2 usage.",
    .rows = rows,
};

struct question {
    struct usage_query query;
    bool is_nobody;  // a customer without subjects
    bool is_late;    // since the cut, not at it
    bool is_json;
    enum table_format format;
};

// One of both, as the question says.
struct answer {
    struct usage_result usage;
    struct usage_late_result late;
};

static enum status
period_read(const char *text, struct usage_query *query, struct error *error)
{
    char first[16];
    int64_t from_ns = 0;
    bool is_month = strlen(text) == 7 && text[4] == '-' &&
                    snprintf(first, sizeof first, "%s-01", text) > 0 &&
                    clock_parse(bytes_text(first), &from_ns) == STATUS_OK;
    if (!is_month)
        return error_set(error, STATUS_INVALID, "--period %s is no month such as 2026-11", text);
    query->from_ns = from_ns;
    query->to_ns = civil_to_ns(civil_add_months(civil_from_ns(from_ns), 1, 1));
    return STATUS_OK;
}

static enum status
range_read(const struct settings *settings, struct usage_query *query, struct error *error)
{
    query->from_ns = INT64_MIN;
    query->to_ns = INT64_MAX;
    if (settings->period != NULL && (settings->from != NULL || settings->to != NULL))
        return error_set(error, STATUS_INVALID, "--period stands for --from and --to: not both");
    if (settings->period != NULL)
        return period_read(settings->period, query, error);
    enum status status = command_time(settings->from, "--from", &query->from_ns, error);
    if (!status)
        status = command_time(settings->to, "--to", &query->to_ns, error);
    if (!status && query->from_ns > query->to_ns)
        status = error_set(error, STATUS_INVALID, "--to is before --from");
    return status;
}

static enum status
filters_read(
    const struct option_texts *texts,
    struct arena *arena,
    struct usage_query *query,
    struct error *error)
{
    struct usage_pair *pairs = arena_array(arena, texts->count, struct usage_pair);
    for (size_t i = 0; i < texts->count; i++) {
        const char *equals = strchr(texts->items[i], '=');
        if (equals == NULL || equals == texts->items[i])
            return error_set(
                error, STATUS_INVALID, "--filter %s is not DIMENSION=VALUE", texts->items[i]);
        size_t name_size = (size_t)(equals - texts->items[i]);
        pairs[i].dimension = arena_text_of(arena, bytes_of(texts->items[i], name_size));
        pairs[i].value = bytes_text(equals + 1);
    }
    query->filter = usage_filter_of_pairs(pairs, (uint32_t)texts->count, arena);
    return STATUS_OK;
}

// --filter and --where both hold.
static enum status
where_read(const char *text, struct arena *arena, struct usage_query *query, struct error *error)
{
    const struct usage_filter *where = NULL;
    enum status status = STATUS_OK;
    if (text != NULL)
        status = usage_filter_parse(bytes_text(text), arena, &where, error);
    if (status || where == NULL)
        return status;
    struct usage_filter *parts = arena_array(arena, 2, struct usage_filter);
    struct usage_filter *both = arena_new(arena, struct usage_filter);
    *both = (struct usage_filter){.kind = USAGE_AND, .parts = parts, .parts_count = 1};
    parts[0] = *where;
    if (query->filter != NULL)
        parts[both->parts_count++] = *query->filter;
    query->filter = both;
    return STATUS_OK;
}

static enum status
question_read(
    const struct settings *settings, struct arena *arena, struct question *out, struct error *error)
{
    out->is_json = strcmp(settings->format, "json") == 0;
    out->query.meter = settings->meter;
    out->query.is_merged = settings->is_merged;
    out->is_late = settings->since_cut > 0;
    out->query.at_cut = (uint32_t)(out->is_late ? settings->since_cut : settings->at_cut);
    out->query.zone = settings->zone;
    out->query.group_by = settings->group_by.items;
    out->query.group_by_count = (uint32_t)settings->group_by.count;
    if (!out->is_json && !table_format_parse(settings->format, &out->format))
        return error_set(error, STATUS_INVALID, "--format is table, json or tsv");
    if (!usage_window_parse(settings->window, &out->query.window))
        return error_set(
            error, STATUS_INVALID, "--window %s is unknown: " USAGE_WINDOW_NAMES, settings->window);
    if (settings->at_cut > 0 && settings->since_cut > 0)
        return error_set(error, STATUS_INVALID, "--at-cut or --since-cut: not both");
    if (settings->subjects.count > 0 && settings->customer != NULL)
        return error_set(error, STATUS_INVALID, "--subject or --customer: not both");
    for (size_t i = 0; i < settings->subjects.count; i++) {
        size_t size = strlen(settings->subjects.items[i]);
        if (size == 0 || size > TEXT_SUBJECT_MAX)
            return error_set(error, STATUS_INVALID, "a subject has 1 to 255 bytes");
    }
    enum status status = range_read(settings, &out->query, error);
    if (!status)
        status = filters_read(&settings->filters, arena, &out->query, error);
    return status ? status : where_read(settings->where, arena, &out->query, error);
}

static void
subjects_take(
    struct question *question, const char *const *texts, size_t count, struct arena *arena)
{
    struct bytes *subjects = arena_array(arena, count, struct bytes);
    for (size_t i = 0; i < count; i++)
        subjects[i] = bytes_text(texts[i]);
    question->query.subjects = subjects;
    question->query.subjects_count = (uint32_t)count;
}

static enum status
database_subjects(
    const struct settings *settings,
    struct arena *arena,
    struct question *out,
    bool *out_is_reached,
    struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    const char *url;
    enum status status = sql_url(settings->data, arena, &url, error);
    if (!status)
        status = sql_open(url, DATABASE_TIMEOUT_MS, &sql, error);
    *out_is_reached = status == STATUS_OK;
    if (status)
        return status;
    const char *const *subjects = NULL;
    size_t count = 0;
    status = customer_subjects(sql, settings->customer, arena, &subjects, &count, error);
    out->is_nobody = !status && count == 0;
    subjects_take(out, subjects, count, arena);
    return status;
}

// A customer's subjects are in the database; by default its only one is its id, which is a fair
// answer without it.
static enum status
subjects_read(
    const struct settings *settings, struct arena *arena, struct question *out, struct error *error)
{
    bool is_reached = false;
    subjects_take(out, settings->subjects.items, settings->subjects.count, arena);
    if (settings->customer == NULL)
        return STATUS_OK;
    enum status status = database_subjects(settings, arena, out, &is_reached, error);
    if (is_reached)
        return status;
    (void)fprintf(
        stderr,
        "tally usage: notice: without the database, subject %s stands for the customer (%s)\n",
        settings->customer,
        error->text);
    subjects_take(out, &settings->customer, 1, arena);
    return STATUS_OK;
}

static enum status
question_ask(
    const char *data,
    struct question *question,
    struct arena *arena,
    struct answer *out,
    struct error *error)
{
    struct reader *reader = NULL;
    enum status status = reader_open(data, &reader, error);
    if (!status && question->is_nobody)
        status = registry_find(
            reader_registry(reader), question->query.meter, arena, &out->usage.meter, error);
    else if (!status && question->is_late)
        status = usage_late(reader, &question->query, arena, &out->late, error);
    else if (!status)
        status = usage_query(reader, &question->query, arena, &out->usage, error);
    if (!status && question->is_nobody)
        out->late.meter = out->usage.meter;
    reader_close(reader);
    return status;
}

static const char *
time_text(int64_t time_ns, struct arena *arena)
{
    char text[CLOCK_TEXT_MAX];
    if (time_ns == INT64_MIN || time_ns == INT64_MAX)
        return NULL;
    (void)clock_print(time_ns, text);
    return arena_text(arena, text);
}

static void
json_member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
row_write(
    const struct question *question,
    const struct usage_row *row,
    struct arena *arena,
    struct json_out *out)
{
    char value[WIDE_TEXT_MAX];
    (void)usage_row_print(row, value);
    json_begin(out, '{');
    json_key(out, "subject");
    json_string(out, row->subject);
    json_member_text(out, "from", time_text(row->from_ns, arena));
    json_member_text(out, "to", time_text(row->to_ns, arena));
    json_key(out, "dimensions");
    json_begin(out, '{');
    for (uint32_t i = 0; i < question->query.group_by_count; i++) {
        json_key(out, question->query.group_by[i]);
        json_string(out, row->dimensions[i]);
    }
    json_end(out, '}');
    json_member_text(out, "value", value);
    json_key(out, "count");
    json_int(out, (int64_t)row->count);
    json_end(out, '}');
}

static void
answer_write_json(
    const struct question *question,
    const struct usage_result *answer,
    struct arena *arena,
    struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    json_member_text(&out, "meter", answer->meter.key);
    json_member_text(&out, "aggregation", aggregation_name(answer->meter.aggregation));
    json_member_text(&out, "unit", answer->meter.unit);
    json_member_text(&out, "from", time_text(question->query.from_ns, arena));
    json_member_text(&out, "to", time_text(question->query.to_ns, arena));
    json_key(&out, "rows");
    json_begin(&out, '[');
    for (size_t i = 0; i < answer->count; i++)
        row_write(question, &answer->rows[i], arena, &out);
    json_end(&out, ']');
    json_end(&out, '}');
    buffer_text(buffer, "\n");
}

static void
answer_write_table(
    const struct question *question,
    const struct usage_result *answer,
    struct arena *arena,
    struct buffer *buffer)
{
    struct table_column columns[COLUMNS_MAX] = {
        {"subject", TABLE_LEFT},
        {"from",    TABLE_LEFT},
        {"to",      TABLE_LEFT}
    };
    uint32_t dimensions = question->query.group_by_count;
    size_t count = 3;
    for (uint32_t i = 0; i < dimensions; i++)
        columns[count++] = (struct table_column){question->query.group_by[i], TABLE_LEFT};
    columns[count++] = (struct table_column){answer->meter.key, TABLE_RIGHT};
    columns[count++] = (struct table_column){"events", TABLE_RIGHT};
    struct table table = table_over(arena, columns, count);
    for (size_t i = 0; i < answer->count; i++) {
        const struct usage_row *row = &answer->rows[i];
        char value[WIDE_TEXT_MAX];
        const char *cells[COLUMNS_MAX] = {
            arena_text_of(arena, row->subject),
            time_text(row->from_ns, arena),
            time_text(row->to_ns, arena),
        };
        for (uint32_t k = 0; k < dimensions; k++)
            cells[3 + k] = arena_text_of(arena, row->dimensions[k]);
        (void)usage_row_print(row, value);
        cells[3 + dimensions] = value;
        cells[4 + dimensions] = arena_format(arena, "%" PRIu64, row->count);
        table_row(&table, cells);
    }
    table_print(&table, question->format, buffer);
}

static int
answer_print(const struct question *question, const struct answer *answer, struct arena *arena)
{
    scoped(buffer_done) struct buffer buffer = {0};
    const struct usage_late_printing late = {
        .query = &question->query, .is_json = question->is_json, .format = question->format};
    bool is_for_people = !question->is_json && question->format == TABLE_TEXT;
    if (question->is_late)
        usage_late_write(&late, &answer->late, arena, &buffer);
    else if (question->is_json)
        answer_write_json(question, &answer->usage, arena, &buffer);
    else if (is_for_people && answer->usage.count == 0)
        buffer_text(&buffer, "no usage\n");
    else
        answer_write_table(question, &answer->usage, arena, &buffer);
    bool is_written = fwrite(buffer.data, 1, buffer.size, stdout) == buffer.size &&
                      fflush(stdout) == 0 && !buffer_failed(&buffer);
    return is_written ? EXIT_OK : EXIT_FAILED;
}

int
cmd_usage(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct question question = {0};
    struct answer answer = {0};
    struct error error = {0};
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("usage", &error);
    case OPTION_RUN: break;
    }
    if (question_read(&settings, &arena, &question, &error))
        return command_usage_error("usage", &error);
    enum status status = subjects_read(&settings, &arena, &question, &error);
    if (!status)
        status = question_ask(settings.data, &question, &arena, &answer, &error);
    if (status)
        return command_failed("usage", &error);
    return answer_print(&question, &answer, &arena);
}
