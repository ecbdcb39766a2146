#include "ledger/usage.h"

#include "base/clock.h"
#include "ledger/stat.h"
#include "tests/ledger/oracle.h"

#include <criterion/criterion.h>

#include <stdio.h>

// Every way of asking, against an oracle that adds up the dump.

static const char *const by_model[] = {"model"};
static const char *const by_both[] = {"region", "model"};

static const struct usage_pair pairs[] = {
    {"region", {(const uint8_t *)"eu", 2}},
    {"region", {(const uint8_t *)"", 0}  },
    {"model",  {(const uint8_t *)"1", 1} },
};

static struct reader *
open_reader(struct reading *reading)
{
    struct reader *reader;
    struct error error = {0};
    cr_assert_eq(reader_open(reading->dir, &reader, &error), STATUS_OK, "%s", error.text);
    return reader;
}

struct range {
    int64_t from_ns, to_ns;
};

static size_t
check_all(struct reading *reading, struct reader *reader)
{
    const int64_t noon_ns = READING_NOW_NS - 10 * DAY_NS + 12 * HOUR_NS;
    const struct range ranges[] = {
        {INT64_MIN,   INT64_MAX                       },
        {noon_ns,     INT64_MAX                       },
        {INT64_MIN,   noon_ns                         },
        {noon_ns,     noon_ns + DAY_NS                },
        {noon_ns + 1, noon_ns + DAY_NS + 7 * SECOND_NS}, // not on quarter hours
        {noon_ns,     noon_ns                         },
    };
    static const char *const meters[] = {"calls", "tokens", "jobs"};
    size_t rows = 0;
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        for (int window = USAGE_WINDOW_NONE; window <= USAGE_WINDOW_MONTH; window++) {
            struct usage_query query = {
                .meter = meters[reading_random(reading, 3)],
                .from_ns = ranges[i].from_ns,
                .to_ns = ranges[i].to_ns,
                .window = (enum usage_window)window,
            };
            char subject[32];
            snprintf(subject, sizeof subject, "subject-%u", (unsigned)reading_random(reading, 8));
            if (reading_random(reading, 2) == 0)
                query.subject = bytes_text(subject);
            rows += oracle_check(reading, reader, &query);
            query.meter = meters[reading_random(reading, 2)];
            query.group_by = reading_random(reading, 2) ? by_model : by_both;
            query.group_by_count = query.group_by == by_model ? 1 : 2;
            rows += oracle_check(reading, reader, &query);
            scoped(arena_done) struct arena arena = {0};
            query.filter =
                usage_filter_of_pairs(pairs, 1 + (uint32_t)reading_random(reading, 3), &arena);
            rows += oracle_check(reading, reader, &query);
        }
    }
    return rows;
}

static void
put_meters(struct reading *reading)
{
    reading_put_meter(reading, "calls");
    reading_put_meter(reading, "tokens");
    reading_put_meter(reading, "jobs");
}

Test(usage, equals_the_dump_while_everything_is_in_memory)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    put_meters(&reading);
    reading_put_random(&reading, 300);
    struct reader *reader = open_reader(&reading);
    cr_assert_gt(check_all(&reading, reader), 500);
    reading_put_random(&reading, 50);
    cr_assert_gt(check_all(&reading, reader), 500);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(usage, equals_the_dump_after_a_flush_and_without_a_writer)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading.seed = 2;
    reading_write_begin(&reading, MINUTE_NS / 60 / 100);
    put_meters(&reading);
    reading_put_random(&reading, 200);
    reading_wait_flushed(&reading);
    struct reader *reader = open_reader(&reading);
    cr_assert_gt(check_all(&reading, reader), 500);
    reading_write_end(&reading);
    cr_assert_gt(check_all(&reading, reader), 500);
    reader_close(reader);
    reading_end(&reading);
}

Test(usage, equals_the_dump_with_some_cells_on_disk_and_some_in_memory)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading.seed = 3;
    reading_write_begin(&reading, HOUR_NS);
    put_meters(&reading);
    reading_put_random(&reading, 200);
    reading_write_end(&reading);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 200);
    struct reader *reader = open_reader(&reading);
    cr_assert_gt(check_all(&reading, reader), 500);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(usage, a_meter_made_in_the_middle_counts_what_was_before_it)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading.seed = 4;
    reading_write_begin(&reading, HOUR_NS);
    reading_put_meter(&reading, "jobs");
    reading_put_random(&reading, 150);
    put_meters(&reading);
    reading_put_random(&reading, 100);
    struct reader *reader = open_reader(&reading);
    cr_assert_gt(check_all(&reading, reader), 500);
    reading_write_end(&reading);
    cr_assert_gt(check_all(&reading, reader), 500);
    // And once more with its cells begun on disk.
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 50);
    cr_assert_gt(check_all(&reading, reader), 500);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(usage, a_meter_that_no_writer_has_seen_is_answered_from_the_log)
{
    struct reading reading;
    reading_begin(&reading, 1);
    reading.seed = 5;
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 100);
    reading_put_meter(&reading, "calls");
    reading_put_meter(&reading, "tokens");
    reading_write_end(&reading);
    struct reader *reader = open_reader(&reading);
    struct error error = {0};
    const struct meter meter = {.key = "jobs", .event_type = "job", .aggregation = AGGREGATION_SUM};
    cr_assert_eq(
        registry_put(reader_registry(reader), &meter, READING_NOW_NS, NULL, &error), STATUS_OK);
    cr_assert_gt(check_all(&reading, reader), 500);
    reader_close(reader);
    reading_end(&reading);
}

