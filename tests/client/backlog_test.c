#include "client/backlog.h"

#include <criterion/criterion.h>

static const int64_t WALL_NS = 1763809200123456789;
enum { SMALL_EVENTS = 4 };

static struct backlog
backlog_new(size_t size, size_t batch_size, uint32_t batch_events)
{
    struct backlog backlog;
    const struct backlog_limits limits = {
        .size = size, .batch_size = batch_size, .batch_events = batch_events};
    cr_assert_eq(backlog_init(&backlog, &limits, NULL), STATUS_OK);
    return backlog;
}

// An entry of this many bytes, each with the lowest byte of the tag.
static bool
append(struct backlog *backlog, size_t size, uint64_t tag)
{
    static _Thread_local uint8_t bytes[ENCODE_SIZE_MAX];
    memset(bytes, (int)(tag & 0xff), size);
    const struct encoded entry = {bytes_of(bytes, size), ENCODE_HAS_ID, tag};
    bool is_taken = backlog_append(backlog, &entry, (int64_t)tag, WALL_NS);
    cr_assert(backlog_validate(backlog));
    return is_taken;
}

static void
assert_batch(const struct batch *batch, uint64_t first_tag, uint32_t count, size_t entry_size)
{
    cr_assert_not_null(batch);
    cr_assert_eq(batch->events_count, count);
    struct bytes events = backlog_events(batch);
    cr_assert_eq(events.size, count * entry_size);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(backlog_tag(batch, i), first_tag + i);
        for (size_t at = 0; at < entry_size; at++)
            cr_assert_eq(events.data[i * entry_size + at], (uint8_t)(first_tag + i));
    }
}

Test(backlog, seals_by_count)
{
    struct backlog backlog = backlog_new(BACKLOG_SIZE_MIN, 1 << 16, SMALL_EVENTS);
    cr_assert_null(backlog_take(&backlog));
    for (uint64_t tag = 0; tag < 9; tag++)
        cr_assert(append(&backlog, 100, tag));
    cr_assert_eq(backlog.sealed_count, 2);
    assert_batch(backlog_take(&backlog), 0, 4, 100);
    assert_batch(backlog_take(&backlog), 4, 4, 100);
    cr_assert_null(backlog_take(&backlog), "the third is open");
    backlog_seal(&backlog, WALL_NS);
    assert_batch(backlog_take(&backlog), 8, 1, 100);
    backlog_seal(&backlog, WALL_NS);
    cr_assert_eq(backlog.sealed_count, 3, "nothing to seal");
    backlog_done(&backlog);
}

Test(backlog, seals_by_size_and_takes_a_larger_event_alone)
{
    struct backlog backlog = backlog_new(1 << 20, 1000, 1000);
    cr_assert(append(&backlog, 400, 0));
    cr_assert(append(&backlog, 400, 1));
    cr_assert(append(&backlog, 400, 2));
    cr_assert(append(&backlog, 600, 3));
    cr_assert(append(&backlog, 5000, 4));
    cr_assert(append(&backlog, 1, 5));
    backlog_seal(&backlog, WALL_NS);
    assert_batch(backlog_take(&backlog), 0, 2, 400);
    const struct batch *mixed = backlog_take(&backlog);
    cr_assert_eq(mixed->events_size, 1000, "full to the last byte");
    assert_batch(backlog_take(&backlog), 4, 1, 5000);
    assert_batch(backlog_take(&backlog), 5, 1, 1);
    backlog_done(&backlog);
}

Test(backlog, takes_nothing_when_full_and_again_after_a_release)
{
    struct backlog backlog = backlog_new(BACKLOG_SIZE_MIN, 1 << 20, 10);
    uint64_t tag = 0;
    while (append(&backlog, 500, tag))
        tag++;
    size_t used = backlog.used_size;
    cr_assert_eq(backlog.events_count, tag);
    cr_assert_gt(used, tag * (500 + sizeof tag));
    cr_assert_leq(used, BACKLOG_SIZE_MIN);
    cr_assert_gt(used, BACKLOG_SIZE_MIN - 700, "full means full");
    cr_assert_not(append(&backlog, 500, tag));
    cr_assert_eq(backlog.used_size, used, "nothing was taken");
    cr_assert_eq(backlog.events_count, tag);
    struct batch *first = backlog_take(&backlog);
    struct batch *second = backlog_take(&backlog);
    backlog_release(&backlog, second);
    cr_assert_not(append(&backlog, 500, tag), "its place comes back behind the oldest's");
    backlog_release(&backlog, first);
    for (int i = 0; i < 10; i++)
        cr_assert(append(&backlog, 500, tag++), "room of the first two, around the end");
    backlog_done(&backlog);
}

Test(backlog, holds_the_largest_event_in_the_smallest_memory)
{
    struct backlog backlog = backlog_new(BACKLOG_SIZE_MIN, 1000, 10);
    cr_assert(append(&backlog, 700, 1));
    cr_assert_not(append(&backlog, ENCODE_SIZE_MAX, 2));
    backlog_seal(&backlog, WALL_NS);
    backlog_release(&backlog, backlog_take(&backlog));
    cr_assert_eq(backlog.used_size, 0);
    cr_assert(append(&backlog, ENCODE_SIZE_MAX, 2));
    assert_batch(backlog_take(&backlog), 2, 1, ENCODE_SIZE_MAX);
    backlog_done(&backlog);
}

