#include "ledger/stat.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/block.h"
#include "ledger/generations.h"
#include "ledger/ledger.h"
#include "ledger/shard_view.h"

enum { BLOCKS_PER_SNAPSHOT = 4096, CELLS_PER_SNAPSHOT = 1 << 20, BLOCK_COUNT_OFFSET = 16 };

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
block_at(
    struct tx *log,
    uint64_t sequence,
    struct block_header *out,
    uint64_t *out_size,
    struct error *error)
{
    struct bytes value;
    if (!tx_get(log, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence), &value)) {
        enum status status = tx_check(log, error);
        return status ? status
                      : error_set(
                            error,
                            STATUS_CORRUPT,
                            "block %llu is missing",
                            (unsigned long long)sequence);
    }
    *out_size = value.size;
    return block_look(sequence, value, out, error);
}

static struct stat_block
stat_block_of(const struct block_header *header)
{
    return (struct stat_block){
        header->sequence, header->arrival_ns, header->time_min_ns, header->time_max_ns};
}

// The ends of the log, and from the last block back what came within the time.
static enum status
stat_ends(struct tx *log, struct shard_stat *stat, struct error *error)
{
    struct block_header header = {0};
    uint64_t first = 0;
    uint64_t size = 0;
    if (stat->head == 0)
        return STATUS_OK;
    enum status status = log_first(log, &first, error);
    if (!status)
        status = block_at(log, first, &header, &size, error);
    if (!status)
        stat->first = stat_block_of(&header);
    for (uint64_t sequence = stat->head; sequence >= first && !status; sequence--) {
        if ((stat->head - sequence) % BLOCKS_PER_SNAPSHOT == BLOCKS_PER_SNAPSHOT - 1)
            tx_renew(log);
        status = block_at(log, sequence, &header, &size, error);
        if (status)
            break;
        if (sequence == stat->head)
            stat->last = stat_block_of(&header);
        if (stat->last.arrival_ns - header.arrival_ns >= STAT_RECENT_S * SECOND_NS)
            break;
        stat->recent_events += header.count;
        stat->recent_bytes += size;
    }
    return status;
}

static enum status
stat_log(const struct shard_view *view, struct shard_stat *stat, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(view->log);
    uint64_t first = 1;
    enum status status = log_kept_read(&log, &stat->kept, error);
    first = stat->kept.first;
    if (!status)
        status = log_head(&log, &stat->head, error);
    for (uint64_t sequence = first; !status && sequence <= stat->head; sequence++) {
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
    if (!status)
        status = stat_ends(&log, stat, error);
    // Its own transaction is not among the readers.
    tx_done(&log);
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
            return error_set(
                error,
                STATUS_CORRUPT,
                "state: the record of a generation is damaged: rebuild the state with `tally "
                "ledger rebuild`");
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
    struct horizons *horizons = arena_new(arena, struct horizons);
    stat->horizons = horizons;
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
        status = horizons_read(&state, horizons, error);
    if (!status)
        status = tx_check(&state, error);
    tx_done(&state);
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

// Goes on behind the cell in a newer snapshot. False: there is none.
static bool
walk_on_renewed(struct walk *walk, struct tx *state)
{
    uint8_t key[ENV_KEY_MAX];
    size_t size = walk->key.size;
    must(size <= sizeof key);
    memcpy(key, walk->key.data, size);
    walk_done(walk);
    tx_renew(state);
    *walk = walk_open(state, STATE_DB_CELLS);
    if (!walk_seek(walk, bytes_of(key, size)))
        return false;
    return !bytes_equal(walk->key, bytes_of(key, size)) || walk_next(walk);
}

// The width is the first byte of a key.
static enum status
count_shard(struct env *env, struct shard_stat *stat, struct error *error)
{
    uint64_t seen = 0;
    scoped(tx_done) struct tx state = tx_read(env);
    struct walk walk = walk_open(&state, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more;) {
        uint8_t width = walk.key.data[0];
        stat->cells_by_width[width < STAT_WIDTHS ? width : 0]++;
        more = ++seen % CELLS_PER_SNAPSHOT == 0 ? walk_on_renewed(&walk, &state) : walk_next(&walk);
    }
    walk_done(&walk);
    return tx_check(&state, error);
}

enum status
stat_count_cells(const char *dir, struct ledger_stat *stat, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < stat->shards_count && !status; i++) {
        scoped(shard_view_done) struct shard_view view = {0};
        status = shard_view_open(dir, i, &view, error);
        if (!status && view.state != NULL)
            status = count_shard(view.state, &stat->shards[i], error);
    }
    return status;
}
