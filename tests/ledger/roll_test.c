// Derived windows against a naive sum: cells of quarter hours go in by flushes at moving times,
// with late ones, and what is on disk must be what the same events add up to by hour, day and
// month.

#include "ledger/roll.h"

#include "base/clock.h"
#include "ledger/cover.h"
#include "ledger/flush.h"
#include "ledger/shard_view.h"
#include "ledger/uniques.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_MAX = 8000, SUBJECTS = 5, GROUPS = 3 };

// 2026-03-27T00:00:00Z, so that Berlin's clock changes on the way.
static const int64_t BEGIN_S = 1774569600;

struct happening {
    uint32_t subject, group;
    int64_t value;
    int64_t time_s;
    uint32_t after;  // number of the last cut before it
    uint32_t index;
};

struct bench {
    char dir[64];
    struct env *state;
    struct cells *cells;
    struct arena arena;
    struct meter_set *set;
    struct billing_zones zones;
    struct retention retention;
    struct cuts cuts;
    struct happening *happenings;
    uint32_t count;
    uint64_t position;
    uint64_t seed;
    uint64_t betweens;
    uint64_t deaths;
    bool may_die;  // once in a roll
    bool never_dies;
};

static const struct meter meters[AGGREGATION_KINDS] = {
    {.key = "a", .event_type = "t", .aggregation = AGGREGATION_COUNT,        .id = 1},
    {.key = "b", .event_type = "t", .aggregation = AGGREGATION_SUM,          .id = 2},
    {.key = "c", .event_type = "t", .aggregation = AGGREGATION_MIN,          .id = 3},
    {.key = "d", .event_type = "t", .aggregation = AGGREGATION_MAX,          .id = 4},
    {.key = "e", .event_type = "t", .aggregation = AGGREGATION_AVG,          .id = 5},
    {.key = "f", .event_type = "t", .aggregation = AGGREGATION_UNIQUE_COUNT, .id = 6},
    {.key = "g", .event_type = "t", .aggregation = AGGREGATION_LATEST,       .id = 7},
    {.key = "h", .event_type = "t", .aggregation = AGGREGATION_WEIGHTED_SUM, .id = 8},
};

static uint64_t
next_random(struct bench *bench, uint64_t below)
{
    bench->seed = bench->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (bench->seed >> 33) % below;
}

