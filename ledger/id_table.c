// Buckets of eight (tag, place) pairs: reference/limits.md measured them against linear probing.
// A bucket fills in order, so its last place tells whether it ran over into the next one.
//
//   fingerprint.low:  its upper half chooses the bucket: in the order of entries, for id_walk
//   fingerprint.high: the tag

#include "ledger/id_table.h"

#include "base/assert.h"
#include "base/pool.h"
#include "base/prefetch.h"
#include "ledger/pages.h"

#include <string.h>

enum {
    BUCKET_SLOTS = 8,
    BUCKET_LOAD = 7,      // of eight, when the table is full
    WALK_ENTRIES = 4096,  // sorted at a time, in the nearest caches
    WALK_AHEAD = 8,       // buckets between a prefetch of their entries and its use
};

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
    table->entries = pages_take_scattered((size_t)count_max * sizeof *table->entries);
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

void
id_table_touch_buckets(const struct id_table *table)
{
    pages_touch(table->buckets, (size_t)table->buckets_count * sizeof *table->buckets);
}

void
id_table_touch_entries(const struct id_table *table, uint32_t count)
{
    must(count <= table->count_max);
    pages_touch(table->entries, (size_t)count * sizeof *table->entries);
}

static uint32_t
bucket_of(const struct id_table *table, struct fingerprint fingerprint)
{
    return (uint32_t)(((fingerprint.low >> 32) * table->buckets_count) >> 32);
}

static uint32_t
bucket_after(const struct id_table *table, uint32_t at)
{
    return at + 1 < table->buckets_count ? at + 1 : 0;
}

void
id_table_prefetch(const struct id_table *table, struct fingerprint fingerprint)
{
    prefetch_second(&table->buckets[bucket_of(table, fingerprint)]);
}

// Four tags side by side, in gcc's and clang's vectors; beside each other they stay in registers,
// where an array of them was written to memory and read again.
struct tag_lanes {
    __attribute__((vector_size(16))) uint32_t lanes;
};

struct tag_words {
    __attribute__((vector_size(16))) uint64_t lanes;
};

// Of four tags: those lanes of bits whose tag is this one.
static inline struct tag_words
lanes_same(const uint32_t tags[4], uint32_t tag, struct tag_lanes bits)
{
    __attribute__((uninitialized)) struct tag_lanes four;
    __attribute__((uninitialized)) struct tag_words words;
    memcpy(&four, tags, sizeof four);
    const __typeof__(four.lanes == tag) is_same = four.lanes == tag;
    __attribute__((uninitialized)) struct tag_lanes same;
    memcpy(&same, &is_same, sizeof same);
    same.lanes &= bits.lanes;
    memcpy(&words, &same, sizeof words);
    return words;
}

// A bit for each of the bucket's tags that is this one. Where they are equal a lane is all ones, of
// which the slot's bit stays.
static inline uint32_t
bucket_hits(const struct bucket *bucket, uint32_t tag)
{
    _Static_assert(BUCKET_SLOTS == 8, "two times four");
    struct tag_words low = lanes_same(
        bucket->tags,
        tag,
        (struct tag_lanes){
            {1, 2, 4, 8}
    });
    struct tag_words high = lanes_same(
        bucket->tags + 4,
        tag,
        (struct tag_lanes){
            {16, 32, 64, 128}
    });
    low.lanes |= high.lanes;
    const uint64_t both = low.lanes[0] | low.lanes[1];
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

// --- in order ---

struct id_walk
id_walk_open(const struct id_table *table)
{
    return (struct id_walk){.table = table, .sort = pool_take(1, sizeof(struct id_sort))};
}

void
id_walk_done(struct id_walk *walk)
{
    pool_give(walk->sort);
    buffer_done(&walk->gathered);
    buffer_done(&walk->sorted);
    walk->sort = NULL;
}

bool
id_walk_failed(const struct id_walk *walk)
{
    return walk->sort == NULL || buffer_failed(&walk->gathered) || buffer_failed(&walk->sorted);
}

static void
walk_prefetch(const struct id_table *table, uint32_t at)
{
    const struct bucket *bucket = &table->buckets[at];
    for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
        prefetch(&table->entries[bucket->places[i] - (bucket->places[i] != 0)]);
}

// All eight places are copied and the empty ones not counted: how full a bucket is cannot be
// foretold by the processor.
static uint32_t
bucket_copy(const struct id_table *table, uint32_t at, struct fingerprint *out)
{
    const struct bucket *bucket = &table->buckets[at];
    uint32_t count = 0;
    for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
        uint32_t is_taken = bucket->places[i] != 0;
        out[i] = table->entries[bucket->places[i] - is_taken];
        count += is_taken;
    }
    return count;
}

// An entry is in its bucket or in one of the full ones behind it, so buckets up to one that is not
// full have all entries of theirs and no other; the first of all may have some of the last, which
// ran over round the end. Returns the first bucket of what follows.
static uint32_t
walk_gather(struct id_walk *walk)
{
    const struct id_table *table = walk->table;
    const uint32_t first = walk->bucket;
    const uint32_t turn = table->buckets_count;
    uint32_t at = first;
    for (bool is_full = true; is_full; at++) {
        uint32_t bucket = at < turn ? at : at - turn;
        uint8_t *room = buffer_reserve(&walk->gathered, BUCKET_SLOTS * sizeof(struct fingerprint));
        if (room == NULL)
            return turn;
        if (bucket + WALK_AHEAD < turn)
            walk_prefetch(table, bucket + WALK_AHEAD);
        uint32_t count = bucket_copy(table, bucket, (void *)room);
        buffer_commit(&walk->gathered, count * sizeof(struct fingerprint));
        is_full = count == BUCKET_SLOTS;
    }
    return at;
}

// Leaves out what does not belong to the buckets [first, end).
static void
walk_restrict(struct id_walk *walk, size_t from, uint32_t first, uint32_t end)
{
    struct fingerprint *entries = (void *)walk->gathered.data;
    size_t count = walk->gathered.size / sizeof *entries;
    size_t kept = from;
    for (size_t i = from; i < count; i++) {
        uint32_t home = bucket_of(walk->table, entries[i]);
        if (home >= first && home < end)
            entries[kept++] = entries[i];
    }
    walk->gathered.size = kept * sizeof *entries;
}

bool
id_walk_next(struct id_walk *walk, const struct fingerprint **out, uint32_t *out_count)
{
    const uint32_t turn = walk->table->buckets_count;
    buffer_reset(&walk->gathered);
    buffer_reset(&walk->sorted);
    while (walk->bucket < turn && walk->gathered.size < WALK_ENTRIES * sizeof **out) {
        size_t before = walk->gathered.size / sizeof **out;
        uint32_t first = walk->bucket;
        walk->bucket = walk_gather(walk);
        if (first == 0 || walk->bucket > turn)
            walk_restrict(walk, before, first, walk->bucket < turn ? walk->bucket : turn);
    }
    uint8_t *sorted = buffer_reserve(&walk->sorted, walk->gathered.size);
    uint32_t count = (uint32_t)(walk->gathered.size / sizeof **out);
    if (id_walk_failed(walk) || count == 0)
        return false;
    id_sort(walk->sort, (void *)walk->gathered.data, (void *)sorted, count);
    *out = (void *)sorted;
    *out_count = count;
    return true;
}
