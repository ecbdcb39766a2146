#include "base/zone.h"

#include "base/clock.h"
#include "base/zone_rule.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

// The expected instants are those of Python's zoneinfo, by the definition in base/zone.h.
struct row {
    const char *zone, *time;
    int32_t offset_s;
    const char *day, *next_day, *month, *next_month;
};

static const struct row rows[] = {
    {"UTC",
     "2026-03-29T12:00:00Z", 0,
     "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z",
     "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"},
    {"Europe/Berlin",
     "2026-03-29T12:00:00Z", 7200,
     "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z",
     "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
    {"Europe/Berlin",
     "2026-10-25T00:30:00Z", 7200,
     "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z",
     "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
    {"Europe/Berlin",
     "2026-10-31T22:59:59Z", 3600,
     "2026-10-30T23:00:00Z", "2026-10-31T23:00:00Z",
     "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
    {"Europe/Berlin",
     "2026-10-31T23:00:00Z", 3600,
     "2026-10-31T23:00:00Z", "2026-11-01T23:00:00Z",
     "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"},
    {"Europe/Berlin",
     "2150-07-01T00:00:00Z", 7200,
     "2150-06-30T22:00:00Z", "2150-07-01T22:00:00Z",
     "2150-06-30T22:00:00Z", "2150-07-31T22:00:00Z"},
    {"America/New_York",
     "2026-03-08T06:59:59Z", -18000,
     "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z",
     "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"},
    {"America/New_York",
     "2026-11-01T06:00:00Z", -18000,
     "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z",
     "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"},
    {"Asia/Kathmandu",
     "2026-06-15T18:14:59Z", 20700,
     "2026-06-14T18:15:00Z", "2026-06-15T18:15:00Z",
     "2026-05-31T18:15:00Z", "2026-06-30T18:15:00Z"},
    {"Asia/Kathmandu",
     "2026-06-15T18:15:00Z", 20700,
     "2026-06-15T18:15:00Z", "2026-06-16T18:15:00Z",
     "2026-05-31T18:15:00Z", "2026-06-30T18:15:00Z"},
    {"Asia/Kathmandu",
     "1985-12-31T18:29:59Z", 19800,
     "1985-12-30T18:30:00Z", "1985-12-31T18:30:00Z",
     "1985-11-30T18:30:00Z", "1985-12-31T18:30:00Z"},
    {"America/Sao_Paulo",
     "2017-10-15T02:59:59Z", -10800,
     "2017-10-14T03:00:00Z", "2017-10-15T03:00:00Z",
     "2017-10-01T03:00:00Z", "2017-11-01T02:00:00Z"},
    {"America/Sao_Paulo",
     "2017-10-15T03:00:00Z", -7200,
     "2017-10-15T03:00:00Z", "2017-10-16T02:00:00Z",
     "2017-10-01T03:00:00Z", "2017-11-01T02:00:00Z"},
    {"America/Sao_Paulo",
     "2018-02-18T02:30:00Z", -10800,
     "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z",
     "2018-02-01T02:00:00Z", "2018-03-01T03:00:00Z"},
    {"Pacific/Apia",
     "2011-12-30T09:59:59Z", -36000,
     "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z",
     "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"},
    {"Pacific/Apia",
     "2011-12-30T10:00:00Z", 50400,
     "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z",
     "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"},
    {"Australia/Lord_Howe",
     "2026-04-04T15:15:00Z", 37800,
     "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z",
     "2026-03-31T13:00:00Z", "2026-04-30T13:30:00Z"},
    {"Australia/Lord_Howe",
     "2026-10-03T15:45:00Z", 39600,
     "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z",
     "2026-09-30T13:30:00Z", "2026-10-31T13:00:00Z"},
    {"America/Havana",
     "2026-11-01T04:30:00Z", -14400,
     "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z",
     "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"},
    {"America/Havana",
     "2026-03-08T05:00:00Z", -14400,
     "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z",
     "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"},
    {"America/St_Johns",
     "2006-10-29T02:00:30Z", -9000,
     "2006-10-28T02:30:00Z", "2006-10-29T02:30:00Z",
     "2006-10-01T02:30:00Z", "2006-11-01T03:30:00Z"},
    {"America/St_Johns",
     "2006-10-29T02:40:00Z", -12600,
     "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z",
     "2006-10-01T02:30:00Z", "2006-11-01T03:30:00Z"},
    {"Africa/Casablanca",
     "2026-02-15T02:30:00Z", 0,
     "2026-02-14T23:00:00Z", "2026-02-16T00:00:00Z",
     "2026-01-31T23:00:00Z", "2026-03-01T00:00:00Z"},
    {"Pacific/Chatham",
     "2026-04-04T14:00:00Z", 45900,
     "2026-04-04T10:15:00Z", "2026-04-05T11:15:00Z",
     "2026-03-31T10:15:00Z", "2026-04-30T11:15:00Z"},
    {"Asia/Kolkata",
     "2026-02-28T18:29:59Z", 19800,
     "2026-02-27T18:30:00Z", "2026-02-28T18:30:00Z",
     "2026-01-31T18:30:00Z", "2026-02-28T18:30:00Z"},
    {"Asia/Tokyo",
     "2026-12-31T15:00:00Z", 32400,
     "2026-12-31T15:00:00Z", "2027-01-01T15:00:00Z",
     "2026-12-31T15:00:00Z", "2027-01-31T15:00:00Z"},
    {"Antarctica/Troll",
     "2026-03-29T01:30:00Z", 7200,
     "2026-03-29T00:00:00Z", "2026-03-29T22:00:00Z",
     "2026-03-01T00:00:00Z", "2026-03-31T22:00:00Z"},
};

static int64_t
seconds(const char *text)
{
    int64_t time_ns;
    cr_assert_eq(clock_parse(bytes_text(text), &time_ns), STATUS_OK);
    return time_ns / SECOND_NS;
}

static struct zone *
open_zone(const char *name)
{
    struct zone *zone = NULL;
    struct error error;
    cr_assert_eq(zone_open(bytes_text(name), &zone, &error), STATUS_OK, "%s", error.text);
    cr_assert_str_eq(zone_name(zone), name);
    return zone;
}

static void
expect(int64_t got_s, const char *wanted, const struct row *row, const char *what)
{
    char text[CLOCK_TEXT_MAX];
    clock_print(got_s * SECOND_NS, text);
    cr_assert_str_eq(text, wanted, "%s at %s: %s is %s", row->zone, row->time, what, text);
}

Test(zone, finds_days_and_months_across_clock_changes)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        scoped(zone_close) struct zone *zone = open_zone(row->zone);
        int64_t time_s = seconds(row->time);
        cr_assert_eq(zone_offset(zone, time_s), row->offset_s, "%s at %s", row->zone, row->time);
        expect(zone_day_start(zone, time_s), row->day, row, "the day");
        expect(zone_day_next(zone, time_s), row->next_day, row, "the next day");
        expect(zone_month_start(zone, time_s), row->month, row, "the month");
        expect(zone_month_next(zone, time_s), row->next_month, row, "the next month");
    }
}

Test(zone, windows_follow_each_other_without_gap)
{
    static const char *const names[] = {
        "Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        scoped(zone_close) struct zone *zone = open_zone(names[i]);
        int64_t at_s = zone_hour_start(zone, seconds("2006-01-01T00:00:00Z"));
        while (at_s < seconds("2012-02-01T00:00:00Z")) {
            int64_t next_s = zone_hour_next(zone, at_s);
            cr_assert_gt(next_s, at_s);
            cr_assert_leq(next_s - at_s, 3600);
            cr_assert_eq(zone_hour_start(zone, at_s), at_s);
            cr_assert_eq(zone_hour_start(zone, next_s - 1), at_s);
            cr_assert_leq(zone_day_start(zone, at_s), at_s);
            cr_assert_gt(zone_day_next(zone, at_s), at_s);
            cr_assert_eq(
                zone_day_start(zone, zone_day_next(zone, at_s)), zone_day_next(zone, at_s));
            at_s = next_s;
        }
    }
}

Test(zone, repeats_an_hour_that_the_clock_repeats)
{
    scoped(zone_close) struct zone *zone = open_zone("Europe/Berlin");
    int64_t first_s = seconds("2026-10-25T00:30:00Z");  // 02:30 in summer time
    int64_t second_s = first_s + 3600;                  // 02:30 again
    cr_assert_eq(zone_hour_start(zone, first_s), seconds("2026-10-25T00:00:00Z"));
    cr_assert_eq(zone_hour_start(zone, second_s), seconds("2026-10-25T01:00:00Z"));
}

Test(zone, refuses_what_is_no_zone)
{
    static const char *const names[] = {
        "",
        "/etc/passwd",
        "../../../etc/passwd",
        "Europe/../../passwd",
        "Europe/Atlantis",
        "Europe",
        "Europe/Berlin\n",
        "zone.tab",
        "A234567890123456789012345678901234567890123456789012345678901234567890"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct zone *zone = NULL;
        struct error error;
        cr_assert_eq(
            zone_open(bytes_text(names[i]), &zone, &error), STATUS_INVALID, "%s", names[i]);
        cr_assert_null(zone);
        cr_assert_gt(strlen(error.text), 10);
    }
}

// A damaged or hostile file is refused or is some zone; it never leads out of its bytes.
Test(zone, reads_damaged_files_without_harm)
{
    uint8_t file[8192];
    struct error error;
    int fd = open("/usr/share/zoneinfo/Europe/Berlin", O_RDONLY);
    cr_assert_geq(fd, 0);
    ssize_t size = read(fd, file, sizeof file);
    close(fd);
    cr_assert_gt(size, 1000);
    for (size_t i = 0; i < (size_t)size; i++) {
        struct zone *zone = NULL;
        uint8_t *cut = malloc(i + 1);
        memcpy(cut, file, i);
        cr_assert_eq(
            zone_parse(bytes_text("cut"), bytes_of(cut, i), &zone, &error),
            STATUS_INVALID,
            "%zu",
            i);
        free(cut);
    }
    size_t accepted = 0;
    for (size_t i = 0; i < (size_t)size; i++) {
        struct zone *zone = NULL;
        uint8_t before = file[i];
        file[i] ^= 0x81;
        if (zone_parse(bytes_text("flip"), bytes_of(file, (size_t)size), &zone, &error) ==
            STATUS_OK) {
            (void)zone_day_next(zone, seconds("2026-10-25T00:30:00Z"));
            accepted++;
            zone_close(&zone);
        }
        file[i] = before;
    }
    cr_assert_gt(accepted, 0);
    cr_assert_lt(accepted, (size_t)size);
}

struct rule_row {
    const char *text;
    int32_t year;
    const char *first, *second;  // NULL: no summer time
    int32_t std_offset_s, dst_offset_s;
};

// clang-format off
static const struct rule_row rule_rows[] = {
    {"CET-1CEST,M3.5.0,M10.5.0/3", 2026, "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z",
     3600, 7200},
    {"EST5EDT,M3.2.0,M11.1.0", 2026, "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z",
     -18000, -14400},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", 2026, "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", 3600, 0},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z",
     -7200, -3600},
    {"EET-2EEST,M3.4.4/50,M10.4.4/50", 2026, "2026-03-28T00:00:00Z", "2026-10-23T23:00:00Z",
     7200, 10800},
    {"AAA3BBB,J60,J300/0", 2024, "2024-03-01T05:00:00Z", "2024-10-27T02:00:00Z", -10800, -7200},
    {"AAA3BBB,59/1:30:15,300", 2024, "2024-02-29T04:30:15Z", "2024-10-27T04:00:00Z",
     -10800, -7200},
    {"<+0545>-5:45", 2026, NULL, NULL, 20700, 20700},
    {"UTC0", 2026, NULL, NULL, 0, 0},
};

