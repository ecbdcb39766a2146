#include "ledger/id_table.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>

// SplitMix64: the i-th identity, the same each time.
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
    return fingerprint_of((struct hash128){spread(2 * i), spread(2 * i + 1)}, (uint32_t)i);
}

Test(id_table, knows_all_that_was_added_and_nothing_else)
{
    enum { COUNT = 200000 };
    struct id_table *table = id_table_open(COUNT);
    cr_assert_not_null(table);
    for (uint64_t i = 0; i < COUNT; i++) {
        id_table_prefetch(table, print_of(i));
        cr_assert_null(id_table_find(table, print_of(i)));
        id_table_add(table, print_of(i));
    }
    cr_assert_eq(id_table_count(table), COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        const struct fingerprint *known = id_table_find(table, print_of(i));
        cr_assert_not_null(known);
        cr_assert_eq(known->payload, i ? i : 1);
        cr_assert_null(id_table_find(table, print_of(COUNT + i)));
    }
    cr_assert_gt(id_table_bytes(table), COUNT * 16UL);
    cr_assert_lt(id_table_bytes(table), COUNT * 28UL);
    id_table_close(table);
}

Test(id_table, keeps_96_bits)
{
    struct id_table *table = id_table_open(10);
    const struct hash128 identity = {.low = 5, .high = 1ULL << 40 | 9};
    id_table_add(table, fingerprint_of(identity, 1));
    cr_assert_not_null(id_table_find(table, fingerprint_of(identity, 2)));
    for (int bit = 0; bit < 64; bit++) {
        const struct hash128 other = {.low = 5 ^ 1ULL << bit, .high = identity.high};
        cr_assert_null(id_table_find(table, fingerprint_of(other, 1)), "low bit %d", bit);
    }
    for (int bit = 0; bit < 32; bit++) {
        const struct hash128 other = {.low = 5, .high = identity.high ^ 1ULL << bit};
        cr_assert_null(id_table_find(table, fingerprint_of(other, 1)), "high bit %d", bit);
    }
    id_table_close(table);
}

Test(id_table, tells_a_payload_of_zero_from_a_freed_one)
{
    cr_assert_neq(fingerprint_of((struct hash128){1, 2}, 0).payload, PAYLOAD_FREED);
    struct id_table *table = id_table_open(10);
    const struct fingerprint zero = fingerprint_of((struct hash128){0}, 0);
    cr_assert_null(id_table_find(table, zero));
    id_table_add(table, zero);
    cr_assert_eq(id_table_find(table, zero)->payload, 1);
    id_table_close(table);
}

// Identities of one bucket and one tag run over into the next ones, round the end.
Test(id_table, holds_many_of_one_bucket)
{
    struct id_table *table = id_table_open(400);
    for (uint64_t i = 1; i <= 300; i++)
        id_table_add(
            table, fingerprint_of((struct hash128){(uint64_t)UINT32_MAX << 32 | i, .high = 7}, 7));
    for (uint64_t i = 1; i <= 300; i++)
        cr_assert_not_null(id_table_find(
            table, fingerprint_of((struct hash128){(uint64_t)UINT32_MAX << 32 | i, .high = 7}, 7)));
    cr_assert_null(id_table_find(
        table, fingerprint_of((struct hash128){(uint64_t)UINT32_MAX << 32 | 301, .high = 7}, 7)));
    id_table_close(table);
}

Test(id_table, is_full_at_its_bound, .signal = SIGABRT)
{
    struct id_table *table = id_table_open(8);
    for (uint64_t i = 0; i < 8; i++)
        id_table_add(table, print_of(i));
    cr_assert_eq(id_table_count(table), 8);
    id_table_add(table, print_of(8));
}

static int
compare(const void *a, const void *b)
{
    return fingerprint_compare(*(const struct fingerprint *)a, *(const struct fingerprint *)b);
}

static void
check_walk(const struct id_table *table, struct fingerprint *wanted, uint32_t count)
{
    struct id_walk walk = id_walk_open(table);
    const struct fingerprint *part;
    uint32_t size;
    uint32_t done = 0;
    qsort(wanted, count, sizeof *wanted, compare);
    while (id_walk_next(&walk, &part, &size)) {
        cr_assert_leq(size, count - done);
        cr_assert_arr_eq(part, wanted + done, size * sizeof *part, "%u of %u", done, count);
        done += size;
    }
    cr_assert_not(id_walk_failed(&walk));
    cr_assert_eq(done, count);
    id_walk_done(&walk);
}

// shift 0: spread; else so that most bits are equal, and at last only the high word differs.
static void
check_order(uint32_t count, uint32_t shift)
{
    struct id_table *table = id_table_open(count);
    struct fingerprint *wanted = calloc(count, sizeof *wanted);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t low = shift == 64 ? 5 : spread(i) >> shift;
        wanted[i] = (struct fingerprint){low, (uint32_t)spread(i + 1), i};
        id_table_add(table, wanted[i]);
    }
    check_walk(table, wanted, count);
    id_table_close(table);
    free(wanted);
}

Test(id_table, is_walked_in_order)
{
    static const uint32_t counts[] = {1, 2, 31, 32, 33, 255, 5000, 60000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        check_order(counts[i], 0);
    check_order(500, 32);
    check_order(500, 56);
    check_order(500, 60);
    check_order(500, 64);
}

Test(id_table, is_walked_where_nothing_is)
{
    struct id_table *table = id_table_open(100);
    struct fingerprint none[1];
    check_walk(table, none, 0);
    id_table_close(table);
}

// The last bucket's entries run over into the first ones, among entries that belong there.
Test(id_table, is_walked_in_order_round_its_end)
{
    enum { COUNT = 200 };
    struct fingerprint wanted[COUNT];
    struct id_table *table = id_table_open(COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint64_t low = i % 3 == 0 ? i : UINT64_MAX - i * (i % 3);
        wanted[i] = (struct fingerprint){low, i, i};
        id_table_add(table, wanted[i]);
    }
    check_walk(table, wanted, COUNT);
    id_table_close(table);
}

// Of equal ones the first stays first, whether they are spread or all one.
static void
check_stable(uint32_t count, uint64_t (*low)(uint64_t i))
{
    struct id_sort *sort = calloc(1, sizeof *sort);
    struct fingerprint *entries = calloc(count, sizeof *entries);
    struct fingerprint *sorted = calloc(count, sizeof *sorted);
    memset(sort, 0xff, sizeof *sort);
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct fingerprint){low(i), 1, i};
    id_sort(sort, entries, sorted, count);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(sorted[i].low, low(sorted[i].payload));
    for (uint32_t i = 1; i < count; i++) {
        int order = fingerprint_compare(sorted[i - 1], sorted[i]);
        cr_assert(order < 0 || (order == 0 && sorted[i - 1].payload < sorted[i].payload));
    }
    free(sort);
    free(entries);
    free(sorted);
}

static uint64_t
one_of_few(uint64_t i)
{
    return spread(i / 3);
}

static uint64_t
always_one(uint64_t i)
{
    return i * 0;
}

static uint64_t
far_away(uint64_t i)
{
    return i == 7 ? UINT64_MAX : i % 50;
}

Test(id_table, sorts_so_that_the_first_of_equal_ones_stays_first)
{
    static const uint32_t counts[] = {0, 1, 2, 3, 100, 4095, 4096, 8191, 8192, 8193, 30000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        check_stable(counts[i], one_of_few);
        check_stable(counts[i], always_one);
        check_stable(counts[i], far_away);
    }
}
