// The inputs are read in a transaction of their own, begun with each slice: their pages are not
// touched by what the slice writes, and no snapshot gets old.

#include "ledger/merge.h"

#include "base/assert.h"
#include "base/pool.h"

struct input {
    struct run_reader reader;
    struct fingerprint head;
    bool has_head;
};

struct merge {
    struct merge_options options;
    struct run inputs[MERGE_INPUTS_MAX];  // newest first
    struct input open[MERGE_INPUTS_MAX];  // likewise, while a slice runs
    struct run_writer writer;
    struct fingerprint after;  // the last one that was taken
    bool has_after;
    uint64_t part_first;  // block of the filter's part that is being made
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
input_next(struct input *input, struct error *error)
{
    input->has_head = run_next(&input->reader, &input->head, error);
    return input->reader.status;
}

static enum status
inputs_open(struct merge *merge, struct tx *read, struct error *error)
{
    enum status status = STATUS_OK;
    const struct fingerprint *after = merge->has_after ? &merge->after : NULL;
    for (uint32_t i = 0; i < merge->options.inputs_count; i++)
        merge->open[i] = (struct input){0};
    for (uint32_t i = 0; i < merge->options.inputs_count && !status; i++) {
        run_reader_open(&merge->open[i].reader, read, &merge->inputs[i], after, error);
        status = merge->open[i].reader.status;
        if (!status)
            status = input_next(&merge->open[i], error);
    }
    return status;
}

static void
inputs_close(struct merge *merge)
{
    for (uint32_t i = 0; i < merge->options.inputs_count; i++)
        run_reader_done(&merge->open[i].reader);
}

// The least head, of the newest input that has it; NULL: all are at their end.
static const struct input *
inputs_least(const struct merge *merge)
{
    const struct input *least = NULL;
    for (uint32_t i = 0; i < merge->options.inputs_count; i++) {
        const struct input *input = &merge->open[i];
        if (input->has_head && (least == NULL || fingerprint_compare(input->head, least->head) < 0))
            least = input;
    }
    return least;
}

static enum status
inputs_pass(struct merge *merge, struct fingerprint taken, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < merge->options.inputs_count && !status; i++) {
        struct input *input = &merge->open[i];
        if (input->has_head && fingerprint_compare(input->head, taken) == 0)
            status = input_next(input, error);
    }
    return status;
}

static enum status
merge_some(
    struct merge *merge, struct tx *tx, uint32_t pages_max, bool *out_is_done, struct error *error)
{
    enum status status = STATUS_OK;
    uint32_t pages_end = merge->writer.run.pages + pages_max;
    while (!status && !tx->status && merge->writer.run.pages < pages_end) {
        const struct input *least = inputs_least(merge);
        if (least == NULL) {
            *out_is_done = true;
            return STATUS_OK;
        }
        struct fingerprint taken = least->head;
        if (taken.payload != PAYLOAD_FREED || !merge->options.drops_freed) {
            run_put(&merge->writer, tx, taken);
            merge_mark(merge, tx, taken);
        }
        merge->after = taken;
        merge->has_after = true;
        status = inputs_pass(merge, taken, error);
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
    enum status status = inputs_open(merge, &read, error);
    if (!status)
        status = merge_some(merge, tx, pages_max, &is_done, error);
    inputs_close(merge);
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
