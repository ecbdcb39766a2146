#include "base/clock.h"
#include "ledger/backfill.h"
#include "ledger/usage.h"
#include "tests/ledger/oracle.h"

#include <criterion/criterion.h>

#include <stdio.h>

// Windows of zones, as a table: when they begin and end around clock changes. The instants were
// worked out by Python's zoneinfo.

struct window_case {
    const char *zone;
    const char *time;
    enum usage_window window;
    const char *from, *to;
};

// clang-format off
static const struct window_case cases[] = {
    // 23 hours, and the month around them.
    {"Europe/Berlin", "2026-03-29T00:30:00Z", USAGE_WINDOW_DAY,
     "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
    {"Europe/Berlin", "2026-03-29T00:30:00Z", USAGE_WINDOW_MONTH,
     "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
    // 25 hours; the hour that comes twice is two windows.
    {"Europe/Berlin", "2026-10-25T01:30:00Z", USAGE_WINDOW_DAY,
     "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
    {"Europe/Berlin", "2026-10-25T00:30:00Z", USAGE_WINDOW_HOUR,
     "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
    {"Europe/Berlin", "2026-10-25T01:30:00Z", USAGE_WINDOW_HOUR,
     "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
    {"Europe/Berlin", "2026-10-25T01:30:00Z", USAGE_WINDOW_MONTH,
     "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
    {"America/New_York", "2026-03-08T12:00:00Z", USAGE_WINDOW_DAY,
     "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
    {"America/New_York", "2026-11-01T05:30:00Z", USAGE_WINDOW_DAY,
     "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
    {"America/New_York", "2026-11-01T05:30:00Z", USAGE_WINDOW_MONTH,
     "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"},
    // +5:45
    {"Asia/Kathmandu", "2026-11-09T18:14:59Z", USAGE_WINDOW_DAY,
     "2026-11-08T18:15:00Z", "2026-11-09T18:15:00Z"},
    {"Asia/Kathmandu", "2026-11-09T18:15:00Z", USAGE_WINDOW_DAY,
     "2026-11-09T18:15:00Z", "2026-11-10T18:15:00Z"},
    {"Asia/Kathmandu", "2026-11-09T18:14:59Z", USAGE_WINDOW_HOUR,
     "2026-11-09T17:15:00Z", "2026-11-09T18:15:00Z"},
    {"Asia/Kathmandu", "2026-11-09T18:14:59Z", USAGE_WINDOW_MONTH,
     "2026-10-31T18:15:00Z", "2026-11-30T18:15:00Z"},
    // A change of half an hour.
    {"Australia/Lord_Howe", "2026-10-03T15:00:00Z", USAGE_WINDOW_DAY,
     "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"},
    {"Australia/Lord_Howe", "2026-04-04T14:50:00Z", USAGE_WINDOW_DAY,
     "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"},
    {"America/St_Johns", "2026-11-01T03:00:00Z", USAGE_WINDOW_DAY,
     "2026-11-01T02:30:00Z", "2026-11-02T03:30:00Z"},
    // The change comes at midnight, which is left out.
    {"America/Havana", "2026-03-08T05:00:00Z", USAGE_WINDOW_DAY,
     "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
    {"America/Havana", "2026-03-08T04:59:59Z", USAGE_WINDOW_DAY,
     "2026-03-07T05:00:00Z", "2026-03-08T05:00:00Z"},
    {"Asia/Tehran", "2022-03-21T20:00:00Z", USAGE_WINDOW_MONTH,
     "2022-02-28T20:30:00Z", "2022-03-31T19:30:00Z"},
    // 30 December 2011 was left out.
    {"Pacific/Apia", "2011-12-30T09:59:59Z", USAGE_WINDOW_DAY,
     "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
    {"Pacific/Apia", "2011-12-30T10:00:00Z", USAGE_WINDOW_DAY,
     "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
    {"Pacific/Apia", "2011-12-30T10:00:00Z", USAGE_WINDOW_MONTH,
     "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"},
    // A month that begins on another UTC day.
    {"Pacific/Kiritimati", "2026-11-09T10:00:00Z", USAGE_WINDOW_MONTH,
     "2026-10-31T10:00:00Z", "2026-11-30T10:00:00Z"},
    // Minutes and quarter hours are those of UTC.
    {"Asia/Kathmandu", "2026-11-09T18:14:59Z", USAGE_WINDOW_QUARTER_HOUR,
     "2026-11-09T18:00:00Z", "2026-11-09T18:15:00Z"},
    {"Asia/Kathmandu", "2026-11-09T18:14:59Z", USAGE_WINDOW_MINUTE,
     "2026-11-09T18:14:00Z", "2026-11-09T18:15:00Z"},
    {NULL, "2026-11-09T18:14:59.999999999Z", USAGE_WINDOW_MINUTE,
     "2026-11-09T18:14:00Z", "2026-11-09T18:15:00Z"},
    {"UTC", "2026-11-09T18:14:59Z", USAGE_WINDOW_DAY,
     "2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z"},
    // Off the quarter hours: -0:44:30.
    {"Africa/Monrovia", "1971-06-01T00:44:29Z", USAGE_WINDOW_DAY,
     "1971-05-31T00:44:30Z", "1971-06-01T00:44:30Z"},
    {"Africa/Monrovia", "1971-06-01T00:44:30Z", USAGE_WINDOW_DAY,
     "1971-06-01T00:44:30Z", "1971-06-02T00:44:30Z"},
    {"Africa/Monrovia", "1971-06-01T00:44:30Z", USAGE_WINDOW_MONTH,
     "1971-06-01T00:44:30Z", "1971-07-01T00:44:30Z"},
};
// clang-format on
enum { CASES_COUNT = sizeof cases / sizeof cases[0] };

static int64_t
time_of(const char *text)
{
    int64_t time_ns;
    cr_assert_eq(clock_parse(bytes_text(text), &time_ns), STATUS_OK);
    return time_ns;
}

static struct reader *
open_reader(struct reading *reading)
{
    struct reader *reader;
    struct error error = {0};
    cr_assert_eq(reader_open(reading->dir, &reader, &error), STATUS_OK, "%s", error.text);
    return reader;
}

static void
put(struct reading *reading, const char *subject, int64_t time_ns)
{
    char id[24];
    snprintf(id, sizeof id, "e%d", (int)reading->serial++);
    const struct event event = {
        .subject = bytes_text(subject),
        .type = bytes_text("job"),
        .id = bytes_text(id),
        .time_ns = time_ns,
        .value = DECIMAL_ONE,
        .batch = bytes_text("old"),  // beyond the clock policy
    };
    reading_put(reading, &event);
}

// Days of some zones are made of quarter hours.
static void
keep_quarter_hours(const struct reading *reading)
{
    struct ledger_conf conf;
    struct error error = {0};
    cr_assert_eq(ledger_conf_read(reading->dir, &conf, &error), STATUS_OK, "%s", error.text);
    conf.terms.keep_quarter_hours_s = 0;
    cr_assert_eq(ledger_conf_write(reading->dir, &conf, &error), STATUS_OK, "%s", error.text);
}

// With the batch that put names open.
static void
begin(struct reading *reading)
{
    struct error error = {0};
    uint64_t count = 0;
    const struct backfill open = {
        .act = BACKFILL_OPEN, .id = bytes_text("old"), .who = bytes_text("ann")};
    reading_begin(reading, 1);
    keep_quarter_hours(reading);
    reading_write_begin(reading, HOUR_NS);
    reading_put_meter(reading, "jobs");
    cr_assert_eq(
        ledger_backfill(reading->ledger, &open, &count, &error), STATUS_OK, "%s", error.text);
}

static void
check_case(struct reader *reader, size_t index)
{
    const struct window_case *row = &cases[index];
    scoped(arena_done) struct arena arena = {0};
    struct usage_result result;
    struct error error = {0};
    char subject[16];
    snprintf(subject, sizeof subject, "s%zu", index);
    int64_t hour_ns = time_of(row->time) / HOUR_NS * HOUR_NS;
    const struct usage_query query = {
        .meter = "jobs",
        .subject = bytes_text(subject),
        .from_ns = hour_ns - 60 * DAY_NS,
        .to_ns = hour_ns + 60 * DAY_NS,
        .window = row->window,
        .zone = row->zone,
    };
    enum status status = usage_query(reader, &query, &arena, &result, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    cr_assert_eq(result.count, 1);
    char from[CLOCK_TEXT_MAX];
    char to[CLOCK_TEXT_MAX];
    clock_print(result.rows[0].from_ns, from);
    clock_print(result.rows[0].to_ns, to);
    cr_assert_str_eq(from, row->from, "row %zu: %s", index, from);
    cr_assert_str_eq(to, row->to, "row %zu: %s", index, to);
    cr_assert_eq(result.rows[0].count, 1);
    bool is_off = row->zone != NULL && strcmp(row->zone, "Africa/Monrovia") == 0;
    bool needs_log = is_off || row->window == USAGE_WINDOW_MINUTE;
    cr_assert_eq(result.blocks_read > 0, needs_log, "row %zu", index);
}

Test(usage_window, zones_have_windows_of_their_own)
{
    struct reading reading;
    begin(&reading);
    for (size_t i = 0; i < CASES_COUNT; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "s%zu", i);
        put(&reading, subject, time_of(cases[i].time));
    }
    reading_wait(&reading);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < CASES_COUNT; i++)
        check_case(reader, i);
    reading_write_end(&reading);
    for (size_t i = 0; i < CASES_COUNT; i++)
        check_case(reader, i);
    reader_close(reader);
    reading_end(&reading);
}

// An event a second on either side of every boundary, of all windows of a zone: contiguous, and
// each event in one.
Test(usage_window, days_of_a_zone_follow_each_other)
{
    static const char *const zones[] = {
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "America/St_Johns",
        "America/Havana",
        "Africa/Monrovia",
    };
    const int64_t from_ns = time_of("2026-03-01T00:00:00Z");
    struct reading reading;
    begin(&reading);
    for (int64_t hour = 0; hour < 45 * 24; hour++)
        put(&reading, "steady", from_ns + hour * HOUR_NS + 30 * MINUTE_NS);
    reading_write_end(&reading);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct usage_result result;
        struct error error = {0};
        uint64_t count = 0;
        const struct usage_query query = {
            .meter = "jobs",
            .from_ns = INT64_MIN,
            .to_ns = INT64_MAX,
            .window = USAGE_WINDOW_DAY,
            .zone = zones[i],
        };
        cr_assert_eq(usage_query(reader, &query, &arena, &result, &error), STATUS_OK);
        for (size_t k = 0; k < result.count; k++) {
            const struct usage_row *row = &result.rows[k];
            bool is_inner = k > 0 && k + 1 < result.count;
            cr_assert(k == 0 || row->from_ns == result.rows[k - 1].to_ns, "%s %zu", zones[i], k);
            cr_assert(
                !is_inner || row->count == (uint64_t)(row->to_ns - row->from_ns) / HOUR_NS ||
                (row->to_ns - row->from_ns) % HOUR_NS != 0);
            count += row->count;
        }
        cr_assert_eq(count, 45 * 24);
        cr_assert_geq(result.count, 45);
    }
    reader_close(reader);
    reading_end(&reading);
}

// All windows of some zones against the oracle, with random events of twenty days.
Test(usage_window, equal_the_dump_in_any_zone)
{
    static const char *const zones[] = {
        "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "UTC"};
    struct reading reading;
    reading_begin(&reading, 2);
    reading.seed = 11;
    reading_write_begin(&reading, HOUR_NS);
    oracle_put_meters(&reading);
    reading_put_random(&reading, 200);
    struct reader *reader = open_reader(&reading);
    size_t rows = 0;
    for (int round = 0; round < 2; round++) {
        for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
            for (int window = USAGE_WINDOW_MINUTE; window <= USAGE_WINDOW_MONTH; window++) {
                const struct usage_query query = {
                    .meter = aggregation_name((enum aggregation)kind),
                    .from_ns = READING_NOW_NS - 12 * DAY_NS +
                               (int64_t)reading_random(&reading, 5) * 15 * MINUTE_NS,
                    .to_ns = READING_NOW_NS - (int64_t)reading_random(&reading, 5) * 15 * MINUTE_NS,
                    .window = (enum usage_window)window,
                    .zone = zones[reading_random(&reading, 4)],
                    .is_merged = reading_random(&reading, 3) == 0,
                };
                rows += oracle_check(&reading, reader, &query);
            }
        }
        if (round == 0)
            reading_write_end(&reading);
    }
    cr_assert_gt(rows, 1000);
    reader_close(reader);
    reading_end(&reading);
}
