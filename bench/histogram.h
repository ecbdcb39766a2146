#pragma once
// Durations by their logarithm: exact to one part in 64, of any size, in 18 KiB.
//
//     histogram_add(&histogram, latency_ns);
//     histogram_merge(&all, &histogram);
//     p99_ns = histogram_percentile(&all, 9900);       // in hundredths of a percent
//
// Zeroed is empty. Owner: the caller. Thread: one at a time.

#include <stdbool.h>
#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 6,  // 64 steps in every power of two
    HISTOGRAM_VALUE_BITS = 42,
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
};

// A value too large for the last bucket is counted there; the largest is kept as it is.
void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *histogram, const struct histogram *other);
// The smallest value that at least this share of all values does not exceed: the upper end of its
// bucket, and never more than the largest value. 0 when empty.
uint64_t histogram_percentile(const struct histogram *histogram, uint32_t hundredths);
