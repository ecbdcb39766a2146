#include "client/encode.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/pack.h"
#include "base/unpack.h"
#include "client/uuid7.h"

// EventTime counts seconds in 32 bits: 1970 to February 2106.
static const int64_t EVENT_TIME_MAX_S = UINT32_MAX;

static bool
size_is_between(const char *text, size_t min, size_t max)
{
    // One byte beyond the limit is enough to know, however long the text is.
    size_t size = strnlen(text, max + 1);
    return size >= min && size <= max;
}

static bool
key_is_reserved(const char *key)
{
    static const char *const reserved[] = {"subject", "type", "id", "source", "value"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(key, reserved[i]) == 0)
            return true;
    return false;
}

static bool
msgpack_is_one_value(const void *data, size_t size, uint32_t depth_max)
{
    if (data == NULL)
        return false;
    struct cursor cursor = cursor_over(bytes_of(data, size));
    return unpack_skip(&cursor, depth_max) && cursor_left(&cursor) == 0;
}

// The map is no property itself, so it does not count for the depth of those in it.
static bool
msgpack_is_map(const void *data, size_t size)
{
    if (!msgpack_is_one_value(data, size, ENCODE_DEPTH_MAX + 1))
        return false;
    struct cursor cursor = cursor_over(bytes_of(data, size));
    struct unpack_item item;
    return unpack_next(&cursor, &item) && item.type == UNPACK_MAP;
}

static bool
property_is_valid(const struct tally_property *property)
{
    if (property->kind == TALLY_PROPERTIES)
        return property->key == NULL &&
               msgpack_is_map(property->msgpack.data, property->msgpack.size);
    if (property->key == NULL || key_is_reserved(property->key))
        return false;
    switch (property->kind) {
    case TALLY_TEXT: return property->text != NULL;
    case TALLY_MSGPACK:
        return msgpack_is_one_value(
            property->msgpack.data, property->msgpack.size, ENCODE_DEPTH_MAX);
    case TALLY_PROPERTIES:
    case TALLY_INT:
    case TALLY_DOUBLE:
    case TALLY_BOOL:
    case TALLY_NULL: return true;
    }
    return false;
}

static bool
envelope_is_valid(const struct tally_event *event)
{
    if (event->subject == NULL || !size_is_between(event->subject, 1, ENCODE_SUBJECT_MAX))
        return false;
    if (event->type == NULL || !size_is_between(event->type, 1, ENCODE_TYPE_MAX))
        return false;
    if (event->id != NULL && !size_is_between(event->id, 1, ENCODE_ID_MAX))
        return false;
    if (event->source != NULL && !size_is_between(event->source, 0, ENCODE_SOURCE_MAX))
        return false;
    if (event->time_ns < 0 || event->time_ns / SECOND_NS > EVENT_TIME_MAX_S)
        return false;
    // A property takes at least two bytes, so that more of them than this cannot fit.
    if (event->properties_count > ENCODE_SIZE_MAX / 2)
        return false;
    return event->properties_count == 0 || event->properties != NULL;
}

static void
pack_property(struct buffer *out, const struct tally_property *property)
{
    if (property->kind == TALLY_PROPERTIES)
        pack_uint(out, 0);  // docs/wire.md
    else
        pack_text(out, property->key);
    switch (property->kind) {
    case TALLY_TEXT: pack_text(out, property->text); break;
    case TALLY_INT: pack_int(out, property->integer); break;
    case TALLY_DOUBLE: pack_double(out, property->real); break;
    case TALLY_BOOL: pack_bool(out, property->boolean); break;
    case TALLY_NULL: pack_nil(out); break;
    case TALLY_PROPERTIES:
    case TALLY_MSGPACK: buffer_put(out, property->msgpack.data, property->msgpack.size); break;
    }
}

// Returns where the id is to be written later, or ENCODE_HAS_ID.
static size_t
pack_id(struct buffer *out, const char *id)
{
    static const char empty[UUID7_TEXT_SIZE] = {0};
    pack_text(out, "id");
    if (id != NULL) {
        pack_text(out, id);
        return ENCODE_HAS_ID;
    }
    pack_str(out, bytes_of(empty, sizeof empty));
    return out->size - sizeof empty;
}

// A whole number of 64 bits goes as an integer, which the server reads fastest. Anything else
// keeps its text, also what rounds to a whole number: the server counts roundings.
static void
pack_value(struct buffer *out, const char *text, struct decimal value, bool is_rounded)
{
    pack_text(out, "value");
    int128 whole = value.units / DECIMAL_ONE.units;
    bool is_whole = !is_rounded && whole * DECIMAL_ONE.units == value.units;
    if (is_whole && whole >= INT64_MIN && whole <= INT64_MAX)
        pack_int(out, (int64_t)whole);
    else
        pack_text(out, text);
}

static bool
value_read(const char *text, struct decimal *out, bool *out_is_rounded)
{
    *out_is_rounded = false;
    return size_is_between(text, 1, ENCODE_SIZE_MAX) &&
           decimal_parse(bytes_text(text), out, out_is_rounded) == STATUS_OK;
}

static uint32_t
keys_count(const struct tally_event *event)
{
    uint32_t count = 3 + (uint32_t)event->properties_count;
    if (event->source != NULL && event->source[0] != '\0')
        count++;
    return event->value != NULL ? count + 1 : count;
}

enum encode_result
encode_event(
    const struct tally_event *event, int64_t now_ns, struct buffer *out, struct encoded *out_entry)
{
    struct decimal value = DECIMAL_ONE;
    bool is_rounded = false;
    if (!envelope_is_valid(event))
        return ENCODE_INVALID;
    if (event->value != NULL && !value_read(event->value, &value, &is_rounded))
        return ENCODE_INVALID;
    size_t start = out->size;
    pack_array(out, 2);
    pack_event_time(out, event->time_ns != 0 ? event->time_ns : now_ns);
    pack_map(out, keys_count(event));
    pack_text(out, "subject");
    pack_text(out, event->subject);
    pack_text(out, "type");
    pack_text(out, event->type);
    size_t id_offset = pack_id(out, event->id);
    if (event->source != NULL && event->source[0] != '\0') {
        pack_text(out, "source");
        pack_text(out, event->source);
    }
    if (event->value != NULL)
        pack_value(out, event->value, value, is_rounded);
    for (size_t i = 0; i < event->properties_count; i++) {
        if (!property_is_valid(&event->properties[i]))
            return ENCODE_INVALID;
        pack_property(out, &event->properties[i]);
    }
    if (buffer_failed(out))
        return ENCODE_NO_ROOM;
    *out_entry = (struct encoded){
        .bytes = bytes_of(out->data + start, out->size - start),
        .id_offset = id_offset == ENCODE_HAS_ID ? id_offset : id_offset - start,
        .tag = event->tag,
    };
    return ENCODE_DONE;
}
