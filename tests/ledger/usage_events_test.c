// The events one by one add up to the usage that the ledger answers, also after corrections.

#include "ledger/usage_events.h"

#include "base/clock.h"
#include "ledger/control.h"
#include "ledger/events.h"
#include "tests/ledger/reading.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

enum { SUMS_MAX = 64, TEXT_MAX = 64 };

struct sum {
    char subject[TEXT_MAX], dimension[TEXT_MAX];
    struct decimal value;
    uint64_t count;
};

struct sums {
    struct sum items[SUMS_MAX];
    size_t count;
    uint64_t events, stop_at;
    struct decimal numbers;
    uint64_t without_number;
};

static struct sum *
sum_of(struct sums *sums, struct bytes subject, struct bytes dimension)
{
    char name[TEXT_MAX], value[TEXT_MAX];
    bytes_to_text(subject, name, sizeof name);
    bytes_to_text(dimension, value, sizeof value);
    for (size_t i = 0; i < sums->count; i++)
        if (strcmp(sums->items[i].subject, name) == 0 &&
            strcmp(sums->items[i].dimension, value) == 0)
            return &sums->items[i];
    cr_assert_lt(sums->count, SUMS_MAX);
    struct sum *sum = &sums->items[sums->count++];
    memset(sum, 0, sizeof *sum);
    snprintf(sum->subject, sizeof sum->subject, "%s", name);
    snprintf(sum->dimension, sizeof sum->dimension, "%s", value);
    return sum;
}

static bool
event_add(void *context, const struct usage_event *event)
{
    struct sums *sums = context;
    struct sum *sum = sum_of(sums, event->subject, event->dimension);
    cr_assert(decimal_add(&sum->value, event->value));
    sum->count++;
    if (event->has_number)
        cr_assert(decimal_add(&sums->numbers, event->number));
    sums->without_number += !event->has_number;
    return ++sums->events != sums->stop_at;
}

static struct sums
sums_of(struct reader *reader, const struct usage_events_query *query)
{
    struct sums sums = {0};
    struct error error = {0};
    cr_assert_eq(
        usage_events(reader, query, event_add, &sums, &error), STATUS_OK, "%s", error.text);
    return sums;
}

// Of each subject and region: as much and as many.
static void
check(struct reader *reader, const struct usage_events_query *events)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_query query = {
        .meter = events->meter,
        .subjects = events->subjects,
        .subjects_count = events->subjects_count,
        .from_ns = events->from_ns,
        .to_ns = events->to_ns,
        .group_by = &events->dimension,
        .group_by_count = events->dimension != NULL,
    };
    struct usage_result result;
    struct error error = {0};
    struct sums sums = sums_of(reader, events);
    cr_assert_eq(usage_query(reader, &query, &arena, &result, &error), STATUS_OK, "%s", error.text);
    uint64_t count = 0;
    for (size_t i = 0; i < result.count; i++) {
        const struct usage_row *row = &result.rows[i];
        struct bytes none = {0};
        struct sum *sum =
            sum_of(&sums, row->subject, events->dimension != NULL ? row->dimensions[0] : none);
        cr_assert(row->value.units == sum->value.units, "%s of %s", events->meter, sum->subject);
        cr_assert_eq(row->count, sum->count, "%s of %s", events->meter, sum->subject);
        count += row->count;
    }
    cr_assert_eq(count, sums.events);
    cr_assert(count > 0 || events->subjects_count > 0);
}

static void
check_all(struct reader *reader)
{
    static const char *const meters[] = {"calls", "tokens", "jobs"};
    const struct bytes some[] = {
        bytes_text("subject-1"), bytes_text("subject-4"), bytes_text("nobody")};
    for (size_t i = 0; i < 3; i++) {
        struct usage_events_query query = {
            .meter = meters[i],
            .from_ns = INT64_MIN,
            .to_ns = INT64_MAX,
            .dimension = i < 2 ? "region" : NULL,
        };
        check(reader, &query);
        query.from_ns = READING_NOW_NS - 10 * DAY_NS + 12345;
        query.to_ns = READING_NOW_NS - 3 * DAY_NS - 54321;
        check(reader, &query);
        query.subjects = some;
        query.subjects_count = 3;
        check(reader, &query);
    }
}

