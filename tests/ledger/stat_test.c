#include "ledger/stat.h"

#include "base/clock.h"
#include "tests/ledger/reading.h"

#include <criterion/criterion.h>

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
    }
    reading_end(&reading);
}

Test(stat, no_ledger_is_not_found)
{
    scoped(arena_done) struct arena arena = {0};
    struct ledger_stat stat;
    struct error error = {0};
    cr_assert_eq(stat_read("/nonexistent/ledger", &arena, &stat, &error), STATUS_NOT_FOUND);
}
