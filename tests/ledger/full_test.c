// Full maps, full file systems, files that may not grow: acks stop, the reason says what to do, and
// once that is done the ledger goes on with everything that was acked.

#include "base/clock.h"
#include "ledger/rebuild.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const int64_t DEADLINE_NS = 60 * 1000000000LL;

struct full {
    char root[64];
    char dir[128];
    struct ledger *ledger;
    struct intake *intake;
    int put;     // events with the ids 0, 1, ...
    int acked;   // of them, by any fate
    int stored;  // of them
};

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

static void
on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct full *full = context;
    (void)receipts;
    full->acked += (int)count;
    for (size_t i = 0; i < count; i++)
        full->stored += fates[i] == FATE_STORED;
}

static void
full_create(struct full *full, uint64_t map_size)
{
    struct error error = {0};
    const struct ledger_create_options options = {.shards = 1, .map_size = map_size};
    (void)snprintf(full->dir, sizeof full->dir, "%s/data", full->root);
    succeed(ledger_create(full->dir, &options, &error), &error);
}

static void
full_open(struct full *full)
{
    struct error error = {0};
    // Flushed often, so that state/ meets the limit as well as log/.
    const struct ledger_options options = {
        .now_ns = test_now_ns, .tail_max_bytes = 100000, .idle_flush_ns = SECOND_NS / 1000};
    succeed(ledger_open(full->dir, &options, &full->ledger, &error), &error);
    succeed(intake_open(full->ledger, on_fates, full, &full->intake, &error), &error);
    full->put = full->acked = full->stored = 0;
}

static bool
put_one(struct full *full)
{
    struct event_bytes event;
    char id[16];
    (void)snprintf(id, sizeof id, "%d", full->put);
    event_make(&event, id, id, full->put);
    bool is_put = intake_put(full->intake, &event.event, (struct receipt){full, 0});
    full->put += is_put;
    intake_offer(full->intake);
    intake_collect(full->intake);
    return is_put;
}

// Puts until the ledger fails; that must not become an ack any more.
static void
fill_up(struct full *full, const char *advice)
{
    struct error error = {0};
    const char *text = NULL;
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (ledger_failure(full->ledger, &text) == STATUS_OK) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "it never got full");
        (void)put_one(full);
    }
    cr_assert_eq(ledger_failure(full->ledger, &text), STATUS_FULL, "%s", text);
    cr_assert_not_null(strstr(text, "shard 0000"), "%s", text);
    cr_assert_not_null(strstr(text, advice), "%s", text);
    intake_collect(full->intake);
    int acked = full->acked;
    while (!put_one(full))
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    intake_collect(full->intake);
    cr_assert_eq(full->acked, acked, "an ack after the failure");
    cr_assert_gt(intake_pending(full->intake), 0);
    intake_close(full->intake);
    cr_assert_eq(ledger_close(full->ledger, &error), STATUS_FULL);
    cr_assert_not_null(strstr(error.text, advice), "%s", error.text);
}

// All events again and as many new ones: what was acked is a duplicate, everything else is stored.
static void
goes_on(struct full *full)
{
    struct error error = {0};
    const char *text = NULL;
    int before = full->stored;
    int all = full->put + 100;
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    full_open(full);
    while (full->put < all || intake_pending(full->intake) > 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        cr_assert_eq(ledger_failure(full->ledger, &text), STATUS_OK, "%s", text);
        if (full->put < all)
            (void)put_one(full);
        else
            intake_collect(full->intake);
    }
    cr_assert_eq(full->acked, all);
    cr_assert_geq(full->acked - full->stored, before, "an acked event is not there");
    cr_assert_geq(full->stored, 100);
    intake_close(full->intake);
    succeed(ledger_close(full->ledger, &error), &error);
    operating_verify(full->dir);
}

Test(full, a_full_map_grows_by_a_resize)
{
    struct full full = {0};
    struct error error = {0};
    temp_dir_make(full.root);
    full_create(&full, 1 << 20);
    struct error small = {0};
    cr_assert_eq(resize_run(full.dir, (1 << 20) - 4096, &small), STATUS_INVALID);
    full_open(&full);
    fill_up(&full, "tally ledger resize");
    succeed(resize_run(full.dir, 64 << 20, &error), &error);
    goes_on(&full);
    temp_dir_remove(full.root);
}

Test(full, files_that_may_not_grow_are_like_a_full_disk)
{
    struct full full = {0};
    temp_dir_make(full.root);
    full_create(&full, 64 << 20);
    struct rlimit was;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
    struct rlimit limit = {.rlim_cur = 400000, .rlim_max = was.rlim_max};
    // tallyd ignores it as well: the write fails then, and says why.
    (void)signal(SIGXFSZ, SIG_IGN);
    full_open(&full);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fill_up(&full, "larger files");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
    goes_on(&full);
    temp_dir_remove(full.root);
}

Test(full, a_full_file_system_waits_for_room)
{
    struct full full = {0};
    char ballast[128];
    temp_dir_make(full.root);
    if (mount("tally", full.root, "tmpfs", 0, "size=3m") != 0) {
        temp_dir_remove(full.root);
        cr_skip_test("wants to mount a small file system");
    }
    full_create(&full, 64 << 20);
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", full.root);
    int fd = open(ballast, O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(posix_fallocate(fd, 0, 2 << 20), 0);
    (void)close(fd);
    full_open(&full);
    fill_up(&full, "free space");
    // It can be opened on the full disk, and is refused nothing but room.
    full_open(&full);
    fill_up(&full, "free space");
    cr_assert_eq(unlink(ballast), 0);
    full.stored = 0;
    goes_on(&full);
    cr_assert_eq(umount(full.root), 0);
    temp_dir_remove(full.root);
}
