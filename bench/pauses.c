#include "bench/pauses.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

// The lowest one: before every program that is not real-time, behind all that are.
enum { PRIORITY = 1 };

struct pauses_watch {
    const struct pauses *pauses;
    int64_t began_ns;  // before the thread was made
    struct pauses_found found;
    pthread_t thread;
};

// --- the arithmetic ---

// How many of due, due + step, ... are not after the last.
static uint64_t
moments_count(int64_t due_ns, int64_t step_ns, int64_t last_ns)
{
    return last_ns < due_ns ? 0 : (uint64_t)((last_ns - due_ns) / step_ns) + 1;
}

int64_t
pauses_note(struct pauses_found *found, int64_t step_ns, int64_t due_ns, int64_t woke_ns)
{
    must(step_ns > 0 && due_ns <= woke_ns);
    // Of those that it slept through, the last ones were not due for long.
    uint64_t moments = moments_count(due_ns, step_ns, woke_ns);
    uint64_t lost = moments_count(due_ns, step_ns, woke_ns - PAUSES_LEAST_NS - 1);
    found->moments += moments;
    found->lost += lost;
    if (lost > 0 && woke_ns - due_ns > found->max_ns)
        found->max_ns = woke_ns - due_ns;
    return due_ns + (int64_t)moments * step_ns;
}

void
pauses_merge(struct pauses_found *found, const struct pauses_found *other)
{
    found->moments += other->moments;
    found->lost += other->lost;
    if (other->max_ns > found->max_ns)
        found->max_ns = other->max_ns;
}

bool
pauses_are_known(const struct pauses_found *found)
{
    return found->moments > 0;
}

double
pauses_percent(const struct pauses_found *found)
{
    must(pauses_are_known(found));
    return (double)found->lost * 100 / (double)found->moments;
}

// --- the threads ---

// Once at least, so that a processor that is there is known of.
static void *
watch_run(void *context)
{
    struct pauses_watch *watch = context;
    int64_t step_ns = watch->pauses->step_ns, due_ns = watch->began_ns + step_ns;
    do {
        const struct timespec due = {due_ns / SECOND_NS, due_ns % SECOND_NS};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
        }
        due_ns = pauses_note(&watch->found, step_ns, due_ns, clock_monotonic_ns());
    } while (flag_get(&watch->pauses->stop) == 0);
    return NULL;
}

static bool
watch_start(struct pauses_watch *watch, size_t cpu)
{
    const struct sched_param priority = {.sched_priority = PRIORITY};
    pthread_attr_t attributes;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    watch->began_ns = clock_monotonic_ns();
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool is_started = pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED) == 0 &&
                      pthread_attr_setschedpolicy(&attributes, SCHED_FIFO) == 0 &&
                      pthread_attr_setschedparam(&attributes, &priority) == 0 &&
                      pthread_attr_setaffinity_np(&attributes, sizeof cpus, &cpus) == 0 &&
                      pthread_create(&watch->thread, &attributes, watch_run, watch) == 0;
    (void)pthread_attr_destroy(&attributes);
    return is_started;
}

void
pauses_start(struct pauses *pauses, int64_t step_ns)
{
    cpu_set_t cpus;
    *pauses = (struct pauses){.step_ns = step_ns};
    // Those that this process may use; more than the set has room for is an error here.
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return;
    uint32_t wanted = (uint32_t)CPU_COUNT(&cpus);
    pauses->watches = pool_take(wanted, sizeof *pauses->watches);
    if (pauses->watches == NULL)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE && pauses->count < wanted; cpu++) {
        struct pauses_watch *watch = &pauses->watches[pauses->count];
        if (!CPU_ISSET(cpu, &cpus))
            continue;
        watch->pauses = pauses;
        if (!watch_start(watch, cpu))
            break;
        pauses->count++;
    }
    // Some processors would say nothing of all of them.
    if (pauses->count < wanted)
        (void)pauses_stop(pauses);
}

struct pauses_found
pauses_stop(struct pauses *pauses)
{
    struct pauses_found found = {0};
    flag_set(&pauses->stop, 1);
    for (uint32_t i = 0; i < pauses->count; i++) {
        must(pthread_join(pauses->watches[i].thread, NULL) == 0);
        pauses_merge(&found, &pauses->watches[i].found);
    }
    pool_give(pauses->watches);
    *pauses = (struct pauses){0};
    return found;
}
