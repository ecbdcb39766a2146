#pragma once
// Identities in memory, as many as it was made for: the newest ones of a shard.
//
//     id_table_prefetch(table, fingerprint);              // some events ahead
//     struct fingerprint *known = id_table_find(table, fingerprint);
//     if (known == NULL) id_table_add(table, fingerprint);
//     while (id_walk_next(&walk, &sorted, &count)) ...    // what a run on disk is made of
//
// The entries stand in one array in the order of their coming; beside it buckets of one cache line
// hold eight pairs of tag and place each. So a lookup that finds nothing touches one line. Buckets
// are in the order of identities, so a table is as good as sorted at any time: to walk it costs 20
// ns an entry less than a radix sort of a copy took. Memory: 16 bytes an entry, touched as it
// fills, and 64 bytes for each seven entries it was made for. Nothing grows, nothing is removed but
// all at once.
// Owner: the shard's writer while it fills; once sealed nobody writes, and any thread may read.

#include "base/buffer.h"
#include "ledger/id_sort.h"

struct id_table;

// NULL: no memory.
struct id_table *id_table_open(uint32_t count_max);
void id_table_close(struct id_table *table);
// Forgets all entries. The memory stays, and is touched already.
void id_table_clear(struct id_table *table);
// Has memory found for the lookups, or for so many entries, ahead of their use. From any thread,
// also while the table is used, and as long as it is not closed.
void id_table_touch_buckets(const struct id_table *table);
void id_table_touch_entries(const struct id_table *table, uint32_t count);
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

// All entries in their order, some thousand at a time:
//
//     struct id_walk walk = id_walk_open(table);
//     while (id_walk_next(&walk, &entries, &count)) ...
//     id_walk_done(&walk);
//
// The table must not change meanwhile. Entries are the walk's until the next step.
struct id_walk {
    const struct id_table *table;
    uint32_t bucket;  // the next one
    struct buffer gathered, sorted;
    struct id_sort *sort;
};

struct id_walk id_walk_open(const struct id_table *table);
void id_walk_done(struct id_walk *walk);
// False: the end, or no memory (id_walk_failed).
bool id_walk_next(struct id_walk *walk, const struct fingerprint **out, uint32_t *out_count);
bool id_walk_failed(const struct id_walk *walk);
