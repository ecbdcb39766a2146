#pragma once
// What a front knows of an event that coding it would have to find out again: a parsed id, the hash
// of its subject, and which of the maps before it has the same properties.
//
//     group_put: is_uuid = uuid_parse(id, hint->uuid); hint->subject_hash = ...;
//                hint->map = its map's number in the lane's memo (payload_memo) << 1 | is_uuid
//     writer:    block_add_known(&writer, raw, hints, lane's maps);
//
// A map's number becomes its word by a look into a table that stays in the nearest cache, without
// hashing, finding and comparing its bytes again: the memo has compared them, and gives no number
// twice.
// Owner: hints: the group; maps: the lane. Thread: hints go over with the group; maps are the
// writer's.

#include "ledger/payload_memo.h"
#include "ledger/uuid.h"

#include <stdint.h>

struct block_hint {
    uint64_t subject_hash;    // cells_hash of the subject
    uint64_t map;             // its number << 1 | the id is a UUID
    uint8_t uuid[UUID_SIZE];  // then
};

static inline bool
hint_is_uuid(const struct block_hint *hint)
{
    return (hint->map & 1) != 0;
}

// 0: nobody knows.
static inline uint64_t
hint_map(const struct block_hint *hint)
{
    return hint->map >> 1;
}

// By the low bits of a number. Words are of one chapter.
struct block_maps {
    uint64_t chapter;
    struct block_map {
        uint64_t number;
        uint32_t word;
    } at[MEMO_SLOTS];
};

// NULL: no memory.
struct block_maps *block_maps_open(void);
void block_maps_close(struct block_maps *maps);
// Forgets the words of another chapter.
void block_maps_begin(struct block_maps *maps, uint64_t chapter);

static inline struct block_map *
block_maps_at(struct block_maps *maps, uint64_t number)
{
    return &maps->at[number % MEMO_SLOTS];
}
