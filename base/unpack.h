#pragma once
// Reading msgpack that nobody vouches for: a zero-copy cursor, and a resumable scan for a message's
// end.
//
//     struct unpack_item item;
//     if (!unpack_next(&in, &item)) return REFUSED;            // header, and the body of a scalar
//     if (item.type == UNPACK_MAP) for (i = 0; i < item.count; i++) ...
//
//     struct unpack_scan scan = {0};                           // one per connection
//     enum unpack_result r = unpack_scan(&scan, received);     // call again when more has arrived
//     if (r == UNPACK_COMPLETE) frame = first scan.size bytes of received
//
// A declared count or length larger than the bytes left is never believed: nothing is allocated
// here, and the cursor fails. The scan remembers where it was, so that a message arriving byte by
// byte costs linear time. Spec: msgpack specification, v5 (str8, bin, ext). Values. Thread: any.

#include "base/bytes.h"

enum unpack_type {
    UNPACK_NIL,
    UNPACK_BOOL,
    UNPACK_INT,     // negative integers: integer
    UNPACK_UINT,    // integers >= 0, whatever their width or sign on the wire: natural
    UNPACK_FLOAT,   // real32
    UNPACK_DOUBLE,  // real64
    UNPACK_STR,     // text
    UNPACK_BIN,     // text
    UNPACK_EXT,     // text, ext_type
    UNPACK_ARRAY,   // count items follow
    UNPACK_MAP,     // count pairs follow
};

struct unpack_item {
    enum unpack_type type;
    int8_t ext_type;
    uint32_t count;
    union {
        bool boolean;
        int64_t integer;
        uint64_t natural;
        float real32;
        double real64;
        struct bytes text;  // a view into the cursor's bytes
    };
};

// unpack_next for what is not short, or not whole.
bool unpack_next_any(struct cursor *cursor, struct unpack_item *out);

// False (and the cursor failed) when the bytes end before the item does, or for the byte 0xc1.
// Inline for what events mostly consist of, naturals of one byte and two, small containers, and
// strings of a byte's length (ids are 36 bytes long): a call and a detour by a header cost more
// than reading it. Sets what the type has.
static inline bool
unpack_next(struct cursor *cursor, struct unpack_item *out)
{
    const uint8_t *at = cursor->at;
    size_t left = cursor_left(cursor);
    if (__builtin_expect(left < 2, 0))
        return unpack_next_any(cursor, out);
    size_t head = at[0] == 0xd9 ? 2 : 1;
    size_t size = head == 2 ? at[1] : at[0] & 0x1f;
    if ((at[0] & 0xe0) == 0xa0 || head == 2) {
        if (__builtin_expect(size > left - head, 0))
            return unpack_next_any(cursor, out);
        out->type = UNPACK_STR;
        out->text = bytes_of(at + head, size);
        cursor->at = at + head + size;
        return true;
    }
    if (at[0] < 0x80) {
        out->type = UNPACK_UINT;
        out->natural = at[0];
    } else if (at[0] < 0xa0) {
        bool is_map = at[0] < 0x90;
        out->type = is_map ? UNPACK_MAP : UNPACK_ARRAY;
        out->count = at[0] & 0x0f;
        if (__builtin_expect((size_t)out->count << is_map > left - 1, 0))
            return unpack_next_any(cursor, out);
    } else if (at[0] == 0xcd && left >= 3) {
        out->type = UNPACK_UINT;
        out->natural = (uint64_t)at[1] << 8 | at[2];
        cursor->at = at + 3;
        return true;
    } else {
        return unpack_next_any(cursor, out);
    }
    cursor->at = at + 1;
    return true;
}

static inline bool
unpack_is_short_text(const uint8_t *at)
{
    return (at[0] & 0xe0) == 0xa0;
}

// The size of the value at `at` when it is a text of up to 31 bytes or a natural of up to two, and
// all of it is among the left bytes; 0: somebody else has to look.
static inline size_t
unpack_size_short(const uint8_t *at, size_t left)
{
    size_t size = 0;
    if (left == 0)
        return 0;
    if (unpack_is_short_text(at))
        size = 1 + (size_t)(at[0] & 0x1f);
    else if (at[0] < 0x80)
        size = 1;
    else if (at[0] == 0xcc || at[0] == 0xcd)
        size = at[0] == 0xcc ? 2 : 3;
    return size <= left ? size : 0;
}

