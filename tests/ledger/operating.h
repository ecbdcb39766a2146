#pragma once
// What the tests of backup, rebuild and retention hold ledgers together by.
//
//     uint64_t before = operating_state(dir);      // of cells, spilled values, batches
//     uint64_t text = operating_dump(dir);         // of every event that dump prints
//     operating_verify(dir);                       // no findings, or the test fails with the first
//     operating_fill(&writing, 100);               // random events of some subjects, stored
//
// All of them want a ledger that no writer has open.

#include "tests/ledger/writing.h"

// Goes on where a close stopped waiting for dirty cells, until none is left (at most 60 s): they
// are made anew in the background, and until then their bytes are whatever was left in them.
void operating_mend(const char *dir);
// Of what is there when no cell is dirty, to which it sees itself (operating_mend).
uint64_t operating_state(const char *dir);
uint64_t operating_dump(const char *dir);
void operating_verify(const char *dir);
// Opens the ledger, which recovers it, and closes it, which flushes its cells.
void operating_settle(const char *dir);
// count events, in groups of some; every fate is there when it returns.
void operating_fill(struct writing *writing, uint32_t count);
// The last block of a shard's log.
uint64_t operating_head(const char *dir, uint32_t shard);
