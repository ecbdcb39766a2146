#include "tests/ledger/oracle.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/zone.h"
#include "ledger/dump.h"

#include <criterion/criterion.h>

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>

struct oracle {
    const struct usage_query *query;
    const struct meter *meter;
    struct zone *zone;  // NULL: UTC
    struct arena *arena;
    struct oracle_row *rows;
    size_t count, capacity;
};

static void
succeed(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

static const struct json *
find(const struct json *properties, const char *path)
{
    const struct json *at = properties;
    char steps[128];
    snprintf(steps, sizeof steps, "%s", path + 2);
    char *rest = steps;
    for (char *step; at && (step = strsep(&rest, ".")) != NULL;)
        at = json_member(at, step);
    return at;
}

static struct bytes
dimension_of(const struct json *properties, const char *path)
{
    const struct json *at = find(properties, path);
    return at && (at->type == JSON_STRING || at->type == JSON_NUMBER) ? at->text : bytes_text("");
}

static struct bytes
text_of(const struct oracle *oracle, const struct json *value)
{
    char text[DECIMAL_TEXT_MAX];
    struct decimal number;
    bool is_rounded = false;
    if (value == NULL)
        return bytes_text("");
    if (value->type != JSON_NUMBER)
        return value->text;
    cr_assert_eq(decimal_parse(value->text, &number, &is_rounded), STATUS_OK);
    (void)decimal_print(number, text);
    return bytes_text(arena_text(oracle->arena, text));
}

// False: the meter cannot use the event.
static bool
value_of(const struct oracle *oracle, const struct json *line, struct oracle_event *event)
{
    const struct meter *meter = oracle->meter;
    const struct json *value = json_member(line, "value");
    bool is_rounded = false;
    if (meter->aggregation == AGGREGATION_COUNT)
        return true;
    if (meter->value_property)
        value = find(json_member(line, "properties"), meter->value_property);
    event->text = text_of(oracle, value);
    if (meter->aggregation == AGGREGATION_UNIQUE_COUNT)
        return value == NULL || value->type != JSON_NULL;
    bool is_number = value && (value->type == JSON_STRING || value->type == JSON_NUMBER);
    return is_number && decimal_parse(value->text, &event->value, &is_rounded) == STATUS_OK;
}

static void
window_of_zone(const struct oracle *oracle, int64_t time_s, struct oracle_row *row)
{
    const struct zone *zone = oracle->zone;
    switch (oracle->query->window) {
    case USAGE_WINDOW_HOUR:
        row->from_ns = zone_hour_start(zone, time_s) * SECOND_NS;
        row->to_ns = zone_hour_next(zone, time_s) * SECOND_NS;
        return;
    case USAGE_WINDOW_DAY:
        row->from_ns = zone_day_start(zone, time_s) * SECOND_NS;
        row->to_ns = zone_day_next(zone, time_s) * SECOND_NS;
        return;
    case USAGE_WINDOW_MONTH:
        row->from_ns = zone_month_start(zone, time_s) * SECOND_NS;
        row->to_ns = zone_month_next(zone, time_s) * SECOND_NS;
        return;
    case USAGE_WINDOW_NONE:
    case USAGE_WINDOW_MINUTE:
    case USAGE_WINDOW_QUARTER_HOUR: break;
    }
    cr_assert(false, "no window of a zone");
}

static void
window_of(const struct oracle *oracle, int64_t time_ns, struct oracle_row *row)
{
    struct civil date = civil_from_ns(time_ns);
    int64_t width_ns = 0;
    if (oracle->zone != NULL && oracle->query->window > USAGE_WINDOW_QUARTER_HOUR) {
        window_of_zone(oracle, time_ns / SECOND_NS, row);
        return;
    }
    switch (oracle->query->window) {
    case USAGE_WINDOW_NONE:
        row->from_ns = oracle->query->from_ns;
        row->to_ns = oracle->query->to_ns;
        return;
    case USAGE_WINDOW_MONTH:
        date.day = 1;
        row->from_ns = civil_to_ns(date);
        row->to_ns = civil_to_ns(civil_add_months(date, 1, 1));
        return;
    case USAGE_WINDOW_MINUTE: width_ns = MINUTE_NS; break;
    case USAGE_WINDOW_QUARTER_HOUR: width_ns = 15 * MINUTE_NS; break;
    case USAGE_WINDOW_HOUR: width_ns = HOUR_NS; break;
    case USAGE_WINDOW_DAY: width_ns = DAY_NS; break;
    }
    row->from_ns = time_ns / width_ns * width_ns;
    row->to_ns = row->from_ns + width_ns;
}

// LIKE by the C library's fnmatch; the tests' patterns hold nothing that is special to it.
static bool
like(struct bytes pattern, struct bytes text, int flags)
{
    char glob[64];
    char name[64];
    bytes_to_text(pattern, glob, sizeof glob);
    bytes_to_text(text, name, sizeof name);
    for (char *at = glob; *at; at++)
        *at = *at == '%' ? '*' : *at == '_' ? '?' : *at;
    return fnmatch(glob, name, flags) == 0;
}

static bool
accepts(const struct oracle *oracle, const struct usage_filter *filter, const struct json *line)
{
    if (filter->kind == USAGE_AND || filter->kind == USAGE_OR) {
        uint32_t accepted = 0;
        for (uint32_t i = 0; i < filter->parts_count; i++)
            accepted += accepts(oracle, &filter->parts[i], line);
        return filter->kind == USAGE_AND ? accepted == filter->parts_count : accepted > 0;
    }
    int index = meter_dimension_index(oracle->meter, filter->dimension);
    struct bytes value =
        index < 0
            ? json_member(line, "subject")->text
            : dimension_of(json_member(line, "properties"), oracle->meter->dimensions[index].path);
    bool is_in = false;
    for (uint32_t i = 0; i < filter->values_count; i++)
        is_in |= bytes_equal(value, filter->values[i]);
    if (filter->kind == USAGE_EQ || filter->kind == USAGE_IN)
        return is_in;
    if (filter->kind == USAGE_NE || filter->kind == USAGE_NIN)
        return !is_in;
    int order = bytes_compare(value, filter->values[0]);
    bool fits = like(filter->values[0], value, 0);
    bool fits_any_case = like(filter->values[0], value, FNM_CASEFOLD);
    const bool answers[] = {
        [USAGE_LIKE] = fits,
        [USAGE_NLIKE] = !fits,
        [USAGE_ILIKE] = fits_any_case,
        [USAGE_NILIKE] = !fits_any_case,
        [USAGE_GT] = order > 0,
        [USAGE_GTE] = order >= 0,
        [USAGE_LT] = order < 0,
        [USAGE_LTE] = order <= 0,
    };
    return answers[filter->kind];
}

static bool
is_wanted_subject(const struct usage_query *query, struct bytes subject)
{
    bool is_listed = query->subjects_count == 0;
    for (uint32_t i = 0; i < query->subjects_count; i++)
        is_listed |= bytes_equal(query->subjects[i], subject);
    return is_listed && (query->subject.size == 0 || bytes_equal(query->subject, subject));
}

static int
compare(const struct oracle_row *a, const struct oracle_row *b, uint32_t dimensions)
{
    int order = bytes_compare(a->subject, b->subject);
    if (order == 0)
        order = (a->from_ns > b->from_ns) - (a->from_ns < b->from_ns);
    for (uint32_t i = 0; i < dimensions && order == 0; i++)
        order = bytes_compare(a->dimensions[i], b->dimensions[i]);
    return order;
}

// A sorted array and insertion.
static struct oracle_row *
row_at(struct oracle *oracle, const struct oracle_row *row)
{
    size_t at = 0;
    int order = 1;
    while (at < oracle->count &&
           (order = compare(row, &oracle->rows[at], oracle->query->group_by_count)) > 0)
        at++;
    if (at < oracle->count && order == 0)
        return &oracle->rows[at];
    if (oracle->count == oracle->capacity) {
        oracle->capacity = oracle->capacity ? oracle->capacity * 2 : 64;
        struct oracle_row *rows = arena_array(oracle->arena, oracle->capacity, struct oracle_row);
        if (oracle->count)
            memcpy(rows, oracle->rows, oracle->count * sizeof *rows);
        oracle->rows = rows;
    }
    memmove(&oracle->rows[at + 1], &oracle->rows[at], (oracle->count - at) * sizeof *row);
    oracle->rows[at] = *row;
    oracle->count++;
    return &oracle->rows[at];
}

static int64_t
number_of(const struct json *line, const char *name)
{
    int64_t number;
    cr_assert_eq(json_int64(json_member(line, name), &number), STATUS_OK);
    return number;
}

static int64_t
time_of(const struct json *line, const char *name)
{
    int64_t time_ns;
    cr_assert_eq(clock_parse(json_member(line, name)->text, &time_ns), STATUS_OK);
    return time_ns;
}

static void
take_line(struct oracle *oracle, const struct json *line)
{
    const struct usage_query *query = oracle->query;
    struct oracle_event event = {
        .subject = json_member(line, "subject")->text,
        .time_ns = time_of(line, "time"),
        .arrival_ns = time_of(line, "arrival"),
        .block = number_of(line, "block"),
        .index = number_of(line, "index"),
    };
    if (!json_is_text(json_member(line, "type"), oracle->meter->event_type) ||
        event.time_ns < query->from_ns ||
        (event.time_ns >= query->to_ns && query->to_ns != INT64_MAX) ||
        !is_wanted_subject(query, event.subject) ||
        (query->filter != NULL && !accepts(oracle, query->filter, line)) ||
        !value_of(oracle, line, &event))
        return;
    struct oracle_row row = {.subject = query->is_merged ? bytes_text("") : event.subject};
    window_of(oracle, event.time_ns, &row);
    for (uint32_t i = 0; i < query->group_by_count; i++) {
        int index = meter_dimension_index(oracle->meter, query->group_by[i]);
        row.dimensions[i] =
            dimension_of(json_member(line, "properties"), oracle->meter->dimensions[index].path);
    }
    struct oracle_row *into = row_at(oracle, &row);
    event.next = into->events;
    into->events = arena_new(oracle->arena, struct oracle_event);
    *into->events = event;
    into->count++;
}

static bool
take_lines(void *context, struct bytes lines)
{
    struct oracle *oracle = context;
    lines = arena_bytes(oracle->arena, lines);
    const uint8_t *at = lines.data;
    const uint8_t *end = lines.data + lines.size;
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        struct json *line;
        struct error error;
        cr_assert_not_null(newline);
        succeed(
            json_parse(
                bytes_of(at, (size_t)(newline - at)),
                &(struct json_limits){0},
                oracle->arena,
                &line,
                &error),
            &error);
        take_line(oracle, line);
        at = newline + 1;
    }
    return true;
}

