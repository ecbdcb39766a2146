#include "ledger/cell_state.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static const int64_t START_S = 1700000100;

static struct cell_input
input_of(int64_t value, int64_t offset_s)
{
    return (struct cell_input){
        .value = decimal_from_int(value),
        .time_ns = (START_S + offset_s) * 1000000000,
        .arrival_ns = 5,
        .block = 1,
        .index = (uint32_t)offset_s,
        .distinct = {.low = (uint64_t)value + 1000, .high = 1},
    };
}

// A naive fold over a list, and the same events split over states that are merged in another order.
enum { EVENTS = 200 };

static uint64_t
next_random(uint64_t *seed, uint64_t below)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (*seed >> 33) % below;
}

static void
write_state(enum aggregation aggregation, struct cell_state state, struct buffer *out)
{
    static const struct cell_group nothing = {0};
    scoped(arena_done) struct arena arena = {0};
    if (aggregation == AGGREGATION_UNIQUE_COUNT)
        cell_unique_list(&state.unique, &arena);
    cell_value_write(bytes_text("key"), aggregation, &state, &nothing, out);
    cr_assert_not(buffer_failed(out));
}

Test(cell_state, does_not_depend_on_the_order)
{
    scoped(arena_done) struct arena arena = {0};
    uint64_t seed = 7;
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        enum aggregation aggregation = (enum aggregation)kind;
        struct cell_input inputs[EVENTS];
        struct cell_state whole = {0};
        struct cell_state parts[4] = {0};
        struct cell_state merged = {0};
        for (uint32_t i = 0; i < EVENTS; i++) {
            inputs[i] = input_of((int64_t)next_random(&seed, 50) - 25, (int64_t)i % 60);
            inputs[i].index = i;
            cell_add(aggregation, &whole, &inputs[i], START_S, &arena);
        }
        for (uint32_t i = EVENTS; i-- > 0;)
            cell_add(aggregation, &parts[next_random(&seed, 4)], &inputs[i], START_S, &arena);
        for (int i = 3; i >= 0; i--)
            cell_merge(aggregation, &merged, &parts[i], 0, &arena);
        struct buffer a = {0};
        struct buffer b = {0};
        write_state(aggregation, whole, &a);
        write_state(aggregation, merged, &b);
        cr_assert(
            bytes_equal(buffer_view(&a), buffer_view(&b)), "%s", aggregation_name(aggregation));
        buffer_done(&a);
        buffer_done(&b);
    }
}

Test(cell_state, has_the_value_of_its_aggregation)
{
    scoped(arena_done) struct arena arena = {0};
    const struct cell_input inputs[] = {input_of(5, 10), input_of(-3, 30), input_of(5, 20)};
    struct cell_state states[AGGREGATION_KINDS] = {0};
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        for (size_t i = 0; i < 3; i++)
            cell_add((enum aggregation)kind, &states[kind], &inputs[i], START_S, &arena);
        cr_assert_eq(states[kind].count, 3);
    }
    int128 units = 0;
    cr_assert(wide_to_int128(&states[AGGREGATION_SUM].sum.sum, &units));
    cr_assert(units == decimal_from_int(7).units);
    cr_assert(wide_to_int128(&states[AGGREGATION_AVG].sum.sum, &units));
    cr_assert(units == decimal_from_int(7).units);
    cr_assert(states[AGGREGATION_MIN].extreme.units == decimal_from_int(-3).units);
    cr_assert(states[AGGREGATION_MAX].extreme.units == decimal_from_int(5).units);
    cr_assert(states[AGGREGATION_LATEST].latest.value.units == decimal_from_int(-3).units);
    cr_assert_eq(states[AGGREGATION_UNIQUE_COUNT].unique.set.count, 2);
    struct wide moment =
        wide_multiply(DECIMAL_ONE.units, (5 * 10 - 3 * 30 + 5 * 20) * 1000000000LL);
    cr_assert_eq(wide_compare(&states[AGGREGATION_WEIGHTED_SUM].sum.moment, &moment), 0);
}

Test(cell_state, moments_move_with_the_window)
{
    scoped(arena_done) struct arena arena = {0};
    const struct cell_input input = input_of(-7, 100);
    struct cell_state quarter = {0};
    struct cell_state hour = {0};
    struct cell_state direct = {0};
    cell_add(AGGREGATION_WEIGHTED_SUM, &quarter, &input, START_S, &arena);
    cell_merge(AGGREGATION_WEIGHTED_SUM, &hour, &quarter, 900, &arena);
    cell_add(AGGREGATION_WEIGHTED_SUM, &direct, &input, START_S - 900, &arena);
    cr_assert_eq(wide_compare(&hour.sum.moment, &direct.sum.moment), 0);
    cr_assert_eq(wide_compare(&hour.sum.sum, &direct.sum.sum), 0);
}

