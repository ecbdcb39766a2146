#include "ledger/ledger.h"

#include "base/pack.h"
#include "ledger/head.h"
#include "ledger/shard_view.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t DEADLINE_NS = 60 * 1000000000LL;

struct fate_row {
    const char *name;
    const char *subject;
    const char *source;
    const char *id;
    const char *chunk;
    uint32_t position;
    int64_t n;
    int64_t time_days;  // from now; with time_extra_ns
    int64_t time_extra_ns;
    const char *batch;
    bool has_no_time;
    enum fate fate;
};

// In order: each row sees what the rows above it left.
// clang-format off
static const struct fate_row fate_rows[] = {
    {"a first one", "s", "", "a", "", 0, 1, 0, 0, "", false, FATE_STORED},
    {"its resend", "s", "", "a", "", 0, 1, 0, 0, "", false, FATE_DUPLICATE},
    {"its resend with another time", "s", "", "a", "", 0, 1, -3, 0, "", false, FATE_DUPLICATE},
    {"its resend out of all time", "s", "", "a", "", 0, 1, -300, 0, "", false, FATE_DUPLICATE},
    {"its resend in a batch", "s", "", "a", "", 0, 1, -300, 0, "b", false, FATE_DUPLICATE},
    {"its resend in a chunk", "s", "", "a", "c", 5, 1, 0, 0, "", false, FATE_DUPLICATE},
    {"its id with another payload", "s", "", "a", "", 0, 2, 0, 0, "", false, FATE_CONFLICT},
    {"the first one once more", "s", "", "a", "", 0, 1, 0, 0, "", false, FATE_DUPLICATE},
    {"its id of another subject", "t", "", "a", "", 0, 1, 0, 0, "", false, FATE_STORED},
    {"its id of another source", "s", "x", "a", "", 0, 1, 0, 0, "", false, FATE_STORED},
    {"at the past bound", "s", "", "b", "", 0, 1, -35, 0, "", false, FATE_STORED},
    {"beyond it", "s", "", "c", "", 0, 1, -35, -1, "", false, FATE_TOO_OLD},
    {"beyond it, in a batch", "s", "", "c", "", 0, 1, -35, -1, "b", false, FATE_STORED},
    {"in a batch of no such name", "s", "", "g", "", 0, 1, 0, 0, "x", false, FATE_BATCH_NOT_OPEN},
    {"its resend in none", "s", "", "g", "", 0, 1, 0, 0, "", false, FATE_STORED},
    {"known, whatever the batch", "s", "", "g", "", 0, 1, 0, 0, "x", false, FATE_DUPLICATE},
    {"and now known", "s", "", "c", "", 0, 1, -35, -1, "", false, FATE_DUPLICATE},
    {"at the future bound", "s", "", "d", "", 0, 1, 0, 300000000000, "", false, FATE_STORED},
    {"past it", "s", "", "e", "", 0, 1, 0, 300000000001, "", false, FATE_TOO_FAR_AHEAD},
    {"past it again", "s", "", "e", "", 0, 1, 0, 300000000001, "", false, FATE_TOO_FAR_AHEAD},
    {"the same, in time", "s", "", "e", "", 0, 1, 0, 0, "", false, FATE_STORED},
    {"no time", "s", "", "f", "", 0, 1, 0, 0, "", true, FATE_STORED},
    {"no time again", "s", "", "f", "", 0, 1, 0, 0, "", true, FATE_DUPLICATE},
    {"no id", "s", "", "", "", 0, 1, 0, 0, "", false, FATE_STORED},
    {"no id again", "s", "", "", "", 0, 1, 0, 0, "", false, FATE_STORED},
    {"in a chunk", "s", "", "", "c", 0, 1, 0, 0, "", false, FATE_STORED},
    {"next in the chunk", "s", "", "", "c", 1, 1, 0, 0, "", false, FATE_STORED},
    {"the chunk again", "s", "", "", "c", 0, 1, 0, 0, "", false, FATE_DUPLICATE},
    {"the chunk, other payload", "s", "", "", "c", 1, 2, 0, 0, "", false, FATE_CONFLICT},
    {"another chunk", "s", "", "", "d", 0, 1, 0, 0, "", false, FATE_STORED},
};
// clang-format on

enum { FATE_ROWS = sizeof fate_rows / sizeof fate_rows[0] };

static void
row_make(const struct fate_row *row, struct event_bytes *out)
{
    event_make(out, row->subject, row->id, row->n);
    out->event.source = bytes_text(row->source);
    out->event.chunk = bytes_text(row->chunk);
    out->event.chunk_position = row->position;
    out->event.batch = bytes_text(row->batch);
    out->event.time_ns =
        row->has_no_time ? 0 : writing_now_ns + row->time_days * DAY_NS + row->time_extra_ns;
}

