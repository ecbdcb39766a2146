#pragma once
// Identities in memory, as many as it was made for: the newest ones of a shard.
//
//     id_table_prefetch(table, fingerprint);              // some events ahead
//     struct fingerprint *known = id_table_find(table, fingerprint);
//     if (known == NULL) id_table_add(table, fingerprint);
//     id_sort_begin(&sort, table);                        // what a run on disk is made of:
//     for (part = 0; part < ID_SORT_PARTS; part++)
//         count = id_sort_part(&sort, part, sorted);      // sort.room entries are there
//
// The entries stand in one array in the order of their coming; beside it buckets of one cache line
// hold eight pairs of tag and place each. So a lookup that finds nothing touches one line, and what
// is written to disk needs no gathering. Memory: 16 bytes an entry, touched as it fills, and 64
// bytes for each seven entries it was made for. Nothing grows, nothing is removed but all at once.
// Owner: the shard's writer while it fills; once sealed nobody writes, and any thread may read.

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// 96 bits of an identity, and what its payload was. The order of entries is by low, then high.
struct fingerprint {
    uint64_t low;
    uint32_t high;
    uint32_t payload;
};

_Static_assert(sizeof(struct fingerprint) == 16, "as it is stored");

// Stands for a payload: the identity was freed, and whoever comes with it is new.
enum { PAYLOAD_FREED = 0 };

// A payload hash of 0 counts as 1.
static inline struct fingerprint
fingerprint_of(struct hash128 identity, uint32_t payload)
{
    return (struct fingerprint){identity.low, (uint32_t)identity.high, payload ? payload : 1};
}

static inline int
fingerprint_compare(struct fingerprint a, struct fingerprint b)
{
    if (a.low != b.low)
        return a.low < b.low ? -1 : 1;
    return (a.high > b.high) - (a.high < b.high);
}

struct id_table;

// NULL: no memory.
struct id_table *id_table_open(uint32_t count_max);
void id_table_close(struct id_table *table);
// Forgets all entries. The memory stays, and is touched already.
void id_table_clear(struct id_table *table);
void id_table_prefetch(const struct id_table *table, struct fingerprint fingerprint);
// The entry with these 96 bits; its payload may be written over. NULL: none.
struct fingerprint *id_table_find(const struct id_table *table, struct fingerprint fingerprint);
// The same, and where it belongs if there is none: until the next addition.
struct id_spot {
    struct fingerprint *known;  // NULL: none
    uint32_t bucket;
};
struct id_spot id_table_seek(const struct id_table *table, struct fingerprint fingerprint);
// spot: what a seek of it has just answered, with nobody known. There must be room.
void id_table_put(struct id_table *table, struct fingerprint fingerprint, struct id_spot spot);
// It must be new, and there must be room.
void id_table_add(struct id_table *table, struct fingerprint fingerprint);
uint32_t id_table_count(const struct id_table *table);
// Bytes that have been touched, about.
size_t id_table_bytes(const struct id_table *table);

// Sorting a part at a time, so that what it takes beside the table is a quarter of its entries: it
// is memory that is touched for the first time, which costs more than sorting. The part of an entry
// is its two top bits, and its bin the ten.
enum { ID_SORT_PARTS = 4, ID_SORT_BINS = 256 };

struct id_sort {
    const struct id_table *table;
    uint32_t room;  // entries of the largest part
    uint32_t bins[ID_SORT_PARTS * ID_SORT_BINS];
};

// The table must not change until its last part is sorted.
void id_sort_begin(struct id_sort *sort, const struct id_table *table);
// The entries of the part in their order into out. Returns how many. All parts one after another
// are all entries in their order.
uint32_t id_sort_part(const struct id_sort *sort, uint32_t part, struct fingerprint *out);
