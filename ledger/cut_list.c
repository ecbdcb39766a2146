#include "ledger/cut_list.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/cut_record.h"
#include "ledger/log_walk.h"
#include "ledger/shard_view.h"
#include "ledger/usage_answer.h"

#include <inttypes.h>
#include <stdlib.h>

// A cut of one shard.
struct found {
    struct cut cut;
    int64_t made_ns;
};

struct listing {
    struct arena *arena;
    struct buffer found;  // of struct found, of all shards
};

static void
listing_done(struct listing *listing)
{
    buffer_done(&listing->found);
}

struct learning {
    struct cuts *cuts;
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
    struct cuts *cuts = learning->cuts;
    struct entry entry;
    enum status status = log_look(reader, log, sequence, error);
    if (status || (reader->header.flags & BLOCK_HAS_CUT) == 0)
        return status;
    status = log_open(reader, log, sequence, error);
    while (!status && log_next(reader, &entry))
        if (entry.kind == ENTRY_CUT && cuts->count < CUTS_MAX)
            cuts_add(
                cuts,
                &(struct cut){entry.note.cut, entry.time_ns / SECOND_NS, sequence},
                learning->arena);
    return status ? status : log_end(reader, error);
}

// Headers alone; retention may have deleted them.
static enum status
moments_read(
    const struct shard_view *view,
    const struct cuts *cuts,
    struct listing *listing,
    struct error *error)
{
    if (cuts->count == 0 || view->log == NULL)
        return STATUS_OK;
    scoped(tx_done) struct tx log = tx_read(view->log);
    scoped(log_reader_done) struct log_reader reader = {0};
    for (uint32_t i = 0; i < cuts->count; i++) {
        struct found found = {.cut = cuts->list[i]};
        enum status status = log_look(&reader, &log, found.cut.block, error);
        if (status && status != STATUS_NOT_FOUND)
            return error_prefix(error, "shard %" PRIu32, view->shard);
        if (!status)
            found.made_ns = reader.header.arrival_ns;
        buffer_put(&listing->found, &found, sizeof found);
    }
    return STATUS_OK;
}

static enum status
shard_list(struct listing *listing, struct reader *reader, uint32_t shard, struct error *error)
{
    struct shard_view *view = &reader->views[shard];
    struct cuts cuts = {0};
    struct learning learning = {.cuts = &cuts, .arena = listing->arena};
    uint64_t position = 0;
    enum status status = shard_view_open(reader->dir, shard, view, error);
    if (!status && view->state != NULL) {
        scoped(tx_done) struct tx state = tx_read(view->state);
        status = state_position(&state, &position, error);
        if (!status)
            status = cuts_read(&state, &cuts, listing->arena, error);
    }
    if (!status)
        status = log_walk_tail(view, position, learn_block, &learning, error);
    return status ? status : moments_read(view, &cuts, listing, error);
}

static int
compare_found(const void *a, const void *b)
{
    const struct found *left = a;
    const struct found *right = b;
    return (left->cut.number > right->cut.number) - (left->cut.number < right->cut.number);
}

// The same cut of all shards lies side by side.
static uint32_t
rows_make(const struct listing *listing, uint32_t shards, struct cut_row **out)
{
    struct found *all = (void *)listing->found.data;
    const size_t count = listing->found.size / sizeof *all;
    struct cut_row *rows = arena_array(listing->arena, count, struct cut_row);
    uint32_t rows_count = 0;
    if (count > 1)
        qsort(all, count, sizeof *all, compare_found);
    for (size_t i = 0; i < count;) {
        struct cut_row *row = &rows[rows_count++];
        size_t next = i;
        *row = (struct cut_row){.number = all[i].cut.number, .time_s = all[i].cut.time_s};
        for (; next < count && all[next].cut.number == row->number; next++)
            if (all[next].made_ns > row->made_ns)
                row->made_ns = all[next].made_ns;
        row->is_complete = next - i == shards;
        i = next;
    }
    *out = rows;
    return rows_count;
}

enum status
cut_list(
    struct reader *reader,
    struct arena *arena,
    struct cut_row **out_rows,
    uint32_t *out_count,
    struct error *error)
{
    scoped(listing_done) struct listing listing = {.arena = arena};
    enum status status = STATUS_OK;
    for (uint32_t shard = 0; shard < reader->shards && !status; shard++)
        status = shard_list(&listing, reader, shard, error);
    if (!status && buffer_failed(&listing.found))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for a list of cuts");
    if (!status)
        *out_count = rows_make(&listing, reader->shards, out_rows);
    return status;
}
