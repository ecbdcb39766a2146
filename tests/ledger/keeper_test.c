#include "ledger/keeper.h"

#include "ledger/cell.h"
#include "ledger/ledger.h"
#include "ledger/shard_view.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

// A ledger whose tables are so small that the keeper is always at work.

enum { HOT = 300, COUNT = 8000 };

static const int64_t DEADLINE_NS = 60 * SECOND_NS;

static const struct ledger_options small = {
    .dedup_hot_max = HOT,
    .group_events_max = 64,
    .tail_max_bytes = 4096,
    .idle_flush_ns = 1000000,
};

static uint32_t
put(struct writing *writing, int i, int64_t n, int64_t time_ns, const char *batch)
{
    struct event_bytes event;
    char id[16];
    (void)snprintf(id, sizeof id, "%d", i);
    event_make(&event, i % 3 == 0 ? "s" : "t", id, n);
    event.event.time_ns = time_ns;
    event.event.batch = bytes_text(batch);
    return writing_put(writing, &event.event);
}

static void
put_all(struct writing *writing, int first, int end, enum fate fate)
{
    uint64_t before = writing_count(writing, fate);
    for (int i = first; i < end; i++)
        (void)put(writing, i, i, writing_now_ns, "");
    writing_wait(writing);
    cr_assert_eq(writing_count(writing, fate) - before, (uint64_t)(end - first));
}

static struct env *
state_open(const struct writing *writing)
{
    char path[128];
    struct env *env = NULL;
    struct error error = {0};
    const struct env_options options = {
        .map_size = 1ULL << 30, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    (void)snprintf(path, sizeof path, "%s/shards/0000/state", writing->dir);
    succeed(env_open(path, &options, &env, &error), &error);
    return env;
}

static void
check_known(struct ledger_options options)
{
    struct writing writing;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    writing_open(&writing, &options);
    put_all(&writing, 0, COUNT, FATE_STORED);
    put_all(&writing, 0, COUNT, FATE_DUPLICATE);
    cr_assert_eq(writing_metric(&writing, "tally_ledger_dedup_entries"), COUNT);
    cr_assert_gt(writing_metric(&writing, "tally_ledger_dedup_generations"), 0);
    writing_close(&writing);
    writing_open(&writing, &options);
    put_all(&writing, 0, COUNT, FATE_DUPLICATE);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, COUNT);
    cr_assert_eq(writing_cells(&writing, 1).count, COUNT);
    writing_end(&writing);
}

Test(keeper, identities_are_known_wherever_they_are)
{
    check_known(small);
}

Test(keeper, identities_are_known_without_filters)
{
    struct ledger_options options = small;
    options.dedup_on_disk = true;
    check_known(options);
}

// So small that the writer waits for the keeper again and again.
Test(keeper, a_writer_waits_for_room)
{
    struct ledger_options options = small;
    options.dedup_hot_max = 4;
    options.group_events_max = 40;
    options.tail_max_bytes = 1;
    struct writing writing;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    writing_open(&writing, &options);
    put_all(&writing, 0, 2000, FATE_STORED);
    put_all(&writing, 0, 2000, FATE_DUPLICATE);
    writing_close(&writing);
    cr_assert_eq(writing_cells(&writing, 1).count, 2000);
    writing_end(&writing);
}

// Somebody else writes state/ and does not end, so the keeper hangs; events come one by one.
Test(keeper, one_that_hangs_is_seen_while_groups_wait_for_it)
{
    struct writing writing;
    writing_begin(&writing, 1);
    writing_open(&writing, &small);
    struct env *state = state_open(&writing);
    struct tx tx = tx_write(state);
    struct event_bytes event;
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (ledger_stall_ns(writing.ledger) < SECOND_NS) {
        char id[16];
        cr_assert_lt(
            clock_monotonic_ns(), deadline_ns, "health is good after %u events", writing.count);
        (void)snprintf(id, sizeof id, "%u", writing.count);
        event_make(&event, "s", id, 1);
        writing.count +=
            intake_put(writing.intake, &event.event, (struct receipt){&writing, writing.count});
        intake_offer(writing.intake);
        intake_collect(writing.intake);
        (void)poll(NULL, 0, 1);
    }
    cr_assert_gt(intake_pending(writing.intake), 0);
    tx_done(&tx);
    env_close(state);
    writing_wait(&writing);
    cr_assert_eq(writing_count(&writing, FATE_STORED), writing.count);
    while (ledger_stall_ns(writing.ledger) > 0)
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, writing.count);
    writing_end(&writing);
}