Test(cell_state, ties_of_time_go_to_the_later_in_the_log)
{
    scoped(arena_done) struct arena arena = {0};
    struct cell_input first = input_of(1, 10);
    struct cell_input second = input_of(2, 10);
    struct cell_state state = {0};
    second.block = 2;
    second.index = 0;
    cell_add(AGGREGATION_LATEST, &state, &second, START_S, &arena);
    cell_add(AGGREGATION_LATEST, &state, &first, START_S, &arena);
    cr_assert_eq(state.latest.block, 2);
    first.block = 2;
    first.index = 1;
    cell_add(AGGREGATION_LATEST, &state, &first, START_S, &arena);
    cr_assert(state.latest.value.units == decimal_from_int(1).units);
}

Test(cell_state, takes_a_cancelled_event_back_or_is_marked)
{
    scoped(arena_done) struct arena arena = {0};
    struct cell_input kept = input_of(4, 5);
    struct cell_input gone = input_of(9, 50);
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        enum aggregation aggregation = (enum aggregation)kind;
        struct cell_state state = {0};
        struct cell_state wanted = {0};
        bool has_way_back = aggregation == AGGREGATION_COUNT || aggregation == AGGREGATION_SUM ||
                            aggregation == AGGREGATION_AVG ||
                            aggregation == AGGREGATION_WEIGHTED_SUM;
        cell_add(aggregation, &wanted, &kept, START_S, &arena);
        cell_add(aggregation, &state, &kept, START_S, &arena);
        cell_add(aggregation, &state, &gone, START_S, &arena);
        gone.is_cancel = true;
        cell_add(aggregation, &state, &gone, START_S, &arena);
        gone.is_cancel = false;
        cr_assert_eq(state.count, 1);
        cr_assert_eq((state.flags & CELL_DIRTY) == 0, has_way_back);
        if (!has_way_back)
            continue;
        struct buffer a = {0};
        struct buffer b = {0};
        write_state(aggregation, state, &a);
        write_state(aggregation, wanted, &b);
        cr_assert(bytes_equal(buffer_view(&a), buffer_view(&b)));
        buffer_done(&a);
        buffer_done(&b);
    }
}

Test(cell_state, marks_a_sum_beyond_a_quantity_and_takes_the_mark_back)
{
    scoped(arena_done) struct arena arena = {0};
    struct cell_state state = {0};
    struct cell_input input = input_of(INT64_MAX, 0);
    struct buffer out = {0};
    struct cell_group group;
    struct cell_state read;
    for (int i = 0; i < 20; i++)
        cell_add(AGGREGATION_SUM, &state, &input, START_S, &arena);
    write_state(AGGREGATION_SUM, state, &out);
    cr_assert_eq(
        cell_value_read(bytes_text("key"), buffer_view(&out), AGGREGATION_SUM, &read, &group),
        STATUS_OK);
    cr_assert(read.flags & CELL_OVERFLOWED);
    cr_assert(cell_overflowed(AGGREGATION_SUM, &read));
    input.is_cancel = true;
    cell_add(AGGREGATION_SUM, &read, &input, START_S, &arena);
    cell_add(AGGREGATION_SUM, &read, &input, START_S, &arena);
    buffer_reset(&out);
    write_state(AGGREGATION_SUM, read, &out);
    cr_assert_eq(
        cell_value_read(bytes_text("key"), buffer_view(&out), AGGREGATION_SUM, &read, &group),
        STATUS_OK);
    cr_assert_not(read.flags & CELL_OVERFLOWED);
    buffer_done(&out);
}

Test(cell_state, keeps_as_many_distinct_values_as_there_are)
{
    scoped(arena_done) struct arena arena = {0};
    struct cell_set set = {0};
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 1; i <= 10000; i++) {
            // Few low bits, so that places collide.
            bool is_new = cell_set_add(&set, (struct hash128){.low = i << 40, .high = i}, &arena);
            cr_assert_eq(is_new, round == 0);
        }
    }
    cr_assert_eq(set.count, 10000);
    struct bytes sorted = cell_set_sorted(&set, &arena);
    cr_assert_eq(sorted.size, 160000);
    for (size_t at = 16; at < sorted.size; at += 16)
        cr_assert_lt(memcmp(sorted.data + at - 16, sorted.data + at, 16), 0);
}

