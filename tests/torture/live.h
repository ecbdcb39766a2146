#pragma once
// Which bytes of an LMDB file mean something: those that its newest commit reaches, field by field.
//
//     uint8_t *live = live_map(bytes, size);      // a byte each: 1 live; free() it
//
// Trusts the file, which nobody damaged yet. Shares nothing with ledger/lmdb_file, which it is to
// test: this one marks what is used, that one says what does not fit. Thread: any.

#include <stddef.h>
#include <stdint.h>

uint8_t *live_map(const uint8_t *bytes, size_t size);
