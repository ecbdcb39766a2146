#include "ledger/repair.h"

#include "base/assert.h"
#include "ledger/files.h"
#include "ledger/rebuild.h"
#include "ledger/salvage.h"
#include "ledger/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHARDS_MAX_HERE = 256, TEXT_MAX = 512 };

// What verify found something in.
struct damaged {
    bool log, head, fired, state;
};

struct repair {
    const char *dir;
    const struct repair_options *options;
    struct ledger_conf conf;
    struct repair_summary summary;
    struct damaged shards[SHARDS_MAX_HERE];
    bool conf_file, shape, registry;
};

static void step_tell(struct repair *repair, int32_t shard, bool is_mended, const char *format, ...)
    PRINTF_LIKE(4, 5);

static void
step_tell(struct repair *repair, int32_t shard, bool is_mended, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const struct repair_step step = {.shard = shard, .is_mended = is_mended, .text = text};
    repair->summary.mended += is_mended;
    repair->summary.left += !is_mended && repair->options->is_dry;
    repair->options->on_step(repair->options->context, &step);
}

static bool
begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

// By the names that verify gives to places. An environment that cannot be opened is named in what
// is said of it.
static void
on_finding(void *context, const struct verify_finding *finding)
{
    struct repair *repair = context;
    repair->summary.findings++;
    if (finding->shard < 0) {
        repair->conf_file = repair->conf_file || strcmp(finding->key, "ledger.conf") == 0;
        repair->shape = repair->shape || strcmp(finding->key, "ledger.shape") == 0;
        repair->registry = repair->registry || begins_with(finding->key, "registry");
        return;
    }
    must(finding->shard < SHARDS_MAX_HERE);
    struct damaged *damaged = &repair->shards[finding->shard];
    // Who crashed while it opened both had not said which of them.
    bool is_whole_shard = strcmp(finding->key, "shard") == 0 ||
                          strcmp(finding->key, "pages") == 0 ||
                          strcmp(finding->key, "log and state") == 0;
    bool is_log = begins_with(finding->key, "log") ||
                  (is_whole_shard && strstr(finding->what, "/state") == NULL);
    damaged->log = damaged->log || is_log;
    damaged->head = damaged->head || strcmp(finding->key, "head") == 0;
    damaged->fired = damaged->fired || begins_with(finding->key, "fired");
    bool is_elsewhere =
        is_log || strcmp(finding->key, "head") == 0 || begins_with(finding->key, "fired");
    damaged->state = damaged->state || is_whole_shard || !is_elsewhere;
}

static void
on_left(void *context, const struct verify_finding *finding)
{
    struct repair *repair = context;
    (void)finding;
    repair->summary.left++;
}

static enum status
shard_path(
    struct path *out, const char *dir, uint32_t shard, const char *below, struct error *error)
{
    char name[64];
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/%s", shard, below);
    return path_make(out, dir, name, error);
}