static uint64_t
rows_stored(void)
{
    uint64_t count = 0;
    for (size_t i = 0; i < FATE_ROWS; i++)
        count += fate_rows[i].fate == FATE_STORED;
    return count;
}

Test(ledger, decides_each_fate_alone)
{
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "b", NULL), STATUS_OK);
    for (size_t i = 0; i < FATE_ROWS; i++) {
        row_make(&fate_rows[i], &event);
        enum fate fate = writing_fate(&writing, &event.event);
        cr_assert_eq(fate, fate_rows[i].fate, "%s: %s", fate_rows[i].name, fate_name(fate));
    }
    cr_assert_eq(writing_metric(&writing, "tally_events_stored_total"), (int64_t)rows_stored());
    // One block more says that the batch is open.
    cr_assert_eq(
        writing_metric(&writing, "tally_ledger_commits_total"), (int64_t)rows_stored() + 1);
    cr_assert_eq(writing_metric(&writing, "tally_events_batch_not_open_total"), 1);
    cr_assert_eq(writing_metric(&writing, "tally_events_conflict_total"), 2);
    cr_assert_eq(writing_metric(&writing, "tally_events_too_old_total"), 1);
    cr_assert_eq(writing_metric(&writing, "tally_events_too_far_ahead_total"), 2);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, rows_stored() + 1);
    writing_end(&writing);
}

Test(ledger, decides_the_same_inside_one_group)
{
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "b", NULL), STATUS_OK);
    for (size_t i = 0; i < FATE_ROWS; i++) {
        row_make(&fate_rows[i], &event);
        (void)writing_put(&writing, &event.event);
    }
    writing_wait(&writing);
    for (size_t i = 0; i < FATE_ROWS; i++)
        cr_assert_eq(writing.fates[i], fate_rows[i].fate, "%s", fate_rows[i].name);
    writing_close(&writing);
    struct log_total log = writing_log(&writing);
    cr_assert_eq(log.events, rows_stored() + 1);
    cr_assert_eq(log.blocks, 2);
    writing_end(&writing);
}

Test(ledger, knows_every_identity_after_a_reopen)
{
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 2);
    writing_open(&writing, NULL);
    for (int i = 0; i < 1000; i++) {
        char subject[16];
        char id[16];
        (void)snprintf(subject, sizeof subject, "s%d", i % 7);
        (void)snprintf(id, sizeof id, "id-%d", i);
        event_make(&event, subject, id, i);
        (void)writing_put(&writing, &event.event);
    }
    writing_wait(&writing);
    cr_assert_eq(writing_count(&writing, FATE_STORED), 1000);
    writing_close(&writing);
    // Years later: nothing expires here.
    writing_now_ns += 1000 * DAY_NS;
    writing_open(&writing, NULL);
    cr_assert_eq(writing_metric(&writing, "tally_ledger_dedup_entries"), 0, "set by the writer");
    event_make(&event, "s1", "id-1", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_DUPLICATE);
    event_make(&event, "s2", "id-2", 3);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_CONFLICT);
    event_make(&event, "s2", "id-1", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, 1001);
    writing_end(&writing);
}

// Small groups: the intake is full most of the time, and still loses and repeats nothing.
Test(ledger, takes_more_than_a_group_holds)
{
    enum { COUNT = 20000 };
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 3);
    writing_meter(&writing, "n", "llm", AGGREGATION_SUM);
    const struct ledger_options options = {
        .group_events_max = 16, .group_size_bytes = 1, .idle_flush_ns = INT64_MAX / 2};
    writing_open(&writing, &options);
    struct decimal sum = {0};
    for (int i = 0; i < COUNT; i++) {
        char subject[16];
        char id[16];
        (void)snprintf(subject, sizeof subject, "s%d", i % 50);
        (void)snprintf(id, sizeof id, "%d", i);
        event_make(&event, subject, id, i);
        event.event.time_ns -= (int64_t)writing_random(&writing, 30) * DAY_NS;
        (void)writing_put(&writing, &event.event);
        sum.units += decimal_from_int(i).units;
        if (writing_random(&writing, 100) == 0)
            intake_offer(writing.intake);
    }
    writing_wait(&writing);
    cr_assert_eq(writing_count(&writing, FATE_STORED), COUNT);
    writing_close(&writing);
    struct log_total log = writing_log(&writing);
    cr_assert_eq(log.events, COUNT);
    cr_assert_geq(log.blocks, COUNT / 16);
    struct cell_total cells = writing_cells(&writing, 1);
    cr_assert_eq(cells.count, COUNT);
    cr_assert(cells.sum.units == sum.units);
    writing_end(&writing);
}

