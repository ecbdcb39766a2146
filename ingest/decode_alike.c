// Most of the work for an entry is to find out what its keys are. Here they are compared with those
// of an entry that was read before, a word or two each, and only values are looked at.
//
// 1. Nothing is refused here. What does not fit, or would be refused, is read again from its start
//    by decode_entry, which decides; until an entry was read to its end nothing is counted.
// 2. A layout is learnt from entries that decode_entry took, so no reserved key is in it twice.
// 3. The place in the entry is passed on by value. Kept in a cursor that others are given a pointer
//    to, it would go through memory at each step, and every step waits for the one before.

#include "ingest/decode_alike.h"

#include "base/clock.h"
#include "ingest/decode_parts.h"

enum {
    TAG_STR = 0xa0,
    TAG_STR8 = 0xd9,
    TAG_UINT8 = 0xcc,
    TAG_UINT16 = 0xcd,
    // Learning costs as much as reading some entries.
    LEARN_WAIT = 16,
};

static inline uint64_t
load_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

// LAYOUT_KEY_MAX bytes are there.
static inline bool
key_fits(const struct layout_key *key, const uint8_t *at)
{
    uint64_t differs = (load_word(at) ^ key->wanted[0]) & key->mask[0];
    if (key->size > sizeof(uint64_t))
        differs |= (load_word(at + sizeof(uint64_t)) ^ key->wanted[1]) & key->mask[1];
    return differs == 0;
}

// The functions below are given the place of a value that is not at the end, and return the place
// behind it; NULL: they do not know, or it is to be refused.

// A short string of size_min to size_max bytes.
static inline const uint8_t *
text_take(
    const uint8_t *at, const uint8_t *end, size_t size_min, size_t size_max, struct bytes *out)
{
    size_t left = (size_t)(end - at);
    size_t head = 1, size = at[0] & 0x1f;
    if (at[0] == TAG_STR8 && left > 1) {
        head = 2;
        size = at[1];
    } else if ((at[0] & 0xe0) != TAG_STR) {
        return NULL;
    }
    if (size > left - head || size < size_min || size > size_max)
        return NULL;
    out->data = at + head;
    out->size = size;
    return at + head + size;
}

static __attribute__((noinline)) const uint8_t *
property_pass_any(const uint8_t *at, const uint8_t *end)
{
    struct cursor in = cursor_over(bytes_of(at, (size_t)(end - at)));
    return property_walk(&in) == REFUSAL_NONE ? in.at : NULL;
}

// Short strings and small numbers here, everything else there.
static inline const uint8_t *
property_pass(const uint8_t *at, const uint8_t *end)
{
    size_t left = (size_t)(end - at), size = 0;
    if ((at[0] & 0xe0) == TAG_STR)
        size = 1 + (size_t)(at[0] & 0x1f);
    else if (at[0] < TAG_MAP)
        size = 1;
    else if (at[0] == TAG_UINT8 || at[0] == TAG_UINT16)
        size = at[0] == TAG_UINT8 ? 2 : 3;
    return size > 0 && size <= left ? at + size : property_pass_any(at, end);
}

static inline const uint8_t *
reserved_take(
    enum reserved name,
    const uint8_t *at,
    const uint8_t *end,
    struct event *out,
    struct decode_stats *stats)
{
    switch (name) {
    case RESERVED_SUBJECT: return text_take(at, end, 1, EVENT_SUBJECT_MAX, &out->subject);
    case RESERVED_TYPE: return text_take(at, end, 1, EVENT_TYPE_MAX, &out->type);
    case RESERVED_ID: return text_take(at, end, 1, EVENT_ID_MAX, &out->id);
    case RESERVED_SOURCE: return text_take(at, end, 0, EVENT_SOURCE_MAX, &out->source);
    case RESERVED_VALUE: return value_take(at, end, out, stats);
    case RESERVED_DATA:
    case RESERVED_NONE: break;
    }
    must(name != RESERVED_NONE);
    return NULL;
}

// at: behind the map's header.
static const uint8_t *
pairs_take(
    const struct decode_layout *layout,
    const uint8_t *at,
    const uint8_t *end,
    struct event *out,
    struct decode_stats *stats)
{
    const uint8_t *run = at;
    for (uint32_t i = 0; i < layout->pairs; i++) {
        const struct layout_key *key = &layout->keys[i];
        const uint8_t *pair = at;
        // Of the last pair of a frame there may be too little: a word is compared whole.
        if ((size_t)(end - at) <= LAYOUT_KEY_MAX || !key_fits(key, at))
            return NULL;
        at += key->size;
        if (key->name == RESERVED_NONE) {
            at = property_pass(at, end);
        } else {
            run_add(out, run, pair);
            at = reserved_take((enum reserved)key->name, at, end, out, stats);
            run = at;
        }
        if (at == NULL)
            return NULL;
    }
    run_add(out, run, at);
    out->properties_count = layout->properties;
    return at;
}