// Cancels or amends a third of what is there.
static void
correct_some(struct reading *reading, struct reader *reader)
{
    scoped(arena_done) struct arena arena = {0};
    struct events_query query = EVENTS_ALL;
    struct events_result result;
    struct error error = {0};
    query.limit = EVENTS_LIMIT_MAX;
    cr_assert_eq(events_list(reader, &query, &arena, &result, &error), STATUS_OK);
    for (size_t i = 0; i < result.count; i++) {
        const struct events_row *row = &result.rows[i];
        uint64_t block = 0;
        if (row->status == EVENTS_CANCELLED || reading_random(reading, 3) > 0)
            continue;
        bool is_amend = reading_random(reading, 2) == 0;
        const struct correction correction = {
            .kind = is_amend ? ENTRY_AMEND : ENTRY_CANCEL,
            .subject = row->entry.subject,
            .id = row->entry.id,
            .who = bytes_text("ann"),
            .why = bytes_text("a test"),
            .has_value = is_amend,
            .value = decimal_from_int((int64_t)reading_random(reading, 100)),
        };
        cr_assert_eq(
            ledger_correct(reading->ledger, &correction, &block, &error),
            STATUS_OK,
            "%s",
            error.text);
    }
}

static struct reader *
open_reader(struct reading *reading)
{
    struct reader *reader;
    struct error error = {0};
    cr_assert_eq(reader_open(reading->dir, &reader, &error), STATUS_OK, "%s", error.text);
    return reader;
}

Test(usage_events, add_up_to_the_usage)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct reading reading;
        reading_begin(&reading, 3);
        reading.seed = seed;
        reading_write_begin(&reading, seed % 2 == 0 ? HOUR_NS : SECOND_NS / 1000);
        reading_put_meter(&reading, "calls");
        reading_put_meter(&reading, "tokens");
        reading_put_meter(&reading, "jobs");
        reading_put_random(&reading, 300);
        struct reader *reader = open_reader(&reading);
        check_all(reader);
        for (int round = 0; round < 2; round++) {
            correct_some(&reading, reader);
            check_all(reader);
        }
        reading_write_end(&reading);
        check_all(reader);
        reader_close(reader);
        reading_end(&reading);
    }
}

// The number beside is that of a meter which sums it; what the meter does not count has none.
Test(usage_events, bring_another_number)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading.seed = 7;
    reading_write_begin(&reading, HOUR_NS);
    reading_put_meter(&reading, "calls");
    reading_put_meter(&reading, "tokens");
    reading_put_random(&reading, 200);
    struct reader *reader = open_reader(&reading);
    struct usage_events_query query = {
        .meter = "calls", .from_ns = INT64_MIN, .to_ns = INT64_MAX, .number_at = "$.tokens"};
    struct sums calls = sums_of(reader, &query);
    query.meter = "tokens";
    query.number_at = NULL;
    struct sums tokens = sums_of(reader, &query);
    struct decimal sum = DECIMAL_ZERO;
    for (size_t i = 0; i < tokens.count; i++)
        cr_assert(decimal_add(&sum, tokens.items[i].value));
    cr_assert(calls.numbers.units == sum.units);
    cr_assert_gt(calls.without_number, 0);
    cr_assert_eq(calls.events - calls.without_number, tokens.events);
    // Who has enough stops.
    struct sums few = {.stop_at = 3};
    struct error error = {0};
    cr_assert_eq(usage_events(reader, &query, event_add, &few, &error), STATUS_OK);
    cr_assert_eq(few.events, 3);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(usage_events, refuses_what_has_no_usage_of_its_own)
{
    struct reading reading;
    struct error error = {0};
    struct sums sums = {0};
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    const struct meter meter = {
        .key = "most",
        .event_type = "llm",
        .aggregation = AGGREGATION_MAX,
        .value_property = "$.t"};
    cr_assert_eq(registry_put(reading.registry, &meter, READING_NOW_NS, NULL, &error), STATUS_OK);
    reading_put_meter(&reading, "tokens");
    struct reader *reader = open_reader(&reading);
    struct usage_events_query query = {.meter = "most", .from_ns = 0, .to_ns = 1};
    cr_assert_eq(usage_events(reader, &query, event_add, &sums, &error), STATUS_INVALID);
    cr_assert_str_eq(
        error.text,
        "the meter most is neither a count nor a sum: its events have no usage of their own");
    query.meter = "nothing";
    cr_assert_eq(usage_events(reader, &query, event_add, &sums, &error), STATUS_NOT_FOUND);
    query.meter = "tokens";
    query.dimension = "shape";
    cr_assert_eq(usage_events(reader, &query, event_add, &sums, &error), STATUS_INVALID);
    query.dimension = NULL;
    query.number_at = "$.";
    cr_assert_eq(usage_events(reader, &query, event_add, &sums, &error), STATUS_INVALID);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}
