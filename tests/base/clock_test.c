#include "base/clock.h"

#include "base/hash.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct parse_row {
    const char *text;
    int64_t time_ns;
    const char *printed;
};

static const struct parse_row accepted[] = {
    {"1970-01-01T00:00:00Z",             0,                    "1970-01-01T00:00:00Z"          },
    {"1970-01-01",                       0,                    "1970-01-01T00:00:00Z"          },
    {"1970-01-01 00:00:00",              0,                    "1970-01-01T00:00:00Z"          },
    {"1969-12-31T23:59:59.999999999Z",   -1,                   "1969-12-31T23:59:59.999999999Z"},
    {"2023-11-16T18:15:46.68059Z",       1700158546680590000,  "2023-11-16T18:15:46.68059Z"    },
    {"2023-11-16 18:15:46.6805900",      1700158546680590000,  "2023-11-16T18:15:46.68059Z"    },
    {"2023-11-16 18:15:46.680590+00:00", 1700158546680590000,  "2023-11-16T18:15:46.68059Z"    },
    {"2023-11-16t18:15:46.68059z",       1700158546680590000,  "2023-11-16T18:15:46.68059Z"    },
    {"2023-11-16T19:15:46.68059+01:00",  1700158546680590000,  "2023-11-16T18:15:46.68059Z"    },
    {"2023-11-16T12:45:46.68059-05:30",  1700158546680590000,  "2023-11-16T18:15:46.68059Z"    },
    {"2023-11-16T18:15:46-00:00",        1700158546000000000,  "2023-11-16T18:15:46Z"          },
    {"2024-02-29T00:00:00Z",             1709164800000000000,  "2024-02-29T00:00:00Z"          },
    {"2000-02-29",                       951782400000000000,   "2000-02-29T00:00:00Z"          },
    {"2023-12-31T23:59:59+23:59",        1703980859000000000,  "2023-12-31T00:00:59Z"          },
    {"1678-01-01T00:00:00Z",             -9214560000000000000, "1678-01-01T00:00:00Z"          },
    {"2261-12-31T23:59:59.999999999Z",   9214646399999999999,  "2261-12-31T23:59:59.999999999Z"},
    {"2262-01-01T00:00:00+00:00",        0,                    NULL                            },
};

Test(clock, reads_and_prints)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        const struct parse_row *row = &accepted[i];
        int64_t time_ns = 77;
        enum status status = clock_parse(bytes_text(row->text), &time_ns);
        if (row->printed == NULL) {
            cr_assert_eq(status, STATUS_INVALID, "%s", row->text);
            cr_assert_eq(time_ns, 77);
            continue;
        }
        cr_assert_eq(status, STATUS_OK, "%s", row->text);
        cr_assert_eq(time_ns, row->time_ns, "%s gave %ld", row->text, (long)time_ns);
        char text[CLOCK_TEXT_MAX];
        cr_assert_eq(clock_print(time_ns, text), strlen(row->printed));
        cr_assert_str_eq(text, row->printed);
    }
}

static const char *const refused[] = {
    "",
    "2023",
    "2023-11",
    "2023-11-",
    "2023-11-1",
    "2023-11-16T",
    "2023-11-16 ",
    "2023-11-16Z",
    "2023-11-16T18",
    "2023-11-16T18:15",
    "2023-11-16T18:15Z",
    "2023-11-16T18:15:46",  // RFC 3339 wants a zone
    "2023-11-16 18:15",
    "2023-11-16T18:15:46.Z",
    "2023-11-16T18:15:46,5Z",
    "2023-11-16T18:15:46.1234567890Z",  // ten digits
    "2023-11-16T18:15:46.00000000000000Z",
    "2023-11-16T18:15:46.5",
    "2023-11-16T18:15:46ZZ",
    "2023-11-16T18:15:46Z ",
    " 2023-11-16T18:15:46Z",
    "2023-11-16T18:15:46+0100",
    "2023-11-16T18:15:46+01",
    "2023-11-16T18:15:46+1:00",
    "2023-11-16T18:15:46+24:00",
    "2023-11-16T18:15:46+01:60",
    "2023-11-16T18:15:46*01:00",
    "2023-11-16T18:15:46 +01:00",
    "2023-11-16T24:00:00Z",
    "2023-11-16T18:60:00Z",
    "2023-11-16T18:15:60Z",
    "2016-12-31T23:59:60Z",  // a leap second that was
    "2023-00-16",
    "2023-13-16",
    "2023-11-00",
    "2023-11-31",
    "2023-02-29",
    "2023-02-30",
    "1900-02-29",
    "2100-02-29",
    "0000-01-01",
    "1677-12-31",
    "2262-01-01",
    "9999-12-31T23:59:59Z",
    "1678-01-01T00:00:00+00:01",  // a minute before the first year
    "2261-12-31T23:59:59-00:01",
    "+2023-11-16",
    "-023-11-16",
    "20231116",
    "2023/11/16",
    "2023-W46-4",
    "23-11-16",
    "2023-11-16T1a:15:46Z",
    "2023-11-16T-1:15:46Z",
    "1700158546",
    "now",
};