static bool
is_later(const struct oracle_event *a, const struct oracle_event *b)
{
    if (a->time_ns != b->time_ns)
        return a->time_ns > b->time_ns;
    if (bytes_equal(a->subject, b->subject))
        return a->block != b->block ? a->block > b->block : a->index > b->index;
    if (a->arrival_ns != b->arrival_ns)
        return a->arrival_ns > b->arrival_ns;
    return bytes_compare(a->subject, b->subject) > 0;
}

static const struct oracle_event *
latest_of(const struct oracle_row *row)
{
    const struct oracle_event *latest = row->events;
    for (const struct oracle_event *event = row->events; event; event = event->next)
        if (is_later(event, latest))
            latest = event;
    return latest;
}

static int64_t
distinct_of(const struct oracle_row *row)
{
    int64_t count = 0;
    for (const struct oracle_event *event = row->events; event; event = event->next) {
        bool is_last = true;
        for (const struct oracle_event *later = event->next; later; later = later->next)
            is_last &= !bytes_equal(later->text, event->text);
        count += is_last;
    }
    return count;
}

static void
row_finish(const struct meter *meter, struct oracle_row *row)
{
    struct wide sum = {0};
    struct wide weighted = {0};
    struct decimal least = row->events->value;
    struct decimal greatest = row->events->value;
    for (const struct oracle_event *event = row->events; event; event = event->next) {
        struct wide part = wide_multiply(event->value.units, row->to_ns - event->time_ns);
        wide_add(&weighted, &part);
        wide_add_int128(&sum, event->value.units);
        least = decimal_compare(event->value, least) < 0 ? event->value : least;
        greatest = decimal_compare(event->value, greatest) > 0 ? event->value : greatest;
    }
    uint64_t denominator = 1;
    struct wide numerator = sum;
    switch (meter->aggregation) {
    case AGGREGATION_COUNT:
        numerator = wide_from_int128(decimal_from_int((int64_t)row->count).units);
        break;
    case AGGREGATION_SUM: break;
    case AGGREGATION_MIN: numerator = wide_from_int128(least.units); break;
    case AGGREGATION_MAX: numerator = wide_from_int128(greatest.units); break;
    case AGGREGATION_AVG: denominator = row->count; break;
    case AGGREGATION_UNIQUE_COUNT:
        numerator = wide_from_int128(decimal_from_int(distinct_of(row)).units);
        break;
    case AGGREGATION_LATEST: numerator = wide_from_int128(latest_of(row)->value.units); break;
    case AGGREGATION_WEIGHTED_SUM:
        numerator = weighted;
        denominator = (uint64_t)(row->to_ns - row->from_ns);
        break;
    }
    (void)wide_divide_print(numerator, denominator, 20, row->value);
}

