#include "base/clock.h"
#include "ledger/cell_state.h"
#include "ledger/shard_view.h"
#include "ledger/usage.h"
#include "tests/ledger/oracle.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

// The stream of all subjects: complete, exact, in the order of keys, from every source and mixture.

enum { SUBJECTS = 300 };

static struct reader *
open_reader(struct reading *reading)
{
    struct reader *reader;
    struct error error = {0};
    cr_assert_eq(reader_open(reading->dir, &reader, &error), STATUS_OK, "%s", error.text);
    return reader;
}

// Names of 1 to 255 bytes; the order by size is not that of their bytes.
static struct bytes
subject_name(uint64_t number, char out[256])
{
    size_t size = number % 17 == 0 ? 255 : 1 + (size_t)(number % 9);
    memset(out, (int)('a' + number % 26), size);
    for (size_t at = 0; at < size && at < 3; at++, number /= 36)
        out[at] = (char)('0' + number % 36);
    return bytes_of(out, size);
}

static void
put(struct reading *reading, struct bytes subject, int64_t time_ns)
{
    scoped(buffer_done) struct buffer properties = {0};
    char id[32];
    snprintf(id, sizeof id, "id-%d", (int)reading->serial++);
    struct event event = {
        .subject = subject,
        .type = bytes_text("llm"),
        .id = bytes_text(id),
        .time_ns = time_ns,
        .value = DECIMAL_ONE,
        .properties_runs = 1,
        .properties_count = 2,
    };
    pack_text(&properties, "tokens");
    pack_int(&properties, (int64_t)reading_random(reading, 1000) - 300);
    pack_text(&properties, "region");
    pack_text(&properties, reading_random(reading, 2) ? "eu" : "us");
    event.properties[0] = buffer_view(&properties);
    reading_put(reading, &event);
}

static void
put_many(struct reading *reading, int count)
{
    for (int i = 0; i < count; i++) {
        char name[256];
        const int64_t age_ns = (int64_t)reading_random(reading, 4 * 86400) * SECOND_NS;
        struct bytes subject = subject_name(reading_random(reading, SUBJECTS), name);
        put(reading, subject, READING_NOW_NS - age_ns);
        if (i % 50 == 0)
            reading_wait(reading);
    }
    reading_wait(reading);
}

static int
key_order(struct bytes a, struct bytes b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return memcmp(a.data, b.data, a.size);
}

struct collecting {
    struct arena *arena;
    struct usage_row *rows;
    size_t count, capacity;
    size_t stop_after;  // 0: never
};

static bool
collect(void *context, struct bytes subject, const struct usage_row *total)
{
    struct collecting *all = context;
    cr_assert(bytes_equal(subject, total->subject));
    cr_assert_lt(all->count, all->capacity);
    all->rows[all->count] = *total;
    all->rows[all->count].subject = arena_bytes(all->arena, subject);
    if (all->count > 0)
        cr_assert_lt(key_order(all->rows[all->count - 1].subject, subject), 0, "out of order");
    all->count++;
    return all->count != all->stop_after;
}

static int
row_order(const void *a, const void *b)
{
    const struct oracle_row *left = a;
    const struct oracle_row *right = b;
    return key_order(left->subject, right->subject);
}

static size_t
check(struct reading *reading, struct reader *reader, const struct usage_query *query)
{
    scoped(arena_done) struct arena arena = {0};
    struct oracle_row *rows;
    struct error error = {0};
    size_t count = oracle_rows(reading, query, &arena, &rows);
    struct collecting all = {.arena = &arena, .capacity = count};
    all.rows = arena_array(&arena, count, struct usage_row);
    if (count > 1)
        qsort(rows, count, sizeof *rows, row_order);
    enum status status = usage_stream(reader, query, collect, &all, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    cr_assert_eq(all.count, count, "%s: %zu subjects, not %zu", query->meter, all.count, count);
    for (size_t i = 0; i < count; i++) {
        char value[WIDE_TEXT_MAX];
        (void)usage_row_print(&all.rows[i], value);
        cr_assert(bytes_equal(all.rows[i].subject, rows[i].subject));
        cr_assert_str_eq(value, rows[i].value, "%s", query->meter);
        cr_assert_eq(all.rows[i].count, rows[i].count);
        cr_assert_eq(all.rows[i].from_ns, query->from_ns);
        cr_assert_eq(all.rows[i].to_ns, query->to_ns);
    }
    return count;
}

static void
check_all(struct reading *reading, struct reader *reader)
{
    const struct bytes eu = bytes_text("eu");
    const struct usage_filter in_eu = {
        .kind = USAGE_EQ, .dimension = "region", .values = &eu, .values_count = 1};
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        const int64_t from_ns = READING_NOW_NS - 3 * DAY_NS;
        struct usage_query query = {
            .meter = aggregation_name((enum aggregation)kind),
            .from_ns = from_ns,
            .to_ns = READING_NOW_NS - HOUR_NS,
        };
        cr_assert_gt(check(reading, reader, &query), 100);
        query.filter = &in_eu;
        cr_assert_gt(check(reading, reader, &query), 50);
        query.filter = NULL;
        query.from_ns++;  // from the log
        cr_assert_gt(check(reading, reader, &query), 100);
        char name[2][256];
        const struct bytes subjects[] = {subject_name(7, name[0]), subject_name(34, name[1])};
        query.from_ns--;
        query.subjects = subjects;
        query.subjects_count = 2;
        cr_assert_leq(check(reading, reader, &query), 2);
        query.subjects_count = 0;
        query.to_ns = query.from_ns;
        cr_assert_eq(check(reading, reader, &query), 0);
    }
}

