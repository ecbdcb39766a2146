// Each of n columns has height 1 and holds at most two subjects: its own up to a threshold, and
// another above it. A pick takes a column, and a height in it.
#include "bench/weights.h"

#include "base/assert.h"
#include "base/pool.h"

#include <math.h>

struct column {
    uint32_t threshold;  // in 2^-32 of the height; beyond it: the other
    uint32_t other;
};

struct weights {
    uint32_t subjects;
    struct column *columns;
};

static enum status
options_check(const struct weights_options *options, struct error *error)
{
    must(options->subjects > 0);
    if (!(options->zipf >= 0 && options->zipf <= 10))
        return error_set(error, STATUS_INVALID, "Zipf's exponent may be 0 to 10");
    if (options->hot_percent > 99)
        return error_set(error, STATUS_INVALID, "the hot subject may have 0 to 99 %%");
    if (options->hot_percent > 0 && options->subjects < 2)
        return error_set(error, STATUS_INVALID, "a hot subject needs others beside it");
    return STATUS_OK;
}

// The mean height becomes 1.
static void
heights_fill(const struct weights_options *options, double *heights)
{
    double sum = 0, others = 0;
    uint32_t count = options->subjects;
    for (uint32_t i = 0; i < count; i++) {
        heights[i] = pow((double)i + 1, -options->zipf);
        others += i > 0 ? heights[i] : 0;
    }
    if (options->hot_percent > 0)
        heights[0] = others * options->hot_percent / (100.0 - options->hot_percent);
    sum = others + heights[0];
    for (uint32_t i = 0; i < count; i++)
        heights[i] *= count / sum;
}

static uint32_t
threshold_of(double height)
{
    return height >= 1 ? UINT32_MAX : (uint32_t)(height * 4294967296.0);
}

// Gives what a column lacks from one that has too much, until none lacks anything. `low` and `high`
// are stacks in one array, from both ends.
static void
columns_level(struct weights *weights, double *heights, uint32_t *stacks)
{
    uint32_t count = weights->subjects, low = 0, high = count;
    for (uint32_t i = 0; i < count; i++) {
        weights->columns[i] = (struct column){.threshold = UINT32_MAX, .other = i};
        if (heights[i] < 1)
            stacks[low++] = i;
        else
            stacks[--high] = i;
    }
    while (low > 0 && high < count) {
        uint32_t small = stacks[--low], large = stacks[high];
        weights->columns[small] =
            (struct column){.threshold = threshold_of(heights[small]), .other = large};
        heights[large] -= 1 - heights[small];
        if (heights[large] < 1) {
            high++;
            stacks[low++] = large;
        }
    }
}

enum status
weights_open(const struct weights_options *options, struct weights **out, struct error *error)
{
    enum status status = options_check(options, error);
    if (status != STATUS_OK)
        return status;
    *out = NULL;
    if (options->zipf <= 0 && options->hot_percent == 0)
        return STATUS_OK;
    struct weights *weights = pool_take(1, sizeof *weights);
    double *heights = pool_take(options->subjects, sizeof *heights);
    uint32_t *stacks = pool_take(options->subjects, sizeof *stacks);
    if (weights != NULL) {
        weights->subjects = options->subjects;
        weights->columns = pool_take(options->subjects, sizeof *weights->columns);
    }
    if (weights == NULL || weights->columns == NULL || heights == NULL || stacks == NULL) {
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the shares of subjects");
        weights_close(weights);
    } else {
        heights_fill(options, heights);
        columns_level(weights, heights, stacks);
        *out = weights;
    }
    pool_give(heights);
    pool_give(stacks);
    return status;
}

void
weights_close(struct weights *weights)
{
    if (weights == NULL)
        return;
    pool_give(weights->columns);
    pool_give(weights);
}

uint32_t
weights_pick(const struct weights *weights, uint64_t random)
{
    uint32_t index = (uint32_t)((random >> 32) * weights->subjects >> 32);
    const struct column *column = &weights->columns[index];
    return (uint32_t)random < column->threshold ? index : column->other;
}
