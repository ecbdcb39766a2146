// Buckets of eight (tag, place) pairs: reference/limits.md measured them against linear probing.
// A bucket fills in order, so its last place tells whether it ran over into the next one.
//
//   fingerprint.low:  its lower half chooses the bucket, its upper half is what sorting begins with
//   fingerprint.high: the tag

#include "ledger/id_table.h"

#include "base/assert.h"
#include "base/pool.h"
#include "base/prefetch.h"
#include "ledger/pages.h"

#include <string.h>

enum {
    BUCKET_SLOTS = 8,
    BUCKET_LOAD = 7,  // of eight, when the table is full
    SORT_BITS = 10,
    SORT_PARTS = 1 << SORT_BITS,
    SORT_INSERTION_MAX = 32,
    SORT_BIN_SHIFT = 54,
};

_Static_assert(
    1U << (64 - SORT_BIN_SHIFT) == (unsigned)ID_SORT_PARTS * ID_SORT_BINS, "the top bits' bins");

struct bucket {
    uint32_t tags[BUCKET_SLOTS];
    uint32_t places[BUCKET_SLOTS];  // index of the entry + 1; 0: free
};

_Static_assert(sizeof(struct bucket) == 64, "a cache line");

struct id_table {
    struct bucket *buckets;
    struct fingerprint *entries;
    uint32_t buckets_count;
    uint32_t count;
    uint32_t count_max;
};

struct id_table *
id_table_open(uint32_t count_max)
{
    must(count_max > 0 && count_max < UINT32_MAX / 2);
    struct id_table *table = pool_take(1, sizeof *table);
    if (table == NULL)
        return NULL;
    table->count_max = count_max;
    table->buckets_count = count_max / BUCKET_LOAD + 1;
    table->buckets = pages_take_scattered((size_t)table->buckets_count * sizeof *table->buckets);
    table->entries = pages_take((size_t)count_max * sizeof *table->entries);
    if (table->buckets == NULL || table->entries == NULL) {
        id_table_close(table);
        return NULL;
    }
    return table;
}

void
id_table_close(struct id_table *table)
{
    if (table == NULL)
        return;
    pages_give(table->buckets, (size_t)table->buckets_count * sizeof *table->buckets);
    pages_give(table->entries, (size_t)table->count_max * sizeof *table->entries);
    pool_give(table);
}

// A bucket without places is free, whatever its tags are; entries are written before they are read.
void
id_table_clear(struct id_table *table)
{
    memset(table->buckets, 0, (size_t)table->buckets_count * sizeof *table->buckets);
    table->count = 0;
}

static uint32_t
bucket_of(const struct id_table *table, struct fingerprint fingerprint)
{
    return (uint32_t)(((fingerprint.low & UINT32_MAX) * table->buckets_count) >> 32);
}

static uint32_t
bucket_after(const struct id_table *table, uint32_t at)
{
    return at + 1 < table->buckets_count ? at + 1 : 0;
}

void
id_table_prefetch(const struct id_table *table, struct fingerprint fingerprint)
{
    prefetch(&table->buckets[bucket_of(table, fingerprint)]);
}

// Four tags side by side, in gcc's and clang's vectors.
struct tag_lanes {
    __attribute__((vector_size(16))) uint32_t lanes;
};

struct tag_words {
    __attribute__((vector_size(16))) uint64_t lanes;
};

// A bit for each of the bucket's tags that is this one. Where they are equal a lane is all ones, of
// which the slot's bit stays.
static inline uint32_t
bucket_hits(const struct bucket *bucket, uint32_t tag)
{
    const struct tag_lanes bits[2] = {{{1, 2, 4, 8}}, {{16, 32, 64, 128}}};
    struct tag_lanes tags[2], same[2];
    struct tag_words words[2];
    _Static_assert(sizeof tags == sizeof bucket->tags, "eight tags");
    memcpy(tags, bucket->tags, sizeof tags);
    for (size_t i = 0; i < 2; i++) {
        const __typeof__(tags[i].lanes == tag) is_same = tags[i].lanes == tag;
        memcpy(&same[i], &is_same, sizeof same[i]);
        same[i].lanes &= bits[i].lanes;
    }
    memcpy(words, same, sizeof words);
    words[0].lanes |= words[1].lanes;
    const uint64_t both = words[0].lanes[0] | words[0].lanes[1];
    return (uint32_t)(both | both >> 32);
}

struct id_spot
id_table_seek(const struct id_table *table, struct fingerprint fingerprint)
{
    for (uint32_t at = bucket_of(table, fingerprint);; at = bucket_after(table, at)) {
        const struct bucket *bucket = &table->buckets[at];
        uint32_t hits = bucket_hits(bucket, fingerprint.high);
        for (; hits != 0; hits &= hits - 1) {
            uint32_t place = bucket->places[__builtin_ctz(hits)];
            if (place != 0 && table->entries[place - 1].low == fingerprint.low)
                return (struct id_spot){&table->entries[place - 1], at};
        }
        if (bucket->places[BUCKET_SLOTS - 1] == 0)
            return (struct id_spot){NULL, at};
    }
}

struct fingerprint *
id_table_find(const struct id_table *table, struct fingerprint fingerprint)
{
    return id_table_seek(table, fingerprint).known;
}