static const char *const refused_rules[] = {
    "", "CE-1", "CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0",
    "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J1", "CET-168", "<+05-5",
    "CET-1 ", "CET-1CEST,M3.5.0,M10.5.0,",
};
// clang-format on

Test(zone, reads_the_rule_at_the_end_of_a_file)
{
    for (size_t i = 0; i < sizeof rule_rows / sizeof rule_rows[0]; i++) {
        const struct rule_row *row = &rule_rows[i];
        struct zone_rule rule;
        cr_assert(zone_rule_parse(bytes_text(row->text), &rule), "%s", row->text);
        cr_assert_eq(rule.std_offset_s, row->std_offset_s, "%s", row->text);
        cr_assert_eq(rule.dst_offset_s, row->dst_offset_s, "%s", row->text);
        cr_assert_eq(rule.has_dst, row->first != NULL, "%s", row->text);
        if (!rule.has_dst)
            continue;
        struct zone_change changes[2];
        zone_rule_changes(&rule, row->year, changes);
        cr_assert_eq(changes[0].at_s, seconds(row->first), "%s", row->text);
        cr_assert_eq(changes[1].at_s, seconds(row->second), "%s", row->text);
    }
    for (size_t i = 0; i < sizeof refused_rules / sizeof refused_rules[0]; i++) {
        struct zone_rule rule;
        cr_assert_not(zone_rule_parse(bytes_text(refused_rules[i]), &rule), "%s", refused_rules[i]);
    }
}

