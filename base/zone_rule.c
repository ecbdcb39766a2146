#include "base/zone_rule.h"

#include "base/assert.h"
#include "base/clock.h"

enum { HOUR_S = 3600, DAY_S = 86400, HOURS_MAX = 167, NAME_MIN = 3 };

static bool
at_end(const struct cursor *in)
{
    return cursor_left(in) == 0;
}

static bool
take_if(struct cursor *in, char wanted)
{
    if (at_end(in) || *in->at != (uint8_t)wanted)
        return false;
    in->at++;
    return true;
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool
is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// One to three digits, at most max.
static int32_t
take_number(struct cursor *in, int32_t min, int32_t max)
{
    int32_t number = 0;
    size_t digits = 0;
    while (!at_end(in) && is_digit(*in->at) && digits++ < 3)
        number = number * 10 + (cursor_u8(in) - '0');
    if (digits == 0 || number < min || number > max)
        in->failed = true;
    return number;
}

// "CET" or "<+0545>".
static void
take_name(struct cursor *in)
{
    size_t size = 0;
    bool is_quoted = take_if(in, '<');
    while (!at_end(in) &&
           (is_letter(*in->at) ||
            (is_quoted && (is_digit(*in->at) || *in->at == '+' || *in->at == '-')))) {
        in->at++;
        size++;
    }
    if (size < NAME_MIN || (is_quoted && !take_if(in, '>')))
        in->failed = true;
}

// [+-]hh[:mm[:ss]]
static int32_t
take_time(struct cursor *in)
{
    int32_t sign = take_if(in, '-') ? -1 : 1;
    if (sign > 0)
        (void)take_if(in, '+');
    int32_t seconds = take_number(in, 0, HOURS_MAX) * HOUR_S;
    if (take_if(in, ':')) {
        seconds += take_number(in, 0, 59) * 60;
        if (take_if(in, ':'))
            seconds += take_number(in, 0, 59);
    }
    return sign * seconds;
}

static struct zone_date
take_date(struct cursor *in)
{
    struct zone_date date = {.time_s = 2 * HOUR_S};
    if (!take_if(in, ','))
        in->failed = true;
    if (take_if(in, 'M')) {
        date.kind = ZONE_DATE_MONTH_WEEK_DAY;
        date.month = take_number(in, 1, 12);
        in->failed |= !take_if(in, '.');
        date.week = take_number(in, 1, 5);
        in->failed |= !take_if(in, '.');
        date.weekday = take_number(in, 0, 6);
    } else if (take_if(in, 'J')) {
        date.kind = ZONE_DATE_JULIAN;
        date.day = take_number(in, 1, 365);
    } else {
        date.kind = ZONE_DATE_DAY;
        date.day = take_number(in, 0, 365);
    }
    if (take_if(in, '/'))
        date.time_s = take_time(in);
    return date;
}

// POSIX offsets count westwards.
bool
zone_rule_parse(struct bytes text, struct zone_rule *out)
{
    struct cursor in = cursor_over(text);
    struct zone_rule rule = {0};
    take_name(&in);
    rule.std_offset_s = -take_time(&in);
    rule.dst_offset_s = rule.std_offset_s;
    if (!cursor_failed(&in) && !at_end(&in)) {
        rule.has_dst = true;
        take_name(&in);
        rule.dst_offset_s = rule.std_offset_s + HOUR_S;
        if (!at_end(&in) && *in.at != ',')
            rule.dst_offset_s = -take_time(&in);
        rule.dst_begin = take_date(&in);
        rule.dst_end = take_date(&in);
    }
    if (cursor_failed(&in) || !at_end(&in))
        return false;
    *out = rule;
    return true;
}

// Days since 1970 of the date in a year.
static int64_t
date_days(const struct zone_date *date, int32_t year)
{
    int64_t new_year = civil_to_days((struct civil){year, 1, 1});
    if (date->kind == ZONE_DATE_DAY)
        return new_year + date->day;
    if (date->kind == ZONE_DATE_JULIAN) {
        bool is_after_february = civil_days_in_month(year, 2) == 29 && date->day > 59;
        return new_year + date->day - 1 + is_after_february;
    }
    uint8_t month = (uint8_t)date->month;
    int64_t first = civil_to_days((struct civil){year, month, 1});
    // 1970-01-01 was a Thursday.
    int64_t first_weekday = ((first + 4) % 7 + 7) % 7;
    int64_t day = (date->weekday - first_weekday + 7) % 7 + (date->week - 1) * 7;
    if (day >= civil_days_in_month(year, month))
        day -= 7;
    return first + day;
}

void
zone_rule_changes(const struct zone_rule *rule, int32_t year, struct zone_change out[2])
{
    must(rule->has_dst);
    const struct zone_change begin = {
        .at_s =
            date_days(&rule->dst_begin, year) * DAY_S + rule->dst_begin.time_s - rule->std_offset_s,
        .offset_s = rule->dst_offset_s,
    };
    const struct zone_change end = {
        .at_s = date_days(&rule->dst_end, year) * DAY_S + rule->dst_end.time_s - rule->dst_offset_s,
        .offset_s = rule->std_offset_s,
    };
    bool begins_first = begin.at_s < end.at_s;
    out[0] = begins_first ? begin : end;
    out[1] = begins_first ? end : begin;
}
