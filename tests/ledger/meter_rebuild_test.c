#include "ledger/meter_rebuild.h"

#include "base/clock.h"
#include "ledger/control.h"
#include "ledger/correct.h"
#include "ledger/rebuild.h"
#include "ledger/shard.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "ledger/verify.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

// A ledger with some blocks, then meters that come later: what their cells hold must be what they
// would hold had the meters been there from the start.

enum { BLOCKS = 40 };

static void
put_meter(struct writing *writing, const char *key, enum aggregation aggregation)
{
    struct registry *registry;
    struct error error = {0};
    struct meter meter = {
        .key = key,
        .event_type = "llm",
        .aggregation = aggregation,
        .value_property = aggregation == AGGREGATION_COUNT ? NULL : "$.n",
        .dimensions = {{"region", "$.region"}},
        .dimensions_count = 1,
    };
    succeed(registry_open(writing->dir, &registry, &error), &error);
    succeed(registry_put(registry, &meter, writing_now_ns, NULL, &error), &error);
    registry_close(registry);
}

static void
poll_meters(struct writing *writing)
{
    struct error error = {0};
    succeed(ledger_poll_meters(writing->ledger, &error), &error);
}

// Each event is a block of its own.
static void
put_blocks(struct writing *writing, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        struct event_bytes event;
        char id[16];
        char subject[16];
        (void)snprintf(id, sizeof id, "%d", i);
        (void)snprintf(subject, sizeof subject, "s%d", i % 3);
        event_make(&event, subject, id, i % 7);
        event.event.time_ns = writing_now_ns - i * 7 * MINUTE_NS;
        cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
    }
}

static void
wait_metric(struct writing *writing, const char *name, int64_t value)
{
    int64_t deadline_ns = clock_monotonic_ns() + 30 * SECOND_NS;
    while (writing_metric(writing, name) != value) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "%s is not %ld", name, (long)value);
        sched_yield();
    }
}

struct answers {
    uint64_t blocks_read;
    uint64_t count;
    size_t rows;
    char values[4096];
};

// All rows of a meter as one text.
static struct answers
ask(const struct writing *writing, const char *meter)
{
    struct answers answers = {0};
    struct reader *reader;
    struct usage_result result;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    const struct usage_query query = {
        .meter = meter,
        .from_ns = 0,
        .to_ns = INT64_MAX,
        .window = USAGE_WINDOW_QUARTER_HOUR,
    };
    succeed(reader_open(writing->dir, &reader, &error), &error);
    succeed(usage_query(reader, &query, &arena, &result, &error), &error);
    size_t used = 0;
    for (size_t i = 0; i < result.count; i++) {
        char number[WIDE_TEXT_MAX];
        const struct usage_row *row = &result.rows[i];
        (void)usage_row_print(row, number);
        answers.count += row->count;
        used += (size_t)snprintf(
            answers.values + used,
            sizeof answers.values - used,
            "%.*s %ld %s\n",
            (int)row->subject.size,
            (const char *)row->subject.data,
            (long)(row->from_ns / SECOND_NS),
            number);
        cr_assert_lt(used, sizeof answers.values);
    }
    answers.rows = result.count;
    answers.blocks_read = result.blocks_read;
    reader_close(reader);
    return answers;
}

static void
check_same(const struct answers *a, const struct answers *b)
{
    cr_assert_eq(a->count, b->count);
    cr_assert_str_eq(a->values, b->values);
}

static void
no_finding(void *context, const struct verify_finding *finding)
{
    (void)context;
    cr_assert_fail("%s: %s", finding->key, finding->what);
}

static void
check_verify(const struct writing *writing)
{
    struct verify_summary summary = {0};
    struct error error = {0};
    succeed(
        verify_run(
            writing->dir, &(struct verify_options){.on_finding = no_finding}, &summary, &error),
        &error);
}

