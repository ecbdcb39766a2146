// Open addressing over buckets of one cache line (four entries), at most three quarters full. An
// entry of zeros is free; an identity of zeros is stored as one.
//
//   identity.high: | table (top bits) | ............. | 32 bits kept |
//   identity.low:  | 64 bits kept; the bucket is its low bits        |

#include "ledger/dedup.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/pages.h"

struct dedup_entry {
    uint64_t low;
    uint32_t high;
    uint32_t payload;
};

enum {
    BUCKET_ENTRIES = 4,
    TABLE_ENTRIES_MIN = 256,  // one page
    TABLES_BITS_MAX = 16,
};

_Static_assert(sizeof(struct dedup_entry) == 16, "four entries to a cache line");

struct dedup_table {
    struct dedup_entry *entries;
    uint32_t mask;  // entries - 1
    uint32_t count;
};

struct dedup {
    uint32_t shift;  // identity.high >> shift is the table
    uint32_t tables_count;
    uint64_t count;
    uint64_t bytes;
    struct dedup_table *tables;
};

static struct dedup_entry
entry_of(struct hash128 identity, uint32_t payload)
{
    struct dedup_entry entry = {identity.low, (uint32_t)identity.high, payload};
    if (entry.low == 0 && entry.high == 0)
        entry.low = 1;
    return entry;
}

static bool
entry_is_free(const struct dedup_entry *entry)
{
    return entry->low == 0 && entry->high == 0;
}

static uint32_t
bucket_of(const struct dedup_table *table, uint64_t low)
{
    return (uint32_t)low & table->mask & ~(uint32_t)(BUCKET_ENTRIES - 1);
}

// The entry with this fingerprint, or the free place where it would go.
static struct dedup_entry *
table_probe(const struct dedup_table *table, const struct dedup_entry *wanted)
{
    for (uint32_t at = bucket_of(table, wanted->low);; at = (at + 1) & table->mask) {
        struct dedup_entry *entry = &table->entries[at];
        if (entry->low == wanted->low && entry->high == wanted->high)
            return entry;
        if (entry_is_free(entry))
            return entry;
    }
}

static struct dedup_table *
table_of(const struct dedup *dedup, struct hash128 identity)
{
    return &dedup->tables[identity.high >> dedup->shift];
}

static bool
table_init(struct dedup_table *table, uint32_t entries)
{
    must((entries & (entries - 1)) == 0);
    table->entries = pages_take((size_t)entries * sizeof *table->entries);
    table->mask = entries - 1;
    table->count = 0;
    return table->entries != NULL;
}

static size_t
table_bytes(const struct dedup_table *table)
{
    return ((size_t)table->mask + 1) * sizeof *table->entries;
}

static void
table_grow(struct dedup *dedup, struct dedup_table *table)
{
    struct dedup_table larger;
    must(table->mask < UINT32_MAX / 2);
    bool has_memory = table_init(&larger, (table->mask + 1) * 2);
    must(has_memory && "no memory for the identities of the log: give the machine more");
    for (uint32_t i = 0; i <= table->mask; i++) {
        if (!entry_is_free(&table->entries[i]))
            *table_probe(&larger, &table->entries[i]) = table->entries[i];
    }
    larger.count = table->count;
    dedup->bytes += table_bytes(&larger) - table_bytes(table);
    pages_give(table->entries, table_bytes(table));
    *table = larger;
}

struct dedup *
dedup_open(uint32_t tables_bits)
{
    must(tables_bits > 0 && tables_bits <= TABLES_BITS_MAX);
    struct dedup *dedup = pool_take(1, sizeof *dedup);
    if (dedup == NULL)
        return NULL;
    dedup->shift = 64 - tables_bits;
    dedup->tables_count = 1U << tables_bits;
    dedup->tables = pool_take(dedup->tables_count, sizeof *dedup->tables);
    for (uint32_t i = 0; dedup->tables != NULL && i < dedup->tables_count; i++) {
        if (!table_init(&dedup->tables[i], TABLE_ENTRIES_MIN)) {
            dedup_close(dedup);
            return NULL;
        }
        dedup->bytes += table_bytes(&dedup->tables[i]);
    }
    if (dedup->tables == NULL) {
        pool_give(dedup);
        return NULL;
    }
    return dedup;
}

void
dedup_close(struct dedup *dedup)
{
    if (dedup == NULL)
        return;
    for (uint32_t i = 0; i < dedup->tables_count; i++) {
        struct dedup_table *table = &dedup->tables[i];
        if (table->entries != NULL)
            pages_give(table->entries, table_bytes(table));
    }
    pool_give(dedup->tables);
    pool_give(dedup);
}

void
dedup_prefetch(const struct dedup *dedup, struct hash128 identity)
{
    const struct dedup_table *table = table_of(dedup, identity);
    __builtin_prefetch(&table->entries[bucket_of(table, identity.low)], 1);
}

enum dedup_result
dedup_find(const struct dedup *dedup, struct hash128 identity, uint32_t payload)
{
    const struct dedup_entry wanted = entry_of(identity, payload);
    const struct dedup_entry *entry = table_probe(table_of(dedup, identity), &wanted);
    if (entry_is_free(entry))
        return DEDUP_NEW;
    return entry->payload == payload ? DEDUP_SAME : DEDUP_DIFFERENT;
}

void
dedup_add(struct dedup *dedup, struct hash128 identity, uint32_t payload)
{
    struct dedup_table *table = table_of(dedup, identity);
    const struct dedup_entry wanted = entry_of(identity, payload);
    struct dedup_entry *entry = table_probe(table, &wanted);
    must(entry_is_free(entry));
    *entry = wanted;
    table->count++;
    dedup->count++;
    if (table->count > (table->mask + 1) / 4 * 3)
        table_grow(dedup, table);
}

uint64_t
dedup_count(const struct dedup *dedup)
{
    return dedup->count;
}

uint64_t
dedup_bytes(const struct dedup *dedup)
{
    return dedup->bytes;
}
