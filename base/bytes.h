#pragma once
// Views of bytes, and a cursor over untrusted bytes with a sticky error.
//
//     struct cursor in = cursor_over(frame);
//     uint8_t tag = cursor_u8(&in);
//     struct bytes name = cursor_take(&in, cursor_u16be(&in));
//     if (cursor_failed(&in)) return INCOMPLETE;    // one check at the end
//
// A failed read yields zero or an empty view, sets the error and moves nothing; every later read
// fails too. Views point into the bytes under the cursor and live as long as they do. Numbers are
// big-endian (be, msgpack and keys) or little-endian (le, our stored values).
// Owner: values. Thread: any.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;  // may be NULL when size is 0
    size_t size;
};

static inline struct bytes
bytes_of(const void *data, size_t size)
{
    return (struct bytes){data, size};
}

static inline struct bytes
bytes_text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

// Whether size bytes are the same: memcmp for short texts, without the call.
static inline bool
bytes_same(const void *a, const void *b, size_t size)
{
    const uint8_t *left = a, *right = b;
    uint64_t first[2], last[2];
    uint32_t head[2], tail[2];
    if (size == 0)
        return true;
    if (__builtin_expect(size > 16, 0))
        return memcmp(left, right, size) == 0;
    // The last bytes overlap the first ones.
    if (size >= 8) {
        memcpy(&first[0], left, 8);
        memcpy(&first[1], right, 8);
        memcpy(&last[0], left + size - 8, 8);
        memcpy(&last[1], right + size - 8, 8);
        return ((first[0] ^ first[1]) | (last[0] ^ last[1])) == 0;
    }
    if (size >= 4) {
        memcpy(&head[0], left, 4);
        memcpy(&head[1], right, 4);
        memcpy(&tail[0], left + size - 4, 4);
        memcpy(&tail[1], right + size - 4, 4);
        return ((head[0] ^ head[1]) | (tail[0] ^ tail[1])) == 0;
    }
    return left[0] == right[0] && left[size / 2] == right[size / 2] &&
           left[size - 1] == right[size - 1];
}

static inline bool
bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && bytes_same(a.data, b.data, a.size);
}

// memcpy for the short texts that events are made of, without the call. Always inline: a call of it
// is half of what it does, and keeps its caller's values out of registers.
static inline __attribute__((always_inline)) void
bytes_copy(void *to, const void *from, size_t size)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if (__builtin_expect(size > 64, 0)) {
        memcpy(out, in, size);
    } else if (size >= 16) {
        // The last block overlaps the one before it.
        for (size_t at = 0; at + 16 < size; at += 16)
            memcpy(out + at, in + at, 16);
        memcpy(out + size - 16, in + size - 16, 16);
    } else if (size >= 8) {
        memcpy(out, in, 8);
        memcpy(out + size - 8, in + size - 8, 8);
    } else if (size >= 4) {
        memcpy(out, in, 4);
        memcpy(out + size - 4, in + size - 4, 4);
    } else if (size > 0) {
        out[0] = in[0];
        out[size / 2] = in[size / 2];
        out[size - 1] = in[size - 1];
    }
}

// Lexicographic, shorter first: <0, 0, >0.
int bytes_compare(struct bytes a, struct bytes b);

// Copies as much as fits into out, out_size bytes (at least 1), and a NUL. Returns the length.
size_t bytes_to_text(struct bytes bytes, char *out, size_t out_size);

// Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool bytes_is_utf8(struct bytes bytes);
// The size (1-4) of the UTF-8 sequence at the front, 0 when it is malformed, cut off or there is
// none.
size_t bytes_utf8_size(struct bytes bytes);

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor
cursor_over(struct bytes bytes)
{
    // An empty view may be NULL, and even NULL + 0 is undefined in C.
    static const uint8_t nothing[1] = {0};
    const uint8_t *data = bytes.data ? bytes.data : nothing;
    return (struct cursor){data, data + bytes.size, false};
}

static inline bool
cursor_failed(const struct cursor *cursor)
{
    return cursor->failed;
}

static inline size_t
cursor_left(const struct cursor *cursor)
{
    return cursor->failed ? 0 : (size_t)(cursor->end - cursor->at);
}

// The next size bytes, or an empty view with the error set.
static inline struct bytes
cursor_take(struct cursor *cursor, size_t size)
{
    if (__builtin_expect(cursor->failed || size > (size_t)(cursor->end - cursor->at), 0)) {
        cursor->failed = true;
        return (struct bytes){NULL, 0};
    }
    struct bytes taken = {cursor->at, size};
    cursor->at += size;
    return taken;
}

static inline uint8_t
cursor_u8(struct cursor *cursor)
{
    struct bytes taken = cursor_take(cursor, 1);
    return taken.data ? taken.data[0] : 0;
}

static inline uint16_t
cursor_u16be(struct cursor *cursor)
{
    uint16_t value = 0;
    struct bytes taken = cursor_take(cursor, sizeof value);
    if (taken.data)
        memcpy(&value, taken.data, sizeof value);
    return __builtin_bswap16(value);
}

static inline uint32_t
cursor_u32be(struct cursor *cursor)
{
    uint32_t value = 0;
    struct bytes taken = cursor_take(cursor, sizeof value);
    if (taken.data)
        memcpy(&value, taken.data, sizeof value);
    return __builtin_bswap32(value);
}

static inline uint64_t
cursor_u64be(struct cursor *cursor)
{
    uint64_t value = 0;
    struct bytes taken = cursor_take(cursor, sizeof value);
    if (taken.data)
        memcpy(&value, taken.data, sizeof value);
    return __builtin_bswap64(value);
}

static inline uint16_t
cursor_u16le(struct cursor *cursor)
{
    return __builtin_bswap16(cursor_u16be(cursor));
}

static inline uint32_t
cursor_u32le(struct cursor *cursor)
{
    return __builtin_bswap32(cursor_u32be(cursor));
}

static inline uint64_t
cursor_u64le(struct cursor *cursor)
{
    return __builtin_bswap64(cursor_u64be(cursor));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored values are written as they lie");
