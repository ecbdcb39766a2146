#include "billing/period.h"

#include "base/assert.h"

#include <stdio.h>

enum { PERIOD_YEAR_MAX = 2261 };  // the last that a clock can read

static int64_t
months_later(int64_t starts_ns, int32_t months)
{
    struct civil start = civil_from_ns(starts_ns);
    return civil_to_ns(civil_add_months(start, months, start.day));
}

struct period
period_at(const struct period_terms *terms, enum billing_cycle cycle, int32_t index)
{
    must(index >= 0);
    must(terms->starts_ns % DAY_NS == 0);
    int32_t step = cycle == CYCLE_MONTHLY ? 1 : 12;
    struct civil start = civil_from_ns(terms->starts_ns);
    if (civil_add_months(start, (index + 1) * step, start.day).year > PERIOD_YEAR_MAX)
        return (struct period){terms->starts_ns, terms->starts_ns, terms->starts_ns};
    struct period period = {
        .from_ns = months_later(terms->starts_ns, index * step),
        .to_full_ns = months_later(terms->starts_ns, (index + 1) * step),
    };
    must(period.from_ns < period.to_full_ns);
    period.to_ns = period.to_full_ns < terms->ends_ns ? period.to_full_ns : terms->ends_ns;
    if (period.to_ns < period.from_ns)
        period.to_ns = period.from_ns;
    return period;
}

bool
period_is_any(struct period period)
{
    return period.from_ns < period.to_ns;
}

int64_t
period_days(struct period period)
{
    return (period.to_ns - period.from_ns) / DAY_NS;
}

int64_t
period_days_full(struct period period)
{
    return (period.to_full_ns - period.from_ns) / DAY_NS;
}

bool
ranges_overlap(int64_t from_a, int64_t to_a, int64_t from_b, int64_t to_b)
{
    return from_a < to_b && from_b < to_a;
}

static bool
is_month_text(const char *text)
{
    for (int i = 0; i < 7; i++) {
        bool is_right = i == 4 ? text[i] == '-' : text[i] >= '0' && text[i] <= '9';
        if (!is_right)
            return false;
    }
    return text[7] == '\0';
}

enum status
period_month_parse(const char *text, int64_t *out_from_ns, int64_t *out_to_ns, struct error *error)
{
    char date[16];
    int64_t from_ns = 0;
    if (!is_month_text(text))
        return error_set(
            error, STATUS_INVALID, "expected a month such as 2023-11, not \"%s\"", text);
    snprintf(date, sizeof date, "%.7s-01", text);
    if (clock_parse(bytes_text(date), &from_ns) != STATUS_OK)
        return error_set(error, STATUS_INVALID, "there is no month \"%s\"", text);
    *out_from_ns = from_ns;
    *out_to_ns = months_later(from_ns, 1);
    return STATUS_OK;
}

bool
period_ends_in(struct period period, int64_t from_ns, int64_t to_ns)
{
    int64_t last_ns = period.to_ns - 1;
    return from_ns <= last_ns && last_ns < to_ns;
}
