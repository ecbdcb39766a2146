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

enum { TAG_NEVER = 0xc1, TAG_UINT16 = 0xcd };

static uint8_t *
put(uint8_t *at, struct bytes field)
{
    must(field.size <= UINT8_MAX);
    bytes_copy(at, field.data, field.size);
    return at + field.size;
}

// The fields of an entry that has an id, as entry_write_event writes them (ledger/entry.h).
static size_t
identity_fields(const struct entry *entry, uint8_t *out)
{
    bool by_chunk = (entry->flags & ENTRY_ID_IS_CHUNK) != 0;
    uint8_t *at = out;
    const uint32_t position = by_chunk ? entry->chunk_position : 0;
    must(entry->id.size > 0);
    *at++ = (uint8_t)entry->subject.size;
    *at++ = (uint8_t)entry->source.size;
    *at++ = (uint8_t)entry->id.size;
    *at++ = by_chunk ? IDENTITY_BY_CHUNK : IDENTITY_BY_ID;
    memcpy(at, &position, sizeof position);
    at += sizeof position;
    at = put(at, entry->subject);
    at = put(at, entry->source);
    at = put(at, entry->id);
    must(at <= out + ENTRY_IDENTITY_MAX);
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
    __attribute__((uninitialized)) uint8_t fields[ENTRY_IDENTITY_MAX];
    size_t size = identity_fields(entry, fields);
    *out_identity = identity_hash(bytes_of(fields, size), secret);
    return true;
}

// Words of the deployment's secret: who does not know them cannot make two payloads equal.
struct payload_seeds {
    uint64_t text;
    uint64_t number;
    uint64_t pair;
    uint64_t last;
};

static const uint64_t KIND_STEP = 0x9e3779b97f4a7c15ULL;
static const uint64_t SIZE_STEP = 0xd6e8feb86659fd93ULL;
static const uint64_t PAIR_STEP = 0x8ebc6af09c88c6e3ULL;

// One multiplication of 64 by 64 bits for a text, a number or a pair, and not two: what comes out
// goes into a pair's, whose sum goes into another two (390 instructions an event of two properties
// came to 170).
static inline uint64_t
hash_of_text(const struct payload_seeds *seeds, unsigned kind, struct bytes text)
{
    const uint8_t *at = text.data;
    const size_t size = text.size;
    const uint64_t seed = seeds->text + (kind - UNPACK_STR + 1) * KIND_STEP;
    uint64_t first = 0, last = 0;
    if (size > 16)
        return hash64_longer(text, seed);
    // Two words hold all of it, the middle twice; the size tells which bytes those are.
    if (size >= 8) {
        memcpy(&first, at, 8);
        memcpy(&last, at + size - 8, 8);
    } else if (size >= 4) {
        memcpy(&first, at, 4);
        memcpy(&last, at + size - 4, 4);
    } else if (size > 0) {
        first = (uint64_t)at[0] << 16 | (uint64_t)at[size / 2] << 8 | at[size - 1];
    }
    return hash_mix(first ^ seed, last ^ (seeds->number + (size + 1) * SIZE_STEP));
}

static inline uint64_t
hash_of_number(const struct payload_seeds *seeds, unsigned kind, uint64_t number)
{
    return hash_mix(
        number ^ (seeds->number + SIZE_STEP), seeds->last + (kind - UNPACK_UINT + 1) * KIND_STEP);
}

static inline uint64_t
hash_pair(const struct payload_seeds *seeds, uint64_t key, uint64_t value)
{
    // Not symmetric in key and value, or {a: b} would equal {b: a}.
    return hash_mix(key ^ seeds->pair, value ^ seeds->last) + key * PAIR_STEP;
}

// Everything that is not short, with the cursor of whoever walks. Fails beyond UNPACK_DEPTH_MAX,
// which ingest does not let through: such properties are hashed by their bytes.
static uint64_t hash_any(const struct payload_seeds *seeds, struct cursor *in, uint32_t depth);

// The place in the properties is passed on by value, since through memory each step would wait for
// the one before. NULL: the bytes are no such value.
static __attribute__((noinline)) const uint8_t *
hash_value_any(
    const struct payload_seeds *seeds,
    const uint8_t *at,
    const uint8_t *end,
    uint32_t depth,
    uint64_t *out)
{
    struct cursor in = cursor_over(bytes_of(at, (size_t)(end - at)));
    *out = hash_any(seeds, &in, depth);
    return cursor_failed(&in) ? NULL : in.at;
}

// Here for what keys and most values are, short texts and small naturals: what their first byte
// says is all that is to be known of them.
static inline const uint8_t *
hash_value(
    const struct payload_seeds *seeds,
    const uint8_t *at,
    const uint8_t *end,
    uint32_t depth,
    uint64_t *out)
{
    const size_t left = (size_t)(end - at);
    const uint8_t tag = left > 0 ? at[0] : TAG_NEVER;
    const size_t size = tag & 0x1f;
    if ((tag & 0xe0) == 0xa0 && size < left) {
        *out = hash_of_text(seeds, UNPACK_STR, bytes_of(at + 1, size));
        return at + 1 + size;
    }
    if (tag < 0x80) {
        *out = hash_of_number(seeds, UNPACK_UINT, tag);
        return at + 1;
    }
    if (tag == TAG_UINT16 && left > 2) {
        *out = hash_of_number(seeds, UNPACK_UINT, (uint64_t)at[1] << 8 | at[2]);
        return at + 3;
    }
    return hash_value_any(seeds, at, end, depth, out);
}

