#include "ledger/backup.h"

#include "base/clock.h"
#include "ledger/manifest.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    struct writing writing;
    char root[64];
    char to[128];   // the backup
    char new[128];  // the ledger made from it
};

static const struct backup_options plain = {0};
static const struct restore_options everything = {.until_ns = INT64_MAX};

static void
place_begin(struct place *place, uint32_t shards)
{
    writing_begin(&place->writing, shards);
    temp_dir_make(place->root);
    (void)snprintf(place->to, sizeof place->to, "%s/backup", place->root);
    (void)snprintf(place->new, sizeof place->new, "%s/new", place->root);
    writing_meter(&place->writing, "calls", "llm", AGGREGATION_COUNT);
    writing_meter(&place->writing, "tokens", "llm", AGGREGATION_SUM);
    writing_open(&place->writing, NULL);
}

static void
place_end(struct place *place)
{
    if (place->writing.ledger != NULL)
        writing_close(&place->writing);
    writing_end(&place->writing);
    temp_dir_remove(place->root);
}

static struct backup_summary
back_up(const struct place *place)
{
    struct backup_summary summary;
    struct error error = {0};
    succeed(backup_run(place->writing.dir, place->to, &plain, &summary, &error), &error);
    return summary;
}

static struct restore_summary
restore(const struct place *place, const struct restore_options *options)
{
    struct restore_summary summary;
    struct error error = {0};
    succeed(restore_run(place->to, place->new, options, &summary, &error), &error);
    return summary;
}

Test(backup, beside_a_writer_it_holds_all_that_was_acked)
{
    struct place place;
    place_begin(&place, 3);
    operating_fill(&place.writing, 500);
    struct backup_summary summary = back_up(&place);
    cr_assert_eq(summary.number, 1);
    cr_assert_gt(summary.blocks, 3);
    cr_assert_eq(summary.blocks, summary.blocks_held);
    writing_close(&place.writing);
    struct restore_summary restored = restore(&place, &everything);
    cr_assert_eq(restored.shards, 3);
    cr_assert_eq(restored.blocks, summary.blocks);
    cr_assert_eq(restored.events, 500);
    operating_verify(place.new);
    operating_settle(place.new);
    operating_verify(place.new);
    cr_assert_eq(operating_dump(place.new), operating_dump(place.writing.dir));
    cr_assert_eq(operating_state(place.new), operating_state(place.writing.dir));
    place_end(&place);
}

Test(backup, a_second_one_copies_what_is_new)
{
    struct place place;
    place_begin(&place, 2);
    operating_fill(&place.writing, 300);
    struct backup_summary first = back_up(&place);
    operating_fill(&place.writing, 10);
    uint64_t blocks = writing_log(&place.writing).blocks;
    struct backup_summary second = back_up(&place);
    cr_assert_eq(second.number, 2);
    cr_assert_eq(second.blocks, blocks - first.blocks);
    cr_assert_lt(second.bytes, first.bytes);
    cr_assert_eq(second.blocks_held, blocks);
    struct backup_summary third = back_up(&place);
    cr_assert_eq(third.blocks, 0);
    cr_assert_eq(third.blocks_held, blocks);
    writing_close(&place.writing);
    cr_assert_eq(restore(&place, &everything).events, 310);
    operating_settle(place.new);
    operating_verify(place.new);
    cr_assert_eq(operating_state(place.new), operating_state(place.writing.dir));
    place_end(&place);
}

Test(backup, goes_on_from_any_chapter)
{
    struct place place;
    place_begin(&place, 1);
    for (int i = 0; i < 6; i++) {
        operating_fill(&place.writing, 50);
        cr_assert_gt(back_up(&place).blocks, 0);
        // A restart begins a new chapter in the middle of what was backed up.
        if (i % 2 == 0) {
            writing_close(&place.writing);
            writing_open(&place.writing, NULL);
        }
    }
    writing_close(&place.writing);
    cr_assert_eq(restore(&place, &everything).events, 300);
    cr_assert_eq(operating_dump(place.new), operating_dump(place.writing.dir));
    place_end(&place);
}

// Heads, state and events of the ledger as it is when its writer is closed.
struct moment {
    uint64_t heads[RESTORE_SHARDS_MAX];
    uint64_t state;
    uint64_t dump;
};

static struct moment
moment_take(struct place *place)
{
    struct moment moment;
    writing_close(&place->writing);
    for (uint32_t i = 0; i < RESTORE_SHARDS_MAX; i++)
        moment.heads[i] = i < 2 ? operating_head(place->writing.dir, i) : RESTORE_TO_END;
    moment.state = operating_state(place->writing.dir);
    moment.dump = operating_dump(place->writing.dir);
    writing_open(&place->writing, NULL);
    return moment;
}

