// What the keeper writes to state/ goes over several commits: after each of them, what is on disk
// is sound, and a start that does not know what was under way goes on from it.
//
// The functions below stand before the C library's, also for LMDB: one ends the process instead of
// one sync of a commit, the other remembers which directories were synced.

#include "ledger/correct.h"
#include "ledger/files.h"
#include "ledger/shard_view.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLED = 42, KILLS_MAX = 400 };

static _Atomic uint32_t syncs_left;  // 0: it is not killed

int
fdatasync(int fd)
{
    if (syncs_left > 0 && --syncs_left == 0)
        _exit(KILLED);
    return (int)syscall(SYS_fdatasync, fd);
}

enum { SYNCED_MAX = 64 };

static ino_t synced[SYNCED_MAX];
static uint32_t synced_count;

// Directories are synced by who opens a ledger, on one thread.
int
fsync(int fd)
{
    struct stat file;
    if (fstat(fd, &file) == 0 && S_ISDIR(file.st_mode) && synced_count < SYNCED_MAX)
        synced[synced_count++] = file.st_ino;
    return (int)syscall(SYS_fsync, fd);
}

// A ledger of one shard, as it is, in a directory of its own.
static void
copy_to(const char *from, char to[64])
{
    static const char *const dirs[] = {
        "meters",
        "shards",
        "shards/0000",
        "shards/0000/log",
        "shards/0000/state",
        "shards/0000/fired"};
    static const char *const files[] = {
        "ledger.conf",
        "ledger.shape",
        "meters/data.mdb",
        "shards/0000/log/data.mdb",
        "shards/0000/state/data.mdb",
        "shards/0000/fired/data.mdb",
        "shards/0000/head"};
    struct error error = {0};
    struct path source;
    struct path path;
    uint64_t size;
    uint64_t checksum;
    temp_dir_make(to);
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        succeed(path_make(&path, to, dirs[i], &error), &error);
        succeed(dir_make(path.text, &error), &error);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        succeed(path_make(&source, from, files[i], &error), &error);
        succeed(path_make(&path, to, files[i], &error), &error);
        succeed(files_copy(source.text, path.text, &size, &checksum, &error), &error);
    }
}

typedef void (*session_fn)(struct writing *writing);

// False: it came to its end before so many syncs.
static bool
kill_at(const struct writing *writing, const char *dir, session_fn session, uint32_t syncs)
{
    int status = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct writing mine = *writing;
        (void)snprintf(mine.dir, sizeof mine.dir, "%s", dir);
        syncs_left = syncs;
        session(&mine);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status), "status %d", status);
    cr_assert(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == KILLED);
    return WEXITSTATUS(status) == KILLED;
}

static void
put(struct writing *writing, const char *id, int64_t n, int64_t time_ns)
{
    struct event_bytes event;
    event_make(&event, "s", id, n);
    event.event.time_ns = time_ns;
    cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
}

static void
open_with(struct writing *writing, const char *zone)
{
    const char *const zones[] = {zone};
    const struct ledger_options options = {
        .idle_flush_ns = INT64_MAX / 2,
        .past_max_ns = 3000 * DAY_NS,
        .dedup_window_ns = 3100 * DAY_NS,
        .dedup_hot_max = 1000,
        .keep_quarter_hours_ns = 3 * DAY_NS,
        .zones = zones,
        .zones_count = 1,
    };
    writing_open(writing, &options);
}

static void
list_lord_howe(struct writing *writing)
{
    open_with(writing, "Australia/Lord_Howe");
    put(writing, "late", 1, writing_now_ns - HOUR_NS);
    writing_close(writing);
}

// In January the island's days are made of hours, in July of quarter hours, which are gone: days up
// to then are made first, and given up when that is seen.
Test(killed, windows_are_there_as_far_as_the_horizon_says, .timeout = 300)
{
    static const int64_t JANUARY_NS = 1578200000 * SECOND_NS;
    static const int64_t JULY_NS = 1593900000 * SECOND_NS;
    struct writing writing;
    bool is_killed = true;
    writing_begin(&writing, 1);
    writing_meter(&writing, "calls", "llm", AGGREGATION_COUNT);
    open_with(&writing, "Europe/Berlin");
    put(&writing, "january", 1, JANUARY_NS);
    put(&writing, "july", 1, JULY_NS);
    put(&writing, "now", 1, writing_now_ns - HOUR_NS);
    writing_close(&writing);
    uint32_t kills = 0;
    for (; is_killed && kills < KILLS_MAX; kills++) {
        char dir[64];
        copy_to(writing.dir, dir);
        is_killed = kill_at(&writing, dir, list_lord_howe, kills + 1);
        operating_verify(dir);
        temp_dir_remove(dir);
    }
    cr_assert_not(is_killed);
    cr_assert_gt(kills, 8);
    writing_end(&writing);
}