size_t
oracle_rows(
    const struct reading *reading,
    const struct usage_query *query,
    struct arena *arena,
    struct oracle_row **out_rows)
{
    struct error error = {0};
    struct registry *registry;
    struct meter meter;
    scoped(zone_close) struct zone *zone = NULL;
    succeed(registry_open(reading->dir, &registry, &error), &error);
    succeed(registry_find(registry, query->meter, arena, &meter, &error), &error);
    registry_close(registry);
    if (query->zone != NULL)
        succeed(zone_open(bytes_text(query->zone), &zone, &error), &error);
    struct oracle oracle = {.query = query, .meter = &meter, .zone = zone, .arena = arena};
    const struct dump_options options = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    succeed(dump_run(reading->dir, &options, take_lines, &oracle, &error), &error);
    for (size_t i = 0; i < oracle.count; i++)
        row_finish(&meter, &oracle.rows[i]);
    bool has_zero =
        oracle.count == 0 && query->is_merged && query->group_by_count == 0 &&
        query->window == USAGE_WINDOW_NONE &&
        (meter.aggregation == AGGREGATION_COUNT || meter.aggregation == AGGREGATION_UNIQUE_COUNT);
    if (has_zero) {
        struct oracle_row *row = row_at(
            &oracle,
            &(struct oracle_row){
                .subject = bytes_text(""), .from_ns = query->from_ns, .to_ns = query->to_ns});
        snprintf(row->value, sizeof row->value, "0");
    }
    *out_rows = oracle.rows;
    return oracle.count;
}

