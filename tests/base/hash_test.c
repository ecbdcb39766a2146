#include "base/hash.h"

#include <criterion/criterion.h>

// Known answers of XXH3 (xxHash 0.8): shards and stored identities depend on them for ever.
Test(hash, is_xxh3)
{
    cr_assert_eq(hash64(bytes_of(NULL, 0), 0), 0x2D06800538D394C2u);
    cr_assert_eq(hash64(bytes_text("a"), 0), 0xE6C632B61E964E1Fu);
    cr_assert_eq(hash64(bytes_text("abc"), 0), 0x78AF5F94892F3950u);
    struct hash128 hash = hash128(bytes_of("", 0), 0);
    cr_assert_eq(hash.high, 0x99AA06D3014798D8u);
    cr_assert_eq(hash.low, 0x6001C324468D497Fu);
    hash = hash128(bytes_text("abc"), 0);
    cr_assert_eq(hash.high, 0x06B05AB6733A6185u);
    cr_assert_eq(hash.low, 0x78AF5F94892F3950u);
}

// Of many bytes, too, whichever vectors the processor has.
Test(hash, is_xxh3_of_many_bytes)
{
    static const struct {
        size_t size;
        uint64_t hash;
    } rows[] = {
        {240,    0x388d76a9444e6dc7},
        {241,    0x3363f6e48241a2b3},
        {511,    0xda35fc862f48cda0},
        {512,    0x29892247c0ef93c3},
        {513,    0x40fca2880e209454},
        {1024,   0x04315554dec8d6d1},
        {1025,   0x34ac65d39a2a2fe6},
        {4072,   0xc7beb75d49a29497},
        {100000, 0xf037068decde1c81},
    };
    static uint8_t bytes[100000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) * 7);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = rows[i].size;
        cr_assert_eq(hash64(bytes_of(bytes, size), size), rows[i].hash, "%zu", size);
        cr_assert_eq(hash64_wide(bytes_of(bytes, size), size), rows[i].hash, "%zu", size);
    }
}

static struct hash_secret
secret_of(uint8_t seed)
{
    struct hash_secret secret;
    for (size_t i = 0; i < sizeof secret.bytes; i++)
        secret.bytes[i] = (uint8_t)(i * 37 + seed * 101 + 11);
    return secret;
}

Test(hash, depends_on_seed_secret_and_every_byte)
{
    struct hash_secret one = secret_of(1);
    struct hash_secret two = secret_of(2);
    uint8_t text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)i;
    for (size_t size = 1; size <= sizeof text; size++) {
        struct bytes bytes = bytes_of(text, size);
        uint64_t plain = hash64(bytes, 0);
        uint64_t keyed = hash64_keyed(bytes, &one);
        struct hash128 wide = hash128_keyed(bytes, &one);
        cr_assert_neq(plain, hash64(bytes, 1));
        cr_assert_neq(keyed, hash64_keyed(bytes, &two));
        cr_assert_neq(wide.low, hash128_keyed(bytes, &two).low);
        cr_assert_neq(wide.high, hash128_keyed(bytes, &two).high);
        text[size - 1] ^= 1;
        cr_assert_neq(plain, hash64(bytes, 0), "size %zu", size);
        cr_assert_neq(keyed, hash64_keyed(bytes, &one), "size %zu", size);
        cr_assert_neq(wide.low, hash128_keyed(bytes, &one).low, "size %zu", size);
        text[size - 1] ^= 1;
        cr_assert_eq(keyed, hash64_keyed(bytes, &one));
    }
}

Test(hash, random_bytes_fill_the_whole_and_nothing_else)
{
    uint8_t data[64 + 2] = {0};
    uint8_t seen[64] = {0};
    for (int round = 0; round < 20; round++) {
        random_fill(data + 1, 64);
        for (size_t i = 0; i < 64; i++)
            seen[i] |= data[i + 1];
    }
    cr_assert_eq(data[0], 0);
    cr_assert_eq(data[65], 0);
    for (size_t i = 0; i < 64; i++)
        cr_assert_neq(seen[i], 0, "byte %zu was never written", i);
    random_fill(data, 0);
    cr_assert_eq(data[0], 0);
}

// Any two texts that differ in a byte or in their size have other hashes, and so has a text by
// another seed.
Test(hash, short_depends_on_seed_size_and_every_byte)
{
    uint8_t text[40], other[40];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7);
    for (size_t size = 0; size <= sizeof text; size++) {
        uint64_t hash = hash64_short(bytes_of(text, size), 5);
        cr_assert_eq(hash, hash64_short(bytes_of(text, size), 5));
        cr_assert_neq(hash, hash64_short(bytes_of(text, size), 6));
        cr_assert(size == 0 || hash != hash64_short(bytes_of(text, size - 1), 5));
        for (size_t i = 0; i < size; i++) {
            memcpy(other, text, size);
            other[i] ^= 1;
            cr_assert_neq(hash, hash64_short(bytes_of(other, size), 5), "%zu of %zu", i, size);
        }
    }
    // Zeros differ by their number alone.
    memset(text, 0, sizeof text);
    for (size_t size = 1; size <= sizeof text; size++)
        cr_assert_neq(
            hash64_short(bytes_of(text, size), 0), hash64_short(bytes_of(text, size - 1), 0));
}

// Half of the bits change with a bit of the text: 512 changes of each size, of which no bit of the
// hash may see fewer than a third.
Test(hash, short_spreads_every_bit)
{
    for (size_t size = 1; size <= 32; size++) {
        uint32_t changed[64] = {0};
        uint32_t count = 0;
        for (uint32_t round = 0; count < 512; round++) {
            uint8_t text[32];
            for (size_t i = 0; i < size; i++)
                text[i] = (uint8_t)(round * 31 + i * 17);
            uint64_t hash = hash64_short(bytes_of(text, size), 1);
            for (size_t bit = 0; bit < 8 * size; bit++, count++) {
                text[bit / 8] ^= (uint8_t)(1 << bit % 8);
                uint64_t differs = hash ^ hash64_short(bytes_of(text, size), 1);
                text[bit / 8] ^= (uint8_t)(1 << bit % 8);
                for (size_t i = 0; i < 64; i++)
                    changed[i] += differs >> i & 1;
            }
        }
        for (size_t i = 0; i < 64; i++)
            cr_assert(changed[i] > count / 3, "bit %zu of size %zu: %u", i, size, changed[i]);
    }
}
