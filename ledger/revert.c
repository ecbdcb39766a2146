#include "ledger/revert.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/correction.h"
#include "ledger/log_reader.h"

enum { BLOCKS_PER_LOOK = 16 };

static const int64_t SNAPSHOT_MAX_NS = 500 * 1000000LL;

struct slice {
    const struct revert *revert;
    uint64_t last;                   // no event of the batch lies behind this block
    uint64_t block;                  // where the rest begins
    uint32_t index;                  // in that block
    struct corrections corrections;  // what others took out of the batch
    struct buffer raw;               // the entry of the revert, then the cancels
    uint32_t count, count_max;
    int64_t time_ns;  // of the first event in it
    bool is_done;     // there is no rest
};

static struct entry
revert_entry(const struct slice *slice)
{
    const struct revert *revert = slice->revert;
    return (struct entry){
        .kind = ENTRY_BATCH_REVERT,
        .time_ns = slice->time_ns,
        .batch = revert->batch->id,
        .note =
            {
                   .who = revert->who,
                   .why = revert->why,
                   .block = slice->is_done ? 0 : slice->block,
                   .index = slice->is_done ? 0 : slice->index,
                   },
    };
}

static bool
slice_wants(const struct slice *slice, const struct entry *entry, uint64_t block, uint32_t index)
{
    bool can_count = entry->kind == ENTRY_EVENT || entry->kind == ENTRY_AMEND;
    return can_count && (entry->flags & ENTRY_IS_BACKFILL) != 0 &&
           bytes_equal(entry->batch, slice->revert->batch->id) &&
           !corrections_have(&slice->corrections, block, index);
}

static bool
slice_is_full(const struct slice *slice)
{
    return slice->count == slice->count_max || slice->raw.size >= REVERT_BYTES_MAX;
}

// What counts, at this place, counts no more.
static void
slice_add(struct slice *slice, const struct entry *entry, uint64_t block, uint32_t index)
{
    struct correction_part parts[CORRECTION_PARTS_MAX];
    uint32_t count = correction_parts(entry, parts);
    must(count > 0 && !parts[count - 1].is_cancel);
    struct entry cancel = parts[count - 1].event;
    cancel.kind = ENTRY_CANCEL;
    cancel.flags |= ENTRY_IS_REVERT;
    cancel.note = (struct entry_note){.block = block, .index = index};
    must(entry_is_sound(&cancel));
    const size_t size = entry_raw_size(&cancel);
    uint8_t *room = buffer_reserve(&slice->raw, size);
    if (room == NULL)
        return;
    entry_put(&cancel, room);
    buffer_commit(&slice->raw, size);
    if (slice->count == 0)
        slice->time_ns = cancel.time_ns;
    slice->count++;
}

// From the slice's place in that block on, until the slice is full.
static enum status
slice_read_block(
    struct slice *slice, struct log_reader *reader, struct tx *log, struct error *error)
{
    struct entry entry;
    enum status status = log_open(reader, log, slice->block, error);
    while (!status && log_next(reader, &entry)) {
        const uint32_t index = reader->block.index - 1;
        if (index < slice->index || !slice_wants(slice, &entry, slice->block, index))
            continue;
        if (slice_is_full(slice)) {
            slice->index = index;
            return STATUS_OK;
        }
        slice_add(slice, &entry, slice->block, index);
    }
    if (!status)
        status = log_end(reader, error);
    slice->block++;
    slice->index = 0;
    return status;
}

// Until it is full, the snapshot is old, or there is no rest.
static enum status
slice_fill(struct slice *slice, struct error *error)
{
    scoped(tx_done) struct tx log =
        tx_read(slice->revert->ledger->writers[slice->revert->shard].shard.log);
    scoped(log_reader_done) struct log_reader reader = {0};
    const uint16_t wanted = BLOCK_HAS_BACKFILL | BLOCK_HAS_CORRECTIONS;
    int64_t deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    enum status status = STATUS_OK;
    while (!status && slice->block <= slice->last && !slice_is_full(slice)) {
        if (slice->block % BLOCKS_PER_LOOK == 0 && clock_monotonic_ns() > deadline_ns)
            return STATUS_OK;
        status = log_look(&reader, &log, slice->block, error);
        if (!status && (reader.header.flags & wanted) != 0)
            status = slice_read_block(slice, &reader, &log, error);
        else if (!status)
            slice->block++;
    }
    slice->is_done = slice->block > slice->last;
    return status;
}

// The revert's own entry stands before its cancels, and is known last.
static enum status
slice_write(struct slice *slice, struct error *error)
{
    const struct entry entry = revert_entry(slice);
    must(entry_is_sound(&entry));
    if (buffer_failed(&slice->raw))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a part of a revert");
    entry_put(&entry, slice->raw.data);
    struct order order = {.kind = ORDER_BATCH, .raw = buffer_view(&slice->raw)};
    return order_run(slice->revert->ledger, slice->revert->shard, &order, error);
}

static enum status
slice_run(struct slice *slice, struct error *error)
{
    struct ledger *ledger = slice->revert->ledger;
    buffer_reset(&slice->raw);
    slice->count = 0;
    slice->time_ns = ledger->options.now_ns();
    const struct entry entry = revert_entry(slice);
    const size_t size = entry_raw_size(&entry);
    if (buffer_reserve(&slice->raw, size) != NULL)
        buffer_commit(&slice->raw, size);
    enum status status = slice_fill(slice, error);
    if (!status && (slice->count > 0 || slice->is_done))
        status = slice_write(slice, error);
    return status;
}

static void
slice_done(struct slice *slice)
{
    corrections_done(&slice->corrections);
    buffer_done(&slice->raw);
}

enum status
revert_run(const struct revert *revert, struct error *error)
{
    const struct batch *batch = revert->batch;
    struct ledger *ledger = revert->ledger;
    must(batch->state == BATCH_REVERTING && batch->reverted > batch->opened);
    const uint32_t group_max = ledger->options.group_events_max;
    scoped(slice_done) struct slice slice = {
        .revert = revert,
        .last = batch->reverted - 1,
        .block = batch->rest_block,
        .index = batch->rest_index,
        .count_max = group_max < REVERT_EVENTS_MAX ? group_max : REVERT_EVENTS_MAX,
    };
    enum status status = corrections_read_batch(
        &slice.corrections,
        ledger->writers[revert->shard].shard.log,
        batch->opened,
        slice.last,
        batch->id,
        error);
    while (!status && !slice.is_done) {
        if (flag_get(&ledger->is_stopping))
            return error_set(
                error, STATUS_CLOSED, "tallyd stops: the revert goes on at its next start");
        status = slice_run(&slice, error);
    }
    return status;
}
