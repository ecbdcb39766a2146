#include "ledger/cell_state.h"

#include "base/assert.h"

#include <stdlib.h>

enum {
    HASH_SIZE = CELL_HASH_SIZE,
    SET_CAPACITY_MIN = 8,
};

static const int64_t NS_PER_S = 1000000000;

static const uint8_t FLAGS_KNOWN =
    CELL_OVERFLOWED | CELL_DIRTY | CELL_REPLACES | CELL_CAPPED | CELL_SPILLED | CELL_HAS_VALUE;

// --- distinct values ---

static bool
place_is_free(const struct hash128 *place)
{
    return (place->low | place->high) == 0;
}

// Where the hash is, or the free place where it belongs.
static struct hash128 *
set_place(const struct cell_set *set, struct hash128 hash)
{
    must(set->count < set->capacity);
    size_t mask = set->capacity - 1;
    size_t at = (size_t)hash.low & mask;
    while (!place_is_free(&set->places[at]) &&
           (set->places[at].low != hash.low || set->places[at].high != hash.high))
        at = (at + 1) & mask;
    return &set->places[at];
}

// The smaller tables stay behind in the arena: together no more than the one in use.
static void
set_grow(struct cell_set *set, struct arena *arena)
{
    struct cell_set larger = {.count = set->count};
    larger.capacity = set->capacity > 0 ? set->capacity * 2 : SET_CAPACITY_MIN;
    must(larger.capacity > set->capacity);
    larger.places = arena_array(arena, larger.capacity, struct hash128);
    for (uint32_t i = 0; i < set->capacity; i++) {
        if (!place_is_free(&set->places[i]))
            *set_place(&larger, set->places[i]) = set->places[i];
    }
    *set = larger;
}

bool
cell_set_add(struct cell_set *set, struct hash128 hash, struct arena *arena)
{
    must(!place_is_free(&hash));
    if (set->count >= set->capacity - set->capacity / 4)
        set_grow(set, arena);
    struct hash128 *place = set_place(set, hash);
    if (!place_is_free(place))
        return false;
    *place = hash;
    set->count++;
    return true;
}

void
cell_hash_write(struct hash128 hash, uint8_t out[CELL_HASH_SIZE])
{
    uint64_t high = __builtin_bswap64(hash.high);
    uint64_t low = __builtin_bswap64(hash.low);
    memcpy(out, &high, sizeof high);
    memcpy(out + sizeof high, &low, sizeof low);
}

struct hash128
cell_hash_read(const uint8_t from[CELL_HASH_SIZE])
{
    struct hash128 hash;
    memcpy(&hash.high, from, sizeof hash.high);
    memcpy(&hash.low, from + sizeof hash.high, sizeof hash.low);
    return (struct hash128){
        .low = __builtin_bswap64(hash.low), .high = __builtin_bswap64(hash.high)};
}

static int
compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, HASH_SIZE);
}

struct bytes
cell_set_sorted(const struct cell_set *set, struct arena *arena)
{
    uint8_t *list = arena_take(arena, set->count, HASH_SIZE);
    size_t count = 0;
    for (uint32_t i = 0; i < set->capacity; i++) {
        if (!place_is_free(&set->places[i]))
            cell_hash_write(set->places[i], list + HASH_SIZE * count++);
    }
    must(count == set->count);
    qsort(list, count, HASH_SIZE, compare_hashes);
    return bytes_of(list, count * HASH_SIZE);
}

void
cell_unique_list(struct cell_unique *unique, struct arena *arena)
{
    must(unique->listed.size == 0);
    unique->listed = cell_set_sorted(&unique->set, arena);
    unique->set = (struct cell_set){0};
}

static void
unique_merge(struct cell_unique *into, const struct cell_unique *from, struct arena *arena)
{
    for (size_t at = 0; at < from->listed.size; at += HASH_SIZE)
        (void)cell_set_add(&into->set, cell_hash_read(from->listed.data + at), arena);
    for (uint32_t i = 0; i < from->set.capacity; i++) {
        if (!place_is_free(&from->set.places[i]))
            (void)cell_set_add(&into->set, from->set.places[i], arena);
    }
}

// --- events and states into a state ---