static void
value_of(enum aggregation aggregation, struct bytes key, struct buffer *out)
{
    scoped(arena_done) struct arena arena = {0};
    const struct cell_group group = {
        .count = 3, .values = {bytes_text("eu"), bytes_text(""), bytes_text("gpt")}
    };
    struct cell_state state = {0};
    for (int64_t i = 0; i < 5; i++) {
        struct cell_input input = input_of(i * 3 - 4, i);
        cell_add(aggregation, &state, &input, START_S, &arena);
    }
    state.flags |= CELL_REPLACES;
    if (aggregation == AGGREGATION_UNIQUE_COUNT)
        cell_unique_list(&state.unique, &arena);
    cell_value_write(key, aggregation, &state, &group, out);
    cr_assert_not(buffer_failed(out));
}

Test(cell_state, gives_back_state_and_group)
{
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        enum aggregation aggregation = (enum aggregation)kind;
        enum aggregation stored;
        struct buffer value = {0};
        struct cell_state state;
        struct cell_group group;
        value_of(aggregation, bytes_text("key"), &value);
        cr_assert(cell_value_aggregation(buffer_view(&value), &stored));
        cr_assert_eq(stored, aggregation);
        cr_assert_eq(
            cell_value_read(bytes_text("key"), buffer_view(&value), aggregation, &state, &group),
            STATUS_OK);
        cr_assert_eq(state.count, 5);
        cr_assert(state.flags & CELL_REPLACES);
        cr_assert_eq(group.count, 3);
        cr_assert(bytes_equal(group.values[0], bytes_text("eu")));
        cr_assert_eq(group.values[1].size, 0);
        cr_assert(bytes_equal(group.values[2], bytes_text("gpt")));
        enum aggregation other = kind == 0 ? AGGREGATION_SUM : AGGREGATION_COUNT;
        cr_assert_eq(
            cell_value_read(bytes_text("key"), buffer_view(&value), other, &state, &group),
            STATUS_CORRUPT);
        buffer_done(&value);
    }
}

Test(cell_state, refuses_every_flipped_bit_and_every_other_length)
{
    const struct bytes key = bytes_text("key");
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        enum aggregation aggregation = (enum aggregation)kind;
        struct buffer value = {0};
        struct cell_state state;
        struct cell_group group;
        value_of(aggregation, key, &value);
        for (size_t bit = 0; bit < value.size * 8; bit++) {
            value.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
            cr_assert_eq(
                cell_value_read(key, buffer_view(&value), aggregation, &state, &group),
                STATUS_CORRUPT,
                "%zu",
                bit);
            value.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        for (size_t size = 0; size < value.size; size++) {
            uint8_t *cut = malloc(size + 1);
            cr_assert_not_null(cut);
            memcpy(cut + 1, value.data, size);
            cr_assert_eq(
                cell_value_read(key, bytes_of(cut + 1, size), aggregation, &state, &group),
                STATUS_CORRUPT);
            free(cut);
        }
        cr_assert_eq(
            cell_value_read(bytes_text("kez"), buffer_view(&value), aggregation, &state, &group),
            STATUS_CORRUPT,
            "under another key");
        buffer_done(&value);
    }
}

// The checksum does not help against a value that was made wrong on purpose.
Test(cell_state, refuses_forms_that_make_no_sense)
{
    const struct bytes key = bytes_text("key");
    for (int kind = 0; kind < AGGREGATION_KINDS; kind++) {
        struct buffer value = {0};
        struct cell_state state;
        struct cell_group group;
        value_of((enum aggregation)kind, key, &value);
        uint8_t *cut = malloc(value.size);
        cr_assert_not_null(cut);
        for (size_t size = CELL_CHECKSUM_SIZE; size < value.size; size++) {
            memcpy(cut, value.data, size);
            struct bytes rest = bytes_of(cut + CELL_CHECKSUM_SIZE, size - CELL_CHECKSUM_SIZE);
            uint64_t checksum = hash64(rest, hash64(key, 0));
            memcpy(cut, &checksum, sizeof checksum);
            cr_assert_eq(
                cell_value_read(key, bytes_of(cut, size), (enum aggregation)kind, &state, &group),
                STATUS_CORRUPT,
                "%d cut to %zu",
                kind,
                size);
        }
        free(cut);
        buffer_done(&value);
    }
}