Test(meter_rebuild, a_late_meter_counts_all_blocks, .timeout = 60)
{
    static const enum aggregation aggregations[] = {
        AGGREGATION_COUNT,
        AGGREGATION_SUM,
        AGGREGATION_MIN,
        AGGREGATION_MAX,
        AGGREGATION_UNIQUE_COUNT,
        AGGREGATION_LATEST,
        AGGREGATION_WEIGHTED_SUM,
    };
    for (size_t i = 0; i < sizeof aggregations / sizeof aggregations[0]; i++) {
        struct writing writing;
        writing_begin(&writing, 1);
        put_meter(&writing, "early", aggregations[i]);
        writing_open(&writing, NULL);
        put_blocks(&writing, 0, BLOCKS);
        put_meter(&writing, "late", aggregations[i]);
        poll_meters(&writing);
        put_blocks(&writing, BLOCKS, 3);
        wait_metric(&writing, "tally_ledger_rebuild_blocks_left", 0);
        struct answers early = ask(&writing, "early");
        struct answers late = ask(&writing, "late");
        cr_assert_eq(early.count, BLOCKS + 3);
        check_same(&early, &late);
        cr_assert_eq(late.blocks_read, 0, "the cells have it all");
        writing_close(&writing);
        late = ask(&writing, "late");
        check_same(&early, &late);
        cr_assert_eq(late.blocks_read, 0);
        check_verify(&writing);
        writing_end(&writing);
    }
}

// Blocks of which the meters' cells on disk do not say that they have them.
static uint64_t
blocks_lacking(const struct writing *writing)
{
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct registry *registry;
    struct meter *list;
    struct meter_progress progress[METERS_MAX];
    uint32_t count = 0;
    uint64_t lacking = 0;
    succeed(registry_open(writing->dir, &registry, &error), &error);
    succeed(registry_list(registry, &arena, &list, &count, &error), &error);
    succeed(meter_progress_read(writing->dir, list, count, progress, &error), &error);
    for (uint32_t i = 0; i < count; i++)
        lacking += progress[i].blocks - progress[i].covered;
    registry_close(registry);
    return lacking;
}

// What a rebuild folded so far is flushed, and the next start goes on there. Until a close fell
// between the first block and the last; each one must come back.
Test(meter_rebuild, a_close_amid_it_comes_back, .timeout = 60)
{
    enum { TRIES = 60, MANY = 600, LOOKS = 100000 };
    struct writing writing;
    char key[16];
    bool was_amid = false;
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    put_blocks(&writing, 0, MANY);
    for (int i = 0; i < TRIES && !was_amid; i++) {
        int64_t left = MANY;
        (void)snprintf(key, sizeof key, "late%d", i);
        put_meter(&writing, key, AGGREGATION_SUM);
        poll_meters(&writing);
        // It may also be over before anybody looks.
        for (int looks = 0; looks < LOOKS && (left == MANY || left == 0); looks++)
            left = writing_metric(&writing, "tally_ledger_rebuild_blocks_left");
        writing_close(&writing);
        was_amid = blocks_lacking(&writing) > 0;
        writing_open(&writing, NULL);
        wait_metric(&writing, "tally_ledger_rebuild_blocks_left", 0);
    }
    cr_assert(was_amid, "no close fell amid a rebuild");
    writing_close(&writing);
    check_verify(&writing);
    writing_end(&writing);
}

Test(meter_rebuild, an_answer_is_right_all_along, .timeout = 60)
{
    struct writing writing;
    writing_begin(&writing, 1);
    put_meter(&writing, "early", AGGREGATION_SUM);
    writing_open(&writing, NULL);
    put_blocks(&writing, 0, BLOCKS);
    for (int i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "late_%d", i);
        put_meter(&writing, key, AGGREGATION_SUM);
        poll_meters(&writing);
        put_blocks(&writing, BLOCKS + i, 1);
        struct answers late = ask(&writing, key);
        struct answers early = ask(&writing, "early");
        check_same(&early, &late);
    }
    wait_metric(&writing, "tally_ledger_rebuild_blocks_left", 0);
    writing_close(&writing);
    check_verify(&writing);
    writing_end(&writing);
}

// One shard of a ledger that nobody else has open, without threads.
struct bench {
    struct ledger_conf conf;
    struct meters meters;
    struct shard *shard;
};

static const struct billing_zones no_zones = {0};

