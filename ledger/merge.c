// The inputs are read in a transaction of their own, begun with each slice: their pages are not
// touched by what the slice writes, and no snapshot gets old.

#include "ledger/merge.h"

#include "base/assert.h"
#include "base/pool.h"

enum { BATCH_MAX = MERGE_INPUTS_MAX * RUN_PAGE_IDS };

struct merge {
    struct merge_options options;
    struct run inputs[MERGE_INPUTS_MAX];          // newest first
    struct run_reader readers[MERGE_INPUTS_MAX];  // likewise, while a slice runs
    struct run_writer writer;
    struct fingerprint after;  // the last one that was taken
    bool has_after;
    uint64_t part_first;  // block of the filter's part that is being made
    struct id_sort sort;
    struct fingerprint gathered[BATCH_MAX];
    struct fingerprint sorted[BATCH_MAX];
    uint64_t part[FILTER_PART_BLOCKS * FILTER_WORDS];
};

struct merge *
merge_open(const struct merge_options *options)
{
    must(options->inputs_count > 0 && options->inputs_count <= MERGE_INPUTS_MAX);
    struct merge *merge = pool_take(1, sizeof *merge);
    if (merge == NULL)
        return NULL;
    merge->options = *options;
    for (uint32_t i = 0; i < options->inputs_count; i++)
        merge->inputs[i] = options->inputs[options->inputs_count - 1 - i];
    merge->options.inputs = merge->inputs;
    merge->writer = run_writer_begin(options->number);
    return merge;
}

void
merge_close(struct merge *merge)
{
    pool_give(merge);
}

static void
merge_put_part(struct merge *merge, struct tx *tx)
{
    uint64_t left = merge->options.filter_blocks - merge->part_first;
    uint64_t count = left < FILTER_PART_BLOCKS ? left : FILTER_PART_BLOCKS;
    uint32_t part = (uint32_t)(merge->part_first / FILTER_PART_BLOCKS);
    filter_part_put(tx, merge->options.number, part, merge->part, count);
    memset(merge->part, 0, sizeof merge->part);
    merge->part_first += count;
}

static void
merge_mark(struct merge *merge, struct tx *tx, struct fingerprint fingerprint)
{
    if (merge->options.filter_blocks == 0)
        return;
    uint64_t block = filter_block_of(merge->options.filter_blocks, fingerprint);
    must(block >= merge->part_first);
    while (block - merge->part_first >= FILTER_PART_BLOCKS)
        merge_put_part(merge, tx);
    filter_mark(merge->part + (block - merge->part_first) * FILTER_WORDS, fingerprint);
}

static enum status
readers_open(struct merge *merge, struct tx *read, struct error *error)
{
    enum status status = STATUS_OK;
    const struct fingerprint *after = merge->has_after ? &merge->after : NULL;
    for (uint32_t i = 0; i < merge->options.inputs_count; i++)
        merge->readers[i] = (struct run_reader){0};
    for (uint32_t i = 0; i < merge->options.inputs_count && !status; i++) {
        run_reader_open(&merge->readers[i], read, &merge->inputs[i], after, error);
        status = merge->readers[i].status;
    }
    return status;
}

static void
readers_close(struct merge *merge)
{
    for (uint32_t i = 0; i < merge->options.inputs_count; i++)
        run_reader_done(&merge->readers[i]);
}

// Up to where all inputs have their page: none has more before it than it has in memory. False: all
// are at their end, or one is damaged.
static bool
batch_limit(
    struct merge *merge,
    struct fingerprint *out_limit,
    enum status *out_status,
    struct error *error)
{
    bool has_more = false;
    for (uint32_t i = 0; i < merge->options.inputs_count; i++) {
        struct run_reader *reader = &merge->readers[i];
        struct fingerprint last;
        bool has_page = run_page(reader, &last, error);
        if (reader->status) {
            *out_status = reader->status;
            return false;
        }
        if (has_page && (!has_more || fingerprint_compare(last, *out_limit) < 0))
            *out_limit = last;
        has_more = has_more || has_page;
    }
    return has_more;
}

// What all inputs have up to the limit, sorted, the newest of equal ones first.
static uint32_t
batch_gather(
    struct merge *merge, struct fingerprint limit, enum status *out_status, struct error *error)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < merge->options.inputs_count && !*out_status; i++) {
        count += run_take(&merge->readers[i], limit, merge->gathered + count, error);
        must(count <= BATCH_MAX);
        *out_status = merge->readers[i].status;
    }
    id_sort(&merge->sort, merge->gathered, merge->sorted, count);
    return count;
}

static void
batch_put(struct merge *merge, struct tx *tx, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct fingerprint taken = merge->sorted[i];
        if (i > 0 && fingerprint_compare(merge->sorted[i - 1], taken) == 0)
            continue;
        if (taken.payload == PAYLOAD_FREED && merge->options.drops_freed)
            continue;
        run_put(&merge->writer, tx, taken);
        merge_mark(merge, tx, taken);
    }
}

// By batches, each of about a page in all: gathered and sorted anew, which takes half of the CPU
// that comparing the heads of all inputs one by one took.
static enum status
merge_some(
    struct merge *merge, struct tx *tx, uint32_t pages_max, bool *out_is_done, struct error *error)
{
    enum status status = STATUS_OK;
    uint32_t pages_end = merge->writer.run.pages + pages_max;
    while (!status && !tx->status && merge->writer.run.pages < pages_end) {
        struct fingerprint limit;
        if (!batch_limit(merge, &limit, &status, error)) {
            *out_is_done = true;
            break;
        }
        uint32_t count = batch_gather(merge, limit, &status, error);
        if (status)
            break;
        batch_put(merge, tx, count);
        merge->after = limit;
        merge->has_after = true;
    }
    return status ? status : tx_check(tx, error);
}

enum status
merge_slice(
    struct merge *merge, struct tx *tx, uint32_t pages_max, bool *out_is_done, struct error *error)
{
    must(pages_max > 0);
    bool is_done = false;
    scoped(tx_done) struct tx read = tx_read(tx->env);
    enum status status = readers_open(merge, &read, error);
    if (!status)
        status = merge_some(merge, tx, pages_max, &is_done, error);
    readers_close(merge);
    if (!status)
        status = tx_check(&read, error);
    if (!status)
        *out_is_done = is_done;
    return status;
}

void
merge_end(struct merge *merge, struct tx *tx, struct run *out)
{
    while (merge->part_first < merge->options.filter_blocks)
        merge_put_part(merge, tx);
    run_end(&merge->writer, tx, out);
}
