// Reading msgpack from outside. The problem: every length and count is a claim by somebody who may
// lie, and a message may arrive one byte at a time.
//
// 1. A header is read only when all of it is there; its claim is compared with the bytes that are
//    there (cursor) or with what the caller is ready to take (scan) before anything follows from
//    it.
// 2. Nothing recurses: open containers are a small array of counts, so depth cannot exhaust the
//    stack.
// 3. The scan moves only over whole items. A long body that is still arriving costs a look at its
//    header per call, not a walk.

#include "base/unpack.h"

#include "base/assert.h"

// What the first byte says. The numbers are those of the msgpack specification, v5.
enum form {
    FORM_NEVER,  // 0xc1
    FORM_NIL,
    FORM_FALSE,
    FORM_TRUE,
    FORM_UINT,
    FORM_INT,
    FORM_FLOAT,
    FORM_DOUBLE,
    FORM_STR,
    FORM_BIN,
    FORM_EXT,
    FORM_ARRAY,
    FORM_MAP,
};

enum {
    TAG_FIRST = 0xc0,
    TAG_LAST = 0xdf,
    TAG_STR8 = 0xd9,
    TAG_FIXEXT_FIRST = 0xd4,
    TAG_FIXEXT_LAST = 0xd8
};

// The bytes 0xc0 to 0xdf; all others carry their number in themselves. width: bytes of the number
// that follows (a value, a length or a count).
static const struct {
    uint8_t form;
    uint8_t width;
} TAGS[TAG_LAST - TAG_FIRST + 1] = {
    {FORM_NIL,    0},
    {FORM_NEVER,  0},
    {FORM_FALSE,  0},
    {FORM_TRUE,   0},
    {FORM_BIN,    1},
    {FORM_BIN,    2},
    {FORM_BIN,    4},
    {FORM_EXT,    1},
    {FORM_EXT,    2},
    {FORM_EXT,    4},
    {FORM_FLOAT,  4},
    {FORM_DOUBLE, 8},
    {FORM_UINT,   1},
    {FORM_UINT,   2},
    {FORM_UINT,   4},
    {FORM_UINT,   8},
    {FORM_INT,    1},
    {FORM_INT,    2},
    {FORM_INT,    4},
    {FORM_INT,    8},
    {FORM_EXT,    0},
    {FORM_EXT,    0},
    {FORM_EXT,    0},
    {FORM_EXT,    0},
    {FORM_EXT,    0},
    {FORM_STR,    1},
    {FORM_STR,    2},
    {FORM_STR,    4},
    {FORM_ARRAY,  2},
    {FORM_ARRAY,  4},
    {FORM_MAP,    2},
    {FORM_MAP,    4},
};

// Sizes of the values 0xc0 to 0xdf that have a fixed one; 0: a claim follows that must be checked.
static const uint8_t SHORT_SIZES[TAG_LAST - TAG_FIRST + 1] = {
    1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18,
};

struct header {
    enum form form;
    int8_t ext_type;
    uint8_t size;     // bytes of the header
    uint64_t number;  // the value (sign-extended), the body's length, or the count
};

static inline bool
form_has_body(enum form form)
{
    return form == FORM_STR || form == FORM_BIN || form == FORM_EXT;
}

static inline uint64_t
number_be(const uint8_t *at, uint8_t width)
{
    if (width == 1)
        return at[0];
    if (width == 2) {
        uint16_t number;
        memcpy(&number, at, sizeof number);
        return __builtin_bswap16(number);
    }
    if (width == 4) {
        uint32_t number;
        memcpy(&number, at, sizeof number);
        return __builtin_bswap32(number);
    }
    must(width == 8);
    uint64_t number;
    memcpy(&number, at, sizeof number);
    return __builtin_bswap64(number);
}

static uint64_t
number_sign_extend(uint64_t number, uint8_t width)
{
    if (width == 1)
        return (uint64_t)(int64_t)(int8_t)(uint8_t)number;
    if (width == 2)
        return (uint64_t)(int64_t)(int16_t)(uint16_t)number;
    if (width == 4)
        return (uint64_t)(int64_t)(int32_t)(uint32_t)number;
    return number;
}