// Added up, because addition does not mind the order. *at: NULL when they are no such pairs.
static uint64_t
hash_pairs(
    const struct payload_seeds *seeds,
    const uint8_t **at,
    const uint8_t *end,
    uint32_t count,
    uint32_t depth)
{
    const uint8_t *next = *at;
    uint64_t sum = count;
    for (uint32_t i = 0; i < count && next != NULL; i++) {
        uint64_t key = 0, value = 0;
        next = hash_value(seeds, next, end, depth, &key);
        if (next != NULL)
            next = hash_value(seeds, next, end, depth, &value);
        sum += hash_pair(seeds, key, value);
    }
    *at = next;
    return sum;
}

static uint64_t
hash_array(
    const struct payload_seeds *seeds,
    const uint8_t **at,
    const uint8_t *end,
    uint32_t count,
    uint32_t depth)
{
    uint64_t chain = count, value = 0;
    for (uint32_t i = 0; i < count && *at != NULL; i++) {
        *at = hash_value(seeds, *at, end, depth, &value);
        chain = hash_pair(seeds, chain, value);
    }
    return chain;
}

static uint64_t
hash_container(
    const struct payload_seeds *seeds,
    struct cursor *in,
    const struct unpack_item *item,
    uint32_t depth)
{
    const uint8_t *at = in->at;
    if (depth == UNPACK_DEPTH_MAX && item->count > 0) {
        in->failed = true;
        return 0;
    }
    uint64_t hash = item->type == UNPACK_MAP
                        ? hash_pairs(seeds, &at, in->end, item->count, depth + 1)
                        : hash_array(seeds, &at, in->end, item->count, depth + 1);
    if (at == NULL)
        in->failed = true;
    else
        in->at = at;
    return hash_of_number(seeds, (unsigned)item->type, hash);
}

static uint64_t
hash_any(const struct payload_seeds *seeds, struct cursor *in, uint32_t depth)
{
    struct unpack_item item;
    if (!unpack_next(in, &item)) {
        in->failed = true;
        return 0;
    }
    const unsigned kind = (unsigned)item.type;
    switch (item.type) {
    case UNPACK_NIL: return hash_of_number(seeds, kind, 0);
    case UNPACK_BOOL: return hash_of_number(seeds, kind, item.boolean);
    case UNPACK_INT: return hash_of_number(seeds, kind, (uint64_t)item.integer);
    case UNPACK_UINT: return hash_of_number(seeds, kind, item.natural);
    case UNPACK_FLOAT: {
        uint32_t bits;
        memcpy(&bits, &item.real32, sizeof bits);
        return hash_of_number(seeds, kind, bits);
    }
    case UNPACK_DOUBLE: {
        uint64_t bits;
        memcpy(&bits, &item.real64, sizeof bits);
        return hash_of_number(seeds, kind, bits);
    }
    case UNPACK_STR:
    case UNPACK_BIN: return hash_of_text(seeds, kind, item.text);
    case UNPACK_EXT: return hash_of_text(seeds, kind + 256U * (uint8_t)item.ext_type, item.text);
    case UNPACK_ARRAY:
    case UNPACK_MAP: return hash_container(seeds, in, &item, depth);
    }
    return 0;
}

uint64_t
properties_hash(struct bytes properties, uint32_t count, const struct hash_secret *secret)
{
    struct payload_seeds seeds;
    memcpy(&seeds, secret->bytes, sizeof seeds);
    // An empty view may be NULL.
    const struct cursor in = cursor_over(properties);
    const uint8_t *at = in.at;
    uint64_t hash = hash_pairs(&seeds, &at, in.end, count, 0);
    return at != NULL ? hash : hash64(properties, seeds.text);
}

uint32_t
payload_hash(
    const struct entry_payload *payload, uint64_t properties, const struct hash_secret *secret)
{
    struct payload_seeds seeds;
    memcpy(&seeds, secret->bytes, sizeof seeds);
    const uint128 units = (uint128)payload->value.units;
    const uint64_t value = hash_pair(&seeds, (uint64_t)units, (uint64_t)(units >> 64));
    uint64_t all = hash_pair(&seeds, hash_of_text(&seeds, UNPACK_STR, payload->type), value);
    all = hash_pair(&seeds, all, properties);
    return (uint32_t)(all ^ (all >> 32));
}

uint32_t
entry_payload_hash(const struct entry *entry, const struct hash_secret *secret)
{
    const struct entry_payload payload = {
        .type = entry->type,
        .value = entry->value,
        .properties_count = entry->properties_count,
        .properties = entry->properties,
    };
    const uint64_t properties =
        properties_hash(payload.properties, payload.properties_count, secret);
    return payload_hash(&payload, properties, secret);
}
