#pragma once
// Hashes: XXH3 (xxHash 0.8), keyed where the key is a secret of the deployment.
//
//     uint32_t shard = hash64(subject, 0) % shards_count;           // DESIGN section 6
//     struct hash128 identity = hash128_keyed(tagged_fields, &secret);
//
// Thread: any.

#include "base/bytes.h"

struct hash128 {
    uint64_t low;
    uint64_t high;
};

enum { HASH_SECRET_SIZE = 192 };  // XXH3 wants at least 136 bytes

struct hash_secret {
    uint8_t bytes[HASH_SECRET_SIZE];
};

uint64_t hash64(struct bytes bytes, uint64_t seed);
// The same, faster for long texts: by the widest vectors that the processor has, in the shared
// library (base/hash_wide.c), which libtally does without.
uint64_t hash64_wide(struct bytes bytes, uint64_t seed);
// Two words into one that every bit of both has a part in.
static inline uint64_t
hash_mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 product_type;
    const product_type product = (product_type)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// hash64_short of more than 16 bytes.
uint64_t hash64_longer(struct bytes bytes, uint64_t seed);

// As good as hash64, and another one: inline for the short texts that events are made of, for which
// a call of XXH3 costs more than its multiplications. Two words hold up to 16 bytes, those in the
// middle of them twice, and the size tells which. Who knows the seed may find equal hashes.
static inline uint64_t
hash64_short(struct bytes bytes, uint64_t seed)
{
    const uint8_t *at = bytes.data;
    const size_t size = bytes.size;
    uint64_t first = 0, last = 0;
    if (size > 16)
        return hash64_longer(bytes, seed);
    if (size >= 8) {
        memcpy(&first, at, 8);
        memcpy(&last, at + size - 8, 8);
    } else if (size >= 4) {
        memcpy(&first, at, 4);
        memcpy(&last, at + size - 4, 4);
    } else if (size > 0) {
        first = (uint64_t)at[0] << 16 | (uint64_t)at[size / 2] << 8 | at[size - 1];
    }
    const uint64_t mixed =
        hash_mix(first ^ seed ^ 0x9e3779b97f4a7c15ULL, last ^ 0xd6e8feb86659fd93ULL);
    return hash_mix(mixed ^ size, seed ^ 0xa0761d6478bd642fULL);
}

uint64_t hash64_keyed(struct bytes bytes, const struct hash_secret *secret);
struct hash128 hash128(struct bytes bytes, uint64_t seed);
struct hash128 hash128_keyed(struct bytes bytes, const struct hash_secret *secret);
// Fills size bytes from the kernel's generator; stops the process when there is none.
void random_fill(void *data, size_t size);
