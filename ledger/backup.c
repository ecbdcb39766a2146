// A backup, in its order:
//
//   1. of shards whose log has lost its beginning the state is copied: it is of a block before 2.
//   2. heads of all shards are read: from here on it holds what was acknowledged before
//   3. meters and blocks are written under names that no manifest lists yet, and fsynced
//   4. ledger.conf, then the manifest: from here on this backup exists
//   5. the former backup's copies of meters and states go

#include "ledger/backup.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ledger/chunk.h"
#include "ledger/ledger.h"
#include "ledger/log_reader.h"
#include "ledger/shard_view.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BACKUP_BATCH_SIZE = 1 << 20,  // bytes and blocks read in one transaction
    BACKUP_BATCH_BLOCKS = 64,
    BACKUP_NAME_MAX = 64,
};

struct backup {
    const char *dir;
    const char *to;
    const struct backup_options *options;
    struct ledger_conf conf;
    struct manifest manifest;
    uint32_t former_number;  // 0: this is the first
    uint64_t heads[SHARDS_MAX];
    uint64_t blocks_total;
    int64_t began_ns;  // monotonic
    int lock_fd;       // -1: none
    struct backup_summary summary;
};

// One shard's part.
struct copying {
    struct backup *backup;
    uint32_t shard;
    struct shard_view view;
    struct log_reader reader;
    struct chunk_writer chunk;
    uint64_t next;
};

static void
backup_done(struct backup *backup)
{
    manifest_done(&backup->manifest);
    if (backup->lock_fd >= 0)
        (void)close(backup->lock_fd);
}

// With a rate, waits until the bytes copied so far are due. No transaction is open.
static void
backup_throttle(const struct backup *backup)
{
    uint64_t rate = backup->options->rate_bytes;
    if (rate == 0)
        return;
    uint64_t bytes = backup->summary.bytes;
    uint64_t due_ms = bytes / rate * 1000 + bytes % rate * 1000 / rate;
    int64_t left_ms =
        (int64_t)due_ms - (clock_monotonic_ns() - backup->began_ns) / (SECOND_NS / 1000);
    while (left_ms > 0) {
        (void)poll(NULL, 0, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
        left_ms = (int64_t)due_ms - (clock_monotonic_ns() - backup->began_ns) / (SECOND_NS / 1000);
    }
}

static void
backup_show(const struct backup *backup)
{
    if (backup->options->on_progress != NULL)
        backup->options->on_progress(
            backup->options->context, backup->summary.blocks, backup->blocks_total);
}

// The block of the log that the backup ends with is still that block.
static enum status
copying_resume(struct copying *copying, struct tx *log, struct error *error)
{
    const struct manifest_shard *held = &copying->backup->manifest.shards[copying->shard];
    if (held->head == 0)
        return STATUS_OK;
    if (copying->backup->heads[copying->shard] >= held->head) {
        enum status status = log_look(&copying->reader, log, held->head, error);
        if (status == STATUS_NOT_FOUND) {
            return error_set(
                error,
                STATUS_EXISTS,
                "block %" PRIu64 " is the last one in %s, and was deleted from the log, maybe with "
                "later ones: back it up into a new directory",
                held->head,
                copying->backup->to);
        }
        if (status || copying->reader.header.checksum == held->head_checksum)
            return status;
    }
    return error_set(
        error,
        STATUS_EXISTS,
        "block %" PRIu64 " in %s is not in this log: it goes on from another place, as after a "
        "restore; back it up into a new directory",
        held->head,
        copying->backup->to);
}

// Retention does not wait for a backup: what it has overtaken is not damaged.
static enum status
overtaken(uint64_t sequence, struct error *error)
{
    return error_set(
        error,
        STATUS_BUSY,
        "block %" PRIu64 " and those before it were deleted from the log meanwhile: start it again",
        sequence);
}

// Blocks of one transaction, into memory.
static enum status
copying_read(struct copying *copying, uint64_t head, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(copying->view.log);
    enum status status = tx_check(&log, error);
    for (uint32_t i = 0; !status && copying->next <= head && i < BACKUP_BATCH_BLOCKS; i++) {
        struct bytes value;
        uint64_t sequence = copying->next;
        // Checks it whole, its predecessor's checksum included.
        status = log_open(&copying->reader, &log, sequence, error);
        if (status == STATUS_NOT_FOUND)
            status = overtaken(sequence, error);
        if (status)
            break;
        bool is_there = tx_get(&log, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence), &value);
        must(is_there);
        chunk_add(&copying->chunk, value);
        copying->next++;
        if (copying->chunk.pending.size >= BACKUP_BATCH_SIZE)
            break;
    }
    return status;
}

