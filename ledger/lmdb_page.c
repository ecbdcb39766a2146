#include "ledger/lmdb_page.h"

// The room that an entry takes; 0: it does not lie within the page.
static uint32_t
node_room(const uint8_t *page, uint32_t at, uint32_t page_size, bool is_leaf)
{
    if (at < u16_at(page + PAGE_UPPER) || at + NODE_HEADER > page_size)
        return 0;
    uint64_t size = NODE_HEADER + u16_at(page + at + 6);
    if (is_leaf)
        size += (u16_at(page + at + 4) & NODE_BIG) != 0 ? sizeof(uint64_t) : u32_at(page + at);
    size += size & 1;
    return at + size <= page_size ? (uint32_t)size : 0;
}

bool
page_is_packed(const uint8_t *page, uint32_t page_size, bool is_leaf)
{
    uint64_t seen[PAGE_SIZE_MAX / 2 / 64];
    uint32_t room = 0;
    memset(seen, 0, page_size / 2 / 8);
    for (uint32_t i = 0; i < page_count(page); i++) {
        const uint32_t at = page_node_at(page, i);
        const uint32_t own = node_room(page, at, page_size, is_leaf);
        const uint64_t bit = 1ULL << (at / 2 % 64);
        if (own == 0 || at % 2 != 0 || (seen[at / 2 / 64] & bit) != 0)
            return false;
        seen[at / 2 / 64] |= bit;
        room += own;
    }
    return room == page_size - u16_at(page + PAGE_UPPER);
}