// The headers 0xc0 to 0xdf. False: more bytes are needed.
static bool
header_read_tagged(const uint8_t *at, size_t left, struct header *out)
{
    uint8_t tag = at[0];
    enum form form = (enum form)TAGS[tag - TAG_FIRST].form;
    uint8_t width = TAGS[tag - TAG_FIRST].width;
    uint8_t size = (uint8_t)(1 + width + (form == FORM_EXT));
    if (size > left)
        return false;
    uint64_t number = width > 0 ? number_be(at + 1, width) : 0;
    if (tag >= TAG_FIXEXT_FIRST && tag <= TAG_FIXEXT_LAST)
        number = UINT64_C(1) << (tag - TAG_FIXEXT_FIRST);
    if (form == FORM_INT)
        number = number_sign_extend(number, width);
    *out = (struct header){form, 0, size, number};
    if (form == FORM_EXT)
        out->ext_type = (int8_t)at[1 + width];
    return true;
}

// left is at least 1. False: more bytes are needed.
static inline bool
header_read(const uint8_t *at, size_t left, struct header *out)
{
    uint8_t tag = at[0];
    if (tag < 0x80)
        *out = (struct header){FORM_UINT, 0, 1, tag};
    else if (tag < 0x90)
        *out = (struct header){FORM_MAP, 0, 1, tag & 0x0f};
    else if (tag < 0xa0)
        *out = (struct header){FORM_ARRAY, 0, 1, tag & 0x0f};
    else if (tag < 0xc0)
        *out = (struct header){FORM_STR, 0, 1, tag & 0x1f};
    else if (tag > TAG_LAST)
        *out = (struct header){FORM_INT, 0, 1, (uint64_t)(int64_t)(int8_t)tag};
    else
        return header_read_tagged(at, left, out);
    return true;
}

// Items that must follow for a container's count: a map has two for each pair.
static inline uint64_t
header_items(const struct header *header)
{
    if (header->form == FORM_MAP)
        return header->number * 2;
    return header->form == FORM_ARRAY ? header->number : 0;
}

// Reads the header under the cursor and holds its claim against the bytes that are left after it:
// an item takes at least one byte. Moves over header and body. False: the cursor has failed.
static inline bool
cursor_header(struct cursor *cursor, struct header *out)
{
    size_t left = cursor_left(cursor);
    if (__builtin_expect(left == 0 || !header_read(cursor->at, left, out), 0)) {
        cursor->failed = true;
        return false;
    }
    uint64_t body = form_has_body(out->form) ? out->number : 0;
    uint64_t claimed = body + header_items(out);
    if (__builtin_expect(out->form == FORM_NEVER || claimed > left - out->size, 0)) {
        cursor->failed = true;
        return false;
    }
    cursor->at += out->size + body;
    return true;
}

static void
item_number(const struct header *header, struct unpack_item *out)
{
    if (header->form == FORM_INT && (int64_t)header->number < 0) {
        out->type = UNPACK_INT;
        out->integer = (int64_t)header->number;
    } else {
        out->type = UNPACK_UINT;
        out->natural = header->number;
    }
}

static void
item_real(const struct header *header, struct unpack_item *out)
{
    if (header->form == FORM_FLOAT) {
        uint32_t bits = (uint32_t)header->number;
        out->type = UNPACK_FLOAT;
        memcpy(&out->real32, &bits, sizeof out->real32);
    } else {
        out->type = UNPACK_DOUBLE;
        memcpy(&out->real64, &header->number, sizeof out->real64);
    }
}

static void
item_text(const struct header *header, const uint8_t *end, struct unpack_item *out)
{
    out->type = header->form == FORM_STR   ? UNPACK_STR
                : header->form == FORM_BIN ? UNPACK_BIN
                                           : UNPACK_EXT;
    out->ext_type = header->ext_type;
    out->text = bytes_of(end - header->number, (size_t)header->number);
}

static void
item_container(const struct header *header, struct unpack_item *out)
{
    must(header->number <= UINT32_MAX);
    out->type = header->form == FORM_ARRAY ? UNPACK_ARRAY : UNPACK_MAP;
    out->count = (uint32_t)header->number;
}

