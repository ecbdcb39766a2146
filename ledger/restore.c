// A ledger from a backup. It is made as NAME.restoring and gets its name when it is whole, so that
// what a crash leaves is none, and looks like none.

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ledger/backup.h"
#include "ledger/chunk.h"
#include "ledger/head.h"
#include "ledger/ledger.h"
#include "ledger/log_reader.h"
#include "ledger/shard_view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
    const char *from;
    const char *name;
    const char *dir;   // where it is made
    struct path made;  // its text
    const struct restore_options *options;
    struct ledger_conf conf;
    struct manifest manifest;
    uint64_t blocks_total;
    int lock_fd;  // -1: none
    struct restore_summary summary;
};

// One shard's part.
struct filling {
    struct restore *restore;
    uint32_t shard;
    struct env *log;
    struct log_reader reader;  // of what was written
    struct chunk_reader chunk;
    uint64_t last_wanted;
    uint64_t head;
    bool is_ended;
};

static void
restore_done(struct restore *restore)
{
    manifest_done(&restore->manifest);
    if (restore->lock_fd >= 0)
        (void)close(restore->lock_fd);
}

// One chunk's blocks in one transaction, as far as they are wanted.
static enum status
filling_write(struct filling *filling, uint64_t *out_last, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(filling->log);
    uint64_t sequence;
    uint64_t last = filling->head;
    struct bytes value;
    enum status status = STATUS_OK;
    while (!status && !filling->is_ended && chunk_next(&filling->chunk, &sequence, &value)) {
        struct block_header header;
        status = block_look(sequence, value, &header, error);
        filling->is_ended = sequence > filling->last_wanted ||
                            (!status && header.arrival_ns > filling->restore->options->until_ns);
        if (status || filling->is_ended)
            break;
        tx_append(&tx, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence), value);
        last = sequence;
    }
    if (!status)
        status = tx_commit(&tx, error);
    if (!status)
        *out_last = last;
    return status;
}

// Reads back what was written: words, entries, each one's predecessor.
static enum status
filling_check(struct filling *filling, uint64_t first, uint64_t last, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(filling->log);
    enum status status = tx_check(&tx, error);
    for (uint64_t sequence = first; sequence <= last && !status; sequence++) {
        status = log_open(&filling->reader, &tx, sequence, error);
        filling->restore->summary.events += status ? 0 : filling->reader.header.count;
    }
    return status;
}

static enum status
filling_chunk(struct filling *filling, const struct manifest_chunk *row, struct error *error)
{
    struct restore *restore = filling->restore;
    uint64_t last = 0;
    enum status status = chunk_open(&filling->chunk, restore->from, row, error);
    if (!status)
        status = filling_write(filling, &last, error);
    if (!status && last > filling->head) {
        status = filling_check(filling, row->first, last, error);
        restore->summary.blocks += last - row->first + 1;
        filling->head = last;
    }
    if (!status && restore->options->on_progress != NULL)
        restore->options->on_progress(
            restore->options->context, restore->summary.blocks, restore->blocks_total);
    return status;
}

static enum status
filling_head(const struct filling *filling, const char *path, struct error *error)
{
    struct head_file head = {0};
    if (filling->head == 0)
        return STATUS_OK;
    enum status status = head_open(path, &head, error);
    if (!status)
        status = head_write(&head, filling->head, filling->reader.header.checksum, error);
    if (!status)
        status = head_sync(&head, INT64_MAX, error);
    head_close(&head);
    return status;
}

// What the log had deleted, and the cells that know of it.
static enum status
filling_begin(struct filling *filling, struct error *error)
{
    const struct restore *restore = filling->restore;
    const struct manifest_shard *row = &restore->manifest.shards[filling->shard];
    uint64_t size = 0;
    uint64_t checksum = 0;
    struct path from;
    struct path to;
    char name[64];
    if (row->kept.first == 1)
        return STATUS_OK;
    scoped(tx_done) struct tx tx = tx_write(filling->log);
    log_kept_write(&tx, &row->kept);
    for (uint32_t i = 0; i < manifest_lacks_count(&restore->manifest); i++) {
        struct manifest_lack lack = manifest_lack_at(&restore->manifest, i);
        if (lack.shard == filling->shard)
            log_kept_remember(&tx, &lack.kept);
    }
    enum status status = tx_commit(&tx, error);
    (void)snprintf(
        name,
        sizeof name,
        "shards/%04" PRIu32 "/state-%" PRIu32 ".mdb",
        filling->shard,
        restore->manifest.number);
    if (!status)
        status = path_make(&from, restore->from, name, error);
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/state/data.mdb", filling->shard);
    if (!status)
        status = path_make(&to, restore->dir, name, error);
    if (!status)
        status = files_copy(from.text, to.text, &size, &checksum, error);
    if (status || (size == row->state_size && checksum == row->state_checksum))
        return status;
    return error_set(
        error,
        STATUS_CORRUPT,
        "%s is not what its backup's manifest says: take another backup",
        from.text);
}

