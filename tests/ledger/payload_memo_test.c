#include "ledger/payload_memo.h"

#include <criterion/criterion.h>

enum { MAPS = 300 };

// Maps of all sizes that differ in one byte each, at a place of their own.
static struct bytes
map_make(uint32_t number, uint8_t out[2 * MEMO_SIZE_MAX])
{
    const size_t size = 1 + number % (MEMO_SIZE_MAX + 8);
    memset(out, 'x', size);
    out[number * 7 % size] = (uint8_t)number;
    out[size - 1] ^= (uint8_t)(number >> 4);
    return bytes_of(out, size);
}

static bool
find(struct payload_memo *memo, struct bytes map, uint32_t count, uint64_t *out_hash)
{
    struct memo_map found;
    const struct memo_slot *place = payload_memo_place(memo, map, count);
    if (place == NULL || !payload_memo_find(memo, place, map, count, &found))
        return false;
    *out_hash = found.hash;
    return true;
}

static void
keep(struct payload_memo *memo, struct bytes map, uint32_t count, uint64_t hash)
{
    struct memo_slot *place = payload_memo_place(memo, map, count);
    if (place != NULL)
        (void)payload_memo_keep(memo, place, map, count, hash);
}

Test(payload_memo, finds_what_was_kept_and_nothing_else)
{
    struct payload_memo *memo = payload_memo_open();
    cr_assert_not_null(memo);
    uint32_t found = 0;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < MAPS; i++) {
            uint8_t bytes[2 * MEMO_SIZE_MAX];
            const struct bytes map = map_make(i, bytes);
            uint64_t hash = 1;
            if (find(memo, map, 2, &hash)) {
                // Two of them may be the same map.
                uint8_t other[2 * MEMO_SIZE_MAX];
                cr_assert(bytes_equal(map_make((uint32_t)hash, other), map));
                cr_assert(map.size >= MEMO_SIZE_MIN && map.size <= MEMO_SIZE_MAX);
                found++;
            } else {
                cr_assert_eq(hash, 1, "untouched");
                keep(memo, map, 2, i);
            }
            cr_assert_not(find(memo, map, 3, &hash), "of another count");
        }
    }
    cr_assert_gt(found, MAPS);
    payload_memo_close(memo);
}

// A byte changed anywhere makes it another map, whatever slot that falls into.
Test(payload_memo, compares_every_byte)
{
    struct payload_memo *memo = payload_memo_open();
    cr_assert_not_null(memo);
    for (size_t size = MEMO_SIZE_MIN; size <= MEMO_SIZE_MAX; size++) {
        uint8_t bytes[MEMO_SIZE_MAX] = {0};
        const struct bytes map = bytes_of(bytes, size);
        uint64_t hash = 0;
        memo->luck = MEMO_SLOTS;
        keep(memo, map, 1, size);
        cr_assert(find(memo, map, 1, &hash));
        cr_assert_eq(hash, size);
        // Whatever slot a changed one falls into, this one lies there.
        for (uint32_t i = 0; i < MEMO_SLOTS; i++) {
            memcpy(memo->slots[i].bytes, bytes, size);
            memo->slots[i].name = size << 8 | 1;
        }
        for (size_t at = 0; at < size; at++) {
            bytes[at] = 1;
            cr_assert_not(find(memo, map, 1, &hash), "%zu of %zu", at, size);
            bytes[at] = 0;
        }
    }
    payload_memo_close(memo);
}

// Who sends maps that never come again is looked up seldom; when they come again, that is noticed.
Test(payload_memo, gives_up_on_what_never_comes_twice)
{
    struct payload_memo *memo = payload_memo_open();
    cr_assert_not_null(memo);
    uint8_t bytes[24] = {0};
    const struct bytes map = bytes_of(bytes, sizeof bytes);
    struct memo_map kept;
    for (uint32_t i = 0; i < 8 * MEMO_SLOTS; i++) {
        memcpy(bytes + 8, &i, sizeof i);
        struct memo_slot *place = payload_memo_place(memo, map, 1);
        if (place == NULL)
            continue;
        cr_assert_not(payload_memo_find(memo, place, map, 1, &kept));
        (void)payload_memo_keep(memo, place, map, 1, i);
    }
    cr_assert_eq(memo->luck, 0);
    uint32_t found = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct memo_slot *place = payload_memo_place(memo, map, 1);
        const bool is_kept = place != NULL && payload_memo_find(memo, place, map, 1, &kept);
        if (place != NULL && !is_kept)
            (void)payload_memo_keep(memo, place, map, 1, 7);
        found += is_kept;
    }
    cr_assert_gt(found, 50);
    payload_memo_close(memo);
}
