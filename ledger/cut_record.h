#pragma once
// The cuts that the cells on disk know, kept in state/ so that a start need not read old blocks.
//
//     cuts_read(&tx, &cuts, &arena, &error);      // all, in the order of their numbers
//     cuts_write(&tx, &cuts, position);           // a flush: those behind the last position
//
//   meta  key "cut" u32be number -> u64 time (seconds)  u64 block  u64 checksum over key and both
//
// Invariant: the records are the cuts of blocks [1, position]. Owner: values. Thread: any.

#include "ledger/cuts.h"
#include "ledger/lmdb_env.h"

enum { CUT_KEY_SIZE = 3 + 4 };

// The key of a cut's record, in bytes.
struct bytes cut_key(uint32_t number, uint8_t bytes[CUT_KEY_SIZE]);
// Whether a key of STATE_DB_META is one of these records.
bool cut_key_is(struct bytes key);
// STATUS_CORRUPT: its checksum does not match.
enum status cut_read(struct bytes key, struct bytes value, struct cut *out) CHECKED;
// cuts is empty. STATUS_CORRUPT: a record is damaged, or may be missing.
enum status
cuts_read(struct tx *state, struct cuts *cuts, struct arena *arena, struct error *error) CHECKED;
// Those of blocks after this position.
void cuts_write(struct tx *state, const struct cuts *cuts, uint64_t after);
