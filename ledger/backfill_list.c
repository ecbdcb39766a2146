#include "ledger/backfill_list.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "ledger/ledger.h"
#include "ledger/log_walk.h"
#include "ledger/shard_view.h"

#include <stdlib.h>

// What one shard knows of a batch, with what its log says of when and why.
struct found {
    struct batch batch;
    struct backfill_step opened, closed, reverted;
};

struct listing {
    struct arena *arena;
    struct buffer found;  // of struct found, of all shards
    uint32_t shards;
};

struct learning {
    struct batches *batches;
    struct arena *arena;
};

static enum status
learn_block(
    void *context,
    struct log_reader *reader,
    struct tx *log,
    uint64_t sequence,
    struct error *error)
{
    const struct learning *learning = context;
    const uint16_t wanted = BLOCK_HAS_BACKFILL | BLOCK_HAS_CORRECTIONS;
    struct entry entry;
    enum status status = log_look(reader, log, sequence, error);
    if (status || (reader->header.flags & wanted) == 0)
        return status;
    status = log_open(reader, log, sequence, error);
    while (!status && log_next(reader, &entry))
        status = batches_learn(learning->batches, &entry, sequence, learning->arena, error);
    return status ? status : log_end(reader, error);
}

// The first entry of the kind and batch in this block; none in block 0.
static enum status
step_read(
    const struct shard_view *view,
    const struct batch *batch,
    enum entry_kind kind,
    uint64_t block,
    struct arena *arena,
    struct backfill_step *out,
    struct error *error)
{
    scoped(log_reader_done) struct log_reader reader = {0};
    struct entry entry;
    if (block == 0)
        return STATUS_OK;
    scoped(tx_done) struct tx log = tx_read(view->log);
    enum status status = log_open(&reader, &log, block, error);
    // Retention deleted it.
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    while (!status && log_next(&reader, &entry)) {
        if (entry.kind != kind || !bytes_equal(entry.batch, batch->id) || out->time_ns != 0)
            continue;
        *out = (struct backfill_step){
            .time_ns = reader.header.arrival_ns,
            .who = arena_bytes(arena, entry.note.who),
            .why = arena_bytes(arena, entry.note.why),
        };
    }
    return status ? status : log_end(&reader, error);
}

static enum status
batch_list(
    struct listing *listing,
    const struct shard_view *view,
    const struct batch *batch,
    struct error *error)
{
    struct found found = {.batch = *batch};
    struct arena *arena = listing->arena;
    enum status status =
        step_read(view, batch, ENTRY_BATCH_OPEN, batch->opened, arena, &found.opened, error);
    if (!status)
        status =
            step_read(view, batch, ENTRY_BATCH_CLOSE, batch->closed, arena, &found.closed, error);
    if (!status)
        status = step_read(
            view, batch, ENTRY_BATCH_REVERT, batch->reverted, arena, &found.reverted, error);
    buffer_put(&listing->found, &found, sizeof found);
    return status;
}

static enum status
shard_list(struct listing *listing, const char *dir, uint32_t shard, struct error *error)
{
    scoped(shard_view_done) struct shard_view view = {0};
    struct batches batches = {0};
    struct learning learning = {.batches = &batches, .arena = listing->arena};
    uint64_t position = 0;
    enum status status = shard_view_open(dir, shard, &view, error);
    if (!status && view.state != NULL) {
        scoped(tx_done) struct tx state = tx_read(view.state);
        status = state_position(&state, &position, error);
        if (!status)
            status = batches_read(&state, &batches, listing->arena, error);
    }
    if (status || view.log == NULL)
        return status;
    status = log_walk_tail(&view, position, learn_block, &learning, error);
    for (uint32_t i = 0; i < batches.count && !status; i++)
        status = batch_list(listing, &view, &batches.list[i], error);
    return status;
}

static int
compare_found(const void *a, const void *b)
{
    const struct found *left = a;
    const struct found *right = b;
    return bytes_compare(left->batch.id, right->batch.id);
}

static int
compare_rows(const void *a, const void *b)
{
    const struct backfill_row *left = a;
    const struct backfill_row *right = b;
    if (left->opened.time_ns != right->opened.time_ns)
        return left->opened.time_ns < right->opened.time_ns ? -1 : 1;
    return bytes_compare(left->id, right->id);
}

static void
step_merge(struct backfill_step *into, const struct backfill_step *from)
{
    bool is_earlier = into->time_ns == 0 || from->time_ns < into->time_ns;
    if (from->time_ns != 0 && is_earlier)
        *into = *from;
}

static void
row_merge(struct backfill_row *row, const struct found *found)
{
    const struct batch *batch = &found->batch;
    row->is_partial = row->is_partial || row->state != batch->state;
    if (batch->state < row->state)
        row->state = batch->state;
    row->stored += batch->stored;
    row->taken += batch->taken;
    row->cancelled += batch->cancelled;
    step_merge(&row->opened, &found->opened);
    step_merge(&row->closed, &found->closed);
    step_merge(&row->reverted, &found->reverted);
}

// The same batch of all shards lies side by side.
static size_t
rows_make(const struct listing *listing, struct backfill_row **out)
{
    struct found *all = (void *)listing->found.data;
    const size_t count = listing->found.size / sizeof *all;
    struct backfill_row *rows = arena_array(listing->arena, count, struct backfill_row);
    size_t rows_count = 0;
    if (count > 1)
        qsort(all, count, sizeof *all, compare_found);
    for (size_t i = 0; i < count;) {
        struct backfill_row *row = &rows[rows_count++];
        size_t next = i;
        *row = (struct backfill_row){.id = all[i].batch.id, .state = all[i].batch.state};
        while (next < count && bytes_equal(all[next].batch.id, row->id))
            row_merge(row, &all[next++]);
        row->is_partial = row->is_partial || next - i < listing->shards;
        i = next;
    }
    if (rows_count > 1)
        qsort(rows, rows_count, sizeof *rows, compare_rows);
    *out = rows;
    return rows_count;
}

static void
listing_done(struct listing *listing)
{
    buffer_done(&listing->found);
}

enum status
backfill_list(
    const char *dir,
    struct arena *arena,
    struct backfill_row **out_rows,
    size_t *out_count,
    struct error *error)
{
    struct ledger_conf conf;
    enum status status = ledger_shape_read(dir, &conf, error);
    if (status)
        return status;
    scoped(listing_done) struct listing listing = {.arena = arena, .shards = conf.shards};
    for (uint32_t i = 0; i < conf.shards && !status; i++)
        status = shard_list(&listing, dir, i, error);
    if (!status && buffer_failed(&listing.found))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for a list of backfills");
    if (!status)
        *out_count = rows_make(&listing, out_rows);
    return status;
}
