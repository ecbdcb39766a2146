#pragma once
// What is believed of records of STATE_DB_META that are not there.
//
//     if (tx_get(&state, STATE_DB_META, key, &value) && state_meta_read(key, value, &number))
//         damaged;
//     else if (it was not there)
//         status = state_meta_check(&state, &error);       // so it never was
//
// A record that is there proves itself by its checksum. One that is not may lie in a damaged page,
// or behind a damaged key: that it never was is known when all the others are whole, and as many as
// LMDB counted. Who lists records of a kind checks likewise. There are few of them, and a snapshot
// is looked through once. Thread: the transaction's.

#include "base/status.h"

struct tx;

// STATUS_CORRUPT: a record may be missing.
enum status state_meta_check(struct tx *state, struct error *error) CHECKED;
