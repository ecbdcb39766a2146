#include "ledger/dump_value.h"

#include "base/assert.h"
#include "base/decimal.h"
#include "base/unpack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// JSON text of what arrived as msgpack. Depth is bounded by the check that dump_properties makes
// first.

enum { NUMBER_TEXT_MAX = 352, NUMBER_DIGITS_MAX = 17, NUMBER32_DIGITS_MAX = 9, MEMBER_MAX = 64 };

static void
base64_write(struct buffer *out, struct bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t word = (uint32_t)bytes.data[i] << 16;
        if (left > 1)
            word |= (uint32_t)bytes.data[i + 1] << 8;
        if (left > 2)
            word |= bytes.data[i + 2];
        buffer_u8(out, (uint8_t)digits[word >> 18]);
        buffer_u8(out, (uint8_t)digits[(word >> 12) & 63]);
        buffer_u8(out, (uint8_t)(left > 1 ? digits[(word >> 6) & 63] : '='));
        buffer_u8(out, (uint8_t)(left > 2 ? digits[word & 63] : '='));
    }
}

static void
base64_string(struct json_out *out, struct bytes bytes)
{
    scoped(buffer_done) struct buffer text = {0};
    base64_write(&text, bytes);
    json_string(out, buffer_view(&text));
}

static void
base64_member(struct json_out *out, const char *name, struct bytes bytes)
{
    char member[MEMBER_MAX];
    (void)snprintf(member, sizeof member, "%s_base64", name);
    json_key(out, member);
    base64_string(out, bytes);
}

void
dump_text(struct json_out *out, const char *name, struct bytes text)
{
    json_key(out, name);
    json_string(out, text);
    if (!bytes_is_utf8(text))
        base64_member(out, name, text);
}

// Whether the text reads back as the item's number, bit for bit: the members of its union share
// their first bytes.
static bool
number_reads_back(const struct unpack_item *item, const char *text)
{
    struct unpack_item back = {.natural = 0};
    if (item->type == UNPACK_FLOAT)
        back.real32 = strtof(text, NULL);
    else
        back.real64 = strtod(text, NULL);
    uint64_t mask = item->type == UNPACK_FLOAT ? UINT32_MAX : UINT64_MAX;
    return (back.natural & mask) == (item->natural & mask);
}

// The plain decimal when that is exact, else the shortest form with an exponent.
static void
number_print(const struct unpack_item *item, char text[NUMBER_TEXT_MAX])
{
    struct decimal decimal;
    bool is_rounded = false;
    bool is_single = item->type == UNPACK_FLOAT;
    enum status status = is_single ? decimal_from_float(item->real32, &decimal, &is_rounded)
                                   : decimal_from_double(item->real64, &decimal, &is_rounded);
    if (!status && !is_rounded) {
        (void)decimal_print(decimal, text);
        if (number_reads_back(item, text))
            return;
    }
    int digits_max = is_single ? NUMBER32_DIGITS_MAX : NUMBER_DIGITS_MAX;
    struct unpack_item wide = *item;
    if (is_single)
        wide.real64 = (__typeof__(wide.real64))item->real32;
    for (int digits = 1; digits <= digits_max; digits++) {
        (void)snprintf(text, NUMBER_TEXT_MAX, "%.*g", digits, wide.real64);
        if (number_reads_back(item, text))
            return;
    }
}

static void
dump_number(struct json_out *out, const struct unpack_item *item)
{
    char text[NUMBER_TEXT_MAX];
    _Static_assert((int)NUMBER_TEXT_MAX >= (int)DECIMAL_TEXT_MAX, "a decimal fits");
    number_print(item, text);
    bool is_json = strpbrk(text, "infa") == NULL;  // of "inf" and "nan"
    if (is_json) {
        json_raw(out, text);
        return;
    }
    json_begin(out, '{');
    json_key(out, "float");
    json_text(out, text);
    json_end(out, '}');
}

static void
dump_ext(struct json_out *out, const struct unpack_item *item)
{
    json_begin(out, '{');
    json_key(out, "ext");
    json_int(out, item->ext_type);
    json_key(out, "data");
    base64_string(out, item->text);
    json_end(out, '}');
}

static void
dump_str(struct json_out *out, struct bytes text)
{
    if (bytes_is_utf8(text)) {
        json_string(out, text);
        return;
    }
    json_begin(out, '{');
    base64_member(out, "text", text);
    json_end(out, '}');
}

static void dump_value(struct json_out *out, struct cursor *in);

// JSON wants text; anything else becomes the text of its JSON.
static void
dump_key(struct json_out *out, struct cursor *in)
{
    struct cursor ahead = *in;
    struct unpack_item item;
    bool is_text = unpack_next(&ahead, &item) && item.type == UNPACK_STR;
    if (is_text) {
        json_key_bytes(out, item.text);
        *in = ahead;
        return;
    }
    scoped(buffer_done) struct buffer text = {0};
    struct json_out inner = json_out_to(&text);
    dump_value(&inner, in);
    json_key_bytes(out, buffer_view(&text));
}

static void
dump_pairs(struct json_out *out, struct cursor *in, uint32_t count)
{
    json_begin(out, '{');
    for (uint32_t i = 0; i < count && !cursor_failed(in); i++) {
        dump_key(out, in);
        dump_value(out, in);
    }
    json_end(out, '}');
}

static void
dump_items(struct json_out *out, struct cursor *in, uint32_t count)
{
    json_begin(out, '[');
    for (uint32_t i = 0; i < count && !cursor_failed(in); i++)
        dump_value(out, in);
    json_end(out, ']');
}

static void
dump_value(struct json_out *out, struct cursor *in)
{
    struct unpack_item item;
    char natural[24];
    if (!unpack_next(in, &item)) {
        json_null(out);
        return;
    }
    switch (item.type) {
    case UNPACK_NIL: json_null(out); return;
    case UNPACK_BOOL: json_bool(out, item.boolean); return;
    case UNPACK_INT: json_int(out, item.integer); return;
    case UNPACK_UINT:
        (void)snprintf(natural, sizeof natural, "%" PRIu64, item.natural);
        json_raw(out, natural);
        return;
    case UNPACK_FLOAT:
    case UNPACK_DOUBLE: dump_number(out, &item); return;
    case UNPACK_STR: dump_str(out, item.text); return;
    case UNPACK_BIN: base64_string(out, item.text); return;
    case UNPACK_EXT: dump_ext(out, &item); return;
    case UNPACK_ARRAY: dump_items(out, in, item.count); return;
    case UNPACK_MAP: dump_pairs(out, in, item.count); return;
    }
    must(false && "an unknown msgpack type");
}

static bool
pairs_make_sense(struct bytes pairs, uint32_t count)
{
    struct cursor in = cursor_over(pairs);
    for (uint64_t i = 0; i < 2 * (uint64_t)count; i++)
        if (!unpack_skip(&in, UNPACK_DEPTH_MAX))
            return false;
    return cursor_left(&in) == 0;
}

void
dump_properties(struct json_out *out, struct bytes pairs, uint32_t count)
{
    if (!pairs_make_sense(pairs, count)) {
        base64_member(out, "properties", pairs);
        return;
    }
    struct cursor in = cursor_over(pairs);
    json_key(out, "properties");
    dump_pairs(out, &in, count);
}
