#include "base/json.h"

#include "base/assert.h"
#include "base/hash.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    JSON_SIZE_MAX = 16 << 20,
    JSON_DEPTH_MAX = 64,
    JSON_DEPTH_END = 1024,  // the parser recurses: what it takes of the stack is bounded by this
    KEYS_LINEAR_MAX = 16,   // members up to which keys are compared one by one
    ERROR_KEY_MAX = 64,     // bytes of a key shown in a message
};

// The keys of one object, so that a duplicate is found in constant time. Small objects need none; a
// table of at least twice the members begins at the 17th. Its hash has a seed drawn for each
// document, so that nobody can choose keys that collide.
struct key_set {
    struct json **slots;
    uint32_t slots_count;  // a power of two, or 0
    uint32_t used;
};

struct parser {
    const uint8_t *at;
    const uint8_t *end;
    const uint8_t *line_begin;
    uint32_t line;
    uint32_t depth_max;
    uint64_t hash_seed;  // drawn when the first table is made
    bool is_seeded;
    struct arena *arena;    // the tree
    struct arena *scratch;  // tables of keys
    struct error *error;
};

static enum status parse_value(struct parser *parser, uint32_t depth, struct json *out);

static uint32_t
column_of(const struct parser *parser, const uint8_t *at)
{
    return (uint32_t)(at - parser->line_begin) + 1;
}

static enum status refuse_at(struct parser *parser, const uint8_t *at, const char *format, ...)
    PRINTF_LIKE(3, 4);

static enum status
refuse_at(struct parser *parser, const uint8_t *at, const char *format, ...)
{
    char reason[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return error_set(
        parser->error,
        STATUS_INVALID,
        "line %u, column %u: %s",
        parser->line,
        column_of(parser, at),
        reason);
}

static bool
is_at_end(const struct parser *parser)
{
    return parser->at == parser->end;
}

// Whether the next byte is this one.
static bool
is_next(const struct parser *parser, char expected)
{
    return !is_at_end(parser) && *parser->at == (uint8_t)expected;
}

static enum status
refuse_next(struct parser *parser, const char *wanted)
{
    if (is_at_end(parser))
        return refuse_at(parser, parser->at, "the text ends, %s was expected", wanted);
    uint8_t byte = *parser->at;
    if (byte > ' ' && byte < 0x7F)
        return refuse_at(parser, parser->at, "'%c' found, %s was expected", byte, wanted);
    return refuse_at(parser, parser->at, "byte 0x%02x found, %s was expected", byte, wanted);
}

static void
skip_space(struct parser *parser)
{
    for (; !is_at_end(parser); parser->at++) {
        uint8_t byte = *parser->at;
        if (byte == '\n') {
            parser->line++;
            parser->line_begin = parser->at + 1;
        } else if (byte != ' ' && byte != '\t' && byte != '\r') {
            return;
        }
    }
}

static enum status
parse_word(struct parser *parser, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(parser->end - parser->at) < size || memcmp(parser->at, word, size) != 0)
        return refuse_next(parser, "a value (true, false and null are in lower case)");
    parser->at += size;
    return STATUS_OK;
}

static bool
is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static enum status
skip_digits(struct parser *parser)
{
    if (is_at_end(parser) || !is_digit(*parser->at))
        return refuse_next(parser, "a digit");
    while (!is_at_end(parser) && is_digit(*parser->at))
        parser->at++;
    return STATUS_OK;
}

// -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
static enum status
parse_number(struct parser *parser, struct json *out)
{
    const uint8_t *begin = parser->at;
    if (is_next(parser, '-'))
        parser->at++;
    bool is_zero = is_next(parser, '0');
    enum status status = skip_digits(parser);
    if (status)
        return status;
    const uint8_t *first = begin + (*begin == '-');
    if (is_zero && parser->at - first > 1)
        return refuse_at(parser, first, "a number must not begin with zeros");
    if (is_next(parser, '.')) {
        parser->at++;
        status = skip_digits(parser);
    }
    if (!status && (is_next(parser, 'e') || is_next(parser, 'E'))) {
        parser->at++;
        if (is_next(parser, '+') || is_next(parser, '-'))
            parser->at++;
        status = skip_digits(parser);
    }
    out->type = JSON_NUMBER;
    out->text = bytes_of(begin, (size_t)(parser->at - begin));
    return status;
}

// Four hexadecimal digits, or -1.
static int32_t
hex4(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t byte = at[i];
        int32_t digit = is_digit(byte)               ? byte - '0'
                        : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                        : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                     : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t
utf8_put(uint8_t *out, uint32_t point)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xC0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xE0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (point & 0x3F));
    return 4;
}