Test(backlog, sends_again_in_order_what_was_not_released)
{
    struct backlog backlog = backlog_new(1 << 20, 1 << 16, 1);
    struct batch *taken[4];
    char chunk[UUID7_TEXT_SIZE];
    for (uint64_t tag = 0; tag < 5; tag++)
        cr_assert(append(&backlog, 50, tag));
    for (int i = 0; i < 4; i++)
        taken[i] = backlog_take(&backlog);
    memcpy(chunk, taken[0]->chunk, sizeof chunk);
    backlog_release(&backlog, taken[1]);
    backlog_release(&backlog, taken[3]);
    backlog_rewind(&backlog);
    cr_assert(backlog_validate(&backlog));
    const struct batch *again = backlog_take(&backlog);
    assert_batch(again, 0, 1, 50);
    cr_assert_eq(memcmp(again->chunk, chunk, sizeof chunk), 0, "the same chunk");
    cr_assert_eq(again->sends_count, 2);
    assert_batch(backlog_take(&backlog), 2, 1, 50);
    assert_batch(backlog_take(&backlog), 4, 1, 50);
    cr_assert_null(backlog_take(&backlog));
    backlog_done(&backlog);
}

Test(backlog, tells_what_is_settled)
{
    struct backlog backlog = backlog_new(1 << 20, 1 << 16, 1);
    cr_assert(backlog_is_settled(&backlog, 0));
    cr_assert(append(&backlog, 50, 0));
    cr_assert(append(&backlog, 50, 1));
    struct batch *first = backlog_take(&backlog), *second = backlog_take(&backlog);
    backlog_release(&backlog, second);
    cr_assert_not(backlog_is_settled(&backlog, 1));
    cr_assert_not(backlog_is_settled(&backlog, 2));
    backlog_release(&backlog, first);
    cr_assert(backlog_is_settled(&backlog, 2));
    backlog_done(&backlog);
}

Test(backlog, fills_missing_ids_that_rise_and_chunks_that_differ)
{
    struct backlog backlog = backlog_new(1 << 20, 1 << 16, 1);
    uint8_t bytes[60] = {0};
    struct encoded entry = {bytes_of(bytes, sizeof bytes), 10, 0};
    char before[UUID7_TEXT_SIZE] = {0}, chunk[UUID7_TEXT_SIZE] = {0};
    for (int i = 0; i < 100; i++) {
        cr_assert(backlog_append(&backlog, &entry, 0, WALL_NS));
        const struct batch *batch = backlog_take(&backlog);
        const uint8_t *id = backlog_events(batch).data + 10;
        cr_assert_lt(memcmp(before, id, sizeof before), 0);
        cr_assert_neq(memcmp(chunk, batch->chunk, sizeof chunk), 0);
        memcpy(before, id, sizeof before);
        memcpy(chunk, batch->chunk, sizeof chunk);
        cr_assert_eq(id[-1], 0);
        cr_assert_eq(id[UUID7_TEXT_SIZE], 0);
    }
    backlog_done(&backlog);
}

// A fixed sequence: a failure repeats itself.
static uint32_t
next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(*state >> 33);
}

enum { TAKEN_MAX = 64 };

struct walk {
    struct backlog backlog;
    struct batch *taken[TAKEN_MAX];
    uint32_t taken_count;
    uint64_t next_tag;
    uint64_t random;
};

static void
walk_step(struct walk *walk)
{
    struct backlog *backlog = &walk->backlog;
    uint32_t choice = next_random(&walk->random) % 100;
    if (choice < 70) {
        size_t size = 1 + next_random(&walk->random) % 3000;
        if (append(backlog, size, walk->next_tag))
            walk->next_tag++;
        else
            backlog_seal(backlog, WALL_NS);
    } else if (choice < 80 && walk->taken_count < TAKEN_MAX) {
        struct batch *batch = backlog_take(backlog);
        if (batch != NULL)
            walk->taken[walk->taken_count++] = batch;
    } else if (choice < 98 && walk->taken_count > 0) {
        uint32_t index = next_random(&walk->random) % walk->taken_count;
        struct batch *batch = walk->taken[index];
        struct bytes events = backlog_events(batch);
        // Its first and last byte are still those of its first and last event.
        cr_assert_eq(events.data[0], (uint8_t)backlog_tag(batch, 0));
        cr_assert_eq(
            events.data[events.size - 1], (uint8_t)backlog_tag(batch, batch->events_count - 1));
        backlog_release(backlog, batch);
        walk->taken[index] = walk->taken[--walk->taken_count];
    } else if (choice == 98) {
        backlog_rewind(backlog);
        walk->taken_count = 0;
    }
    cr_assert(backlog_validate(backlog));
}

Test(backlog, keeps_its_invariants_on_a_long_random_walk)
{
    struct walk walk = {.backlog = backlog_new(BACKLOG_SIZE_MIN, 9000, 7), .random = 20261122};
    for (int i = 0; i < 50000; i++)
        walk_step(&walk);
    cr_assert_gt(walk.next_tag, 1000, "it moved");
    backlog_seal(&walk.backlog, WALL_NS);
    backlog_rewind(&walk.backlog);
    for (struct batch *batch; (batch = backlog_take(&walk.backlog)) != NULL;)
        backlog_release(&walk.backlog, batch);
    cr_assert_eq(walk.backlog.used_size, 0);
    cr_assert_eq(walk.backlog.events_count, 0);
    backlog_done(&walk.backlog);
}