// An event every now and then, for hours: no pause is long enough to flush in.
Test(keeper, a_trickle_that_never_pauses_is_flushed)
{
    const struct ledger_options options = {
        .idle_flush_ns = INT64_MAX / 2, .busy_flush_ns = SECOND_NS / 100};
    struct writing writing;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    writing_open(&writing, &options);
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    for (int i = 0; writing_metric(&writing, "tally_ledger_flushes_total") < 2; i++) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "nothing was flushed");
        (void)put(&writing, i, i, writing_now_ns, "");
        writing_wait(&writing);
    }
    writing_close(&writing);
    writing_end(&writing);
}

// A cell for each event, so that the log is short and the cells are not.
Test(keeper, cells_in_memory_are_bounded)
{
    enum { EVENTS = 20000, CELLS_MAX = 96 << 10 };
    const struct ledger_options options = {
        .idle_flush_ns = INT64_MAX / 2, .cells_max_bytes = CELLS_MAX, .group_events_max = 64};
    struct writing writing;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    writing_open(&writing, &options);
    for (int i = 0; i < EVENTS; i++) {
        (void)put(&writing, i, i, writing_now_ns - i % 3000 * QUARTER_HOUR_NS, "");
        if (i % 64 == 63)
            writing_wait(&writing);
        // Frozen ones, twice as many behind them, and what tables grow by.
        int64_t bytes = writing_metric(&writing, "tally_ledger_cells_bytes");
        cr_assert_lt(bytes, 5 * CELLS_MAX, "%" PRId64, bytes);
    }
    writing_wait(&writing);
    cr_assert_gt(writing_metric(&writing, "tally_ledger_flushes_total"), 2);
    cr_assert_eq(writing_count(&writing, FATE_STORED), EVENTS);
    writing_close(&writing);
    writing_end(&writing);
}

// A process that begins to read both environments and stops; dies when it is told to.
static pid_t
reader_stuck(const struct writing *writing)
{
    int ready[2];
    char byte = 0;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct shard_view view = {0};
        struct error error;
        bool is_open = shard_view_open(writing->dir, 0, &view, &error) == STATUS_OK;
        struct tx log = tx_read(view.log);
        struct tx state = tx_read(view.state);
        is_open = is_open && tx_check(&log, &error) == STATUS_OK;
        is_open = is_open && tx_check(&state, &error) == STATUS_OK;
        if (!is_open || write(ready[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return child;
}

// Events come in all the time, so that nothing but the clock says when to look. No page that a
// commit replaces is used again while a reader is stuck, and some 3,200 commits fill the map. So
// they come with pauses, much shorter than KEEPER_LOOK_MS: two deadlines have room for 2,400.
static void
put_until(struct writing *writing, int *i, const char *metric, int64_t value)
{
    enum { PAUSE_MS = 50 };
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (writing_metric(writing, metric) < value) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "%s stays", metric);
        ++*i;
        (void)put(writing, *i, *i, writing_now_ns, "");
        writing_wait(writing);
        (void)poll(NULL, 0, PAUSE_MS);
    }
}

Test(keeper, a_stuck_reader_is_seen_and_a_dead_one_cleared)
{
    const struct ledger_options options = {.idle_flush_ns = INT64_MAX / 2};
    struct writing writing;
    int i = 0;
    writing_begin(&writing, 1);
    writing_open(&writing, &options);
    pid_t reader = reader_stuck(&writing);
    put_until(&writing, &i, "tally_ledger_oldest_reader_seconds", 2);
    cr_assert_eq(writing_metric(&writing, "tally_ledger_dead_readers_total"), 0);
    cr_assert_eq(kill(reader, SIGKILL), 0);
    cr_assert_eq(waitpid(reader, NULL, 0), reader);
    put_until(&writing, &i, "tally_ledger_dead_readers_total", 2);
    // The next look, at the latest, finds nobody.
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (writing_metric(&writing, "tally_ledger_oldest_reader_seconds") > 0)
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    writing_close(&writing);
    writing_end(&writing);
}

Test(keeper, a_dropped_state_is_made_again_from_the_log)
{
    struct writing writing;
    struct error error = {0};
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    writing_open(&writing, &small);
    put_all(&writing, 0, COUNT, FATE_STORED);
    writing_close(&writing);
    struct env *state = state_open(&writing);
    struct tx tx = tx_write(state);
    for (uint32_t db = 0; db < STATE_DB_COUNT; db++)
        tx_clear(&tx, db);
    succeed(tx_commit(&tx, &error), &error);
    env_close(state);
    writing_open(&writing, &small);
    cr_assert_gt(writing_metric(&writing, "tally_ledger_dedup_generations"), -1);
    put_all(&writing, 0, COUNT, FATE_DUPLICATE);
    writing_close(&writing);
    cr_assert_eq(writing_cells(&writing, 1).count, COUNT);
    writing_end(&writing);
}

Test(keeper, refuses_a_window_shorter_than_the_clock_policy)
{
    struct writing writing;
    struct ledger *ledger = NULL;
    struct error error = {0};
    writing_begin(&writing, 1);
    struct ledger_options options = {.past_max_ns = 10 * DAY_NS, .future_max_ns = 60 * SECOND_NS};
    options.dedup_window_ns = 10 * DAY_NS + 60 * SECOND_NS - 1;
    cr_assert_eq(ledger_open(writing.dir, &options, &ledger, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "dedup window"));
    options.dedup_window_ns++;
    succeed(ledger_open(writing.dir, &options, &ledger, &error), &error);
    succeed(ledger_close(ledger, &error), &error);
    writing_end(&writing);
}

// Waits until the identities of the first COUNT events are gone from dedup.
static void
wait_expired(struct writing *writing)
{
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    for (int i = COUNT; writing_metric(writing, "tally_ledger_dedup_entries") > COUNT / 2; i++) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)put(writing, i, i, writing_now_ns, "");
        writing_wait(writing);
    }
}

