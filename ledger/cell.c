// Keys are built so that memcmp orders them by width, zone, meter, window, subject, group, epoch;
// every value carries a checksum over key and value, so that a value that moved under another key
// is seen as well as a flipped bit.

#include "ledger/cell.h"

#include "base/assert.h"

enum {
    KEY_ZONE = 1,
    KEY_METER = KEY_ZONE + 2,
    KEY_START = KEY_METER + 4,
    KEY_SUBJECT = KEY_START + 8,
    KEY_AFTER_SUBJECT = 16 + 4,
    KEY_FIXED = KEY_SUBJECT + 1 + KEY_AFTER_SUBJECT,
    STATE_META_SIZE = 16,
    GROUP_BYTES_ON_STACK = 1024,
};

static size_t
put_u16be(uint8_t *out, uint16_t value)
{
    uint16_t swapped = __builtin_bswap16(value);
    memcpy(out, &swapped, sizeof swapped);
    return sizeof swapped;
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
cell_seek_window(
    enum cell_width width,
    uint16_t zone,
    uint32_t meter_id,
    int64_t start_s,
    uint8_t out[CELL_KEY_MAX])
{
    must(start_s >= 0);
    out[0] = (uint8_t)width;
    size_t size = KEY_ZONE;
    size += put_u16be(out + size, zone);
    size += put_u32be(out + size, meter_id);
    size += put_u64be(out + size, (uint64_t)start_s);
    must(size == KEY_SUBJECT);
    return size;
}

size_t
cell_prefix_subject(const struct cell_key *key, uint8_t out[CELL_KEY_MAX])
{
    must(key->subject.size > 0 && key->subject.size <= UINT8_MAX);
    size_t size = cell_seek_window(key->width, key->zone, key->meter_id, key->start_s, out);
    out[size++] = (uint8_t)key->subject.size;
    memcpy(out + size, key->subject.data, key->subject.size);
    return size + key->subject.size;
}

size_t
cell_key_write(const struct cell_key *key, uint8_t out[CELL_KEY_MAX])
{
    size_t size = cell_prefix_subject(key, out);
    size += put_u64be(out + size, key->group.high);
    size += put_u64be(out + size, key->group.low);
    size += put_u32be(out + size, key->epoch);
    must(size <= CELL_KEY_MAX);
    return size;
}

bool
cell_key_read(struct bytes bytes, struct cell_key *out)
{
    struct cursor in = cursor_over(bytes);
    uint8_t width = cursor_u8(&in);
    struct cell_key key = {.zone = cursor_u16be(&in), .meter_id = cursor_u32be(&in)};
    uint64_t start_s = cursor_u64be(&in);
    key.subject = cursor_take(&in, cursor_u8(&in));
    key.group.high = cursor_u64be(&in);
    key.group.low = cursor_u64be(&in);
    key.epoch = cursor_u32be(&in);
    bool has_zone = width == CELL_ZONE_DAY || width == CELL_ZONE_MONTH;
    if (cursor_failed(&in) || cursor_left(&in) > 0 || width < CELL_QUARTER_HOUR ||
        width > CELL_ZONE_MONTH || has_zone != (key.zone > 0) || key.subject.size == 0 ||
        start_s > INT64_MAX / 1000000000)
        return false;
    key.width = (enum cell_width)width;
    key.start_s = (int64_t)start_s;
    *out = key;
    return true;
}

static int
order_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int
cell_key_compare(const struct cell_key *a, const struct cell_key *b)
{
    int order = order_u64(a->width, b->width);
    if (order == 0)
        order = order_u64(a->zone, b->zone);
    if (order == 0)
        order = order_u64(a->meter_id, b->meter_id);
    if (order == 0)
        order = order_u64((uint64_t)a->start_s, (uint64_t)b->start_s);
    if (order == 0)
        order = order_u64(a->subject.size, b->subject.size);
    if (order == 0)
        order = memcmp(a->subject.data, b->subject.data, a->subject.size);
    if (order == 0)
        order = order_u64(a->group.high, b->group.high);
    if (order == 0)
        order = order_u64(a->group.low, b->group.low);
    return order != 0 ? order : order_u64(a->epoch, b->epoch);
}

// Length-prefixed, so that ("a", "bc") and ("ab", "c") differ. Groups that fit the stack's buffer
// are hashed in one piece; a larger one is hashed value by value, each hash seeding the next.
struct hash128
cell_group_hash(const struct cell_group *group)
{
    if (group->count == 0)
        return (struct hash128){0};
    __attribute__((uninitialized)) uint8_t bytes[GROUP_BYTES_ON_STACK];
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

static uint64_t
meta_checksum(struct bytes key, uint64_t value)
{
    return hash64(bytes_of(&value, sizeof value), hash64(key, 0));
}

enum status
state_meta_read(struct bytes key, struct bytes value, uint64_t *out)
{
    struct cursor in = cursor_over(value);
    uint64_t stored = cursor_u64le(&in);
    uint64_t checksum = cursor_u64le(&in);
    if (value.size != STATE_META_SIZE || checksum != meta_checksum(key, stored))
        return STATUS_CORRUPT;
    *out = stored;
    return STATUS_OK;
}

void
state_meta_write(struct bytes key, uint64_t value, uint8_t out[16])
{
    uint64_t checksum = meta_checksum(key, value);
    memcpy(out, &value, sizeof value);
    memcpy(out + sizeof value, &checksum, sizeof checksum);
}
