#include "ledger/rebuild.h"

#include "base/assert.h"
#include "ledger/files.h"
#include "ledger/shard_view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

// The lock of the ledger's writer.
static enum status
writer_lock(const char *dir, int *out_fd, struct error *error)
{
    struct path path;
    enum status status = path_make(&path, dir, "lock", error);
    if (!status)
        status = files_lock(path.text, dir, out_fd, error);
    if (status == STATUS_BUSY)
        return error_set(error, STATUS_BUSY, "%s is being written: stop tallyd first", dir);
    return status;
}

static enum status
shard_path(
    struct path *out, const char *dir, uint32_t shard, const char *below, struct error *error)
{
    char name[64];
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/%s", shard, below);
    return path_make(out, dir, name, error);
}

// How many blocks there are to fold; STATUS_INVALID when the first ones are gone.
static enum status
log_count(const char *dir, uint32_t shard, uint64_t *out_count, struct error *error)
{
    const struct env_options options = {
        .is_read_only = true, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    struct path path;
    struct env *log = NULL;
    uint64_t first = 0;
    enum status status = shard_path(&path, dir, shard, "log", error);
    if (!status)
        status = env_open(path.text, &options, &log, error);
    if (status)
        return status;
    struct tx tx = tx_read(log);
    status = log_first(&tx, &first, error);
    *out_count = tx_count(&tx, LOG_DB_BLOCKS);
    if (!status)
        status = tx_check(&tx, error);
    tx_done(&tx);
    env_close(log);
    if (!status && first > 1) {
        status = error_set(
            error,
            STATUS_INVALID,
            "shard %04" PRIu32 ": blocks before %" PRIu64
            " were deleted, and only the cells know of them: restore the ledger from a backup",
            shard,
            first);
    }
    return status;
}

static enum status
file_remove(const char *path, struct error *error)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return STATUS_OK;
    return error_set_errno(error, "cannot remove %s", path);
}

// The files, not the records: what is damaged may be any page.
static enum status
state_drop(const char *dir, const struct ledger_conf *conf, uint32_t shard, struct error *error)
{
    const struct env_options options = {
        .map_size = conf->map_size, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    struct path path;
    struct env *state = NULL;
    enum status status = shard_path(&path, dir, shard, "state/data.mdb", error);
    if (!status)
        status = file_remove(path.text, error);
    if (!status)
        status = shard_path(&path, dir, shard, "state/lock.mdb", error);
    if (!status)
        status = file_remove(path.text, error);
    if (!status)
        status = shard_path(&path, dir, shard, "state", error);
    if (!status)
        status = dir_make(path.text, error);
    if (!status)
        status = env_open(path.text, &options, &state, error);
    env_close(state);
    return status;
}

static bool
is_chosen(const struct rebuild_options *options, uint32_t shard)
{
    return options->shard == REBUILD_ALL_SHARDS || (uint32_t)options->shard == shard;
}

// Looks at all before it drops any.
static enum status
states_drop(
    const char *dir,
    const struct rebuild_options *options,
    struct rebuild_summary *out,
    struct error *error)
{
    struct ledger_conf conf;
    enum status status = ledger_conf_read(dir, &conf, error);
    if (status)
        return status;
    if (options->shard != REBUILD_ALL_SHARDS && (uint32_t)options->shard >= conf.shards) {
        return error_set(
            error,
            STATUS_INVALID,
            "%s has shards 0 to %" PRIu32 ", not %d",
            dir,
            conf.shards - 1,
            options->shard);
    }
    for (uint32_t i = 0; i < conf.shards && !status; i++) {
        uint64_t count = 0;
        if (!is_chosen(options, i))
            continue;
        status = log_count(dir, i, &count, error);
        out->shards++;
        out->blocks += count;
    }
    for (uint32_t i = 0; i < conf.shards && !status; i++) {
        if (is_chosen(options, i))
            status = state_drop(dir, &conf, i, error);
    }
    return status;
}

enum status
rebuild_run(
    const char *dir,
    const struct rebuild_options *options,
    struct rebuild_summary *out,
    struct error *error)
{
    must(options->shard >= REBUILD_ALL_SHARDS);
    struct rebuild_summary summary = {0};
    struct ledger *ledger = NULL;
    int lock = -1;
    enum status status = writer_lock(dir, &lock, error);
    if (status)
        return status;
    status = states_drop(dir, options, &summary, error);
    (void)close(lock);
    // Opening folds what state/ does not have, closing flushes it.
    if (!status)
        status = ledger_open(dir, &options->ledger, &ledger, error);
    if (!status)
        status = ledger_close(ledger, error);
    if (!status)
        *out = summary;
    return status;
}

enum status
resize_run(const char *dir, uint64_t map_size, struct error *error)
{
    struct ledger_conf conf;
    int lock = -1;
    enum status status = ledger_conf_read(dir, &conf, error);
    if (!status)
        status = writer_lock(dir, &lock, error);
    if (status)
        return status;
    if (map_size < conf.map_size) {
        status = error_set(
            error,
            STATUS_INVALID,
            "%s has a map size of %" PRIu64 " bytes: it can grow only",
            dir,
            conf.map_size);
    } else {
        conf.map_size = map_size;
        status = ledger_conf_write(dir, &conf, error);
    }
    (void)close(lock);
    return status;
}
