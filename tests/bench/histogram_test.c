#include "bench/histogram.h"

#include <criterion/criterion.h>

Test(histogram, is_exact_for_small_values)
{
    static struct histogram histogram;
    for (uint64_t value = 1; value <= 60; value++)
        histogram_add(&histogram, value);
    cr_assert_eq(histogram_percentile(&histogram, 0), 1);
    cr_assert_eq(histogram_percentile(&histogram, 5000), 30);
    cr_assert_eq(histogram_percentile(&histogram, 9900), 60);
    cr_assert_eq(histogram_percentile(&histogram, 10000), 60);
}

Test(histogram, errs_by_less_than_one_part_in_64)
{
    for (uint64_t value = 1; value < UINT64_C(1) << 41; value = value * 21 / 13 + 1) {
        static struct histogram empty, histogram;
        histogram = empty;
        histogram_add(&histogram, value);
        histogram_add(&histogram, UINT64_C(1) << 41);
        uint64_t found = histogram_percentile(&histogram, 5000);
        cr_assert_geq(found, value, "%lu", (unsigned long)value);
        cr_assert_leq(found - value, value / 64, "%lu", (unsigned long)value);
    }
}

Test(histogram, never_says_more_than_the_largest)
{
    static struct histogram histogram;
    histogram_add(&histogram, 1000001);
    cr_assert_eq(histogram_percentile(&histogram, 5000), 1000001);
    histogram_add(&histogram, UINT64_MAX);
    cr_assert_eq(histogram_percentile(&histogram, 10000), UINT64_MAX);
    cr_assert_eq(histogram.max, UINT64_MAX);
}

Test(histogram, merges_into_the_sum_of_both)
{
    static struct histogram one, other, both;
    for (uint64_t i = 0; i < 5000; i++) {
        histogram_add(i % 3 == 0 ? &one : &other, i * i);
        histogram_add(&both, i * i);
    }
    histogram_merge(&one, &other);
    cr_assert_eq(one.total, both.total);
    cr_assert_eq(one.max, both.max);
    for (uint32_t share = 0; share <= 10000; share += 50)
        cr_assert_eq(histogram_percentile(&one, share), histogram_percentile(&both, share));
}

Test(histogram, is_empty_when_zeroed)
{
    static struct histogram histogram;
    cr_assert_eq(histogram_percentile(&histogram, 9999), 0);
}
