#include "ledger/shard.h"

#include "base/assert.h"
#include "ledger/answers.h"
#include "ledger/retain.h"
#include "ledger/shard_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    SHARD_PATH_MAX = 4096,
    HOT_DEFAULT = 4 << 20,  // of all shards together,
    HOT_MIN = 1 << 20,      // but of each so many, or runs are too short
    GROUP_MAX_DEFAULT = 65536,
    WINDOW_DEFAULT_DAYS = 36,
};

static const struct metric metric_rows[SHARD_METRICS] = {
    [SHARD_STORED] = METRIC_COUNTER("tally_events_stored_total", "events in the log and fsynced"),
    [SHARD_DUPLICATE] =
        METRIC_COUNTER("tally_events_duplicate_total", "events whose identity was known"),
    [SHARD_CONFLICT] = METRIC_COUNTER(
        "tally_events_conflict_total", "events whose identity was known with another payload"),
    [SHARD_TOO_OLD] =
        METRIC_COUNTER("tally_events_too_old_total", "events beyond the clock policy's past"),
    [SHARD_TOO_FAR_AHEAD] = METRIC_COUNTER(
        "tally_events_too_far_ahead_total", "events beyond the clock policy's future"),
    [SHARD_BATCH_NOT_OPEN] = METRIC_COUNTER(
        "tally_events_batch_not_open_total", "events of a backfill batch that is not open"),
    [SHARD_UNMETERED] =
        METRIC_COUNTER("tally_events_unmetered_total", "stored events that no meter wants yet"),
    [SHARD_GROUPS] = METRIC_COUNTER("tally_ledger_groups_total", "groups of events processed"),
    [SHARD_COMMITS] = METRIC_COUNTER("tally_ledger_commits_total", "blocks committed to the log"),
    [SHARD_COMMIT_MICROSECONDS] =
        METRIC_COUNTER("tally_ledger_commit_microseconds_total", "time spent in commits"),
    [SHARD_BLOCK_BYTES] =
        METRIC_COUNTER("tally_ledger_block_bytes_total", "bytes of blocks committed"),
    [SHARD_FLUSHES] = METRIC_COUNTER("tally_ledger_flushes_total", "flushes of cells to state"),
    [SHARD_WINDOWS_MADE] = METRIC_COUNTER(
        "tally_ledger_windows_made_total", "hours, days and months made of finer cells"),
    [SHARD_CELLS_DELETED] =
        METRIC_COUNTER("tally_ledger_cells_deleted_total", "cells beyond their retention"),
    [SHARD_CELLS_MENDED] = METRIC_COUNTER(
        "tally_ledger_cells_mended_total", "cells made anew from the log after a correction"),
    [SHARD_GROUPS_CAPPED] = METRIC_COUNTER(
        "tally_ledger_groups_capped_total",
        "windows of a subject with too many groups: those are read from the log"),
    [SHARD_CELLS] = METRIC_GAUGE("tally_ledger_cells", "cells in memory, not yet flushed"),
    [SHARD_CELLS_BYTES] = METRIC_GAUGE("tally_ledger_cells_bytes", "memory of these cells"),
    [SHARD_DEDUP_ENTRIES] = METRIC_GAUGE("tally_ledger_dedup_entries", "identities known"),
    [SHARD_DEDUP_BYTES] = METRIC_GAUGE("tally_ledger_dedup_bytes", "memory of the identities"),
    [SHARD_DEDUP_GENERATIONS] =
        METRIC_GAUGE("tally_ledger_dedup_generations", "generations of identities on disk"),
    [SHARD_DEDUP_PROBES] = METRIC_COUNTER(
        "tally_ledger_dedup_probes_total", "runs on disk that an identity was looked up in"),
    [SHARD_TAIL_BYTES] = METRIC_GAUGE("tally_ledger_tail_bytes", "bytes of blocks not yet flushed"),
    [SHARD_DEAD_READERS] = METRIC_COUNTER(
        "tally_ledger_dead_readers_total", "readers that were cleared when their process had died"),
    [SHARD_READER_SECONDS] = METRIC_GAUGE(
        "tally_ledger_oldest_reader_seconds", "how long the oldest snapshot is held by a reader"),
    [SHARD_REBUILD_BLOCKS_LEFT] =
        METRIC_GAUGE("tally_ledger_rebuild_blocks_left", "older blocks that new meters still lack"),
    [SHARD_FIRED] = METRIC_COUNTER("tally_thresholds_fired_total", "thresholds that fired"),
    [SHARD_CELLS_PURGED] =
        METRIC_COUNTER("tally_ledger_cells_purged_total", "cells deleted of meters that are gone"),
    [SHARD_BLOCKS_DELETED] =
        METRIC_COUNTER("tally_ledger_blocks_deleted_total", "blocks beyond the log's retention"),
};

