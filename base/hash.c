#include "base/hash.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/random.h>

// The whole of XXH3 compiled in: keys are short, and a call into the shared library costs as much
// as hashing them.
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(HASH_SECRET_SIZE >= XXH3_SECRET_SIZE_MIN, "XXH3 refuses shorter secrets");

static struct hash128
hash128_of(XXH128_hash_t hash)
{
    return (struct hash128){.low = hash.low64, .high = hash.high64};
}

uint64_t
hash64(struct bytes bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

static uint64_t
load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

// Four words hold up to 32 bytes.
uint64_t
hash64_longer(struct bytes bytes, uint64_t seed)
{
    const uint8_t *at = bytes.data, *const last = bytes.data + bytes.size - 16;
    must(bytes.size > 16);
    if (bytes.size > 32)
        return hash64(bytes, seed);
    const uint64_t first = hash_mix(load(at) ^ seed, load(at + 8) ^ 0xe7037ed1a0b428dbULL);
    const uint64_t mixed =
        hash_mix(load(last) ^ 0x8ebc6af09c88c6e3ULL, load(last + 8) ^ seed ^ first);
    return hash_mix(mixed ^ bytes.size, first ^ 0xa0761d6478bd642fULL);
}

uint64_t
hash64_keyed(struct bytes bytes, const struct hash_secret *secret)
{
    return XXH3_64bits_withSecret(bytes.data, bytes.size, secret->bytes, sizeof secret->bytes);
}

struct hash128
hash128(struct bytes bytes, uint64_t seed)
{
    return hash128_of(XXH3_128bits_withSeed(bytes.data, bytes.size, seed));
}

struct hash128
hash128_keyed(struct bytes bytes, const struct hash_secret *secret)
{
    return hash128_of(
        XXH3_128bits_withSecret(bytes.data, bytes.size, secret->bytes, sizeof secret->bytes));
}

void
random_fill(void *data, size_t size)
{
    uint8_t *at = data;
    while (size > 0) {
        ssize_t count = getrandom(at, size, 0);
        if (count < 0 && errno == EINTR)
            continue;
        must(count > 0);
        at += count;
        size -= (size_t)count;
    }
}
