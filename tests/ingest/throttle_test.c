#include "ingest/throttle.h"

#include "base/clock.h"

#include <criterion/criterion.h>

Test(throttle, lets_some_through_and_counts_the_rest)
{
    struct throttle throttle = {0};
    uint64_t suppressed = 99;
    int64_t now_ns = 5 * SECOND_NS;
    for (uint32_t i = 0; i < THROTTLE_LINES; i++) {
        cr_assert(throttle_allows(&throttle, now_ns + i, &suppressed));
        cr_assert_eq(suppressed, 0);
    }
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_not(throttle_allows(&throttle, now_ns + i, &suppressed));
    now_ns += THROTTLE_PERIOD_S * SECOND_NS;
    cr_assert_not(throttle_allows(&throttle, now_ns - 1, &suppressed));
    cr_assert(throttle_allows(&throttle, now_ns, &suppressed));
    cr_assert_eq(suppressed, 1001);
    cr_assert(throttle_allows(&throttle, now_ns, &suppressed));
    cr_assert_eq(suppressed, 0);
}