// The file keeps its name until the new one has it; what was there is FILE.damaged from then on.
static enum status
file_swap(const char *file, const char *by, struct error *error)
{
    char aside[FILES_PATH_MAX + 16];
    (void)snprintf(aside, sizeof aside, "%s.damaged", file);
    if (unlink(aside) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot remove %s", aside);
    if (link(file, aside) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot name %s", aside);
    if (rename(by, file) != 0)
        return error_set_errno(error, "cannot rename %s", by);
    return parent_sync(file, error);
}

// --- the log ---

static void
tell_lost(struct repair *repair, uint32_t shard, const struct salvage *salvage)
{
    for (uint32_t i = salvage->lost_count; i-- > 0;) {
        const struct salvage_lost *lost = salvage_lost_at(salvage, i);
        step_tell(
            repair,
            (int32_t)shard,
            false,
            "log: blocks %" PRIu64 " to %" PRIu64 " are lost: %" PRIu64
            " entries by their headers, and those of %" PRIu64 " blocks without one",
            lost->first,
            lost->last,
            lost->events,
            lost->unknown);
    }
    if (salvage->first > 1)
        step_tell(
            repair,
            (int32_t)shard,
            false,
            "log: it begins with block %" PRIu64 ", and what was before is in the cells only",
            salvage->first);
    step_tell(
        repair,
        (int32_t)shard,
        false,
        "log: %" PRIu64 " of its blocks are whole (`tally ledger dump`); restore the rest from a"
        " backup",
        salvage->blocks);
}

static enum status
log_write(struct repair *repair, uint32_t shard, const struct salvage *salvage, struct error *error)
{
    struct path made;
    struct path made_file;
    struct path made_lock;
    struct path file;
    enum status status = shard_path(&made, repair->dir, shard, "log.new", error);
    if (!status)
        status = path_make(&made_file, made.text, "data.mdb", error);
    if (!status)
        status = path_make(&made_lock, made.text, "lock.mdb", error);
    if (!status)
        status = shard_path(&file, repair->dir, shard, "log/data.mdb", error);
    if (status)
        return status;
    // What an earlier try left.
    (void)unlink(made_file.text);
    (void)unlink(made_lock.text);
    (void)rmdir(made.text);
    status = salvage_write(salvage, made.text, repair->conf.map_size, error);
    if (!status)
        status = file_swap(file.text, made_file.text, error);
    (void)unlink(made_file.text);
    (void)unlink(made_lock.text);
    (void)rmdir(made.text);
    return status;
}

// *out_is_whole: the log is there, all of it.
static enum status
log_mend(struct repair *repair, uint32_t shard, bool *out_is_whole, struct error *error)
{
    struct salvage salvage = {0};
    struct head_place head = {0};
    struct path path;
    struct path file;
    enum status status = shard_path(&path, repair->dir, shard, "head", error);
    if (!status)
        status = shard_path(&file, repair->dir, shard, "log/data.mdb", error);
    if (status)
        return status;
    bool has_head = head_read(path.text, &head, NULL) == STATUS_OK;
    status = salvage_read(file.text, has_head ? &head : NULL, &salvage, error);
    if (status == STATUS_NOT_FOUND)
        status = STATUS_OK;
    *out_is_whole = !status && salvage.lost_count == 0 && salvage.first == 1;
    if (!status && !*out_is_whole) {
        tell_lost(repair, shard, &salvage);
    } else if (!status) {
        if (!repair->options->is_dry)
            status = log_write(repair, shard, &salvage, error);
        if (!status)
            step_tell(
                repair,
                (int32_t)shard,
                true,
                "log: made again of its %" PRIu64 " blocks, all of them whole",
                salvage.blocks);
    }
    salvage_done(&salvage);
    return status;
}

// --- the rest of a shard ---

// An empty one: who starts reads the log to its end, and writes it.
static enum status
head_mend(struct repair *repair, uint32_t shard, struct error *error)
{
    struct path path;
    enum status status = shard_path(&path, repair->dir, shard, "head", error);
    if (!status && !repair->options->is_dry)
        status = files_write(path.text, bytes_text(""), 0660, error);
    if (!status)
        step_tell(repair, (int32_t)shard, true, "head: the log as it is counts as the whole one");
    return status;
}

static enum status
fired_mend(struct repair *repair, uint32_t shard, struct error *error)
{
    struct path path;
    char aside[FILES_PATH_MAX + 16];
    enum status status = shard_path(&path, repair->dir, shard, "fired/data.mdb", error);
    if (status)
        return status;
    (void)snprintf(aside, sizeof aside, "%s.damaged", path.text);
    if (!repair->options->is_dry && rename(path.text, aside) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot rename %s", path.text);
    if (!repair->options->is_dry)
        status = parent_sync(path.text, error);
    if (!status)
        step_tell(repair, (int32_t)shard, true, "fired: set aside; thresholds fire once more");
    return status;
}

// After the log: it is made of that.
static enum status
state_mend(struct repair *repair, uint32_t shard, struct error *error)
{
    const struct rebuild_options options = {
        .shard = (int32_t)shard, .ledger = repair->options->ledger};
    struct rebuild_summary summary = {0};
    struct error why = {0};
    enum status status = STATUS_OK;
    if (!repair->options->is_dry)
        status = rebuild_run(repair->dir, &options, &summary, &why);
    if (status == STATUS_INVALID || status == STATUS_CORRUPT) {
        step_tell(repair, (int32_t)shard, false, "state: %s", why.text);
        return STATUS_OK;
    }
    if (status) {
        *error = why;
        return status;
    }
    step_tell(
        repair, (int32_t)shard, true, "state: made again of %" PRIu64 " blocks", summary.blocks);
    return STATUS_OK;
}

static enum status
files_mend(struct repair *repair, uint32_t shard, bool *out_has_log, struct error *error)
{
    const struct damaged *damaged = &repair->shards[shard];
    enum status status = STATUS_OK;
    *out_has_log = true;
    if (damaged->log)
        status = log_mend(repair, shard, out_has_log, error);
    if (!status && damaged->head && *out_has_log)
        status = head_mend(repair, shard, error);
    if (!status && damaged->fired)
        status = fired_mend(repair, shard, error);
    return status;
}

static enum status
ledger_mend(struct repair *repair, bool has_log[SHARDS_MAX_HERE], struct error *error)
{
    enum status status = STATUS_OK;
    if (repair->shape) {
        if (!repair->options->is_dry)
            status = ledger_conf_write(repair->dir, &repair->conf, error);
        if (!status)
            step_tell(repair, -1, true, "ledger.shape: made again of ledger.conf");
    }
    if (repair->registry)
        step_tell(
            repair, -1, false, "registry: restore meters/data.mdb from a backup (meters-N.mdb)");
    for (uint32_t i = 0; i < repair->conf.shards && !status; i++)
        status = files_mend(repair, i, &has_log[i], error);
    return status;
}

static enum status
states_mend(struct repair *repair, const bool has_log[SHARDS_MAX_HERE], struct error *error)
{
    enum status status = STATUS_OK;
    bool is_whole = !repair->registry;
    for (uint32_t i = 0; i < repair->conf.shards; i++)
        is_whole = is_whole && has_log[i];
    for (uint32_t i = 0; i < repair->conf.shards && !status; i++) {
        if (!repair->shards[i].state)
            continue;
        // All shards are opened for it.
        if (is_whole)
            status = state_mend(repair, i, error);
        else
            step_tell(
                repair,
                (int32_t)i,
                false,
                "state: it is made of a log and a registry that are whole");
    }
    return status;
}

static enum status
verify_with(
    struct repair *repair,
    void (*on_one)(void *context, const struct verify_finding *finding),
    struct error *error)
{
    const struct verify_options options = {.on_finding = on_one, .context = repair};
    struct verify_summary summary;
    return verify_run(repair->dir, &options, &summary, error);
}

static enum status
repair_files(struct repair *repair, bool has_log[SHARDS_MAX_HERE], struct error *error)
{
    enum status status = verify_with(repair, on_finding, error);
    if (!status && !repair->conf_file)
        status = ledger_conf_read(repair->dir, &repair->conf, error);
    if (status)
        return status;
    if (repair->conf_file) {
        step_tell(repair, -1, false, "ledger.conf: restore it from a backup");
        return STATUS_OK;
    }
    return ledger_mend(repair, has_log, error);
}

enum status
repair_run(
    const char *dir,
    const struct repair_options *options,
    struct repair_summary *out,
    struct error *error)
{
    must(options->on_step != NULL);
    struct repair repair = {.dir = dir, .options = options};
    bool has_log[SHARDS_MAX_HERE];
    struct path path;
    int lock = -1;
    enum status status = path_make(&path, dir, "lock", error);
    if (!status)
        status = files_lock(path.text, dir, &lock, error);
    if (status == STATUS_BUSY)
        return error_set(error, STATUS_BUSY, "%s is being written: stop tallyd first", dir);
    if (status)
        return status;
    status = repair_files(&repair, has_log, error);
    (void)close(lock);
    if (!status && !repair.conf_file)
        status = states_mend(&repair, has_log, error);
    if (!status && !options->is_dry)
        status = verify_with(&repair, on_left, error);
    if (!status)
        *out = repair.summary;
    return status;
}
