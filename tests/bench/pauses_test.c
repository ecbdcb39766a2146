#include "bench/pauses.h"

#include "base/assert.h"
#include "base/clock.h"

#include <criterion/criterion.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

static const int64_t MS = 1000000;

Test(pauses, loses_the_moments_that_are_more_than_a_millisecond_late)
{
    static const struct row {
        int64_t step_ms, late_us, next_ms;
        uint64_t moments, lost;
    } rows[] = {
        {10, 0,     10, 1,  0 },
        {10, 400,   10, 1,  0 },
        {10, 1000,  10, 1,  0 }, // a millisecond late, and not more
        {10, 1001,  10, 1,  1 },
        {10, 9999,  10, 1,  1 },
        {10, 10000, 20, 2,  1 }, // the second one came in time
        {10, 11000, 20, 2,  1 },
        {10, 11001, 20, 2,  2 },
        {10, 45000, 50, 5,  5 },
        {1,  1000,  2,  2,  0 },
        {1,  1001,  2,  2,  1 },
        {1,  30500, 31, 31, 30},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct pauses_found found = {0};
        int64_t due_ns = 5000 * MS, late_ns = row->late_us * 1000;
        int64_t next_ns = pauses_note(&found, row->step_ms * MS, due_ns, due_ns + late_ns);
        cr_assert_eq(next_ns, due_ns + row->next_ms * MS, "row %zu", i);
        cr_assert_eq(found.moments, row->moments, "row %zu", i);
        cr_assert_eq(found.lost, row->lost, "row %zu", i);
        cr_assert_eq(found.max_ns, row->lost > 0 ? late_ns : 0, "row %zu", i);
    }
}

// A processor that is away for pause_ms in each 97 ms, watched for so many of them, by a clock that
// is moved from one waking to the next.
static struct pauses_found
watch_made(int64_t step_ns, int64_t pause_ms, int64_t periods)
{
    struct pauses_found found = {0};
    int64_t period_ns = 97 * MS, due_ns = 0;
    while (due_ns < periods * period_ns) {
        int64_t place_ns = due_ns % period_ns;
        int64_t wait_ns = place_ns < pause_ms * MS ? pause_ms * MS - place_ns : 0;
        due_ns = pauses_note(&found, step_ns, due_ns, due_ns + wait_ns);
    }
    return found;
}

Test(pauses, are_the_same_part_of_the_time_however_often_it_looks)
{
    for (int64_t pause_ms = 2; pause_ms < 40; pause_ms++) {
        struct pauses_found often = watch_made(PAUSES_ALONE_NS, pause_ms, 1130);
        struct pauses_found rarely = watch_made(PAUSES_BESIDE_NS, pause_ms, 1130);
        // Less a millisecond of each.
        double part = (double)(pause_ms - 1) * 100 / 97;
        cr_assert_lt(fabs(pauses_percent(&often) - part), 0.01, "%d ms", (int)pause_ms);
        cr_assert_lt(fabs(pauses_percent(&rarely) - part), 0.01, "%d ms", (int)pause_ms);
        cr_assert_eq(often.max_ns, pause_ms * MS);
        cr_assert_eq(rarely.max_ns, pause_ms * MS);
    }
}

Test(pauses, tells_the_part_of_all_processors)
{
    struct pauses_found one = {.moments = 100, .lost = 5, .max_ns = 3 * MS};
    const struct pauses_found other = {.moments = 300, .lost = 1, .max_ns = 2 * MS};
    pauses_merge(&one, &other);
    cr_assert_eq(one.moments, 400);
    cr_assert_eq(one.lost, 6);
    cr_assert_eq(one.max_ns, 3 * MS);
    cr_assert_lt(fabs(pauses_percent(&one) - 1.5), 1e-9);
}

Test(pauses, are_unknown_before_anything_was_watched)
{
    struct pauses pauses = {0};
    struct pauses_found found = pauses_stop(&pauses);
    cr_assert_not(pauses_are_known(&found));
    cr_assert_eq(found.lost, 0);
}

// Takes a processor from everything that is less than this for 30 ms, as the machine would.
static void *
processor_keep(void *context)
{
    int64_t began_ns = clock_monotonic_ns();
    while (clock_monotonic_ns() - began_ns < 30 * MS) {
    }
    return context;
}

static bool
processor_keep_start(size_t cpu, pthread_t *out)
{
    const struct sched_param priority = {.sched_priority = 2};
    pthread_attr_t attributes;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    must(pthread_attr_init(&attributes) == 0);
    must(pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED) == 0);
    must(pthread_attr_setschedpolicy(&attributes, SCHED_FIFO) == 0);
    must(pthread_attr_setschedparam(&attributes, &priority) == 0);
    must(pthread_attr_setaffinity_np(&attributes, sizeof cpus, &cpus) == 0);
    bool is_started = pthread_create(out, &attributes, processor_keep, NULL) == 0;
    must(pthread_attr_destroy(&attributes) == 0);
    return is_started;
}

static size_t
first_cpu(void)
{
    cpu_set_t cpus;
    must(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &cpus))
        cpu++;
    return cpu;
}

Test(pauses, sees_a_processor_that_is_kept_from_it)
{
    struct pauses pauses;
    pthread_t keeper;
    pauses_start(&pauses, PAUSES_ALONE_NS);
    bool is_kept = pauses.count > 0 && processor_keep_start(first_cpu(), &keeper);
    if (is_kept)
        must(pthread_join(keeper, NULL) == 0);
    struct pauses_found found = pauses_stop(&pauses);
    if (!is_kept)
        cr_skip_test("no right to real-time threads of two priorities");
    cr_assert(pauses_are_known(&found));
    // Of 30 ms one step is not seen, and two moments were not due for more than a millisecond.
    cr_assert_geq(found.max_ns, 30 * MS - PAUSES_ALONE_NS);
    cr_assert_geq(found.lost, 28);
    cr_assert_gt(pauses_percent(&found), 0);
    cr_assert_leq(pauses_percent(&found), 100);
}

Test(pauses, are_unknown_without_the_right_to_real_time_threads)
{
    const struct rlimit none = {0, 0};
    must(setrlimit(RLIMIT_RTPRIO, &none) == 0);
    // Root keeps no capability when it becomes somebody else.
    if (geteuid() == 0)
        must(setresuid(65534, 65534, 65534) == 0);
    struct pauses pauses;
    pauses_start(&pauses, PAUSES_ALONE_NS);
    cr_assert_eq(pauses.count, 0);
    struct pauses_found found = pauses_stop(&pauses);
    cr_assert_not(pauses_are_known(&found));
}