static enum status
copying_end_chunk(struct copying *copying, struct error *error)
{
    struct backup *backup = copying->backup;
    struct manifest_chunk row;
    enum status status = chunk_end(&copying->chunk, &row, error);
    if (status)
        return status;
    struct manifest_shard *shard = &backup->manifest.shards[copying->shard];
    shard->head = row.last;
    shard->head_checksum = copying->reader.header.checksum;
    return manifest_add(&backup->manifest, &row, error);
}

static enum status
copying_step(struct copying *copying, uint64_t head, struct error *error)
{
    struct backup *backup = copying->backup;
    struct chunk_writer *chunk = &copying->chunk;
    enum status status = STATUS_OK;
    uint64_t begin = copying->next;
    if (chunk->fd == 0)
        status = chunk_begin(chunk, backup->to, copying->shard, begin, error);
    if (!status)
        status = copying_read(copying, head, error);
    uint64_t size = chunk->pending.size;
    if (!status)
        status = chunk_flush(chunk, error);
    if (!status && (copying->next > head || chunk->row.size_bytes >= CHUNK_SIZE_ENOUGH))
        status = copying_end_chunk(copying, error);
    if (status)
        return status;
    backup->summary.blocks += copying->next - begin;
    backup->summary.bytes += size;
    backup_show(backup);
    backup_throttle(backup);
    return STATUS_OK;
}

static enum status
copying_begin(struct copying *copying, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(copying->view.log);
    enum status status = copying_resume(copying, &log, error);
    uint64_t first = 0;
    if (!status)
        status = log_first(&log, &first, error);
    if (status)
        return status;
    const struct manifest_shard *shard = &copying->backup->manifest.shards[copying->shard];
    uint64_t held = shard->head;
    copying->next = held > 0 ? held + 1 : shard->kept.first;
    if (held == 0 && first > shard->kept.first)
        return overtaken(first - 1, error);
    if (copying->next < first) {
        return error_set(
            error,
            STATUS_EXISTS,
            "blocks %" PRIu64 " to %" PRIu64 " were deleted from the log before they were in %s: "
            "back it up into a new directory",
            copying->next,
            first - 1,
            copying->backup->to);
    }
    return STATUS_OK;
}

static enum status
backup_shard(struct backup *backup, uint32_t shard, struct error *error)
{
    struct copying copying = {.backup = backup, .shard = shard};
    uint64_t head = backup->heads[shard];
    // Nothing there, and nothing was.
    if (head == 0 && backup->manifest.shards[shard].head == 0)
        return STATUS_OK;
    enum status status = shard_view_open(backup->dir, shard, &copying.view, error);
    if (!status)
        status = copying_begin(&copying, error);
    while (!status && copying.next <= head)
        status = copying_step(&copying, head, error);
    chunk_abort(&copying.chunk);
    log_reader_done(&copying.reader);
    shard_view_done(&copying.view);
    return status ? error_prefix(error, "shard %04" PRIu32, shard) : STATUS_OK;
}

static enum status
backup_heads(struct backup *backup, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < backup->conf.shards && !status; i++) {
        scoped(shard_view_done) struct shard_view view = {0};
        status = shard_view_open(backup->dir, i, &view, error);
        if (status || view.log == NULL)
            continue;
        scoped(tx_done) struct tx log = tx_read(view.log);
        status = log_head(&log, &backup->heads[i], error);
        uint64_t held = backup->manifest.shards[i].head;
        backup->blocks_total += backup->heads[i] > held ? backup->heads[i] - held : 0;
    }
    return status;
}

