#pragma once
// Time: int64 nanoseconds since 1970 UTC, and RFC 3339 text.
//
//     int64_t now_ns = clock_now_ns();          // wall clock, or the file named by TALLY_CLOCK
//     int64_t deadline_ns = clock_monotonic_ns() + 5 * SECOND_NS;
//
// TALLY_CLOCK=FILE maps a file whose first 8 bytes are an int64 of nanoseconds (little-endian);
// tests move it. It is read at each call. Rooms take time as an argument; programs call
// clock_now_ns.
// Thread: any, after clock_init.

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

static const int64_t SECOND_NS = 1000000000;
static const int64_t MINUTE_NS = 60 * 1000000000LL;
static const int64_t HOUR_NS = 3600 * 1000000000LL;
static const int64_t DAY_NS = 86400 * 1000000000LL;

enum { CLOCK_TEXT_MAX = 40 };

// Maps TALLY_CLOCK when it is set. STATUS_IO names the file that cannot be mapped.
enum status clock_init(struct error *error) CHECKED;
bool clock_is_test(void);
int64_t clock_now_ns(void);
// Never goes back; unrelated to the wall clock and to TALLY_CLOCK.
int64_t clock_monotonic_ns(void);

// RFC 3339 with optional fraction (1-9 digits; more are refused) and Z or offset; also a bare date
// "2023-11-16" (midnight UTC), and "YYYY-MM-DD HH:MM:SS[.fraction]" without zone as UTC (Azure
// traces). A fraction of up to 9 digits. Years 1678-2261. STATUS_INVALID otherwise (month 13, 30
// February, ...).
enum status clock_parse(struct bytes text, int64_t *out_ns) CHECKED;
// "2023-11-16T18:15:46.68059Z": UTC, shortest fraction, none when zero. Returns the length.
size_t clock_print(int64_t time_ns, char out[CLOCK_TEXT_MAX]);

struct civil {
    int32_t year;
    uint8_t month;  // 1-12
    uint8_t day;    // 1-31
};

// Proleptic Gregorian. days are since 1970-01-01.
struct civil civil_from_days(int64_t days);
int64_t civil_to_days(struct civil date);
uint8_t civil_days_in_month(int32_t year, uint8_t month);
// The date of a UTC instant, and midnight UTC of a date.
struct civil civil_from_ns(int64_t time_ns);
int64_t civil_to_ns(struct civil date);
// The same day n months later (n may be negative), the day cut to the month's last (31 January + 1
// month is 28 or 29 February), from an anchor day 1-31 so that the 31st comes back when the month
// has it.
struct civil civil_add_months(struct civil date, int32_t months, uint8_t anchor_day);
