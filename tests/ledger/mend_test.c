#include "ledger/mend.h"

#include "ledger/control.h"
#include "ledger/dirty.h"
#include "ledger/keeper.h"
#include "ledger/rebuild.h"
#include "ledger/remake.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "ledger/verify.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>

// Cells that corrections touched: dirty until they are made anew, which the keeper does after the
// flush that brings them to disk.

enum { METER_MOST = 1, METER_DISTINCT = 2, HOURS = 20, MANY = 400 };

static const int64_t CLOSE_WAIT_NS = 10 * SECOND_NS;

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

static void
put_meter(struct writing *writing, const char *key, enum aggregation aggregation)
{
    struct error error = {0};
    struct registry *registry;
    const struct meter meter = {
        .key = key, .event_type = "llm", .aggregation = aggregation, .value_property = "$.n"};
    succeed(registry_open(writing->dir, &registry, &error), &error);
    succeed(registry_put(registry, &meter, writing_now_ns, NULL, &error), &error);
    registry_close(registry);
}

static void
begin(struct writing *writing)
{
    writing_begin(writing, 1);
    put_meter(writing, "most", AGGREGATION_MAX);
    put_meter(writing, "distinct", AGGREGATION_UNIQUE_COUNT);
    writing_open(writing, NULL);
}

static void
put(struct writing *writing, const char *subject, const char *id, int64_t n, int64_t time_ns)
{
    struct event_bytes event;
    event_make(&event, subject, id, n);
    event.event.time_ns = time_ns;
    cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
}

static void
cancel(struct writing *writing, const char *subject, const char *id)
{
    struct error error = {0};
    uint64_t block = 0;
    const struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text(subject),
        .id = bytes_text(id),
        .who = bytes_text("ops"),
        .why = bytes_text("a test"),
    };
    succeed(ledger_correct(writing->ledger, &correction, &block, &error), &error);
}

static struct usage_query
query_of(const char *meter, const char *subject)
{
    return (struct usage_query){
        .meter = meter,
        .subject = bytes_text(subject),
        .from_ns = INT64_MIN,
        .to_ns = INT64_MAX,
    };
}

// The only row's value; -1: there is none.
static int64_t
ask(const struct writing *writing, const struct usage_query *query, uint64_t *out_blocks)
{
    struct error error = {0};
    struct arena arena = {0};
    struct reader *reader = NULL;
    struct usage_result result;
    succeed(reader_open(writing->dir, &reader, &error), &error);
    succeed(usage_query(reader, query, &arena, &result, &error), &error);
    cr_assert_leq(result.count, 1);
    int64_t value =
        result.count > 0 ? (int64_t)(result.rows[0].value.units / DECIMAL_ONE.units) : -1;
    *out_blocks = result.blocks_read;
    arena_done(&arena);
    reader_close(reader);
    return value;
}

// A weighted sum needs a range with both ends, but for what counts no more.
Test(mend, what_was_taken_out_is_not_weighed)
{
    uint64_t blocks = 0;
    struct writing writing;
    const struct usage_query query = query_of("left", "a");
    writing_begin(&writing, 1);
    put_meter(&writing, "left", AGGREGATION_WEIGHTED_SUM);
    writing_open(&writing, NULL);
    cr_assert_eq(ask(&writing, &query, &blocks), -1);
    put(&writing, "a", "1", 7, writing_now_ns);
    cancel(&writing, "a", "1");
    cr_assert_eq(ask(&writing, &query, &blocks), -1, "nothing is left of it in memory");
    writing_close(&writing);
    cr_assert_eq(ask(&writing, &query, &blocks), -1, "nor on disk");
    writing_end(&writing);
}

// Cells on disk of MAX, of all widths, by their flags.
struct flagged {
    uint32_t dirty, replaces, others, records;
};

static struct env *
state_open(const struct writing *writing)
{
    char path[128];
    struct env *env = NULL;
    struct error error = {0};
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    (void)snprintf(path, sizeof path, "%s/shards/0000/state", writing->dir);
    succeed(env_open(path, &options, &env, &error), &error);
    return env;
}

