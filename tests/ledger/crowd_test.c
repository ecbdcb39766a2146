#include "ledger/crowd.h"

#include "base/clock.h"
#include "base/pack.h"
#include "ledger/rebuild.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <stdio.h>

// More groups than a window keeps: two ledgers get the same events, one of them with a small bound,
// and give the same answers.

enum { BOUND = 4, PROPERTIES_MAX = 64 };

static const char *const BY[] = {"region"};
static const int64_t WAIT_MAX_NS = 60 * 1000000000LL;

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

struct twins {
    struct writing few, many;
    int64_t day_ns;  // the start of one before yesterday
    uint32_t serial;
};

static void
meters_put(const struct writing *writing)
{
    struct error error = {0};
    struct registry *registry;
    succeed(registry_open(writing->dir, &registry, &error), &error);
    for (int i = 0; i < AGGREGATION_KINDS; i++) {
        enum aggregation aggregation = (enum aggregation)i;
        const struct meter meter = {
            .key = aggregation_name(aggregation),
            .event_type = "llm",
            .aggregation = aggregation,
            .value_property = aggregation == AGGREGATION_COUNT ? NULL : "$.n",
            .dimensions = {{"region", "$.region"}},
            .dimensions_count = 1,
        };
        succeed(registry_put(registry, &meter, writing_now_ns, NULL, &error), &error);
    }
    registry_close(registry);
}

static void
twins_open(struct twins *twins, int64_t idle_flush_ns)
{
    struct ledger_options options = {
        .keep_quarter_hours_ns = 3600 * SECOND_NS,
        .idle_flush_ns = idle_flush_ns,
        .groups_max = BOUND,
    };
    writing_open(&twins->few, &options);
    options.groups_max = 1000;
    writing_open(&twins->many, &options);
}

static void
twins_close(struct twins *twins)
{
    writing_close(&twins->few);
    writing_close(&twins->many);
}

static void
twins_begin(struct twins *twins)
{
    *twins = (struct twins){.serial = 0};
    writing_begin(&twins->few, 1);
    writing_begin(&twins->many, 1);
    twins->day_ns = writing_now_ns - 2 * DAY_NS;
    meters_put(&twins->few);
    meters_put(&twins->many);
}

static void
twins_end(struct twins *twins)
{
    writing_end(&twins->few);
    writing_end(&twins->many);
}

// An event of a region, so many minutes into the day.
static void
put(struct twins *twins, int64_t minute, uint32_t region, int64_t n)
{
    uint8_t bytes[PROPERTIES_MAX];
    char name[16];
    struct event_bytes event;
    struct buffer properties = {0};
    char id[24];
    (void)snprintf(id, sizeof id, "c%u", twins->serial++);
    (void)snprintf(name, sizeof name, "r%u", region);
    event_make(&event, "s", id, n);
    pack_text(&properties, "n");
    pack_int(&properties, n);
    pack_text(&properties, "region");
    pack_text(&properties, name);
    cr_assert_leq(properties.size, sizeof bytes);
    memcpy(bytes, properties.data, properties.size);
    event.event.properties[0] = bytes_of(bytes, properties.size);
    event.event.time_ns = twins->day_ns + minute * 60 * SECOND_NS;
    cr_assert_eq(writing_fate(&twins->few, &event.event), FATE_STORED);
    cr_assert_eq(writing_fate(&twins->many, &event.event), FATE_STORED);
    buffer_done(&properties);
}

static void
ask(const struct writing *writing,
    const struct usage_query *query,
    struct arena *arena,
    struct usage_result *out)
{
    struct error error = {0};
    struct reader *reader = NULL;
    succeed(reader_open(writing->dir, &reader, &error), &error);
    succeed(usage_query(reader, query, arena, out, &error), &error);
    reader_close(reader);
}

static void
check_same(const struct twins *twins, const struct usage_query *query)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_result few;
    struct usage_result many;
    ask(&twins->few, query, &arena, &few);
    ask(&twins->many, query, &arena, &many);
    cr_assert_gt(many.count, 0);
    cr_assert_eq(few.count, many.count, "%s: %zu and %zu", query->meter, few.count, many.count);
    for (size_t i = 0; i < few.count; i++) {
        const struct usage_row *a = &few.rows[i];
        const struct usage_row *b = &many.rows[i];
        char texts[2][WIDE_TEXT_MAX];
        (void)usage_row_print(a, texts[0]);
        (void)usage_row_print(b, texts[1]);
        cr_assert_str_eq(texts[0], texts[1], "%s, row %zu", query->meter, i);
        cr_assert_eq(a->count, b->count);
        cr_assert_eq(a->from_ns, b->from_ns);
        for (uint32_t k = 0; k < query->group_by_count; k++)
            cr_assert(bytes_equal(a->dimensions[k], b->dimensions[k]));
    }
}