Test(ledger, belongs_to_one_writer)
{
    struct writing writing;
    struct ledger *second;
    struct error error;
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    const struct ledger_options options = {0};
    cr_assert_eq(ledger_open(writing.dir, &options, &second, &error), STATUS_BUSY);
    cr_assert_not_null(strstr(error.text, "another process"), "%s", error.text);
    writing_close(&writing);
    writing_open(&writing, NULL);
    writing_close(&writing);
    cr_assert_eq(ledger_open("/nonexistent", &options, &second, &error), STATUS_NOT_FOUND);
    writing_end(&writing);
}

// What a child process and its parent both see.
struct shared {
    _Atomic uint32_t acked;  // fates delivered
    uint8_t fates[WRITING_EVENTS_MAX];
};

static struct shared *
shared_make(void)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(shared, MAP_FAILED);
    memset(shared->fates, FATE_UNKNOWN, sizeof shared->fates);
    return shared;
}

static void
on_shared_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    struct shared *shared = context;
    for (size_t i = 0; i < count; i++)
        shared->fates[receipts[i].index] = fates[i];
    atomic_fetch_add(&shared->acked, (uint32_t)count);
}

enum { WORK_EVENTS = 6000, WORK_IDS = 4000 };

// The i-th event of a seeded workload: resends, conflicts, several subjects.
static void
work_make(uint64_t i, struct event_bytes *event)
{
    uint64_t spread = (i + 1) * 0x9e3779b97f4a7c15ULL;
    uint64_t number = (spread >> 20) % WORK_IDS;
    bool is_conflict = (spread >> 50) % 20 == 0;
    char subject[16];
    char id[24];
    (void)snprintf(subject, sizeof subject, "s%d", (int)(number % 11));
    (void)snprintf(id, sizeof id, "id-%d", (int)number);
    event_make(event, subject, id, (int64_t)number + (is_conflict ? 100000 : 0));
    event->event.time_ns -= (int64_t)(number % 20) * DAY_NS;
}

static int
child_work(const char *dir, const struct ledger_options *options, struct shared *shared)
{
    struct ledger *ledger;
    struct intake *intake;
    struct error error;
    if (ledger_open(dir, options, &ledger, &error) ||
        intake_open(ledger, on_shared_fates, shared, &intake, &error))
        return 1;
    struct event_bytes event;
    for (uint64_t i = 0; i < WORK_EVENTS;) {
        work_make(i, &event);
        bool is_in = intake_put(intake, &event.event, (struct receipt){NULL, (uint32_t)i});
        i += is_in;
        if (!is_in || i % 7 == 0)
            intake_offer(intake);
        intake_collect(intake);
    }
    while (intake_pending(intake) > 0) {
        intake_offer(intake);
        intake_collect(intake);
    }
    return 0;  // and no ledger_close: what is in memory is lost
}

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

// Starts the work in a child and kills it when this many fates are there; 0: lets it end.
static void
work_until_killed(
    const char *dir,
    const struct ledger_options *options,
    struct shared *shared,
    uint32_t acked_max)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        // A failed parent must not leave it behind.
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(child_work(dir, options, shared));
    }
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    int status = 0;
    pid_t ended = 0;
    while (ended == 0 && atomic_load(&shared->acked) < acked_max) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        ended = waitpid(child, &status, WNOHANG);
    }
    if (ended == 0) {
        cr_assert_eq(kill(child, SIGKILL), 0);
        cr_assert_eq(waitpid(child, &status, 0), child);
    }
    cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "the child failed");
}

static void
check_log_and_cells(const struct writing *writing)
{
    struct log_total log = writing_log(writing);
    struct cell_total cells = writing_cells(writing, 1);
    cr_assert_eq(log.events, cells.count);
}

static void
crash_and_resend(uint32_t acked_max, const struct ledger_options *options)
{
    struct writing writing;
    struct event_bytes event;
    struct shared *shared = shared_make();
    writing_begin(&writing, 2);
    writing_meter(&writing, "n", "llm", AGGREGATION_SUM);
    work_until_killed(writing.dir, options, shared, acked_max);
    // What was acked before the crash is known now; what was not may be either.
    writing_open(&writing, NULL);
    for (uint64_t i = 0; i < WORK_EVENTS; i++) {
        work_make(i, &event);
        (void)writing_put(&writing, &event.event);
    }
    writing_wait(&writing);
    uint64_t stored_now = writing_count(&writing, FATE_STORED);
    uint64_t stored_then = 0;
    for (uint64_t i = 0; i < WORK_EVENTS; i++) {
        uint8_t then = shared->fates[i];
        stored_then += then == FATE_STORED;
        if (then == FATE_STORED || then == FATE_DUPLICATE)
            cr_assert_eq(writing.fates[i], FATE_DUPLICATE, "event %lu", (unsigned long)i);
        if (then == FATE_CONFLICT)
            cr_assert_eq(writing.fates[i], FATE_CONFLICT, "event %lu", (unsigned long)i);
    }
    writing_close(&writing);
    struct log_total log = writing_log(&writing);
    cr_assert_geq(log.events, stored_now + stored_then);
    cr_assert_leq(log.events, WORK_IDS);
    check_log_and_cells(&writing);
    // Each id once: the ids of the workload, however often each came.
    static bool is_used[WORK_IDS];
    uint64_t ids = 0;
    for (uint64_t i = 0; i < WORK_EVENTS; i++) {
        work_make(i, &event);
        long id = strtol(event.id + 3, NULL, 10);
        ids += !is_used[id];
        is_used[id] = true;
    }
    cr_assert_eq(log.events, ids);
    writing_end(&writing);
    cr_assert_eq(munmap(shared, sizeof *shared), 0);
}