Test(backup, goes_back_to_a_block_and_to_a_time)
{
    struct place place;
    place_begin(&place, 2);
    operating_fill(&place.writing, 200);
    struct moment moment = moment_take(&place);
    int64_t then_ns = writing_now_ns;
    writing_now_ns += SECOND_NS;
    operating_fill(&place.writing, 200);
    (void)back_up(&place);
    writing_close(&place.writing);
    writing_now_ns = then_ns;
    const struct restore_options options[] = {
        {.blocks_max = moment.heads, .until_ns = INT64_MAX},
        {.until_ns = then_ns                         },
    };
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(restore(&place, &options[i]).events, 200);
        operating_settle(place.new);
        operating_verify(place.new);
        cr_assert_eq(operating_dump(place.new), moment.dump);
        cr_assert_eq(operating_state(place.new), moment.state);
        temp_dir_remove(place.new);
    }
    place_end(&place);
}

Test(backup, a_restored_ledger_goes_on)
{
    struct place place;
    struct error error = {0};
    struct backup_summary summary;
    place_begin(&place, 1);
    operating_fill(&place.writing, 50);
    (void)back_up(&place);
    operating_fill(&place.writing, 50);
    (void)back_up(&place);
    writing_close(&place.writing);
    uint64_t blocks[RESTORE_SHARDS_MAX];
    for (uint32_t i = 0; i < RESTORE_SHARDS_MAX; i++)
        blocks[i] = i == 0 ? 3 : RESTORE_TO_END;
    const struct restore_options early = {.blocks_max = blocks, .until_ns = INT64_MAX};
    cr_assert_eq(restore(&place, &early).blocks, 3);
    struct writing other = place.writing;
    (void)snprintf(other.dir, sizeof other.dir, "%s", place.new);
    writing_open(&other, NULL);
    // Identities of the restored blocks are known, those behind them are not.
    operating_fill(&other, 20);
    writing_close(&other);
    operating_verify(other.dir);
    // Its log goes on from block 3: what was backed up behind that is not its own.
    cr_assert_eq(backup_run(other.dir, place.to, &plain, &summary, &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "new directory"), "%s", error.text);
    place_end(&place);
}

// Of a restore that failed nothing has the ledger's name.
static void
half_remove(const struct place *place)
{
    char half[160];
    cr_assert_eq(access(place->new, F_OK), -1);
    (void)snprintf(half, sizeof half, "%s.restoring", place->new);
    if (access(half, F_OK) == 0)
        temp_dir_remove(half);
}

static void
path_in(const struct place *place, const char *below, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", place->to, below);
}

// The only file of blocks of a shard.
static void
chunk_in(const struct place *place, char out[256])
{
    path_in(place, "shards/0000/00000000000000000001.blocks", out);
    cr_assert_eq(access(out, F_OK), 0, "%s", out);
}

static void
flip(const char *path, off_t offset)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    (void)close(fd);
}

Test(backup, no_flipped_bit_is_restored)
{
    struct place place;
    char paths[3][256];
    place_begin(&place, 1);
    operating_fill(&place.writing, 20);
    (void)back_up(&place);
    chunk_in(&place, paths[0]);
    path_in(&place, "manifest", paths[1]);
    path_in(&place, "meters-1.mdb", paths[2]);
    for (size_t i = 0; i < 3; i++) {
        struct stat size;
        cr_assert_eq(stat(paths[i], &size), 0);
        off_t step = size.st_size / 40 + 1;
        for (off_t offset = 0; offset < size.st_size; offset += step) {
            struct restore_summary summary;
            struct error error = {0};
            flip(paths[i], offset);
            enum status status = restore_run(place.to, place.new, &everything, &summary, &error);
            cr_assert_eq(status, STATUS_CORRUPT, "%s at %jd", paths[i], (intmax_t)offset);
            flip(paths[i], offset);
            half_remove(&place);
        }
    }
    cr_assert_eq(restore(&place, &everything).events, 20);
    place_end(&place);
}

Test(backup, a_file_that_is_missing_or_cut_off_is_named)
{
    struct place place;
    char path[256];
    struct restore_summary summary;
    struct error error = {0};
    place_begin(&place, 1);
    operating_fill(&place.writing, 20);
    (void)back_up(&place);
    chunk_in(&place, path);
    cr_assert_eq(truncate(path, 100), 0);
    cr_assert_eq(restore_run(place.to, place.new, &everything, &summary, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, ".blocks"), "%s", error.text);
    half_remove(&place);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(restore_run(place.to, place.new, &everything, &summary, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "missing"), "%s", error.text);
    place_end(&place);
}

Test(backup, a_restore_that_did_not_end_has_no_name_and_is_not_gone_over)
{
    struct place place;
    char path[256];
    char slashed[160];
    struct restore_summary summary;
    struct error error = {0};
    place_begin(&place, 1);
    operating_fill(&place.writing, 20);
    (void)back_up(&place);
    path_in(&place, "meters-1.mdb", path);
    flip(path, 100);
    (void)snprintf(slashed, sizeof slashed, "%s//", place.new);
    cr_assert_eq(restore_run(place.to, slashed, &everything, &summary, &error), STATUS_CORRUPT);
    cr_assert_eq(access(place.new, F_OK), -1);
    flip(path, 100);
    cr_assert_eq(restore_run(place.to, place.new, &everything, &summary, &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "new.restoring"), "%s", error.text);
    half_remove(&place);
    cr_assert_eq(restore(&place, &everything).events, 20);
    operating_verify(place.new);
    place_end(&place);
}