static void
bench_adopt(struct bench *bench, const char *dir)
{
    struct registry *registry;
    struct meter *list;
    uint32_t count;
    struct error error = {0};
    succeed(registry_open(dir, &registry, &error), &error);
    arena_reset(&bench->meters.arena);
    succeed(registry_list(registry, &bench->meters.arena, &list, &count, &error), &error);
    bench->meters.set = meter_set_make(list, count, &bench->meters.arena);
    registry_close(registry);
    shard_adopt(bench->shard, &bench->meters);
}

static void
bench_open(struct bench *bench, const char *dir)
{
    struct error error = {0};
    *bench = (struct bench){.shard = calloc(1, sizeof *bench->shard)};
    cr_assert_not_null(bench->shard);
    succeed(ledger_conf_read(dir, &bench->conf, &error), &error);
    const struct shard_options options = {
        .dir = dir,
        .shards = 1,
        .map_size = bench->conf.map_size,
        .secret = &bench->conf.secret,
        .zones = &no_zones,
    };
    succeed(shard_open(bench->shard, &options, &error), &error);
    bench_adopt(bench, dir);
    succeed(shard_recover(bench->shard, &error), &error);
}

static void
bench_close(struct bench *bench)
{
    shard_close(bench->shard);
    arena_done(&bench->meters.arena);
    free(bench->shard);
}

static void
bench_slices(struct bench *bench, int count)
{
    struct error error = {0};
    for (int i = 0; i < count; i++) {
        cr_assert(meter_rebuild_is_due(bench->shard));
        succeed(meter_rebuild_slice(bench->shard, 0, &error), &error);
    }
}

// 40 blocks, counted by "early" (1).
static void
fill(struct writing *writing)
{
    writing_begin(writing, 1);
    put_meter(writing, "early", AGGREGATION_SUM);
    writing_open(writing, NULL);
    put_blocks(writing, 0, BLOCKS);
    writing_close(writing);
}

Test(meter_rebuild, a_crash_repeats_only_what_was_not_flushed)
{
    struct writing writing;
    struct bench bench;
    struct error error = {0};
    fill(&writing);
    bench_open(&bench, writing.dir);
    put_meter(&writing, "late", AGGREGATION_SUM);
    bench_adopt(&bench, writing.dir);
    cr_assert_eq(shard_live_from(bench.shard, 2), BLOCKS + 1);
    cr_assert_eq(meter_rebuild_blocks_left(bench.shard), BLOCKS);
    bench_slices(&bench, 10);
    succeed(shard_flush(bench.shard, &error), &error);
    cr_assert_eq(shard_flushed_from(bench.shard, 2), BLOCKS - 9);
    bench_slices(&bench, 10);
    cr_assert_eq(shard_live_from(bench.shard, 2), BLOCKS - 19);
    cr_assert_eq(shard_flushed_from(bench.shard, 2), BLOCKS - 9);
    bench_close(&bench);  // no flush
    struct answers late = ask(&writing, "late");
    struct answers early = ask(&writing, "early");
    check_same(&early, &late);
    cr_assert_eq(late.blocks_read, BLOCKS - 10);
    check_verify(&writing);
    bench_open(&bench, writing.dir);
    cr_assert_eq(shard_live_from(bench.shard, 2), BLOCKS - 9);
    bench_slices(&bench, BLOCKS - 10);
    cr_assert_not(meter_rebuild_is_due(bench.shard));
    succeed(shard_flush(bench.shard, &error), &error);
    bench_close(&bench);
    late = ask(&writing, "late");
    check_same(&early, &late);
    cr_assert_eq(late.blocks_read, 0);
    check_verify(&writing);
    writing_end(&writing);
}

