#include "ledger/cell.h"

#include "ledger/cell_state.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static struct cell_key
key_of(uint32_t meter_id, const char *subject, int64_t window, uint64_t group)
{
    return (struct cell_key){
        .width = CELL_QUARTER_HOUR,
        .meter_id = meter_id,
        .subject = bytes_text(subject),
        .start_s = window * QUARTER_HOUR_S,
        .group = {.low = group, .high = 7},
    };
}

static struct cell_key
wide_key(enum cell_width width, uint16_t zone, uint32_t epoch)
{
    struct cell_key key = key_of(1, "a", 1, 1);
    key.width = width;
    key.zone = zone;
    key.epoch = epoch;
    return key;
}

Test(cell, keys_sort_by_width_meter_window_subject_group_and_epoch)
{
    const struct cell_key sorted[] = {
        wide_key(CELL_QUARTER_HOUR, 0, 0),
        wide_key(CELL_QUARTER_HOUR, 0, 1),
        wide_key(CELL_QUARTER_HOUR, 0, UINT32_MAX),
        key_of(1, "a", 1, 256),
        key_of(1, "b", 1, 0),
        key_of(1, "aa", 1, 0),
        key_of(1, "a", 256, 0),
        key_of(1, "a", 1LL << 23, 0),
        key_of(2, "a", 0, 0),
        key_of(256, "a", 0, 0),
        key_of(UINT32_MAX, "a", 0, 0),
        wide_key(CELL_HOUR, 0, 0),
        wide_key(CELL_DAY, 0, 0),
        wide_key(CELL_MONTH, 0, 0),
        wide_key(CELL_ZONE_DAY, 1, 0),
        wide_key(CELL_ZONE_DAY, 256, 0),
        wide_key(CELL_ZONE_MONTH, 1, 0),
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
        cr_assert_eq(cell_key_compare(&read, &sorted[i]), 0);
        for (size_t k = 0; k < i; k++) {
            cr_assert_lt(cell_key_compare(&sorted[k], &read), 0);
            cr_assert_gt(cell_key_compare(&read, &sorted[k]), 0);
        }
    }
}

Test(cell, prefixes_are_what_keys_begin_with)
{
    uint8_t key_bytes[CELL_KEY_MAX];
    uint8_t prefix[CELL_KEY_MAX];
    const struct cell_key key = key_of(3, "subject", 5, 6);
    size_t size = cell_key_write(&key, key_bytes);
    size_t of_subject = cell_prefix_subject(&key, prefix);
    cr_assert_lt(of_subject, size);
    cr_assert_eq(memcmp(prefix, key_bytes, of_subject), 0);
    size_t of_window = cell_seek_window(CELL_QUARTER_HOUR, 0, 3, key.start_s, prefix);
    cr_assert_lt(of_window, of_subject);
    cr_assert_eq(memcmp(prefix, key_bytes, of_window), 0);
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
    bytes[2] = 1;
    cr_assert_not(cell_key_read(bytes_of(bytes, size), &read), "a zone without a zone's width");
    bytes[0] = CELL_ZONE_DAY;
    cr_assert(cell_key_read(bytes_of(bytes, size), &read));
    bytes[2] = 0;
    cr_assert_not(cell_key_read(bytes_of(bytes, size), &read), "a zone's width without a zone");
    bytes[0] = CELL_QUARTER_HOUR;
    bytes[7] = 0x80;
    cr_assert_not(cell_key_read(bytes_of(bytes, size), &read), "a time beyond int64");
}

Test(cell, the_largest_key_fits)
{
    char subject[256];
    memset(subject, 's', 255);
    subject[255] = '\0';
    uint8_t bytes[CELL_KEY_MAX];
    const struct cell_key key = key_of(1, subject, 1, UINT64_MAX);
    cr_assert_eq(cell_key_write(&key, bytes), CELL_KEY_MAX);
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
