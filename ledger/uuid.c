#include "ledger/uuid.h"

// Many digits at a time, no look at a single one: an id is written and read for every event. Words
// are put together in registers, since eight bytes that were stored in two pieces and are loaded in
// one make the processor wait.

// Bit patterns that stand once in every byte, or in every second or fourth one.
static const uint64_t ONES = 0x0101010101010101ULL;
static const uint64_t LANES_16 = 0x00ff00ff00ff00ffULL;
static const uint64_t LANES_32 = 0x0000ffff0000ffffULL;

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

static uint64_t
load_eight(const uint8_t *at)
{
    uint64_t eight;
    memcpy(&eight, at, sizeof eight);
    return eight;
}

// Sixteen digits side by side: gcc's and clang's vectors, for which every machine of ours has
// instructions. What is compared is all ones or all zeros in each lane, as it is in theirs.
struct hex_digits {
    __attribute__((vector_size(16))) int8_t lanes;
};

struct hex_pairs {
    __attribute__((vector_size(16))) uint16_t lanes;
};

struct hex_bytes {
    __attribute__((vector_size(8))) uint8_t lanes;
};

struct hex_words {
    __attribute__((vector_size(16))) uint64_t lanes;
};

// The eight bytes that sixteen digits stand for. *bad gets bits when one is no lower-case digit;
// bytes above 127 are negative numbers here.
static inline uint64_t
hex_parse(uint64_t first, uint64_t last, uint64_t *bad)
{
    const struct hex_words words = {
        {first, last}
    };
    struct hex_digits digits, is_number, is_letter;
    struct hex_words wrong;
    struct hex_pairs pairs;
    struct hex_bytes bytes;
    uint64_t eight;
    memcpy(&digits, &words, sizeof digits);
    is_number.lanes = (digits.lanes > '0' - 1) & (digits.lanes < '9' + 1);
    is_letter.lanes = (digits.lanes > 'a' - 1) & (digits.lanes < 'f' + 1);
    digits.lanes = (digits.lanes & 15) + (is_letter.lanes & 9);
    is_number.lanes = ~(is_number.lanes | is_letter.lanes);
    memcpy(&wrong, &is_number, sizeof wrong);
    *bad |= wrong.lanes[0] | wrong.lanes[1];
    memcpy(&pairs, &digits, sizeof pairs);
    pairs.lanes = ((pairs.lanes << 4) | (pairs.lanes >> 8)) & 0xff;
    bytes.lanes = __builtin_convertvector(pairs.lanes, __typeof__(bytes.lanes));
    memcpy(&eight, &bytes, sizeof eight);
    return eight;
}

bool
uuid_parse(struct bytes text, uint8_t out[UUID_SIZE])
{
    if (text.size != UUID_TEXT_SIZE)
        return false;
    const uint8_t *at = text.data;
    uint64_t bad = 0;
    const uint64_t half[2] = {
        hex_parse(load_eight(at), load_four(at + 9) | load_four(at + 14) << 32, &bad),
        hex_parse(load_four(at + 19) | load_four(at + 24) << 32, load_eight(at + 28), &bad),
    };
    memcpy(out, half, sizeof half);
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
