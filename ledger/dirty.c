#include "ledger/dirty.h"

#include "base/assert.h"

static uint64_t
key_checksum(struct bytes cell_key)
{
    return hash64(cell_key, STATE_DB_DIRTY);
}

void
dirty_put(struct tx *state, struct bytes cell_key)
{
    uint64_t checksum = key_checksum(cell_key);
    must(cell_key.size <= CELL_KEY_MAX);
    tx_put(state, STATE_DB_DIRTY, cell_key, bytes_of(&checksum, sizeof checksum));
}

void
dirty_delete(struct tx *state, struct bytes cell_key)
{
    (void)tx_delete(state, STATE_DB_DIRTY, cell_key);
}

bool
dirty_is_there(struct tx *state, struct bytes cell_key)
{
    struct bytes value;
    return tx_get(state, STATE_DB_DIRTY, cell_key, &value) && dirty_is_sound(cell_key, value);
}

bool
dirty_is_sound(struct bytes cell_key, struct bytes value)
{
    uint64_t checksum = key_checksum(cell_key);
    struct cell_key key;
    return cell_key.size <= CELL_KEY_MAX && cell_key_read(cell_key, &key) &&
           bytes_equal(value, bytes_of(&checksum, sizeof checksum));
}