Test(ledger, a_kill_before_the_first_ack_loses_nothing_acked)
{
    const struct ledger_options options = {.now_ns = test_now_ns};
    crash_and_resend(1, &options);
}

Test(ledger, a_kill_in_the_middle_loses_nothing_acked)
{
    const struct ledger_options options = {.now_ns = test_now_ns};
    crash_and_resend(1500, &options);
}

// Flushes all the time, so that the kill falls between log and state.
Test(ledger, a_kill_between_flushes_counts_nothing_twice)
{
    const struct ledger_options options = {
        .now_ns = test_now_ns, .tail_max_bytes = 1, .group_events_max = 8};
    crash_and_resend(700, &options);
}

// Seals and merges all the time, so that the kill falls between table and generations.
Test(ledger, a_kill_between_seals_counts_nothing_twice)
{
    const struct ledger_options options = {
        .now_ns = test_now_ns, .tail_max_bytes = 1, .group_events_max = 8, .dedup_hot_max = 20};
    crash_and_resend(1000, &options);
}

Test(ledger, an_end_without_a_flush_is_made_up_for)
{
    const struct ledger_options options = {.now_ns = test_now_ns, .idle_flush_ns = INT64_MAX / 2};
    crash_and_resend(UINT32_MAX, &options);
}

Test(ledger, flushes_when_idle)
{
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    const struct ledger_options options = {.idle_flush_ns = 1000000};
    writing_open(&writing, &options);
    event_make(&event, "s", "a", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (writing_metric(&writing, "tally_ledger_flushes_total") == 0)
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    cr_assert_eq(writing_metric(&writing, "tally_ledger_tail_bytes"), 0);
    cr_assert_eq(writing_metric(&writing, "tally_ledger_cells"), 0);
    // Beside the running writer, from disk.
    cr_assert_eq(writing_cells(&writing, 1).count, 1);
    writing_close(&writing);
    cr_assert_eq(writing_cells(&writing, 1).count, 1);
    writing_end(&writing);
}

// Until the keeper has brought to disk what was too much.
static void
wait_tail_below(struct writing *writing, int64_t bytes)
{
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (writing_metric(writing, "tally_ledger_tail_bytes") >= bytes)
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "the tail stays long");
}

Test(ledger, flushes_when_the_tail_is_long)
{
    enum { TAIL_MAX = 1000 };
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_SUM);
    const struct ledger_options options = {
        .idle_flush_ns = INT64_MAX / 2, .tail_max_bytes = TAIL_MAX};
    writing_open(&writing, &options);
    for (int i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        event_make(&event, "s", id, 1);
        cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
        // The writer goes on while the keeper works; how far depends on the disk.
        wait_tail_below(&writing, TAIL_MAX);
    }
    // 100 blocks of some 140 bytes: flushed about every seventh, or the one behind it: a fate is
    // told before its block counts in the tail.
    wait_tail_below(&writing, TAIL_MAX);
    cr_assert_geq(writing_metric(&writing, "tally_ledger_flushes_total"), 8);
    writing_close(&writing);
    struct cell_total cells = writing_cells(&writing, 1);
    cr_assert_eq(cells.count, 100);
    cr_assert_eq(cells.cells, 1);
    cr_assert(cells.sum.units == decimal_from_int(100).units);
    writing_end(&writing);
}

static void
poll_meters(struct writing *writing)
{
    struct error error = {0};
    succeed(ledger_poll_meters(writing->ledger, &error), &error);
}

