#include "ledger/stat.h"

#include "base/assert.h"
#include "ledger/generations.h"
#include "ledger/ledger.h"
#include "ledger/shard_view.h"

enum { BLOCKS_PER_SNAPSHOT = 4096, BLOCK_COUNT_OFFSET = 16 };

// The count as the header says it; `tally ledger verify` checks the sums.
static bool
block_count(struct tx *log, uint64_t sequence, uint32_t *out_count)
{
    struct bytes value;
    if (!tx_get(log, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence), &value))
        return false;
    struct cursor in = cursor_over(value);
    (void)cursor_take(&in, BLOCK_COUNT_OFFSET);
    *out_count = cursor_u32le(&in);
    return !cursor_failed(&in);
}

static enum status
stat_log(const struct shard_view *view, struct shard_stat *stat, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(view->log);
    enum status status = log_head(&log, &stat->head, error);
    for (uint64_t sequence = 1; !status && sequence <= stat->head; sequence++) {
        uint32_t count = 0;
        if (sequence % BLOCKS_PER_SNAPSHOT == 0)
            tx_renew(&log);
        if (!block_count(&log, sequence, &count) && !log.status)
            status = error_set(
                error, STATUS_CORRUPT, "block %llu is missing", (unsigned long long)sequence);
        stat->events += count;
        if (log.status)
            status = tx_check(&log, error);
    }
    return status ? status : env_stat(view->log, &stat->log, error);
}

static enum status
stat_generations(struct tx *state, struct shard_stat *stat, struct error *error)
{
    struct generation generation;
    enum status status =
        state_dedup_position(state, &stat->dedup_position, &stat->dedup_expired, error);
    scoped(walk_done) struct walk walk = walk_open(state, STATE_DB_GENERATIONS);
    for (bool more = walk_first(&walk); more && !status; more = walk_next(&walk)) {
        if (!generation_read(walk.key, walk.value, &generation))
            return error_set(error, STATUS_CORRUPT, "state: the record of a generation is damaged");
        stat->generations++;
        stat->runs += generation.runs_count;
        stat->identities += generation_count(&generation);
    }
    return status;
}

static enum status
stat_state(
    const struct shard_view *view,
    const struct ledger_stat *ledger,
    struct arena *arena,
    struct shard_stat *stat,
    struct error *error)
{
    uint64_t *live_from = arena_array(arena, ledger->meters_count, uint64_t);
    stat->live_from = live_from;
    if (view->state == NULL)
        return STATUS_OK;
    scoped(tx_done) struct tx state = tx_read(view->state);
    enum status status = state_position(&state, &stat->position, error);
    for (uint32_t i = 0; i < ledger->meters_count && !status; i++)
        status = state_live_from(&state, ledger->meters[i].id, &live_from[i], error);
    stat->cells = tx_count(&state, STATE_DB_CELLS);
    if (!status)
        status = stat_generations(&state, stat, error);
    if (!status)
        status = tx_check(&state, error);
    return status ? status : env_stat(view->state, &stat->state, error);
}

static enum status
stat_shard(
    const char *dir,
    const struct ledger_stat *ledger,
    struct arena *arena,
    struct shard_stat *stat,
    struct error *error)
{
    scoped(shard_view_done) struct shard_view view = {0};
    enum status status = shard_view_open(dir, stat->shard, &view, error);
    // The state first: its position is never beyond a log that is looked at later.
    if (!status)
        status = stat_state(&view, ledger, arena, stat, error);
    if (!status && view.log != NULL)
        status = stat_log(&view, stat, error);
    return status ? error_prefix(error, "shard %u", stat->shard) : STATUS_OK;
}

enum status
stat_read(const char *dir, struct arena *arena, struct ledger_stat *out, struct error *error)
{
    struct ledger_conf conf;
    struct registry *registry = NULL;
    enum status status = ledger_shape_read(dir, &conf, error);
    if (!status)
        status = registry_open(dir, &registry, error);
    if (status)
        return status;
    struct ledger_stat stat = {.shards_count = conf.shards};
    status = registry_list(registry, arena, &stat.meters, &stat.meters_count, error);
    registry_close(registry);
    stat.shards = arena_array(arena, conf.shards, struct shard_stat);
    for (uint32_t shard = 0; shard < conf.shards && !status; shard++) {
        stat.shards[shard].shard = shard;
        status = stat_shard(dir, &stat, arena, &stat.shards[shard], error);
    }
    if (!status)
        *out = stat;
    return status;
}
