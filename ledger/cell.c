// Keys are built so that memcmp orders them by meter, subject, time; every value carries a checksum
// over key and value, so that a value that moved under another key is seen as well as a flipped
// bit.

#include "ledger/cell.h"

#include "base/assert.h"

enum {
    CELL_PREFIX_METER = 1 + 4,
    CELL_KEY_AFTER_SUBJECT = 8 + 16,
    CELL_KEY_FIXED = CELL_PREFIX_METER + 1 + CELL_KEY_AFTER_SUBJECT,
    CELL_CHECKSUM_SIZE = 8,
    CELL_VALUE_COUNT = 8,
    CELL_VALUE_SUM = 16,
    CELL_VALUE_FLAGS = 32,
    CELL_VALUE_DIMENSIONS = 33,
    CELL_VALUE_FIXED = 34,
    STATE_META_SIZE = 16,
    GROUP_BYTES_ON_STACK = 1024,
};

// The key's hash seeds the value's: one checksum over both without laying them side by side.
static uint64_t
checksum_of(struct bytes key, struct bytes rest)
{
    return hash64(rest, hash64(key, 0));
}

void
cell_merge(struct cell_state *into, const struct cell_state *from)
{
    into->count += from->count;
    into->flags |= from->flags;
    if (!decimal_add(&into->sum, from->sum))
        into->flags |= CELL_OVERFLOWED;
}

static size_t
put_u32be(uint8_t *out, uint32_t value)
{
    uint32_t swapped = __builtin_bswap32(value);
    memcpy(out, &swapped, sizeof swapped);
    return sizeof swapped;
}

static size_t
put_u64be(uint8_t *out, uint64_t value)
{
    uint64_t swapped = __builtin_bswap64(value);
    memcpy(out, &swapped, sizeof swapped);
    return sizeof swapped;
}

size_t
cell_prefix_write(
    enum cell_width width,
    uint32_t meter_id,
    const struct bytes *subject,
    uint8_t out[CELL_KEY_MAX])
{
    out[0] = (uint8_t)width;
    size_t size = 1 + put_u32be(out + 1, meter_id);
    must(size == CELL_PREFIX_METER);
    if (subject == NULL || subject->size == 0)
        return size;
    must(subject->size <= UINT8_MAX);
    out[size++] = (uint8_t)subject->size;
    memcpy(out + size, subject->data, subject->size);
    return size + subject->size;
}

size_t
cell_key_write(const struct cell_key *key, uint8_t out[CELL_KEY_MAX])
{
    must(key->window >= 0);
    must(key->subject.size > 0);
    size_t size = cell_prefix_write(key->width, key->meter_id, &key->subject, out);
    size += put_u64be(out + size, (uint64_t)key->window);
    size += put_u64be(out + size, key->group.high);
    size += put_u64be(out + size, key->group.low);
    must(size <= CELL_KEY_MAX);
    return size;
}

static uint64_t
get_u64be(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return __builtin_bswap64(value);
}

bool
cell_key_read(struct bytes bytes, struct cell_key *out)
{
    const uint8_t *at = bytes.data;
    if (bytes.size < CELL_KEY_FIXED || bytes.size != CELL_KEY_FIXED + (size_t)at[CELL_PREFIX_METER])
        return false;
    const uint8_t *rest = at + bytes.size - CELL_KEY_AFTER_SUBJECT;
    uint64_t window = get_u64be(rest);
    if (at[0] != CELL_QUARTER_HOUR || at[CELL_PREFIX_METER] == 0 || window > INT64_MAX)
        return false;
    uint32_t meter_id;
    memcpy(&meter_id, at + 1, sizeof meter_id);
    *out = (struct cell_key){
        .width = CELL_QUARTER_HOUR,
        .meter_id = __builtin_bswap32(meter_id),
        .subject = bytes_of(at + CELL_PREFIX_METER + 1, at[CELL_PREFIX_METER]),
        .window = (int64_t)window,
        .group = {.high = get_u64be(rest + 8), .low = get_u64be(rest + 16)},
    };
    return true;
}

