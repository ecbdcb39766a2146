#pragma once
// ULIDs: 26 characters that sort by their time, as OpenMeter names things.
//
//     char id[ULID_SIZE + 1];
//     ulid_make(now_ns, id);
//
// Thread: any.

#include "base/hash.h"

enum { ULID_SIZE = 26 };

// Of this moment and these 80 bits (the low 40 of each half).
void ulid_write(int64_t time_ns, struct hash128 bits, char out[ULID_SIZE + 1]);
// With random bits.
void ulid_make(int64_t time_ns, char out[ULID_SIZE + 1]);