static struct flagged
count_flags(const struct writing *writing)
{
    struct flagged flagged = {0};
    struct env *env = state_open(writing);
    struct tx tx = tx_read(env);
    flagged.records = (uint32_t)tx_count(&tx, STATE_DB_DIRTY);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_state state;
        struct cell_group group;
        if (cell_value_read(walk.key, walk.value, AGGREGATION_MAX, &state, &group))
            continue;
        flagged.dirty += (state.flags & CELL_DIRTY) != 0;
        flagged.replaces += (state.flags & CELL_REPLACES) != 0;
        flagged.others += (state.flags & (CELL_DIRTY | CELL_REPLACES)) == 0;
    }
    walk_done(&walk);
    tx_done(&tx);
    env_close(env);
    return flagged;
}

// A close waits for what is made anew, but not for long: on a slow disk the next start goes on.
static void
close_mended(struct writing *writing)
{
    const int64_t began_ns = clock_monotonic_ns();
    writing_close(writing);
    const int64_t took_ns = clock_monotonic_ns() - began_ns;
    cr_assert(count_flags(writing).records == 0 || took_ns > CLOSE_WAIT_NS, "it waits a while");
    operating_mend(writing->dir);
}

Test(mend, what_a_correction_touched_is_made_anew_and_answers_again)
{
    struct writing writing;
    uint64_t blocks = 0;
    begin(&writing);
    put(&writing, "s", "a", 10, writing_now_ns - HOUR_NS);
    put(&writing, "s", "b", 7, writing_now_ns - HOUR_NS);
    put(&writing, "t", "c", 99, writing_now_ns - HOUR_NS);
    writing_close(&writing);
    struct flagged before = count_flags(&writing);
    cr_assert_eq(before.replaces + before.dirty, 0);
    writing_open(&writing, NULL);
    cancel(&writing, "s", "a");
    close_mended(&writing);
    struct flagged after = count_flags(&writing);
    cr_assert_eq(after.dirty, 0);
    cr_assert_eq(after.records, 0);
    cr_assert_eq(after.replaces * 2, before.others, "of two subjects one was touched");
    struct usage_query query = query_of("most", "s");
    cr_assert_eq(ask(&writing, &query, &blocks), 7);
    cr_assert_eq(blocks, 0, "the cells answer again");
    query = query_of("distinct", "s");
    cr_assert_eq(ask(&writing, &query, &blocks), 1);
    cr_assert_eq(blocks, 0);
    operating_verify(writing.dir);
    writing_open(&writing, NULL);
    put(&writing, "s", "d", 8, writing_now_ns - HOUR_NS);
    close_mended(&writing);
    query = query_of("most", "s");
    cr_assert_eq(ask(&writing, &query, &blocks), 8, "later events are added");
    cr_assert_eq(blocks, 0);
    operating_verify(writing.dir);
    writing_end(&writing);
}

Test(mend, until_then_the_log_answers_what_was_touched_and_no_more)
{
    struct writing writing;
    uint64_t blocks = 0;
    begin(&writing);
    for (int i = 0; i < HOURS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "e%d", i);
        put(&writing, "s", id, 100 + i, writing_now_ns - i * HOUR_NS - 1);
        (void)snprintf(id, sizeof id, "f%d", i);
        put(&writing, "t", id, 100 + i, writing_now_ns - i * HOUR_NS - 1);
    }
    writing_close(&writing);
    writing_open(&writing, NULL);
    // In memory: on disk the cell still holds it.
    cancel(&writing, "s", "e19");
    struct usage_query query = query_of("most", "s");
    cr_assert_eq(ask(&writing, &query, &blocks), 118);
    // Those of the hour at first: two subjects' events and the cancel. Where days are made, all of
    // the day's.
    cr_assert_geq(blocks, 3);
    query.from_ns = writing_now_ns - 19 * HOUR_NS;
    cr_assert_eq(ask(&writing, &query, &blocks), 118);
    cr_assert_eq(blocks, 0, "an hour later nothing was touched");
    query = query_of("most", "t");
    cr_assert_eq(ask(&writing, &query, &blocks), 119);
    cr_assert_eq(blocks, 0, "the other subject was not touched");
    query = query_of("most", "s");
    query.window = USAGE_WINDOW_QUARTER_HOUR;
    query.from_ns = writing_now_ns - 20 * HOUR_NS;
    query.to_ns = writing_now_ns - 19 * HOUR_NS;
    cr_assert_eq(ask(&writing, &query, &blocks), -1, "its only event is gone");
    cr_assert_eq(blocks, 3);
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_end(&writing);
}

