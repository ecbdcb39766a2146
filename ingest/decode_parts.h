#pragma once
// What decode.c (any entry) and decode_alike.c (one like those before it) share; private to them.
//
//     enum reserved name = reserved_of(key.text);
//     refusal = name == RESERVED_NONE ? property_walk(&in) : value_decode(&item, &event, &stats);
//
// Owner: values. Thread: any.

#include "base/assert.h"
#include "base/clock.h"
#include "base/unpack.h"
#include "ingest/decode.h"

enum {
    EVENT_TIME_EXT = 0,
    EVENT_TIME_SIZE = 8,
    TAG_FIXEXT8 = 0xd7,
    TAG_PAIR = 0x92,
    TAG_MAP = 0x80,
    TIME_SIZE = 1 + 1 + EVENT_TIME_SIZE,
    // Of the record, behind an EventTime.
    RECORD_OFFSET = 1 + TIME_SIZE,
};

enum reserved {
    RESERVED_NONE = 0,
    RESERVED_SUBJECT = 1,
    RESERVED_TYPE = 2,
    RESERVED_ID = 4,
    RESERVED_SOURCE = 8,
    RESERVED_VALUE = 16,
    RESERVED_DATA = 32,  // a key that is no text, and so 0 or refused
};

enum reserved reserved_of(struct bytes key);

// STR or BIN.
static inline bool
item_is_text(const struct unpack_item *item)
{
    return item->type == UNPACK_STR || item->type == UNPACK_BIN;
}

// The time of an entry, in any of its forms. False: it is to be refused.
enum refusal entry_time_decode(struct cursor *in, int64_t *out_ns);
// The reserved value; nil leaves it as it is. Counts one that was rounded.
enum refusal
value_decode(const struct unpack_item *item, struct event *out, struct decode_stats *stats);
// Moves over a property's value.
enum refusal property_walk(struct cursor *in);
// What an event has that says nothing but what its frame says.
void event_begin(const struct frame *frame, uint32_t index, struct event *out);

// A run of properties ends where a reserved key begins, or with the map.
static inline void
run_add(struct event *event, const uint8_t *start, const uint8_t *end)
{
    if (start == end)
        return;
    must(event->properties_runs < EVENT_RUNS_MAX);
    struct bytes *run = &event->properties[event->properties_runs++];
    run->data = start;
    run->size = (size_t)(end - start);
}

// The functions below are given the place of a value that is not at the end, and return the place
// behind it; NULL: it is to be refused.

const uint8_t *value_take_any(
    const uint8_t *at, const uint8_t *end, struct event *out, struct decode_stats *stats);

static inline const uint8_t *
value_take(const uint8_t *at, const uint8_t *end, struct event *out, struct decode_stats *stats)
{
    if (at[0] >= TAG_MAP)
        return value_take_any(at, end, out, stats);
    out->value = decimal_from_int(at[0]);
    return at + 1;
}

const uint8_t *time_take_any(const uint8_t *at, const uint8_t *end, int64_t *out_ns);

static inline uint32_t
load_u32be(const uint8_t *at)
{
    uint32_t number;
    memcpy(&number, at, sizeof number);
    return __builtin_bswap32(number);
}

// TIME_SIZE bytes are there.
static inline const uint8_t *
time_take(const uint8_t *at, const uint8_t *end, int64_t *out_ns)
{
    uint32_t seconds = load_u32be(at + 2), nanoseconds = load_u32be(at + 6);
    if (at[0] != TAG_FIXEXT8 || at[1] != EVENT_TIME_EXT || nanoseconds >= SECOND_NS)
        return time_take_any(at, end, out_ns);
    *out_ns = (int64_t)seconds * SECOND_NS + nanoseconds;
    return at + TIME_SIZE;
}
