#include "base/clock.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// Nanoseconds in an int64 reach from September 1677 to April 2262; whole years only, so that every
// instant that is accepted can be printed and read again.
enum { YEAR_MIN = 1678, YEAR_MAX = 2261 };

// The file of TALLY_CLOCK, NULL when the wall clock is used. Set by clock_init before threads
// start.
static int64_t *clock_file;

enum status
clock_init(struct error *error)
{
    if (clock_file != NULL) {
        (void)munmap(clock_file, sizeof *clock_file);
        clock_file = NULL;
    }
    const char *path = getenv("TALLY_CLOCK");  // NOLINT(concurrency-mt-unsafe): no thread yet
    if (path == NULL || path[0] == '\0')
        return STATUS_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "TALLY_CLOCK: cannot open %s", path);
    // A file that is too short would be a SIGBUS at the first look at the clock.
    int64_t probe;
    ssize_t size = pread(fd, &probe, sizeof probe, 0);
    void *map = size == (ssize_t)sizeof probe
                    ? mmap(NULL, sizeof probe, PROT_READ, MAP_SHARED, fd, 0)
                    : MAP_FAILED;
    int map_errno = errno;
    (void)close(fd);
    if (size >= 0 && size < (ssize_t)sizeof probe)
        return error_set(
            error, STATUS_IO, "TALLY_CLOCK: %s must hold 8 bytes of nanoseconds", path);
    if (map == MAP_FAILED) {
        errno = map_errno;
        return error_set_errno(error, "TALLY_CLOCK: cannot map %s", path);
    }
    clock_file = map;
    return STATUS_OK;
}

bool
clock_is_test(void)
{
    return clock_file != NULL;
}