void
cell_value_write(
    struct bytes key,
    const struct cell_state *state,
    const struct cell_group *group,
    struct buffer *out)
{
    must(group->count <= METER_DIMENSIONS_MAX);
    size_t start = out->size;
    buffer_u64le(out, 0);
    buffer_u64le(out, state->count);
    buffer_put(out, &state->sum.units, sizeof state->sum.units);
    buffer_u8(out, state->flags);
    buffer_u8(out, (uint8_t)group->count);
    for (uint32_t i = 0; i < group->count; i++) {
        must(group->values[i].size <= UINT16_MAX);
        buffer_u16le(out, (uint16_t)group->values[i].size);
        buffer_bytes(out, group->values[i]);
    }
    if (buffer_failed(out))
        return;
    uint8_t *value = out->data + start;
    struct bytes rest =
        bytes_of(value + CELL_CHECKSUM_SIZE, out->size - start - CELL_CHECKSUM_SIZE);
    uint64_t checksum = checksum_of(key, rest);
    memcpy(value, &checksum, sizeof checksum);
}

static bool
cell_group_read(struct cursor *in, struct cell_group *group)
{
    if (group->count > METER_DIMENSIONS_MAX)
        return false;
    for (uint32_t i = 0; i < group->count; i++)
        group->values[i] = cursor_take(in, cursor_u16le(in));
    return !cursor_failed(in) && cursor_left(in) == 0;
}

enum status
cell_value_read(
    struct bytes key, struct bytes value, struct cell_state *out, struct cell_group *out_group)
{
    const uint8_t *at = value.data;
    if (value.size < CELL_VALUE_FIXED)
        return STATUS_CORRUPT;
    uint64_t checksum;
    memcpy(&checksum, at, sizeof checksum);
    struct bytes rest = bytes_of(at + CELL_CHECKSUM_SIZE, value.size - CELL_CHECKSUM_SIZE);
    if (checksum != checksum_of(key, rest))
        return STATUS_CORRUPT;
    struct cell_state state = {.flags = at[CELL_VALUE_FLAGS]};
    memcpy(&state.count, at + CELL_VALUE_COUNT, sizeof state.count);
    memcpy(&state.sum.units, at + CELL_VALUE_SUM, sizeof state.sum.units);
    struct cell_group group = {.count = at[CELL_VALUE_DIMENSIONS]};
    struct cursor in = cursor_over(bytes_of(at + CELL_VALUE_FIXED, value.size - CELL_VALUE_FIXED));
    if (!cell_group_read(&in, &group))
        return STATUS_CORRUPT;
    *out = state;
    *out_group = group;
    return STATUS_OK;
}

// Length-prefixed, so that ("a", "bc") and ("ab", "c") differ. Groups that fit the stack's buffer
// are hashed in one piece; a larger one is hashed value by value, each hash seeding the next.
struct hash128
cell_group_hash(const struct cell_group *group)
{
    if (group->count == 0)
        return (struct hash128){0};
    uint8_t bytes[GROUP_BYTES_ON_STACK];
    size_t size = 0;
    struct hash128 hash = {0};
    for (uint32_t i = 0; i < group->count; i++) {
        struct bytes value = group->values[i];
        if (size + 4 + value.size > sizeof bytes) {
            hash = hash128(bytes_of(bytes, size), hash.low ^ hash.high);
            size = 0;
        }
        size += put_u32be(bytes + size, (uint32_t)value.size);
        if (value.size + size <= sizeof bytes) {
            if (value.size > 0)
                memcpy(bytes + size, value.data, value.size);
            size += value.size;
        } else {
            hash = hash128(value, hash.low ^ hash.high ^ hash64(bytes_of(bytes, size), 0));
            size = 0;
        }
    }
    return hash128(bytes_of(bytes, size), hash.low ^ hash.high);
}

enum status
state_meta_read(struct bytes key, struct bytes value, uint64_t *out)
{
    struct cursor in = cursor_over(value);
    uint64_t stored = cursor_u64le(&in);
    uint64_t checksum = cursor_u64le(&in);
    if (value.size != STATE_META_SIZE ||
        checksum != checksum_of(key, bytes_of(&stored, sizeof stored)))
        return STATUS_CORRUPT;
    *out = stored;
    return STATUS_OK;
}

void
state_meta_write(struct bytes key, uint64_t value, uint8_t out[16])
{
    uint64_t checksum = checksum_of(key, bytes_of(&value, sizeof value));
    memcpy(out, &value, sizeof value);
    memcpy(out + sizeof value, &checksum, sizeof checksum);
}