// The natural of which unpack_size_short said the size.
static inline uint32_t
unpack_natural_short(const uint8_t *at, size_t size)
{
    const uint32_t last = at[size - 1];
    return size == 3 ? (uint32_t)at[1] << 8 | last : last;
}

// Skips one whole value, nested at most depth_max containers deep. False: incomplete, 0xc1, or
// deeper.
bool unpack_skip(struct cursor *cursor, uint32_t depth_max);
// The same, and counts: how many items the value is, itself included, which is what the work for it
// goes by. 0: false.
uint32_t unpack_skip_counted(struct cursor *cursor, uint32_t depth_max);

enum { UNPACK_DEPTH_MAX = 32 };

// What the values of a run have in common when they were made by the same program: the same size,
// and the same header bytes at the same places. Then a value that fits is known to be whole without
// reading one header after another, each of which says where the next one is.
enum { UNPACK_SHAPE_MIN = 16, UNPACK_SHAPE_MAX = 256 };

// Sixteen bytes side by side: gcc's and clang's vectors, for which every machine of ours has
// instructions (of a walk over 110 bytes, 145 instructions with words of eight came to 75).
struct unpack_block {
    __attribute__((vector_size(16))) uint64_t words;
};

struct unpack_shape {
    size_t size;       // of the values that it is of; 0: none was learnt
    size_t last_size;  // of the value before
    uint32_t items;    // of such a value
    uint32_t stamp;    // another one whenever another shape is learnt
    // The bytes that are compared, and what they must be; those of the end, which may overlap the
    // block before them, have a block of their own.
    struct unpack_block mask[UNPACK_SHAPE_MAX / sizeof(struct unpack_block)];
    struct unpack_block wanted[UNPACK_SHAPE_MAX / sizeof(struct unpack_block)];
    struct unpack_block mask_end;
    struct unpack_block wanted_end;
};

static inline void
unpack_shape_begin(struct unpack_shape *shape)
{
    shape->size = shape->last_size = 0;
    shape->stamp = 0;
}

// Whether the value at `at`, where shape->size bytes are, is one of its shape. A shape was learnt.
static inline bool
unpack_shape_fits(const struct unpack_shape *shape, const uint8_t *at)
{
    const size_t last = shape->size - sizeof(struct unpack_block);
    struct unpack_block block, differs;
    memcpy(&block, at + last, sizeof block);
    differs.words = (block.words & shape->mask_end.words) ^ shape->wanted_end.words;
    for (size_t offset = 0, i = 0; offset < last; offset += sizeof block, i++) {
        memcpy(&block, at + offset, sizeof block);
        differs.words |= (block.words & shape->mask[i].words) ^ shape->wanted[i].words;
    }
    return (differs.words[0] | differs.words[1]) == 0;
}

// Learns it from a value that is whole, no deeper than UNPACK_DEPTH_MAX, and of UNPACK_SHAPE_MIN to
// UNPACK_SHAPE_MAX bytes.
void unpack_shape_learn(struct unpack_shape *shape, struct bytes value);
// Of the value that it was learnt from: these bytes are to be the same, too.
void unpack_shape_pin(struct unpack_shape *shape, struct bytes value, size_t offset, size_t size);

// unpack_skip_counted with UNPACK_DEPTH_MAX, one after another of a run; learns the shape as it
// goes.
uint32_t unpack_skip_alike(struct cursor *cursor, struct unpack_shape *shape);

enum unpack_result {
    UNPACK_COMPLETE,    // scan.size is the message's length in bytes
    UNPACK_INCOMPLETE,  // more bytes are needed
    UNPACK_BROKEN,      // 0xc1, or deeper than UNPACK_DEPTH_MAX
    UNPACK_TOO_LARGE,   // it is already clear that it will be larger than size_max
};

struct unpack_scan {
    size_t size;  // bytes walked so far; the whole length when complete
    uint32_t depth;
    uint64_t left[UNPACK_DEPTH_MAX + 1];  // values still to come per open container
    bool is_started;
};

// bytes: everything received of this message so far, from its first byte. size_max: refuse beyond
// it as soon as a declared length or count (at least a byte for each item) shows it. Zero the scan
// before the next message.
enum unpack_result unpack_scan(struct unpack_scan *scan, struct bytes bytes, size_t size_max);