static enum status
state_path(
    const struct backup *backup,
    uint32_t shard,
    uint32_t number,
    struct path *out,
    struct error *error)
{
    char name[BACKUP_NAME_MAX];
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/state-%" PRIu32 ".mdb", shard, number);
    return path_make(out, backup->to, name, error);
}

// Where the log begins in a first backup, and where it began for cells of some meters.
static enum status
backup_kept(struct backup *backup, uint32_t shard, struct env *env, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(env);
    scoped(buffer_done) struct buffer list = {0};
    struct log_kept *kept = &backup->manifest.shards[shard].kept;
    enum status status = log_kept_read(&log, kept, error);
    if (!status && kept->first > 1)
        status = log_kept_list(&log, &list, error);
    for (size_t at = 0; !status && at < list.size; at += sizeof(struct log_kept)) {
        struct manifest_lack lack = {.shard = shard};
        memcpy(&lack.kept, list.data + at, sizeof lack.kept);
        status = manifest_lack_add(&backup->manifest, &lack, error);
    }
    return status;
}

// The cells of blocks that no backup has any more, with all others.
static enum status
backup_state(struct backup *backup, uint32_t shard, struct error *error)
{
    struct manifest_shard *row = &backup->manifest.shards[shard];
    scoped(shard_view_done) struct shard_view view = {0};
    struct path path;
    enum status status = shard_view_open(backup->dir, shard, &view, error);
    if (!status && row->head == 0 && view.log != NULL)
        status = backup_kept(backup, shard, view.log, error);
    if (status || row->kept.first == 1)
        return status;
    if (view.state == NULL)
        return error_set(error, STATUS_CORRUPT, "state is missing: restore the ledger");
    status = state_path(backup, shard, backup->manifest.number, &path, error);
    if (!status)
        status = env_copy(view.state, path.text, error);
    return status ? status
                  : files_copy(path.text, NULL, &row->state_size, &row->state_checksum, error);
}

static enum status
backup_states(struct backup *backup, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < backup->conf.shards && !status; i++) {
        status = backup_state(backup, i, error);
        if (status)
            status = error_prefix(error, "shard %04" PRIu32, i);
    }
    return status;
}

static enum status
backup_registry(struct backup *backup, struct error *error)
{
    scoped(buffer_done) struct buffer bytes = {0};
    struct registry *registry = NULL;
    struct path path;
    char name[BACKUP_NAME_MAX];
    (void)snprintf(name, sizeof name, "meters-%" PRIu32 ".mdb", backup->manifest.number);
    enum status status = path_make(&path, backup->to, name, error);
    if (!status)
        status = registry_open(backup->dir, &registry, error);
    if (!status)
        status = registry_copy(registry, path.text, error);
    registry_close(registry);
    if (!status)
        status = files_load(path.text, &bytes, error);
    if (status)
        return status;
    backup->manifest.registry_size = bytes.size;
    backup->manifest.registry_checksum = hash64(buffer_view(&bytes), 0);
    return STATUS_OK;
}

static enum status
private_dir_make(const char *path, struct error *error)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set_errno(error, "cannot make the directory %s", path);
    return STATUS_OK;
}

// A directory that is a ledger itself must not get a backup's files.
static enum status
backup_refuse_ledger(const struct backup *backup, struct error *error)
{
    struct path path;
    enum status status = path_make(&path, backup->to, "meters", error);
    if (!status && access(path.text, F_OK) == 0)
        status = error_set(
            error, STATUS_EXISTS, "%s is a ledger itself: name another directory", backup->to);
    return status;
}

static enum status
backup_directories(struct backup *backup, struct error *error)
{
    struct path path;
    enum status status = private_dir_make(backup->to, error);
    if (!status)
        status = backup_refuse_ledger(backup, error);
    if (!status)
        status = path_make(&path, backup->to, "lock", error);
    if (!status)
        status = files_lock(path.text, backup->to, &backup->lock_fd, error);
    if (!status)
        status = path_make(&path, backup->to, "shards", error);
    if (!status)
        status = private_dir_make(path.text, error);
    for (uint32_t i = 0; i < backup->conf.shards && !status; i++) {
        char name[BACKUP_NAME_MAX];
        (void)snprintf(name, sizeof name, "shards/%04" PRIu32, i);
        status = path_make(&path, backup->to, name, error);
        if (!status)
            status = private_dir_make(path.text, error);
    }
    return status;
}

