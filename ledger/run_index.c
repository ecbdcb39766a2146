// A guess, steps that double from there until the page lies between two of them, and halving.

#include "ledger/run_index.h"

#include "base/assert.h"
#include "base/decimal.h"
#include "base/pool.h"

enum { FIRST_STEP = 8 };

struct index_row {
    uint64_t last_low;
    const uint8_t *at;
};

struct run_index {
    struct index_row *rows;
    uint32_t count;
    uint32_t count_max;
};

struct run_index *
run_index_open(uint32_t pages_max)
{
    struct run_index *index = pool_take(1, sizeof *index);
    if (index == NULL)
        return NULL;
    index->count_max = pages_max;
    index->rows = pool_take(pages_max, sizeof *index->rows);
    if (index->rows == NULL) {
        pool_give(index);
        return NULL;
    }
    return index;
}

void
run_index_close(struct run_index *index)
{
    if (index == NULL)
        return;
    pool_give(index->rows);
    pool_give(index);
}

void
run_index_add(struct run_index *index, uint64_t last_low, const uint8_t *at)
{
    must(index->count < index->count_max);
    must(index->count == 0 || index->rows[index->count - 1].last_low <= last_low);
    index->rows[index->count++] = (struct index_row){last_low, at};
}

// The first row in [from, to) that is not before low; to: none is.
static uint32_t
rows_halve(const struct index_row *rows, uint32_t from, uint32_t to, uint64_t low)
{
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (rows[middle].last_low < low)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

// The same of all rows.
static uint32_t
rows_seek(const struct index_row *rows, uint32_t count, uint64_t low)
{
    uint32_t guess = (uint32_t)((uint128)low * count >> 64);
    uint32_t from = 0;
    uint32_t to = count;
    for (uint32_t step = FIRST_STEP; rows[guess].last_low < low; step *= 2) {
        from = guess + 1;
        if (step >= count - guess)
            return rows_halve(rows, from, to, low);
        guess += step;
    }
    // Not before it: the one that is lies below.
    to = guess;
    for (uint32_t step = FIRST_STEP; step <= to - from; step *= 2) {
        if (rows[to - step].last_low < low)
            return rows_halve(rows, to - step + 1, to, low);
        to -= step;
    }
    return rows_halve(rows, from, to, low);
}

const uint8_t *
run_index_find(const struct run_index *index, uint64_t low)
{
    if (index->count == 0)
        return NULL;
    uint32_t at = rows_seek(index->rows, index->count, low);
    return at < index->count ? index->rows[at].at : NULL;
}

size_t
run_index_bytes(const struct run_index *index)
{
    return (size_t)index->count_max * sizeof *index->rows;
}