Test(ledger, folds_a_new_meter_from_the_next_block_on)
{
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    event_make(&event, "s", "a", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    poll_meters(&writing);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    poll_meters(&writing);
    event_make(&event, "s", "b", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    // Redefined: another id, from here on.
    writing_meter(&writing, "n", "llm", AGGREGATION_SUM);
    poll_meters(&writing);
    event_make(&event, "s", "c", 5);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    writing_close(&writing);
    struct error error = {0};
    struct shard_view view = {0};
    uint64_t from = 99;
    succeed(shard_view_open(writing.dir, 0, &view, &error), &error);
    struct tx tx = tx_read(view.state);
    succeed(state_live_from(&tx, 2, &from, &error), &error);
    // From the block after the adoption on, and older ones that there was time for. Block 4 is not
    // there: the writer was taking the last event when the definition came, or the keeper was still
    // looking at the one before. Zero: the ledger closed before it was adopted at all.
    cr_assert_leq(from, 4, "from block %lu on", from);
    cr_assert_eq(writing_cells(&writing, 2).count, from > 0 ? 4 - from : 0);
    uint64_t old_from = 99;
    succeed(state_live_from(&tx, 1, &old_from, &error), &error);
    cr_assert(from == 0 || old_from == 0, "the old version left");
    succeed(state_position(&tx, &from, &error), &error);
    cr_assert_eq(from, 3);
    tx_done(&tx);
    shard_view_done(&view);
    writing_end(&writing);
}

Test(ledger, counts_events_that_no_meter_wants)
{
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "other", AGGREGATION_COUNT);
    writing_open(&writing, NULL);
    event_make(&event, "s", "a", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    // The fates come before the fold: the next fate says that it is done.
    event_make(&event, "s", "b", 1);
    event.event.type = bytes_text("other");
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    cr_assert_eq(writing_metric(&writing, "tally_events_unmetered_total"), 1);
    writing_close(&writing);
    writing_end(&writing);
}

// Rewrites a value of the log behind the ledger's back.
static void
damage_log(const char *dir, uint64_t sequence, size_t offset, bool is_removed)
{
    struct error error = {0};
    struct env *env;
    struct bytes value;
    char path[128];
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    (void)snprintf(path, sizeof path, "%s/shards/0000/log", dir);
    succeed(env_open(path, &options, &env, &error), &error);
    struct tx tx = tx_write(env);
    struct bytes key = bytes_of(&sequence, sizeof sequence);
    cr_assert(tx_get(&tx, LOG_DB_BLOCKS, key, &value));
    uint8_t *copy = malloc(value.size);
    cr_assert_not_null(copy);
    memcpy(copy, value.data, value.size);
    copy[offset] ^= 1;
    if (is_removed)
        cr_assert(tx_delete(&tx, LOG_DB_BLOCKS, key));
    else
        tx_put(&tx, LOG_DB_BLOCKS, key, bytes_of(copy, value.size));
    succeed(tx_commit(&tx, &error), &error);
    free(copy);
    env_close(env);
}

static void
write_blocks(struct writing *writing, int count)
{
    struct event_bytes event;
    writing_open(writing, NULL);
    for (int i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        event_make(&event, "s", id, 1);
        cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
    }
    writing_close(writing);
}

static void
expect_corrupt(const struct writing *writing, const char *text)
{
    struct ledger *ledger;
    struct error error;
    const struct ledger_options options = {0};
    cr_assert_eq(ledger_open(writing->dir, &options, &ledger, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, text), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "shard"), "%s", error.text);
}

Test(ledger, refuses_a_damaged_block_by_name)
{
    struct writing writing;
    writing_begin(&writing, 1);
    write_blocks(&writing, 3);
    damage_log(writing.dir, 2, 90, false);
    expect_corrupt(&writing, "shard 0000: block 2");
    damage_log(writing.dir, 2, 90, false);
    writing_open(&writing, NULL);
    writing_close(&writing);
    writing_end(&writing);
}

Test(ledger, refuses_a_log_with_a_hole_or_without_its_end)
{
    struct writing writing;
    writing_begin(&writing, 1);
    write_blocks(&writing, 3);
    damage_log(writing.dir, 2, 0, true);
    expect_corrupt(&writing, "shard 0000");
    writing_end(&writing);
    writing_begin(&writing, 1);
    write_blocks(&writing, 3);
    damage_log(writing.dir, 3, 0, true);
    expect_corrupt(&writing, "cells cover 3");
    writing_end(&writing);
}

static void
run(const char *format, const char *dir)
{
    char command[512];
    (void)snprintf(command, sizeof command, format, dir, dir, dir, dir);
    cr_assert_eq(system(command), 0, "%s", command);
}

// Both environments of an hour ago, each whole in itself: only the head file knows more.
Test(ledger, refuses_a_shard_that_went_back_in_time)
{
    struct writing writing;
    writing_begin(&writing, 1);
    write_blocks(&writing, 3);
    run("cp -r %s/shards/0000/log %s/log && cp -r %s/shards/0000/state %s/state", writing.dir);
    struct event_bytes event;
    writing_open(&writing, NULL);
    event_make(&event, "s", "later", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    writing_close(&writing);
    run("cp -r %s/log %s/shards/0000/ && cp -r %s/state %s/shards/0000/", writing.dir);
    expect_corrupt(&writing, "the log ends at block 3, but block 4 was committed");
    // An operator who knows better puts an empty file there.
    run(": > %s/shards/0000/head", writing.dir);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED, "it was not there any more");
    writing_close(&writing);
    writing_open(&writing, NULL);
    writing_close(&writing);
    writing_end(&writing);
}

Test(ledger, refuses_a_head_that_is_missing_damaged_or_of_another_log)
{
    struct writing writing;
    writing_begin(&writing, 2);
    write_blocks(&writing, 5);
    run("mv %s/shards/0000/head %s/head", writing.dir);
    expect_corrupt(&writing, "shards/0000/head is missing");
    run("printf x > %s/shards/0000/head", writing.dir);
    expect_corrupt(&writing, "shards/0000/head is damaged");
    run("mv %s/head %s/shards/0000/head", writing.dir);
    writing_open(&writing, NULL);
    writing_close(&writing);
    writing_end(&writing);
}

Test(ledger, refuses_a_head_whose_block_is_another)
{
    struct writing writing;
    struct head_file head;
    struct error error = {0};
    char path[128];
    writing_begin(&writing, 1);
    write_blocks(&writing, 3);
    (void)snprintf(path, sizeof path, "%s/shards/0000/head", writing.dir);
    succeed(head_open(path, &head, &error), &error);
    succeed(head_write(&head, 2, 4711, &error), &error);
    head_close(&head);
    expect_corrupt(&writing, "block 2 is not the one that was committed");
    writing_end(&writing);
}

// The machine died before the file was written: it may be as old as it likes.
Test(ledger, takes_a_head_that_is_behind)
{
    struct writing writing;
    writing_begin(&writing, 1);
    write_blocks(&writing, 2);
    run("cp %s/shards/0000/head %s/head", writing.dir);
    struct event_bytes event;
    writing_open(&writing, NULL);
    event_make(&event, "s", "later", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    writing_close(&writing);
    run("mv %s/head %s/shards/0000/head", writing.dir);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_DUPLICATE);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, 3);
    writing_end(&writing);
}