bool
cell_has_way_back(enum aggregation aggregation)
{
    switch (aggregation) {
    case AGGREGATION_COUNT:
    case AGGREGATION_SUM:
    case AGGREGATION_AVG:
    case AGGREGATION_WEIGHTED_SUM: return true;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX:
    case AGGREGATION_LATEST:
    case AGGREGATION_UNIQUE_COUNT: break;
    }
    return false;
}

bool
cell_latest_after(const struct cell_latest *a, const struct cell_latest *b)
{
    if (a->time_ns != b->time_ns)
        return a->time_ns > b->time_ns;
    if (a->block != b->block)
        return a->block > b->block;
    return a->index > b->index;
}

static void
take_extreme(enum aggregation aggregation, struct cell_state *state, struct decimal value)
{
    int order = decimal_compare(value, state->extreme);
    bool is_better = aggregation == AGGREGATION_MAX ? order > 0 : order < 0;
    if (is_better || !(state->flags & CELL_HAS_VALUE))
        state->extreme = value;
    state->flags |= CELL_HAS_VALUE;
}

static void
take_latest(struct cell_state *state, const struct cell_latest *latest)
{
    if (!(state->flags & CELL_HAS_VALUE) || cell_latest_after(latest, &state->latest))
        state->latest = *latest;
    state->flags |= CELL_HAS_VALUE;
}

static void
take_sum(struct cell_sum *into, int128 units, int64_t offset_ns)
{
    wide_add_int128(&into->sum, units);
    if (offset_ns != 0) {
        struct wide moment = wide_multiply(units, offset_ns);
        wide_add(&into->moment, &moment);
    }
}

static void
take_latest_input(struct cell_state *state, const struct cell_input *input)
{
    const struct cell_latest latest = {
        .value = input->value,
        .time_ns = input->time_ns,
        .arrival_ns = input->arrival_ns,
        .block = input->block,
        .index = input->index,
    };
    take_latest(state, &latest);
}

// What has no way back is only marked.
static void
cell_cancel(
    enum aggregation aggregation,
    struct cell_state *state,
    const struct cell_input *input,
    int64_t start_s)
{
    state->count--;
    switch (aggregation) {
    case AGGREGATION_COUNT: return;
    case AGGREGATION_SUM:
    case AGGREGATION_AVG: take_sum(&state->sum, -input->value.units, 0); return;
    case AGGREGATION_WEIGHTED_SUM:
        take_sum(&state->sum, -input->value.units, input->time_ns - start_s * NS_PER_S);
        return;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX:
    case AGGREGATION_LATEST:
    case AGGREGATION_UNIQUE_COUNT: state->flags |= CELL_DIRTY; return;
    }
    must(false && "an unknown aggregation");
}

void
cell_add_any(
    enum aggregation aggregation,
    struct cell_state *state,
    const struct cell_input *input,
    int64_t start_s,
    struct arena *arena)
{
    if (input->is_cancel) {
        cell_cancel(aggregation, state, input, start_s);
        return;
    }
    state->count++;
    switch (aggregation) {
    case AGGREGATION_COUNT: return;
    case AGGREGATION_SUM:
    case AGGREGATION_AVG: take_sum(&state->sum, input->value.units, 0); return;
    case AGGREGATION_WEIGHTED_SUM:
        take_sum(&state->sum, input->value.units, input->time_ns - start_s * NS_PER_S);
        return;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX: take_extreme(aggregation, state, input->value); return;
    case AGGREGATION_LATEST: take_latest_input(state, input); return;
    case AGGREGATION_UNIQUE_COUNT:
        (void)cell_set_add(&state->unique.set, input->distinct, arena);
        return;
    }
    must(false && "an unknown aggregation");
}

