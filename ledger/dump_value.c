#include "ledger/dump_value.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/decimal.h"
#include "base/hash.h"
#include "base/unpack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// JSON text of what arrived as msgpack. Depth is bounded by the check that dump_properties makes
// first. Keys are compared as they are written, by their hashes: what is taken for repeated is
// still whole in the bytes behind.

enum { NUMBER_TEXT_MAX = 352, NUMBER_DIGITS_MAX = 17, NUMBER32_DIGITS_MAX = 9, MEMBER_MAX = 64 };

static void
base64_string(struct json_out *out, struct bytes bytes)
{
    scoped(buffer_done) struct buffer text = {0};
    base64_encode(&text, bytes);
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
dump_wrapped(struct json_out *out, const char *name, struct bytes bytes)
{
    json_begin(out, '{');
    base64_member(out, name, bytes);
    json_end(out, '}');
}

static void
dump_str(struct json_out *out, struct bytes text)
{
    if (bytes_is_utf8(text))
        json_string(out, text);
    else
        dump_wrapped(out, "text", text);
}

// What has no JSON of its own is an object with one of these members.
static const char *const wrapper_names[] = {"text_base64", "binary_base64", "float", "ext"};

// is_exact: every key so far reads back as it was, and stands where it stood, and no map looks like
// what is none.
struct dumping {
    struct json_out *out;
    bool is_exact;
};

struct seen_key {
    uint64_t hash;
    uint64_t number;
};

static void dump_value(struct dumping *dumping, struct cursor *in);

// JSON wants text; anything else becomes the text of its JSON. Moves behind the key.
static void
key_text(struct dumping *dumping, struct cursor *in, struct buffer *out)
{
    struct cursor ahead = *in;
    struct unpack_item item;
    if (unpack_next(&ahead, &item) && item.type == UNPACK_STR && bytes_is_utf8(item.text)) {
        buffer_bytes(out, item.text);
        *in = ahead;
        return;
    }
    struct json_out inner = json_out_to(out);
    struct dumping of_key = {.out = &inner};
    dump_value(&of_key, in);
    dumping->is_exact = false;
}

static int
seen_order(const void *a, const void *b)
{
    const struct seen_key *left = a;
    const struct seen_key *right = b;
    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

// The keys of count pairs, sorted: of equal ones the first comes first.
static void
keys_list(struct dumping *dumping, struct cursor in, uint32_t count, struct buffer *out)
{
    scoped(buffer_done) struct buffer text = {0};
    for (uint32_t i = 0; i < count && !cursor_failed(&in); i++) {
        buffer_reset(&text);
        key_text(dumping, &in, &text);
        const struct seen_key key = {.hash = hash64(buffer_view(&text), 0), .number = i};
        buffer_put(out, &key, sizeof key);
        (void)unpack_skip(&in, UNPACK_DEPTH_MAX);
    }
    must(!buffer_failed(out) && !buffer_failed(&text));
    if (count > 1)
        qsort(out->data, out->size / sizeof(struct seen_key), sizeof(struct seen_key), seen_order);
}

static bool
key_is_first(const struct buffer *keys, struct bytes text, uint64_t number)
{
    const struct seen_key wanted = {.hash = hash64(text, 0), .number = number};
    size_t low = 0;
    size_t high = keys->size / sizeof wanted;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct seen_key key;
        memcpy(&key, keys->data + middle * sizeof key, sizeof key);
        if (key.hash < wanted.hash)
            low = middle + 1;
        else
            high = middle;
    }
    struct seen_key first = wanted;
    memcpy(&first, keys->data + low * sizeof first, sizeof first);
    return first.number == number;
}

static bool
is_wrapper_name(struct bytes text)
{
    bool is = false;
    for (size_t i = 0; i < sizeof wrapper_names / sizeof wrapper_names[0]; i++)
        is = is || bytes_equal(text, bytes_text(wrapper_names[i]));
    return is;
}

// Of equal keys the first, which is the one that meters read.
static void
dump_pairs(struct dumping *dumping, struct cursor *in, uint32_t count)
{
    scoped(buffer_done) struct buffer keys = {0};
    scoped(buffer_done) struct buffer text = {0};
    keys_list(dumping, *in, count, &keys);
    json_begin(dumping->out, '{');
    for (uint32_t i = 0; i < count && !cursor_failed(in); i++) {
        buffer_reset(&text);
        key_text(dumping, in, &text);
        if (key_is_first(&keys, buffer_view(&text), i)) {
            json_key_bytes(dumping->out, buffer_view(&text));
            dump_value(dumping, in);
        } else {
            dumping->is_exact = false;
            (void)unpack_skip(in, UNPACK_DEPTH_MAX);
        }
    }
    json_end(dumping->out, '}');
}

// One within the properties. Its first key alone could be mistaken.
static void
dump_map(struct dumping *dumping, struct cursor *in, uint32_t count)
{
    struct cursor ahead = *in;
    struct unpack_item key;
    bool is_like = count > 0 && unpack_next(&ahead, &key) && key.type == UNPACK_STR &&
                   is_wrapper_name(key.text);
    dumping->is_exact = dumping->is_exact && !is_like;
    dump_pairs(dumping, in, count);
}

static void
dump_items(struct dumping *dumping, struct cursor *in, uint32_t count)
{
    json_begin(dumping->out, '[');
    for (uint32_t i = 0; i < count && !cursor_failed(in); i++)
        dump_value(dumping, in);
    json_end(dumping->out, ']');
}

static void
dump_value(struct dumping *dumping, struct cursor *in)
{
    struct json_out *out = dumping->out;
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
    case UNPACK_BIN: dump_wrapped(out, "binary", item.text); return;
    case UNPACK_EXT: dump_ext(out, &item); return;
    case UNPACK_ARRAY: dump_items(dumping, in, item.count); return;
    case UNPACK_MAP: dump_map(dumping, in, item.count); return;
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
    struct dumping dumping = {.out = out, .is_exact = true};
    json_key(out, "properties");
    dump_pairs(&dumping, &in, count);
    if (!dumping.is_exact)
        base64_member(out, "properties", pairs);
}