void
id_table_put(struct id_table *table, struct fingerprint fingerprint, struct id_spot spot)
{
    must(table->count < table->count_max);
    must(spot.known == NULL && spot.bucket < table->buckets_count);
    struct bucket *bucket = &table->buckets[spot.bucket];
    must(bucket->places[BUCKET_SLOTS - 1] == 0);
    // Counted, not looked for: how full a bucket is cannot be foretold by the processor.
    uint32_t slot = 0;
    for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
        slot += bucket->places[i] != 0;
    table->entries[table->count++] = fingerprint;
    bucket->tags[slot] = fingerprint.high;
    bucket->places[slot] = table->count;
}

void
id_table_add(struct id_table *table, struct fingerprint fingerprint)
{
    assert_slow(id_table_find(table, fingerprint) == NULL);
    uint32_t at = bucket_of(table, fingerprint);
    while (table->buckets[at].places[BUCKET_SLOTS - 1] != 0)
        at = bucket_after(table, at);
    id_table_put(table, fingerprint, (struct id_spot){NULL, at});
}

uint32_t
id_table_count(const struct id_table *table)
{
    return table->count;
}

size_t
id_table_bytes(const struct id_table *table)
{
    // Buckets are touched at random: soon all of them.
    size_t buckets = table->count < table->buckets_count ? table->count : table->buckets_count;
    return (size_t)table->count * sizeof *table->entries + buckets * sizeof *table->buckets;
}

static void
sort_by_insertion(struct fingerprint *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct fingerprint moved = entries[i];
        size_t at = i;
        for (; at > 0 && fingerprint_compare(moved, entries[at - 1]) < 0; at--)
            entries[at] = entries[at - 1];
        entries[at] = moved;
    }
}

static uint32_t
sort_part(struct fingerprint fingerprint, uint32_t shift)
{
    return (uint32_t)(fingerprint.low >> shift) & (SORT_PARTS - 1);
}

// Each entry goes where its part has room next, until all parts are what they should be.
static void
sort_swap(struct fingerprint *entries, const uint32_t *ends, uint32_t *next, uint32_t shift)
{
    for (uint32_t part = 0; part < SORT_PARTS; part++) {
        while (next[part] < ends[part]) {
            struct fingerprint moved = entries[next[part]];
            uint32_t home = sort_part(moved, shift);
            if (home == part) {
                next[part]++;
                continue;
            }
            entries[next[part]] = entries[next[home]];
            entries[next[home]++] = moved;
        }
    }
}

static void sort_radix(struct fingerprint *entries, uint32_t count, uint32_t shift);

// Entries that agree in the bits above those at shift.
static void
sort_from(struct fingerprint *entries, uint32_t count, uint32_t shift)
{
    if (count <= SORT_INSERTION_MAX)
        sort_by_insertion(entries, count);
    else
        sort_radix(entries, count, shift);
}

// Radix in place, from the top bits down. Of entries that are hashes the first level leaves a few
// each.
static void
sort_radix(struct fingerprint *entries, uint32_t count, uint32_t shift)
{
    uint32_t ends[SORT_PARTS] = {0};
    uint32_t next[SORT_PARTS];
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        ends[sort_part(entries[i], shift)]++;
    for (uint32_t part = 0; part < SORT_PARTS; part++) {
        next[part] = sum;
        sum += ends[part];
        ends[part] = sum;
    }
    sort_swap(entries, ends, next, shift);
    const uint32_t below = shift > SORT_BITS ? shift - SORT_BITS : 0;
    for (uint32_t part = 0; part < SORT_PARTS; part++) {
        uint32_t from = part > 0 ? ends[part - 1] : 0;
        uint32_t size = ends[part] - from;
        if (shift == 0)
            sort_by_insertion(entries + from, size);
        else
            sort_from(entries + from, size, below);
    }
}

void
id_sort_begin(struct id_sort *sort, const struct id_table *table)
{
    *sort = (struct id_sort){.table = table};
    for (uint32_t i = 0; i < table->count; i++)
        sort->bins[table->entries[i].low >> SORT_BIN_SHIFT]++;
    for (uint32_t part = 0; part < ID_SORT_PARTS; part++) {
        uint32_t count = 0;
        for (uint32_t bin = 0; bin < ID_SORT_BINS; bin++)
            count += sort->bins[part * ID_SORT_BINS + bin];
        if (count > sort->room)
            sort->room = count;
    }
}

// The entries of the part go to their bins in one walk over all, which are read in the order of
// their addresses; a bin fits into the nearer caches, and is sorted there.
uint32_t
id_sort_part(const struct id_sort *sort, uint32_t part, struct fingerprint *out)
{
    const struct id_table *table = sort->table;
    const uint32_t *counts = sort->bins + (size_t)part * ID_SORT_BINS;
    uint32_t next[ID_SORT_BINS];
    uint32_t sum = 0;
    must(part < ID_SORT_PARTS);
    for (uint32_t bin = 0; bin < ID_SORT_BINS; bin++) {
        next[bin] = sum;
        sum += counts[bin];
    }
    for (uint32_t i = 0; i < table->count; i++) {
        const struct fingerprint entry = table->entries[i];
        uint64_t bin = entry.low >> SORT_BIN_SHIFT;
        if (bin / ID_SORT_BINS == part)
            out[next[bin % ID_SORT_BINS]++] = entry;
    }
    uint32_t from = 0;
    for (uint32_t bin = 0; bin < ID_SORT_BINS; bin++) {
        sort_from(out + from, counts[bin], SORT_BIN_SHIFT - SORT_BITS);
        from += counts[bin];
    }
    must(from == sum);
    return sum;
}