// As a crash between the flush and the keeper's next step leaves it: dirty, listed, and wrong.
static uint32_t
spoil(const struct writing *writing)
{
    struct error error = {0};
    struct buffer value = {0};
    struct env *env = state_open(writing);
    struct tx tx = tx_write(env);
    uint32_t count = 0;
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_state state;
        struct cell_group group;
        uint8_t bytes[CELL_KEY_MAX];
        struct bytes key = bytes_of(bytes, walk.key.size);
        if (cell_value_read(walk.key, walk.value, AGGREGATION_MAX, &state, &group) ||
            !(state.flags & CELL_REPLACES))
            continue;
        memcpy(bytes, walk.key.data, walk.key.size);
        state.flags = CELL_DIRTY | CELL_HAS_VALUE;
        state.extreme = decimal_from_int(999999);
        buffer_reset(&value);
        cell_value_write(key, AGGREGATION_MAX, &state, &group, &value);
        walk_done(&walk);
        tx_put(&tx, STATE_DB_CELLS, key, buffer_view(&value));
        dirty_put(&tx, key);
        count++;
        walk = walk_open(&tx, STATE_DB_CELLS);
        cr_assert(walk_seek(&walk, key));
    }
    walk_done(&walk);
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
    buffer_done(&value);
    return count;
}

Test(mend, a_start_goes_on_where_a_crash_left_it)
{
    struct writing writing;
    uint64_t blocks = 0;
    begin(&writing);
    put(&writing, "s", "a", 10, writing_now_ns - HOUR_NS);
    put(&writing, "s", "b", 7, writing_now_ns - HOUR_NS);
    cancel(&writing, "s", "a");
    writing_close(&writing);
    uint64_t state = operating_state(writing.dir);
    cr_assert_gt(spoil(&writing), 2);
    operating_verify(writing.dir);
    struct usage_query query = query_of("most", "s");
    cr_assert_eq(ask(&writing, &query, &blocks), 7);
    cr_assert_gt(blocks, 0);
    writing_open(&writing, NULL);
    close_mended(&writing);
    cr_assert_eq(count_flags(&writing).dirty, 0, "without an event to flush");
    cr_assert_eq(operating_state(writing.dir), state);
    cr_assert_eq(ask(&writing, &query, &blocks), 7);
    cr_assert_eq(blocks, 0);
    writing_end(&writing);
}

static void
live_from_put(const struct writing *writing, uint32_t meter_id, uint64_t from)
{
    struct error error = {0};
    uint8_t key[STATE_METER_KEY_SIZE];
    struct env *state = state_open(writing);
    struct tx tx = tx_write(state);
    state_meter_key(meter_id, key);
    state_number_put(&tx, bytes_of(key, sizeof key), from);
    succeed(tx_commit(&tx, &error), &error);
    env_close(state);
}