bool
unpack_next_any(struct cursor *cursor, struct unpack_item *out)
{
    struct header header;
    out->ext_type = 0;
    out->count = 0;
    if (!cursor_header(cursor, &header))
        return false;
    switch (header.form) {
    case FORM_NIL: out->type = UNPACK_NIL; break;
    case FORM_FALSE:
    case FORM_TRUE:
        out->type = UNPACK_BOOL;
        out->boolean = header.form == FORM_TRUE;
        break;
    case FORM_UINT:
    case FORM_INT: item_number(&header, out); break;
    case FORM_FLOAT:
    case FORM_DOUBLE: item_real(&header, out); break;
    case FORM_STR:
    case FORM_BIN:
    case FORM_EXT: item_text(&header, cursor->at, out); break;
    case FORM_ARRAY:
    case FORM_MAP: item_container(&header, out); break;
    case FORM_NEVER: must(header.form != FORM_NEVER); break;
    }
    return true;
}

// Moves over a value that contains no other and whose size its first byte tells. False: it is
// something else, or too short; nothing moved.
static inline bool
skip_short(struct cursor *cursor)
{
    size_t left = cursor_left(cursor);
    uint8_t tag = left > 0 ? cursor->at[0] : TAG_FIRST;
    size_t size = 1;
    if ((tag & 0xe0) == 0xa0)
        size += tag & 0x1f;
    else if (tag == TAG_STR8 && left > 1)
        size = 2 + (size_t)cursor->at[1];
    else if (tag >= TAG_FIRST && tag <= TAG_LAST)
        size = SHORT_SIZES[tag - TAG_FIRST];
    else if (tag >= 0x80 && tag < 0xa0)
        return false;
    if (size == 0 || size > left)
        return false;
    cursor->at += size;
    return true;
}

// Returns how many items that was; 0: it failed. A cursor's bytes are fewer than 2^32 in all uses,
// and a claim beyond them fails, so the count does not wrap.
static inline __attribute__((always_inline)) uint32_t
value_skip(struct cursor *cursor, uint32_t depth_max)
{
    uint32_t items = 0;
    must(depth_max <= UNPACK_DEPTH_MAX);
    // Each level is set when it is entered. Clearing all of them first would be most of the work
    // for a small value, and whoever sends megabytes of these would have it done.
    __attribute__((uninitialized)) uint64_t left[UNPACK_DEPTH_MAX + 1];
    uint32_t depth = 0;
    left[0] = 1;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return items;
            depth--;
        }
        left[depth]--;
        items++;
        struct header header;
        if (skip_short(cursor))
            continue;
        if (!cursor_header(cursor, &header))
            return 0;
        if (header.form != FORM_ARRAY && header.form != FORM_MAP)
            continue;
        if (depth == depth_max) {
            cursor->failed = true;
            return 0;
        }
        left[++depth] = header_items(&header);
    }
}

bool
unpack_skip(struct cursor *cursor, uint32_t depth_max)
{
    return value_skip(cursor, depth_max) > 0;
}

uint32_t
unpack_skip_counted(struct cursor *cursor, uint32_t depth_max)
{
    return value_skip(cursor, depth_max);
}

// Marks the bytes of a header that decide what follows it. A number's own bytes are free; of a
// number in its tag only the bits that make it one are not.
static void
shape_mark(uint8_t *mask, const struct header *header, uint8_t tag)
{
    bool is_tag_all = header->size == 1 || form_has_body(header->form) ||
                      header->form == FORM_ARRAY || header->form == FORM_MAP;
    if (tag < 0x80)
        mask[0] = 0x80;
    else if (tag > TAG_LAST)
        mask[0] = 0xe0;
    else
        memset(mask, 0xff, is_tag_all ? header->size : 1);
}

void
unpack_shape_pin(struct unpack_shape *shape, struct bytes value, size_t offset, size_t size)
{
    const size_t last = shape->size - sizeof shape->mask_end;
    uint8_t *mask = (uint8_t *)shape->mask, *wanted = (uint8_t *)shape->wanted;
    must(value.size == shape->size && offset <= value.size && size <= value.size - offset);
    memset(mask + offset, 0xff, size);
    memcpy(wanted + offset, value.data + offset, size);
    memcpy(&shape->mask_end, mask + last, sizeof shape->mask_end);
    memcpy(&shape->wanted_end, wanted + last, sizeof shape->wanted_end);
}

