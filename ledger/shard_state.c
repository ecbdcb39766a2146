// A shard's way to state/: when cells and identities go there, and what goes with them. The keeper
// writes it.
#include "base/assert.h"
#include "ledger/answers.h"
#include "ledger/retain.h"
#include "ledger/shard.h"

enum {
    HOT_LOG_BYTES = 128,  // of log for each identity of the hot table: sealed at so much, too
    TAIL_EARLY = 2,       // part of the tail's bound at which cells go to disk if they are few:
    TAIL_TO_CELLS = 32,   // so much less than the tail, which a start would fold again
};

// --- cells to disk ---

bool
shard_is_beyond(const struct shard *shard, uint32_t times)
{
    if (shard->tail_max_bytes == 0)
        return false;
    return shard->tail_bytes / times >= shard->tail_max_bytes ||
           (shard->cells_max_bytes > 0 &&
            cells_bytes(shard->cells) / times >= shard->cells_max_bytes);
}

// Few cells cost little to write; many, each for an event or two, are worth more events first.
bool
shard_wants_flush(const struct shard *shard)
{
    if (shard_is_beyond(shard, 1))
        return true;
    return shard->tail_max_bytes > 0 && shard->tail_bytes >= shard->tail_max_bytes / TAIL_EARLY &&
           cells_bytes(shard->cells) <= shard->tail_bytes / TAIL_TO_CELLS;
}

bool
shard_is_unflushed(const struct shard *shard)
{
    uint64_t told = shard_is_frozen(shard) ? shard->freeze.position : shard->flushed;
    return shard->head > told || shard->rebuild.has_unflushed || shard->has_lost_meters;
}

// What the freeze brought to disk, of the meters that are still there.
static void
shard_live_flushed(struct shard *shard)
{
    const struct freeze *freeze = &shard->freeze;
    for (uint32_t i = 0; i < freeze->live_count; i++) {
        for (uint32_t k = 0; k < shard->live_count; k++) {
            if (shard->live[k].meter_id == freeze->live[i].meter_id)
                shard->live[k].flushed_from = freeze->live[i].from;
        }
    }
}

bool
shard_is_frozen(const struct shard *shard)
{
    return shard->freeze.cells != NULL;
}

struct freeze *
shard_freeze(struct shard *shard)
{
    struct freeze *freeze = &shard->freeze;
    must(!shard_is_frozen(shard) && shard->flushed <= shard->head);
    freeze->cells = shard->cells;
    freeze->position = shard->head;
    freeze->tail_bytes = shard->tail_bytes;
    freeze->live_count = shard->live_count;
    memcpy(freeze->live, shard->live, shard->live_count * sizeof shard->live[0]);
    freeze->cuts = shard->cuts;
    arena_reset(&shard->freeze_arena);
    freeze->batches_count =
        batches_changed(&shard->batches, shard->flushed, &shard->freeze_arena, &freeze->batches);
    freeze->meters = shard->meters->set;
    freeze->zones = shard->zones;
    freeze->retention = shard->retention;
    shard->cells = shard->spare;
    shard->spare = NULL;
    shard->tail_bytes = 0;
    shard->has_lost_meters = false;
    meter_rebuild_frozen(&shard->rebuild);
    return freeze;
}

void
shard_thaw(struct shard *shard)
{
    must(shard_is_frozen(shard));
    shard->spare = shard->freeze.cells;
    shard->freeze.cells = NULL;
    shard->flushed = shard->freeze.position;
    shard_live_flushed(shard);
    // Much memory, that nobody looks at any more.
    answers_lend(shard->answers);
    cells_clear(shard->spare);
    answers_reclaim(shard->answers);
    shard_gauges_set(shard);
    metric_add(&shard->metrics[SHARD_FLUSHES], 1);
}

enum status
shard_flush(struct shard *shard, struct error *error)
{
    struct freeze *freeze = shard_freeze(shard);
    enum status status =
        freeze_flush(shard->state, freeze, &shard->metrics[SHARD_GROUPS_CAPPED], error);
    if (!status) {
        shard_thaw(shard);
        return STATUS_OK;
    }
    shard->spare = shard->cells;
    shard->cells = freeze->cells;
    shard->tail_bytes = freeze->tail_bytes;
    freeze->cells = NULL;
    return status;
}

// --- the log's beginning ---

enum status
shard_retain(
    struct shard *shard,
    int64_t before_ns,
    bool *out_has_more,
    bool *out_wants_seal,
    struct error *error)
{
    struct retain_step step;
    const struct retain_holders holders = {
        .state = shard->state,
        .flushed = shard->flushed,
        .head = shard->head,
        .zones = shard->zones,
        .batches = &shard->batches,
        .live = shard->live,
        .live_count = shard->live_count,
    };
    const struct retain_options options = {
        .log = shard->log,
        .before_ns = before_ns,
        .flushed = shard->flushed,
        .sealed = dedup_position(shard->dedup),
        .holders = &holders,
    };
    enum status status = retain_step(&options, &shard->kept, &step, error);
    if (status)
        return status;
    metric_add(&shard->metrics[SHARD_BLOCKS_DELETED], (int64_t)step.deleted);
    *out_has_more = step.result == RETAIN_MORE || step.result == RETAIN_SEAL;
    *out_wants_seal = step.result == RETAIN_SEAL && !dedup_is_sealed(shard->dedup);
    return STATUS_OK;
}

// --- identities to disk ---

bool
shard_wants_seal(const struct shard *shard)
{
    uint64_t bytes_max = (uint64_t)shard->dedup_options.hot_max * HOT_LOG_BYTES;
    return dedup_wants_seal(shard->dedup) ||
           (shard->unsealed_bytes >= bytes_max && !dedup_is_sealed(shard->dedup));
}

struct seal *
shard_seal(struct shard *shard, uint64_t position, struct error *error)
{
    struct seal *seal = dedup_seal(shard->dedup, position, shard->newest_arrival_ns);
    if (seal == NULL)
        (void)error_set(error, STATUS_NO_MEMORY, "no memory for a table of identities");
    else
        shard->unsealed_bytes = 0;
    return seal;
}

void
shard_adopt_view(struct shard *shard, const struct generations_view *view)
{
    dedup_adopt(shard->dedup, view);
    shard_gauges_set(shard);
}

static enum status
shard_settle(struct shard *shard, bool *out_has_worked, struct error *error)
{
    // By the time of the log, so that what is known after it does not depend on today.
    enum status status =
        generations_step(shard->generations, shard->newest_arrival_ns, out_has_worked, error);
    if (status)
        return status;
    const struct generations_view *view = generations_view(shard->generations);
    dedup_adopt(shard->dedup, view);
    generations_adopted(shard->generations, view->number);
    return STATUS_OK;
}

enum status
shard_seal_now(struct shard *shard, uint64_t position, struct error *error)
{
    const struct seal *seal = shard_seal(shard, position, error);
    bool has_worked = true;
    if (seal == NULL)
        return STATUS_NO_MEMORY;
    enum status status = generations_append(shard->generations, seal, error);
    while (has_worked && (!status || status == STATUS_BUSY)) {
        bool is_behind = status == STATUS_BUSY;
        status = shard_settle(shard, &has_worked, error);
        if (!status && is_behind)
            status = generations_append(shard->generations, seal, error);
    }
    return status;
}