// \u and its four digits; at lies behind the u. A high surrogate takes the low one that must follow
// it. Returns the bytes of text read, 0 when it is malformed.
static size_t
unicode_read(const uint8_t *at, const uint8_t *end, uint32_t *out_point)
{
    int32_t unit = hex4(at, end);
    if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF))
        return 0;
    if (unit < 0xD800 || unit > 0xDBFF) {
        *out_point = (uint32_t)unit;
        return 4;
    }
    if (end - at < 10 || at[4] != '\\' || at[5] != 'u')
        return 0;
    int32_t low = hex4(at + 6, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *out_point = 0x10000 + ((uint32_t)(unit - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
    return 10;
}

// The character a one-letter escape stands for, 0 for none.
static uint8_t
escape_of(uint8_t letter)
{
    switch (letter) {
    case '"': return '"';
    case '\\': return '\\';
    case '/': return '/';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
    }
}

// Unescapes raw, which is the text between the quotes; what comes out is never longer.
static enum status
unescape(struct parser *parser, struct bytes raw, struct bytes *out)
{
    uint8_t *text = arena_take(parser->arena, raw.size + 1, 1);
    const uint8_t *at = raw.data;
    const uint8_t *end = raw.data + raw.size;
    size_t size = 0;
    while (at < end) {
        if (*at != '\\') {
            text[size++] = *at++;
            continue;
        }
        // The closing quote was found behind a whole escape, so a letter follows.
        uint32_t point = escape_of(at[1]);
        size_t read = 2;
        if (at[1] == 'u') {
            size_t digits = unicode_read(at + 2, end, &point);
            if (digits == 0)
                return refuse_at(
                    parser, at, "\\u wants four hexadecimal digits, no lone surrogate");
            read = 2 + digits;
        } else if (point == 0) {
            return refuse_at(parser, at, "unknown escape in a string");
        }
        size += utf8_put(text + size, point);
        at += read;
    }
    must(size <= raw.size);
    *out = bytes_of(text, size);
    return STATUS_OK;
}

// Finds the closing quote, then checks and unescapes what lies before it.
static enum status
parse_string(struct parser *parser, struct bytes *out)
{
    const uint8_t *begin = ++parser->at;
    bool has_escape = false;
    for (; !is_next(parser, '"'); parser->at++) {
        if (is_at_end(parser))
            return refuse_at(parser, begin - 1, "the string has no end");
        if (*parser->at < 0x20)
            return refuse_at(parser, parser->at, "a control character in a string must be escaped");
        if (*parser->at == '\\') {
            has_escape = true;
            parser->at++;
            if (is_at_end(parser))
                return refuse_at(parser, begin - 1, "the string has no end");
        }
    }
    struct bytes raw = bytes_of(begin, (size_t)(parser->at - begin));
    if (!bytes_is_utf8(raw))
        return refuse_at(parser, begin, "the string is not valid UTF-8");
    parser->at++;
    if (has_escape)
        return unescape(parser, raw, out);
    *out = arena_bytes(parser->arena, raw);
    return STATUS_OK;
}

// The slot that holds the key, or the empty one where it belongs.
static struct json **
key_set_slot(const struct parser *parser, const struct key_set *set, struct bytes key)
{
    uint32_t mask = set->slots_count - 1;
    uint32_t at = (uint32_t)hash64(key, parser->hash_seed) & mask;
    while (set->slots[at] != NULL && !bytes_equal(set->slots[at]->key, key))
        at = (at + 1) & mask;
    return &set->slots[at];
}

static void
key_set_grow(struct parser *parser, struct key_set *set, struct json *first)
{
    uint32_t count = set->slots_count > 0 ? set->slots_count * 2 : 4 * KEYS_LINEAR_MAX;
    if (!parser->is_seeded)
        random_fill(&parser->hash_seed, sizeof parser->hash_seed);
    parser->is_seeded = true;
    set->slots = arena_array(parser->scratch, count, struct json *);
    set->slots_count = count;
    set->used = 0;
    for (struct json *member = first; member != NULL; member = member->next) {
        *key_set_slot(parser, set, member->key) = member;
        set->used++;
    }
}

// Whether the object has the key already. `object` does not have `member` linked yet.
static bool
key_set_add(
    struct parser *parser, struct key_set *set, const struct json *object, struct json *member)
{
    if (object->count < KEYS_LINEAR_MAX) {
        for (const struct json *other = object->first; other != NULL; other = other->next)
            if (bytes_equal(other->key, member->key))
                return false;
        return true;
    }
    if (set->used * 2 >= set->slots_count)
        key_set_grow(parser, set, object->first);
    struct json **slot = key_set_slot(parser, set, member->key);
    if (*slot != NULL)
        return false;
    *slot = member;
    set->used++;
    return true;
}

// Links child behind last (NULL: none yet) and gives it its place.
static void
child_link(struct json *parent, struct json *last, struct json *child)
{
    child->parent = parent;
    child->index = parent->count++;
    if (last != NULL)
        last->next = child;
    else
        parent->first = child;
}

// After a child: true when another one follows, false when the bracket closed.
static enum status
parse_separator(struct parser *parser, char closing, const char *wanted, bool *out_is_more)
{
    skip_space(parser);
    *out_is_more = is_next(parser, ',');
    if (!*out_is_more && !is_next(parser, closing))
        return refuse_next(parser, wanted);
    parser->at++;
    return STATUS_OK;
}

static enum status
parse_array(struct parser *parser, uint32_t depth, struct json *out)
{
    parser->at++;
    skip_space(parser);
    bool is_more = !is_next(parser, ']');
    if (!is_more)
        parser->at++;
    struct json *last = NULL;
    while (is_more) {
        struct json *item = arena_new(parser->arena, struct json);
        enum status status = parse_value(parser, depth, item);
        if (!status)
            status = parse_separator(parser, ']', "',' or ']'", &is_more);
        if (status)
            return status;
        child_link(out, last, item);
        last = item;
    }
    return STATUS_OK;
}

// "key": as far as the colon.
static enum status
parse_key(struct parser *parser, struct key_set *keys, struct json *object, struct json *member)
{
    skip_space(parser);
    if (!is_next(parser, '"'))
        return refuse_next(parser, "a key in double quotes");
    const uint8_t *begin = parser->at;
    enum status status = parse_string(parser, &member->key);
    if (status)
        return status;
    if (!key_set_add(parser, keys, object, member)) {
        int shown = member->key.size < ERROR_KEY_MAX ? (int)member->key.size : ERROR_KEY_MAX;
        return refuse_at(
            parser,
            begin,
            "the key \"%.*s\" is given twice",
            shown,
            (const char *)member->key.data);
    }
    skip_space(parser);
    if (!is_next(parser, ':'))
        return refuse_next(parser, "':'");
    parser->at++;
    return STATUS_OK;
}

static enum status
parse_object(struct parser *parser, uint32_t depth, struct json *out)
{
    parser->at++;
    skip_space(parser);
    bool is_more = !is_next(parser, '}');
    if (!is_more)
        parser->at++;
    struct key_set keys = {0};
    struct json *last = NULL;
    while (is_more) {
        struct json *member = arena_new(parser->arena, struct json);
        enum status status = parse_key(parser, &keys, out, member);
        if (!status)
            status = parse_value(parser, depth, member);
        if (!status)
            status = parse_separator(parser, '}', "',' or '}'", &is_more);
        if (status)
            return status;
        child_link(out, last, member);
        last = member;
    }
    return STATUS_OK;
}

// depth: the number of arrays and objects around the value.
static enum status
parse_value(struct parser *parser, uint32_t depth, struct json *out)
{
    skip_space(parser);
    out->line = parser->line;
    out->column = column_of(parser, parser->at);
    if (is_at_end(parser))
        return refuse_next(parser, "a value");
    uint8_t first = *parser->at;
    if ((first == '{' || first == '[') && depth == parser->depth_max)
        return refuse_at(parser, parser->at, "nested deeper than %u", parser->depth_max);
    switch (first) {
    case '{': out->type = JSON_OBJECT; return parse_object(parser, depth + 1, out);
    case '[': out->type = JSON_ARRAY; return parse_array(parser, depth + 1, out);
    case '"': out->type = JSON_STRING; return parse_string(parser, &out->text);
    case 't':
    case 'f':
        out->type = JSON_BOOL;
        out->boolean = first == 't';
        return parse_word(parser, first == 't' ? "true" : "false");
    case 'n': out->type = JSON_NULL; return parse_word(parser, "null");
    default: break;
    }
    if (first == '-' || is_digit(first))
        return parse_number(parser, out);
    return refuse_next(parser, "a value");
}

enum status
json_parse(
    struct bytes input,
    const struct json_limits *limits,
    struct arena *arena,
    struct json **out_root,
    struct error *error)
{
    size_t size_max = limits && limits->size_max > 0 ? limits->size_max : JSON_SIZE_MAX;
    uint32_t depth_max = limits && limits->depth_max > 0 ? limits->depth_max : JSON_DEPTH_MAX;
    must(depth_max <= JSON_DEPTH_END);
    if (input.size > size_max)
        return error_set(
            error, STATUS_INVALID, "%zu bytes of JSON, at most %zu are read", input.size, size_max);
    // Lines and columns are 32 bits wide.
    must(size_max <= UINT32_MAX);
    scoped(arena_done) struct arena scratch = {0};
    const uint8_t *begin = cursor_over(input).at;
    struct parser parser = {
        .at = begin,
        .end = begin + input.size,
        .line_begin = begin,
        .line = 1,
        .depth_max = depth_max,
        .arena = arena,
        .scratch = &scratch,
        .error = error,
    };
    struct json *root = arena_new(arena, struct json);
    enum status status = parse_value(&parser, 0, root);
    if (status)
        return status;
    skip_space(&parser);
    if (!is_at_end(&parser))
        return refuse_next(&parser, "the end of the text");
    *out_root = root;
    return STATUS_OK;
}