Test(usage_totals, equal_the_dump_from_every_source)
{
    struct reading reading;
    reading_begin(&reading, 3);
    reading.seed = 31;
    reading_write_begin(&reading, HOUR_NS);
    put_many(&reading, 100);  // before the meters: from the log
    oracle_put_meters(&reading);
    put_many(&reading, 400);
    struct reader *reader = open_reader(&reading);
    check_all(&reading, reader);
    reading_write_end(&reading);
    check_all(&reading, reader);
    reading_write_begin(&reading, HOUR_NS);
    put_many(&reading, 200);
    check_all(&reading, reader);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(usage_totals, refuse_what_is_no_stream_and_stop_when_told)
{
    static const char *const by[] = {"region"};
    const struct usage_query refused[] = {
        {.meter = "count", .window = USAGE_WINDOW_DAY},
        {.meter = "count", .group_by = by,             .group_by_count = 1},
        {.meter = "count",                .is_merged = true                          },
    };
    struct reading reading;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct usage_row rows[5];
    struct collecting few = {.arena = &arena, .rows = rows, .capacity = 5, .stop_after = 5};
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    oracle_put_meters(&reading);
    put_many(&reading, 100);
    struct reader *reader = open_reader(&reading);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(
            usage_stream(reader, &refused[i], collect, &few, &error), STATUS_INVALID, "%zu", i);
    cr_assert_eq(usage_totals(reader, "nothing", 0, 1, collect, &few, &error), STATUS_NOT_FOUND);
    cr_assert_eq(
        usage_totals(reader, "count", INT64_MIN, INT64_MAX, collect, &few, &error), STATUS_OK);
    cr_assert_eq(few.count, 5);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// --- a flush while the stream is under way ---

struct meddling {
    struct collecting all;
    struct reading *reading;
    bool is_done;
};

// Once, after some subjects: events for everybody, which are flushed before the stream goes on, and
// then the end of the slice.
static bool
meddle(void *context, struct bytes subject, const struct usage_row *total)
{
    struct meddling *meddling = context;
    bool goes_on = collect(&meddling->all, subject, total);
    if (meddling->all.count < 20 || meddling->is_done)
        return goes_on;
    meddling->is_done = true;
    put_many(meddling->reading, 300);
    reading_wait_flushed(meddling->reading);
    int64_t slice_end_ns = clock_monotonic_ns() + 600 * 1000000LL;
    while (clock_monotonic_ns() < slice_end_ns)
        (void)poll(NULL, 0, 5);
    return goes_on;
}

static uint64_t
count_of(const struct oracle_row *rows, size_t count, struct bytes subject)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal(rows[i].subject, subject))
            return rows[i].count;
    return 0;
}

