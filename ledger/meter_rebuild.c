#include "ledger/meter_rebuild.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/ledger.h"
#include "ledger/shard.h"
#include "ledger/shard_view.h"

void
meter_rebuild_reset(struct meter_rebuild *rebuild)
{
    rebuild->top = 0;
    rebuild->set = NULL;
    rebuild->has_failed = false;
}

void
meter_rebuild_done(struct meter_rebuild *rebuild)
{
    arena_done(&rebuild->arena);
    log_reader_done(&rebuild->reader);
}

void
meter_rebuild_frozen(struct meter_rebuild *rebuild)
{
    rebuild->has_unflushed = false;
    rebuild->unflushed_bytes = 0;
}

static uint64_t
greatest_live_from(const struct shard *shard)
{
    uint64_t greatest = 0;
    for (uint32_t i = 0; i < shard->live_count; i++) {
        if (shard->live[i].from > greatest)
            greatest = shard->live[i].from;
    }
    return greatest;
}

uint64_t
meter_rebuild_blocks_left(const struct shard *shard)
{
    uint64_t first = shard->rebuild.first;
    uint64_t top = greatest_live_from(shard);
    // Before the first look, as far as anybody knows.
    if (first == 0)
        first = 1;
    return shard->head < first || top <= first ? 0 : top - first;
}

bool
meter_rebuild_is_due(const struct shard *shard)
{
    return !shard->rebuild.has_failed && meter_rebuild_blocks_left(shard) > 0;
}

// The meters that lack most, and how far down they are alone.
static void
meter_rebuild_plan(struct shard *shard)
{
    struct meter_rebuild *rebuild = &shard->rebuild;
    const struct meter_set *all = shard->meters->set;
    uint32_t count = 0;
    must(meter_set_count(all) == shard->live_count);
    arena_reset(&rebuild->arena);
    struct meter *meters = arena_array(&rebuild->arena, shard->live_count, struct meter);
    rebuild->top = greatest_live_from(shard);
    rebuild->floor = rebuild->first;
    for (uint32_t i = 0; i < shard->live_count; i++) {
        uint64_t from = shard->live[i].from;
        if (from == rebuild->top)
            meters[count++] = *meter_set_at(all, i);
        else if (from > rebuild->floor)
            rebuild->floor = from;
    }
    rebuild->set = meter_set_make(meters, count, &rebuild->arena);
}

// Looks through the whole block before it folds any of it.
static enum status
block_check(struct meter_rebuild *rebuild, struct tx *log, uint64_t sequence, struct error *error)
{
    struct entry entry;
    enum status status = log_open(&rebuild->reader, log, sequence, error);
    if (status)
        return status;
    while (log_next(&rebuild->reader, &entry))
        ;
    return log_end(&rebuild->reader, error);
}

static enum status
block_fold(struct shard *shard, struct tx *log, struct error *error)
{
    struct meter_rebuild *rebuild = &shard->rebuild;
    struct log_reader *reader = &rebuild->reader;
    struct entry entry;
    uint64_t sequence = rebuild->top - 1;
    enum status status = block_check(rebuild, log, sequence, error);
    if (!status)
        status = log_open(reader, log, sequence, error);
    if (status)
        return status;
    const struct block_header *header = &reader->header;
    const struct fold_rules rules = {
        .set = rebuild->set, .after = cuts_before(&shard->cuts, sequence)};
    struct fold_place place = {.block = sequence, .arrival_ns = header->arrival_ns};
    while (log_next(reader, &entry)) {
        place.index = reader->block.index - 1;
        shard_fold_any(shard, &rules, &entry, &place);
    }
    rebuild->unflushed_bytes += BLOCK_HEADER_SIZE + header->words_size + header->entries_size;
    return log_end(reader, error);
}

static void
meter_rebuild_lower(struct shard *shard)
{
    struct meter_rebuild *rebuild = &shard->rebuild;
    for (uint32_t i = 0; i < shard->live_count; i++) {
        if (shard->live[i].from == rebuild->top)
            shard->live[i].from--;
    }
    rebuild->has_unflushed = true;
    rebuild->top--;
    // Those that are met here go on together.
    if (rebuild->top <= rebuild->floor)
        rebuild->top = 0;
}

enum status
meter_rebuild_slice(struct shard *shard, int64_t time_max_ns, struct error *error)
{
    struct meter_rebuild *rebuild = &shard->rebuild;
    const int64_t end_ns = clock_monotonic_ns() + time_max_ns;
    scoped(tx_done) struct tx log = tx_read(shard->log);
    uint64_t first = 0;
    enum status status = log_first(&log, &first, error);
    // Retention takes blocks away at the front.
    if (first != rebuild->first)
        rebuild->top = 0;
    rebuild->first = first;
    while (!status && meter_rebuild_is_due(shard)) {
        if (rebuild->top == 0)
            meter_rebuild_plan(shard);
        status = block_fold(shard, &log, error);
        if (!status)
            meter_rebuild_lower(shard);
        if (clock_monotonic_ns() >= end_ns)
            break;
    }
    if (!status)
        status = tx_check(&log, error);
    rebuild->has_failed = status != STATUS_OK;
    metric_set(
        &shard->metrics[SHARD_REBUILD_BLOCKS_LEFT], (int64_t)meter_rebuild_blocks_left(shard));
    return status;
}

// Blocks of the log, and for each meter those that its cells on disk cover.
static enum status
progress_add(
    const struct shard_view *view,
    const struct meter *meters,
    uint32_t count,
    struct meter_progress *out,
    struct error *error)
{
    uint64_t head = 0;
    uint64_t position = 0;
    scoped(tx_done) struct tx state = tx_read(view->state);
    enum status status = state_position(&state, &position, error);
    scoped(tx_done) struct tx log = tx_read(view->log);
    if (!status)
        status = log_head(&log, &head, error);
    uint64_t first = 0;
    if (!status)
        status = log_first(&log, &first, error);
    for (uint32_t i = 0; i < count && !status && first > 0; i++) {
        uint64_t from = 0;
        uint64_t blocks = head - first + 1;
        status = state_live_from(&state, meters[i].id, &from, error);
        if (from < first && from > 0)
            from = first;
        out[i].blocks += blocks;
        // What is not flushed yet is folded at the next start: it is not lacking.
        if (from > 0 && from <= head)
            out[i].covered += head - from + 1;
    }
    return status ? status : tx_check(&log, error);
}

enum status
meter_progress_read(
    const char *dir,
    const struct meter *meters,
    uint32_t count,
    struct meter_progress *out,
    struct error *error)
{
    struct ledger_conf conf;
    enum status status = ledger_shape_read(dir, &conf, error);
    for (uint32_t i = 0; i < count; i++)
        out[i] = (struct meter_progress){0};
    for (uint32_t shard = 0; !status && shard < conf.shards; shard++) {
        scoped(shard_view_done) struct shard_view view = {0};
        status = shard_view_open(dir, shard, &view, error);
        if (!status && view.log != NULL && view.state != NULL)
            status = progress_add(&view, meters, count, out, error);
    }
    return status;
}
