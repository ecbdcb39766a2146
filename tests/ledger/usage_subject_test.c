#include "base/clock.h"
#include "ledger/usage.h"
#include "tests/ledger/oracle.h"

#include <criterion/criterion.h>

#include <stdio.h>

// Which subjects are asked for, how they are merged, and what nothing is worth: the rules of
// reference OpenMeter, with its reference values.

static struct reader *
open_reader(struct reading *reading)
{
    struct reader *reader;
    struct error error = {0};
    cr_assert_eq(reader_open(reading->dir, &reader, &error), STATUS_OK, "%s", error.text);
    return reader;
}

static void
subjects_choose(struct reading *reading, struct usage_query *query, struct bytes subjects[4])
{
    static const char *const names[] = {
        "subject-0",
        "subject-1",
        "subject-2",
        "subject-3",
        "subject-6",
        "nobody",
        "s",
        "zzzzzzzzz"};
    query->subjects = subjects;
    query->subjects_count = (uint32_t)reading_random(reading, 5);
    for (uint32_t i = 0; i < query->subjects_count; i++)
        subjects[i] = bytes_text(names[reading_random(reading, 8)]);
}

static const struct usage_filter *
filter_choose(struct reading *reading, struct arena *arena)
{
    static const char *const texts[] = {
        "{}",
        "{\"region\": {\"$ne\": \"eu\"}}",
        "{\"region\": {\"$nin\": [\"eu\", \"us\"]}, \"model\": {\"$in\": [\"0\", \"2\"]}}",
        "{\"region\": {\"$or\": [{\"$like\": \"_s%\"}, {\"$eq\": \"\"}]}}",
        "{\"region\": {\"$and\": [{\"$nlike\": \"a%\"}, {\"$gt\": \"\"}]}}",
        "{\"region\": {\"$ilike\": \"%U\"}, \"subject\": {\"$lte\": \"subject-4\"}}",
        "{\"region\": {\"$nilike\": \"E%\"}, \"subject\": {\"$gte\": \"subject-1\"}}",
        "{\"model\": {\"$lt\": \"2\"}}",
    };
    const struct usage_filter *filter;
    struct error error = {0};
    const char *text = texts[reading_random(reading, sizeof texts / sizeof texts[0])];
    enum status status = usage_filter_parse(bytes_text(text), arena, &filter, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    return filter;
}

static size_t
check_all(struct reading *reading, struct reader *reader, int rounds)
{
    static const char *const by[] = {"region", "model"};
    size_t rows = 0;
    for (int round = 0; round < rounds; round++) {
        for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
            scoped(arena_done) struct arena arena = {0};
            struct bytes subjects[4];
            struct usage_query query = {
                .meter = aggregation_name((enum aggregation)kind),
                .is_merged = reading_random(reading, 2) == 0,
                .from_ns = READING_NOW_NS - (int64_t)reading_random(reading, 20) * DAY_NS,
                .to_ns = READING_NOW_NS + (int64_t)reading_random(reading, 2) * DAY_NS,
                .window = (enum usage_window)(reading_random(reading, 3) * 2),
                .group_by = by,
                .group_by_count = (uint32_t)reading_random(reading, 3),
            };
            if (query.from_ns == query.to_ns)
                query.from_ns -= HOUR_NS + (int64_t)reading_random(reading, 2);
            subjects_choose(reading, &query, subjects);
            query.filter = filter_choose(reading, &arena);
            rows += oracle_check(reading, reader, &query);
        }
    }
    return rows;
}

Test(usage_subject, lists_merging_and_filters_equal_the_dump)
{
    struct reading reading;
    reading_begin(&reading, 3);
    reading.seed = 21;
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 60);  // before the meters: from the log
    oracle_put_meters(&reading);
    reading_put_random(&reading, 150);
    struct reader *reader = open_reader(&reading);
    cr_assert_gt(check_all(&reading, reader, 8), 300);
    reading_write_end(&reading);
    cr_assert_gt(check_all(&reading, reader, 8), 300);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 100);
    cr_assert_gt(check_all(&reading, reader, 8), 300);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

