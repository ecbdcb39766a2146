#include "ledger/cell.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static const int128 UNITS_MAX = (int128)(((uint128)1 << 127) - 1);

Test(cell, merges_counts_and_sums_and_marks_overflow)
{
    const struct {
        int128 a, b, sum;
        uint8_t flags;
    } rows[] = {
        {1,          2,  3,              0              },
        {-5,         5,  0,              0              },
        {UNITS_MAX,  0,  UNITS_MAX,      0              },
        {UNITS_MAX,  1,  UNITS_MAX,      CELL_OVERFLOWED},
        {-UNITS_MAX, -1, -UNITS_MAX - 1, 0              },
        {-UNITS_MAX, -2, -UNITS_MAX,     CELL_OVERFLOWED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cell_state into = {.count = 2, .sum = {rows[i].a}};
        const struct cell_state from = {.count = 3, .sum = {rows[i].b}};
        cell_merge(&into, &from);
        cr_assert_eq(into.count, 5);
        cr_assert(into.sum.units == rows[i].sum, "row %zu", i);
        cr_assert_eq(into.flags, rows[i].flags, "row %zu", i);
    }
}

Test(cell, overflow_is_never_forgotten)
{
    struct cell_state into = {0};
    const struct cell_state marked = {.count = 1, .flags = CELL_OVERFLOWED};
    const struct cell_state plain = {.count = 1, .sum = DECIMAL_ONE};
    cell_merge(&into, &marked);
    cell_merge(&into, &plain);
    cr_assert_eq(into.flags, CELL_OVERFLOWED);
}

static struct cell_key
key_of(uint32_t meter_id, const char *subject, int64_t window, uint64_t group)
{
    return (struct cell_key){
        .width = CELL_QUARTER_HOUR,
        .meter_id = meter_id,
        .subject = bytes_text(subject),
        .window = window,
        .group = {.low = group, .high = 7},
    };
}

Test(cell, keys_sort_by_meter_subject_window_and_group)
{
    const struct cell_key sorted[] = {
        key_of(1, "a", 1, 1),
        key_of(1, "a", 1, 256),
        key_of(1, "a", 256, 0),
        key_of(1, "a", 1LL << 40, 0),
        key_of(1, "b", 0, 0),
        key_of(1, "aa", 0, 0),
        key_of(2, "a", 0, 0),
        key_of(256, "a", 0, 0),
        key_of(UINT32_MAX, "a", 0, 0),
    };
    uint8_t last[CELL_KEY_MAX];
    size_t last_size = 0;
    for (size_t i = 0; i < sizeof sorted / sizeof sorted[0]; i++) {
        uint8_t bytes[CELL_KEY_MAX];
        size_t size = cell_key_write(&sorted[i], bytes);
        cr_assert_lt(
            bytes_compare(bytes_of(last, last_size), bytes_of(bytes, size)), 0, "row %zu", i);
        memcpy(last, bytes, size);
        last_size = size;
        struct cell_key read;
        cr_assert(cell_key_read(bytes_of(bytes, size), &read));
        cr_assert_eq(read.meter_id, sorted[i].meter_id);
        cr_assert(bytes_equal(read.subject, sorted[i].subject));
        cr_assert_eq(read.window, sorted[i].window);
        cr_assert_eq(read.group.low, sorted[i].group.low);
        cr_assert_eq(read.group.high, sorted[i].group.high);
    }
}

Test(cell, prefixes_are_what_keys_begin_with)
{
    uint8_t key_bytes[CELL_KEY_MAX];
    uint8_t prefix[CELL_KEY_MAX];
    const struct cell_key key = key_of(3, "subject", 5, 6);
    const struct bytes nothing = {0};
    size_t size = cell_key_write(&key, key_bytes);
    size_t of_subject = cell_prefix_write(CELL_QUARTER_HOUR, 3, &key.subject, prefix);
    cr_assert_lt(of_subject, size);
    cr_assert_eq(memcmp(prefix, key_bytes, of_subject), 0);
    size_t of_meter = cell_prefix_write(CELL_QUARTER_HOUR, 3, NULL, prefix);
    cr_assert_eq(of_meter, 5);
    cr_assert_eq(memcmp(prefix, key_bytes, of_meter), 0);
    cr_assert_eq(cell_prefix_write(CELL_QUARTER_HOUR, 3, &nothing, prefix), of_meter);
}

Test(cell, refuses_keys_of_another_form)
{
    uint8_t bytes[CELL_KEY_MAX + 1] = {0};
    const struct cell_key key = key_of(3, "subject", 5, 6);
    struct cell_key read;
    size_t size = cell_key_write(&key, bytes);
    for (size_t cut = 0; cut < size; cut++)
        cr_assert_not(cell_key_read(bytes_of(bytes, cut), &read), "size %zu", cut);
    cr_assert_not(cell_key_read(bytes_of(bytes, size + 1), &read));
    bytes[0] = 9;
    cr_assert_not(cell_key_read(bytes_of(bytes, size), &read), "width");
    bytes[0] = CELL_QUARTER_HOUR;
    bytes[6 + 7] = 0x80;
    cr_assert_not(cell_key_read(bytes_of(bytes, size), &read), "window beyond int64");
}

Test(cell, the_largest_key_fits)
{
    char subject[256];
    memset(subject, 's', 255);
    subject[255] = '\0';
    uint8_t bytes[CELL_KEY_MAX];
    const struct cell_key key = key_of(1, subject, INT64_MAX, UINT64_MAX);
    cr_assert_eq(cell_key_write(&key, bytes), CELL_KEY_MAX);
}

static void
value_of(struct bytes key, struct buffer *out)
{
    const struct cell_state state = {
        .count = 12, .sum = {-((int128)1 << 100)}, .flags = CELL_OVERFLOWED};
    const struct cell_group group = {
        .count = 3, .values = {bytes_text("eu"), bytes_text(""), bytes_text("gpt")}
    };
    cell_value_write(key, &state, &group, out);
    cr_assert_not(buffer_failed(out));
}

Test(cell, gives_back_state_and_group)
{
    struct buffer value = {0};
    struct cell_state state;
    struct cell_group group;
    value_of(bytes_text("key"), &value);
    cr_assert_eq(
        cell_value_read(bytes_text("key"), buffer_view(&value), &state, &group), STATUS_OK);
    cr_assert_eq(state.count, 12);
    cr_assert(state.sum.units == -((int128)1 << 100));
    cr_assert_eq(state.flags, CELL_OVERFLOWED);
    cr_assert_eq(group.count, 3);
    cr_assert(bytes_equal(group.values[0], bytes_text("eu")));
    cr_assert_eq(group.values[1].size, 0);
    cr_assert(bytes_equal(group.values[2], bytes_text("gpt")));
    buffer_done(&value);
}

Test(cell, refuses_every_flipped_bit_and_every_other_length)
{
    struct buffer value = {0};
    struct cell_state state;
    struct cell_group group;
    const struct bytes key = bytes_text("key");
    value_of(key, &value);
    for (size_t bit = 0; bit < value.size * 8; bit++) {
        value.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_assert_eq(
            cell_value_read(key, buffer_view(&value), &state, &group), STATUS_CORRUPT, "%zu", bit);
        value.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t size = 0; size < value.size; size++) {
        uint8_t *cut = malloc(size + 1);
        cr_assert_not_null(cut);
        memcpy(cut + 1, value.data, size);
        cr_assert_eq(cell_value_read(key, bytes_of(cut + 1, size), &state, &group), STATUS_CORRUPT);
        free(cut);
    }
    cr_assert_eq(
        cell_value_read(bytes_text("kez"), buffer_view(&value), &state, &group),
        STATUS_CORRUPT,
        "under another key");
    buffer_done(&value);
}

Test(cell, group_hashes_differ_where_the_values_do)
{
    char long_a[3000];
    char long_b[3000];
    memset(long_a, 'a', sizeof long_a);
    memcpy(long_b, long_a, sizeof long_b);
    long_b[2999] = 'b';
    const struct cell_group groups[] = {
        {.count = 0                                               },
        { .count = 1,                               .values = {bytes_text("")}},
        { .count = 1,                              .values = {bytes_text("a")}},
        { .count = 2,              .values = {bytes_text("a"), bytes_text("")}},
        { .count = 2,              .values = {bytes_text(""), bytes_text("a")}},
        { .count = 2,            .values = {bytes_text("a"), bytes_text("bc")}},
        { .count = 2,            .values = {bytes_text("ab"), bytes_text("c")}},
        { .count = 1,                       .values = {bytes_of(long_a, 3000)}},
        { .count = 1,                       .values = {bytes_of(long_a, 2999)}},
        { .count = 1,                       .values = {bytes_of(long_b, 3000)}},
        { .count = 2,      .values = {bytes_of(long_a, 3000), bytes_text("x")}},
        { .count = 2,      .values = {bytes_text("x"), bytes_of(long_a, 3000)}},
        { .count = 2, .values = {bytes_of(long_a, 1000), bytes_of(long_a, 30)}},
        { .count = 2, .values = {bytes_of(long_a, 30), bytes_of(long_a, 1000)}},
    };
    enum { GROUPS = sizeof groups / sizeof groups[0] };
    struct hash128 hashes[GROUPS];
    for (size_t i = 0; i < GROUPS; i++) {
        hashes[i] = cell_group_hash(&groups[i]);
        struct hash128 again = cell_group_hash(&groups[i]);
        cr_assert(hashes[i].low == again.low && hashes[i].high == again.high);
        for (size_t j = 0; j < i; j++)
            cr_assert(hashes[i].low != hashes[j].low, "groups %zu and %zu", i, j);
    }
    cr_assert(hashes[0].low == 0 && hashes[0].high == 0, "no dimensions");
}

Test(cell, meta_numbers_carry_their_key)
{
    uint8_t value[16];
    uint64_t number = 0;
    const struct bytes key = bytes_text("position");
    state_meta_write(key, 1234567890123, value);
    cr_assert_eq(state_meta_read(key, bytes_of(value, 16), &number), STATUS_OK);
    cr_assert_eq(number, 1234567890123);
    cr_assert_eq(
        state_meta_read(bytes_text("other"), bytes_of(value, 16), &number), STATUS_CORRUPT);
    cr_assert_eq(state_meta_read(key, bytes_of(value, 15), &number), STATUS_CORRUPT);
    for (size_t bit = 0; bit < 128; bit++) {
        value[bit / 8] ^= (uint8_t)(1U << bit % 8);
        cr_assert_eq(state_meta_read(key, bytes_of(value, 16), &number), STATUS_CORRUPT);
        value[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}