static void
mend_all(const struct writing *writing)
{
    static const struct meter most = {
        .key = "most",
        .event_type = "llm",
        .aggregation = AGGREGATION_MAX,
        .value_property = "$.n",
        .id = METER_MOST,
    };
    static const struct billing_zones no_zones = {0};
    struct error error = {0};
    struct env *log = NULL;
    struct arena arena = {0};
    const struct env_options options = {
        .is_read_only = true, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    const struct mend_facts facts = {
        .meters = meter_set_make(&most, 1, &arena), .zones = &no_zones};
    char path[128];
    (void)snprintf(path, sizeof path, "%s/shards/0000/log", writing->dir);
    succeed(env_open(path, &options, &log, &error), &error);
    struct env *state = state_open(writing);
    struct mend *mend = mend_open(log, state);
    succeed(mend_know(mend, &facts, &error), &error);
    cr_assert(mend_is_needed(mend));
    // All are of one batch: what is clean stays listed until the step after it, before which
    // thresholds have been asked.
    const uint32_t listed = count_flags(writing).records;
    while (mend_is_needed(mend)) {
        cr_assert_eq(count_flags(writing).records, listed);
        succeed(mend_step(mend, &error), &error);
    }
    mend_close(mend);
    env_close(state);
    env_close(log);
    arena_done(&arena);
}

// A keeper by itself, and who is its writer otherwise.
struct keeping {
    struct keeper keeper;
    struct env *log, *state, *fired;
    struct generations *generations;
    struct waker writer;
    struct arena arena;
    struct metric mended, other;
    struct watch_batch none;
};

static int64_t
keeping_now_ns(void)
{
    return writing_now_ns;
}

static void
keeping_begin(struct keeping *keeping, const struct writing *writing)
{
    static const struct meter most = {
        .key = "most",
        .event_type = "llm",
        .aggregation = AGGREGATION_MAX,
        .value_property = "$.n",
        .id = METER_MOST,
    };
    static const struct billing_zones no_zones = {0};
    struct error error = {0};
    char path[128];
    const struct env_options log = {
        .is_read_only = true, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    (void)snprintf(path, sizeof path, "%s/shards/0000/log", writing->dir);
    succeed(env_open(path, &log, &keeping->log, &error), &error);
    keeping->state = state_open(writing);
    succeed(fired_open(writing->dir, 0, 64 << 20, &keeping->fired, &error), &error);
    const struct generations_options generations = {
        .state = keeping->state, .hot_max = 1000, .window_ns = 36 * DAY_NS};
    succeed(generations_open(&generations, &keeping->generations, &error), &error);
    succeed(waker_init(&keeping->writer, &error), &error);
    const struct keeper_options options = {
        .log = keeping->log,
        .state = keeping->state,
        .fired = keeping->fired,
        .facts = {.meters = meter_set_make(&most, 1, &keeping->arena), .zones = &no_zones},
        .generations = keeping->generations,
        .writer = &keeping->writer,
        .now_ns = keeping_now_ns,
        .cells_mended = &keeping->mended,
        .windows_made = &keeping->other,
        .cells_deleted = &keeping->other,
        .cells_purged = &keeping->other,
        .groups_capped = &keeping->other,
        .dead_readers = &keeping->other,
        .reader_seconds = &keeping->other,
    };
    succeed(keeper_start(&keeping->keeper, &options, &error), &error);
}

static void
keeping_end(struct keeping *keeping)
{
    keeper_stop(&keeping->keeper);
    generations_close(keeping->generations);
    env_close(keeping->log);
    env_close(keeping->state);
    env_close(keeping->fired);
    waker_done(&keeping->writer);
    arena_done(&keeping->arena);
}

// Until it has looked at everything once more: marks come first in its round, so when a second
// batch is written, the round of the first is over.
static void
keeping_round(struct keeping *keeping)
{
    const int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    for (int i = 0; i < 2; i++) {
        keeper_offer_marks(&keeping->keeper, &keeping->none);
        while (keeper_take_marked(&keeping->keeper) == NULL) {
            cr_assert_lt(clock_monotonic_ns(), deadline_ns, "the keeper does nothing");
            sched_yield();
        }
    }
}

// Who waits for a cell made anew finds it by its record, if the process dies before it has asked.
Test(mend, a_record_stays_until_thresholds_know, .timeout = 240)
{
    struct writing writing;
    static struct keeping keeping;
    begin(&writing);
    put(&writing, "s", "a", 10, writing_now_ns - HOUR_NS);
    put(&writing, "s", "b", 7, writing_now_ns - HOUR_NS);
    cancel(&writing, "s", "a");
    writing_close(&writing);
    cr_assert_gt(spoil(&writing), 2);
    const uint32_t listed = count_flags(&writing).records;
    keeping_begin(&keeping, &writing);
    // As the writer does at a start, when it has asked for what was listed.
    keeper_settled(&keeping.keeper, 0);
    const int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (count_flags(&writing).dirty > 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "nothing is made anew");
        sched_yield();
    }
    for (int i = 0; i < 3; i++)
        keeping_round(&keeping);
    cr_assert_eq(count_flags(&writing).records, listed);
    cr_assert_not(keeper_is_mended(&keeping.keeper));
    while (!keeper_is_mended(&keeping.keeper)) {
        keeper_settled(&keeping.keeper, keeper_mended(&keeping.keeper));
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "records stay");
        sched_yield();
    }
    cr_assert_eq(count_flags(&writing).records, 0);
    cr_assert_gt(metric_get(&keeping.mended), 0);
    keeping_end(&keeping);
    writing_end(&writing);
}

