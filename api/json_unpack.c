#include "api/json_unpack.h"

#include "base/decimal.h"
#include "base/unpack.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

// Properties are bounded when they come in; this bounds the recursion all the same.
enum { DEPTH_MAX = 16, NUMBER_MAX = 64 };

static void value_write(struct cursor *in, uint32_t depth, struct json_out *out);

// The shortest text where a decimal of ours holds it; else 17 digits, which read back the same.
static void
real_write(double value, struct json_out *out)
{
    char text[DECIMAL_TEXT_MAX + NUMBER_MAX];
    struct decimal decimal;
    bool is_rounded = false;
    if (!isfinite(value)) {
        json_null(out);
        return;
    }
    if (decimal_from_double(value, &decimal, &is_rounded) == STATUS_OK && !is_rounded)
        (void)decimal_print(decimal, text);
    else
        (void)snprintf(text, sizeof text, "%.17g", value);
    json_raw(out, text);
}

static bool
key_is_new(struct bytes pairs, const uint8_t *end, struct bytes key)
{
    struct cursor in = cursor_over(pairs);
    while (in.at < end) {
        struct unpack_item item;
        if (!unpack_next(&in, &item) || in.at >= end || !unpack_skip(&in, DEPTH_MAX))
            return true;
        bool is_text = item.type == UNPACK_STR || item.type == UNPACK_BIN;
        if (is_text && bytes_equal(item.text, key))
            return false;
    }
    return true;
}

static void
pairs_write(struct cursor *in, uint32_t count, uint32_t depth, struct json_out *out)
{
    struct bytes pairs = bytes_of(in->at, cursor_left(in));
    json_begin(out, '{');
    for (uint32_t i = 0; i < count && !cursor_failed(in); i++) {
        const uint8_t *at = in->at;
        struct unpack_item key;
        if (!unpack_next(in, &key))
            break;
        bool is_text = key.type == UNPACK_STR || key.type == UNPACK_BIN;
        if (is_text && bytes_is_utf8(key.text) && key_is_new(pairs, at, key.text)) {
            json_key_bytes(out, key.text);
            value_write(in, depth, out);
        } else if (!unpack_skip(in, DEPTH_MAX)) {
            break;
        }
    }
    json_end(out, '}');
}

static void
list_write(struct cursor *in, uint32_t count, uint32_t depth, struct json_out *out)
{
    json_begin(out, '[');
    for (uint32_t i = 0; i < count && !cursor_failed(in); i++)
        value_write(in, depth, out);
    json_end(out, ']');
}

static void
whole_write(uint64_t value, struct json_out *out)
{
    char text[NUMBER_MAX];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    json_raw(out, text);
}

static void
value_write(struct cursor *in, uint32_t depth, struct json_out *out)
{
    struct unpack_item item;
    if (!unpack_next(in, &item)) {
        json_null(out);
        return;
    }
    switch (item.type) {
    case UNPACK_BOOL: json_bool(out, item.boolean); return;
    case UNPACK_INT: json_int(out, item.integer); return;
    case UNPACK_UINT: whole_write(item.natural, out); return;
    case UNPACK_FLOAT: real_write((double)item.real32, out); return;
    case UNPACK_DOUBLE: real_write(item.real64, out); return;
    case UNPACK_STR:
    case UNPACK_BIN:
        if (bytes_is_utf8(item.text))
            json_string(out, item.text);
        else
            json_null(out);
        return;
    case UNPACK_NIL:
    case UNPACK_EXT: json_null(out); return;
    case UNPACK_ARRAY:
    case UNPACK_MAP: break;
    }
    if (depth == DEPTH_MAX)
        json_null(out);
    else if (item.type == UNPACK_MAP)
        pairs_write(in, item.count, depth + 1, out);
    else
        list_write(in, item.count, depth + 1, out);
}

void
json_unpack_pairs(struct bytes pairs, uint32_t count, struct json_out *out)
{
    struct cursor in = cursor_over(pairs);
    pairs_write(&in, count, 0, out);
}
