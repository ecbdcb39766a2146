#include "ledger/block_hint.h"

#include "ledger/block_writer.h"
#include "ledger/group.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

// Events of two lanes go into the blocks of one writer, coded by what their fronts knew of them,
// and come back as they were.

enum {
    LANES = 2,
    MAPS = 3 * MEMO_SLOTS,  // more than a memo holds, so that numbers pass from map to map
    GROUP_EVENTS = 1500,
    ROUNDS = 24,
    PAIR_SIZE = 32,
};

static const int64_t NOW_NS = 1700000000000000000;

struct bench {
    struct lane *lanes[LANES];
    struct waker wakers[2];
    struct hash_secret secret;
    struct block_writer writer;
    struct word_list words;
    struct block_reader reader;
    uint64_t random;
    uint32_t coded;  // maps that were coded as a word
};

static void
ok(enum status status, const struct error *error)
{
    cr_assert_eq(status, STATUS_OK, "%s", error->text);
}

static void
bench_begin(struct bench *bench)
{
    struct error error = {0};
    *bench = (struct bench){.random = 1};
    random_fill(&bench->secret, sizeof bench->secret);
    for (int i = 0; i < 2; i++)
        ok(waker_init(&bench->wakers[i], &error), &error);
    for (int i = 0; i < LANES; i++) {
        bench->lanes[i] = aligned_alloc(RING_CACHE_LINE, sizeof *bench->lanes[i]);
        cr_assert_not_null(bench->lanes[i]);
        memset(bench->lanes[i], 0, sizeof *bench->lanes[i]);
        ok(lane_init(bench->lanes[i], 1 << 20, GROUP_EVENTS, &error), &error);
        bench->lanes[i]->front = &bench->wakers[0];
        bench->lanes[i]->writer = &bench->wakers[1];
    }
    ok(block_writer_open(&bench->writer, &error), &error);
    block_writer_resume(&bench->writer, 0, 0);
}

static void
bench_end(struct bench *bench)
{
    for (int i = 0; i < LANES; i++) {
        lane_done(bench->lanes[i]);
        free(bench->lanes[i]);
    }
    for (int i = 0; i < 2; i++)
        waker_done(&bench->wakers[i]);
    block_writer_done(&bench->writer);
    block_reader_done(&bench->reader);
    word_list_done(&bench->words);
}

static uint32_t
below(struct bench *bench, uint32_t limit)
{
    bench->random = bench->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(bench->random >> 33) % limit;
}

// Half of the events have one of a few maps.
static struct event
event_make(struct bench *bench, uint8_t pairs[PAIR_SIZE], char id[40])
{
    static const char *const subjects[] = {
        "customer-1", "customer-2", "s", "a subject of some length"};
    const uint32_t number = below(bench, 2) == 0 ? below(bench, 40) : below(bench, MAPS);
    memcpy(pairs, "\xa3key\xb9region-000000-and-some-more", PAIR_SIZE);
    (void)snprintf((char *)pairs + 12, 7, "%06u", number);
    pairs[18] = '-';
    (void)snprintf(id, 40, "%08x-0f8a-7cc0-8e2b-9c1d5f0a2b3c", below(bench, INT32_MAX));
    if (below(bench, 8) == 0)
        id[0] = "A{-x"[below(bench, 4)];
    struct event event = {
        .subject = bytes_text(subjects[below(bench, 4)]),
        .type = bytes_text("llm"),
        .id = bytes_text(below(bench, 8) == 0 ? "" : id),
        .chunk = bytes_text(below(bench, 2) == 0 ? "" : "0190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3c"),
        .value = DECIMAL_ONE,
        .time_ns = NOW_NS + below(bench, 1000),
        .properties_count = 1,
        .properties_runs = 1 + below(bench, 2),
        .properties = {bytes_of(pairs, PAIR_SIZE - 1)},
    };
    if (event.properties_runs == 2) {
        event.properties[0].size = 4;
        event.properties[1] = bytes_of(pairs + 4, PAIR_SIZE - 5);
    }
    return event;
}

static struct group *
group_fill(struct bench *bench, struct lane *lane)
{
    struct group *group = lane_group(lane, 1);
    cr_assert_not_null(group);
    for (uint32_t i = 0; i < GROUP_EVENTS; i++) {
        uint8_t pairs[PAIR_SIZE];
        char id[40];
        const struct event event = event_make(bench, pairs, id);
        const uint64_t hash = hash64(event.subject, 0);
        cr_assert(group_put(group, &event, hash, NOW_NS, (struct receipt){0}, &bench->secret));
    }
    lane_offer(lane);
    cr_assert_eq(lane_take(lane), group);
    return group;
}

