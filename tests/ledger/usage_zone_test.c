#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <stdio.h>

// Days and months of billing zones answer questions in these zones: other cells are deleted, and
// the answers stay.

static const char *const ZONE = "Asia/Kathmandu";  // 5:45 ahead of UTC

enum { EVENTS = 4 };

// Kathmandu's midnight.
static const int64_t TO_ITS_DAY_NS = 18 * 3600 * SECOND_NS + 900 * SECOND_NS;

// Around the UTC midnights after these days.
static const struct {
    struct civil day;
    int64_t after_midnight_ns;  // of Kathmandu
    int64_t n;
} events[EVENTS] = {
    {{.year = 2026, .month = 9, .day = 30},  300 * SECOND_NS,  1   },
    {{.year = 2026, .month = 10, .day = 15}, 7200 * SECOND_NS, 10  },
    {{.year = 2026, .month = 10, .day = 31}, -300 * SECOND_NS, 100 },
    {{.year = 2026, .month = 10, .day = 31}, 0,                1000}, // November
};

static int64_t
event_time_ns(size_t i)
{
    return civil_to_ns(events[i].day) + TO_ITS_DAY_NS + events[i].after_midnight_ns;
}

static void
fill(struct writing *writing)
{
    const char *const zones[] = {"America/New_York", ZONE};
    const struct ledger_options options = {
        .zones = zones,
        .zones_count = 2,
        .past_max_ns = 60 * DAY_NS,
        .dedup_window_ns = 90 * DAY_NS,
        .idle_flush_ns = INT64_MAX / 2,
    };
    writing_begin(writing, 1);
    writing_meter(writing, "tokens", "llm", AGGREGATION_SUM);
    writing_open(writing, &options);
    for (size_t i = 0; i < EVENTS; i++) {
        struct event_bytes event;
        char id[16];
        (void)snprintf(id, sizeof id, "e%zu", i);
        event_make(&event, "s", id, events[i].n);
        event.event.time_ns = event_time_ns(i);
        cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
    }
    writing_close(writing);
}

// Deletes the cells of zones, or all others but the months of UTC.
static uint32_t
keep_only(const struct writing *writing, bool keeps_zones)
{
    char path[128];
    struct env *env = NULL;
    struct error error = {0};
    uint32_t deleted = 0;
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    (void)snprintf(path, sizeof path, "%s/shards/0000/state", writing->dir);
    succeed(env_open(path, &options, &env, &error), &error);
    for (bool more = true; more;) {
        struct tx tx = tx_write(env);
        struct walk walk = walk_open(&tx, STATE_DB_CELLS);
        uint8_t bytes[CELL_KEY_MAX];
        size_t size = 0;
        for (more = walk_first(&walk); more; more = walk_next(&walk)) {
            // No month of UTC lies within one of Kathmandu.
            bool is_zone = walk.key.data[0] >= CELL_ZONE_DAY;
            if (is_zone != keeps_zones && walk.key.data[0] != CELL_MONTH)
                break;
        }
        if (more) {
            size = walk.key.size;
            memcpy(bytes, walk.key.data, size);
        }
        walk_done(&walk);
        if (more)
            deleted += tx_delete(&tx, STATE_DB_CELLS, bytes_of(bytes, size));
        succeed(tx_commit(&tx, &error), &error);
    }
    env_close(env);
    return deleted;
}

struct asked {
    size_t rows;
    int64_t sum;
    uint64_t blocks;
};

static struct usage_query
query_in_zone(enum usage_window window)
{
    // A month of Kathmandu, from its midnight to its midnight.
    const struct civil from = {.year = 2026, .month = 9, .day = 30};
    const struct civil to = {.year = 2026, .month = 10, .day = 31};
    return (struct usage_query){
        .meter = "tokens",
        .from_ns = civil_to_ns(from) + TO_ITS_DAY_NS,
        .to_ns = civil_to_ns(to) + TO_ITS_DAY_NS,
        .window = window,
        .zone = ZONE,
    };
}

static struct asked
ask(const struct writing *writing, const struct usage_query *query)
{
    struct error error = {0};
    struct arena arena = {0};
    struct reader *reader = NULL;
    struct usage_result result;
    struct asked asked = {0};
    succeed(reader_open(writing->dir, &reader, &error), &error);
    succeed(usage_query(reader, query, &arena, &result, &error), &error);
    for (size_t i = 0; i < result.count; i++)
        asked.sum += (int64_t)(result.rows[i].value.units / DECIMAL_ONE.units);
    asked.rows = result.count;
    asked.blocks = result.blocks_read;
    arena_done(&arena);
    reader_close(reader);
    return asked;
}

static bool
keep_total(void *context, struct bytes subject, const struct usage_row *total)
{
    cr_assert(bytes_equal(subject, bytes_text("s")));
    *(int64_t *)context = (int64_t)(total->value.units / DECIMAL_ONE.units);
    return true;
}

static int64_t
stream(const struct writing *writing, const struct usage_query *query)
{
    struct error error = {0};
    struct reader *reader = NULL;
    int64_t sum = 0;
    succeed(reader_open(writing->dir, &reader, &error), &error);
    succeed(usage_stream(reader, query, keep_total, &sum, &error), &error);
    reader_close(reader);
    return sum;
}

Test(usage_zone, days_and_months_of_a_billing_zone_answer)
{
    static const struct {
        enum usage_window window;
        size_t rows;
    } wanted[] = {
        {USAGE_WINDOW_NONE,  1},
        {USAGE_WINDOW_DAY,   3},
        {USAGE_WINDOW_MONTH, 1},
    };
    struct writing writing;
    fill(&writing);
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof wanted / sizeof wanted[0]; k++) {
            const struct usage_query query = query_in_zone(wanted[k].window);
            struct asked asked = ask(&writing, &query);
            cr_assert_eq(asked.rows, wanted[k].rows, "%d, %zu: %zu", i, k, asked.rows);
            cr_assert_eq(asked.sum, 111);
            cr_assert_eq(asked.blocks, 0);
        }
        const struct usage_query query = query_in_zone(USAGE_WINDOW_NONE);
        cr_assert_eq(stream(&writing, &query), 111);
        if (i == 0)
            cr_assert_gt(keep_only(&writing, true), 8);
    }
    writing_end(&writing);
}

Test(usage_zone, questions_in_other_zones_do_not_read_them)
{
    struct writing writing;
    struct usage_query query = query_in_zone(USAGE_WINDOW_MONTH);
    fill(&writing);
    cr_assert_gt(keep_only(&writing, false), 3);
    cr_assert_eq(ask(&writing, &query).sum, 0, "it wants those that are gone");
    query.zone = NULL;
    cr_assert_eq(ask(&writing, &query).sum, 111);
    query.zone = "Asia/Katmandu";  // the same by its old name, but not listed
    cr_assert_eq(ask(&writing, &query).sum, 111);
    query.zone = "Europe/Berlin";
    cr_assert_eq(ask(&writing, &query).sum, 111);
    writing_end(&writing);
}
