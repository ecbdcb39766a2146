#include "ledger/purge.h"

#include "ledger/shard_view.h"
#include "ledger/uniques.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <sys/stat.h>

// A state/ of its own with cells of some meters in several widths, written by hand.

struct bench {
    char dir[64];
    struct env *state;
};

static void
bench_begin(struct bench *bench)
{
    const struct env_options options = {
        .map_size = 256 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    struct error error = {0};
    temp_dir_make(bench->dir);
    succeed(env_open(bench->dir, &options, &bench->state, &error), &error);
}

static void
bench_end(struct bench *bench)
{
    env_close(bench->state);
    temp_dir_remove(bench->dir);
}

static void
put_cells(struct tx *tx, enum cell_width width, uint16_t zone, uint32_t meter_id, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[CELL_KEY_MAX];
        const struct cell_key key = {
            .width = width,
            .zone = zone,
            .meter_id = meter_id,
            .start_s = (int64_t)i * 900,
            .subject = bytes_text("s"),
        };
        struct bytes written = bytes_of(bytes, cell_key_write(&key, bytes));
        tx_put(tx, STATE_DB_CELLS, written, bytes_text("a value"));
        if (i > 0)
            continue;
        struct cell_set set = {0};
        scoped(arena_done) struct arena arena = {0};
        for (uint64_t k = 1; k <= 25; k++)
            (void)cell_set_add(&set, (struct hash128){.low = k}, &arena);
        cr_assert_eq(uniques_put(tx, written, &set), 25);
    }
}

static void
put_meter(struct tx *tx, uint32_t meter_id)
{
    uint8_t key[STATE_METER_KEY_SIZE];
    uint8_t value[16];
    state_meter_key(meter_id, key);
    state_meta_write(bytes_of(key, sizeof key), 1, value);
    tx_put(tx, STATE_DB_META, bytes_of(key, sizeof key), bytes_of(value, sizeof value));
}

static uint64_t
count_cells(struct bench *bench, uint32_t meter_id)
{
    scoped(tx_done) struct tx tx = tx_read(bench->state);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    uint64_t count = 0;
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        cr_assert(cell_key_read(walk.key, &key));
        count += key.meter_id == meter_id;
    }
    walk_done(&walk);
    return count;
}

Test(purge, deletes_all_of_meters_without_a_record_and_nothing_else)
{
    static const struct {
        enum cell_width width;
        uint16_t zone;
    } kinds[] = {
        {CELL_QUARTER_HOUR, 0},
        {CELL_HOUR,         0},
        {CELL_DAY,          0},
        {CELL_MONTH,        0},
        {CELL_ZONE_DAY,     1},
        {CELL_ZONE_DAY,     2},
        {CELL_ZONE_MONTH,   2},
    };
    enum { KINDS = sizeof kinds / sizeof kinds[0], METERS = 7, CELLS = 300 };
    struct bench bench;
    struct error error = {0};
    bench_begin(&bench);
    struct tx tx = tx_write(bench.state);
    for (uint32_t id = 1; id <= METERS; id++) {
        for (size_t i = 0; i < KINDS; i++)
            put_cells(&tx, kinds[i].width, kinds[i].zone, id, CELLS);
        if (id % 2 == 0)
            put_meter(&tx, id);
    }
    put_cells(&tx, CELL_HOUR, 0, UINT32_MAX, 3);
    succeed(tx_commit(&tx, &error), &error);
    struct purge purge = {0};
    uint64_t deleted = 0;
    int slices = 0;
    for (purge_begin(&purge); purge.is_due; slices++) {
        uint64_t some = 0;
        succeed(purge_slice(&purge, bench.state, &some, &error), &error);
        cr_assert_leq(some, 1000, "a transaction is bounded");
        deleted += some;
    }
    cr_assert_eq(deleted, 4 * KINDS * CELLS + 3);
    cr_assert_gt(slices, 8);
    for (uint32_t id = 1; id <= METERS; id++)
        cr_assert_eq(count_cells(&bench, id), id % 2 == 0 ? KINDS * CELLS : 0);
    struct tx look = tx_read(bench.state);
    cr_assert_eq(tx_count(&look, STATE_DB_UNIQUES), 3 * KINDS * 25);
    tx_done(&look);
    bench_end(&bench);
}

Test(purge, an_empty_state_has_nothing_to_delete)
{
    struct bench bench;
    struct error error = {0};
    struct purge purge;
    uint64_t deleted = 1;
    bench_begin(&bench);
    purge_begin(&purge);
    succeed(purge_slice(&purge, bench.state, &deleted, &error), &error);
    cr_assert_not(purge.is_due);
    cr_assert_eq(deleted, 0);
    bench_end(&bench);
}

Test(purge, a_key_that_is_none_is_named)
{
    struct bench bench;
    struct error error = {0};
    struct purge purge;
    uint64_t deleted = 0;
    bench_begin(&bench);
    struct tx tx = tx_write(bench.state);
    tx_put(&tx, STATE_DB_CELLS, bytes_text("nonsense"), bytes_text("x"));
    succeed(tx_commit(&tx, &error), &error);
    purge_begin(&purge);
    cr_assert_eq(purge_slice(&purge, bench.state, &deleted, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "nonsense"), "%s", error.text);
    cr_assert_not(purge.is_due);
    bench_end(&bench);
}