// What the directory holds: this ledger, up to some block, or nothing.
static enum status
backup_look(struct backup *backup, struct error *error)
{
    struct ledger_conf held;
    enum status status = manifest_read(backup->to, &backup->manifest, error);
    if (status == STATUS_NOT_FOUND) {
        backup->manifest.shards_count = backup->conf.shards;
        backup->manifest.number = 1;
        for (uint32_t i = 0; i < backup->conf.shards; i++)
            backup->manifest.shards[i].kept.first = 1;
        return STATUS_OK;
    }
    if (!status)
        status = ledger_conf_read(backup->to, &held, error);
    if (status)
        return status;
    if (held.shards != backup->conf.shards ||
        backup->manifest.shards_count != backup->conf.shards ||
        memcmp(&held.secret, &backup->conf.secret, sizeof held.secret) != 0)
        return error_set(error, STATUS_EXISTS, "%s holds the backup of another ledger", backup->to);
    backup->former_number = backup->manifest.number++;
    return STATUS_OK;
}

static enum status
backup_sync(const struct backup *backup, struct error *error)
{
    struct path path;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < backup->conf.shards && !status; i++) {
        char name[BACKUP_NAME_MAX];
        (void)snprintf(name, sizeof name, "shards/%04" PRIu32, i);
        status = path_make(&path, backup->to, name, error);
        if (!status)
            status = dir_sync(path.text, error);
    }
    if (!status)
        status = path_make(&path, backup->to, "shards", error);
    if (!status)
        status = dir_sync(path.text, error);
    return status;
}

static enum status
backup_finish(struct backup *backup, struct error *error)
{
    enum status status = backup_sync(backup, error);
    if (!status)
        status = ledger_conf_write(backup->to, &backup->conf, error);
    if (!status)
        status = manifest_write(backup->to, &backup->manifest, error);
    if (status || backup->former_number == 0)
        return status;
    struct path path;
    char name[BACKUP_NAME_MAX];
    (void)snprintf(name, sizeof name, "meters-%" PRIu32 ".mdb", backup->former_number);
    status = path_make(&path, backup->to, name, error);
    // Left behind, it would only take room.
    if (!status)
        (void)unlink(path.text);
    for (uint32_t i = 0; i < backup->conf.shards && !status; i++) {
        status = state_path(backup, i, backup->former_number, &path, error);
        if (!status)
            (void)unlink(path.text);
    }
    return status;
}

static enum status
backup_all(struct backup *backup, struct error *error)
{
    enum status status = ledger_conf_read(backup->dir, &backup->conf, error);
    if (!status)
        status = backup_directories(backup, error);
    if (!status)
        status = backup_look(backup, error);
    backup->manifest.began_ns = clock_now_ns();
    if (!status)
        status = backup_states(backup, error);
    if (!status)
        status = backup_heads(backup, error);
    if (!status)
        status = backup_registry(backup, error);
    for (uint32_t i = 0; i < backup->conf.shards && !status; i++)
        status = backup_shard(backup, i, error);
    return status ? status : backup_finish(backup, error);
}

enum status
backup_run(
    const char *dir,
    const char *to,
    const struct backup_options *options,
    struct backup_summary *out,
    struct error *error)
{
    scoped(backup_done) struct backup backup = {
        .dir = dir,
        .to = to,
        .options = options,
        .lock_fd = -1,
        .began_ns = clock_monotonic_ns(),
    };
    enum status status = backup_all(&backup, error);
    if (status)
        return status;
    for (uint32_t i = 0; i < manifest_count(&backup.manifest); i++) {
        struct manifest_chunk chunk = manifest_at(&backup.manifest, i);
        backup.summary.blocks_held += chunk.last - chunk.first + 1;
    }
    backup.summary.number = backup.manifest.number;
    *out = backup.summary;
    return STATUS_OK;
}
