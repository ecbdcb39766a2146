// The writing half of base/json.h: see there.

#include "base/assert.h"
#include "base/json.h"

#include <inttypes.h>

enum { JSON_WRITE_DEPTH_MAX = 64 };  // has_items is a bit per level

struct json_out
json_out_to(struct buffer *buffer)
{
    must(buffer != NULL);
    return (struct json_out){.buffer = buffer};
}

static uint64_t
level_bit(const struct json_out *out)
{
    must(out->depth >= 1 && out->depth <= JSON_WRITE_DEPTH_MAX);
    return (uint64_t)1 << (out->depth - 1);
}

static void
line_break(struct json_out *out)
{
    if (out->indent == 0)
        return;
    buffer_text(out->buffer, "\n");
    for (uint32_t i = 0; i < out->indent * out->depth; i++)
        buffer_text(out->buffer, " ");
}

// What comes before a key, or before a value that has none.
static void
item_begin(struct json_out *out)
{
    if (out->depth == 0)
        return;
    if (out->has_items & level_bit(out))
        buffer_text(out->buffer, ",");
    out->has_items |= level_bit(out);
    line_break(out);
}

static void
value_begin(struct json_out *out)
{
    if (out->after_key)
        out->after_key = false;
    else
        item_begin(out);
}

void
json_begin(struct json_out *out, char bracket)
{
    must(bracket == '{' || bracket == '[');
    must(out->depth < JSON_WRITE_DEPTH_MAX);
    value_begin(out);
    buffer_put(out->buffer, &bracket, 1);
    out->depth++;
    out->has_items &= ~level_bit(out);
}

void
json_end(struct json_out *out, char bracket)
{
    must(bracket == '}' || bracket == ']');
    must(out->depth > 0 && !out->after_key);
    bool had_items = (out->has_items & level_bit(out)) != 0;
    out->depth--;
    if (had_items)
        line_break(out);
    buffer_put(out->buffer, &bracket, 1);
}

static void
control_write(struct buffer *out, uint8_t byte)
{
    switch (byte) {
    case '"': buffer_text(out, "\\\""); break;
    case '\\': buffer_text(out, "\\\\"); break;
    case '\b': buffer_text(out, "\\b"); break;
    case '\f': buffer_text(out, "\\f"); break;
    case '\n': buffer_text(out, "\\n"); break;
    case '\r': buffer_text(out, "\\r"); break;
    case '\t': buffer_text(out, "\\t"); break;
    default: buffer_format(out, "\\u%04x", (unsigned)byte); break;
    }
}

static bool
is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\' && byte < 0x80;
}

// Runs of plain bytes are copied at once; what is not UTF-8 becomes one U+FFFD a byte.
static void
string_write(struct buffer *out, struct bytes text)
{
    buffer_text(out, "\"");
    size_t at = 0;
    while (at < text.size) {
        size_t from = at;
        while (at < text.size && is_plain(text.data[at]))
            at++;
        buffer_put(out, text.data + from, at - from);
        if (at == text.size)
            break;
        size_t size = bytes_utf8_size(bytes_of(text.data + at, text.size - at));
        if (size == 0)
            buffer_text(out, "\xEF\xBF\xBD");
        else if (size == 1)
            control_write(out, text.data[at]);
        else
            buffer_put(out, text.data + at, size);
        at += size > 0 ? size : 1;
    }
    buffer_text(out, "\"");
}

void
json_key(struct json_out *out, const char *key)
{
    json_key_bytes(out, bytes_text(key));
}

void
json_key_bytes(struct json_out *out, struct bytes key)
{
    must(out->depth > 0 && !out->after_key);
    item_begin(out);
    string_write(out->buffer, key);
    buffer_text(out->buffer, out->indent > 0 ? ": " : ":");
    out->after_key = true;
}

void
json_text(struct json_out *out, const char *text)
{
    if (text == NULL)
        json_null(out);
    else
        json_string(out, bytes_text(text));
}

void
json_string(struct json_out *out, struct bytes text)
{
    value_begin(out);
    string_write(out->buffer, text);
}

void
json_int(struct json_out *out, int64_t value)
{
    value_begin(out);
    buffer_int(out->buffer, value);
}

void
json_bool(struct json_out *out, bool value)
{
    json_raw(out, value ? "true" : "false");
}

void
json_null(struct json_out *out)
{
    json_raw(out, "null");
}

void
json_raw(struct json_out *out, const char *text)
{
    value_begin(out);
    buffer_text(out->buffer, text);
}