// Every value that has the marked bytes is as whole and no deeper.
void
unpack_shape_learn(struct unpack_shape *shape, struct bytes value)
{
    uint8_t mask[UNPACK_SHAPE_MAX] = {0}, wanted[UNPACK_SHAPE_MAX] = {0};
    must(value.size >= UNPACK_SHAPE_MIN && value.size <= UNPACK_SHAPE_MAX);
    size_t at = 0;
    uint32_t items = 0;
    for (; at < value.size; items++) {
        struct header header;
        bool is_whole = header_read(value.data + at, value.size - at, &header);
        must(is_whole);
        shape_mark(mask + at, &header, value.data[at]);
        at += header.size + (form_has_body(header.form) ? header.number : 0);
    }
    must(at == value.size);
    for (size_t i = 0; i < value.size; i++)
        wanted[i] = value.data[i] & mask[i];
    memcpy(shape->mask, mask, sizeof mask);
    memcpy(shape->wanted, wanted, sizeof wanted);
    shape->size = value.size;
    shape->items = items;
    shape->stamp++;
    unpack_shape_pin(shape, value, 0, 0);
}

uint32_t
unpack_skip_alike(struct cursor *cursor, struct unpack_shape *shape)
{
    const uint8_t *start = cursor->at;
    if (shape->size > 0 && shape->size <= cursor_left(cursor) && unpack_shape_fits(shape, start)) {
        cursor->at = start + shape->size;
        return shape->items;
    }
    uint32_t items = unpack_skip_counted(cursor, UNPACK_DEPTH_MAX);
    if (items == 0)
        return 0;
    // Learning costs some skips: only what came twice in a row is likely to come again.
    size_t size = (size_t)(cursor->at - start);
    if (size == shape->last_size && size >= UNPACK_SHAPE_MIN && size <= UNPACK_SHAPE_MAX)
        unpack_shape_learn(shape, bytes_of(start, size));
    shape->last_size = size == shape->last_size ? 0 : size;
    return items;
}

// Values that are still to come in all open containers, each at least a byte.
static uint64_t
scan_claimed(const struct unpack_scan *scan)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i <= scan->depth; i++)
        sum += scan->left[i];
    return sum;
}

// Takes one item into account. The counts' sum stays below 2^39 (33 levels of at most 2^33), the
// size below size_max, so nothing overflows.
static enum unpack_result
scan_item(struct unpack_scan *scan, const struct header *header, size_t arrived, size_t size_max)
{
    bool is_container = header->form == FORM_ARRAY || header->form == FORM_MAP;
    uint64_t body = form_has_body(header->form) ? header->number : 0;
    uint64_t item_size = header->size + body;
    if (header->form == FORM_NEVER || (is_container && scan->depth == UNPACK_DEPTH_MAX))
        return UNPACK_BROKEN;
    // Short items are bounded by the check of their container's count and of the whole below.
    uint64_t least = scan->size + item_size;
    if (is_container || header->size > 1)
        least += header_items(header) + scan_claimed(scan) - 1;
    if (least > size_max)
        return UNPACK_TOO_LARGE;
    if (item_size > arrived)
        return UNPACK_INCOMPLETE;
    scan->size += item_size;
    scan->left[scan->depth]--;
    if (is_container)
        scan->left[++scan->depth] = header_items(header);
    return UNPACK_COMPLETE;
}

enum unpack_result
unpack_scan(struct unpack_scan *scan, struct bytes bytes, size_t size_max)
{
    must(scan->size <= bytes.size && scan->depth <= UNPACK_DEPTH_MAX);
    if (!scan->is_started) {
        scan->is_started = true;
        scan->left[0] = 1;
    }
    for (;;) {
        while (scan->left[scan->depth] == 0) {
            if (scan->depth == 0)
                return UNPACK_COMPLETE;
            scan->depth--;
        }
        struct header header;
        size_t arrived = bytes.size - scan->size;
        if (arrived == 0 || !header_read(bytes.data + scan->size, arrived, &header))
            return scan->size < size_max ? UNPACK_INCOMPLETE : UNPACK_TOO_LARGE;
        enum unpack_result result = scan_item(scan, &header, arrived, size_max);
        if (result != UNPACK_COMPLETE)
            return result;
    }
}