Test(meter_rebuild, meters_share_a_pass_once_they_meet)
{
    struct writing writing;
    struct bench bench;
    struct error error = {0};
    struct meter_progress progress[3];
    static const struct meter meters[] = {{.id = 1}, {.id = 2}, {.id = 3}};
    fill(&writing);
    bench_open(&bench, writing.dir);
    put_meter(&writing, "second", AGGREGATION_SUM);
    bench_adopt(&bench, writing.dir);
    bench_slices(&bench, 10);
    put_meter(&writing, "third", AGGREGATION_SUM);
    bench_adopt(&bench, writing.dir);
    cr_assert_eq(meter_rebuild_blocks_left(bench.shard), BLOCKS);
    bench_slices(&bench, 4);
    cr_assert_eq(shard_live_from(bench.shard, 2), BLOCKS - 9, "the third comes down alone");
    cr_assert_eq(shard_live_from(bench.shard, 3), BLOCKS - 3);
    bench_slices(&bench, 7);
    cr_assert_eq(shard_live_from(bench.shard, 2), BLOCKS - 10, "and then both");
    cr_assert_eq(shard_live_from(bench.shard, 3), BLOCKS - 10);
    succeed(shard_flush(bench.shard, &error), &error);
    succeed(meter_progress_read(writing.dir, meters, 3, progress, &error), &error);
    cr_assert_eq(progress[0].covered, BLOCKS);
    cr_assert_eq(progress[1].covered, 11);
    cr_assert_eq(progress[2].covered, 11);
    cr_assert_eq(progress[2].blocks, BLOCKS);
    bench_slices(&bench, BLOCKS - 11);
    cr_assert_not(meter_rebuild_is_due(bench.shard));
    succeed(shard_flush(bench.shard, &error), &error);
    bench_close(&bench);
    struct answers early = ask(&writing, "early");
    struct answers second = ask(&writing, "second");
    struct answers third = ask(&writing, "third");
    check_same(&early, &second);
    check_same(&early, &third);
    cr_assert_eq(second.blocks_read + third.blocks_read, 0);
    check_verify(&writing);
    writing_end(&writing);
}

Test(meter_rebuild, begins_at_the_first_block_that_the_log_still_has)
{
    struct writing writing;
    struct bench bench;
    struct error error = {0};
    // Each start of a writer begins a chapter, and retention takes whole ones away.
    writing_begin(&writing, 1);
    writing_open(&writing, NULL);
    put_blocks(&writing, 0, 30);
    writing_close(&writing);
    writing_open(&writing, NULL);
    put_blocks(&writing, 30, BLOCKS - 30);
    writing_close(&writing);
    bench_open(&bench, writing.dir);
    struct tx tx = tx_write(bench.shard->log);
    for (uint64_t sequence = 1; sequence <= 30; sequence++)
        cr_assert(tx_delete(&tx, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence)));
    log_kept_write(&tx, &(struct log_kept){.first = 31, .until_ns = writing_now_ns});
    succeed(tx_commit(&tx, &error), &error);
    put_meter(&writing, "late", AGGREGATION_COUNT);
    bench_adopt(&bench, writing.dir);
    succeed(meter_rebuild_slice(bench.shard, 0, &error), &error);
    cr_assert_eq(meter_rebuild_blocks_left(bench.shard), BLOCKS - 31);
    bench_slices(&bench, BLOCKS - 31);
    cr_assert_not(meter_rebuild_is_due(bench.shard));
    cr_assert_eq(shard_live_from(bench.shard, 1), 31);
    bench_close(&bench);
    writing_end(&writing);
}

Test(meter_rebuild, a_damaged_block_ends_it_and_nothing_else)
{
    struct writing writing;
    struct bench bench;
    struct error error = {0};
    const uint64_t damaged = 35;
    fill(&writing);
    bench_open(&bench, writing.dir);
    struct tx tx = tx_write(bench.shard->log);
    struct bytes key = bytes_of(&damaged, sizeof damaged);
    struct bytes value;
    uint8_t copy[4096];
    cr_assert(tx_get(&tx, LOG_DB_BLOCKS, key, &value));
    cr_assert_leq(value.size, sizeof copy);
    memcpy(copy, value.data, value.size);
    copy[value.size - 1] ^= 1;
    tx_put(&tx, LOG_DB_BLOCKS, key, bytes_of(copy, value.size));
    succeed(tx_commit(&tx, &error), &error);
    put_meter(&writing, "late", AGGREGATION_COUNT);
    bench_adopt(&bench, writing.dir);
    bench_slices(&bench, BLOCKS - 35);
    cr_assert_eq(meter_rebuild_slice(bench.shard, 0, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "block 35"), "%s", error.text);
    cr_assert_not(meter_rebuild_is_due(bench.shard));
    cr_assert_eq(shard_live_from(bench.shard, 2), 36);
    bench_close(&bench);
    writing_end(&writing);
}