// What is still to be folded into them may be cancelled already, which a cell made anew without it
// would not know.
Test(mend, cells_of_a_meter_that_lacks_blocks_wait)
{
    struct writing writing;
    begin(&writing);
    put(&writing, "s", "a", 10, writing_now_ns - HOUR_NS);
    put(&writing, "s", "b", 7, writing_now_ns - HOUR_NS);
    cancel(&writing, "s", "a");
    writing_close(&writing);
    uint64_t state = operating_state(writing.dir);
    uint32_t count = spoil(&writing);
    cr_assert_gt(count, 2);
    live_from_put(&writing, METER_MOST, 2);
    mend_all(&writing);
    cr_assert_eq(count_flags(&writing).dirty, count);
    cr_assert_eq(count_flags(&writing).records, count);
    live_from_put(&writing, METER_MOST, 1);
    mend_all(&writing);
    cr_assert_eq(count_flags(&writing).dirty, 0);
    cr_assert_eq(operating_state(writing.dir), state);
    writing_end(&writing);
}

// What a close or a rebuild leaves that did not wait for all of them: states are held against each
// other when they are made anew, not before.
Test(mend, states_are_compared_without_dirty_cells)
{
    struct writing writing;
    begin(&writing);
    put(&writing, "s", "a", 10, writing_now_ns - HOUR_NS);
    put(&writing, "s", "b", 7, writing_now_ns - HOUR_NS);
    cancel(&writing, "s", "a");
    close_mended(&writing);
    uint64_t state = operating_state(writing.dir);
    cr_assert_gt(spoil(&writing), 2);
    cr_assert_eq(operating_state(writing.dir), state);
    cr_assert_eq(count_flags(&writing).records, 0);
    writing_end(&writing);
}

// The items of one subject and quarter hour, one for each meter of the test.
static struct remake *
remake_of(struct env *log, const char *const *keys, struct meter *meters)
{
    struct remake *remake = remake_open(log, 1);
    for (uint32_t i = 0; keys[i] != NULL; i++) {
        meters[i] = (struct meter){
            .key = keys[i],
            .event_type = "llm",
            .aggregation = AGGREGATION_MAX,
            .value_property = "$.n",
            .id = i + 1,
        };
        const int64_t start_s = (writing_now_ns - HOUR_NS) / SECOND_NS;
        const struct remake_item item = {
            .key =
                {
                      .width = CELL_QUARTER_HOUR,
                      .meter_id = i + 1,
                      .start_s = start_s,
                      .subject = bytes_text("s"),
                      },
            .end_s = start_s + QUARTER_HOUR_S,
            .live_from = 1,
        };
        remake_add(remake, &item, &meters[i]);
    }
    return remake;
}

static void
remake_to(struct remake *remake, const struct cuts *cuts, uint64_t position)
{
    struct error error = {0};
    bool is_done = false;
    for (int i = 0; i < 1000 && !is_done; i++)
        succeed(remake_step(remake, cuts, position, &is_done, &error), &error);
    cr_assert(is_done);
}