Test(ledger, refuses_a_shard_without_its_files)
{
    struct writing writing;
    char path[128];
    writing_begin(&writing, 1);
    write_blocks(&writing, 1);
    (void)snprintf(path, sizeof path, "%s/shards/0000/log/data.mdb", writing.dir);
    cr_assert_eq(unlink(path), 0);
    expect_corrupt(&writing, "data.mdb is missing");
    writing_end(&writing);
}

static void
on_any_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    uint64_t *stored = context;
    (void)receipts;
    for (size_t i = 0; i < count; i++)
        *stored += fates[i] == FATE_STORED;
}

// Puts until the ledger has failed; returns how many were put.
static int
put_until_failure(struct ledger *ledger, struct intake *intake, const char **out_text)
{
    struct event_bytes event;
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    int count = 0;
    while (ledger_failure(ledger, out_text) == STATUS_OK) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        char id[16];
        (void)snprintf(id, sizeof id, "%d", count);
        event_make(&event, "s", id, 1);
        count += intake_put(intake, &event.event, (struct receipt){NULL, 0});
        intake_offer(intake);
        intake_collect(intake);
    }
    return count;
}

Test(ledger, a_full_map_stops_acks_and_says_what_to_do)
{
    char dir[64];
    struct error error = {0};
    struct ledger *ledger;
    struct intake *intake;
    uint64_t stored = 0;
    const char *text = "";
    temp_dir_make(dir);
    const struct ledger_create_options create = {.shards = 1, .map_size = 1 << 20};
    const struct ledger_options options = {.now_ns = test_now_ns};
    succeed(ledger_create(dir, &create, &error), &error);
    succeed(ledger_open(dir, &options, &ledger, &error), &error);
    succeed(intake_open(ledger, on_any_fates, &stored, &intake, &error), &error);
    int count = put_until_failure(ledger, intake, &text);
    cr_assert_eq(ledger_failure(ledger, &text), STATUS_FULL);
    cr_assert_not_null(strstr(text, "shard 0000"), "%s", text);
    cr_assert_not_null(strstr(text, "larger map size"), "%s", text);
    // Whatever comes after is lost too, not stored and not acked.
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    struct event_bytes event;
    event_make(&event, "s", "late", 1);
    while (!intake_put(intake, &event.event, (struct receipt){NULL, 0})) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        intake_collect(intake);
    }
    intake_offer(intake);
    cr_assert_gt(stored, 0);
    cr_assert_lt(stored, (uint64_t)count);
    cr_assert_gt(intake_pending(intake), 0);
    intake_close(intake);
    cr_assert_eq(ledger_close(ledger, &error), STATUS_FULL);
    cr_assert_not_null(strstr(error.text, "larger map size"), "%s", error.text);
    // What was acked is there.
    succeed(ledger_open(dir, &options, &ledger, &error), &error);
    uint64_t stored_again = 0;
    succeed(intake_open(ledger, on_any_fates, &stored_again, &intake, &error), &error);
    for (uint64_t i = 0; i < stored; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", (int)i);
        event_make(&event, "s", id, 1);
        while (!intake_put(intake, &event.event, (struct receipt){NULL, 0})) {
            intake_offer(intake);
            intake_collect(intake);
        }
    }
    while (intake_pending(intake) > 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        intake_offer(intake);
        intake_collect(intake);
    }
    cr_assert_eq(stored_again, 0, "all of them are duplicates");
    intake_close(intake);
    cr_assert_eq(ledger_close(ledger, &error), STATUS_OK);
    temp_dir_remove(dir);
}