// All aggregations, whole and by region, in all windows.
static void
check_answers(const struct twins *twins)
{
    static const enum usage_window windows[] = {
        USAGE_WINDOW_NONE, USAGE_WINDOW_HOUR, USAGE_WINDOW_DAY, USAGE_WINDOW_MONTH};
    for (int i = 0; i < AGGREGATION_KINDS; i++) {
        for (size_t k = 0; k < 2 * sizeof windows / sizeof windows[0]; k++) {
            const struct usage_query query = {
                .meter = aggregation_name((enum aggregation)i),
                .from_ns = twins->day_ns - DAY_NS,
                .to_ns = twins->day_ns + 2 * DAY_NS,
                .window = windows[k / 2],
                .group_by = BY,
                .group_by_count = k % 2,
            };
            check_same(twins, &query);
        }
    }
}

// Blocks that the one with the bound reads for some minutes of the day, by region.
static uint64_t
blocks_by_region(const struct twins *twins, int64_t from_minute, int64_t to_minute)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_result result;
    const struct usage_query query = {
        .meter = aggregation_name(AGGREGATION_SUM),
        .from_ns = twins->day_ns + from_minute * 60 * SECOND_NS,
        .to_ns = twins->day_ns + to_minute * 60 * SECOND_NS,
        .group_by = BY,
        .group_by_count = 1,
    };
    check_same(twins, &query);
    ask(&twins->few, &query, &arena, &result);
    return result.blocks_read;
}

// How many windows of the width are totals, and how many are not; of all meters.
static uint32_t
count_capped(const struct writing *writing, enum cell_width width, uint32_t *out_others)
{
    struct error error = {0};
    struct shard_view view = {0};
    uint32_t capped = 0;
    *out_others = 0;
    succeed(shard_view_open(writing->dir, 0, &view, &error), &error);
    struct tx tx = tx_read(view.state);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    struct cell_key last = {.meter_id = UINT32_MAX};
    uint32_t groups = 0;
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        cr_assert(cell_key_read(walk.key, &key));
        if (key.width != width)
            continue;
        bool is_next = key.meter_id != last.meter_id || key.start_s != last.start_s;
        groups = is_next ? 1 : groups + 1;
        cr_assert_leq(groups, BOUND);
        cr_assert(is_next || !crowd_is_total(last.group), "a total stands alone");
        cr_assert_eq(crowd_is_capped(&tx, &key), crowd_is_total(key.group));
        capped += crowd_is_total(key.group);
        *out_others += is_next && !crowd_is_total(key.group);
        last = key;
    }
    walk_done(&walk);
    tx_done(&tx);
    shard_view_done(&view);
    return capped;
}

static void
check_capped(const struct twins *twins, enum cell_width width, uint32_t capped, uint32_t others)
{
    uint32_t found = 0;
    cr_assert_eq(
        count_capped(&twins->few, width, &found), capped * AGGREGATION_KINDS, "width %d", width);
    cr_assert_eq(found, others * AGGREGATION_KINDS, "width %d", width);
    cr_assert_eq(count_capped(&twins->few, CELL_QUARTER_HOUR, &found), 0);
}

// Both as they grew, then made again from the log.
static void
check_rebuilt(const struct twins *twins)
{
    const struct writing *writings[] = {&twins->few, &twins->many};
    for (size_t i = 0; i < 2; i++) {
        const char *dir = writings[i]->dir;
        struct error error = {0};
        struct rebuild_summary summary;
        const struct rebuild_options options = {
            .shard = REBUILD_ALL_SHARDS,
            .ledger = {.now_ns = test_now_ns, .idle_flush_ns = INT64_MAX / 2},
        };
        uint64_t before = operating_state(dir);
        operating_verify(dir);
        succeed(rebuild_run(dir, &options, &summary, &error), &error);
        cr_assert_gt(summary.blocks, 0);
        cr_assert_eq(operating_state(dir), before);
        operating_verify(dir);
    }
}

// At the bound, one above it by a late event, and far above it with more values than a cell keeps.
static void
fill(struct twins *twins)
{
    for (uint32_t i = 0; i < BOUND; i++)
        put(twins, 60 + (int64_t)i, i, 10 + i);
    for (uint32_t i = 0; i < 300; i++)
        put(twins, 120 + i / 5, i % 11, 1000 - (int64_t)i);
    // Another day: no hour of it has too many, all together do.
    for (uint32_t i = 0; i < 3 * BOUND; i++)
        put(twins, -1440 + 60 * (int64_t)(i / BOUND), i, 7);
}

