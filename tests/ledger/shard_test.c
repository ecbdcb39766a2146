#include "ledger/shard.h"

#include "ledger/log_reader.h"
#include "ledger/shard_view.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

// One shard without threads: groups are filled and processed by hand.
static const struct billing_zones no_zones = {0};

struct bench {
    struct writing writing;
    struct ledger_conf conf;
    struct shard *shard;
    struct meters meters;
    struct lane *lane;
    struct waker front, writer;
};

static const struct clock_policy policy = {
    .past_max_ns = 1000000000LL * 86400 * 35, .future_max_ns = 1000000000LL * 300};

static void
bench_open(struct bench *bench, uint64_t generation)
{
    struct error error = {0};
    struct registry *registry;
    struct meter *list;
    uint32_t count;
    bench->shard = calloc(1, sizeof *bench->shard);
    cr_assert_not_null(bench->shard);
    succeed(ledger_conf_read(bench->writing.dir, &bench->conf, &error), &error);
    succeed(registry_open(bench->writing.dir, &registry, &error), &error);
    bench->meters = (struct meters){.generation = generation};
    enum status status = registry_list(registry, &bench->meters.arena, &list, &count, &error);
    succeed(status, &error);
    bench->meters.set = meter_set_make(list, count, &bench->meters.arena);
    registry_close(registry);
    const struct shard_options options = {
        .dir = bench->writing.dir,
        .shards = 1,
        .map_size = bench->conf.map_size,
        .secret = &bench->conf.secret,
        .zones = &no_zones,
    };
    succeed(shard_open(bench->shard, &options, &error), &error);
    shard_adopt(bench->shard, &bench->meters);
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
bench_begin(struct bench *bench)
{
    struct error error = {0};
    writing_begin(&bench->writing, 1);
    writing_meter(&bench->writing, "n", "llm", AGGREGATION_SUM);
    bench->lane = aligned_alloc(RING_CACHE_LINE, sizeof *bench->lane);
    cr_assert_not_null(bench->lane);
    memset(bench->lane, 0, sizeof *bench->lane);
    succeed(waker_init(&bench->front, &error), &error);
    succeed(waker_init(&bench->writer, &error), &error);
    succeed(lane_init(bench->lane, 1 << 20, 1000, &error), &error);
    bench->lane->front = &bench->front;
    bench->lane->writer = &bench->writer;
    bench_open(bench, 1);
}

static void
bench_end(struct bench *bench)
{
    bench_close(bench);
    lane_done(bench->lane);
    free(bench->lane);
    waker_done(&bench->front);
    waker_done(&bench->writer);
    writing_end(&bench->writing);
}

// Puts count events with ids from first on into a group and judges it.
static struct group *
fill(struct bench *bench, int first, int count, struct survivors *survivors)
{
    struct group *group = lane_group(bench->lane, 1);
    cr_assert_not_null(group);
    for (int i = first; i < first + count; i++) {
        struct event_bytes event;
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        event_make(&event, "s", id, i);
        cr_assert(group_put(
            group,
            &event.event,
            hash64(event.event.subject, 0),
            writing_now_ns,
            (struct receipt){0},
            &bench->conf.secret));
    }
    lane_offer(bench->lane);
    group = lane_take(bench->lane);
    cr_assert_not_null(group);
    struct error error = {0};
    succeed(shard_judge(bench->shard, group, &policy, writing_now_ns, survivors, &error), &error);
    return group;
}

static void
finish(struct bench *bench, struct group *group)
{
    lane_answer(bench->lane, group);
    cr_assert_eq(lane_collect(bench->lane), group);
    lane_give_back(group);
    group_release(group);
}

static void
store(struct bench *bench, int first, int count)
{
    struct survivors survivors;
    struct error error = {0};
    struct group *group = fill(bench, first, count, &survivors);
    succeed(shard_store(bench->shard, group, &survivors, writing_now_ns, &error), &error);
    shard_fold(bench->shard, group, writing_now_ns);
    finish(bench, group);
}

Test(shard, copies_only_survivors_in_order)
{
    struct bench bench;
    struct error error = {0};
    bench_begin(&bench);
    store(&bench, 10, 5);
    store(&bench, 20, 3);
    // 8..60: survivors in three runs, one of which is longer than what is coded in a row.
    store(&bench, 8, 53);
    struct tx tx = tx_read(bench.shard->log);
    struct log_reader reader = {0};
    struct entry entry;
    succeed(log_open(&reader, &tx, 3, &error), &error);
    cr_assert_eq(reader.header.count, 45);
    for (int i = 8; i <= 60; i++) {
        char id[16];
        if ((i >= 10 && i < 15) || (i >= 20 && i < 23))
            continue;
        (void)snprintf(id, sizeof id, "%d", i);
        cr_assert(log_next(&reader, &entry));
        cr_assert(bytes_equal(entry.id, bytes_text(id)), "entry %d", i);
    }
    cr_assert_not(log_next(&reader, &entry));
    succeed(log_end(&reader, &error), &error);
    log_reader_done(&reader);
    tx_done(&tx);
    bench_end(&bench);
}

// What control writes: one of each kind, as one block between two blocks of events.
static void
put_kinds(struct buffer *raw)
{
    const struct entry_note note = {
        .who = bytes_text("ann"), .why = bytes_text("a mistake"), .block = 1};
    for (int kind = ENTRY_CANCEL; kind <= ENTRY_CUT; kind++) {
        struct entry entry = {.kind = (enum entry_kind)kind, .time_ns = 5, .note = note};
        if (kind == ENTRY_CANCEL || kind == ENTRY_AMEND) {
            entry.subject = bytes_text("s");
            entry.type = bytes_text("llm");
            entry.id = bytes_text("1");
        } else if (kind != ENTRY_CUT) {
            entry.batch = bytes_text("b");
        }
        if (kind == ENTRY_AMEND)
            entry.note.amended.type = bytes_text("llm");
        if (kind == ENTRY_BATCH_OPEN || kind == ENTRY_BATCH_CLOSE || kind == ENTRY_CUT)
            entry.note.block = 0;
        if (kind == ENTRY_BATCH_REVERT)
            entry.note.index = 9;
        if (kind == ENTRY_CUT)
            entry.note.cut = 1;
        uint8_t *at = buffer_reserve(raw, entry_raw_size(&entry));
        cr_assert_not_null(at);
        entry_put(&entry, at);
        buffer_commit(raw, entry_raw_size(&entry));
    }
}

Test(shard, appends_entries_of_every_kind)
{
    struct bench bench;
    struct error error = {0};
    struct buffer raw = {0};
    bench_begin(&bench);
    store(&bench, 0, 2);
    put_kinds(&raw);
    succeed(shard_append(bench.shard, buffer_view(&raw), writing_now_ns, &error), &error);
    store(&bench, 10, 2);
    bench_close(&bench);
    bench_open(&bench, 2);
    cr_assert_eq(bench.shard->head, 3);
    cr_assert_eq(dedup_stat(bench.shard->dedup).ids, 4, "only events have identities");
    struct log_reader reader = {0};
    struct entry entry;
    struct tx tx = tx_read(bench.shard->log);
    succeed(log_open(&reader, &tx, 2, &error), &error);
    cr_assert_eq(reader.header.count, 6);
    for (int kind = ENTRY_CANCEL; kind <= ENTRY_CUT; kind++) {
        cr_assert(log_next(&reader, &entry));
        cr_assert_eq(entry.kind, (enum entry_kind)kind);
        cr_assert(bytes_equal(entry.note.who, bytes_text("ann")));
    }
    cr_assert_not(log_next(&reader, &entry));
    succeed(log_end(&reader, &error), &error);
    log_reader_done(&reader);
    tx_done(&tx);
    buffer_done(&raw);
    bench_end(&bench);
}

Test(shard, stores_no_block_for_nobody)
{
    struct bench bench;
    bench_begin(&bench);
    store(&bench, 0, 4);
    store(&bench, 0, 4);
    cr_assert_eq(bench.shard->head, 1);
    cr_assert_eq(metric_get(&bench.shard->metrics[SHARD_COMMITS]), 1);
    cr_assert_eq(metric_get(&bench.shard->metrics[SHARD_DUPLICATE]), 4);
    bench_end(&bench);
}

Test(shard, flush_and_fold_add_up_at_every_cut)
{
    // Flushed after each number of blocks, reopened in between: the cells are the same.
    for (int cut = 0; cut <= 4; cut++) {
        struct bench bench;
        struct error error = {0};
        bench_begin(&bench);
        for (int i = 0; i < 4; i++) {
            if (i == cut)
                succeed(shard_flush(bench.shard, &error), &error);
            store(&bench, i * 10, 10);
        }
        // A crash: nothing more is flushed.
        bench_close(&bench);
        bench_open(&bench, 2);
        cr_assert_eq(bench.shard->head, 4);
        cr_assert_eq(bench.shard->flushed, (uint64_t)(cut < 4 ? cut : 0));
        cr_assert_eq(dedup_stat(bench.shard->dedup).ids, 40);
        succeed(shard_flush(bench.shard, &error), &error);
        cr_assert_eq(bench.shard->flushed, 4);
        cr_assert_eq(bench.shard->tail_bytes, 0);
        cr_assert_eq(cells_count(bench.shard->cells), 0);
        struct cell_total total = writing_cells(&bench.writing, 1);
        cr_assert_eq(total.count, 40);
        cr_assert_eq(total.cells, 2, "two regions");
        cr_assert(total.sum.units == decimal_from_int(39 * 40 / 2).units);
        bench_end(&bench);
    }
}

// Cells dropped and folded again from the log are the same, bit for bit.
static void
state_bytes(struct bench *bench, struct buffer *out)
{
    struct error error = {0};
    struct tx tx = tx_read(bench->shard->state);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        buffer_bytes(out, walk.key);
        buffer_bytes(out, walk.value);
    }
    walk_done(&walk);
    succeed(tx_check(&tx, &error), &error);
    tx_done(&tx);
}