static enum status
filling_run(struct filling *filling, struct error *error)
{
    const struct restore *restore = filling->restore;
    const struct env_options log = {
        .map_size = restore->conf.map_size, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    struct path path;
    char name[64];
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/log", filling->shard);
    enum status status = path_make(&path, restore->dir, name, error);
    if (!status)
        status = env_open(path.text, &log, &filling->log, error);
    if (!status)
        status = filling_begin(filling, error);
    uint32_t count = manifest_count(&restore->manifest);
    for (uint32_t i = 0; i < count && !status && !filling->is_ended; i++) {
        struct manifest_chunk row = manifest_at(&restore->manifest, i);
        if (row.shard == filling->shard)
            status = filling_chunk(filling, &row, error);
    }
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/head", filling->shard);
    if (!status)
        status = path_make(&path, restore->dir, name, error);
    return status ? status : filling_head(filling, path.text, error);
}

static enum status
restore_shard(struct restore *restore, uint32_t shard, struct error *error)
{
    const uint64_t *blocks_max = restore->options->blocks_max;
    struct filling filling = {
        .restore = restore,
        .shard = shard,
        .last_wanted = blocks_max != NULL ? blocks_max[shard] : RESTORE_TO_END,
    };
    enum status status = filling_run(&filling, error);
    chunk_done(&filling.chunk);
    log_reader_done(&filling.reader);
    env_close(filling.log);
    return status ? error_prefix(error, "shard %04" PRIu32, shard) : STATUS_OK;
}

static enum status
restore_registry(const struct restore *restore, struct error *error)
{
    scoped(buffer_done) struct buffer bytes = {0};
    struct path path;
    char name[64];
    (void)snprintf(name, sizeof name, "meters-%" PRIu32 ".mdb", restore->manifest.number);
    enum status status = path_make(&path, restore->from, name, error);
    if (!status)
        status = files_load(path.text, &bytes, error);
    if (status)
        return status == STATUS_NOT_FOUND
                   ? error_set(error, STATUS_CORRUPT, "the backup's file %s is missing", path.text)
                   : status;
    if (bytes.size != restore->manifest.registry_size ||
        hash64(buffer_view(&bytes), 0) != restore->manifest.registry_checksum) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "%s is not what its backup's manifest says: take another backup",
            path.text);
    }
    status = path_make(&path, restore->dir, "meters/data.mdb", error);
    return status ? status : files_write(path.text, buffer_view(&bytes), 0660, error);
}

// The first block of a shard that the backup holds; 1 when it holds none.
static uint64_t
restore_first(const struct restore *restore, uint32_t shard)
{
    for (uint32_t i = 0; i < manifest_count(&restore->manifest); i++) {
        struct manifest_chunk row = manifest_at(&restore->manifest, i);
        if (row.shard == shard)
            return row.first;
    }
    return 1;
}

// Cells that were backed up are of the end: what a shard lost at its beginning cannot be had with
// less than all blocks that the backup has.
static enum status
restore_check_whole(const struct restore *restore, struct error *error)
{
    const struct restore_options *options = restore->options;
    bool is_whole = options->until_ns == INT64_MAX;
    for (uint32_t i = 0; i < restore->conf.shards; i++) {
        const struct manifest_shard *row = &restore->manifest.shards[i];
        uint64_t last = options->blocks_max != NULL ? options->blocks_max[i] : RESTORE_TO_END;
        if (row->kept.first > 1 && (!is_whole || last < row->head))
            return error_set(
                error,
                STATUS_INVALID,
                "shard %04" PRIu32 ": the backup begins at block %" PRIu64
                ", with the cells of all blocks: it can be restored to its end only",
                i,
                row->kept.first);
    }
    return STATUS_OK;
}