Test(ledger, serves_several_intakes)
{
    enum { INTAKES = 3, EACH = 500 };
    struct writing writing;
    struct event_bytes event;
    struct intake *intakes[INTAKES];
    uint64_t stored[INTAKES] = {0};
    struct error error = {0};
    writing_begin(&writing, 2);
    writing_open(&writing, NULL);
    for (int i = 0; i < INTAKES; i++) {
        enum status status =
            intake_open(writing.ledger, on_any_fates, &stored[i], &intakes[i], &error);
        succeed(status, &error);
    }
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    // The same ids through each: one of them wins.
    for (int n = 0; n < EACH; n++) {
        char id[16];
        char subject[16];
        (void)snprintf(id, sizeof id, "%d", n);
        (void)snprintf(subject, sizeof subject, "s%d", n % 5);
        event_make(&event, subject, id, 1);
        for (int i = 0; i < INTAKES; i++) {
            while (!intake_put(intakes[i], &event.event, (struct receipt){NULL, 0})) {
                cr_assert_lt(clock_monotonic_ns(), deadline_ns);
                intake_collect(intakes[i]);
            }
            intake_offer(intakes[i]);
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < INTAKES; i++) {
        while (intake_pending(intakes[i]) > 0) {
            cr_assert_lt(clock_monotonic_ns(), deadline_ns);
            intake_offer(intakes[i]);
            intake_collect(intakes[i]);
        }
        sum += stored[i];
        intake_close(intakes[i]);
    }
    cr_assert_eq(sum, EACH);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, EACH);
    writing_end(&writing);
}

static void
fail_on_fates(void *context, const struct receipt *receipts, const uint8_t *fates, size_t count)
{
    (void)context;
    (void)receipts;
    (void)fates;
    cr_assert_fail("%zu fates for a closed intake", count);
}

Test(ledger, a_closed_intake_hears_nothing_and_its_successor_only_its_own)
{
    struct writing writing;
    struct event_bytes event;
    struct error error = {0};
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    for (int round = 0; round < 50; round++) {
        struct intake *first;
        struct intake *second;
        uint64_t stored = 0;
        char id[16];
        succeed(intake_open(writing.ledger, fail_on_fates, NULL, &first, &error), &error);
        (void)snprintf(id, sizeof id, "first-%d", round);
        event_make(&event, "s", id, 1);
        cr_assert(intake_put(first, &event.event, (struct receipt){NULL, 0}));
        intake_offer(first);
        intake_close(first);
        succeed(intake_open(writing.ledger, on_any_fates, &stored, &second, &error), &error);
        cr_assert_eq(first, second, "the same memory again");
        cr_assert_eq(intake_pending(second), 0);
        (void)snprintf(id, sizeof id, "second-%d", round);
        event_make(&event, "s", id, 1);
        int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
        while (!intake_put(second, &event.event, (struct receipt){NULL, 0})) {
            cr_assert_lt(clock_monotonic_ns(), deadline_ns);
            intake_offer(second);
            intake_collect(second);
        }
        while (intake_pending(second) > 0) {
            cr_assert_lt(clock_monotonic_ns(), deadline_ns);
            intake_offer(second);
            intake_collect(second);
        }
        cr_assert_eq(stored, 1);
        intake_close(second);
    }
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, 100);
    writing_end(&writing);
}