// The position moves while cells are made: what is added counts, a cut ends the epoch, and a
// correction of what was folded already spoils them.
Test(mend, the_position_may_move_while_cells_are_made)
{
    static const char *const keys[] = {"most", NULL};
    struct writing writing;
    struct error error = {0};
    struct meter meters[1];
    struct env *log = NULL;
    const struct env_options options = {
        .is_read_only = true, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    char path[128];
    begin(&writing);
    put(&writing, "s", "a", 50, writing_now_ns - HOUR_NS);
    put(&writing, "s", "b", 70, writing_now_ns - HOUR_NS);
    cancel(&writing, "s", "b");
    put(&writing, "s", "c", 60, writing_now_ns - HOUR_NS);
    put(&writing, "s", "d", 90, writing_now_ns - HOUR_NS);
    cancel(&writing, "s", "d");
    cancel(&writing, "s", "a");
    writing_close(&writing);
    (void)snprintf(path, sizeof path, "%s/shards/0000/log", writing.dir);
    succeed(env_open(path, &options, &log, &error), &error);
    static const struct {
        uint64_t positions[3];
        int64_t most;
        bool is_spoiled;
    } rows[] = {
        {{2, 0, 0}, 70, false},
        {{3, 0, 0}, 50, false},
        {{3, 4, 0}, 60, false},
        {{3, 6, 0}, 60, false},
        {{2, 3, 0}, 0,  true },
        {{3, 5, 6}, 0,  true },
        {{7, 0, 0}, 60, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cuts cuts = {0};
        struct remake *remake = remake_of(log, keys, meters);
        for (int k = 0; k < 3 && rows[i].positions[k] > 0; k++)
            remake_to(remake, &cuts, rows[i].positions[k]);
        const struct remake_item *item = remake_at(remake, 0);
        cr_assert_eq(item->is_spoiled, rows[i].is_spoiled, "row %zu", i);
        int64_t most = (int64_t)(item->state.extreme.units / DECIMAL_ONE.units);
        cr_assert(rows[i].is_spoiled || most == rows[i].most, "row %zu: %ld", i, (long)most);
        remake_close(remake);
    }
    // A cut at block 3: what comes from there on, the cancel too, is of the next epoch.
    struct arena arena = {0};
    struct cuts cuts = {0};
    const struct cut cut = {.number = 1, .time_s = writing_now_ns / SECOND_NS, .block = 3};
    cuts_add(&cuts, &cut, &arena);
    struct remake *remake = remake_of(log, keys, meters);
    remake_to(remake, &cuts, 7);
    cr_assert_eq(decimal_compare(remake_at(remake, 0)->state.extreme, decimal_from_int(70)), 0);
    remake_close(remake);
    arena_done(&arena);
    env_close(log);
    writing_end(&writing);
}

static void
count_finding(void *context, const struct verify_finding *finding)
{
    (void)finding;
    ++*(int *)context;
}

// A dirty cell that no record lists would never be made anew.
Test(mend, verify_sees_a_dirty_cell_without_a_record_and_a_record_without_one)
{
    struct writing writing;
    struct error error = {0};
    for (int i = 0; i < 2; i++) {
        struct verify_summary summary;
        int findings = 0;
        const struct verify_options options = {.on_finding = count_finding, .context = &findings};
        begin(&writing);
        put(&writing, "s", "a", 10, writing_now_ns - HOUR_NS);
        put(&writing, "s", "b", 7, writing_now_ns - HOUR_NS);
        // The first cell: it was not made anew, so it cannot be listed still.
        if (i == 1)
            put(&writing, "r", "c", 7, writing_now_ns - HOUR_NS);
        cancel(&writing, "s", "a");
        close_mended(&writing);
        if (i == 0)
            (void)spoil(&writing);
        struct env *env = state_open(&writing);
        struct tx tx = tx_write(env);
        struct walk walk = walk_open(&tx, i == 0 ? STATE_DB_DIRTY : STATE_DB_CELLS);
        cr_assert(walk_first(&walk));
        uint8_t bytes[CELL_KEY_MAX];
        struct bytes key = bytes_of(bytes, walk.key.size);
        memcpy(bytes, walk.key.data, walk.key.size);
        walk_done(&walk);
        if (i == 0)
            dirty_delete(&tx, key);
        else
            dirty_put(&tx, key);
        succeed(tx_commit(&tx, &error), &error);
        env_close(env);
        succeed(verify_run(writing.dir, &options, &summary, &error), &error);
        cr_assert_gt(findings, 0);
        writing_end(&writing);
    }
}

static void
damage_block(const struct writing *writing, uint64_t sequence)
{
    char path[128];
    struct env *env = NULL;
    struct error error = {0};
    struct buffer copy = {0};
    struct bytes value;
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    (void)snprintf(path, sizeof path, "%s/shards/0000/log", writing->dir);
    succeed(env_open(path, &options, &env, &error), &error);
    struct tx tx = tx_write(env);
    struct bytes key = bytes_of(&sequence, sizeof sequence);
    cr_assert(tx_get(&tx, LOG_DB_BLOCKS, key, &value));
    buffer_bytes(&copy, value);
    copy.data[copy.size - 1] ^= 1;
    tx_put(&tx, LOG_DB_BLOCKS, key, buffer_view(&copy));
    succeed(tx_commit(&tx, &error), &error);
    env_close(env);
    buffer_done(&copy);
}

Test(mend, a_damaged_old_block_leaves_cells_dirty_and_ends_nothing)
{
    struct writing writing;
    begin(&writing);
    put(&writing, "s", "a", 10, writing_now_ns - HOUR_NS);
    put(&writing, "s", "b", 7, writing_now_ns - HOUR_NS);
    writing_close(&writing);
    writing_open(&writing, NULL);
    // A start reads it, for its identities.
    damage_block(&writing, 1);
    cancel(&writing, "s", "b");
    put(&writing, "s", "c", 8, writing_now_ns - HOUR_NS);
    writing_close(&writing);
    struct flagged flagged = count_flags(&writing);
    cr_assert_gt(flagged.dirty, 0);
    cr_assert_geq(flagged.records, flagged.dirty);
    struct usage_query query = query_of("most", "s");
    struct error error = {0};
    struct arena arena = {0};
    struct reader *reader = NULL;
    struct usage_result result;
    succeed(reader_open(writing.dir, &reader, &error), &error);
    cr_assert_eq(usage_query(reader, &query, &arena, &result, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "block 1"), "%s", error.text);
    reader_close(reader);
    arena_done(&arena);
    writing_end(&writing);
}

Test(mend, a_cut_before_the_correction_keeps_its_answer)
{
    struct writing writing;
    struct error error = {0};
    uint64_t blocks = 0;
    uint32_t cut = 0;
    begin(&writing);
    put(&writing, "s", "a", 10, writing_now_ns - 30 * HOUR_NS);
    put(&writing, "s", "b", 7, writing_now_ns - 30 * HOUR_NS);
    succeed(ledger_cut(writing.ledger, writing_now_ns - 24 * HOUR_NS, &cut, &error), &error);
    cancel(&writing, "s", "a");
    close_mended(&writing);
    struct usage_query query = query_of("most", "s");
    cr_assert_eq(ask(&writing, &query, &blocks), 7);
    cr_assert_eq(blocks, 0);
    query.at_cut = cut;
    query.to_ns = writing_now_ns - 24 * HOUR_NS;
    cr_assert_eq(ask(&writing, &query, &blocks), 10);
    cr_assert_eq(blocks, 0);
    operating_verify(writing.dir);
    writing_end(&writing);
}

// With so many distinct values that they are spilled, and fewer of them afterwards.
Test(mend, a_rebuild_makes_the_same_state_bit_for_bit, .timeout = 120)
{
    struct writing writing;
    struct error error = {0};
    uint64_t blocks = 0;
    char id[16];
    begin(&writing);
    for (int i = 0; i < MANY; i++) {
        struct event_bytes event;
        (void)snprintf(id, sizeof id, "e%d", i);
        event_make(&event, "s", id, i);
        event.event.time_ns = writing_now_ns - HOUR_NS - i % 3 * 7 * HOUR_NS;
        (void)writing_put(&writing, &event.event);
    }
    writing_wait(&writing);
    for (int session = 0; session < 4; session++) {
        for (int i = session; i < MANY - 80; i += 16) {
            (void)snprintf(id, sizeof id, "e%d", i);
            cancel(&writing, "s", id);
        }
        if (session == 2) {
            uint32_t cut = 0;
            int64_t time_ns = writing_now_ns - 2 * HOUR_NS;
            succeed(ledger_cut(writing.ledger, time_ns, &cut, &error), &error);
        }
        writing_close(&writing);
        operating_verify(writing.dir);
        writing_open(&writing, NULL);
    }
    close_mended(&writing);
    struct usage_query query = query_of("distinct", "s");
    cr_assert_eq(ask(&writing, &query, &blocks), MANY - 4 * (MANY - 80) / 16);
    cr_assert_eq(blocks, 0);
    uint64_t state = operating_state(writing.dir);
    struct rebuild_summary summary;
    const struct rebuild_options options = {
        .shard = REBUILD_ALL_SHARDS,
        .ledger = {.now_ns = test_now_ns, .tail_max_bytes = 2000},
    };
    succeed(rebuild_run(writing.dir, &options, &summary, &error), &error);
    cr_assert_eq(operating_state(writing.dir), state);
    operating_verify(writing.dir);
    writing_end(&writing);
}