Test(shard, rebuilds_its_state_bit_for_bit)
{
    struct bench bench;
    struct error error = {0};
    struct buffer before = {0};
    struct buffer after = {0};
    bench_begin(&bench);
    for (int i = 0; i < 5; i++) {
        store(&bench, i * 20, 20);
        if (i % 2 == 0)
            succeed(shard_flush(bench.shard, &error), &error);
    }
    succeed(shard_flush(bench.shard, &error), &error);
    state_bytes(&bench, &before);
    struct tx tx = tx_write(bench.shard->state);
    tx_clear(&tx, STATE_DB_CELLS);
    tx_clear(&tx, STATE_DB_META);
    succeed(tx_commit(&tx, &error), &error);
    bench_close(&bench);
    bench_open(&bench, 2);
    cr_assert_eq(bench.shard->flushed, 0);
    succeed(shard_flush(bench.shard, &error), &error);
    state_bytes(&bench, &after);
    cr_assert_gt(before.size, 0);
    cr_assert(bytes_equal(buffer_view(&before), buffer_view(&after)));
    buffer_done(&before);
    buffer_done(&after);
    bench_end(&bench);
}

Test(shard, flush_names_a_damaged_cell_and_changes_nothing)
{
    struct bench bench;
    struct error error = {0};
    bench_begin(&bench);
    store(&bench, 0, 1);
    succeed(shard_flush(bench.shard, &error), &error);
    struct tx tx = tx_write(bench.shard->state);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    cr_assert(walk_first(&walk));
    struct buffer value = {0};
    buffer_bytes(&value, walk.value);
    value.data[9] ^= 4;
    walk_put(&walk, buffer_view(&value));
    walk_done(&walk);
    succeed(tx_commit(&tx, &error), &error);
    store(&bench, 2, 1);
    cr_assert_eq(shard_flush(bench.shard, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "meter 1, subject s"), "%s", error.text);
    cr_assert_eq(bench.shard->flushed, 1);
    cr_assert_eq(cells_count(bench.shard->cells), 1);
    buffer_done(&value);
    bench_end(&bench);
}

