#include "ledger/uniques.h"

#include "base/assert.h"

enum { HASH_SIZE = CELL_HASH_SIZE, UNIQUE_KEY_SIZE = 2 * HASH_SIZE };

static uint64_t
key_checksum(struct bytes key)
{
    return hash64(key, STATE_DB_UNIQUES);
}

uint64_t
uniques_put(struct tx *tx, struct bytes cell_key, const struct cell_set *set)
{
    scoped(arena_done) struct arena scratch = {0};
    struct bytes sorted = cell_set_sorted(set, &scratch);
    uint8_t key[UNIQUE_KEY_SIZE];
    uint64_t added = 0;
    cell_hash_write(hash128(cell_key, 0), key);
    for (size_t at = 0; at < sorted.size && tx->status == STATUS_OK; at += HASH_SIZE) {
        struct bytes whole = bytes_of(key, sizeof key);
        struct bytes known;
        memcpy(key + HASH_SIZE, sorted.data + at, HASH_SIZE);
        if (tx_get(tx, STATE_DB_UNIQUES, whole, &known))
            continue;
        uint64_t checksum = key_checksum(whole);
        tx_put(tx, STATE_DB_UNIQUES, whole, bytes_of(&checksum, sizeof checksum));
        added++;
    }
    return added;
}

static bool
is_of_cell(const struct walk *walk, const uint8_t prefix[HASH_SIZE])
{
    return walk->key.size == UNIQUE_KEY_SIZE && memcmp(walk->key.data, prefix, HASH_SIZE) == 0;
}

enum status
uniques_read(
    struct tx *tx,
    struct bytes cell_key,
    uint64_t spilled,
    struct cell_set *set,
    struct arena *arena)
{
    uint8_t prefix[HASH_SIZE];
    uint64_t count = 0;
    enum status status = STATUS_OK;
    cell_hash_write(hash128(cell_key, 0), prefix);
    struct walk walk = walk_open(tx, STATE_DB_UNIQUES);
    bool more = walk_seek(&walk, bytes_of(prefix, sizeof prefix));
    for (; more && is_of_cell(&walk, prefix) && !status; more = walk_next(&walk)) {
        uint64_t checksum = key_checksum(walk.key);
        struct hash128 hash = cell_hash_read(walk.key.data + HASH_SIZE);
        bool is_sound = bytes_equal(walk.value, bytes_of(&checksum, sizeof checksum)) &&
                        (hash.low | hash.high) != 0;
        if (is_sound)
            (void)cell_set_add(set, hash, arena);
        else
            status = STATUS_CORRUPT;
        count++;
    }
    walk_done(&walk);
    return !status && count != spilled ? STATUS_CORRUPT : status;
}

uint64_t
uniques_delete_some(struct tx *tx, struct bytes cell_key, uint64_t max)
{
    uint8_t prefix[HASH_SIZE];
    uint8_t key[UNIQUE_KEY_SIZE];
    uint64_t deleted = 0;
    cell_hash_write(hash128(cell_key, 0), prefix);
    for (; deleted < max; deleted++) {
        struct walk walk = walk_open(tx, STATE_DB_UNIQUES);
        bool is_there =
            walk_seek(&walk, bytes_of(prefix, sizeof prefix)) && is_of_cell(&walk, prefix);
        if (is_there)
            memcpy(key, walk.key.data, sizeof key);
        walk_done(&walk);
        if (!is_there || !tx_delete(tx, STATE_DB_UNIQUES, bytes_of(key, sizeof key)))
            break;
    }
    return deleted;
}

void
uniques_delete(struct tx *tx, struct bytes cell_key)
{
    (void)uniques_delete_some(tx, cell_key, UINT64_MAX);
}
