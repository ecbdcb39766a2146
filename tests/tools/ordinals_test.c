#include "tools/ordinals.h"

#include <criterion/criterion.h>

static struct hash128
key_of(uint32_t i)
{
    return hash128(bytes_of(&i, sizeof i), 7);
}

Test(ordinals, counts_equal_rows_from_zero)
{
    struct ordinals ordinals = {0};
    struct hash128 a = key_of(1);
    struct hash128 b = key_of(2);
    cr_assert_eq(ordinals_next(&ordinals, a), 0);
    cr_assert_eq(ordinals_next(&ordinals, b), 0);
    cr_assert_eq(ordinals_next(&ordinals, a), 1);
    cr_assert_eq(ordinals_next(&ordinals, a), 2);
    cr_assert_eq(ordinals_next(&ordinals, b), 1);
    ordinals_done(&ordinals);
}

Test(ordinals, remembers_all_while_it_grows)
{
    enum { COUNT = 20000 };
    struct ordinals ordinals = {0};
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < COUNT; i++)
            cr_assert_eq(ordinals_next(&ordinals, key_of(i)), round);
    cr_assert_eq(ordinals.used, COUNT);
    cr_assert_leq(ordinals.used * 4, ordinals.slots * 3);
    ordinals_done(&ordinals);
}

Test(ordinals, tells_apart_keys_that_share_a_slot)
{
    struct ordinals ordinals = {0};
    for (uint64_t high = 0; high < 500; high++)
        cr_assert_eq(ordinals_next(&ordinals, (struct hash128){.low = 5, .high = high}), 0);
    for (uint64_t high = 0; high < 500; high++)
        cr_assert_eq(ordinals_next(&ordinals, (struct hash128){.low = 5, .high = high}), 1);
    ordinals_done(&ordinals);
}