void
cell_merge(
    enum aggregation aggregation,
    struct cell_state *into,
    const struct cell_state *from,
    int64_t shift_s,
    struct arena *arena)
{
    const uint8_t kept = CELL_DIRTY | CELL_CAPPED;
    into->count += from->count;
    into->flags |= from->flags & kept;
    switch (aggregation) {
    case AGGREGATION_COUNT: return;
    case AGGREGATION_WEIGHTED_SUM: {
        struct wide shifted = wide_scale(from->sum.sum, shift_s * NS_PER_S);
        wide_add(&into->sum.moment, &from->sum.moment);
        wide_add(&into->sum.moment, &shifted);
        wide_add(&into->sum.sum, &from->sum.sum);
        return;
    }
    case AGGREGATION_SUM:
    case AGGREGATION_AVG: wide_add(&into->sum.sum, &from->sum.sum); return;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX:
        if (from->flags & CELL_HAS_VALUE)
            take_extreme(aggregation, into, from->extreme);
        return;
    case AGGREGATION_LATEST:
        if (from->flags & CELL_HAS_VALUE)
            take_latest(into, &from->latest);
        return;
    case AGGREGATION_UNIQUE_COUNT: unique_merge(&into->unique, &from->unique, arena); return;
    }
    must(false && "an unknown aggregation");
}

bool
cell_overflowed(enum aggregation aggregation, const struct cell_state *state)
{
    int128 units;
    return aggregation == AGGREGATION_SUM && !wide_to_int128(&state->sum.sum, &units);
}

// --- as bytes ---

// The key's hash seeds the value's: one checksum over both without laying them side by side.
static uint64_t
value_checksum(struct bytes key, struct bytes rest)
{
    return hash64(rest, hash64(key, 0));
}

static void
put_varint(struct buffer *out, uint64_t number)
{
    while (number >= 0x80) {
        buffer_u8(out, (uint8_t)(number | 0x80));
        number >>= 7;
    }
    buffer_u8(out, (uint8_t)number);
}

static uint64_t
take_varint(struct cursor *in)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = cursor_u8(in);
        number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return number;
    }
    in->failed = true;
    return 0;
}

static void
put_number(struct buffer *out, const struct wide *number)
{
    uint8_t bytes[WIDE_SIZE];
    size_t size = wide_write(number, bytes);
    buffer_u8(out, (uint8_t)size);
    buffer_put(out, bytes, size);
}

static void
put_decimal(struct buffer *out, struct decimal value)
{
    struct wide number = wide_from_int128(value.units);
    put_number(out, &number);
}

static struct wide
take_number(struct cursor *in)
{
    uint8_t size = cursor_u8(in);
    if (size > WIDE_SIZE)
        in->failed = true;
    return wide_read(cursor_take(in, size));
}

static struct decimal
take_decimal(struct cursor *in)
{
    struct wide number = take_number(in);
    struct decimal value = {0};
    if (!wide_to_int128(&number, &value.units))
        in->failed = true;
    return value;
}

static void
put_latest(struct buffer *out, const struct cell_latest *latest)
{
    put_decimal(out, latest->value);
    buffer_u64le(out, (uint64_t)latest->time_ns);
    buffer_u64le(out, (uint64_t)latest->arrival_ns);
    buffer_u64le(out, latest->block);
    buffer_u32le(out, latest->index);
}

static struct cell_latest
take_latest_bytes(struct cursor *in)
{
    struct cell_latest latest = {.value = take_decimal(in)};
    latest.time_ns = (int64_t)cursor_u64le(in);
    latest.arrival_ns = (int64_t)cursor_u64le(in);
    latest.block = cursor_u64le(in);
    latest.index = cursor_u32le(in);
    return latest;
}

static void
put_unique(struct buffer *out, const struct cell_state *state)
{
    const struct cell_unique *unique = &state->unique;
    must(unique->set.count == 0 && unique->listed.size % HASH_SIZE == 0);
    if (state->flags & CELL_SPILLED) {
        put_varint(out, unique->spilled);
        return;
    }
    put_varint(out, unique->listed.size / HASH_SIZE);
    buffer_bytes(out, unique->listed);
}

static void
take_unique(struct cursor *in, struct cell_state *state)
{
    uint64_t count = take_varint(in);
    state->unique = (struct cell_unique){0};
    if (state->flags & CELL_SPILLED) {
        state->unique.spilled = count;
        return;
    }
    if (count > cursor_left(in) / HASH_SIZE)
        in->failed = true;
    else
        state->unique.listed = cursor_take(in, (size_t)count * HASH_SIZE);
}