Test(clock, refuses)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int64_t time_ns = 77;
        cr_assert_eq(
            clock_parse(bytes_text(refused[i]), &time_ns), STATUS_INVALID, "%s", refused[i]);
        cr_assert_eq(time_ns, 77);
    }
    int64_t time_ns;
    cr_assert_eq(clock_parse(bytes_of("2023-11-16\0", 11), &time_ns), STATUS_INVALID);
    cr_assert_eq(clock_parse(bytes_of(NULL, 0), &time_ns), STATUS_INVALID);
}

Test(clock, a_cut_text_is_a_shorter_time_or_refused)
{
    static const char text[] = "2023-11-16T18:15:46.680590123+01:30";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        int64_t time_ns;
        enum status status = clock_parse(bytes_of(text, size), &time_ns);
        cr_assert_eq(status, size == 10 ? STATUS_OK : STATUS_INVALID, "cut at %zu", size);
    }
}

Test(clock, whatever_is_printed_reads_back)
{
    static const int64_t first_ns = -9214560000000000000;
    static const int64_t end_ns = 9214646400000000000;
    uint64_t state = 1;
    for (int i = 0; i < 100000; i++) {
        state = hash64(bytes_of(&state, sizeof state), 3);
        int64_t time_ns = (int64_t)state;
        static const int64_t grains[] = {1, 1000, 1000000, 1000000000, 60000000000};
        time_ns -= time_ns % grains[i % 5];
        if (time_ns < first_ns || time_ns >= end_ns)
            continue;
        char text[CLOCK_TEXT_MAX];
        size_t size = clock_print(time_ns, text);
        cr_assert_lt(size, CLOCK_TEXT_MAX);
        int64_t again_ns = 0;
        cr_assert_eq(clock_parse(bytes_of(text, size), &again_ns), STATUS_OK, "%s", text);
        cr_assert_eq(again_ns, time_ns, "%s", text);
    }
}

Test(clock, prints_the_ends_of_int64)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(INT64_MIN, text);
    cr_assert_str_eq(text, "1677-09-21T00:12:43.145224192Z");
    (void)clock_print(INT64_MAX, text);
    cr_assert_str_eq(text, "2262-04-11T23:47:16.854775807Z");
}

// Day by day against a calendar that only knows how long months are.
Test(civil, counts_every_day_of_a_thousand_years)
{
    struct civil date = {1600, 1, 1};
    int64_t first = civil_to_days(date);
    for (int64_t days = first; date.year < 2600; days++) {
        struct civil found = civil_from_days(days);
        cr_assert(found.year == date.year && found.month == date.month && found.day == date.day);
        cr_assert_eq(civil_to_days(date), days);
        if (date.day < civil_days_in_month(date.year, date.month)) {
            date.day++;
        } else {
            date.day = 1;
            date.month = date.month < 12 ? (uint8_t)(date.month + 1) : 1;
            date.year += date.month == 1;
        }
    }
    cr_assert_eq(civil_to_days((struct civil){1970, 1, 1}), 0);
    cr_assert_eq(civil_to_days((struct civil){-1, 12, 31}), -719529);
    cr_assert_eq(civil_from_days(-719529).year, -1);
}

Test(civil, goes_between_dates_and_instants)
{
    struct civil date = civil_from_ns(-1);
    cr_assert(date.year == 1969 && date.month == 12 && date.day == 31);
    date = civil_from_ns(DAY_NS - 1);
    cr_assert(date.year == 1970 && date.month == 1 && date.day == 1);
    cr_assert_eq(civil_to_ns((struct civil){1970, 1, 2}), DAY_NS);
    cr_assert_eq(civil_to_ns((struct civil){1969, 12, 31}), -DAY_NS);
}