Test(ledger, is_not_behind_when_it_has_nothing_to_do)
{
    struct writing writing;
    struct event_bytes event;
    const char *text;
    writing_begin(&writing, 2);
    writing_open(&writing, NULL);
    cr_assert_eq(ledger_shards(writing.ledger), 2);
    cr_assert_eq(ledger_failure(writing.ledger, &text), STATUS_OK);
    event_make(&event, "s", "a", 1);
    cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_NS;
    while (ledger_stall_ns(writing.ledger) != 0)
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    writing_close(&writing);
    writing_end(&writing);
}

Test(ledger, prints_its_metrics_by_shard)
{
    struct writing writing;
    struct buffer text = {0};
    const struct metric *const *metrics;
    writing_begin(&writing, 2);
    writing_open(&writing, NULL);
    size_t count = ledger_metrics(writing.ledger, &metrics);
    metrics_print(metrics, count, &text);
    buffer_u8(&text, 0);
    const char *printed = (const char *)text.data;
    cr_assert_not_null(strstr(printed, "tally_events_stored_total{shard=\"0\"} 0\n"));
    cr_assert_not_null(strstr(printed, "tally_events_stored_total{shard=\"1\"} 0\n"));
    const char *help = strstr(printed, "# HELP tally_ledger_commits_total");
    cr_assert_not_null(help);
    cr_assert_null(strstr(help + 1, "# HELP tally_ledger_commits_total"), "once for both");
    buffer_done(&text);
    writing_close(&writing);
    writing_end(&writing);
}

Test(ledger, close_commits_what_was_offered)
{
    struct writing writing;
    struct event_bytes event;
    writing_begin(&writing, 1);
    writing_meter(&writing, "n", "llm", AGGREGATION_COUNT);
    writing_open(&writing, NULL);
    for (int i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        event_make(&event, "s", id, 1);
        (void)writing_put(&writing, &event.event);
    }
    intake_offer(writing.intake);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, 100);
    cr_assert_eq(writing_cells(&writing, 1).count, 100);
    writing_end(&writing);
}

// Of the log's file, how many of the pages in [from, to) the kernel caches.
static uint32_t
cached_pages(const struct writing *writing, size_t from, size_t to)
{
    char path[128];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    (void)snprintf(path, sizeof path, "%s/shards/0000/log/data.mdb", writing->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    void *file = mmap(NULL, to - from, PROT_READ, MAP_SHARED, fd, (off_t)from);
    cr_assert_neq(file, MAP_FAILED);
    uint8_t *is_cached = calloc((to - from) / page, 1);
    cr_assert_eq(mincore(file, to - from, is_cached), 0);
    uint32_t count = 0;
    for (size_t i = 0; i < (to - from) / page; i++)
        count += is_cached[i] & 1U;
    free(is_cached);
    (void)munmap(file, to - from);
    (void)close(fd);
    return count;
}

// Text that no block can make smaller.
static uint32_t
put_large(struct writing *writing, uint32_t number)
{
    static uint8_t properties[60000];
    struct event_bytes event;
    char id[32];
    (void)snprintf(id, sizeof id, "large-%u", number);
    event_make(&event, "s", id, 1);
    const uint16_t text = sizeof properties - 5;
    const uint8_t head[] = {0xa1, 't', 0xda, text >> 8, text & 0xff};
    memcpy(properties, head, sizeof head);
    for (size_t i = sizeof head; i < sizeof properties; i++)
        properties[i] = (uint8_t)('a' + writing_random(writing, 26));
    event.event.properties[0] = bytes_of(properties, sizeof properties);
    event.event.properties_count = 1;
    return writing_put(writing, &event.event);
}

// 40 MiB of log: the first half is forgotten, the end of it is not.
Test(ledger, forgets_what_the_kernel_caches_of_the_log, .timeout = 120)
{
    struct writing writing;
    struct statfs info;
    const size_t mib = 1U << 20;
    writing_begin(&writing, 1);
    if (statfs(writing.dir, &info) != 0 || info.f_type == 0x01021994) {
        writing_end(&writing);
        cr_skip_test("the temporary directory is no file system with a page cache behind it");
    }
    writing_open(&writing, NULL);
    for (uint32_t i = 0; i < 700; i++)
        (void)put_large(&writing, i);
    writing_wait(&writing);
    cr_assert_eq(writing_count(&writing, FATE_STORED), 700);
    const uint32_t before = cached_pages(&writing, mib, 20 * mib);
    const uint32_t tail = cached_pages(&writing, 30 * mib, 38 * mib);
    cr_assert_gt(before, 19 * mib / 4096 / 2);
    ledger_forget_cached(writing.ledger);
    cr_assert_lt(cached_pages(&writing, mib, 20 * mib), before / 4);
    cr_assert_gt(cached_pages(&writing, 30 * mib, 38 * mib), tail / 2);
    writing_close(&writing);
    writing_end(&writing);
}