Test(usage_totals, a_flush_in_between_loses_and_doubles_nothing)
{
    const struct usage_query query = {.meter = "count", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct reading reading;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct oracle_row *before;
    struct oracle_row *after;
    reading_begin(&reading, 2);
    reading_write_begin(&reading, 10 * 1000000LL);
    oracle_put_meters(&reading);
    put_many(&reading, 600);
    reading_wait_flushed(&reading);
    struct reader *reader = open_reader(&reading);
    size_t before_count = oracle_rows(&reading, &query, &arena, &before);
    struct meddling meddling = {
        .all = {.arena = &arena, .capacity = 2 * SUBJECTS},
        .reading = &reading,
    };
    meddling.all.rows = arena_array(&arena, meddling.all.capacity, struct usage_row);
    enum status status = usage_stream(reader, &query, meddle, &meddling, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    cr_assert(meddling.is_done);
    size_t after_count = oracle_rows(&reading, &query, &arena, &after);
    cr_assert_geq(meddling.all.count, before_count);
    size_t newer = 0;
    for (size_t i = 0; i < meddling.all.count; i++) {
        const struct usage_row *row = &meddling.all.rows[i];
        uint64_t old_count = count_of(before, before_count, row->subject);
        uint64_t new_count = count_of(after, after_count, row->subject);
        cr_assert(row->count == old_count || row->count == new_count);
        newer += row->count != old_count;
        // From the next slice on all is seen.
        if (i >= 20 + 16)
            cr_assert_eq(row->count, new_count);
    }
    cr_assert_gt(newer, 10);
    reader_close(reader);
    reading_write_end(&reading);
    reading_end(&reading);
}

// --- cells that cannot answer ---

// One cell of a meter, of any width, in a copy. False: there are not so many.
static bool
cell_at(
    struct tx *tx,
    uint32_t meter_id,
    size_t index,
    struct arena *arena,
    struct bytes *out_key,
    struct bytes *out_value)
{
    scoped(walk_done) struct walk walk = walk_open(tx, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        cr_assert(cell_key_read(walk.key, &key));
        if (key.meter_id != meter_id || index-- > 0)
            continue;
        *out_key = arena_bytes(arena, walk.key);
        *out_value = arena_bytes(arena, walk.value);
        return true;
    }
    return false;
}

// Marks all cells of a MAX meter, and spoils what they hold.
static size_t
spoil_cells(struct reading *reading, uint32_t meter_id, uint8_t flag, bool spoils)
{
    const struct env_options options = {
        .map_size = 512 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    struct env *env;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer written = {0};
    char path[128];
    size_t count = 0;
    size_t derived = 0;
    struct bytes key;
    struct bytes value;
    snprintf(path, sizeof path, "%s/shards/0000/state", reading->dir);
    cr_assert_eq(env_open(path, &options, &env, &error), STATUS_OK, "%s", error.text);
    struct tx tx = tx_write(env);
    for (; cell_at(&tx, meter_id, count, &arena, &key, &value); count++) {
        struct cell_group group;
        struct cell_state state;
        cr_assert_eq(cell_value_read(key, value, AGGREGATION_MAX, &state, &group), STATUS_OK);
        derived += key.data[0] != CELL_QUARTER_HOUR;
        state.flags |= flag;
        if (spoils)
            state.extreme = decimal_from_int(999999);
        buffer_reset(&written);
        cell_value_write(key, AGGREGATION_MAX, &state, &group, &written);
        tx_put(&tx, STATE_DB_CELLS, key, buffer_view(&written));
    }
    cr_assert_eq(tx_commit(&tx, &error), STATUS_OK, "%s", error.text);
    env_close(env);
    cr_assert_gt(derived, 10);  // the stream reads the widest
    return count;
}

static uint64_t
blocks_read(struct reader *reader, const struct usage_query *query)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_result result;
    struct error error = {0};
    enum status status = usage_query(reader, query, &arena, &result, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    return result.blocks_read;
}

Test(usage_totals, dirty_and_capped_cells_leave_the_answer_to_the_log)
{
    static const char *const by[] = {"region"};
    struct usage_query query = {.meter = "max", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct reading reading;
    struct error error = {0};
    struct meter meter;
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    oracle_put_meters(&reading);
    put_many(&reading, 100);
    cr_assert_eq(registry_find(reading.registry, "max", &reading.arena, &meter, &error), STATUS_OK);
    reading_write_end(&reading);
    cr_assert_gt(spoil_cells(&reading, meter.id, CELL_CAPPED, false), 50);
    struct reader *reader = open_reader(&reading);
    cr_assert_eq(blocks_read(reader, &query), 0);
    cr_assert_gt(check(&reading, reader, &query), 50);
    query.group_by = by;
    query.group_by_count = 1;
    cr_assert_gt(blocks_read(reader, &query), 0);
    cr_assert_gt(oracle_check(&reading, reader, &query), 50);
    query.group_by_count = 0;
    reader_close(reader);
    cr_assert_gt(spoil_cells(&reading, meter.id, CELL_DIRTY, true), 50);
    reader = open_reader(&reading);
    cr_assert_gt(blocks_read(reader, &query), 0);
    cr_assert_gt(oracle_check(&reading, reader, &query), 50);
    cr_assert_gt(check(&reading, reader, &query), 50);
    reader_close(reader);
    reading_end(&reading);
}