Test(civil, adds_months_to_an_anchor)
{
    static const struct {
        struct civil from;
        int32_t months;
        uint8_t anchor_day;
        struct civil to;
    } rows[] = {
        {{2023, 1, 31},  1,   31, {2023, 2, 28} },
        {{2024, 1, 31},  1,   31, {2024, 2, 29} },
        {{2023, 2, 28},  1,   31, {2023, 3, 31} },
        {{2023, 2, 28},  1,   28, {2023, 3, 28} },
        {{2023, 3, 31},  1,   31, {2023, 4, 30} },
        {{2023, 12, 15}, 1,   15, {2024, 1, 15} },
        {{2023, 1, 15},  -1,  15, {2022, 12, 15}},
        {{2023, 1, 15},  -13, 15, {2021, 12, 15}},
        {{2023, 5, 15},  0,   31, {2023, 5, 31} },
        {{2024, 2, 29},  12,  29, {2025, 2, 28} },
        {{2024, 2, 29},  48,  29, {2028, 2, 29} },
        {{1, 1, 1},      -12, 1,  {0, 1, 1}     },
        {{0, 1, 1},      -1,  1,  {-1, 12, 1}   },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct civil to = civil_add_months(rows[i].from, rows[i].months, rows[i].anchor_day);
        cr_assert_eq(to.year, rows[i].to.year, "row %zu", i);
        cr_assert_eq(to.month, rows[i].to.month, "row %zu", i);
        cr_assert_eq(to.day, rows[i].to.day, "row %zu", i);
    }
}

Test(civil, month_13_is_a_programming_error, .signal = SIGABRT)
{
    (void)civil_days_in_month(2023, 13);
}

Test(clock, without_a_file_is_the_wall_clock)
{
    unsetenv("TALLY_CLOCK");
    struct error error;
    cr_assert_eq(clock_init(&error), STATUS_OK);
    cr_assert_not(clock_is_test());
    struct timespec now;
    cr_assert_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
    int64_t before_ns = now.tv_sec * SECOND_NS + now.tv_nsec;
    int64_t found_ns = clock_now_ns();
    cr_assert_geq(found_ns, before_ns);
    cr_assert_lt(found_ns, before_ns + MINUTE_NS);
    int64_t monotonic_ns = clock_monotonic_ns();
    cr_assert_leq(monotonic_ns, clock_monotonic_ns());
}

static void
file_write(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

Test(clock, with_a_file_is_what_the_file_says)
{
    char path[] = "/tmp/tally-clock-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    int64_t time_ns = 1700158546680590000;
    file_write(path, &time_ns, sizeof time_ns);
    setenv("TALLY_CLOCK", path, 1);
    struct error error;
    cr_assert_eq(clock_init(&error), STATUS_OK);
    cr_assert(clock_is_test());
    cr_assert_eq(clock_now_ns(), time_ns);
    int64_t later_ns = time_ns + DAY_NS;
    cr_assert_eq(pwrite(fd, &later_ns, sizeof later_ns, 0), (ssize_t)sizeof later_ns);
    cr_assert_eq(clock_now_ns(), later_ns);
    unsetenv("TALLY_CLOCK");
    cr_assert_eq(clock_init(&error), STATUS_OK);
    cr_assert_not(clock_is_test());
    close(fd);
    unlink(path);
}

Test(clock, refuses_a_file_that_is_no_clock)
{
    char path[] = "/tmp/tally-clock-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    setenv("TALLY_CLOCK", path, 1);
    struct error error = {0};
    for (size_t size = 0; size < 8; size++) {
        file_write(path, "12345678", size);
        cr_assert_eq(clock_init(&error), STATUS_IO, "%zu bytes", size);
        cr_assert_not_null(strstr(error.text, path));
        cr_assert_not_null(strstr(error.text, "8 bytes"));
        cr_assert_not(clock_is_test());
    }
    close(fd);
    unlink(path);
    cr_assert_eq(clock_init(&error), STATUS_IO);
    cr_assert_not_null(strstr(error.text, "No such file"));
    setenv("TALLY_CLOCK", "/", 1);
    cr_assert_eq(clock_init(&error), STATUS_IO);
    cr_assert_not_null(strstr(error.text, "TALLY_CLOCK"));
}