Test(keeper, backfilled_events_older_than_the_window_are_looked_up_in_the_log)
{
    struct writing writing;
    writing_begin(&writing, 1);
    writing_open(&writing, &small);
    int64_t then_ns = writing_now_ns;
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "b", NULL), STATUS_OK);
    put_all(&writing, 0, COUNT, FATE_STORED);
    writing_now_ns += 40 * DAY_NS;
    wait_expired(&writing);
    uint32_t first = writing.count;
    // Not a backfill: too old, whether known once or not.
    (void)put(&writing, 5, 5, then_ns, "");
    for (int i = 0; i < 300; i++)
        (void)put(&writing, i, i, then_ns, "b");
    for (int i = 0; i < 300; i++)
        (void)put(&writing, i, i + 1, then_ns, "b");
    // New ones among them, of that very time, each twice, and the second time as another.
    for (int i = 0; i < 300; i++)
        (void)put(&writing, 1000000 + i / 3, i % 3 == 2, then_ns, "b");
    // And of a time that no block holds.
    (void)put(&writing, 2000000, 1, then_ns - 1000 * DAY_NS, "b");
    writing_wait(&writing);
    const uint8_t *fates = writing.fates + first;
    cr_assert_eq(fates[0], FATE_TOO_OLD);
    for (int i = 0; i < 300; i++) {
        cr_assert_eq(fates[1 + i], FATE_DUPLICATE, "%d", i);
        cr_assert_eq(fates[301 + i], FATE_CONFLICT, "%d", i);
        const enum fate thrice[] = {FATE_STORED, FATE_DUPLICATE, FATE_CONFLICT};
        cr_assert_eq(fates[601 + i], thrice[i % 3], "%d", i);
    }
    cr_assert_eq(fates[901], FATE_STORED);
    writing_close(&writing);
    // What is known of the past outlives a start.
    writing_open(&writing, &small);
    cr_assert_eq(writing.fates[put(&writing, 7, 7, then_ns, "b")], FATE_UNKNOWN);
    writing_wait(&writing);
    cr_assert_eq(writing.fates[0], FATE_DUPLICATE);
    writing_close(&writing);
    writing_end(&writing);
}

static void
ignore_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    (void)context;
    (void)receipts;
    (void)fates;
    (void)count;
}

