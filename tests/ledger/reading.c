#include "tests/ledger/reading.h"

#include "base/clock.h"
#include "base/json.h"
#include "ledger/dump.h"
#include "ledger/shard_view.h"
#include "ledger/stat.h"

#include <criterion/criterion.h>

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const int64_t READING_NOW_NS = 1794268800LL * 1000000000LL;

static const int64_t WAIT_MAX_NS = 30 * 1000000000LL;

static int64_t
test_now_ns(void)
{
    return READING_NOW_NS;
}

static void
succeed(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

void
reading_begin(struct reading *reading, uint32_t shards)
{
    struct error error = {0};
    *reading = (struct reading){.dir = "/tmp/tally-reading-XXXXXX", .seed = 1};
    cr_assert_not_null(mkdtemp(reading->dir));
    const struct ledger_create_options options = {.shards = shards, .map_size = 512 << 20};
    succeed(ledger_create(reading->dir, &options, &error), &error);
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

void
reading_end(struct reading *reading)
{
    cr_assert_null(reading->ledger);
    arena_done(&reading->arena);
    cr_assert_eq(nftw(reading->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void
count_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct reading *reading = context;
    (void)receipts;
    for (size_t i = 0; i < count; i++)
        reading->fates[fates[i]]++;
}

void
reading_write_begin(struct reading *reading, int64_t idle_flush_ns)
{
    struct error error = {0};
    // So few identities in memory that most are in runs on disk.
    const struct ledger_options options = {
        .idle_flush_ns = idle_flush_ns, .now_ns = test_now_ns, .dedup_hot_max = 10};
    succeed(ledger_open(reading->dir, &options, &reading->ledger, &error), &error);
    succeed(intake_open(reading->ledger, count_fates, reading, &reading->intake, &error), &error);
    succeed(registry_open(reading->dir, &reading->registry, &error), &error);
}

void
reading_write_end(struct reading *reading)
{
    struct error error = {0};
    reading_wait(reading);
    intake_close(reading->intake);
    succeed(ledger_close(reading->ledger, &error), &error);
    registry_close(reading->registry);
    reading->ledger = NULL;
    reading->intake = NULL;
    reading->registry = NULL;
}

static void
collect(struct reading *reading)
{
    intake_offer(reading->intake);
    if (intake_prepare_sleep(reading->intake)) {
        struct pollfd poll_fd = {.fd = intake_fd(reading->intake), .events = POLLIN};
        (void)poll(&poll_fd, 1, 100);
    }
    intake_collect(reading->intake);
    cr_assert_eq(ledger_failure(reading->ledger, &(const char *){NULL}), STATUS_OK);
}

void
reading_put(struct reading *reading, const struct event *event)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    while (!intake_put(reading->intake, event, (struct receipt){0})) {
        cr_assert(clock_monotonic_ns() < deadline_ns, "the writer takes nothing");
        collect(reading);
    }
}

void
reading_wait(struct reading *reading)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    while (intake_pending(reading->intake) > 0) {
        cr_assert(clock_monotonic_ns() < deadline_ns, "fates are missing");
        collect(reading);
    }
}

void
reading_wait_flushed(struct reading *reading)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    bool is_flushed = false;
    while (!is_flushed) {
        struct ledger_stat stat;
        struct error error = {0};
        scoped(arena_done) struct arena arena = {0};
        cr_assert(clock_monotonic_ns() < deadline_ns, "the cells were not flushed");
        succeed(stat_read(reading->dir, &arena, &stat, &error), &error);
        is_flushed = true;
        for (uint32_t i = 0; i < stat.shards_count; i++)
            is_flushed = is_flushed && stat.shards[i].position == stat.shards[i].head;
        if (!is_flushed)
            (void)poll(NULL, 0, 5);
    }
}

// xorshift64*: the same events for the same seed, everywhere.
uint64_t
reading_random(struct reading *reading, uint64_t below)
{
    reading->seed ^= reading->seed >> 12;
    reading->seed ^= reading->seed << 25;
    reading->seed ^= reading->seed >> 27;
    return (reading->seed * 2685821657736338717ULL >> 16) % below;
}

static void
random_tokens(struct reading *reading, struct buffer *out)
{
    char text[32];
    switch (reading_random(reading, 5)) {
    case 0: pack_int(out, (int64_t)reading_random(reading, 2000) - 1000); return;
    case 1: pack_double(out, (double)reading_random(reading, 1000) / 8); return;
    case 2:
        snprintf(
            text,
            sizeof text,
            "%u.%03u",
            (unsigned)reading_random(reading, 100),
            (unsigned)reading_random(reading, 1000));
        pack_text(out, text);
        return;
    case 3: pack_text(out, "many"); return;  // no number: a SUM skips the event
    default: pack_uint(out, reading_random(reading, 100000)); return;
    }
}

static uint32_t
random_properties(struct reading *reading, struct buffer *out)
{
    static const char *const regions[] = {"eu", "us", "asia"};
    uint32_t count = 2;
    pack_text(out, "tokens");
    random_tokens(reading, out);
    pack_text(out, "deep");
    pack_map(out, 1);
    pack_text(out, "model");
    pack_uint(out, reading_random(reading, 3));
    if (reading_random(reading, 4) > 0) {
        pack_text(out, "region");
        pack_text(out, regions[reading_random(reading, 3)]);
        count++;
    }
    return count;
}

void
reading_put_random(struct reading *reading, uint32_t count)
{
    const int64_t span_s = 20 * 86400;
    for (uint32_t i = 0; i < count; i++) {
        char subject[32];
        char id[32];
        scoped(buffer_done) struct buffer properties = {0};
        snprintf(subject, sizeof subject, "subject-%u", (unsigned)reading_random(reading, 7));
        snprintf(id, sizeof id, "id-%" PRIu64, reading->serial++);
        int64_t time_ns =
            READING_NOW_NS - (int64_t)reading_random(reading, (uint64_t)span_s) * SECOND_NS;
        struct event event = {
            .subject = bytes_text(subject),
            .type = bytes_text(reading_random(reading, 4) > 0 ? "llm" : "job"),
            .id = bytes_text(id),
            .time_ns = reading_random(reading, 20) > 0 ? time_ns : 0,
            .value = decimal_from_int((int64_t)reading_random(reading, 50)),
            .properties_runs = 1,
        };
        event.properties_count = random_properties(reading, &properties);
        event.properties[0] = buffer_view(&properties);
        reading_put(reading, &event);
        if (reading_random(reading, 10) == 0)
            reading_wait(reading);
    }
    reading_wait(reading);
}

void
reading_put_meter(struct reading *reading, const char *key)
{
    struct error error = {0};
    struct meter meter = {
        .key = key,
        .event_type = "llm",
        .aggregation = AGGREGATION_COUNT,
        .dimensions = {{"model", "$.deep.model"}, {"region", "$.region"}},
        .dimensions_count = 2,
    };
    if (strcmp(key, "tokens") == 0) {
        meter.aggregation = AGGREGATION_SUM;
        meter.value_property = "$.tokens";
    } else if (strcmp(key, "jobs") == 0) {
        meter.event_type = "job";
        meter.aggregation = AGGREGATION_SUM;
        meter.dimensions_count = 0;
    }
    succeed(registry_put(reading->registry, &meter, READING_NOW_NS, NULL, &error), &error);
    succeed(ledger_poll_meters(reading->ledger, &error), &error);
}

struct oracle {
    const struct usage_query *query;
    const struct meter *meter;
    struct arena *arena;
    struct oracle_row *rows;
    size_t count, capacity;
};

static struct bytes
oracle_dimension(const struct json *properties, const char *path)
{
    const struct json *at = properties;
    char steps[128];
    snprintf(steps, sizeof steps, "%s", path + 2);
    char *rest = steps;
    for (char *step; at && (step = strsep(&rest, ".")) != NULL;)
        at = json_member(at, step);
    return at && (at->type == JSON_STRING || at->type == JSON_NUMBER) ? at->text : bytes_text("");
}

static bool
oracle_value(const struct oracle *oracle, const struct json *event, struct decimal *out)
{
    bool is_rounded = false;
    if (oracle->meter->aggregation == AGGREGATION_COUNT)
        return true;
    const struct json *value = json_member(event, "value");
    if (oracle->meter->value_property)
        value = json_member(json_member(event, "properties"), oracle->meter->value_property + 2);
    return value && decimal_parse(value->text, out, &is_rounded) == STATUS_OK;
}

static void
oracle_window(const struct oracle *oracle, int64_t time_ns, struct oracle_row *row)
{
    struct civil date = civil_from_ns(time_ns);
    int64_t width_ns = 0;
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
    case USAGE_WINDOW_QUARTER_HOUR: width_ns = 15 * MINUTE_NS; break;
    case USAGE_WINDOW_HOUR: width_ns = HOUR_NS; break;
    case USAGE_WINDOW_DAY: width_ns = DAY_NS; break;
    }
    row->from_ns = time_ns / width_ns * width_ns;
    row->to_ns = row->from_ns + width_ns;
}

