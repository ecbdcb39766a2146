#include "ledger/payload_memo.h"

#include "base/assert.h"
#include "ledger/pages.h"

enum {
    LUCK_MAX = 2 * MEMO_SLOTS,
    LUCK_OF_HIT = 2,  // a hit pays for so many misses
    TRIED_EVERY = 16,
};

_Static_assert(
    sizeof(struct memo_slot) == 128, "two lines of the cache, of which most maps need one");

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

// Whoever wants maps to meet in one slot may: they are compared, and hashed as if there was none.
static inline struct memo_slot *
slot_of(struct payload_memo *memo, struct bytes properties)
{
    const uint8_t *at = properties.data, *const last = at + properties.size - sizeof(uint64_t);
    uint64_t hash = load(last);
    for (; at < last; at += sizeof(uint64_t))
        hash = (hash ^ load(at)) * 0x9e3779b97f4a7c15ULL;
    // What was multiplied moves up: the highest bits know of every byte.
    return &memo->slots[hash >> (64 - MEMO_BITS)];
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

static inline bool
size_is_kept(size_t size)
{
    return size >= MEMO_SIZE_MIN && size <= MEMO_SIZE_MAX;
}

bool
payload_memo_find(struct payload_memo *memo, struct bytes properties, uint32_t count, uint64_t *out)
{
    if (!size_is_kept(properties.size) || (memo->luck == 0 && ++memo->asked % TRIED_EVERY != 0))
        return false;
    const struct memo_slot *slot = slot_of(memo, properties);
    if (slot->size != properties.size || slot->count != count || !slot_has(slot, properties)) {
        memo->luck -= memo->luck > 0;
        return false;
    }
    memo->luck += memo->luck < LUCK_MAX ? LUCK_OF_HIT : 0;
    *out = slot->hash;
    return true;
}

void
payload_memo_keep(struct payload_memo *memo, struct bytes properties, uint32_t count, uint64_t hash)
{
    if (!size_is_kept(properties.size) || (memo->luck == 0 && memo->asked % TRIED_EVERY != 0))
        return;
    struct memo_slot *slot = slot_of(memo, properties);
    memcpy(slot->bytes, properties.data, properties.size);
    slot->size = (uint32_t)properties.size;
    slot->count = count;
    slot->hash = hash;
}
