#include "ledger/cuts.h"

#include "base/assert.h"

#include <string.h>

void
cuts_add(struct cuts *cuts, const struct cut *cut, struct arena *arena)
{
    must(cuts->count == 0 || cuts->list[cuts->count - 1].number < cut->number);
    must(cuts->count < CUTS_MAX && cut->number > 0);
    if (cuts->count == cuts->capacity) {
        uint32_t capacity = cuts->capacity > 0 ? cuts->capacity * 2 : 16;
        struct cut *list = arena_array(arena, capacity, struct cut);
        if (cuts->count > 0)
            memcpy(list, cuts->list, cuts->count * sizeof *list);
        cuts->list = list;
        cuts->capacity = capacity;
    }
    cuts->list[cuts->count++] = *cut;
    if (cuts->count == 1 || cut->time_s > cuts->latest_s)
        cuts->latest_s = cut->time_s;
}

// Most events belong to windows that no cut has sealed, which one comparison says.
uint32_t
cuts_epoch(const struct cuts *cuts, int64_t end_s, uint32_t after)
{
    if (cuts->count == 0 || cuts->latest_s < end_s)
        return 0;
    for (uint32_t i = cuts->count; i-- > 0;) {
        if (cuts->list[i].number <= after && cuts->list[i].time_s >= end_s)
            return cuts->list[i].number;
    }
    return 0;
}

uint64_t
cuts_epoch_end(const struct cuts *cuts, int64_t end_s, uint32_t epoch)
{
    for (uint32_t i = 0; i < cuts->count; i++) {
        if (cuts->list[i].number > epoch && cuts->list[i].time_s >= end_s)
            return cuts->list[i].block;
    }
    return UINT64_MAX;
}

const struct cut *
cuts_find(const struct cuts *cuts, uint32_t number)
{
    for (uint32_t i = cuts->count; i-- > 0;) {
        if (cuts->list[i].number == number)
            return &cuts->list[i];
    }
    return NULL;
}

uint32_t
cuts_before(const struct cuts *cuts, uint64_t block)
{
    uint32_t low = 0;
    uint32_t high = cuts->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cuts->list[middle].block < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : cuts->list[low - 1].number;
}