// What the cells can answer is not looked up in the log: on disk, in the writer's memory, or both.
Test(usage, reads_no_block_when_the_cells_have_the_answer)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 20);  // before the meter: these blocks are the log's to answer
    put_meters(&reading);
    reading_put_random(&reading, 100);
    struct reader *reader = open_reader(&reading);
    scoped(arena_done) struct arena arena = {0};
    struct usage_result result;
    struct error error = {0};
    const struct usage_query query = {.meter = "calls", .from_ns = 0, .to_ns = READING_NOW_NS};
    struct usage_query unaligned = query;
    unaligned.from_ns = 1;
    // Until the meter has them, which is soon.
    const int64_t deadline_ns = clock_monotonic_ns() + 30 * SECOND_NS;
    do {
        cr_assert_eq(usage_query(reader, &query, &arena, &result, &error), STATUS_OK);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    } while (result.blocks_read > 0);
    cr_assert_eq(usage_query(reader, &unaligned, &arena, &result, &error), STATUS_OK);
    cr_assert_gt(result.blocks_read, 0, "cells end on quarter hours");
    reading_write_end(&reading);
    cr_assert_eq(usage_query(reader, &query, &arena, &result, &error), STATUS_OK);
    cr_assert_eq(result.blocks_read, 0, "flushed, without a writer");
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 100);
    cr_assert_eq(usage_query(reader, &query, &arena, &result, &error), STATUS_OK);
    cr_assert_eq(result.blocks_read, 0, "half on disk, half in memory");
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// The writer flushes after a millisecond of rest, so that flushes come at every moment of a
// question.
Test(usage, an_acked_event_is_in_the_next_answer_while_cells_are_flushed)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading_write_begin(&reading, SECOND_NS / 1000);
    reading_put_meter(&reading, "jobs");
    struct reader *reader = open_reader(&reading);
    for (uint32_t i = 1; i <= 400; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct usage_result result;
        struct error error = {0};
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        const struct event event = {
            .subject = bytes_text(i % 2 ? "odd" : "even"),
            .type = bytes_text("job"),
            .id = bytes_text(id),
            .time_ns = READING_NOW_NS - HOUR_NS,
            .value = DECIMAL_ONE,
        };
        reading_put(&reading, &event);
        reading_wait(&reading);
        const struct usage_query query = {.meter = "jobs", .from_ns = 0, .to_ns = READING_NOW_NS};
        enum status status = usage_query(reader, &query, &arena, &result, &error);
        cr_assert_eq(status, STATUS_OK, "%s", error.text);
        uint64_t count = 0;
        for (size_t k = 0; k < result.count; k++)
            count += result.rows[k].count;
        cr_assert_eq(count, i);
    }
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

struct totals {
    uint64_t count;
    struct decimal sum;
    size_t subjects;
    size_t stop_after;
};

static bool
add_total(void *context, struct bytes subject, const struct usage_row *total)
{
    struct totals *totals = context;
    cr_assert(bytes_equal(subject, total->subject));
    totals->count += total->count;
    cr_assert(decimal_add(&totals->sum, total->value));
    totals->subjects++;
    return totals->subjects != totals->stop_after;
}

