#include "ledger/filter.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static uint64_t
spread(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static struct fingerprint
print_of(uint64_t i)
{
    return fingerprint_of((struct hash128){spread(2 * i), spread(2 * i + 1)}, 1);
}

enum { IDS = 200000 };

Test(filter, never_denies_what_was_added_and_seldom_affirms_what_was_not)
{
    struct filter *filter = filter_open(filter_blocks(IDS));
    uint32_t wrong = 0;
    for (uint64_t i = 0; i < IDS; i++) {
        filter_prefetch(filter, print_of(i));
        filter_add(filter, print_of(i));
    }
    for (uint64_t i = 0; i < IDS; i++) {
        cr_assert(filter_has(filter, print_of(i)));
        wrong += filter_has(filter, print_of(IDS + i));
    }
    // 12 bits an identity: half a percent.
    cr_assert_gt(wrong, IDS / 1000);
    cr_assert_lt(wrong, IDS / 100);
    cr_assert_leq(filter_bytes(filter) * 8, 12.1 * IDS);
    filter_close(filter);
}

// A merge marks blocks in their order and stores them; the filter that is loaded is the same.
Test(filter, is_the_same_made_in_parts)
{
    uint64_t blocks = filter_blocks(IDS);
    uint64_t *words = calloc(blocks, FILTER_BLOCK_SIZE);
    struct filter *filter = filter_open(blocks);
    for (uint64_t i = 0; i < IDS; i++)
        filter_mark(words + filter_block_of(blocks, print_of(i)) * FILTER_WORDS, print_of(i));
    uint64_t half = blocks / 2;
    filter_load(filter, half, words + half * FILTER_WORDS, blocks - half);
    filter_load(filter, 0, words, half);
    struct filter *added = filter_open(blocks);
    for (uint64_t i = 0; i < IDS; i++)
        filter_add(added, print_of(i));
    for (uint64_t i = 0; i < 2 * IDS; i++)
        cr_assert_eq(filter_has(filter, print_of(i)), filter_has(added, print_of(i)));
    free(words);
    filter_close(filter);
    filter_close(added);
}

Test(filter, has_its_blocks_in_the_order_of_identities)
{
    const uint64_t blocks = filter_blocks(1000003);
    uint64_t before = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        struct fingerprint fingerprint = {.low = i * (UINT64_MAX / 100000)};
        uint64_t block = filter_block_of(blocks, fingerprint);
        cr_assert_geq(block, before);
        cr_assert_lt(block, blocks);
        before = block;
    }
    cr_assert_eq(filter_block_of(blocks, (struct fingerprint){.low = UINT64_MAX}), blocks - 1);
}