static int64_t
system_clock_ns(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    must(rc == 0);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

int64_t
clock_now_ns(void)
{
    // One load of an aligned word: another process moves it while we look.
    if (clock_file != NULL)
        return __atomic_load_n(clock_file, __ATOMIC_RELAXED);
    return system_clock_ns(CLOCK_REALTIME);
}

int64_t
clock_monotonic_ns(void)
{
    return system_clock_ns(CLOCK_MONOTONIC);
}

// Days and dates by whole 400-year eras of 146097 days that begin on 1 March, so that the leap day
// is the last of its year (Howard Hinnant, "chrono-compatible low-level date algorithms").
struct civil
civil_from_days(int64_t days)
{
    int64_t shifted = days + 719468;  // since 0000-03-01
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    must(year >= INT32_MIN && year <= INT32_MAX);
    return (struct civil){
        .year = (int32_t)year,
        .month = (uint8_t)month,
        .day = (uint8_t)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
    };
}

int64_t
civil_to_days(struct civil date)
{
    must(date.month >= 1 && date.month <= 12);
    must(date.day >= 1 && date.day <= 31);
    int64_t year = (int64_t)date.year - (date.month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t month_from_march = date.month > 2 ? date.month - 3 : date.month + 9;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

uint8_t
civil_days_in_month(int32_t year, uint8_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    must(month >= 1 && month <= 12);
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

// Rounds towards the past, also before 1970.
static int64_t
days_of_ns(int64_t time_ns)
{
    return time_ns / DAY_NS - (time_ns % DAY_NS < 0);
}

struct civil
civil_from_ns(int64_t time_ns)
{
    return civil_from_days(days_of_ns(time_ns));
}

int64_t
civil_to_ns(struct civil date)
{
    int64_t time_ns;
    must(!__builtin_mul_overflow(civil_to_days(date), DAY_NS, &time_ns));
    return time_ns;
}

struct civil
civil_add_months(struct civil date, int32_t months, uint8_t anchor_day)
{
    must(date.month >= 1 && date.month <= 12);
    must(anchor_day >= 1 && anchor_day <= 31);
    int64_t count = (int64_t)date.year * 12 + (date.month - 1) + months;
    int64_t year = count / 12 - (count % 12 < 0);
    must(year >= INT32_MIN && year <= INT32_MAX);
    uint8_t month = (uint8_t)(count - year * 12 + 1);
    uint8_t last = civil_days_in_month((int32_t)year, month);
    return (struct civil){
        .year = (int32_t)year,
        .month = month,
        .day = anchor_day < last ? anchor_day : last,
    };
}

// count decimal digits as a number; anything else fails the cursor.
static int32_t
take_digits(struct cursor *in, size_t count)
{
    struct bytes digits = cursor_take(in, count);
    int32_t value = 0;
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') {
            in->failed = true;
            return 0;
        }
        value = value * 10 + (digits.data[i] - '0');
    }
    return value;
}

static void
take_char(struct cursor *in, char expected)
{
    if (cursor_u8(in) != (uint8_t)expected)
        in->failed = true;
}

static uint8_t
peek(const struct cursor *in)
{
    return cursor_left(in) > 0 ? in->at[0] : 0;
}

// Zero after a failed cursor or a date that is none.
static int64_t
take_date_ns(struct cursor *in)
{
    int32_t year = take_digits(in, 4);
    take_char(in, '-');
    int32_t month = take_digits(in, 2);
    take_char(in, '-');
    int32_t day = take_digits(in, 2);
    if (cursor_failed(in) || year < YEAR_MIN || year > YEAR_MAX || month < 1 || month > 12 ||
        day < 1 || day > civil_days_in_month(year, (uint8_t)month)) {
        in->failed = true;
        return 0;
    }
    return civil_to_ns((struct civil){year, (uint8_t)month, (uint8_t)day});
}

// ".5" is 500,000,000 ns. Ten digits would be a number we cannot keep, so they are refused, not
// cut.
static int64_t
take_fraction_ns(struct cursor *in)
{
    if (peek(in) != '.')
        return 0;
    take_char(in, '.');
    int64_t value = 0;
    int64_t unit = SECOND_NS;
    while (peek(in) >= '0' && peek(in) <= '9') {
        unit /= 10;
        value += (cursor_u8(in) - '0') * unit;
        if (unit == 0)
            in->failed = true;
    }
    if (unit == SECOND_NS)
        in->failed = true;
    return value;
}

// A leap second (:60) is refused: nanoseconds since 1970 have no place for it.
static int64_t
take_time_of_day_ns(struct cursor *in)
{
    int32_t hour = take_digits(in, 2);
    take_char(in, ':');
    int32_t minute = take_digits(in, 2);
    take_char(in, ':');
    int32_t second = take_digits(in, 2);
    if (hour > 23 || minute > 59 || second > 59)
        in->failed = true;
    return hour * HOUR_NS + minute * MINUTE_NS + second * SECOND_NS + take_fraction_ns(in);
}

// Z or ±HH:MM: how far local time is ahead of UTC.
static int64_t
take_offset_ns(struct cursor *in)
{
    uint8_t sign = cursor_u8(in);
    if (sign == 'Z' || sign == 'z')
        return 0;
    int32_t hour = take_digits(in, 2);
    take_char(in, ':');
    int32_t minute = take_digits(in, 2);
    if ((sign != '+' && sign != '-') || hour > 23 || minute > 59)
        in->failed = true;
    int64_t offset_ns = hour * HOUR_NS + minute * MINUTE_NS;
    return sign == '-' ? -offset_ns : offset_ns;
}

enum status
clock_parse(struct bytes text, int64_t *out_ns)
{
    struct cursor in = cursor_over(text);
    int64_t time_ns = take_date_ns(&in);
    if (cursor_left(&in) > 0) {
        uint8_t separator = cursor_u8(&in);
        if (separator != 'T' && separator != 't' && separator != ' ')
            return STATUS_INVALID;
        time_ns += take_time_of_day_ns(&in);
        // Only the form with a space may lack a zone (Azure's traces); RFC 3339 wants one.
        if (separator != ' ' || cursor_left(&in) > 0)
            time_ns -= take_offset_ns(&in);
    }
    if (cursor_failed(&in) || cursor_left(&in) > 0)
        return STATUS_INVALID;
    // An offset may lead into the year before or after.
    int32_t year = civil_from_ns(time_ns).year;
    if (year < YEAR_MIN || year > YEAR_MAX)
        return STATUS_INVALID;
    *out_ns = time_ns;
    return STATUS_OK;
}

// value with leading zeros, and the byte after it. Returns where the next one goes.
static char *
put_digits(char *at, int64_t value, int width, char after)
{
    for (int i = width - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    must(value == 0);
    at[width] = after;
    return at + width + 1;
}

size_t
clock_print(int64_t time_ns, char out[CLOCK_TEXT_MAX])
{
    struct civil date = civil_from_ns(time_ns);
    // By remainder: midnight of the very first day lies below INT64_MIN.
    int64_t of_day_ns = time_ns % DAY_NS + (time_ns % DAY_NS < 0 ? DAY_NS : 0);
    char *at = put_digits(out, date.year, 4, '-');
    at = put_digits(at, date.month, 2, '-');
    at = put_digits(at, date.day, 2, 'T');
    at = put_digits(at, of_day_ns / HOUR_NS, 2, ':');
    at = put_digits(at, of_day_ns / MINUTE_NS % 60, 2, ':');
    at = put_digits(at, of_day_ns / SECOND_NS % 60, 2, '.');
    at = put_digits(at, of_day_ns % SECOND_NS, 9, 'Z');
    // Back over the Z and the zeros before it, and over the point when nothing is left.
    at--;
    while (at[-1] == '0')
        at--;
    if (at[-1] == '.')
        at--;
    at[0] = 'Z';
    at[1] = '\0';
    return (size_t)(at + 1 - out);
}
