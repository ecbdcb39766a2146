#include "ledger/uuid.h"

#include <criterion/criterion.h>

static const char canonical[] = "0190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3c";

Test(uuid, reads_and_prints_the_canonical_form)
{
    static const uint8_t expected[UUID_SIZE] = {
        0x01,
        0x90,
        0xc8,
        0xf6,
        0x0f,
        0x8a,
        0x7c,
        0xc0,
        0x8e,
        0x2b,
        0x9c,
        0x1d,
        0x5f,
        0x0a,
        0x2b,
        0x3c,
    };
    uint8_t uuid[UUID_SIZE];
    uint8_t text[UUID_TEXT_SIZE];
    cr_assert(uuid_parse(bytes_text(canonical), uuid));
    cr_assert_eq(memcmp(uuid, expected, sizeof uuid), 0);
    uuid_print(uuid, text);
    cr_assert_eq(memcmp(text, canonical, sizeof text), 0);
}

// At every place of the text any byte: taken exactly when it is a lower-case digit, or the dash
// that belongs there.
Test(uuid, takes_no_other_byte_anywhere)
{
    for (size_t at = 0; at < UUID_TEXT_SIZE; at++) {
        for (int byte = 0; byte < 256; byte++) {
            uint8_t text[UUID_TEXT_SIZE];
            uint8_t uuid[UUID_SIZE];
            memcpy(text, canonical, sizeof text);
            text[at] = (uint8_t)byte;
            bool is_dash = canonical[at] == '-';
            bool is_digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
            bool expected = is_dash ? byte == '-' : is_digit;
            cr_assert_eq(
                uuid_parse(bytes_of(text, sizeof text), uuid), expected, "%d at %zu", byte, at);
            if (!expected)
                continue;
            uint8_t back[UUID_TEXT_SIZE];
            uuid_print(uuid, back);
            cr_assert_eq(memcmp(back, text, sizeof back), 0, "%d at %zu", byte, at);
        }
    }
}

Test(uuid, takes_no_other_length)
{
    uint8_t uuid[UUID_SIZE];
    uint8_t longer[UUID_TEXT_SIZE + 1] = {0};
    memcpy(longer, canonical, UUID_TEXT_SIZE);
    for (size_t size = 0; size < UUID_TEXT_SIZE; size++)
        cr_assert_not(uuid_parse(bytes_of(canonical, size), uuid));
    cr_assert_not(uuid_parse(bytes_of(longer, sizeof longer), uuid));
}
