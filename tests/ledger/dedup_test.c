#include "ledger/dedup.h"

#include <criterion/criterion.h>

#include <signal.h>

// SplitMix64: the i-th identity, the same each time.
static uint64_t
spread(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static struct hash128
identity_of(uint64_t i)
{
    return (struct hash128){.low = spread(2 * i), .high = spread(2 * i + 1)};
}

Test(dedup, knows_all_that_was_added_and_nothing_else)
{
    enum { COUNT = 400000 };
    struct dedup *dedup = dedup_open(4);
    cr_assert_not_null(dedup);
    for (uint64_t i = 0; i < COUNT; i++) {
        dedup_prefetch(dedup, identity_of(i));
        cr_assert_eq(dedup_find(dedup, identity_of(i), (uint32_t)i), DEDUP_NEW);
        dedup_add(dedup, identity_of(i), (uint32_t)i);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        cr_assert_eq(dedup_find(dedup, identity_of(i), (uint32_t)i), DEDUP_SAME);
        cr_assert_eq(dedup_find(dedup, identity_of(i), (uint32_t)i + 1), DEDUP_DIFFERENT);
        cr_assert_eq(dedup_find(dedup, identity_of(COUNT + i), (uint32_t)i), DEDUP_NEW);
    }
    cr_assert_eq(dedup_count(dedup), COUNT);
    // At most three quarters full, and doubled only when it is.
    cr_assert_gt(dedup_bytes(dedup), COUNT * 16UL);
    cr_assert_lt(dedup_bytes(dedup), COUNT * 16UL * 4);
    dedup_close(dedup);
}

Test(dedup, keeps_96_bits)
{
    struct dedup *dedup = dedup_open(10);
    cr_assert_not_null(dedup);
    const struct hash128 identity = {.low = 5, .high = 1ULL << 40 | 9};
    dedup_add(dedup, identity, 1);
    for (int bit = 0; bit < 64; bit++) {
        const struct hash128 other = {.low = 5 ^ 1ULL << bit, .high = identity.high};
        cr_assert_eq(dedup_find(dedup, other, 1), DEDUP_NEW, "low bit %d", bit);
    }
    for (int bit = 0; bit < 32; bit++) {
        const struct hash128 other = {.low = 5, .high = identity.high ^ 1ULL << bit};
        cr_assert_eq(dedup_find(dedup, other, 1), DEDUP_NEW, "high bit %d", bit);
    }
    dedup_close(dedup);
}

Test(dedup, takes_an_identity_of_zeros)
{
    struct dedup *dedup = dedup_open(1);
    cr_assert_not_null(dedup);
    const struct hash128 zero = {0};
    cr_assert_eq(dedup_find(dedup, zero, 0), DEDUP_NEW);
    dedup_add(dedup, zero, 0);
    cr_assert_eq(dedup_find(dedup, zero, 0), DEDUP_SAME);
    cr_assert_eq(dedup_find(dedup, zero, 1), DEDUP_DIFFERENT);
    dedup_close(dedup);
}

// Identities of one bucket run over into the next ones, and come along when the table grows.
Test(dedup, holds_many_of_one_bucket)
{
    struct dedup *dedup = dedup_open(1);
    cr_assert_not_null(dedup);
    for (uint64_t i = 1; i <= 300; i++)
        dedup_add(dedup, (struct hash128){.low = i << 40, .high = i}, 7);
    for (uint64_t i = 1; i <= 300; i++)
        cr_assert_eq(dedup_find(dedup, (struct hash128){.low = i << 40, .high = i}, 7), DEDUP_SAME);
    cr_assert_eq(
        dedup_find(dedup, (struct hash128){.low = 301ULL << 40, .high = 301}, 7), DEDUP_NEW);
    dedup_close(dedup);
}

Test(dedup, stops_when_a_known_one_is_added, .signal = SIGABRT)
{
    struct dedup *dedup = dedup_open(1);
    dedup_add(dedup, identity_of(1), 1);
    dedup_add(dedup, identity_of(1), 1);
}
