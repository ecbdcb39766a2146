#include "tools/ordinals.h"

#include "base/assert.h"

enum { SLOTS_FIRST = 1024 };

void
ordinals_done(struct ordinals *ordinals)
{
    arena_done(&ordinals->arena);
    *ordinals = (struct ordinals){0};
}

// Where key is, or the free slot where it belongs. There always is a free one.
static size_t
slot_find(const struct ordinals *ordinals, struct hash128 key)
{
    must(ordinals->used < ordinals->slots);
    size_t mask = ordinals->slots - 1;
    size_t slot = (size_t)key.low & mask;
    while (ordinals->counts[slot] > 0) {
        const struct hash128 *found = &ordinals->keys[slot];
        if (found->low == key.low && found->high == key.high)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void
slots_double(struct ordinals *ordinals)
{
    struct ordinals larger = {.slots = ordinals->slots ? ordinals->slots * 2 : SLOTS_FIRST};
    larger.keys = arena_array(&larger.arena, larger.slots, struct hash128);
    larger.counts = arena_array(&larger.arena, larger.slots, uint32_t);
    for (size_t i = 0; i < ordinals->slots; i++) {
        if (ordinals->counts[i] == 0)
            continue;
        size_t slot = slot_find(&larger, ordinals->keys[i]);
        must(larger.counts[slot] == 0);
        larger.keys[slot] = ordinals->keys[i];
        larger.counts[slot] = ordinals->counts[i];
        larger.used++;
    }
    must(larger.used == ordinals->used);
    ordinals_done(ordinals);
    *ordinals = larger;
}

uint32_t
ordinals_next(struct ordinals *ordinals, struct hash128 key)
{
    if ((ordinals->used + 1) * 4 > ordinals->slots * 3)
        slots_double(ordinals);
    size_t slot = slot_find(ordinals, key);
    if (ordinals->counts[slot] == 0) {
        ordinals->keys[slot] = key;
        ordinals->used++;
    }
    must(ordinals->counts[slot] < UINT32_MAX);
    return ordinals->counts[slot]++;
}
