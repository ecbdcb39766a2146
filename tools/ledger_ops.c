#include "tools/ledger_ops.h"

#include "base/clock.h"
#include "base/progress.h"
#include "ledger/backup.h"
#include "ledger/rebuild.h"
#include "ledger/repair.h"
#include "tools/command.h"

#include <inttypes.h>
#include <string.h>

struct settings {
    const char *data;
    const char *to;
    const char *from;
    int64_t rate_bytes;
    struct option_texts at_blocks;
    const char *at;
    int64_t map_size;
    int64_t shard;
    int64_t dedup_window_ns;
    bool is_dry;
};

#define AT(member) .offset = offsetof(struct settings, member)

// clang-format off
static const struct option_row backup_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "to", .type = OPTION_TEXT, AT(to), .is_required = true, .value_name = "BACKUP",
     .help = "directory of the backup; made when it is missing"},
    {.name = "rate", .type = OPTION_SIZE, AT(rate_bytes), .fallback = "0", .min = 0,
     .max = INT64_MAX, .value_name = "SIZE", .help = "bytes a second at most; 0: no limit"},
    {.name = NULL},
};

static const struct option_row restore_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "from", .type = OPTION_TEXT, AT(from), .is_required = true, .value_name = "BACKUP",
     .help = "directory of the backup"},
    {.name = "at-block", .type = OPTION_TEXTS, AT(at_blocks), .value_name = "SHARD:N",
     .help = "the last block of that shard"},
    {.name = "at", .type = OPTION_TEXT, AT(at), .value_name = "TIME",
     .help = "what had arrived by then; UTC when it names no zone"},
    {.name = "map-size", .type = OPTION_SIZE, AT(map_size), .fallback = "0", .min = 0,
     .max = INT64_MAX, .value_name = "SIZE", .help = "of the new ledger; 0: as it was"},
    {.name = NULL},
};

static const struct option_row rebuild_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "shard", .type = OPTION_INT, AT(shard), .fallback = "-1", .min = -1, .max = 255,
     .value_name = "N", .help = "one shard; -1: all"},
    {.name = "dedup-window", .type = OPTION_DURATION, AT(dedup_window_ns),
     .env = "TALLY_DEDUP_WINDOW", .fallback = "36d", .min = 1, .max = INT64_MAX / 4,
     .value_name = "TIME", .help = "what tallyd is started with, when that is longer: a shorter "
                                   "one forgets what was sent"},
    {.name = NULL},
};

static const struct option_row repair_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "dry-run", .type = OPTION_FLAG, AT(is_dry),
     .help = "say what would be done, and change nothing"},
    {.name = "dedup-window", .type = OPTION_DURATION, AT(dedup_window_ns),
     .env = "TALLY_DEDUP_WINDOW", .fallback = "36d", .min = 1, .max = INT64_MAX / 4,
     .value_name = "TIME", .help = "what tallyd is started with, when that is longer: a shorter "
                                   "one forgets what was sent"},
    {.name = NULL},
};

static const struct option_row resize_rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "map-size", .type = OPTION_SIZE, AT(map_size), .is_required = true, .min = 1 << 20,
     .max = INT64_MAX, .value_name = "SIZE", .help = "of each environment: what a file may become"},
    {.name = NULL},
};
// clang-format on

static const struct option_spec backup_spec = {
    .program = "tally ledger backup",
    .summary = "Copies a ledger, also while tallyd runs; again: what is new since.",
    .usage = "--to BACKUP [options]",
    .details = "The backup holds every event that was acknowledged before it began, the meters, "
               "and ledger.conf\n"
               "with its secret. It counts when this command exits 0; run it again when it did "
               "not.",
    .rows = backup_rows,
};

static const struct option_spec restore_spec = {
    .program = "tally ledger restore",
    .summary = "Makes a new ledger from a backup.",
    .usage = "--from BACKUP --data DIR [options]",
    .details = "DIR must not exist. The first start of tallyd makes the cells again, or do it "
               "now: `tally ledger\n"
               "rebuild`. With --at each shard ends before its first block that was committed "
               "later.",
    .rows = restore_rows,
};

