#include "ledger/rebuild.h"

#include "base/clock.h"
#include "ledger/shard_view.h"
#include "ledger/verify.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

static enum status
rebuild(const char *dir, int32_t shard, uint64_t tail_max_bytes, struct error *error)
{
    struct rebuild_summary summary;
    const struct rebuild_options options = {
        .shard = shard,
        .ledger = {.now_ns = test_now_ns, .tail_max_bytes = tail_max_bytes},
    };
    return rebuild_run(dir, &options, &summary, error);
}

// Two shards with some restarts and flushes behind them.
static void
make_used(struct writing *writing)
{
    writing_begin(writing, 2);
    writing_meter(writing, "calls", "llm", AGGREGATION_COUNT);
    writing_meter(writing, "tokens", "llm", AGGREGATION_SUM);
    writing_meter(writing, "users", "llm", AGGREGATION_UNIQUE_COUNT);
    writing_meter(writing, "peak", "llm", AGGREGATION_MAX);
    for (int i = 0; i < 4; i++) {
        writing_open(writing, NULL);
        operating_fill(writing, 100);
        writing_close(writing);
    }
}

static void
state_path(const struct writing *writing, const char *below, char out[256])
{
    (void)snprintf(out, 256, "%s/shards/0001/state%s", writing->dir, below);
}

Test(rebuild, makes_the_same_state_bit_for_bit)
{
    static const uint64_t tails[] = {0, 1, 2000};
    struct writing writing;
    struct error error = {0};
    make_used(&writing);
    uint64_t before = operating_state(writing.dir);
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        succeed(rebuild(writing.dir, REBUILD_ALL_SHARDS, tails[i], &error), &error);
        cr_assert_eq(operating_state(writing.dir), before, "tail of %d", (int)tails[i]);
        operating_verify(writing.dir);
    }
    writing_end(&writing);
}

static void
count_finding(void *context, const struct verify_finding *finding)
{
    (void)finding;
    ++*(int *)context;
}

static int
findings(const char *dir)
{
    struct verify_summary summary;
    struct error error = {0};
    int count = 0;
    const struct verify_options options = {.on_finding = count_finding, .context = &count};
    succeed(verify_run(dir, &options, &summary, &error), &error);
    return count;
}

static void
damage_cell(const struct writing *writing)
{
    char path[256];
    struct error error = {0};
    struct env *env;
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    state_path(writing, "", path);
    succeed(env_open(path, &options, &env, &error), &error);
    struct tx tx = tx_write(env);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    cr_assert(walk_first(&walk));
    struct buffer value = {0};
    buffer_bytes(&value, walk.value);
    value.data[value.size - 1] ^= 4;
    walk_put(&walk, buffer_view(&value));
    walk_done(&walk);
    succeed(tx_commit(&tx, &error), &error);
    buffer_done(&value);
    env_close(env);
}

static void
damage_position(const struct writing *writing)
{
    char path[256];
    struct error error = {0};
    struct env *env;
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    state_path(writing, "", path);
    succeed(env_open(path, &options, &env, &error), &error);
    struct tx tx = tx_write(env);
    tx_put(&tx, STATE_DB_META, bytes_text("position"), bytes_text("sixteen bytes !!"));
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
}

static void
damage_pages(const struct writing *writing)
{
    char path[256];
    static const uint8_t rubbish[8192] = {0xa5, 0x5a, 0xa5};
    state_path(writing, "/data.mdb", path);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, rubbish, sizeof rubbish, 0), (ssize_t)sizeof rubbish);
    (void)close(fd);
}

static void
damage_empty(const struct writing *writing)
{
    char path[256];
    state_path(writing, "/data.mdb", path);
    cr_assert_eq(truncate(path, 0), 0);
}

static void
damage_gone(const struct writing *writing)
{
    char path[256];
    state_path(writing, "", path);
    temp_dir_remove(path);
}

// Whatever state/ is like: it is found, the start says what to do if it is in the start's way, and
// that helps.
Test(rebuild, mends_every_damage_in_state)
{
    static const struct {
        void (*damage)(const struct writing *writing);
        bool stops_start;
    } rows[] = {
        {damage_cell,     false},
        {damage_position, true },
        {damage_pages,    true },
        {damage_empty,    true },
        {damage_gone,     true },
    };
    struct writing writing;
    make_used(&writing);
    uint64_t before = operating_state(writing.dir);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {0};
        struct ledger *ledger;
        const struct ledger_options options = {.now_ns = test_now_ns};
        rows[i].damage(&writing);
        cr_assert_gt(findings(writing.dir), 0, "row %zu", i);
        if (rows[i].stops_start) {
            cr_assert_eq(
                ledger_open(writing.dir, &options, &ledger, &error), STATUS_CORRUPT, "row %zu", i);
            cr_assert_not_null(
                strstr(error.text, "tally ledger rebuild"), "row %zu: %s", i, error.text);
        }
        succeed(rebuild(writing.dir, 1, 0, &error), &error);
        cr_assert_eq(operating_state(writing.dir), before, "row %zu", i);
        operating_verify(writing.dir);
    }
    writing_end(&writing);
}

Test(rebuild, leaves_other_shards_and_running_ledgers_alone)
{
    struct writing writing;
    struct error error = {0};
    char paths[2][256];
    struct stat before[2];
    struct stat after[2];
    make_used(&writing);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(paths[i], 256, "%s/shards/%04d/state/data.mdb", writing.dir, i);
        cr_assert_eq(stat(paths[i], &before[i]), 0);
    }
    succeed(rebuild(writing.dir, 1, 0, &error), &error);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(stat(paths[i], &after[i]), 0);
    cr_assert_eq(before[0].st_ino, after[0].st_ino);
    cr_assert_eq(before[0].st_mtim.tv_nsec, after[0].st_mtim.tv_nsec);
    cr_assert_gt(
        after[1].st_mtim.tv_sec * SECOND_NS + after[1].st_mtim.tv_nsec,
        before[1].st_mtim.tv_sec * SECOND_NS + before[1].st_mtim.tv_nsec);
    cr_assert_eq(rebuild(writing.dir, 2, 0, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "shards 0 to 1"), "%s", error.text);
    writing_open(&writing, NULL);
    cr_assert_eq(rebuild(writing.dir, 1, 0, &error), STATUS_BUSY);
    cr_assert_not_null(strstr(error.text, "stop tallyd"), "%s", error.text);
    cr_assert_eq(resize_run(writing.dir, 1ULL << 30, &error), STATUS_BUSY);
    writing_close(&writing);
    writing_end(&writing);
}