Test(shard, remembers_from_where_on_a_meter_is_live)
{
    struct bench bench;
    struct error error = {0};
    bench_begin(&bench);
    store(&bench, 0, 1);
    store(&bench, 1, 1);
    cr_assert_eq(shard_live_from(bench.shard, 1), 1);
    cr_assert_eq(shard_live_from(bench.shard, 2), 0);
    succeed(shard_flush(bench.shard, &error), &error);
    store(&bench, 2, 1);
    bench_close(&bench);
    // Made while nobody wrote: complete from the first block that is folded with it.
    writing_meter(&bench.writing, "late", "llm", AGGREGATION_COUNT);
    bench_open(&bench, 2);
    cr_assert_eq(shard_live_from(bench.shard, 1), 1);
    cr_assert_eq(shard_live_from(bench.shard, 2), 3);
    succeed(shard_flush(bench.shard, &error), &error);
    cr_assert_eq(writing_cells(&bench.writing, 2).count, 1);
    bench_close(&bench);
    bench_open(&bench, 3);
    cr_assert_eq(shard_live_from(bench.shard, 2), 3);
    bench_end(&bench);
}

// The hash of the last identity is made late: when the next event comes, or the group is offered.
Test(shard, a_lane_offers_every_identity)
{
    struct bench bench;
    bench_begin(&bench);
    for (int i = 0; i < 9; i++) {
        struct event_bytes event;
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        event_make(&event, "s", i % 3 == 1 ? "" : id, i);
        struct group *group = lane_group(bench.lane, 1);
        cr_assert(group_put(
            group,
            &event.event,
            hash64(event.event.subject, 0),
            writing_now_ns,
            (struct receipt){0},
            &bench.conf.secret));
        // Every other time it is taken back, to be added to.
        if (i % 2 == 0)
            lane_offer(bench.lane);
    }
    lane_offer(bench.lane);
    struct group *group = lane_take(bench.lane);
    cr_assert_not_null(group);
    cr_assert_eq(group->count, 9);
    for (uint32_t i = 0; i < group->count; i++) {
        const struct group_item *item = &group->items[i];
        struct cursor in = cursor_over(bytes_of(group->bytes + item->offset, item->size));
        struct entry entry;
        struct hash128 identity;
        cr_assert(entry_read(&in, &entry));
        cr_assert_eq(entry_identity(&entry, &bench.conf.secret, &identity), i % 3 != 1);
        cr_assert_eq(item->has_identity, i % 3 != 1);
        if (item->has_identity)
            cr_assert_eq(memcmp(&item->identity, &identity, sizeof identity), 0, "item %u", i);
    }
    finish(&bench, group);
    bench_end(&bench);
}