// Summer time that never ends: each year's end is the next one's begin.
Test(zone, knows_a_summer_that_lasts_all_year)
{
    struct error error;
    struct zone *zone = NULL;
    uint8_t file[44 + 44 + 6 + 4 + 64] = {0};
    const char *footer = "\nXXX3EDT4,0/0,J365/23\n";
    memcpy(file, "TZif2", 5);
    memcpy(file + 44, "TZif2", 5);
    file[44 + 39] = 1;  // one type
    file[44 + 43] = 4;  // "EDT\0"
    const int32_t offset_s = __builtin_bswap32((uint32_t)(-4 * 3600));
    memcpy(file + 88, &offset_s, 4);
    memcpy(file + 94, "EDT", 4);
    memcpy(file + 98, footer, strlen(footer));
    cr_assert_eq(
        zone_parse(bytes_text("x"), bytes_of(file, 98 + strlen(footer)), &zone, &error),
        STATUS_OK,
        "%s",
        error.text);
    for (int32_t month = 1; month <= 12; month++) {
        int64_t at_s = civil_to_ns((struct civil){2026, (uint8_t)month, 1}) / SECOND_NS;
        cr_assert_eq(zone_offset(zone, at_s), -4 * 3600, "month %d", month);
    }
    zone_close(&zone);
}

