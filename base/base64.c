#include "base/base64.h"

#include <stdint.h>
#include <string.h>

enum { GROUP = 4, NO_DIGIT = 64 };

static uint32_t
digit_of(uint8_t letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return (uint32_t)(letter - 'A');
    if (letter >= 'a' && letter <= 'z')
        return (uint32_t)(letter - 'a' + 26);
    if (letter >= '0' && letter <= '9')
        return (uint32_t)(letter - '0' + 52);
    return letter == '+' ? 62 : letter == '/' ? 63 : NO_DIGIT;
}

// count digits of a group, 2 to 4, become one byte less.
static bool
group_decode(const uint8_t *letters, size_t count, uint8_t *out)
{
    uint32_t word = 0;
    for (size_t i = 0; i < GROUP; i++) {
        uint32_t digit = i < count ? digit_of(letters[i]) : 0;
        if (digit == NO_DIGIT)
            return false;
        word = word << 6 | digit;
    }
    for (size_t i = 0; i + 1 < count; i++)
        out[i] = (uint8_t)(word >> (16 - 8 * i));
    return true;
}

bool
base64_decode(struct bytes text, struct arena *arena, struct bytes *out)
{
    if (text.size % GROUP != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.size && text.data[text.size - 1 - padding] == '=')
        padding++;
    size_t size = text.size / GROUP * 3 - padding;
    uint8_t *bytes = arena_array(arena, size + 1, uint8_t);
    for (size_t at = 0, to = 0; at < text.size; at += GROUP, to += 3) {
        bool is_last = at + GROUP == text.size;
        if (!group_decode(text.data + at, is_last ? GROUP - padding : GROUP, bytes + to))
            return false;
    }
    *out = bytes_of(bytes, size);
    return true;
}

void
base64_encode(struct buffer *out, struct bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t word = (uint32_t)bytes.data[i] << 16;
        if (left > 1)
            word |= (uint32_t)bytes.data[i + 1] << 8;
        if (left > 2)
            word |= bytes.data[i + 2];
        buffer_u8(out, (uint8_t)digits[word >> 18]);
        buffer_u8(out, (uint8_t)digits[(word >> 12) & 63]);
        buffer_u8(out, (uint8_t)(left > 1 ? digits[(word >> 6) & 63] : '='));
        buffer_u8(out, (uint8_t)(left > 2 ? digits[word & 63] : '='));
    }
}