// On disk, of all widths.
static uint64_t
count_cells(const struct writing *writing, uint32_t meter_id)
{
    uint64_t count = 0;
    struct ledger_conf conf;
    struct error error = {0};
    succeed(ledger_conf_read(writing->dir, &conf, &error), &error);
    for (uint32_t shard = 0; shard < conf.shards; shard++) {
        scoped(shard_view_done) struct shard_view view = {0};
        succeed(shard_view_open(writing->dir, shard, &view, &error), &error);
        scoped(tx_done) struct tx tx = tx_read(view.state);
        scoped(walk_done) struct walk walk = walk_open(&tx, STATE_DB_CELLS);
        for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
            struct cell_key key;
            cr_assert(cell_key_read(walk.key, &key));
            count += key.meter_id == meter_id;
        }
    }
    return count;
}

static void
wait_purged(const struct writing *writing, uint32_t meter_id)
{
    int64_t deadline_ns = clock_monotonic_ns() + 30 * SECOND_NS;
    while (count_cells(writing, meter_id) > 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        sched_yield();
    }
}

static void
remove_meter(struct writing *writing, const char *key)
{
    struct registry *registry;
    struct error error = {0};
    succeed(registry_open(writing->dir, &registry, &error), &error);
    succeed(registry_remove(registry, key, &error), &error);
    registry_close(registry);
}

Test(meter_rebuild, cells_of_a_removed_meter_go, .timeout = 60)
{
    struct writing writing;
    writing_begin(&writing, 1);
    put_meter(&writing, "stays", AGGREGATION_SUM);
    put_meter(&writing, "goes", AGGREGATION_SUM);
    put_meter(&writing, "goes_too", AGGREGATION_SUM);
    const struct ledger_options options = {.idle_flush_ns = 1000000};
    writing_open(&writing, &options);
    put_blocks(&writing, 0, BLOCKS);
    wait_metric(&writing, "tally_ledger_cells", 0);
    const uint64_t cells = count_cells(&writing, 2);
    cr_assert_gt(cells, 0);
    remove_meter(&writing, "goes");
    poll_meters(&writing);
    wait_purged(&writing, 2);
    writing_close(&writing);
    cr_assert_geq(count_cells(&writing, 3), cells);
    remove_meter(&writing, "goes_too");
    check_verify(&writing);
    writing_open(&writing, &options);
    wait_purged(&writing, 3);
    writing_close(&writing);
    cr_assert_geq(count_cells(&writing, 1), cells);
    check_verify(&writing);
    writing_end(&writing);
}

// ---- everything that a log can hold

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

struct life {
    struct writing writing;
    uint32_t serial;
    uint32_t count;
    struct {
        char subject[16];
        char id[16];
        bool is_cancelled;
    } events[4000];
};

static void
life_put(struct life *life, int64_t past_ns, int64_t n)
{
    struct event_bytes event;
    uint32_t i = life->count++;
    cr_assert_lt(i, sizeof life->events / sizeof life->events[0]);
    (void)snprintf(life->events[i].subject, 16, "s%u", (unsigned)writing_random(&life->writing, 5));
    (void)snprintf(life->events[i].id, 16, "e%u", i);
    event_make(&event, life->events[i].subject, life->events[i].id, n);
    event.event.time_ns -= past_ns;
    (void)writing_put(&life->writing, &event.event);
}