static void
put_state(struct buffer *out, enum aggregation aggregation, const struct cell_state *state)
{
    switch (aggregation) {
    case AGGREGATION_COUNT: return;
    case AGGREGATION_SUM:
    case AGGREGATION_AVG: put_number(out, &state->sum.sum); return;
    case AGGREGATION_WEIGHTED_SUM:
        put_number(out, &state->sum.sum);
        put_number(out, &state->sum.moment);
        return;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX:
        if (state->flags & CELL_HAS_VALUE)
            put_decimal(out, state->extreme);
        return;
    case AGGREGATION_LATEST:
        if (state->flags & CELL_HAS_VALUE)
            put_latest(out, &state->latest);
        return;
    case AGGREGATION_UNIQUE_COUNT: put_unique(out, state); return;
    }
    must(false && "an unknown aggregation");
}

static void
take_state(struct cursor *in, enum aggregation aggregation, struct cell_state *state)
{
    switch (aggregation) {
    case AGGREGATION_COUNT: return;
    case AGGREGATION_SUM:
    case AGGREGATION_AVG: state->sum.sum = take_number(in); return;
    case AGGREGATION_WEIGHTED_SUM:
        state->sum.sum = take_number(in);
        state->sum.moment = take_number(in);
        return;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX:
        if (state->flags & CELL_HAS_VALUE)
            state->extreme = take_decimal(in);
        return;
    case AGGREGATION_LATEST:
        if (state->flags & CELL_HAS_VALUE)
            state->latest = take_latest_bytes(in);
        return;
    case AGGREGATION_UNIQUE_COUNT: take_unique(in, state); return;
    }
    must(false && "an unknown aggregation");
}

void
cell_value_write(
    struct bytes key,
    enum aggregation aggregation,
    const struct cell_state *state,
    const struct cell_group *group,
    struct buffer *out)
{
    must(group->count <= METER_DIMENSIONS_MAX);
    size_t start = out->size;
    uint8_t flags = state->flags & (uint8_t)~CELL_OVERFLOWED;
    if (cell_overflowed(aggregation, state))
        flags |= CELL_OVERFLOWED;
    buffer_u64le(out, 0);
    buffer_u8(out, (uint8_t)aggregation);
    buffer_u8(out, flags);
    buffer_u8(out, (uint8_t)group->count);
    put_varint(out, (uint64_t)state->count << 1 ^ (uint64_t)(state->count >> 63));
    put_state(out, aggregation, state);
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
    uint64_t checksum = value_checksum(key, rest);
    memcpy(value, &checksum, sizeof checksum);
}

bool
cell_value_aggregation(struct bytes value, enum aggregation *out)
{
    if (value.size <= CELL_CHECKSUM_SIZE || value.data[CELL_CHECKSUM_SIZE] >= AGGREGATION_KINDS)
        return false;
    *out = (enum aggregation)value.data[CELL_CHECKSUM_SIZE];
    return true;
}

bool
cell_value_is_whole(struct bytes key, struct bytes value)
{
    struct cursor in = cursor_over(value);
    uint64_t checksum = cursor_u64le(&in);
    return !cursor_failed(&in) &&
           checksum == value_checksum(key, bytes_of(in.at, cursor_left(&in)));
}

static bool
take_group(struct cursor *in, struct cell_group *group)
{
    if (group->count > METER_DIMENSIONS_MAX)
        return false;
    for (uint32_t i = 0; i < group->count; i++)
        group->values[i] = cursor_take(in, cursor_u16le(in));
    return !cursor_failed(in) && cursor_left(in) == 0;
}

enum status
cell_value_read(
    struct bytes key,
    struct bytes value,
    enum aggregation aggregation,
    struct cell_state *out,
    struct cell_group *out_group)
{
    if (!cell_value_is_whole(key, value))
        return STATUS_CORRUPT;
    struct cursor in = cursor_over(value);
    (void)cursor_u64le(&in);
    uint8_t stored = cursor_u8(&in);
    struct cell_state state = {.flags = cursor_u8(&in)};
    struct cell_group group = {.count = cursor_u8(&in)};
    uint64_t count = take_varint(&in);
    state.count = (int64_t)(count >> 1) ^ -(int64_t)(count & 1);
    if (cursor_failed(&in) || stored != (uint8_t)aggregation || (state.flags & ~FLAGS_KNOWN) != 0)
        return STATUS_CORRUPT;
    take_state(&in, aggregation, &state);
    if (!take_group(&in, &group))
        return STATUS_CORRUPT;
    *out = state;
    *out_group = group;
    return STATUS_OK;
}
