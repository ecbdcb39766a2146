#pragma once
// Keeps a noisy cause from filling the log: so many lines in a period, the rest counted.
//
//     uint64_t suppressed;
//     if (throttle_allows(&front->broken_lines, now_ns, &suppressed))
//         log_warn("frame_broken", ..., LOG_INT("suppressed", suppressed));
//
// Zeroed is a valid start. Owner: the caller. Thread: one.

#include <stdbool.h>
#include <stdint.h>

enum { THROTTLE_LINES = 5, THROTTLE_PERIOD_S = 10 };

struct throttle {
    int64_t period_start_ns;
    uint32_t lines;       // let through in this period
    uint64_t suppressed;  // since the last line
};

// now_ns: a monotonic clock. *out_suppressed: lines kept back since the last one that was allowed.
bool throttle_allows(struct throttle *throttle, int64_t now_ns, uint64_t *out_suppressed);