Test(usage, totals_are_one_row_for_each_subject)
{
    struct reading reading;
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    put_meters(&reading);
    reading_put_random(&reading, 200);
    struct reader *reader = open_reader(&reading);
    scoped(arena_done) struct arena arena = {0};
    struct totals totals = {0};
    struct totals wanted = {0};
    struct oracle_row *rows;
    struct error error = {0};
    const struct usage_query query = {
        .meter = "tokens", .from_ns = READING_NOW_NS - 9 * DAY_NS, .to_ns = READING_NOW_NS};
    wanted.subjects = oracle_rows(&reading, &query, &arena, &rows);
    for (size_t i = 0; i < wanted.subjects; i++) {
        struct decimal value;
        bool is_rounded = false;
        wanted.count += rows[i].count;
        cr_assert_eq(decimal_parse(bytes_text(rows[i].value), &value, &is_rounded), STATUS_OK);
        cr_assert(decimal_add(&wanted.sum, value));
    }
    cr_assert_eq(
        usage_totals(reader, "tokens", query.from_ns, query.to_ns, add_total, &totals, &error),
        STATUS_OK);
    cr_assert_eq(totals.subjects, wanted.subjects);
    cr_assert_eq(totals.count, wanted.count);
    cr_assert_eq(decimal_compare(totals.sum, wanted.sum), 0);
    struct totals few = {.stop_after = 2};
    cr_assert_eq(
        usage_totals(reader, "tokens", INT64_MIN, INT64_MAX, add_total, &few, &error), STATUS_OK);
    cr_assert_eq(few.subjects, 2);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

struct refusal {
    struct usage_query query;
    enum status status;
    const char *text;
};

Test(usage, refuses_what_the_meter_does_not_have)
{
    static const char *const unknown[] = {"colour"};
    static const char *const twice[] = {"model", "model"};
    const struct bytes nothing = {NULL, 0};
    const struct usage_filter unknown_filter = {
        .kind = USAGE_EQ, .dimension = "colour", .values = &nothing, .values_count = 1};
    // clang-format off
    const struct refusal refusals[] = {
        {{.meter = "nothing"}, STATUS_NOT_FOUND, "nothing"},
        {{.meter = "calls", .from_ns = 2, .to_ns = 1}, STATUS_INVALID, "ends before it begins"},
        {{.meter = "calls", .group_by = unknown, .group_by_count = 1},
         STATUS_INVALID, "no dimension colour; it has model, region"},
        {{.meter = "jobs", .group_by = unknown, .group_by_count = 1},
         STATUS_INVALID, "it has none"},
        {{.meter = "calls", .group_by = twice, .group_by_count = 2}, STATUS_INVALID, "twice"},
        {{.meter = "calls", .filter = &unknown_filter}, STATUS_INVALID, "no dimension colour"},
        {{.meter = "calls", .subjects = &nothing, .subjects_count = 1},
         STATUS_INVALID, "1 to 255 bytes"},
        {{.meter = "calls", .subject = {(const uint8_t *)"a", 1}, .subjects = &nothing,
          .subjects_count = 1}, STATUS_INVALID, "not both"},
        {{.meter = "calls", .zone = "Europe/Atlantis"}, STATUS_INVALID, "Europe/Atlantis"},
    };
    // clang-format on
    struct reading reading;
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    put_meters(&reading);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct usage_result result;
        struct error error = {0};
        enum status status = usage_query(reader, &refusals[i].query, &arena, &result, &error);
        cr_assert_eq(status, refusals[i].status, "row %zu: %s", i, error.text);
        cr_assert_not_null(strstr(error.text, refusals[i].text), "row %zu: %s", i, error.text);
    }
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// 20 events of almost 10^19 are more than an int128 of 10^-18 can hold.
Test(usage, a_sum_that_left_its_range_is_refused_by_name)
{
    struct reading reading;
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    put_meters(&reading);
    for (int i = 0; i < 20; i++) {
        char id[16];
        bool is_rounded = false;
        snprintf(id, sizeof id, "big-%d", i);
        struct event event = {
            .subject = bytes_text("giant"),
            .type = bytes_text("job"),
            .id = bytes_text(id),
            .time_ns = READING_NOW_NS - DAY_NS,
        };
        cr_assert_eq(
            decimal_parse(bytes_text("9999999999999999999"), &event.value, &is_rounded), STATUS_OK);
        reading_put(&reading, &event);
    }
    reading_wait(&reading);
    struct reader *reader = open_reader(&reading);
    for (int i = 0; i < 2; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct usage_result result;
        struct error error = {0};
        // On quarter hours from the cells, then not on them from the log.
        const struct usage_query query = {.meter = "jobs", .from_ns = i, .to_ns = INT64_MAX};
        cr_assert_eq(usage_query(reader, &query, &arena, &result, &error), STATUS_OVERFLOW);
        cr_assert_not_null(strstr(error.text, "jobs"));
        cr_assert_not_null(strstr(error.text, "giant"));
        cr_assert_not_null(strstr(error.text, "2026-11-09T00:00:00Z"), "%s", error.text);
    }
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(usage, windows_have_names)
{
    static const char *const names[] = {"none", "minute", "quarter-hour", "hour", "day", "month"};
    enum usage_window window;
    for (int i = 0; i < 6; i++) {
        cr_assert(usage_window_parse(names[i], &window));
        cr_assert_eq((int)window, i);
    }
    cr_assert_not(usage_window_parse("week", &window));
    cr_assert_not(usage_window_parse("", &window));
}

Test(usage, no_ledger_is_not_found)
{
    struct reader *reader;
    struct error error = {0};
    cr_assert_eq(reader_open("/nonexistent/ledger", &reader, &error), STATUS_NOT_FOUND);
}