static void
check_row(
    const struct usage_query *query, const struct usage_row *row, const struct oracle_row *expected)
{
    char value[WIDE_TEXT_MAX];
    (void)usage_row_print(row, value);
    cr_assert(bytes_equal(row->subject, expected->subject));
    cr_assert_eq(row->from_ns, expected->from_ns);
    cr_assert_eq(row->to_ns, expected->to_ns);
    for (uint32_t i = 0; i < query->group_by_count; i++)
        cr_assert(bytes_equal(row->dimensions[i], expected->dimensions[i]));
    cr_assert_eq(
        row->count,
        expected->count,
        "%s %.*s: count %" PRIu64 ", not %" PRIu64,
        query->meter,
        (int)row->subject.size,
        (const char *)row->subject.data,
        row->count,
        expected->count);
    cr_assert_str_eq(
        value,
        expected->value,
        "%s %.*s: %s, not %s",
        query->meter,
        (int)row->subject.size,
        (const char *)row->subject.data,
        value,
        expected->value);
}

size_t
oracle_check(struct reading *reading, struct reader *reader, const struct usage_query *query)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_result result;
    struct oracle_row *expected;
    struct error error = {0};
    size_t count = oracle_rows(reading, query, &arena, &expected);
    succeed(usage_query(reader, query, &arena, &result, &error), &error);
    cr_assert_eq(result.count, count, "%s: %zu rows, not %zu", query->meter, result.count, count);
    for (size_t i = 0; i < count; i++)
        check_row(query, &result.rows[i], &expected[i]);
    return count;
}

void
oracle_put_meters(struct reading *reading)
{
    struct error error = {0};
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        enum aggregation aggregation = (enum aggregation)kind;
        const struct meter meter = {
            .key = aggregation_name(aggregation),
            .event_type = "llm",
            .aggregation = aggregation,
            .value_property = aggregation == AGGREGATION_COUNT ? NULL : "$.tokens",
            .dimensions = {{"model", "$.deep.model"}, {"region", "$.region"}},
            .dimensions_count = 2,
        };
        succeed(registry_put(reading->registry, &meter, READING_NOW_NS, NULL, &error), &error);
    }
    succeed(ledger_poll_meters(reading->ledger, &error), &error);
}