static void
cancel_first(struct writing *writing)
{
    uint64_t block = 0;
    struct error error = {0};
    const struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text("s"),
        .id = bytes_text("first"),
        .who = bytes_text("test"),
        .why = bytes_text("test"),
    };
    open_with(writing, "Europe/Berlin");
    succeed(ledger_correct(writing->ledger, &correction, &block, &error), &error);
    writing_close(writing);
}

static void
list_another(struct writing *writing)
{
    open_with(writing, "Asia/Kathmandu");
    put(writing, "late", 1, writing_now_ns - HOUR_NS);
    writing_close(writing);
}

// Cells of zones that are to be made anew.
static uint32_t
count_dirty(const char *dir)
{
    struct error error = {0};
    struct shard_view view = {0};
    uint32_t count = 0;
    succeed(shard_view_open(dir, 0, &view, &error), &error);
    struct tx tx = tx_read(view.state);
    struct walk walk = walk_open(&tx, STATE_DB_DIRTY);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        cr_assert(cell_key_read(walk.key, &key));
        count += key.zone > 0;
    }
    walk_done(&walk);
    tx_done(&tx);
    shard_view_done(&view);
    return count;
}

// A ledger whose process was killed when cells of the zone were touched and not yet made anew.
static void
copy_dirty(const struct writing *writing, char dir[64])
{
    for (uint32_t i = 1; i < KILLS_MAX; i++) {
        copy_to(writing->dir, dir);
        bool is_killed = kill_at(writing, dir, cancel_first, i);
        if (count_dirty(dir) > 0)
            return;
        temp_dir_remove(dir);
        cr_assert(is_killed, "no cell was ever dirty");
    }
}

// While a zone is not listed its dirty cells keep their records, until its windows count no more.
Test(killed, a_zone_that_comes_again_finds_its_dirty_cells_listed, .timeout = 300)
{
    struct writing writing;
    char dirty[64];
    bool is_killed = true;
    writing_begin(&writing, 1);
    writing_meter(&writing, "most", "llm", AGGREGATION_MAX);
    open_with(&writing, "Europe/Berlin");
    put(&writing, "first", 10, writing_now_ns - 2 * DAY_NS);
    put(&writing, "second", 7, writing_now_ns - 2 * DAY_NS);
    writing_close(&writing);
    copy_dirty(&writing, dirty);
    uint32_t kills = 0;
    for (; is_killed && kills < KILLS_MAX; kills++) {
        char dir[64];
        copy_to(dirty, dir);
        is_killed = kill_at(&writing, dir, list_another, kills + 1);
        operating_verify(dir);
        struct writing again = writing;
        (void)snprintf(again.dir, sizeof again.dir, "%s", dir);
        open_with(&again, "Europe/Berlin");
        writing_close(&again);
        operating_verify(dir);
        temp_dir_remove(dir);
    }
    cr_assert_not(is_killed);
    temp_dir_remove(dirty);
    writing_end(&writing);
}

static bool
was_synced(const char *dir, const char *below)
{
    struct path path;
    struct stat file;
    struct error error = {0};
    succeed(path_make(&path, dir, below, &error), &error);
    cr_assert_eq(stat(path.text, &file), 0);
    for (uint32_t i = 0; i < synced_count; i++) {
        if (synced[i] == file.st_ino)
            return true;
    }
    return false;
}

// Who made them may have been killed before they were durable, and what is acked now is under them.
Test(killed, a_start_syncs_the_names_that_it_relies_on)
{
    static const char *const names[] = {
        "..",
        "",
        "meters",
        "shards/0000",
        "shards/0000/log",
        "shards/0000/state",
        "shards/0000/fired"};
    struct writing writing;
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    writing_close(&writing);
    synced_count = 0;
    writing_open(&writing, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert(was_synced(writing.dir, names[i]), "%s was not synced", names[i]);
    writing_close(&writing);
    writing_end(&writing);
}
