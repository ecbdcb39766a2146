#include "billing/period.h"

#include <criterion/criterion.h>

static int64_t
day(const char *text)
{
    int64_t ns = 0;
    if (text == NULL)
        return PERIOD_NO_END;
    cr_assert_eq(clock_parse(bytes_text(text), &ns), STATUS_OK, "%s", text);
    return ns;
}

Test(period, keeps_the_day_and_cuts_it_to_the_months_last)
{
    static const struct {
        const char *starts, *ends;
        enum billing_cycle cycle;
        int32_t index;
        const char *from, *to;
        int64_t days, days_full;
    } cases[] = {
        {"2023-11-01", NULL,         CYCLE_MONTHLY, 0,   "2023-11-01", "2023-12-01", 30,  30 },
        {"2023-11-01", NULL,         CYCLE_MONTHLY, 1,   "2023-12-01", "2024-01-01", 31,  31 },
        {"2023-01-31", NULL,         CYCLE_MONTHLY, 0,   "2023-01-31", "2023-02-28", 28,  28 },
        {"2023-01-31", NULL,         CYCLE_MONTHLY, 1,   "2023-02-28", "2023-03-31", 31,  31 },
        {"2023-01-31", NULL,         CYCLE_MONTHLY, 2,   "2023-03-31", "2023-04-30", 30,  30 },
        {"2024-01-31", NULL,         CYCLE_MONTHLY, 0,   "2024-01-31", "2024-02-29", 29,  29 },
        {"2024-01-30", NULL,         CYCLE_MONTHLY, 1,   "2024-02-29", "2024-03-30", 30,  30 },
        {"2023-12-15", NULL,         CYCLE_MONTHLY, 0,   "2023-12-15", "2024-01-15", 31,  31 },
        {"2000-01-31", NULL,         CYCLE_MONTHLY, 289, "2024-02-29", "2024-03-31", 31,  31 },
        {"2023-11-16", NULL,         CYCLE_ANNUAL,  0,   "2023-11-16", "2024-11-16", 366, 366},
        {"2024-02-29", NULL,         CYCLE_ANNUAL,  0,   "2024-02-29", "2025-02-28", 365, 365},
        {"2024-02-29", NULL,         CYCLE_ANNUAL,  4,   "2028-02-29", "2029-02-28", 365, 365},
        {"2100-02-28", NULL,         CYCLE_ANNUAL,  0,   "2100-02-28", "2101-02-28", 365, 365},
        {"2023-11-01", "2023-11-11", CYCLE_MONTHLY, 0,   "2023-11-01", "2023-11-11", 10,  30 },
        {"2023-11-01", "2023-12-01", CYCLE_MONTHLY, 0,   "2023-11-01", "2023-12-01", 30,  30 },
        {"2023-11-01", "2023-12-01", CYCLE_MONTHLY, 1,   "2023-12-01", "2023-12-01", 0,   31 },
        {"2023-11-01", "2023-11-11", CYCLE_MONTHLY, 5,   "2024-04-01", "2024-04-01", 0,   30 },
 // The clock ends with 2261: what would end later is never over.
        {"2261-06-01", NULL,         CYCLE_MONTHLY, 5,   "2261-11-01", "2261-12-01", 30,  30 },
        {"2261-06-01", NULL,         CYCLE_ANNUAL,  0,   "2261-06-01", "2261-06-01", 0,   0  },
        {"2261-06-01", NULL,         CYCLE_MONTHLY, 40,  "2261-06-01", "2261-06-01", 0,   0  },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct period_terms terms = {day(cases[i].starts), day(cases[i].ends)};
        struct period period = period_at(&terms, cases[i].cycle, cases[i].index);
        cr_assert_eq(period.from_ns, day(cases[i].from), "case %zu", i);
        cr_assert_eq(period.to_ns, day(cases[i].to), "case %zu", i);
        cr_assert_eq(period_days(period), cases[i].days, "case %zu", i);
        cr_assert_eq(period_days_full(period), cases[i].days_full, "case %zu", i);
        cr_assert_eq(period_is_any(period), cases[i].days > 0);
    }
}

Test(period, follow_each_other_without_gap_or_overlap)
{
    // Every start day over four years, a leap year among them.
    for (int64_t start = 0; start < 4 * 366; start++) {
        struct period_terms terms = {day("2023-01-01") + start * DAY_NS, PERIOD_NO_END};
        int64_t expected = terms.starts_ns;
        for (int32_t i = 0; i < 50; i++) {
            struct period period = period_at(&terms, CYCLE_MONTHLY, i);
            cr_assert_eq(period.from_ns, expected);
            cr_assert(period_days(period) >= 28 && period_days(period) <= 31);
            expected = period.to_ns;
        }
        cr_assert_eq(
            period_at(&terms, CYCLE_ANNUAL, 1).from_ns,
            period_at(&terms, CYCLE_MONTHLY, 12).from_ns);
    }
}

Test(period, reads_months)
{
    static const char *const bad[] = {
        "", "2023", "2023-13", "2023-00", "2023-1", "2023-011", "23-11", "2023/11", "2023-11-01"};
    int64_t from = 1, to = 1;
    struct error error;
    cr_assert_eq(period_month_parse("2024-02", &from, &to, &error), STATUS_OK);
    cr_assert_eq(from, day("2024-02-01"));
    cr_assert_eq(to, day("2024-03-01"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(period_month_parse(bad[i], &from, &to, &error), STATUS_INVALID, "%s", bad[i]);
}

Test(period, ends_in_the_month_of_its_last_instant)
{
    int64_t from = day("2023-11-01"), to = day("2023-12-01");
    // A calendar month ends at the next one's midnight, which is not its last instant.
    cr_assert(period_ends_in((struct period){day("2023-11-01"), day("2023-12-01"), 0}, from, to));
    cr_assert_not(
        period_ends_in((struct period){day("2023-10-01"), day("2023-11-01"), 0}, from, to));
    cr_assert(period_ends_in((struct period){day("2023-10-02"), day("2023-11-02"), 0}, from, to));
    cr_assert_not(
        period_ends_in((struct period){day("2023-11-02"), day("2023-12-02"), 0}, from, to));
    cr_assert(ranges_overlap(0, 5, 4, 9));
    cr_assert_not(ranges_overlap(0, 5, 5, 9));
}