Test(crowd, a_window_with_too_many_groups_keeps_one_total)
{
    struct twins twins;
    twins_begin(&twins);
    twins_open(&twins, INT64_MAX / 2);
    fill(&twins);
    check_answers(&twins);
    twins_close(&twins);
    check_answers(&twins);
    check_capped(&twins, CELL_HOUR, 1, 4);
    check_capped(&twins, CELL_DAY, 2, 0);
    // The log is read for the hour that has a total alone, not for days whose hours have groups.
    cr_assert_eq(blocks_by_region(&twins, 60, 120), 0);
    cr_assert_gt(blocks_by_region(&twins, 120, 180), 0);
    cr_assert_eq(blocks_by_region(&twins, -1440, 0), 0);
    check_rebuilt(&twins);
    check_answers(&twins);
    twins_end(&twins);
}

static void
metric_wait(struct writing *writing, int64_t wanted)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MAX_NS;
    while (writing_metric(writing, "tally_ledger_groups_capped_total") < wanted) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "nothing was capped");
        (void)poll(NULL, 0, 1);
    }
}

Test(crowd, a_late_group_makes_a_total_of_what_had_groups)
{
    struct twins twins;
    twins_begin(&twins);
    twins_open(&twins, INT64_MAX / 2);
    for (uint32_t i = 0; i < BOUND; i++)
        put(&twins, 60 + (int64_t)i, i, 300 - (int64_t)i);
    twins_close(&twins);
    check_capped(&twins, CELL_HOUR, 0, 1);
    check_capped(&twins, CELL_DAY, 0, 1);
    // A group that is there already changes nothing.
    twins_open(&twins, INT64_MAX / 2);
    put(&twins, 61, 0, 77);
    twins_close(&twins);
    check_capped(&twins, CELL_HOUR, 0, 1);
    twins_open(&twins, 1);
    put(&twins, 62, BOUND, 5000);
    metric_wait(&twins.few, 2 * AGGREGATION_KINDS);
    cr_assert_eq(writing_metric(&twins.many, "tally_ledger_groups_capped_total"), 0);
    check_answers(&twins);
    // More of them, beside the total that is there.
    for (uint32_t i = 0; i < 300; i++)
        put(&twins, 63 + i % 20, i % 9, i);
    twins_close(&twins);
    check_answers(&twins);
    check_capped(&twins, CELL_HOUR, 1, 0);
    check_capped(&twins, CELL_DAY, 1, 0);
    cr_assert_gt(blocks_by_region(&twins, 60, 120), 0);
    check_rebuilt(&twins);
    check_answers(&twins);
    twins_end(&twins);
}

// What was made under another bound stays, and is right.
Test(crowd, another_bound_holds_for_what_comes)
{
    struct twins twins;
    twins_begin(&twins);
    twins_open(&twins, INT64_MAX / 2);
    fill(&twins);
    twins_close(&twins);
    struct ledger_options options = {.idle_flush_ns = INT64_MAX / 2, .groups_max = 1};
    writing_open(&twins.many, &options);
    options.groups_max = 1000;
    writing_open(&twins.few, &options);
    put(&twins, 200, 1, 5);
    put(&twins, 201, 2, 6);
    twins_close(&twins);
    check_answers(&twins);
    operating_verify(twins.few.dir);
    operating_verify(twins.many.dir);
    twins_end(&twins);
}

// Its totals of before are not added to those that are made anew.
Test(crowd, a_zone_that_comes_again_makes_its_totals_anew)
{
    static const char *const zones[] = {"Europe/Berlin"};
    struct twins twins;
    uint32_t others = 0;
    twins_begin(&twins);
    for (uint32_t i = 0; i < 3; i++) {
        struct ledger_options options = {
            .idle_flush_ns = INT64_MAX / 2,
            .groups_max = BOUND,
            .zones = zones,
            .zones_count = i != 1,
        };
        writing_open(&twins.few, &options);
        options.groups_max = 1000;
        writing_open(&twins.many, &options);
        if (i == 0)
            fill(&twins);
        else
            put(&twins, 300 + i, i, 5);
        twins_close(&twins);
        operating_verify(twins.few.dir);
    }
    cr_assert_eq(count_capped(&twins.few, CELL_ZONE_DAY, &others), 2 * AGGREGATION_KINDS);
    check_answers(&twins);
    twins_end(&twins);
}