static void
put_raw(
    struct reading *reading,
    const char *subject,
    int64_t time_ns,
    const struct buffer *properties,
    uint32_t properties_count)
{
    char id[24];
    snprintf(id, sizeof id, "e%d", (int)reading->serial++);
    struct event event = {
        .subject = bytes_text(subject),
        .type = bytes_text("llm"),
        .id = bytes_text(id),
        .time_ns = time_ns,
        .value = DECIMAL_ONE,
        .properties_runs = 1,
        .properties_count = properties_count,
    };
    event.properties[0] = buffer_view(properties);
    reading_put(reading, &event);
    reading_wait(reading);
}

static const char *
answer(struct reader *reader, const struct usage_query *query, struct arena *arena)
{
    struct usage_result result;
    struct error error = {0};
    char text[WIDE_TEXT_MAX];
    enum status status = usage_query(reader, query, arena, &result, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    cr_assert_leq(result.count, 1);
    if (result.count == 0)
        return "no row";
    (void)usage_row_print(&result.rows[0], text);
    return arena_text(arena, text);
}

// The earlier of two events with the same time in different shards arrived first, or has the lesser
// subject.
Test(usage_subject, latest_across_subjects_goes_by_time_then_arrival_then_subject)
{
    static const struct {
        const char *subject;
        int64_t time_ns;
        const char *latest;  // over all subjects after this event
    } steps[] = {
        {"b", 10, "0"},
        {"a", 10, "0"}, // the same arrival: b is the greater subject
        {"c", 10, "2"},
        {"a", 11, "3"},
        {"z", 9,  "3"},
        {"a", 11, "5"}, // the later in its log
    };
    struct reading reading;
    reading_begin(&reading, 3);
    reading_write_begin(&reading, HOUR_NS);
    oracle_put_meters(&reading);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer properties = {0};
        const struct usage_query query = {
            .meter = "latest", .is_merged = true, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
        pack_text(&properties, "tokens");
        pack_int(&properties, (int64_t)i);
        put_raw(
            &reading,
            steps[i].subject,
            READING_NOW_NS - HOUR_NS + steps[i].time_ns,
            &properties,
            1);
        cr_assert_str_eq(answer(reader, &query, &arena), steps[i].latest, "step %zu", i);
    }
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// Three events with value 123, "0.4567890123456789" and null, and name 1, "a" and null.
static void
put_reference(struct reading *reading, int64_t time_ns)
{
    for (int i = 0; i < 3; i++) {
        scoped(buffer_done) struct buffer properties = {0};
        pack_text(&properties, "value");
        if (i == 0)
            pack_int(&properties, 123);
        else if (i == 1)
            pack_text(&properties, "0.4567890123456789");
        else
            pack_nil(&properties);
        pack_text(&properties, "name");
        if (i == 0)
            pack_int(&properties, 1);
        else if (i == 1)
            pack_text(&properties, "a");
        else
            pack_nil(&properties);
        put_raw(reading, "customer", time_ns + i * MINUTE_NS, &properties, 2);
    }
}

static void
put_reference_meter(struct reading *reading, enum aggregation aggregation, const char *property)
{
    struct error error = {0};
    const struct meter meter = {
        .key = aggregation_name(aggregation),
        .event_type = "llm",
        .aggregation = aggregation,
        .value_property = property,
    };
    enum status status = registry_put(reading->registry, &meter, READING_NOW_NS, NULL, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
}

// reference/metering.md 4.1. OpenMeter's sum has a double's digits; ours are all.
Test(usage_subject, the_reference_values_of_openmeter)
{
    static const struct {
        enum aggregation aggregation;
        const char *property;
        const char *value;
        const char *next_hour;
    } rows[] = {
        {AGGREGATION_SUM,          "$.value", "123.4567890123456789",   "no row"},
        {AGGREGATION_COUNT,        NULL,      "3",                      "0"     },
        {AGGREGATION_AVG,          "$.value", "61.72839450617283945",   "no row"},
        {AGGREGATION_MIN,          "$.value", "0.4567890123456789",     "no row"},
        {AGGREGATION_MAX,          "$.value", "123",                    "no row"},
        {AGGREGATION_UNIQUE_COUNT, "$.name",  "2",                      "0"     },
        {AGGREGATION_LATEST,       "$.value", "0.4567890123456789",     "no row"},
        {AGGREGATION_WEIGHTED_SUM, "$.value", "123.449175862139917585", "no row"},
    };
    const int64_t hour_ns = READING_NOW_NS - 5 * HOUR_NS;
    struct reading reading;
    struct error error = {0};
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        put_reference_meter(&reading, rows[i].aggregation, rows[i].property);
    cr_assert_eq(ledger_poll_meters(reading.ledger, &error), STATUS_OK);
    put_reference(&reading, hour_ns);
    struct reader *reader = open_reader(&reading);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            scoped(arena_done) struct arena arena = {0};
            struct usage_query query = {
                .meter = aggregation_name(rows[i].aggregation),
                .is_merged = true,
                .from_ns = hour_ns,
                .to_ns = hour_ns + HOUR_NS,
            };
            const char *value = answer(reader, &query, &arena);
            cr_assert_str_eq(value, rows[i].value, "%s: %s", query.meter, value);
            query.window = USAGE_WINDOW_HOUR;
            cr_assert_str_eq(answer(reader, &query, &arena), value);
            query.from_ns = query.to_ns;
            query.to_ns += HOUR_NS;
            cr_assert_str_eq(answer(reader, &query, &arena), "no row", "%s by hour", query.meter);
            query.window = USAGE_WINDOW_NONE;
            cr_assert_str_eq(
                answer(reader, &query, &arena), rows[i].next_hour, "%s, next hour", query.meter);
            query.is_merged = false;
            cr_assert_str_eq(answer(reader, &query, &arena), "no row", "%s, apart", query.meter);
        }
        if (round == 0)
            reading_write_end(&reading);
    }
    reader_close(reader);
    reading_end(&reading);
}

// A value that is missing is the empty text and counts; null does not; 1 and "1" are the same, 1
// and "1.0" are not.
Test(usage_subject, distinct_values_are_compared_as_text)
{
    static const char *const wanted[] = {"0", "1", "2", "2", "3", "3"};
    struct reading reading;
    struct error error = {0};
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    put_reference_meter(&reading, AGGREGATION_UNIQUE_COUNT, "$.name");
    cr_assert_eq(ledger_poll_meters(reading.ledger, &error), STATUS_OK);
    struct reader *reader = open_reader(&reading);
    for (int i = 0; i < 6; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer properties = {0};
        const struct usage_query query = {
            .meter = "unique_count", .is_merged = true, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
        pack_text(&properties, i == 1 ? "other" : "name");
        if (i == 0)
            pack_nil(&properties);
        else if (i < 3)
            pack_int(&properties, 1);
        else if (i == 3)
            pack_text(&properties, "1");
        else
            pack_text(&properties, i == 4 ? "1.0" : "");
        // A subject each: their sets are united.
        char subject[] = {(char)('a' + i), '\0'};
        put_raw(&reading, subject, READING_NOW_NS - HOUR_NS, &properties, 1);
        cr_assert_str_eq(answer(reader, &query, &arena), wanted[i], "event %d", i);
    }
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// reference/metering.md 4.7: amounts 60, 75, 90, 55 and 100 with that many seconds left of 31 days.
Test(usage_subject, the_reference_values_of_a_weighted_sum)
{
    static const struct {
        int64_t amount;
        int64_t left_s;
        const char *sum;
    } steps[] = {
        {60,  1036800, "23.22580645161290322581" },
        {75,  950400,  "49.83870967741935483871" },
        {90,  864000,  "78.87096774193548387097" },
        {55,  777600,  "94.83870967741935483871" },
        {100, 518400,  "114.19354838709677419355"},
    };
    const int64_t from_ns = READING_NOW_NS - 31 * DAY_NS;
    struct reading reading;
    struct error error = {0};
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    put_reference_meter(&reading, AGGREGATION_WEIGHTED_SUM, "$.value");
    cr_assert_eq(ledger_poll_meters(reading.ledger, &error), STATUS_OK);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer properties = {0};
        const struct usage_query query = {
            .meter = "weighted_sum",
            .is_merged = true,
            .from_ns = from_ns,
            .to_ns = READING_NOW_NS,
        };
        pack_text(&properties, "value");
        pack_int(&properties, steps[i].amount);
        char subject[] = {(char)('a' + i), '\0'};
        put_raw(&reading, subject, READING_NOW_NS - steps[i].left_s * SECOND_NS, &properties, 1);
        cr_assert_str_eq(answer(reader, &query, &arena), steps[i].sum, "step %zu", i);
    }
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}
