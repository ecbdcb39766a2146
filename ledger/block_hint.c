#include "ledger/block_hint.h"

#include "ledger/pages.h"

#include <string.h>

struct block_maps *
block_maps_open(void)
{
    return pages_take(sizeof(struct block_maps));
}

void
block_maps_close(struct block_maps *maps)
{
    pages_give(maps, sizeof *maps);
}

void
block_maps_begin(struct block_maps *maps, uint64_t chapter)
{
    if (maps->chapter == chapter)
        return;
    memset(maps->at, 0, sizeof maps->at);
    maps->chapter = chapter;
}