static bool
oracle_accepts(const struct oracle *oracle, const struct json *properties)
{
    const struct usage_query *query = oracle->query;
    for (uint32_t i = 0; i < query->filters_count; i++) {
        bool is_any = false;
        for (uint32_t k = 0; k < query->filters_count; k++) {
            int index = meter_dimension_index(oracle->meter, query->filters[i].dimension);
            struct bytes value =
                oracle_dimension(properties, oracle->meter->dimensions[index].path);
            is_any |= strcmp(query->filters[i].dimension, query->filters[k].dimension) == 0 &&
                      bytes_equal(value, query->filters[k].value);
        }
        if (!is_any)
            return false;
    }
    return true;
}

static int
oracle_compare(const struct oracle_row *a, const struct oracle_row *b, uint32_t dimensions)
{
    int order = bytes_compare(a->subject, b->subject);
    if (order == 0)
        order = (a->from_ns > b->from_ns) - (a->from_ns < b->from_ns);
    for (uint32_t i = 0; i < dimensions && order == 0; i++)
        order = bytes_compare(a->dimensions[i], b->dimensions[i]);
    return order;
}

// A sorted array and insertion: slow, and nothing that could share a mistake with the code under
// test.
static void
oracle_add(struct oracle *oracle, const struct oracle_row *row)
{
    size_t at = 0;
    int order = 1;
    while (at < oracle->count &&
           (order = oracle_compare(row, &oracle->rows[at], oracle->query->group_by_count)) > 0)
        at++;
    if (at < oracle->count && order == 0) {
        oracle->rows[at].count += row->count;
        cr_assert(decimal_add(&oracle->rows[at].sum, row->sum));
        return;
    }
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
}

