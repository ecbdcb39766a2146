#include "base/bytes.h"

#include "base/assert.h"

int
bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

static bool
is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

// RFC 3629, section 4. The first byte fixes the length; the range of the second one keeps out
// overlong forms (E0, F0), surrogates (ED) and what lies beyond U+10FFFF (F4).
size_t
bytes_utf8_size(struct bytes bytes)
{
    if (bytes.size == 0)
        return 0;
    uint8_t first = bytes.data[0];
    if (first < 0x80)
        return 1;
    size_t size = first >= 0xC2 && first <= 0xDF   ? 2
                  : first >= 0xE0 && first <= 0xEF ? 3
                  : first >= 0xF0 && first <= 0xF4 ? 4
                                                   : 0;
    if (size == 0 || bytes.size < size)
        return 0;
    uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (bytes.data[1] < low || bytes.data[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (!is_continuation(bytes.data[i]))
            return 0;
    return size;
}

// The number of ASCII bytes at the front, by words of eight: most text is ASCII and nothing else.
static size_t
ascii_run(const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, data + at, sizeof word);
        if (word & 0x8080808080808080u)
            break;
    }
    while (at < size && data[at] < 0x80)
        at++;
    return at;
}

size_t
bytes_to_text(struct bytes bytes, char *out, size_t out_size)
{
    must(out_size > 0);
    size_t size = bytes.size < out_size ? bytes.size : out_size - 1;
    if (size > 0)
        memcpy(out, bytes.data, size);
    out[size] = '\0';
    return size;
}

bool
bytes_is_utf8(struct bytes bytes)
{
    size_t at = 0;
    while (at < bytes.size) {
        at += ascii_run(bytes.data + at, bytes.size - at);
        if (at == bytes.size)
            return true;
        size_t size = bytes_utf8_size(bytes_of(bytes.data + at, bytes.size - at));
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}
