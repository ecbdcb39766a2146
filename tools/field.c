#include "tools/field.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/pack.h"
#include "ledger/event.h"

#include <stdlib.h>
#include <string.h>

enum { EXCERPT_MAX = 60 };

// Exclusive: EventTime has 32 bits of seconds.
static const int64_t TIME_SECONDS_MAX = 4294967296;

struct bytes
field_text(const struct field *field)
{
    bool has_text = field->kind == FIELD_TEXT || field->kind == FIELD_NUMBER;
    return has_text ? field->text : (struct bytes){0};
}

const char *
field_excerpt(const struct field *field, struct arena *arena)
{
    struct bytes text = field_text(field);
    bool is_cut = text.size > EXCERPT_MAX;
    if (is_cut)
        text.size = EXCERPT_MAX;
    char *copy = arena_text_of(arena, text);
    for (size_t i = 0; i < text.size; i++)
        if ((uint8_t)copy[i] < 0x20 || copy[i] == 0x7f)
            copy[i] = '?';
    return is_cut ? arena_format(arena, "`%s...`", copy) : arena_format(arena, "`%s`", copy);
}

static const char *
time_from_seconds(struct decimal seconds, int64_t *out_ns)
{
    int128 ns = seconds.units / 1000000000;
    if (seconds.units < 0 || ns >= (int128)TIME_SECONDS_MAX * SECOND_NS)
        return "the time is not between 1970 and 2106";
    *out_ns = (int64_t)ns;
    return NULL;
}

const char *
field_time(const struct field *field, int64_t *out_ns)
{
    struct bytes text = field_text(field);
    int64_t ns = 0;
    struct decimal seconds;
    bool is_rounded = false;
    if (clock_parse(text, &ns) == STATUS_OK) {
        if (ns < 0 || ns / SECOND_NS >= TIME_SECONDS_MAX)
            return "the time is not between 1970 and 2106";
    } else {
        enum status status = decimal_parse(text, &seconds, &is_rounded);
        if (status == STATUS_INVALID)
            return "the time is not a time";
        const char *reason =
            status ? "the time is not between 1970 and 2106" : time_from_seconds(seconds, &ns);
        if (reason)
            return reason;
    }
    // A time of zero means "now" on the wire.
    if (ns == 0)
        return "the time is zero";
    *out_ns = ns;
    return NULL;
}

// Whether the double nearest to the text is, printed as short as can be, the same number.
static bool
is_double(const char *text, double *out)
{
    struct decimal exact;
    struct decimal back;
    bool is_rounded = false;
    double value = strtod(text, NULL);
    if (decimal_parse(bytes_text(text), &exact, &is_rounded) || is_rounded)
        return false;
    if (decimal_from_double(value, &back, &is_rounded) || is_rounded)
        return false;
    *out = value;
    return decimal_compare(exact, back) == 0;
}

static const char *
tree_pack(const struct json *value, uint32_t depth, struct arena *arena, struct buffer *out);

static void
number_pack(const struct json *value, struct arena *arena, struct buffer *out)
{
    int64_t integer;
    double real;
    if (json_int64(value, &integer) == STATUS_OK)
        pack_int(out, integer);
    else if (is_double(arena_text_of(arena, value->text), &real))
        pack_double(out, real);
    else
        pack_str(out, value->text);
}

static const char *
children_pack(const struct json *value, uint32_t depth, struct arena *arena, struct buffer *out)
{
    const char *reason = NULL;
    for (const struct json *child = value->first; child && !reason; child = child->next) {
        if (value->type == JSON_OBJECT)
            pack_str(out, child->key);
        reason = tree_pack(child, depth + 1, arena, out);
    }
    return reason;
}

// Recursion is bounded by EVENT_DEPTH_MAX.
static const char *
tree_pack(const struct json *value, uint32_t depth, struct arena *arena, struct buffer *out)
{
    bool is_container = value->type == JSON_ARRAY || value->type == JSON_OBJECT;
    if (is_container && depth > EVENT_DEPTH_MAX)
        return "a property is nested too deeply";
    switch (value->type) {
    case JSON_NULL: pack_nil(out); return NULL;
    case JSON_BOOL: pack_bool(out, value->boolean); return NULL;
    case JSON_NUMBER: number_pack(value, arena, out); return NULL;
    case JSON_STRING: pack_str(out, value->text); return NULL;
    case JSON_ARRAY: pack_array(out, value->count); break;
    case JSON_OBJECT: pack_map(out, value->count); break;
    }
    return children_pack(value, depth, arena, out);
}

const char *
field_pairs(const struct json *object, struct arena *arena, struct bytes *out)
{
    scoped(buffer_done) struct buffer packed = {0};
    if (object->type != JSON_OBJECT)
        return "properties are a JSON object";
    const char *reason = children_pack(object, 0, arena, &packed);
    if (reason)
        return reason;
    must(!buffer_failed(&packed));
    *out = arena_bytes(arena, buffer_view(&packed));
    return NULL;
}

static const char *
tree_property(const struct json *value, struct arena *arena, struct tally_property *out)
{
    scoped(buffer_done) struct buffer packed = {0};
    const char *reason = tree_pack(value, 1, arena, &packed);
    if (reason)
        return reason;
    must(!buffer_failed(&packed));
    struct bytes kept = arena_bytes(arena, buffer_view(&packed));
    out->kind = TALLY_MSGPACK;
    out->msgpack.data = kept.data;
    out->msgpack.size = kept.size;
    return NULL;
}

static void
number_property(const struct field *field, struct arena *arena, struct tally_property *out)
{
    const char *text = arena_text_of(arena, field->text);
    if (json_int64(field->json, &out->integer) == STATUS_OK) {
        out->kind = TALLY_INT;
    } else if (is_double(text, &out->real)) {
        out->kind = TALLY_DOUBLE;
    } else {
        out->kind = TALLY_TEXT;
        out->text = text;
    }
}

const char *
field_property(const struct field *field, struct arena *arena, struct tally_property *out)
{
    *out = (struct tally_property){.kind = TALLY_NULL};
    switch (field->kind) {
    case FIELD_TEXT:
        if (field->text.size > 0 && memchr(field->text.data, 0, field->text.size))
            return "a property with a NUL byte";
        out->kind = TALLY_TEXT;
        out->text = arena_text_of(arena, field->text);
        return NULL;
    case FIELD_NUMBER: number_property(field, arena, out); return NULL;
    case FIELD_BOOL:
        out->kind = TALLY_BOOL;
        out->boolean = field->json->boolean;
        return NULL;
    case FIELD_NULL: return NULL;
    case FIELD_TREE: return tree_property(field->json, arena, out);
    }
    must(false);
}
