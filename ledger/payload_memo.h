#pragma once
// Hashes of properties that were made before, and a number for each map. What events say beside
// subject, id and value is often one of some hundred maps, and to compare one costs a fifth of
// hashing it (230 instructions for two pairs came to 60).
//
//     struct payload_memo *memo = payload_memo_open();      // 256 KiB; NULL: no memory
//     place = payload_memo_place(memo, properties, count);  // some time before the rest
//     if (place == NULL || !payload_memo_find(memo, place, properties, count, &map))
//         map.hash = ...
//     if (place != NULL)
//         map.number = payload_memo_keep(memo, place, properties, count, map.hash);
//
// What is found is compared whole, so a hash is that of these bytes and no others, and so is a
// number: it is never given to another map. Maps that hardly ever come twice are looked for only
// now and then. Hashes depend on the ledger's secret: a memo is of one ledger. Owner: a lane.
// Thread: its front's.

#include "base/bytes.h"

enum {
    MEMO_BITS = 10,
    MEMO_WAYS = 2,  // where a map may lie: with one a fifth of 512 maps drove one another out
    MEMO_SLOTS = MEMO_WAYS << MEMO_BITS,
    MEMO_SIZE_MIN = 16,  // of a map: a smaller one is as soon hashed
    MEMO_SIZE_MAX = 112,
    MEMO_COUNT_MAX = UINT8_MAX,
    MEMO_NUMBER_SHIFT = 16,
};

struct memo_block {
    __attribute__((vector_size(16))) uint64_t words;
};

struct memo_slot {
    uint64_t hash;
    uint64_t name;  // keep << MEMO_NUMBER_SHIFT | size << 8 | count; 0: nothing is kept here
    struct memo_block bytes[MEMO_SIZE_MAX / sizeof(struct memo_block)];
};

struct memo_map {
    uint64_t hash;
    uint64_t number;  // 0: it has none; the low MEMO_NUMBER_SHIFT bits are below MEMO_SLOTS
};

struct payload_memo {
    uint64_t keeps;  // so far
    uint32_t luck;   // 0: what is asked for is hardly ever there
    uint32_t asked;
    struct memo_slot slots[MEMO_SLOTS];
};

struct payload_memo *payload_memo_open(void);
void payload_memo_close(struct payload_memo *memo);
// Where these properties lie if they are kept. NULL: they are not looked for.
struct memo_slot *
payload_memo_place(struct payload_memo *memo, struct bytes properties, uint32_t count);
// True: *out is what was kept for these bytes and this count.
bool payload_memo_find(
    struct payload_memo *memo,
    const struct memo_slot *place,
    struct bytes properties,
    uint32_t count,
    struct memo_map *out);
// What was not found, instead of what came first of what lies in its place. Returns its number.
uint64_t payload_memo_keep(
    struct payload_memo *memo,
    struct memo_slot *place,
    struct bytes properties,
    uint32_t count,
    uint64_t hash);