static void
shard_metrics_init(struct shard *shard)
{
    (void)snprintf(shard->labels, sizeof shard->labels, "shard=\"%" PRIu32 "\"", shard->number);
    for (size_t i = 0; i < SHARD_METRICS; i++) {
        struct metric *metric = &shard->metrics[i];
        metric->name = metric_rows[i].name;
        metric->help = metric_rows[i].help;
        metric->kind = metric_rows[i].kind;
        metric->labels = shard->labels;
    }
}

void
shard_gauges_set(struct shard *shard)
{
    size_t count = cells_count(shard->cells);
    size_t bytes = cells_bytes(shard->cells);
    uint64_t tail_bytes = shard->tail_bytes;
    if (shard_is_frozen(shard)) {
        count += cells_count(shard->freeze.cells);
        bytes += cells_bytes(shard->freeze.cells);
        tail_bytes += shard->freeze.tail_bytes;
    }
    const struct dedup_stat dedup = dedup_stat(shard->dedup);
    metric_set(&shard->metrics[SHARD_CELLS], (int64_t)count);
    metric_set(&shard->metrics[SHARD_CELLS_BYTES], (int64_t)bytes);
    metric_set(&shard->metrics[SHARD_TAIL_BYTES], (int64_t)tail_bytes);
    metric_set(&shard->metrics[SHARD_DEDUP_ENTRIES], (int64_t)dedup.ids);
    metric_set(&shard->metrics[SHARD_DEDUP_BYTES], (int64_t)dedup.bytes);
    metric_set(&shard->metrics[SHARD_DEDUP_GENERATIONS], (int64_t)dedup.generations);
    metric_set(&shard->metrics[SHARD_DEDUP_PROBES], (int64_t)dedup.probes);
    metric_set(
        &shard->metrics[SHARD_REBUILD_BLOCKS_LEFT], (int64_t)meter_rebuild_blocks_left(shard));
}

// Opening for writing would make a missing environment anew, and lose what it held without a word.
static enum status
shard_open_env(
    const struct shard_options *shard,
    const char *what,
    const struct env_options *options,
    struct env **out,
    struct error *error)
{
    char path[SHARD_PATH_MAX];
    struct stat data;
    int size = snprintf(
        path, sizeof path, "%s/shards/%04" PRIu32 "/%s/data.mdb", shard->dir, shard->number, what);
    if (size < 0 || (size_t)size >= sizeof path)
        return error_set(error, STATUS_INVALID, "%s: path is too long", shard->dir);
    if (stat(path, &data) != 0 || data.st_size == 0) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "%s is missing or empty: %s",
            path,
            strcmp(what, "state") == 0 ? "rebuild it with `tally ledger rebuild`"
                                       : "restore the ledger from a backup");
    }
    path[(size_t)size - strlen("/data.mdb")] = '\0';
    return env_open(path, options, out, error);
}

static enum status
shard_open_head(struct shard *shard, const struct shard_options *options, struct error *error)
{
    char path[SHARD_PATH_MAX];
    int size =
        snprintf(path, sizeof path, "%s/shards/%04" PRIu32 "/head", options->dir, options->number);
    if (size < 0 || (size_t)size >= sizeof path)
        return error_set(error, STATUS_INVALID, "%s: path is too long", options->dir);
    enum status status = head_read(path, &shard->head_place, error);
    return status ? status : head_open(path, &shard->head_file, error);
}

static uint32_t
hot_default(uint32_t shards)
{
    const uint32_t share = shards > 0 ? (uint32_t)HOT_DEFAULT / shards : (uint32_t)HOT_DEFAULT;
    return share > (uint32_t)HOT_MIN ? share : (uint32_t)HOT_MIN;
}