static void
block_expect(struct bench *bench, struct bytes value, struct bytes raw)
{
    struct error error = {0};
    struct block_header header;
    struct cursor in = cursor_over(raw);
    ok(block_look(bench->writer.header.sequence, value, &header, &error), &error);
    if (header.chapter == header.sequence)
        word_list_reset(&bench->words);
    ok(block_learn(&header, value, &bench->words, &error), &error);
    ok(block_open(&bench->reader, &header, value, &bench->words, &error), &error);
    for (uint32_t i = 0; cursor_left(&in) > 0; i++) {
        struct entry expected, entry;
        cr_assert(entry_read(&in, &expected));
        cr_assert(block_next(&bench->reader, &entry), "entry %u", i);
        cr_assert(bytes_equal(entry.subject, expected.subject), "entry %u", i);
        cr_assert(bytes_equal(entry.id, expected.id), "entry %u", i);
        cr_assert_eq(entry.flags, expected.flags, "entry %u", i);
        cr_assert_eq(entry.properties_count, expected.properties_count, "entry %u", i);
        cr_assert(bytes_equal(entry.properties, expected.properties), "entry %u", i);
        bench->coded += block_trace(&bench->writer, i)->map != TRACE_NONE;
    }
}

static void
group_round_trip(struct bench *bench, struct lane *lane)
{
    struct error error = {0};
    struct group *group = group_fill(bench, lane);
    const struct bytes raw = bytes_of(group->bytes, group->size);
    size_t size;
    block_begin(&bench->writer, NOW_NS);
    block_add_known(&bench->writer, raw, group->hints, group->maps);
    ok(block_end(&bench->writer, &size, &error), &error);
    uint8_t *value = malloc(size);
    cr_assert_not_null(value);
    block_write(&bench->writer, value);
    block_expect(bench, bytes_of(value, size), raw);
    free(value);
    lane_answer(lane, group);
    cr_assert_eq(lane_collect(lane), group);
    lane_give_back(group);
    group_release(group);
}

Test(block_hint, events_come_back_however_maps_and_lanes_change)
{
    struct bench bench;
    bench_begin(&bench);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        // Another chapter now and then, whose words have other numbers.
        if (i % 6 == 5)
            block_writer_resume(&bench.writer, bench.writer.header.sequence, bench.writer.checksum);
        group_round_trip(&bench, bench.lanes[i % LANES]);
    }
    cr_assert_gt(bench.coded, ROUNDS * GROUP_EVENTS / 3, "maps are words");
    bench_end(&bench);
}

// What front and writer say of the same bytes.
Test(block_hint, says_what_the_event_says)
{
    struct bench bench;
    bench_begin(&bench);
    const struct group *group = group_fill(&bench, bench.lanes[0]);
    uint32_t uuids = 0, maps = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct group_item *item = &group->items[i];
        const struct block_hint *hint = &group->hints[i];
        struct cursor in = cursor_over(bytes_of(group->bytes + item->offset, item->size));
        struct entry entry;
        uint8_t uuid[UUID_SIZE];
        cr_assert(entry_read(&in, &entry));
        const bool is_id = (entry.flags & ENTRY_ID_IS_CHUNK) == 0;
        const bool is_uuid = is_id && uuid_parse(entry.id, uuid);
        cr_assert_eq(hint_is_uuid(hint), is_uuid, "event %u", i);
        cr_assert(!is_uuid || memcmp(hint->uuid, uuid, sizeof uuid) == 0, "event %u", i);
        uuids += is_uuid;
        maps += hint_map(hint) > 0;
    }
    cr_assert_gt(uuids, group->count / 2);
    cr_assert_lt(uuids, group->count);
    cr_assert_gt(maps, group->count / 2);
    bench_end(&bench);
}

// Each number is of one map for good, and the memo's look-up gives that of the same bytes.
Test(block_hint, no_map_gets_the_number_of_another)
{
    struct payload_memo *memo = payload_memo_open();
    cr_assert_not_null(memo);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < 4 * MEMO_SLOTS; i++) {
        uint8_t bytes[24] = "a map with a number in i";
        memcpy(bytes + 8, &i, sizeof i);
        const struct bytes map = bytes_of(bytes, sizeof bytes);
        struct memo_map found = {0};
        memo->luck = MEMO_SLOTS;
        struct memo_slot *place = payload_memo_place(memo, map, 1);
        cr_assert_not_null(place);
        cr_assert_not(payload_memo_find(memo, place, map, 1, &found));
        const uint64_t number = payload_memo_keep(memo, place, map, 1, i);
        cr_assert_gt(number >> MEMO_NUMBER_SHIFT, seen, "a later one is larger");
        seen = number >> MEMO_NUMBER_SHIFT;
        cr_assert(payload_memo_find(memo, place, map, 1, &found));
        cr_assert_eq(found.number, number);
        cr_assert_eq(found.hash, i);
    }
    payload_memo_close(memo);
}
