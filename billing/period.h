#pragma once
// Billing periods: half-open, from UTC midnight to UTC midnight, anchored at the day a subscription
// starts.
//
//     struct period period = period_at(&terms, CYCLE_MONTHLY, 2);   // the third month
//     for (i = 0; period_is_any(period = period_at(&terms, cycle, i)); i++) ...
//
// A subscription from 31 January has months from 31 January, 28 (29) February, 31 March: the day is
// kept, cut to the month's last. An end inside a period cuts it. Values. Thread: any.

#include "base/clock.h"
#include "billing/catalog.h"

// No end: half-open ranges end before it.
static const int64_t PERIOD_NO_END = INT64_MAX;

struct period_terms {
    int64_t starts_ns;  // midnight UTC
    int64_t ends_ns;    // midnight UTC, or PERIOD_NO_END
};

struct period {
    int64_t from_ns;
    int64_t to_ns;       // where it ends, cut by the terms' end
    int64_t to_full_ns;  // where it would end
};

// The index-th period from 0; from_ns == to_ns (an empty one) when the terms end before it, or when
// it would end after 2261, where no clock arrives.
struct period period_at(const struct period_terms *terms, enum billing_cycle cycle, int32_t index);
bool period_is_any(struct period period);
int64_t period_days(struct period period);
int64_t period_days_full(struct period period);
bool ranges_overlap(int64_t from_a, int64_t to_a, int64_t from_b, int64_t to_b);

// "2023-11": the calendar month's range. STATUS_INVALID says what is expected.
enum status period_month_parse(
    const char *text, int64_t *out_from_ns, int64_t *out_to_ns, struct error *error) CHECKED;
// Whether the period's last instant lies in the half-open range.
bool period_ends_in(struct period period, int64_t from_ns, int64_t to_ns);
