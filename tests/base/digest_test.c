#include "base/digest.h"

#include <criterion/criterion.h>

#include <stdlib.h>

// FIPS 180-4's examples.
// clang-format off
static const struct {
    const char *text;
    const char *digest;
} KNOWN[] = {
    {"",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
     "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
    {"abc",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
     "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
     "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"},
};
// clang-format on

Test(digest, is_sha_512_in_lower_case)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        const struct bytes part = bytes_text(KNOWN[i].text);
        char digest[DIGEST_HEX_SIZE];
        cr_assert(digest_hex(&part, 1, digest));
        cr_assert(bytes_equal(bytes_of(digest, sizeof digest), bytes_text(KNOWN[i].digest)));
    }
}

Test(digest, does_not_care_how_the_bytes_are_cut)
{
    const struct bytes parts[] = {bytes_text("a"), {0}, bytes_text("b"), bytes_text("c"), {0}};
    char digest[DIGEST_HEX_SIZE];
    cr_assert(digest_hex(parts, 5, digest));
    cr_assert(bytes_equal(bytes_of(digest, sizeof digest), bytes_text(KNOWN[1].digest)));
    cr_assert(digest_hex(NULL, 0, digest));
    cr_assert(bytes_equal(bytes_of(digest, sizeof digest), bytes_text(KNOWN[0].digest)));
}

Test(digest, is_equal_to_itself_only)
{
    struct bytes digest = bytes_text(KNOWN[1].digest);
    char other[DIGEST_HEX_SIZE];
    cr_assert(digest_equal(digest, digest));
    cr_assert(digest_equal(bytes_of(NULL, 0), bytes_of(NULL, 0)));
    cr_assert_not(digest_equal(digest, bytes_of(NULL, 0)));
    cr_assert_not(digest_equal(digest, bytes_of(digest.data, digest.size - 1)));
    for (size_t i = 0; i < sizeof other; i++) {
        memcpy(other, digest.data, sizeof other);
        other[i] = (char)(other[i] ^ 1);
        cr_assert_not(digest_equal(digest, bytes_of(other, sizeof other)), "byte %zu", i);
    }
}

Test(digest, writes_two_digits_for_each_byte)
{
    const uint8_t bytes[] = {0x00, 0x0f, 0xa5, 0xff};
    char digits[8];
    digest_digits(bytes, sizeof bytes, digits);
    cr_assert(bytes_equal(bytes_of(digits, sizeof digits), bytes_text("000fa5ff")));
}