static void
oracle_event(struct oracle *oracle, const struct json *event)
{
    const struct usage_query *query = oracle->query;
    const struct json *properties = json_member(event, "properties");
    struct oracle_row row = {.count = 1, .subject = json_member(event, "subject")->text};
    int64_t time_ns;
    cr_assert_eq(clock_parse(json_member(event, "time")->text, &time_ns), STATUS_OK);
    if (!json_is_text(json_member(event, "type"), oracle->meter->event_type) ||
        time_ns < query->from_ns || time_ns >= query->to_ns)
        return;
    if (query->subject.size && !bytes_equal(query->subject, row.subject))
        return;
    if (!oracle_value(oracle, event, &row.sum) || !oracle_accepts(oracle, properties))
        return;
    for (uint32_t i = 0; i < query->group_by_count; i++) {
        int index = meter_dimension_index(oracle->meter, query->group_by[i]);
        row.dimensions[i] = oracle_dimension(properties, oracle->meter->dimensions[index].path);
    }
    oracle_window(oracle, time_ns, &row);
    oracle_add(oracle, &row);
}

static bool
oracle_lines(void *context, struct bytes lines)
{
    struct oracle *oracle = context;
    lines = arena_bytes(oracle->arena, lines);
    const uint8_t *at = lines.data;
    const uint8_t *end = lines.data + lines.size;
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        struct json *event;
        struct error error;
        cr_assert_not_null(newline);
        enum status status = json_parse(
            bytes_of(at, (size_t)(newline - at)),
            &(struct json_limits){0},
            oracle->arena,
            &event,
            &error);
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        oracle_event(oracle, event);
        at = newline + 1;
    }
    return true;
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
    succeed(registry_open(reading->dir, &registry, &error), &error);
    succeed(registry_find(registry, query->meter, arena, &meter, &error), &error);
    registry_close(registry);
    struct oracle oracle = {.query = query, .meter = &meter, .arena = arena};
    const struct dump_options options = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    succeed(dump_run(reading->dir, &options, oracle_lines, &oracle, &error), &error);
    *out_rows = oracle.rows;
    return oracle.count;
}

static void
check_row(
    const struct usage_query *query,
    const struct usage_row *row,
    const struct oracle_row *expected,
    const struct meter *meter)
{
    char value[DECIMAL_TEXT_MAX];
    char wanted[DECIMAL_TEXT_MAX];
    struct decimal sum = expected->sum;
    if (meter->aggregation == AGGREGATION_COUNT)
        sum = decimal_from_int((int64_t)expected->count);
    decimal_print(row->value, value);
    decimal_print(sum, wanted);
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
    cr_assert_str_eq(value, wanted);
}

size_t
reading_check(struct reading *reading, struct reader *reader, const struct usage_query *query)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_result result;
    struct oracle_row *expected;
    struct error error = {0};
    size_t count = oracle_rows(reading, query, &arena, &expected);
    succeed(usage_query(reader, query, &arena, &result, &error), &error);
    cr_assert_eq(result.count, count, "%zu rows, not %zu", result.count, count);
    for (size_t i = 0; i < count; i++)
        check_row(query, &result.rows[i], &expected[i], &result.meter);
    return count;
}
