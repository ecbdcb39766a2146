#pragma once
// Hashes of properties that were made before. What events say beside subject, id and value is
// often one of some hundred maps, and to compare one costs a fifth of hashing it (230 instructions
// for two pairs came to 60).
//
//     struct payload_memo *memo = payload_memo_open();      // 128 KiB; NULL: no memory
//     if (!payload_memo_find(memo, properties, count, &hash))
//         payload_memo_keep(memo, properties, count, hash = ...);
//
// What is found is compared whole, so a hash is that of these bytes and no others. Maps that hardly
// ever come twice are looked for only now and then. Hashes depend on the ledger's secret: a memo is
// of one ledger. Owner: a lane. Thread: its front's.

#include "base/bytes.h"

enum {
    MEMO_BITS = 10,
    MEMO_SLOTS = 1 << MEMO_BITS,
    MEMO_SIZE_MIN = 16,  // of a map: a smaller one is as soon hashed
    MEMO_SIZE_MAX = 112,
};

struct memo_block {
    __attribute__((vector_size(16))) uint64_t words;
};

struct memo_slot {
    uint64_t hash;
    uint32_t size;  // 0: nothing is kept here
    uint32_t count;
    struct memo_block bytes[MEMO_SIZE_MAX / sizeof(struct memo_block)];
};

struct payload_memo {
    uint32_t luck;  // 0: what is asked for is hardly ever there
    uint32_t asked;
    struct memo_slot slots[MEMO_SLOTS];
};

struct payload_memo *payload_memo_open(void);
void payload_memo_close(struct payload_memo *memo);
// True: *out is what was kept for these bytes and this count.
bool payload_memo_find(
    struct payload_memo *memo, struct bytes properties, uint32_t count, uint64_t *out);
// Instead of what lay in its place.
void payload_memo_keep(
    struct payload_memo *memo, struct bytes properties, uint32_t count, uint64_t hash);
