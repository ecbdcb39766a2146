// Where the fields of an entry lie, when all of its sizes are those of one that was read before.
//
// 1. What decides about an entry without its values is pinned: every header (unpack_shape_learn)
//    and every key of its record. So an entry that fits is whole, no deeper, has the same reserved
//    keys once, and texts of the same sizes: it would be taken, but for its time and value, which
//    are looked at.
// 2. Learnt from entries that were taken, whose time is an EventTime.

#include "ingest/decode_shape.h"

#include "ingest/decode_parts.h"

enum {
    // Learning costs as much as reading some entries.
    SHAPE_LEARN_WAIT = 16,
};

static inline struct bytes
field_of(const uint8_t *entry, struct shape_field field)
{
    return bytes_of(field.offset > 0 ? entry + field.offset : NULL, field.size);
}

static inline void
fields_take(
    const struct decode_shape *shape,
    const struct frame *frame,
    const uint8_t *at,
    uint32_t index,
    struct event *out)
{
    out->subject = field_of(at, shape->subject);
    out->type = shape->type.offset > 0 ? field_of(at, shape->type) : frame->tag;
    out->id = field_of(at, shape->id);
    out->source = field_of(at, shape->source);
    out->chunk = frame->chunk;
    out->chunk_position = index;
    out->properties_count = shape->properties;
    out->properties_runs = shape->runs;
    for (uint32_t i = 0; i < shape->runs; i++)
        out->properties[i] = field_of(at, shape->run[i]);
    out->batch = frame->backfill;
}

const uint8_t *
shape_take(
    const struct decode_shape *shape,
    const struct frame *frame,
    struct bytes rest,
    uint32_t index,
    struct event *out,
    struct decode_stats *stats)
{
    const uint8_t *at = rest.data, *end = at + shape->bytes.size;
    if (shape->bytes.size == 0 || shape->bytes.size > rest.size)
        return NULL;
    // The walk over the frame may have found out already.
    bool is_alike = index < frame->alike && frame->alike_of == &shape->bytes &&
                    frame->alike_stamp == shape->bytes.stamp;
    if (!is_alike && !unpack_shape_fits(&shape->bytes, at))
        return NULL;
    fields_take(shape, frame, at, index, out);
    if (out->type.size == 0 || out->type.size > EVENT_TYPE_MAX ||
        time_take(at + 1, end, &out->time_ns) == NULL)
        return NULL;
    out->value = DECIMAL_ONE;
    if (shape->value.size == 0)
        return end;
    struct decode_stats counted = {0};
    if (value_take(at + shape->value.offset, end, out, &counted) == NULL)
        return NULL;
    stats->values_rounded += counted.values_rounded;
    return end;
}

static struct shape_field
field_in(struct bytes entry, struct bytes text)
{
    // The type may be the frame's tag, and lie anywhere.
    uintptr_t from = (uintptr_t)entry.data, at = (uintptr_t)text.data;
    if (text.data == NULL || at < from || at - from > entry.size)
        return (struct shape_field){0};
    return (struct shape_field){(uint8_t)(at - from), (uint8_t)text.size};
}

// The keys of the record become part of the shape. False: one of them is no text.
static bool
keys_pin(struct decode_shape *shape, struct bytes entry)
{
    struct cursor in = cursor_over(entry);
    struct unpack_item map, key;
    (void)cursor_take(&in, RECORD_OFFSET);
    bool is_map = unpack_next(&in, &map) && map.type == UNPACK_MAP;
    must(is_map);
    for (uint32_t i = 0; i < map.count; i++) {
        const uint8_t *pair = in.at;
        if (!unpack_next(&in, &key) || !item_is_text(&key))
            return false;
        const uint8_t *value = in.at;
        bool is_value = unpack_skip(&in, UNPACK_DEPTH_MAX);
        must(is_value);
        size_t offset = (size_t)(pair - entry.data);
        unpack_shape_pin(&shape->bytes, entry, offset, (size_t)(value - pair));
        if (reserved_of(key.text) == RESERVED_VALUE)
            shape->value = field_in(entry, bytes_of(value, (size_t)(in.at - value)));
    }
    return true;
}

static void
shape_learn(struct decode_shape *shape, struct bytes entry, const struct event *event)
{
    unpack_shape_learn(&shape->bytes, entry);
    shape->value = (struct shape_field){0};
    if (!keys_pin(shape, entry)) {
        shape->bytes.size = 0;
        return;
    }
    shape->subject = field_in(entry, event->subject);
    shape->type = field_in(entry, event->type);
    shape->id = field_in(entry, event->id);
    shape->source = field_in(entry, event->source);
    shape->properties = event->properties_count;
    shape->runs = event->properties_runs;
    for (uint32_t i = 0; i < shape->runs; i++)
        shape->run[i] = field_in(entry, event->properties[i]);
}

void
shape_note(struct decode_shape *shape, struct bytes entry, const struct event *event)
{
    bool is_alike = entry.size == shape->last_size;
    shape->last_size = (uint32_t)entry.size;
    if (shape->wait > 0) {
        shape->wait--;
        return;
    }
    // What came twice in a row is likely to come again.
    if (!is_alike || entry.size < UNPACK_SHAPE_MIN || entry.size >= UNPACK_SHAPE_MAX ||
        entry.data[0] != TAG_PAIR || entry.data[1] != TAG_FIXEXT8)
        return;
    shape_learn(shape, entry, event);
    shape->wait = SHAPE_LEARN_WAIT;
}
