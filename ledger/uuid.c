#include "ledger/uuid.h"

// Eight digits at a time in one word, no look at a single one: an id is written and read for every
// event. What is no digit makes some other UUID, which then does not print as the text it came
// from; that comparison is the whole check, and makes it impossible to store an id that comes back
// different.

// Bit patterns that stand once in every byte, or in every second or fourth one.
static const uint64_t ONES = 0x0101010101010101ULL;
static const uint64_t LANES_16 = 0x00ff00ff00ff00ffULL;
static const uint64_t LANES_32 = 0x0000ffff0000ffffULL;

static uint32_t
hex_parse(const uint8_t text[8])
{
    uint64_t digits;
    memcpy(&digits, text, sizeof digits);
    // Letters have bit 6, and their low bits count from 1.
    uint64_t pairs = (digits & 15 * ONES) + 9 * ((digits >> 6) & ONES);
    pairs = (pairs << 4 | pairs >> 8) & LANES_16;
    pairs = (pairs | pairs >> 8) & LANES_32;
    return (uint32_t)(pairs | pairs >> 16);
}

static void
hex_print(uint32_t bytes, uint8_t out[8])
{
    uint64_t pairs = bytes;
    pairs = (pairs | pairs << 16) & LANES_32;
    pairs = (pairs | pairs << 8) & LANES_16;
    uint64_t digits = ((pairs >> 4) | (pairs << 8)) & 15 * ONES;
    uint64_t letters = ((digits + 6 * ONES) >> 4) & ONES;
    digits += '0' * ONES + ('a' - '0' - 10) * letters;
    memcpy(out, &digits, sizeof digits);
}

bool
uuid_parse(struct bytes text, uint8_t out[UUID_SIZE])
{
    if (text.size != UUID_TEXT_SIZE)
        return false;
    uint8_t digits[2 * UUID_SIZE];
    memcpy(digits, text.data, 8);
    memcpy(digits + 8, text.data + 9, 4);
    memcpy(digits + 12, text.data + 14, 4);
    memcpy(digits + 16, text.data + 19, 4);
    memcpy(digits + 20, text.data + 24, 12);
    for (size_t i = 0; i < 4; i++) {
        uint32_t four = hex_parse(digits + 8 * i);
        memcpy(out + 4 * i, &four, sizeof four);
    }
    uint8_t back[UUID_TEXT_SIZE];
    uuid_print(out, back);
    return memcmp(back, text.data, sizeof back) == 0;
}

void
uuid_print(const uint8_t uuid[UUID_SIZE], uint8_t out[UUID_TEXT_SIZE])
{
    uint8_t digits[2 * UUID_SIZE];
    for (size_t i = 0; i < 4; i++) {
        uint32_t four;
        memcpy(&four, uuid + 4 * i, sizeof four);
        hex_print(four, digits + 8 * i);
    }
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
}
