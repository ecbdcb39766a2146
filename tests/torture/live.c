#include "tests/torture/live.h"

#include "base/assert.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, HEADER = 16, TREE = 48, META_TREES = HEADER + 24, META_END = META_TREES + 96 };

struct map {
    const uint8_t *bytes;
    uint8_t *live;
    size_t size;
};

static uint64_t
number(const struct map *map, size_t at, size_t size)
{
    uint64_t value = 0;
    must(at + size <= map->size);
    memcpy(&value, map->bytes + at, size);
    return value;
}

static void
mark(struct map *map, size_t at, size_t size)
{
    must(at + size <= map->size);
    memset(map->live + at, 1, size);
}

// Its number and flags; two bytes between them mean nothing.
static void
mark_header(struct map *map, size_t page)
{
    mark(map, page, 8);
    mark(map, page + 10, 6);
}

// A tree's record but for its first four bytes, and all of its pages.
static void mark_tree(struct map *map, size_t record, bool is_names);

static void
mark_value(struct map *map, size_t node, bool is_names)
{
    size_t key = number(map, node + 6, 2);
    size_t size = number(map, node, 4);
    size_t data = node + 8 + key;
    bool is_big = (number(map, node + 4, 2) & 1) != 0;
    mark(map, node, 8 + key);
    if (is_names) {
        mark_tree(map, data, false);
    } else if (is_big) {
        size_t first = number(map, data, 8) * PAGE;
        mark(map, data, 8);
        mark_header(map, first);
        mark(map, first + HEADER, size);
    } else {
        mark(map, data, size);
    }
}

static void
mark_page(struct map *map, uint64_t page_number, bool is_names)
{
    size_t page = page_number * PAGE;
    bool is_leaf = number(map, page + 10, 2) == 2;
    size_t count = (number(map, page + 12, 2) - HEADER) / 2;
    mark_header(map, page);
    for (size_t i = 0; i < count; i++) {
        size_t node = page + number(map, page + HEADER + 2 * i, 2);
        mark(map, page + HEADER + 2 * i, 2);
        if (is_leaf) {
            mark_value(map, node, is_names);
            continue;
        }
        // The first key of a branch is looked at by nobody.
        mark(map, node, 6);
        if (i > 0)
            mark(map, node + 6, 2 + number(map, node + 6, 2));
        mark_page(map, number(map, node, 6), is_names);
    }
}

static void
mark_tree(struct map *map, size_t record, bool is_names)
{
    uint64_t root = number(map, record + 40, 8);
    mark(map, record + 4, TREE - 4);
    if (root != UINT64_MAX)
        mark_page(map, root, is_names);
}

uint8_t *
live_map(const uint8_t *bytes, size_t size)
{
    struct map map = {.bytes = bytes, .live = calloc(1, size), .size = size};
    must(map.live != NULL);
    bool is_second = number(&map, PAGE + META_END + 8, 8) > number(&map, META_END + 8, 8);
    size_t meta = is_second ? PAGE : 0;
    for (size_t page = 0; page <= PAGE; page += PAGE) {
        mark(&map, page + 10, 1);          // that it is a meta page
        mark(&map, page + HEADER, 8);      // of which version
        mark(&map, page + META_TREES, 4);  // the page size
        mark(&map, page + META_END + 8, 8);
    }
    mark(&map, meta + META_END, 8);
    mark_tree(&map, meta + META_TREES, false);
    mark_tree(&map, meta + META_TREES + TREE, true);
    return map.live;
}
