#include "ledger/uuid.h"

// Eight digits at a time in one word, no look at a single one: an id is written and read for every
// event. The words are put together in registers, since eight bytes that were stored in two pieces
// and are loaded in one make the processor wait.

// Bit patterns that stand once in every byte, or in every second or fourth one.
static const uint64_t ONES = 0x0101010101010101ULL;
static const uint64_t LANES_16 = 0x00ff00ff00ff00ffULL;
static const uint64_t LANES_32 = 0x0000ffff0000ffffULL;

// The four bytes that eight digits stand for. *bad gets bits when one is no lower-case digit:
// '0' to '9' are 0x30 and the number, 'a' to 'f' are 0x60 and the number less nine.
static uint32_t
hex_parse(uint64_t digits, uint64_t *bad)
{
    const uint64_t letters = (digits >> 6) & ONES;
    const uint64_t low = digits & 15 * ONES;
    *bad |= (digits & 0xf0 * ONES) ^ (0x30 * ONES + 0x30 * letters);
    // At most 9, and 6 of a letter: else bit 4 is set.
    *bad |= (low + 6 * ONES + 3 * letters) & 16 * ONES;
    // A letter's number is at least 1.
    *bad |= (((low + 15 * letters) >> 4) & ONES) ^ letters;
    uint64_t pairs = low + 9 * letters;
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

static uint64_t
load_four(const uint8_t *at)
{
    uint32_t four;
    memcpy(&four, at, sizeof four);
    return four;
}

bool
uuid_parse(struct bytes text, uint8_t out[UUID_SIZE])
{
    if (text.size != UUID_TEXT_SIZE)
        return false;
    const uint8_t *at = text.data;
    uint64_t bad = 0;
    const uint64_t digits[4] = {
        load_four(at) | load_four(at + 4) << 32,
        load_four(at + 9) | load_four(at + 14) << 32,
        load_four(at + 19) | load_four(at + 24) << 32,
        load_four(at + 28) | load_four(at + 32) << 32,
    };
    for (size_t i = 0; i < 4; i++) {
        uint32_t four = hex_parse(digits[i], &bad);
        memcpy(out + 4 * i, &four, sizeof four);
    }
    bool has_dashes = at[8] == '-' && at[13] == '-' && at[18] == '-' && at[23] == '-';
    return bad == 0 && has_dashes;
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
