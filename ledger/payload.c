// What makes two events the same: the identity, by which a resend is known, and the payload hash,
// by which a resend that says something else is told from one that repeats itself (DESIGN section
// 4).
//
// The payload hash is over meaning, not bytes: a map's pairs are added up, so that their order does
// not matter; an integer is hashed by its value, so that its width does not; everything else as it
// was sent. Each value is hashed with a seed of its own kind, so that the text "1", the bytes "1"
// and the number 1 differ.

#include "base/assert.h"
#include "base/unpack.h"
#include "ledger/entry.h"

enum identity_tag { IDENTITY_BY_ID = 1, IDENTITY_BY_CHUNK = 2 };

static uint8_t *
put_prefixed(uint8_t *at, struct bytes field)
{
    must(field.size <= UINT8_MAX);
    *at++ = (uint8_t)field.size;
    bytes_copy(at, field.data, field.size);
    return at + field.size;
}

size_t
entry_identity_fields(const struct entry *entry, uint8_t *out)
{
    must(entry->id.size > 0);
    bool by_chunk = (entry->flags & ENTRY_ID_IS_CHUNK) != 0;
    uint8_t *at = out;
    *at++ = by_chunk ? IDENTITY_BY_CHUNK : IDENTITY_BY_ID;
    at = put_prefixed(at, entry->subject);
    at = put_prefixed(at, entry->source);
    at = put_prefixed(at, entry->id);
    if (by_chunk) {
        memcpy(at, &entry->chunk_position, sizeof entry->chunk_position);
        at += sizeof entry->chunk_position;
    }
    must(at <= out + IDENTITY_FIELDS_MAX);
    return (size_t)(at - out);
}

struct hash128
identity_hash(struct bytes fields, const struct hash_secret *secret)
{
    return hash128_keyed(fields, secret);
}

bool
entry_identity(
    const struct entry *entry, const struct hash_secret *secret, struct hash128 *out_identity)
{
    if (entry->id.size == 0)
        return false;
    // Clearing the most that they may be would cost more than hashing what they are.
    __attribute__((uninitialized)) uint8_t fields[IDENTITY_FIELDS_MAX];
    size_t size = entry_identity_fields(entry, fields);
    *out_identity = identity_hash(bytes_of(fields, size), secret);
    return true;
}

struct payload_hash {
    struct cursor in;
    uint64_t seed;  // of the deployment
};

static uint64_t
hash_of_kind(const struct payload_hash *hash, unsigned kind, struct bytes bytes)
{
    return hash64_short(bytes, hash->seed + kind);
}

// A number of fixed size needs no more than two multiplications to be spread over 64 bits.
static uint64_t
hash_of_number(const struct payload_hash *hash, unsigned kind, uint64_t number)
{
    const uint64_t mixed = hash_mix(number ^ hash->seed, 0x9e3779b97f4a7c15ULL);
    return hash_mix(mixed + kind, 0xd6e8feb86659fd93ULL);
}

static uint64_t
hash_pair(uint64_t key, uint64_t value)
{
    // Not symmetric in key and value, or {a: b} would equal {b: a}.
    return hash_mix(key ^ 0xa0761d6478bd642fULL, value ^ 0xe7037ed1a0b428dbULL) +
           key * 0x8ebc6af09c88c6e3ULL;
}

static uint64_t
hash_item(struct payload_hash *hash, const struct unpack_item *item, uint32_t depth);

// Fails beyond UNPACK_DEPTH_MAX, which ingest does not let through: such properties are hashed by
// their bytes.
static __attribute__((noinline)) uint64_t
hash_value_any(struct payload_hash *hash, uint32_t depth)
{
    struct unpack_item item;
    if (depth > UNPACK_DEPTH_MAX || !unpack_next(&hash->in, &item)) {
        hash->in.failed = true;
        return 0;
    }
    return hash_item(hash, &item, depth);
}

// Here for what keys and most values are, short texts and small naturals: what their first byte
// says is all that is to be known of them.
static inline uint64_t
hash_value(struct payload_hash *hash, uint32_t depth)
{
    const uint8_t *at = hash->in.at;
    const size_t size = unpack_size_short(at, cursor_left(&hash->in));
    if (size == 0 || depth > UNPACK_DEPTH_MAX)
        return hash_value_any(hash, depth);
    hash->in.at = at + size;
    if (unpack_is_short_text(at))
        return hash_of_kind(hash, UNPACK_STR, bytes_of(at + 1, size - 1));
    return hash_of_number(hash, UNPACK_UINT, unpack_natural_short(at, size));
}

// Added up, because addition does not mind the order.
static uint64_t
hash_pairs(struct payload_hash *hash, uint32_t count, uint32_t depth)
{
    uint64_t sum = count;
    for (uint32_t i = 0; i < count && !cursor_failed(&hash->in); i++) {
        uint64_t key = hash_value(hash, depth);
        uint64_t value = hash_value(hash, depth);
        sum += hash_pair(key, value);
    }
    return sum;
}

static uint64_t
hash_array(struct payload_hash *hash, uint32_t count, uint32_t depth)
{
    uint64_t chain = count;
    for (uint32_t i = 0; i < count && !cursor_failed(&hash->in); i++)
        chain = hash_pair(chain, hash_value(hash, depth));
    return chain;
}

static uint64_t
hash_item(struct payload_hash *hash, const struct unpack_item *item, uint32_t depth)
{
    const unsigned kind = (unsigned)item->type;
    switch (item->type) {
    case UNPACK_NIL: return hash_of_number(hash, kind, 0);
    case UNPACK_BOOL: return hash_of_number(hash, kind, item->boolean);
    case UNPACK_INT: return hash_of_number(hash, kind, (uint64_t)item->integer);
    case UNPACK_UINT: return hash_of_number(hash, kind, item->natural);
    case UNPACK_FLOAT: {
        uint32_t bits;
        memcpy(&bits, &item->real32, sizeof bits);
        return hash_of_number(hash, kind, bits);
    }
    case UNPACK_DOUBLE: {
        uint64_t bits;
        memcpy(&bits, &item->real64, sizeof bits);
        return hash_of_number(hash, kind, bits);
    }
    case UNPACK_STR:
    case UNPACK_BIN: return hash_of_kind(hash, kind, item->text);
    case UNPACK_EXT: {
        unsigned ext_kind = kind + 256U * (uint8_t)item->ext_type;
        return hash_of_kind(hash, ext_kind, item->text);
    }
    case UNPACK_ARRAY: return hash_of_number(hash, kind, hash_array(hash, item->count, depth + 1));
    case UNPACK_MAP: return hash_of_number(hash, kind, hash_pairs(hash, item->count, depth + 1));
    }
    return 0;
}

uint32_t
entry_payload_hash(const struct entry *entry, const struct hash_secret *secret)
{
    struct payload_hash hash = {.in = cursor_over(entry->properties)};
    memcpy(&hash.seed, secret->bytes, sizeof hash.seed);
    uint64_t properties = hash_pairs(&hash, entry->properties_count, 0);
    if (cursor_failed(&hash.in))
        properties = hash64(entry->properties, hash.seed);
    uint128 units = (uint128)entry->value.units;
    uint64_t value = hash_of_number(&hash, 1, (uint64_t)units) +
                     hash_of_number(&hash, 2, (uint64_t)(units >> 64));
    uint64_t all = hash_pair(hash64_short(entry->type, hash.seed), value);
    all = hash_of_number(&hash, 0, hash_pair(all, properties));
    return (uint32_t)(all ^ (all >> 32));
}
