#pragma once
// Entries that are like the one before: the same keys in the same order, as a program writes them
// that has one place where it writes events.
//
//     struct decode_layout layout = {0};                       // for as long as there are entries
//     refusal = decode_entry_alike(&layout, &frame, &in, index, &event, &stats);
//
// The same result as decode_entry gives, for every entry, and at less than half the cost of those
// that are alike. Values may differ in everything, their sizes too; what is no array of a time and
// a small map, or has another key anywhere, is left to decode_entry.
//
// Owner: whoever reads entries. Thread: its own.

#include "ingest/decode_shape.h"

enum { LAYOUT_PAIRS_MAX = 15, LAYOUT_KEY_MAX = 16 };

// A key with its header: its bytes as two words, of which those are compared that it has.
struct layout_key {
    uint64_t wanted[LAYOUT_KEY_MAX / sizeof(uint64_t)];
    uint64_t mask[LAYOUT_KEY_MAX / sizeof(uint64_t)];
    uint8_t size;
    uint8_t name;  // enum reserved
};

struct decode_layout {
    uint32_t pairs;       // 0: none was learnt
    uint32_t properties;  // of them
    uint32_t wait;        // so many other entries must come before another layout is learnt
    struct layout_key keys[LAYOUT_PAIRS_MAX];
    struct decode_shape shape;  // of those among them that have the same sizes, too
};

enum refusal decode_entry_alike(
    struct decode_layout *layout,
    const struct frame *frame,
    struct cursor *in,
    uint32_t index,
    struct event *out,
    struct decode_stats *stats) __attribute__((warn_unused_result));
