#pragma once
// Cells on disk that are to be made anew from the log, listed in STATE_DB_DIRTY so that nobody has
// to look for them among all cells.
//
//   key    the cell's key
//   value  u64 checksum over the key
//
//     dirty_put(&tx, key);          // who writes a cell with CELL_DIRTY, in the same transaction
//     dirty_delete(&tx, key);       // who makes it anew (ledger/mend), or deletes it
//
// A cell is dirty when something was taken out of it that its aggregation cannot take out: then
// only the log knows what is left. Invariant: a record and the cell's CELL_DIRTY come and go
// together. Owner: who has the transaction.

#include "ledger/cell.h"
#include "ledger/lmdb_env.h"

void dirty_put(struct tx *state, struct bytes cell_key);
void dirty_delete(struct tx *state, struct bytes cell_key);
bool dirty_is_there(struct tx *state, struct bytes cell_key);
// Whether a record of STATE_DB_DIRTY is what dirty_put writes.
bool dirty_is_sound(struct bytes cell_key, struct bytes value);
