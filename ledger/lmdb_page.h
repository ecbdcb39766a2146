#pragma once
// A page of an LMDB tree by its bytes. Layout: ledger/lmdb_file.c.
//
//     if (page_has_bounds(page, page_size) && page_is_packed(page, page_size, is_leaf))
//         for (i = 0; i < page_count(page); i++) ... page + page_node_at(page, i) ...
//
// Reads only. Thread: any.

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { PAGE_HEADER = 16, PAGE_FLAGS = 10, PAGE_LOWER = 12, PAGE_UPPER = 14, PAGE_SIZE_MAX = 32768 };
enum { NODE_HEADER = 8, TREE_SIZE = 48 };
enum { FLAG_BRANCH = 1, FLAG_LEAF = 2, FLAG_OVERFLOW = 4, FLAG_META = 8 };
enum { NODE_BIG = 1, NODE_TREE = 2 };

static const uint64_t NO_PAGE = UINT64_MAX;

static inline uint32_t
u16_at(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t
u32_at(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t
u64_at(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

// Where it is, and its size, by its own word; of a page that has bounds.
static inline uint32_t
page_count(const uint8_t *page)
{
    return (u16_at(page + PAGE_LOWER) - PAGE_HEADER) / 2;
}

static inline uint32_t
page_node_at(const uint8_t *page, uint32_t index)
{
    return u16_at(page + PAGE_HEADER + 2 * index);
}

// Whether it has entries, between its header and its end.
static inline bool
page_has_bounds(const uint8_t *page, uint32_t page_size)
{
    const uint32_t lower = u16_at(page + PAGE_LOWER);
    const uint32_t upper = u16_at(page + PAGE_UPPER);
    return lower > PAGE_HEADER && lower % 2 == 0 && lower <= upper && upper <= page_size;
}

// Whether its entries fill it from `upper` to its end, each once, as LMDB keeps them. The page has
// bounds; page_size: at most PAGE_SIZE_MAX.
bool page_is_packed(const uint8_t *page, uint32_t page_size, bool is_leaf);