// NULL: the entry is not of this layout, or not to be taken.
static const uint8_t *
entry_take(
    const struct decode_layout *layout,
    const struct frame *frame,
    struct bytes rest,
    struct event *out,
    struct decode_stats *stats)
{
    const uint8_t *at = rest.data, *end = rest.data + rest.size;
    if (rest.size <= RECORD_OFFSET + 1 || at[0] != TAG_PAIR)
        return NULL;
    const uint8_t *record = time_take(at + 1, end, &out->time_ns);
    if (record == NULL || record == end || record[0] != (TAG_MAP | layout->pairs))
        return NULL;
    at = pairs_take(layout, record + 1, end, out, stats);
    if (at == NULL || (size_t)(at - record) > EVENT_SIZE_MAX || out->subject.size == 0)
        return NULL;
    if (out->type.size > 0)
        return at;
    out->type = frame->tag;
    return frame->tag.size > 0 && frame->tag.size <= EVENT_TYPE_MAX ? at : NULL;
}

// key: with its header, which text lies behind.
static void
key_learn(struct layout_key *out, struct bytes key, enum reserved name)
{
    uint8_t wanted[LAYOUT_KEY_MAX] = {0}, mask[LAYOUT_KEY_MAX] = {0};
    memcpy(wanted, key.data, key.size);
    memset(mask, 0xff, key.size);
    memcpy(out->wanted, wanted, sizeof wanted);
    memcpy(out->mask, mask, sizeof mask);
    out->size = (uint8_t)key.size;
    out->name = (uint8_t)name;
}

// Makes the layout that of an entry which decode_entry took; of one that is unlike what is read
// here it has no pairs.
static void
layout_learn(struct decode_layout *layout, struct bytes entry)
{
    struct cursor in = cursor_over(entry);
    struct unpack_item map;
    layout->pairs = layout->properties = 0;
    if (cursor_u8(&in) != TAG_PAIR || !unpack_skip(&in, UNPACK_DEPTH_MAX) ||
        !unpack_next(&in, &map) || map.count > LAYOUT_PAIRS_MAX)
        return;
    must(map.type == UNPACK_MAP);
    for (uint32_t i = 0; i < map.count; i++) {
        struct unpack_item key;
        const uint8_t *pair = in.at;
        bool is_key = unpack_next(&in, &key);
        must(is_key);
        size_t size = (size_t)(in.at - pair);
        if (size > LAYOUT_KEY_MAX || !item_is_text(&key))
            return;
        enum reserved name = reserved_of(key.text);
        key_learn(&layout->keys[i], bytes_of(pair, size), name);
        layout->properties += name == RESERVED_NONE;
        bool is_value = unpack_skip(&in, UNPACK_DEPTH_MAX);
        must(is_value);
    }
    layout->pairs = map.count;
}

// What is learnt of an entry that decode_entry took.
static void
entry_note(struct decode_layout *layout, struct bytes entry, const struct event *event)
{
    shape_note(&layout->shape, entry, event);
    if (layout->wait > 0) {
        layout->wait--;
        return;
    }
    layout_learn(layout, entry);
    layout->wait = LEARN_WAIT;
}

enum refusal
decode_entry_alike(
    struct decode_layout *layout,
    const struct frame *frame,
    struct cursor *in,
    uint32_t index,
    struct event *out,
    struct decode_stats *stats)
{
    must(index < frame->entries_count && frame->mode != FRAME_HEARTBEAT);
    const uint8_t *start = in->at;
    const struct bytes rest = bytes_of(start, cursor_left(in));
    if (frame->mode != FRAME_MESSAGE) {
        const uint8_t *after = shape_take(&layout->shape, frame, rest, index, out, stats);
        if (after != NULL) {
            in->at = after;
            return REFUSAL_NONE;
        }
    }
    if (layout->pairs > 0 && frame->mode != FRAME_MESSAGE) {
        struct decode_stats counted = {0};
        event_begin(frame, index, out);
        const uint8_t *after = entry_take(layout, frame, rest, out, &counted);
        if (after != NULL) {
            in->at = after;
            stats->values_rounded += counted.values_rounded;
            shape_note(&layout->shape, bytes_of(start, (size_t)(after - start)), out);
            return REFUSAL_NONE;
        }
    }
    enum refusal refusal = decode_entry(frame, in, index, out, stats);
    if (refusal == REFUSAL_NONE && frame->mode != FRAME_MESSAGE)
        entry_note(layout, bytes_of(start, (size_t)(in->at - start)), out);
    else if (layout->wait > 0)
        layout->wait--;
    return refusal;
}
