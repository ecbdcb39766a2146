#include "ledger/stat.h"

#include "base/clock.h"
#include "ledger/block.h"
#include "ledger/shard_view.h"
#include "tests/ledger/reading.h"

#include <criterion/criterion.h>

#include <unistd.h>

static struct ledger_stat
read_stat(const struct reading *reading, struct arena *arena)
{
    struct ledger_stat stat;
    struct error error = {0};
    cr_assert_eq(stat_read(reading->dir, arena, &stat, &error), STATUS_OK, "%s", error.text);
    return stat;
}

static uint64_t
events_of(const struct ledger_stat *stat)
{
    uint64_t events = 0;
    for (uint32_t i = 0; i < stat->shards_count; i++)
        events += stat->shards[i].events;
    return events;
}

Test(stat, an_empty_ledger_has_nothing)
{
    struct reading reading;
    scoped(arena_done) struct arena arena = {0};
    reading_begin(&reading, 3);
    struct ledger_stat stat = read_stat(&reading, &arena);
    cr_assert_eq(stat.shards_count, 3);
    cr_assert_eq(stat.meters_count, 0);
    cr_assert_eq(events_of(&stat), 0);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(stat.shards[i].shard, i);
        cr_assert_eq(stat.shards[i].head, 0);
        cr_assert_eq(stat.shards[i].position, 0);
    }
    reading_end(&reading);
}

Test(stat, shows_what_is_flushed_and_what_is_not)
{
    struct reading reading;
    scoped(arena_done) struct arena arena = {0};
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_meter(&reading, "jobs");
    reading_put_random(&reading, 100);
    struct ledger_stat stat = read_stat(&reading, &arena);
    cr_assert_eq(events_of(&stat), 100);
    cr_assert_eq(stat.meters_count, 1);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_gt(stat.shards[i].head, 0);
        cr_assert_eq(stat.shards[i].position, 0, "nothing is flushed yet");
        cr_assert_eq(stat.shards[i].cells, 0);
    }
    reading_write_end(&reading);
    stat = read_stat(&reading, &arena);
    cr_assert_eq(events_of(&stat), 100);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(stat.shards[i].position, stat.shards[i].head);
        cr_assert_gt(stat.shards[i].cells, 0);
        cr_assert_eq(stat.shards[i].live_from[0], 1);
        cr_assert_gt(stat.shards[i].log.used_bytes, 0);
        cr_assert_geq(stat.shards[i].log.map_size, stat.shards[i].log.used_bytes);
        cr_assert_eq(stat.shards[i].first.sequence, 1);
        cr_assert_eq(stat.shards[i].last.sequence, stat.shards[i].head);
        cr_assert_eq(stat.shards[i].last.arrival_ns, READING_NOW_NS);
        cr_assert_leq(stat.shards[i].first.time_min_ns, stat.shards[i].first.time_max_ns);
        // The clock stood still, so all of it is recent.
        cr_assert_eq(stat.shards[i].recent_events, stat.shards[i].events);
        cr_assert_gt(stat.shards[i].recent_bytes, BLOCK_HEADER_SIZE * stat.shards[i].head);
        cr_assert_eq(stat.shards[i].log.oldest_reader_pid, 0);
    }
    reading_end(&reading);
}

Test(stat, counts_cells_by_width_and_knows_what_is_made)
{
    struct reading reading;
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    reading_begin(&reading, 2);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_meter(&reading, "jobs");
    reading_put_random(&reading, 200);
    reading_write_end(&reading);
    struct ledger_stat stat = read_stat(&reading, &arena);
    cr_assert_eq(stat_count_cells(reading.dir, &stat, &error), STATUS_OK, "%s", error.text);
    for (uint32_t i = 0; i < 2; i++) {
        const struct shard_stat *shard = &stat.shards[i];
        uint64_t sum = 0;
        for (int width = 0; width < STAT_WIDTHS; width++)
            sum += shard->cells_by_width[width];
        cr_assert_eq(sum, shard->cells);
        cr_assert_eq(shard->cells_by_width[0], 0);
        cr_assert_gt(shard->cells_by_width[CELL_DAY], 0);
        cr_assert_gt(shard->cells_by_width[CELL_HOUR], shard->cells_by_width[CELL_DAY]);
        const struct horizon *day = horizons_find(shard->horizons, CELL_DAY, 0);
        cr_assert_not_null(day);
        cr_assert_gt(day->made_s, READING_NOW_NS / SECOND_NS - 3 * 86400);
        cr_assert_leq(day->made_s, READING_NOW_NS / SECOND_NS);
    }
    reading_end(&reading);
}

// A snapshot that somebody keeps while the log grows on.
Test(stat, names_the_oldest_reader)
{
    struct reading reading;
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    struct shard_view view = {0};
    reading_begin(&reading, 1);
    reading_write_begin(&reading, HOUR_NS);
    reading_put_random(&reading, 10);
    reading_wait(&reading);
    cr_assert_eq(shard_view_open(reading.dir, 0, &view, &error), STATUS_OK, "%s", error.text);
    struct tx old = tx_read(view.log);
    uint64_t before = read_stat(&reading, &arena).shards[0].head;
    reading_put_random(&reading, 10);
    reading_wait(&reading);
    struct ledger_stat stat = read_stat(&reading, &arena);
    cr_assert_eq(stat.shards[0].log.oldest_reader_pid, (uint64_t)getpid());
    cr_assert_eq(stat.shards[0].log.oldest_reader_txns, stat.shards[0].head - before);
    tx_done(&old);
    shard_view_done(&view);
    reading_write_end(&reading);
    reading_end(&reading);
}

Test(stat, no_ledger_is_not_found)
{
    scoped(arena_done) struct arena arena = {0};
    struct ledger_stat stat;
    struct error error = {0};
    cr_assert_eq(stat_read("/nonexistent/ledger", &arena, &stat, &error), STATUS_NOT_FOUND);
}
