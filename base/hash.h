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
uint64_t hash64_keyed(struct bytes bytes, const struct hash_secret *secret);
struct hash128 hash128(struct bytes bytes, uint64_t seed);
struct hash128 hash128_keyed(struct bytes bytes, const struct hash_secret *secret);
// Fills size bytes from the kernel's generator; stops the process when there is none.
void random_fill(void *data, size_t size);
