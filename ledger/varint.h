#pragma once
// Small numbers in few bytes: seven bits a byte, the lowest first, the top bit saying that more
// follow. Numbers that may be negative are folded first, so that -1 is as short as 1.
//
//     at = varint_write(at, varint_fold(delta));  // at most VARINT_MAX bytes
//     delta = varint_unfold(varint_read(&in));    // cut off or too long: the cursor fails
//
// Thread: any.

#include "base/bytes.h"

enum { VARINT_MAX = 10 };

static inline uint64_t
varint_fold(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline int64_t
varint_unfold(uint64_t folded)
{
    return (int64_t)((folded >> 1) ^ (0 - (folded & 1)));
}

static inline uint8_t *
varint_write(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static inline uint64_t
varint_read(struct cursor *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = cursor_u8(in);
        // The tenth byte has one bit left to give.
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return in->failed ? 0 : value;
    }
    in->failed = true;
    return 0;
}
