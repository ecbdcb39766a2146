#include "bench/histogram.h"

#include "base/assert.h"

static const uint32_t STEPS = 1U << HISTOGRAM_STEP_BITS;

// Values below 64 have a bucket each; above, the 6 bits behind the leading one choose within
// their power of two.
static uint32_t
bucket_of(uint64_t value)
{
    if (value < STEPS)
        return (uint32_t)value;
    uint32_t top = 63U - (uint32_t)__builtin_clzll(value);
    uint32_t shift = top - HISTOGRAM_STEP_BITS;
    uint32_t bucket = ((shift + 1) << HISTOGRAM_STEP_BITS) + (uint32_t)(value >> shift) - STEPS;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

// The largest value of a bucket.
static uint64_t
bucket_end(uint32_t bucket)
{
    if (bucket < STEPS)
        return bucket;
    uint32_t shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
    uint64_t step = (bucket & (STEPS - 1)) + STEPS;
    return ((step + 1) << shift) - 1;
}

void
histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->counts[bucket_of(value)]++;
    histogram->total++;
    if (value > histogram->max)
        histogram->max = value;
}

void
histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->counts[i] += other->counts[i];
    histogram->total += other->total;
    if (other->max > histogram->max)
        histogram->max = other->max;
}

uint64_t
histogram_percentile(const struct histogram *histogram, uint32_t hundredths)
{
    must(hundredths <= 10000);
    if (histogram->total == 0)
        return 0;
    uint64_t rank = (histogram->total * hundredths + 9999) / 10000;
    if (rank == 0)
        rank = 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen < rank)
            continue;
        bool is_last = i == HISTOGRAM_BUCKETS - 1;
        uint64_t end = bucket_end(i);
        return is_last || end > histogram->max ? histogram->max : end;
    }
    return histogram->max;
}