// Every page is damaged: the first lookup that comes to one ends the shard's writing, by name.
Test(keeper, a_damaged_page_stops_acks)
{
    struct writing writing;
    struct error error = {0};
    const char *why = "";
    writing_begin(&writing, 1);
    writing_open(&writing, &small);
    put_all(&writing, 0, COUNT, FATE_STORED);
    writing_close(&writing);
    struct env *state = state_open(&writing);
    struct tx tx = tx_write(state);
    struct walk walk = walk_open(&tx, STATE_DB_RUNS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        uint8_t page[4096];
        memcpy(page, walk.value.data, walk.value.size);
        page[100] ^= 1;
        walk_put(&walk, bytes_of(page, walk.value.size));
    }
    walk_done(&walk);
    succeed(tx_commit(&tx, &error), &error);
    env_close(state);
    // Without filters the pages are not read at the start.
    struct ledger_options options = small;
    options.dedup_on_disk = true;
    options.now_ns = clock_now_ns;
    struct ledger *ledger = NULL;
    enum status status = ledger_open(writing.dir, &options, &ledger, &error);
    if (status == STATUS_OK) {
        int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
        // Merging them finds it, if there is anything to merge; else a lookup does.
        struct event_bytes event;
        struct intake *intake = NULL;
        event_make(&event, "s", "0", 0);
        succeed(intake_open(ledger, ignore_fates, NULL, &intake, &error), &error);
        cr_assert(intake_put(intake, &event.event, (struct receipt){0}));
        intake_offer(intake);
        while (ledger_failure(ledger, &why) == STATUS_OK)
            cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        cr_assert_eq(ledger_failure(ledger, &why), STATUS_CORRUPT);
        cr_assert_not_null(strstr(why, "run"), "%s", why);
        intake_close(intake);
        cr_assert_eq(ledger_close(ledger, &error), STATUS_CORRUPT);
    } else {
        cr_assert_eq(status, STATUS_CORRUPT);
        cr_assert_not_null(strstr(error.text, "run"), "%s", error.text);
    }
    writing_end(&writing);
}

enum { TAIL_MAX = 4 << 20, TAIL_STEP = 2000 };  // bytes of log; events

struct tail {
    struct writing writing;
    bool has_own_subjects;
    int events;
    int64_t put;   // about so many bytes of log
    int64_t left;  // of them are not flushed
};

// False: some of the log has gone to disk, which is seen once.
static bool
tail_put(struct tail *tail, int events)
{
    struct event_bytes event;
    for (int end = tail->events + events; tail->events < end; tail->events++) {
        char id[64];
        (void)snprintf(id, sizeof id, "%060d", tail->events);
        event_make(&event, tail->has_own_subjects ? id + 50 : "s", id, tail->events);
        (void)writing_put(&tail->writing, &event.event);
    }
    writing_wait(&tail->writing);
    const int64_t before = tail->left;
    tail->left = writing_metric(&tail->writing, "tally_ledger_tail_bytes");
    if (tail->left < before)
        return false;
    tail->put += tail->left - before;
    return true;
}

// Events until there are so many bytes of log, and then a few until some of it went to disk: about
// how many bytes, which are those that were there when that began.
static int64_t
tail_flushed_first(bool has_own_subjects, int64_t bytes)
{
    const struct ledger_options options = {
        .idle_flush_ns = INT64_MAX / 2, .tail_max_bytes = TAIL_MAX};
    struct tail tail = {.has_own_subjects = has_own_subjects};
    writing_begin(&tail.writing, 1);
    writing_meter(&tail.writing, "n", "llm", AGGREGATION_SUM);
    writing_open(&tail.writing, &options);
    bool is_left = true;
    while (is_left && tail.put < bytes)
        is_left = tail_put(&tail, TAIL_STEP);
    const int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (is_left && clock_monotonic_ns() < deadline_ns)
        is_left = tail_put(&tail, 1);
    cr_assert(!is_left, "nothing of %" PRId64 " bytes went to disk", tail.put);
    writing_close(&tail.writing);
    writing_end(&tail.writing);
    return tail.put - tail.left;
}

Test(keeper, writes_few_cells_before_the_tail_is_full)
{
    enum { BETWEEN = TAIL_MAX / 4 * 3, SLACK = TAIL_MAX / 8 };
    const int64_t few = tail_flushed_first(false, BETWEEN);
    cr_assert(few >= TAIL_MAX / 2 - SLACK && few < BETWEEN, "%" PRId64, few);
    // A cell of each event: they wait for more events.
    const int64_t many = tail_flushed_first(true, TAIL_MAX + SLACK);
    cr_assert(many >= TAIL_MAX - SLACK && many <= TAIL_MAX + SLACK, "%" PRId64, many);
}
