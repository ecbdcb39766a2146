#include "ledger/payload_memo.h"

#include "base/assert.h"
#include "base/prefetch.h"
#include "ledger/pages.h"

enum {
    LUCK_MAX = 2 * MEMO_SLOTS,
    LUCK_OF_HIT = 2,  // a hit pays for so many misses
    TRIED_EVERY = 16,
};

_Static_assert(
    sizeof(struct memo_slot) == 128, "two lines of the cache, of which most maps need one");
_Static_assert((int)MEMO_SIZE_MAX <= UINT8_MAX, "a slot's name holds the size");
_Static_assert(MEMO_SLOTS <= 1 << MEMO_NUMBER_SHIFT, "a map's number holds the slot");

struct payload_memo *
payload_memo_open(void)
{
    struct payload_memo *memo = pages_take(sizeof *memo);
    if (memo != NULL)
        memo->luck = LUCK_MAX;
    return memo;
}

void
payload_memo_close(struct payload_memo *memo)
{
    if (memo != NULL)
        pages_give(memo, sizeof *memo);
}

static inline uint64_t
load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

// Whoever wants maps to meet in one place may: they are compared, and hashed as if there was none.
static inline struct memo_slot *
place_of(struct payload_memo *memo, struct bytes properties)
{
    const uint8_t *at = properties.data, *const last = at + properties.size - sizeof(uint64_t);
    uint64_t hash = load(last);
    for (; at < last; at += sizeof(uint64_t))
        hash = (hash ^ load(at)) * 0x9e3779b97f4a7c15ULL;
    // What was multiplied moves up: the highest bits know of every byte.
    return &memo->slots[(hash >> (64 - MEMO_BITS)) * MEMO_WAYS];
}

static inline bool
slot_has(const struct memo_slot *slot, struct bytes properties)
{
    const uint8_t *kept = (const uint8_t *)slot->bytes;
    const size_t last = properties.size - sizeof(struct memo_block);
    struct memo_block a, b, differs;
    memcpy(&a, properties.data + last, sizeof a);
    memcpy(&b, kept + last, sizeof b);
    differs.words = a.words ^ b.words;
    // The last block overlaps the one before it.
    for (size_t at = 0; at < last; at += sizeof a) {
        memcpy(&a, properties.data + at, sizeof a);
        memcpy(&b, kept + at, sizeof b);
        differs.words |= a.words ^ b.words;
    }
    return (differs.words[0] | differs.words[1]) == 0;
}

struct memo_slot *
payload_memo_place(struct payload_memo *memo, struct bytes properties, uint32_t count)
{
    if (properties.size < MEMO_SIZE_MIN || properties.size > MEMO_SIZE_MAX ||
        count > MEMO_COUNT_MAX || (memo->luck == 0 && ++memo->asked % TRIED_EVERY != 0))
        return NULL;
    struct memo_slot *place = place_of(memo, properties);
    for (uint32_t way = 0; way < MEMO_WAYS; way++)
        prefetch(&place[way]);
    return place;
}

// All of a slot's name but which keep it was.
static inline uint64_t
kind_of(struct bytes properties, uint32_t count)
{
    return (uint64_t)properties.size << 8 | count;
}

static inline uint64_t
number_of(const struct payload_memo *memo, const struct memo_slot *slot)
{
    const uint64_t index = (uint64_t)(slot - memo->slots);
    return slot->name >> MEMO_NUMBER_SHIFT << MEMO_NUMBER_SHIFT | index;
}

bool
payload_memo_find(
    struct payload_memo *memo,
    const struct memo_slot *place,
    struct bytes properties,
    uint32_t count,
    struct memo_map *out)
{
    const uint64_t kind = kind_of(properties, count);
    const uint64_t kinds = (1ULL << MEMO_NUMBER_SHIFT) - 1;
    for (const struct memo_slot *slot = place; slot < place + MEMO_WAYS; slot++) {
        if ((slot->name & kinds) != kind || !slot_has(slot, properties))
            continue;
        memo->luck += memo->luck < LUCK_MAX ? LUCK_OF_HIT : 0;
        *out = (struct memo_map){.hash = slot->hash, .number = number_of(memo, slot)};
        return true;
    }
    memo->luck -= memo->luck > 0;
    return false;
}

uint64_t
payload_memo_keep(
    struct payload_memo *memo,
    struct memo_slot *place,
    struct bytes properties,
    uint32_t count,
    uint64_t hash)
{
    must(properties.size >= MEMO_SIZE_MIN && properties.size <= MEMO_SIZE_MAX);
    must(count <= MEMO_COUNT_MAX);
    struct memo_slot *slot = place;
    for (uint32_t way = 1; way < MEMO_WAYS; way++) {
        if (place[way].name < slot->name)
            slot = &place[way];
    }
    memcpy(slot->bytes, properties.data, properties.size);
    slot->name = ++memo->keeps << MEMO_NUMBER_SHIFT | kind_of(properties, count);
    slot->hash = hash;
    return number_of(memo, slot);
}