static enum status
shard_open_dedup(struct shard *shard, const struct shard_options *options, struct error *error)
{
    struct shard_dedup_options *dedup = &shard->dedup_options;
    *dedup = options->dedup;
    if (dedup->hot_max == 0)
        dedup->hot_max = hot_default(options->shards);
    if (dedup->group_max == 0)
        dedup->group_max = GROUP_MAX_DEFAULT;
    // The log may hold larger groups, of a time with other options.
    if (dedup->group_max < SHARD_RECOVER_AHEAD)
        dedup->group_max = SHARD_RECOVER_AHEAD;
    if (dedup->window_ns == 0)
        dedup->window_ns = WINDOW_DEFAULT_DAYS * DAY_NS;
    shard->dedup = dedup_open(&(struct dedup_options){
        .state = shard->state, .hot_max = dedup->hot_max, .group_max = dedup->group_max});
    if (shard->dedup == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the identities of the log");
    return STATUS_OK;
}

enum status
shard_open(struct shard *shard, const struct shard_options *options, struct error *error)
{
    const struct env_options log = {
        .map_size = options->map_size, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    const struct env_options state = {
        .map_size = options->map_size, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    shard->number = options->number;
    shard->secret = options->secret;
    shard->zones = options->zones;
    shard->retention = options->retention;
    shard->tail_max_bytes = options->tail_max_bytes;
    shard->cells_max_bytes = options->cells_max_bytes;
    shard_metrics_init(shard);
    enum status status = shard_open_env(options, "log", &log, &shard->log, error);
    if (status == STATUS_OK)
        status = shard_open_env(options, "state", &state, &shard->state, error);
    if (status == STATUS_OK)
        status = fired_open(options->dir, options->number, options->map_size, &shard->fired, error);
    if (status)
        return status;
    (void)env_clear_dead_readers(shard->log);
    (void)env_clear_dead_readers(shard->state);
    status = shard_open_head(shard, options, error);
    if (status == STATUS_OK)
        status = block_writer_open(&shard->writer, error);
    if (status == STATUS_OK)
        status = fold_words_open(&shard->fold_words, error);
    if (status)
        return status;
    shard->cells = cells_open();
    shard->spare = cells_open();
    return shard_open_dedup(shard, options, error);
}

void
shard_close(struct shard *shard)
{
    cells_close(shard->cells);
    cells_close(shard->spare);
    cells_close(shard->freeze.cells);
    dedup_close(shard->dedup);
    generations_close(shard->generations);
    past_done(&shard->past);
    buffer_done(&shard->old);
    env_close(shard->log);
    env_close(shard->state);
    env_close(shard->fired);
    block_writer_done(&shard->writer);
    fold_words_done(&shard->fold_words);
    head_close(&shard->head_file);
    arena_done(&shard->cuts_arena);
    arena_done(&shard->batches_arena);
    arena_done(&shard->freeze_arena);
    meter_rebuild_done(&shard->rebuild);
    watch_done(&shard->watch);
    shard->cells = NULL;
    shard->spare = NULL;
    shard->freeze.cells = NULL;
    shard->dedup = NULL;
    shard->generations = NULL;
    shard->log = NULL;
    shard->state = NULL;
    shard->fired = NULL;
}

static const struct shard_live *
shard_live_find(const struct shard *shard, uint32_t meter_id)
{
    for (uint32_t i = 0; i < shard->live_count; i++) {
        if (shard->live[i].meter_id == meter_id)
            return &shard->live[i];
    }
    return NULL;
}

uint64_t
shard_live_from(const struct shard *shard, uint32_t meter_id)
{
    const struct shard_live *live = shard_live_find(shard, meter_id);
    return live != NULL ? live->from : 0;
}

uint64_t
shard_flushed_from(const struct shard *shard, uint32_t meter_id)
{
    const struct shard_live *live = shard_live_find(shard, meter_id);
    return live != NULL ? live->flushed_from : 0;
}

void
shard_adopt(struct shard *shard, const struct meters *meters)
{
    struct shard_live live[METERS_MAX];
    uint32_t kept = 0;
    uint32_t count = meter_set_count(meters->set);
    must(count <= METERS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = meter_set_at(meters->set, i)->id;
        const struct shard_live *known = shard_live_find(shard, id);
        live[i] = (struct shard_live){.meter_id = id, .from = shard->head + 1};
        if (known != NULL)
            live[i] = *known;
        kept += known != NULL;
    }
    if (kept < shard->live_count)
        shard->has_lost_meters = true;
    memcpy(shard->live, live, count * sizeof live[0]);
    shard->live_count = count;
    shard->meters = meters;
    meter_rebuild_reset(&shard->rebuild);
    watch_adopt(&shard->watch, meters->watched);
    metric_set(
        &shard->metrics[SHARD_REBUILD_BLOCKS_LEFT], (int64_t)meter_rebuild_blocks_left(shard));
}

// Survivors that lie side by side are coded in one go.
static void
code_survivors(const struct group *group, struct block_writer *writer)
{
    for (uint32_t i = 0; i < group->count;) {
        if (group->fates[i] != FATE_STORED) {
            i++;
            continue;
        }
        const struct block_hint *hints = &group->hints[i];
        const uint32_t from = group->items[i].offset;
        while (i < group->count && group->fates[i] == FATE_STORED)
            i++;
        const uint32_t to = i < group->count ? group->items[i].offset : group->size;
        block_add_known(writer, bytes_of(group->bytes + from, to - from), hints, group->maps);
    }
}

// Commits the block that was coded. It is durable, and the head says so, when this returns.
static enum status
shard_commit(struct shard *shard, struct error *error)
{
    size_t size = 0;
    enum status status = block_end(&shard->writer, &size, error);
    if (status)
        return status;
    const uint64_t sequence = shard->writer.header.sequence;
    must(sequence == shard->head + 1);
    scoped(tx_done) struct tx tx = tx_write(shard->log);
    struct bytes key = bytes_of(&sequence, sizeof sequence);
    uint8_t *value = tx_append_reserve(&tx, LOG_DB_BLOCKS, key, size);
    if (value != NULL)
        block_write(&shard->writer, value);
    answers_lend(shard->answers);
    status = tx_commit(&tx, error);
    answers_reclaim(shard->answers);
    if (status == STATUS_OK)
        status = head_write(&shard->head_file, sequence, shard->writer.header.checksum, error);
    if (status)
        return status;
    shard->head = sequence;
    shard->tail_bytes += size;
    shard->unsealed_bytes += size;
    if (shard->writer.header.arrival_ns > shard->newest_arrival_ns)
        shard->newest_arrival_ns = shard->writer.header.arrival_ns;
    metric_add(&shard->metrics[SHARD_COMMITS], 1);
    metric_add(&shard->metrics[SHARD_BLOCK_BYTES], (int64_t)size);
    return STATUS_OK;
}

enum status
shard_store(
    struct shard *shard,
    const struct group *group,
    const struct survivors *survivors,
    int64_t now_ns,
    struct error *error)
{
    if (survivors->count == 0)
        return STATUS_OK;
    int64_t begin_ns = clock_monotonic_ns();
    block_begin(&shard->writer, now_ns);
    code_survivors(group, &shard->writer);
    enum status status = shard_commit(shard, error);
    if (status)
        return status;
    must(shard->writer.header.count == survivors->count);
    int64_t spent_ns = clock_monotonic_ns() - begin_ns;
    metric_add(&shard->metrics[SHARD_STORED], survivors->count);
    metric_add(&shard->metrics[SHARD_COMMIT_MICROSECONDS], spent_ns / 1000);
    return STATUS_OK;
}

enum status
shard_append(struct shard *shard, struct bytes raw, int64_t now_ns, struct error *error)
{
    must(raw.size > 0);
    block_begin(&shard->writer, now_ns);
    block_add(&shard->writer, raw);
    return shard_commit(shard, error);
}

enum status
shard_sync_head(struct shard *shard, int64_t monotonic_ns, struct error *error)
{
    return head_sync(&shard->head_file, monotonic_ns, error);
}

struct watch_source
shard_watch_source(const struct shard *shard)
{
    return (struct watch_source){
        .state = shard->state,
        .fired = shard->fired,
        .cells = shard->cells,
        .frozen = shard->freeze.cells,
        .flushed = shard->flushed,
        .live = shard->live,
        .live_count = shard->live_count,
        .log_first = shard->rebuild.first > 0 ? shard->rebuild.first : 1,
    };
}

enum status
shard_watch_settle(struct shard *shard, struct error *error)
{
    const struct watch_source source = shard_watch_source(shard);
    enum status status = STATUS_OK;
    while (!status && watch_has_unbased(&shard->watch))
        status = watch_base(&shard->watch, &source, SECOND_NS, error);
    struct watch_batch *batch = status ? NULL : watch_take(&shard->watch);
    if (batch != NULL) {
        status = watch_write(batch, shard->fired, error);
        metric_add(&shard->metrics[SHARD_FIRED], (int64_t)watch_taken(&shard->watch));
    }
    if (!status)
        watch_trim(&shard->watch);
    return status;
}