static const struct option_spec rebuild_spec = {
    .program = "tally ledger rebuild",
    .summary = "Drops what is computed from the log, and computes it again.",
    .usage = "[options]",
    .details = "tallyd must be stopped. Programs that keep the ledger open for reading are to be "
               "started again.",
    .rows = rebuild_rows,
};

static const struct option_spec repair_spec = {
    .program = "tally ledger repair",
    .summary = "Makes again what is damaged and can be made of the rest, and says what cannot.",
    .usage = "[options]",
    .details =
        "tallyd must be stopped. The log is made again of its own blocks when all of them are "
        "there, state/\n"
        "of the log, ledger.shape of ledger.conf; what a log has lost is told by its "
        "blocks. What is replaced\n"
        "stays beside it as FILE.damaged. Exits 1 when something is left that only a "
        "backup has.",
    .rows = repair_rows,
};

static const struct option_spec resize_spec = {
    .program = "tally ledger resize",
    .summary = "Lets the ledger's files grow further, from the next start of tallyd on.",
    .usage = "--map-size SIZE [options]",
    .details = "tallyd must be stopped. The size is of addresses, not of disk: it costs nothing.",
    .rows = resize_rows,
};

struct show {
    struct progress progress;
    const char *label;
    bool is_begun;
};

static void
show_blocks(void *context, uint64_t done, uint64_t total)
{
    struct show *show = context;
    if (!show->is_begun)
        progress_begin(&show->progress, show->label, total);
    show->is_begun = true;
    progress_set(&show->progress, done);
}

static void
show_done(struct show *show)
{
    if (show->is_begun)
        progress_end(&show->progress);
}

static int
run_backup(const struct settings *settings)
{
    struct error error = {0};
    struct backup_summary summary;
    struct show show = {.label = "copying blocks"};
    const struct backup_options options = {
        .rate_bytes = (uint64_t)settings->rate_bytes,
        .on_progress = show_blocks,
        .context = &show,
    };
    enum status status = backup_run(settings->data, settings->to, &options, &summary, &error);
    show_done(&show);
    if (status)
        return command_failed("ledger backup", &error);
    printf(
        "backup %" PRIu32 ": %" PRIu64 " blocks copied, %" PRIu64 " bytes; it holds %" PRIu64
        " blocks\n",
        summary.number,
        summary.blocks,
        summary.bytes,
        summary.blocks_held);
    return EXIT_OK;
}

// "SHARD:N".
static bool
read_place(const char *text, uint64_t blocks_max[RESTORE_SHARDS_MAX])
{
    uint64_t numbers[2] = {0};
    for (int i = 0; i < 2; i++) {
        if (*text < '0' || *text > '9')
            return false;
        for (; *text >= '0' && *text <= '9'; text++) {
            if (numbers[i] > INT64_MAX / 10 - 1)
                return false;
            numbers[i] = numbers[i] * 10 + (uint64_t)(*text - '0');
        }
        if (*text++ != (i == 0 ? ':' : '\0'))
            return false;
    }
    if (numbers[0] >= RESTORE_SHARDS_MAX)
        return false;
    blocks_max[numbers[0]] = numbers[1];
    return true;
}

static enum status
read_limits(
    const struct settings *settings,
    struct restore_options *options,
    uint64_t blocks_max[RESTORE_SHARDS_MAX],
    struct error *error)
{
    for (size_t i = 0; i < RESTORE_SHARDS_MAX; i++)
        blocks_max[i] = RESTORE_TO_END;
    for (size_t i = 0; i < settings->at_blocks.count; i++) {
        if (!read_place(settings->at_blocks.items[i], blocks_max)) {
            return error_set(
                error,
                STATUS_INVALID,
                "--at-block %s is no SHARD:N, such as 0:1234",
                settings->at_blocks.items[i]);
        }
    }
    options->blocks_max = blocks_max;
    options->until_ns = INT64_MAX;
    return command_time(settings->at, "--at", &options->until_ns, error);
}