static void
succeed(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

static void
bench_begin(struct bench *bench, const char *const *zones, uint32_t zones_count)
{
    struct error error = {0};
    *bench = (struct bench){.dir = "/tmp/tally-roll-XXXXXX", .seed = 5};
    cr_assert_not_null(mkdtemp(bench->dir));
    const struct env_options options = {
        .map_size = 256 << 20, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    succeed(env_open(bench->dir, &options, &bench->state, &error), &error);
    bench->cells = cells_open();
    bench->set = meter_set_make(meters, AGGREGATION_KINDS, &bench->arena);
    for (uint32_t i = 0; i < zones_count; i++)
        succeed(zone_open(bytes_text(zones[i]), &bench->zones.list[i], &error), &error);
    bench->zones.count = zones_count;
    bench->happenings = calloc(EVENTS_MAX, sizeof *bench->happenings);
    cr_assert_not_null(bench->happenings);
}

static int
remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

static void
bench_end(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->zones.count; i++)
        zone_close(&bench->zones.list[i]);
    cells_close(bench->cells);
    env_close(bench->state);
    arena_done(&bench->arena);
    free(bench->happenings);
    cr_assert_eq(nftw(bench->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void
group_name(uint32_t group, char out[8], struct cell_group *out_group)
{
    (void)snprintf(out, 8, "g%u", group);
    *out_group = (struct cell_group){.count = 1, .values = {bytes_text(out)}};
}

static struct cell_input
input_of(const struct happening *happening)
{
    return (struct cell_input){
        .value = decimal_from_int(happening->value),
        .time_ns = happening->time_s * SECOND_NS,
        .block = 1,
        .index = happening->index,
        .distinct = {.low = (uint64_t)happening->value + 7, .high = 3},
    };
}

static void
happen(struct bench *bench, int64_t time_s)
{
    struct happening *happening = &bench->happenings[bench->count];
    char subject[8];
    char group[8];
    cr_assert_lt(bench->count, EVENTS_MAX);
    *happening = (struct happening){
        .subject = (uint32_t)next_random(bench, SUBJECTS),
        .group = (uint32_t)next_random(bench, GROUPS),
        .value = (int64_t)next_random(bench, 100000) - 300,
        .time_s = time_s,
        .after = bench->cuts.count > 0 ? bench->cuts.list[bench->cuts.count - 1].number : 0,
        .index = bench->count,
    };
    bench->count++;
    (void)snprintf(subject, sizeof subject, "s%u", happening->subject);
    struct bytes name = bytes_text(subject);
    struct cells_subject *node = cells_subject(bench->cells, name, cells_hash(name));
    struct fold_step step = {
        .start_s = time_s / QUARTER_HOUR_S * QUARTER_HOUR_S, .input = input_of(happening)};
    step.epoch = cuts_epoch(&bench->cuts, step.start_s + QUARTER_HOUR_S, UINT32_MAX);
    group_name(happening->group, group, &step.group);
    step.group_hash = cell_group_hash(&step.group);
    for (size_t i = 0; i < AGGREGATION_KINDS; i++) {
        step.meter = &meters[i];
        cells_add(bench->cells, node, &step);
    }
}

static void
flush(struct bench *bench)
{
    struct error error = {0};
    struct shard_live live[AGGREGATION_KINDS];
    for (uint32_t i = 0; i < AGGREGATION_KINDS; i++)
        live[i] = (struct shard_live){.meter_id = meters[i].id, .from = 1};
    const struct flush_options options = {
        .state = bench->state,
        .cells = bench->cells,
        .position = ++bench->position,
        .live = live,
        .live_count = AGGREGATION_KINDS,
        .cuts = &bench->cuts,
        .zones = &bench->zones,
        .groups_max = bench->retention.groups_max,
    };
    succeed(flush_run(&options, &error), &error);
    cells_clear(bench->cells);
}

// Somebody dies between two transactions now and then.
static enum status
between(void *context, struct error *error)
{
    struct bench *bench = context;
    if (++bench->betweens % 41 != 0 || !bench->may_die || bench->never_dies)
        return STATUS_OK;
    bench->may_die = false;
    bench->deaths++;
    return error_set(error, STATUS_BUSY, "died");
}

static void
flush_and_roll(struct bench *bench, int64_t now_s)
{
    struct error error = {0};
    struct roll_result result;
    enum status status;
    flush(bench);
    const struct roll_options roll = {
        .state = bench->state,
        .meters = bench->set,
        .cuts = &bench->cuts,
        .zones = &bench->zones,
        .retention = bench->retention,
        .now_s = now_s,
        .between = between,
        .context = bench,
        .slice_puts = 1 + (uint32_t)(bench->betweens % 20),
    };
    bench->may_die = true;
    do {
        status = roll_run(&roll, &result, &error);
    } while (status == STATUS_BUSY);
    succeed(status, &error);
}

static void
read_horizons(struct bench *bench, struct tx *tx, struct horizons *out)
{
    struct error error = {0};
    succeed(horizons_read(tx, out, &error), &error);
    for (uint32_t i = 0; i < bench->zones.count; i++)
        (void)horizons_zone(out, bench->zones.list[i], false);
}

// Adds up the events of the key's window, subject, group and epoch.
static uint32_t
expect(
    struct bench *bench,
    const struct window_kind *kind,
    const struct cell_key *key,
    const struct meter *meter,
    struct cell_state *out)
{
    uint32_t seen = 0;
    int64_t end_s = window_end(kind, key->start_s);
    uint32_t subject = (uint32_t)(key->subject.data[1] - '0');
    uint32_t group = 0;
    for (; group < GROUPS; group++) {
        char name[8];
        struct cell_group values;
        group_name(group, name, &values);
        if (cell_group_hash(&values).low == key->group.low)
            break;
    }
    *out = (struct cell_state){0};
    for (uint32_t i = 0; i < bench->count; i++) {
        const struct happening *happening = &bench->happenings[i];
        if (happening->time_s < key->start_s || happening->time_s >= end_s ||
            happening->subject != subject || happening->group != group ||
            cuts_epoch(&bench->cuts, end_s, happening->after) != key->epoch)
            continue;
        struct cell_input input = input_of(happening);
        cell_add(meter->aggregation, out, &input, key->start_s, &bench->arena);
        seen++;
    }
    return seen;
}

// Every cell of the kind is what its events add up to, and no event is missing.
static void
check_kind(struct bench *bench, struct tx *tx, const struct horizon *horizon)
{
    static const struct cell_group nothing = {0};
    const struct window_kind *kind = &horizon->kind;
    uint64_t counted[AGGREGATION_KINDS] = {0};
    uint64_t wanted = 0;
    struct buffer a = {0};
    struct buffer b = {0};
    struct walk walk = walk_open(tx, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        struct cell_state state;
        struct cell_state folded;
        struct cell_group group;
        scoped(arena_done) struct arena scratch = {0};
        cr_assert(cell_key_read(walk.key, &key));
        if (key.width != kind->width || key.zone != kind->zone_number)
            continue;
        const struct meter *meter = &meters[key.meter_id - 1];
        cr_assert_eq(
            cell_value_read(walk.key, walk.value, meter->aggregation, &state, &group), STATUS_OK);
        cr_assert_geq(key.start_s, horizon->kept_s);
        counted[key.meter_id - 1] += expect(bench, kind, &key, meter, &folded);
        if (meter->aggregation == AGGREGATION_UNIQUE_COUNT) {
            if (state.flags & CELL_SPILLED) {
                struct cell_set set = {0};
                cr_assert_eq(
                    uniques_read(tx, walk.key, state.unique.spilled, &set, &scratch), STATUS_OK);
                state.unique = (struct cell_unique){.set = set};
                cell_unique_list(&state.unique, &scratch);
                state.flags = 0;
            }
            cell_unique_list(&folded.unique, &scratch);
        }
        buffer_reset(&a);
        buffer_reset(&b);
        cell_value_write(walk.key, meter->aggregation, &state, &nothing, &a);
        cell_value_write(walk.key, meter->aggregation, &folded, &nothing, &b);
        cr_assert(
            bytes_equal(buffer_view(&a), buffer_view(&b)),
            "width %d zone %u %s start %" PRId64 " epoch %u: %" PRId64 " and %" PRId64,
            key.width,
            key.zone,
            aggregation_name(meter->aggregation),
            key.start_s,
            key.epoch,
            state.count,
            folded.count);
    }
    walk_done(&walk);
    for (uint32_t i = 0; i < bench->count; i++) {
        int64_t start_s = window_start(kind, bench->happenings[i].time_s);
        bool is_made =
            kind->width == CELL_QUARTER_HOUR || window_end(kind, start_s) <= horizon->made_s;
        wanted += is_made && start_s >= horizon->kept_s;
    }
    for (size_t i = 0; i < AGGREGATION_KINDS; i++)
        cr_assert_eq(counted[i], wanted, "width %d, meter %zu", kind->width, i);
    buffer_done(&a);
    buffer_done(&b);
}

static void
check_all(struct bench *bench)
{
    struct horizons horizons;
    struct tx tx = tx_read(bench->state);
    read_horizons(bench, &tx, &horizons);
    for (uint32_t i = 0; i < horizons.count; i++) {
        if (horizons.list[i].kind.zone_number == 0 || horizons.list[i].kind.zone != NULL)
            check_kind(bench, &tx, &horizons.list[i]);
    }
    tx_done(&tx);
}

static const char *const zones[] = {"Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo"};

// Nine days over the end of a month, some events hours or days late.
static void
run_days(struct bench *bench, bool has_cuts)
{
    for (int64_t now_s = BEGIN_S; now_s < BEGIN_S + 9 * 86400; now_s += 7 * 3600 + 1234) {
        for (int i = 0; i < 12; i++) {
            int64_t late_s = (int64_t)next_random(bench, 10) == 0
                                 ? (int64_t)next_random(bench, 4 * 86400)
                                 : (int64_t)next_random(bench, 3600);
            happen(bench, now_s - late_s);
        }
        if (has_cuts && next_random(bench, 3) == 0) {
            const struct cut cut = {
                .number = bench->cuts.count + 1,
                .time_s = now_s - (int64_t)next_random(bench, 2 * 86400),
                .block = 1,
            };
            cuts_add(&bench->cuts, &cut, &bench->arena);
        }
        if (next_random(bench, 3) > 0)
            flush_and_roll(bench, now_s);
    }
    flush_and_roll(bench, BEGIN_S + 9 * 86400);
}

Test(roll, makes_hours_days_and_months_of_quarter_hours)
{
    struct bench bench;
    struct horizons horizons;
    bench_begin(&bench, zones, 3);
    run_days(&bench, false);
    check_all(&bench);
    struct tx tx = tx_read(bench.state);
    read_horizons(&bench, &tx, &horizons);
    cr_assert_eq(horizons.count, 4 + 6);
    cr_assert_eq(horizons_find(&horizons, CELL_HOUR, 0)->made_s, BEGIN_S + 9 * 86400);
    cr_assert_eq(horizons_find(&horizons, CELL_DAY, 0)->made_s, BEGIN_S + 9 * 86400);
    cr_assert_eq(horizons_find(&horizons, CELL_MONTH, 0)->made_s, BEGIN_S + 5 * 86400);
    cr_assert_eq(
        horizons_find(&horizons, CELL_ZONE_MONTH, 1)->made_s, BEGIN_S + 5 * 86400 - 2 * 3600);
    tx_done(&tx);
    bench_end(&bench);
}

Test(roll, keeps_the_epochs_of_cuts_apart)
{
    struct bench bench;
    bench_begin(&bench, zones, 2);
    run_days(&bench, true);
    cr_assert_gt(bench.cuts.count, 5);
    check_all(&bench);
    bench_end(&bench);
}

// Totals of windows with too many groups as well, to which what a death left would be added.
Test(roll, makes_the_same_windows_after_deaths)
{
    static struct bench benches[2];
    struct meter grouped[AGGREGATION_KINDS];
    for (size_t i = 0; i < AGGREGATION_KINDS; i++) {
        grouped[i] = meters[i];
        grouped[i].dimensions[0] = (struct meter_dimension){.name = "g", .path = "$.g"};
        grouped[i].dimensions_count = 1;
    }
    for (size_t i = 0; i < 2; i++) {
        struct bench *bench = &benches[i];
        bench_begin(bench, zones, 1);
        bench->set = meter_set_make(grouped, AGGREGATION_KINDS, &bench->arena);
        bench->retention.groups_max = 2;
        bench->never_dies = i == 0;
        run_days(bench, true);
    }
    cr_assert_eq(benches[0].deaths, 0);
    cr_assert_gt(benches[1].deaths, 2);
    static const uint32_t dbs[] = {STATE_DB_CELLS, STATE_DB_UNIQUES, STATE_DB_DIRTY};
    struct tx txs[2] = {tx_read(benches[0].state), tx_read(benches[1].state)};
    for (size_t i = 0; i < sizeof dbs / sizeof dbs[0]; i++) {
        struct walk walks[2] = {walk_open(&txs[0], dbs[i]), walk_open(&txs[1], dbs[i])};
        bool more = walk_first(&walks[0]);
        cr_assert_eq(walk_first(&walks[1]), more);
        while (more) {
            cr_assert(bytes_equal(walks[0].key, walks[1].key));
            cr_assert(bytes_equal(walks[0].value, walks[1].value));
            more = walk_next(&walks[0]);
            cr_assert_eq(walk_next(&walks[1]), more);
        }
        walk_done(&walks[0]);
        walk_done(&walks[1]);
    }
    for (size_t i = 0; i < 2; i++) {
        tx_done(&txs[i]);
        bench_end(&benches[i]);
    }
}

Test(roll, deletes_what_is_too_old_and_adds_late_events_to_what_is_left)
{
    struct bench bench;
    struct horizons horizons;
    bench_begin(&bench, zones, 3);
    bench.retention = (struct retention){.quarter_hours_s = 86400, .hours_s = 3 * 86400};
    run_days(&bench, false);
    for (int i = 0; i < 200; i++)
        happen(&bench, BEGIN_S + (int64_t)next_random(&bench, 9 * 86400));
    flush_and_roll(&bench, BEGIN_S + 9 * 86400);
    check_all(&bench);
    struct tx tx = tx_read(bench.state);
    read_horizons(&bench, &tx, &horizons);
    cr_assert_eq(horizons.list[0].kept_s, BEGIN_S + 8 * 86400);
    cr_assert_eq(horizons_find(&horizons, CELL_HOUR, 0)->kept_s, BEGIN_S + 6 * 86400);
    cr_assert_eq(horizons_find(&horizons, CELL_DAY, 0)->kept_s, 0);
    tx_done(&tx);
    bench_end(&bench);
}

// What thresholds rely on: with cells kept for no longer than they must, no UTC day or month is
// without.
Test(roll, every_day_and_month_has_cells)
{
    struct bench bench;
    bench_begin(&bench, zones, 1);
    bench.retention = (struct retention){.quarter_hours_s = 900, .hours_s = 3600};
    for (int64_t now_s = BEGIN_S; now_s < BEGIN_S + 9 * 86400; now_s += 3 * 3600 + 1234) {
        struct horizons horizons;
        happen(&bench, now_s - (int64_t)next_random(&bench, 3 * 86400));
        flush_and_roll(&bench, now_s);
        struct tx tx = tx_read(bench.state);
        read_horizons(&bench, &tx, &horizons);
        tx_done(&tx);
        for (int64_t at_s = BEGIN_S - 40 * 86400; at_s < now_s + 86400; at_s += 86400) {
            for (uint32_t i = 2; i < 4; i++) {
                const struct window_kind *kind = &horizons.list[i].kind;
                int64_t start_s = window_start(kind, at_s);
                const struct cover_question question = {
                    .from_s = start_s, .to_s = window_end(kind, start_s)};
                const struct cover cover = cover_make(&horizons, &question, &bench.arena);
                for (uint32_t k = 0; k < cover.count; k++)
                    cr_assert_not(cover.pieces[k].is_log, "%" PRId64 " at %" PRId64, at_s, now_s);
            }
        }
    }
    bench_end(&bench);
}

Test(roll, a_zone_may_come_go_and_come_again)
{
    struct bench bench;
    bench_begin(&bench, zones, 1);
    run_days(&bench, false);
    struct zone *berlin = bench.zones.list[0];
    bench.zones.count = 0;
    for (int i = 0; i < 50; i++)
        happen(&bench, BEGIN_S + (int64_t)next_random(&bench, 9 * 86400));
    flush_and_roll(&bench, BEGIN_S + 9 * 86400);
    bench.zones.list[0] = berlin;
    bench.zones.count = 1;
    flush_and_roll(&bench, BEGIN_S + 9 * 86400);
    check_all(&bench);
    bench_end(&bench);
}

// What was before the hours that are left has no days of the zone, also when nothing happened at
// their beginning.
Test(roll, a_zone_listed_late_begins_where_its_parts_do)
{
    struct bench bench;
    struct horizons horizons;
    bench_begin(&bench, zones, 2);
    bench.zones.count = 0;
    bench.retention = (struct retention){.quarter_hours_s = 86400, .hours_s = 3 * 86400};
    for (int i = 0; i < 50; i++)
        happen(&bench, BEGIN_S + (int64_t)next_random(&bench, 2 * 86400));
    flush_and_roll(&bench, BEGIN_S + 3 * 86400);
    for (int i = 0; i < 50; i++)
        happen(&bench, BEGIN_S + 8 * 86400 + (int64_t)next_random(&bench, 3 * 86400));
    flush_and_roll(&bench, BEGIN_S + 11 * 86400);
    bench.zones.count = 2;
    flush_and_roll(&bench, BEGIN_S + 11 * 86400);
    check_all(&bench);
    struct tx tx = tx_read(bench.state);
    read_horizons(&bench, &tx, &horizons);
    // Berlin's midnights are at 22:00 UTC; Kathmandu's, at 18:15, need quarter hours.
    cr_assert_eq(
        horizons_find(&horizons, CELL_ZONE_DAY, 1)->kept_s, BEGIN_S + 8 * 86400 + 22 * 3600);
    cr_assert_eq(horizons_find(&horizons, CELL_ZONE_DAY, 2)->kept_s, BEGIN_S + 10 * 86400 + 65700);
    tx_done(&tx);
    happen(&bench, BEGIN_S + 86400);
    happen(&bench, BEGIN_S + 9 * 86400);
    flush_and_roll(&bench, BEGIN_S + 11 * 86400);
    check_all(&bench);
    bench_end(&bench);
}

// Its cells from before are those of a time in which late events reached them.
Test(roll, a_zone_that_comes_again_keeps_no_older_cells)
{
    struct bench bench;
    bench_begin(&bench, zones, 1);
    for (int i = 0; i < 50; i++)
        happen(&bench, BEGIN_S + (int64_t)next_random(&bench, 2 * 86400));
    flush_and_roll(&bench, BEGIN_S + 3 * 86400);
    check_all(&bench);
    bench.retention = (struct retention){.quarter_hours_s = 86400, .hours_s = 3 * 86400};
    bench.zones.count = 0;
    flush_and_roll(&bench, BEGIN_S + 11 * 86400);
    bench.zones.count = 1;
    flush_and_roll(&bench, BEGIN_S + 11 * 86400);
    check_all(&bench);
    bench_end(&bench);
}

// Berlin by London's rules: a later tzdata that tells the past otherwise.
static struct zone *
other_berlin(void)
{
    struct error error = {0};
    struct zone *zone = NULL;
    uint8_t bytes[8192];
    FILE *file = fopen("/usr/share/zoneinfo/Europe/London", "rb");
    cr_assert_not_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    succeed(zone_parse(bytes_text("Europe/Berlin"), bytes_of(bytes, size), &zone, &error), &error);
    return zone;
}

Test(roll, a_zone_whose_clock_was_another_one_is_made_anew)
{
    struct bench bench;
    struct horizons horizons;
    bench_begin(&bench, zones, 2);
    run_days(&bench, true);
    check_all(&bench);
    struct zone *berlin = bench.zones.list[0];
    bench.zones.list[0] = other_berlin();
    // Until then nobody uses what is there; with the old clock it is as it was.
    struct tx tx = tx_read(bench.state);
    read_horizons(&bench, &tx, &horizons);
    const struct horizon *day = horizons_find(&horizons, CELL_ZONE_DAY, 1);
    cr_assert(day->is_other && day->made_s == 0);
    cr_assert_not(horizons_find(&horizons, CELL_ZONE_DAY, 2)->is_other);
    succeed(horizons_read(&tx, &horizons, &(struct error){0}), &(struct error){0});
    (void)horizons_zone(&horizons, berlin, false);
    cr_assert(!day->is_other && day->made_s > 0);
    tx_done(&tx);
    for (int i = 0; i < 50; i++)
        happen(&bench, BEGIN_S + (int64_t)next_random(&bench, 9 * 86400));
    flush(&bench);
    // From here on they lack events: the old clock is of no use any more.
    tx = tx_read(bench.state);
    succeed(horizons_read(&tx, &horizons, &(struct error){0}), &(struct error){0});
    (void)horizons_zone(&horizons, berlin, false);
    cr_assert_eq(day->made_s, 0);
    tx_done(&tx);
    flush_and_roll(&bench, BEGIN_S + 9 * 86400);
    check_all(&bench);
    tx = tx_read(bench.state);
    read_horizons(&bench, &tx, &horizons);
    cr_assert(!day->is_other && day->made_s > 0);
    // The first one again: it is as much another one now.
    succeed(horizons_read(&tx, &horizons, &(struct error){0}), &(struct error){0});
    (void)horizons_zone(&horizons, berlin, false);
    cr_assert(day->is_other);
    tx_done(&tx);
    zone_close(&berlin);
    bench_end(&bench);
}

// More distinct values than a cell keeps, gathered from parts that keep theirs.
Test(roll, spilled_values_are_gathered)
{
    struct bench bench;
    bench_begin(&bench, zones, 0);
    for (int i = 0; i < 6000; i++)
        happen(&bench, BEGIN_S + i / 2);
    flush_and_roll(&bench, BEGIN_S + 86400);
    check_all(&bench);
    for (int i = 0; i < 200; i++)
        happen(&bench, BEGIN_S + i * 10);
    flush_and_roll(&bench, BEGIN_S + 86400);
    check_all(&bench);
    bench_end(&bench);
}

// --- damage ---

// Flips a bit of the key wherever it lies in the file.
static void
flip_key(const struct bench *bench, struct bytes key, size_t bit)
{
    char path[128];
    struct stat stat;
    uint32_t flips = 0;
    (void)snprintf(path, sizeof path, "%s/data.mdb", bench->dir);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &stat), 0);
    size_t size = (size_t)stat.st_size;
    uint8_t *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(data, MAP_FAILED);
    for (uint8_t *at = data;
         (at = memmem(at, size - (size_t)(at - data), key.data, key.size)) != NULL;
         flips++)
        at[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    cr_assert_gt(flips, 0);
    (void)munmap(data, size);
    (void)close(fd);
}

static struct bytes
key_at(struct bench *bench, uint32_t number)
{
    struct tx tx = tx_read(bench->state);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    bool more = walk_first(&walk);
    for (uint32_t i = 0; i < number && more; i++)
        more = walk_next(&walk);
    struct bytes key = more ? arena_bytes(&bench->arena, walk.key) : (struct bytes){0};
    walk_done(&walk);
    tx_done(&tx);
    return key;
}

// Nothing is made of a window that lacks a cell, whichever it is.
Test(roll, refuses_what_a_damaged_key_hides)
{
    enum { NUMBERS = 60, NUMBER_STEP = 7, BIT_STEP = 13 };
    for (uint32_t number = 0; number < NUMBERS; number += NUMBER_STEP) {
        struct bench bench;
        struct error error = {0};
        struct roll_result result;
        bench_begin(&bench, zones, 1);
        for (int i = 0; i < 30; i++)
            happen(&bench, BEGIN_S + (int64_t)next_random(&bench, 4 * 3600));
        flush_and_roll(&bench, BEGIN_S);
        struct bytes key = key_at(&bench, number);
        cr_assert_gt(key.size, 0);
        flip_key(&bench, key, number * BIT_STEP % (key.size * 8));
        const struct roll_options roll = {
            .state = bench.state,
            .meters = bench.set,
            .cuts = &bench.cuts,
            .zones = &bench.zones,
            .now_s = BEGIN_S + 2 * 86400,
        };
        cr_assert_eq(roll_run(&roll, &result, &error), STATUS_CORRUPT, "cell %u", number);
        cr_assert_not_null(strstr(error.text, "is damaged"), "%s", error.text);
        bench_end(&bench);
    }
}

// The page of a cell says that it has an entry less.
static void
lose_entry(struct bench *bench, uint32_t number)
{
    enum { PAGE = 4096, LOWER = 12 };
    char path[128];
    uint64_t page_number;
    uint16_t lower;
    struct tx tx = tx_read(bench->state);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    bool more = walk_first(&walk);
    for (uint32_t i = 0; i < number && more; i++)
        more = walk_next(&walk);
    cr_assert(more);
    const uint8_t *page = walk.key.data - (uintptr_t)walk.key.data % PAGE;
    memcpy(&page_number, page, sizeof page_number);
    memcpy(&lower, page + LOWER, sizeof lower);
    walk_done(&walk);
    tx_done(&tx);
    lower = (uint16_t)(lower - 2);
    (void)snprintf(path, sizeof path, "%s/data.mdb", bench->dir);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, &lower, sizeof lower, (off_t)(page_number * PAGE + LOWER)), 2);
    (void)close(fd);
}

// Likewise, when the page has it no more.
Test(roll, refuses_what_a_damaged_page_hides)
{
    enum { NUMBERS = 400, NUMBER_STEP = 50 };
    for (uint32_t number = 0; number < NUMBERS; number += NUMBER_STEP) {
        struct bench bench;
        struct error error = {0};
        struct roll_result result;
        bench_begin(&bench, zones, 1);
        for (int i = 0; i < 300; i++)
            happen(&bench, BEGIN_S + (int64_t)next_random(&bench, 3600));
        flush_and_roll(&bench, BEGIN_S);
        lose_entry(&bench, number);
        const struct roll_options roll = {
            .state = bench.state,
            .meters = bench.set,
            .cuts = &bench.cuts,
            .zones = &bench.zones,
            .now_s = BEGIN_S + 2 * 86400,
        };
        struct horizons horizons;
        cr_assert_eq(roll_run(&roll, &result, &error), STATUS_CORRUPT, "cell %u", number);
        struct tx tx = tx_read(bench.state);
        read_horizons(&bench, &tx, &horizons);
        tx_done(&tx);
        cr_assert_leq(horizons.list[1].made_s, BEGIN_S, "nor is it told that it is made");
        bench_end(&bench);
    }
}