// A cancel, or an amend to another value, of some event that still counts.
static void
life_correct(struct life *life)
{
    struct event_bytes to;
    struct error error = {0};
    uint64_t block = 0;
    uint64_t i = writing_random(&life->writing, life->count);
    if (life->events[i].is_cancelled)
        return;
    event_make(&to, "s", "to", (int64_t)writing_random(&life->writing, 500));
    const bool is_amend = writing_random(&life->writing, 2) == 0;
    const struct correction correction = {
        .kind = is_amend ? ENTRY_AMEND : ENTRY_CANCEL,
        .subject = bytes_text(life->events[i].subject),
        .id = bytes_text(life->events[i].id),
        .who = bytes_text("ops"),
        .why = bytes_text("a test"),
        .has_properties = is_amend,
        .properties_count = is_amend ? to.event.properties_count : 0,
        .properties = is_amend ? to.event.properties[0] : bytes_of(NULL, 0),
    };
    succeed(ledger_correct(life->writing.ledger, &correction, &block, &error), &error);
    life->events[i].is_cancelled = !is_amend;
}

// Events of two days, corrections and cuts, some hours long. One subject's quarter hour has more
// distinct values than a cell keeps.
static void
life_go_on(struct life *life)
{
    struct writing *writing = &life->writing;
    struct error error = {0};
    for (int step = 0; step < 30; step++) {
        for (uint64_t n = writing_random(writing, 20); n > 0; n--)
            life_put(life, (int64_t)writing_random(writing, 172800) * SECOND_NS, (int64_t)n);
        writing_wait(writing);
        if (life->count > 0 && writing_random(writing, 2) == 0)
            life_correct(life);
        if (writing_random(writing, 6) == 0) {
            uint32_t number = 0;
            int64_t time_ns = writing_now_ns - (int64_t)writing_random(writing, 172800) * SECOND_NS;
            succeed(ledger_cut(writing->ledger, time_ns, &number, &error), &error);
        }
        writing_now_ns += 10 * MINUTE_NS;
    }
    for (int n = 0; n < 300; n++) {
        struct event_bytes event;
        char id[16];
        (void)snprintf(id, sizeof id, "u%u", life->serial++);
        event_make(&event, "many", id, 2 * n);
        (void)writing_put(writing, &event.event);
    }
    writing_wait(writing);
}

static void
life_reopen(struct life *life)
{
    writing_close(&life->writing);
    writing_now_ns += HOUR_NS;
    writing_open(&life->writing, NULL);
}

static void
put_meters(struct writing *writing, const char *prefix)
{
    for (int i = 0; i < AGGREGATION_KINDS; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%s_%d", prefix, i);
        put_meter(writing, key, (enum aggregation)i);
    }
}

// Meters that came one after another, through a restart in the middle and removals: state/ is what
// is made of the log from its first block on.
Test(meter_rebuild, slices_give_the_state_that_the_log_gives, .timeout = 120)
{
    struct life *life = calloc(1, sizeof *life);
    struct error error = {0};
    cr_assert_not_null(life);
    struct writing *writing = &life->writing;
    writing_begin(writing, 2);
    put_meters(writing, "early");
    writing_open(writing, NULL);
    life_go_on(life);
    put_meters(writing, "late");
    poll_meters(writing);
    life_reopen(life);  // with what there was time for
    life_go_on(life);
    put_meters(writing, "later");
    poll_meters(writing);
    put_meter(writing, "passing", AGGREGATION_UNIQUE_COUNT);
    poll_meters(writing);
    life_go_on(life);
    remove_meter(writing, "passing");
    remove_meter(writing, "early_1");
    poll_meters(writing);
    wait_metric(writing, "tally_ledger_rebuild_blocks_left", 0);
    writing_close(writing);
    operating_verify(writing->dir);
    const struct ledger_options idle = {.idle_flush_ns = 1000000};
    writing_open(writing, &idle);
    wait_purged(writing, 2);                          // early_1
    wait_purged(writing, 3 * AGGREGATION_KINDS + 1);  // passing
    writing_close(writing);
    const uint64_t grown = operating_state(writing->dir);
    struct rebuild_summary summary;
    const struct rebuild_options options = {
        .shard = REBUILD_ALL_SHARDS, .ledger = {.now_ns = test_now_ns}};
    succeed(rebuild_run(writing->dir, &options, &summary, &error), &error);
    cr_assert_eq(operating_state(writing->dir), grown, "as it grew, and of the log again");
    operating_verify(writing->dir);
    writing_end(writing);
    free(life);
}
