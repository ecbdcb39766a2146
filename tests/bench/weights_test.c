#include "bench/weights.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>

enum { PICKS = 1000000 };

// SplitMix64 (Steele, Lea, Flood 2014).
static uint64_t
spread(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static struct weights *
weights_new(uint32_t subjects, double zipf, uint32_t hot_percent)
{
    struct weights *weights = NULL;
    struct error error = {0};
    const struct weights_options options = {subjects, zipf, hot_percent};
    cr_assert_eq(weights_open(&options, &weights, &error), STATUS_OK, "%s", error.text);
    return weights;
}

static void
picks_count(const struct weights *weights, uint32_t *counts, uint32_t subjects)
{
    for (uint64_t i = 0; i < PICKS; i++) {
        uint32_t subject = weights_pick(weights, spread(i));
        cr_assert_lt(subject, subjects);
        counts[subject]++;
    }
}

// Five times the standard deviation of so many picks: the seed is fixed, so what holds once holds.
static void
share_expect(const uint32_t *counts, uint32_t subject, double share)
{
    double expected = share * PICKS, spread_of = sqrt(PICKS * share * (1 - share));
    cr_assert_lt(
        fabs(counts[subject] - expected),
        5 * spread_of + 1,
        "subject %u: %u instead of %.0f",
        subject,
        counts[subject],
        expected);
}

Test(weights, needs_no_table_when_all_are_alike)
{
    cr_assert_null(weights_new(1000, 0, 0));
}

Test(weights, follows_the_law_of_zipf)
{
    static const double exponents[] = {0.5, 0.99, 1, 2.5};
    for (size_t row = 0; row < sizeof exponents / sizeof exponents[0]; row++) {
        enum { SUBJECTS = 300 };
        uint32_t counts[SUBJECTS] = {0};
        double sum = 0;
        struct weights *weights = weights_new(SUBJECTS, exponents[row], 0);
        picks_count(weights, counts, SUBJECTS);
        for (uint32_t i = 0; i < SUBJECTS; i++)
            sum += pow(i + 1, -exponents[row]);
        for (uint32_t i = 0; i < SUBJECTS; i++)
            share_expect(counts, i, pow(i + 1, -exponents[row]) / sum);
        weights_close(weights);
    }
}

Test(weights, gives_the_hot_subject_its_share_and_the_others_the_rest_alike)
{
    static const struct {
        uint32_t subjects, percent;
    } rows[] = {
        {2,    50},
        {7,    1 },
        {1000, 50},
        {10,   99}
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        uint32_t counts[1000] = {0}, subjects = rows[row].subjects;
        struct weights *weights = weights_new(subjects, 0, rows[row].percent);
        picks_count(weights, counts, subjects);
        share_expect(counts, 0, rows[row].percent / 100.0);
        for (uint32_t i = 1; i < subjects; i++)
            share_expect(counts, i, (1 - rows[row].percent / 100.0) / (subjects - 1));
        weights_close(weights);
    }
}

Test(weights, keeps_zipf_behind_a_hot_subject)
{
    uint32_t counts[50] = {0};
    struct weights *weights = weights_new(50, 1, 50);
    picks_count(weights, counts, 50);
    double others = 0;
    for (uint32_t i = 1; i < 50; i++)
        others += 1.0 / (i + 1);
    share_expect(counts, 0, 0.5);
    share_expect(counts, 1, 0.5 / 2 / others);
    share_expect(counts, 49, 0.5 / 50 / others);
    weights_close(weights);
}

Test(weights, picks_the_only_subject)
{
    uint32_t counts[1] = {0};
    struct weights *weights = weights_new(1, 1.2, 0);
    picks_count(weights, counts, 1);
    cr_assert_eq(counts[0], PICKS);
    weights_close(weights);
}

Test(weights, refuses_what_has_no_meaning)
{
    static const struct weights_options rows[] = {
        {10, -0.1, 0  },
        {10, 10.5, 0  },
        {10, NAN,  0  },
        {10, 0,    100},
        {1,  0,    50 }
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weights *weights = NULL;
        struct error error = {0};
        cr_assert_eq(weights_open(&rows[i], &weights, &error), STATUS_INVALID, "row %zu", i);
        cr_assert_null(weights);
    }
}