// What a backup that died left is in no manifest: the next one writes over it.
Test(backup, an_unfinished_one_counts_nothing)
{
    struct place place;
    char path[256];
    place_begin(&place, 1);
    operating_fill(&place.writing, 30);
    struct backup_summary first = back_up(&place);
    char name[64];
    (void)snprintf(name, sizeof name, "shards/0000/%020" PRIu64 ".blocks", first.blocks + 1);
    path_in(&place, name, path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (int i = 0; i < 100000; i++)
        (void)fputs("half a backup ", file);
    (void)fclose(file);
    cr_assert_eq(restore(&place, &everything).events, 30);
    temp_dir_remove(place.new);
    operating_fill(&place.writing, 30);
    (void)back_up(&place);
    writing_close(&place.writing);
    cr_assert_eq(restore(&place, &everything).events, 60);
    cr_assert_eq(operating_dump(place.new), operating_dump(place.writing.dir));
    place_end(&place);
}

Test(backup, refuses_what_is_not_its_own)
{
    struct place place;
    struct place other;
    struct backup_summary summary;
    struct restore_summary restored;
    struct error error = {0};
    place_begin(&place, 2);
    place_begin(&other, 2);
    operating_fill(&place.writing, 10);
    operating_fill(&other.writing, 10);
    (void)back_up(&place);
    cr_assert_eq(backup_run(other.writing.dir, place.to, &plain, &summary, &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "another ledger"), "%s", error.text);
    cr_assert_eq(
        backup_run(place.writing.dir, other.writing.dir, &plain, &summary, &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "a ledger itself"), "%s", error.text);
    cr_assert_eq(
        restore_run(place.to, other.writing.dir, &everything, &restored, &error), STATUS_EXISTS);
    cr_assert_eq(
        restore_run(other.root, place.new, &everything, &restored, &error), STATUS_NOT_FOUND);
    cr_assert_eq(access(place.new, F_OK), -1);
    uint64_t blocks[RESTORE_SHARDS_MAX];
    for (uint32_t i = 0; i < RESTORE_SHARDS_MAX; i++)
        blocks[i] = i == 1 ? 1000000 : RESTORE_TO_END;
    const struct restore_options far = {.blocks_max = blocks, .until_ns = INT64_MAX};
    cr_assert_eq(restore_run(place.to, place.new, &far, &restored, &error), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "not block 1000000"), "%s", error.text);
    place_end(&other);
    place_end(&place);
}

Test(backup, one_at_a_time)
{
    struct place place;
    char path[256];
    struct backup_summary summary;
    struct error error = {0};
    place_begin(&place, 1);
    (void)back_up(&place);
    path_in(&place, "lock", path);
    int fd = open(path, O_RDWR);
    cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    cr_assert_eq(backup_run(place.writing.dir, place.to, &plain, &summary, &error), STATUS_BUSY);
    (void)close(fd);
    (void)back_up(&place);
    place_end(&place);
}

static void
count_progress(void *context, uint64_t done, uint64_t total)
{
    uint64_t *last = context;
    cr_assert_geq(done, *last);
    cr_assert_leq(done, total);
    *last = done;
}

Test(backup, keeps_to_its_rate_and_tells_how_far_it_is)
{
    struct place place;
    struct backup_summary summary;
    struct error error = {0};
    uint64_t last = 0;
    place_begin(&place, 1);
    operating_fill(&place.writing, 300);
    const struct backup_options slow = {
        .rate_bytes = 64 << 10, .on_progress = count_progress, .context = &last};
    int64_t begin_ns = clock_monotonic_ns();
    succeed(backup_run(place.writing.dir, place.to, &slow, &summary, &error), &error);
    int64_t spent_ns = clock_monotonic_ns() - begin_ns;
    // Never faster than the rate, however slow the machine; a millisecond is its grain.
    cr_assert_geq(
        spent_ns + SECOND_NS / 1000, (int64_t)(summary.bytes * 1000 / (64 << 10)) * 1000000);
    cr_assert_eq(last, summary.blocks);
    place_end(&place);
}

Test(backup, keeps_the_secret_to_its_owner)
{
    struct place place;
    char path[256];
    struct stat mode;
    place_begin(&place, 1);
    operating_fill(&place.writing, 5);
    (void)umask(0);
    (void)back_up(&place);
    static const struct {
        const char *name;
        mode_t mode;
    } rows[] = {
        {"",            0700},
        {"ledger.conf", 0600},
        {"manifest",    0600},
        {"shards/0000", 0700},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        path_in(&place, rows[i].name, path);
        cr_assert_eq(stat(path, &mode), 0);
        cr_assert_eq(mode.st_mode & 0777, rows[i].mode, "%s", path);
    }
    place_end(&place);
}