// Only what came until then, and since 1970, makes a difference.
Test(zone, rules_are_those_of_days_that_are_over)
{
    static const struct {
        const char *a, *b;
        int64_t until_s;
        bool is_same;
    } rows[] = {
        {"Europe/Berlin",   "Europe/Berlin",  1800000000, true },
        {"Europe/Berlin",   "Europe/London",  0,          true }, // both on UTC+1 in 1970
        {"Europe/Berlin",   "Europe/London",  57722399,   true },
        {"Europe/Berlin",   "Europe/London",  57722400,   false}, // London's clock goes back
        {"Europe/Berlin",   "Europe/Paris",   100000000,  true }, // before 1970 they differed
        {"Europe/Berlin",   "Europe/Paris",   1800000000, false},
        {"Asia/Kathmandu",  "Asia/Kolkata",   0,          true },
        {"Asia/Kathmandu",  "Asia/Kolkata",   600000000,  false},
        {"America/Phoenix", "America/Denver", 100000000,  false},
    };
    struct error error = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(zone_close) struct zone *a = NULL;
        scoped(zone_close) struct zone *b = NULL;
        cr_assert_eq(zone_open(bytes_text(rows[i].a), &a, &error), STATUS_OK, "%s", error.text);
        cr_assert_eq(zone_open(bytes_text(rows[i].b), &b, &error), STATUS_OK, "%s", error.text);
        bool is_same = zone_rules(a, rows[i].until_s) == zone_rules(b, rows[i].until_s);
        cr_assert_eq(is_same, rows[i].is_same, "row %zu", i);
    }
}