// Each block that was named is in the backup; 0 stands before block 1.
static enum status
restore_check_limits(const struct restore *restore, struct error *error)
{
    const uint64_t *blocks_max = restore->options->blocks_max;
    for (uint32_t i = 0; blocks_max != NULL && i < RESTORE_SHARDS_MAX; i++) {
        uint64_t head = i < restore->conf.shards ? restore->manifest.shards[i].head : 0;
        uint64_t first = restore_first(restore, i);
        if (blocks_max[i] == RESTORE_TO_END ||
            (blocks_max[i] + 1 >= first && blocks_max[i] <= head))
            continue;
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "shard %04" PRIu32 ": the backup holds blocks %" PRIu64 " to %" PRIu64
            ", not block %" PRIu64,
            i,
            first,
            head,
            blocks_max[i]);
    }
    return STATUS_OK;
}

// NAME.restoring, of a name that may end with slashes.
static enum status
restore_place(struct restore *restore, struct error *error)
{
    static const char suffix[] = ".restoring";
    char *text = restore->made.text;
    enum status status = path_make(&restore->made, restore->name, "", error);
    if (status)
        return status;
    size_t size = strlen(text);
    while (size > 1 && text[size - 1] == '/')
        text[--size] = '\0';
    if (size == 0 || size + sizeof suffix > sizeof restore->made.text)
        return error_set(error, STATUS_INVALID, "%s is no name of a directory", restore->name);
    memcpy(text + size, suffix, sizeof suffix);
    restore->dir = text;
    return STATUS_OK;
}

static enum status
restore_look(struct restore *restore, struct error *error)
{
    struct stat there;
    enum status status = restore_place(restore, error);
    if (status)
        return status;
    if (lstat(restore->name, &there) == 0 || errno != ENOENT) {
        return error_set(
            error, STATUS_EXISTS, "%s exists: name a directory that does not", restore->name);
    }
    if (lstat(restore->dir, &there) == 0 || errno != ENOENT) {
        return error_set(
            error,
            STATUS_EXISTS,
            "%s is of a restore that did not end, or has not yet: delete it if none is at work",
            restore->dir);
    }
    status = manifest_read(restore->from, &restore->manifest, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "%s: no backup there", restore->from);
    if (!status)
        status = ledger_conf_read(restore->from, &restore->conf, error);
    if (status)
        return status;
    if (restore->conf.shards != restore->manifest.shards_count) {
        return error_set(
            error, STATUS_CORRUPT, "%s: manifest and ledger.conf do not fit", restore->from);
    }
    if (restore->options->map_size > 0)
        restore->conf.map_size = restore->options->map_size;
    for (uint32_t i = 0; i < manifest_count(&restore->manifest); i++) {
        struct manifest_chunk row = manifest_at(&restore->manifest, i);
        restore->blocks_total += row.last - row.first + 1;
    }
    status = restore_check_limits(restore, error);
    return status ? status : restore_check_whole(restore, error);
}

static enum status
restore_name(const struct restore *restore, struct error *error)
{
    if (rename(restore->dir, restore->name) != 0)
        return error_set_errno(error, "cannot rename %s", restore->dir);
    return parent_sync(restore->name, error);
}

static enum status
restore_all(struct restore *restore, struct error *error)
{
    struct path path;
    enum status status = restore_look(restore, error);
    if (!status)
        status = dir_make(restore->dir, error);
    if (!status)
        status = path_make(&path, restore->dir, "lock", error);
    if (!status)
        status = files_lock(path.text, restore->dir, &restore->lock_fd, error);
    if (!status)
        status = ledger_lay_out(restore->dir, &restore->conf, error);
    for (uint32_t i = 0; i < restore->conf.shards && !status; i++)
        status = restore_shard(restore, i, error);
    if (!status)
        status = restore_registry(restore, error);
    if (!status)
        status = ledger_conf_write(restore->dir, &restore->conf, error);
    return status ? status : restore_name(restore, error);
}

enum status
restore_run(
    const char *from,
    const char *dir,
    const struct restore_options *options,
    struct restore_summary *out,
    struct error *error)
{
    scoped(restore_done) struct restore restore = {
        .from = from, .name = dir, .options = options, .lock_fd = -1};
    enum status status = restore_all(&restore, error);
    restore.summary.shards = restore.conf.shards;
    if (!status)
        *out = restore.summary;
    return status;
}
