#pragma once
// Distinct values that are too many for their cell: STATE_DB_UNIQUES.
//
//   key    16 bytes: hash128 of the cell's key  16 bytes: the value's hash
//   value  u64 checksum over the key
//
//     added = uniques_put(&tx, cell_key, &set);     // those that were not there yet
//     uniques_read(&tx, cell_key, &set, &arena);
//     uniques_delete(&tx, cell_key);
//
// Owner: who has the transaction.

#include "ledger/cell_state.h"
#include "ledger/lmdb_env.h"

uint64_t uniques_put(struct tx *tx, struct bytes cell_key, const struct cell_set *set);
// Adds all of a cell to the set. STATUS_CORRUPT: a value's checksum does not match, or there are
// not as many as the cell says (spilled).
enum status uniques_read(
    struct tx *tx,
    struct bytes cell_key,
    uint64_t spilled,
    struct cell_set *set,
    struct arena *arena) CHECKED;
void uniques_delete(struct tx *tx, struct bytes cell_key);
// At most max of them. Returns how many were deleted.
uint64_t uniques_delete_some(struct tx *tx, struct bytes cell_key, uint64_t max);
