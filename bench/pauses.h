#pragma once
// How long the machine kept a processor from everybody while something was measured.
//
//     struct pauses pauses = {0};
//     pauses_start(&pauses, PAUSES_BESIDE_NS)     // one real-time thread on each processor
//     measure
//     struct pauses_found found = pauses_stop(&pauses)
//     if (pauses_are_known(&found)) tell pauses_percent(&found), found.max_ns
//
// A virtual machine's host takes its processors away for milliseconds at a time, and so does a
// kernel that is busy with itself. What is measured then waits with everybody else, and its
// latencies tell of the machine. A real-time thread goes before every program: one that wants to be
// woken at a moment and is woken more than PAUSES_LEAST_NS later was kept waiting by the machine
// itself. Moments are evenly spread, so the part of them that was lost is the part of the time at
// which anybody would have been kept waiting for so long: the time of all pauses, less
// PAUSES_LEAST_NS of each.
//
// A waking costs 3 us on a processor of one's own and 35 us in a virtual machine whose timers are
// its host's: 0.3 % of each processor with PAUSES_BESIDE_NS. Real-time threads need CAP_SYS_NICE
// or a limit RLIMIT_RTPRIO above 0; without it nothing is known, and nothing fails.
//
// Owner: the caller. Thread: one at a time.

#include "base/ring.h"

#include <stdbool.h>
#include <stdint.h>

static const int64_t PAUSES_LEAST_NS = 1000000;
// From one moment to the next: beside a measurement, not in step with the kernel's ticks and the
// tenths of a second in which hosts ration; and alone, where more moments cost nobody.
static const int64_t PAUSES_BESIDE_NS = 11300000;
static const int64_t PAUSES_ALONE_NS = 1000000;

struct pauses_found {
    uint64_t moments;  // of all processors; 0: nothing is known
    uint64_t lost;     // of them, to pauses
    int64_t max_ns;    // the longest pause that was seen; 0: there was none
};

struct pauses_watch;

struct pauses {
    struct pauses_watch *watches;
    uint32_t count;  // of processors, and of threads that were started
    int64_t step_ns;
    struct flag stop;
};

// Where threads cannot be started it watches nothing.
void pauses_start(struct pauses *pauses, int64_t step_ns);
// Of a zeroed one: nothing is known.
struct pauses_found pauses_stop(struct pauses *pauses);

// A thread that was to be woken at due_ns, and at each step after it, was at woke_ns. Returns the
// next moment, which is after woke_ns.
int64_t pauses_note(struct pauses_found *found, int64_t step_ns, int64_t due_ns, int64_t woke_ns);
void pauses_merge(struct pauses_found *found, const struct pauses_found *other);
bool pauses_are_known(const struct pauses_found *found);
// Of the moments of all processors. Only when they are known.
double pauses_percent(const struct pauses_found *found);