Test(shard, a_lane_gives_back_what_nobody_took)
{
    struct bench bench;
    struct event_bytes event;
    bench_begin(&bench);
    event_make(&event, "s", "a", 1);
    struct group *first = lane_group(bench.lane, 1);
    cr_assert(group_put(
        first,
        &event.event,
        hash64(event.event.subject, 0),
        writing_now_ns,
        (struct receipt){0},
        &bench.conf.secret));
    lane_offer(bench.lane);
    cr_assert_eq(lane_group(bench.lane, 1), first, "taken back");
    cr_assert_eq(first->count, 1);
    lane_offer(bench.lane);
    cr_assert_eq(lane_take(bench.lane), first);
    struct group *second = lane_group(bench.lane, 1);
    cr_assert_neq(second, first);
    cr_assert_eq(second->count, 0);
    // Answered but not folded yet: not to be filled.
    lane_answer(bench.lane, first);
    cr_assert_eq(lane_collect(bench.lane), first);
    lane_give_back(first);
    cr_assert_eq(lane_drop_open(bench.lane), 0);
    second = lane_group(bench.lane, 1);
    cr_assert_neq(second, first);
    group_release(first);
    cr_assert_eq(lane_drop_open(bench.lane), 0);
    cr_assert_eq(lane_group(bench.lane, 1), first);
    bench_end(&bench);
}