static int
run_restore(const struct settings *settings)
{
    struct error error = {0};
    struct restore_summary summary;
    uint64_t blocks_max[RESTORE_SHARDS_MAX];
    struct show show = {.label = "restoring blocks"};
    struct restore_options options = {
        .map_size = (uint64_t)settings->map_size,
        .on_progress = show_blocks,
        .context = &show,
    };
    if (read_limits(settings, &options, blocks_max, &error))
        return command_usage_error("ledger restore", &error);
    enum status status = restore_run(settings->from, settings->data, &options, &summary, &error);
    show_done(&show);
    if (status)
        return command_failed("ledger restore", &error);
    printf(
        "%" PRIu64 " blocks, %" PRIu64 " entries in %" PRIu32 " shards\n",
        summary.blocks,
        summary.events,
        summary.shards);
    return EXIT_OK;
}

static int
run_rebuild(const struct settings *settings)
{
    struct error error = {0};
    struct rebuild_summary summary;
    // No event comes in: only the window matters.
    const struct rebuild_options options = {
        .shard = (int32_t)settings->shard,
        .ledger =
            {.dedup_window_ns = settings->dedup_window_ns, .past_max_ns = 1, .future_max_ns = 1},
    };
    if (rebuild_run(settings->data, &options, &summary, &error))
        return command_failed("ledger rebuild", &error);
    printf("%" PRIu32 " shards rebuilt from %" PRIu64 " blocks\n", summary.shards, summary.blocks);
    return EXIT_OK;
}

static void
repair_tell(void *context, const struct repair_step *step)
{
    char where[32] = "ledger";
    (void)context;
    if (step->shard >= 0)
        (void)snprintf(where, sizeof where, "shard %04d", (int)step->shard);
    printf("%s: %s: %s\n", where, step->is_mended ? "mended" : "NOT MENDED", step->text);
}

static int
run_repair(const struct settings *settings)
{
    struct error error = {0};
    struct repair_summary summary;
    const struct repair_options options = {
        .is_dry = settings->is_dry,
        .on_step = repair_tell,
        .ledger =
            {.dedup_window_ns = settings->dedup_window_ns, .past_max_ns = 1, .future_max_ns = 1},
    };
    if (repair_run(settings->data, &options, &summary, &error))
        return command_failed("ledger repair", &error);
    printf(
        "%" PRIu64 " findings of `tally ledger verify` before, %" PRIu64 " left\n",
        summary.findings,
        summary.left);
    return summary.left > 0 ? EXIT_FAILED : EXIT_OK;
}

static int
run_resize(const struct settings *settings)
{
    struct error error = {0};
    if (resize_run(settings->data, (uint64_t)settings->map_size, &error))
        return command_failed("ledger resize", &error);
    printf("map size %" PRId64 " from the next start of tallyd on\n", settings->map_size);
    return EXIT_OK;
}

static const struct {
    const char *name;
    const struct option_spec *spec;
    int (*run)(const struct settings *settings);
} operations[] = {
    {"backup",  &backup_spec,  run_backup },
    {"restore", &restore_spec, run_restore},
    {"rebuild", &rebuild_spec, run_rebuild},
    {"repair",  &repair_spec,  run_repair },
    {"resize",  &resize_spec,  run_resize },
};
enum { OPERATIONS_COUNT = sizeof operations / sizeof operations[0] };

static int
operation_run(size_t index, int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    const struct option_spec *spec = operations[index].spec;
    switch (options_read(spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error(spec->program + sizeof "tally " - 1, &error);
    case OPTION_RUN: break;
    }
    return operations[index].run(&settings);
}

int
ledger_ops_run(int argc, char **argv)
{
    for (size_t i = 0; i < OPERATIONS_COUNT; i++)
        if (strcmp(argv[0], operations[i].name) == 0)
            return operation_run(i, argc, argv);
    return -1;
}

void
ledger_ops_help(FILE *out)
{
    for (size_t i = 0; i < OPERATIONS_COUNT; i++)
        (void)fprintf(out, "  %-8s %s\n", operations[i].name, operations[i].spec->summary);
}
