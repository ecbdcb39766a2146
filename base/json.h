#pragma once
// A small JSON reader (RFC 8259) that keeps numbers as their text, and a writer.
//
//     struct json *root;
//     json_parse(text, &arena, &limits, &root, &error)     // error: "line 3, column 14: ..."
//     const struct json *price = json_member(root, "price");
//     json_place(price, place, sizeof place)               // "plans[2].charges[0].price"
//
// Why our own: a number on a money or event path keeps its digits (json-c cuts integers beyond 64
// bits, jansson all beyond a double's), and errors name line, column and place. Duplicate keys,
// invalid UTF-8, lone surrogates, leading zeros, trailing text and depth beyond the limit are
// refused. The tree lives in the arena; texts of strings are unescaped copies there, numbers point
// into the input, which must outlive the tree. Thread: any.

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    bool boolean;
    struct bytes text;      // JSON_NUMBER: as written; JSON_STRING: unescaped, may hold NUL bytes
    struct bytes key;       // the member's name when the parent is an object
    uint32_t index;         // position in the parent
    uint32_t count;         // children
    uint32_t line, column;  // where it began, from 1
    struct json *first;     // children in order
    struct json *next;      // sibling
    const struct json *parent;
};

struct json_limits {
    size_t size_max;     // bytes of input; 0: 16 MiB
    uint32_t depth_max;  // 0: 64
};

enum status json_parse(
    struct bytes input,
    const struct json_limits *limits,
    struct arena *arena,
    struct json **out_root,
    struct error *error) CHECKED;

// NULL when object is not an object or has no such member.
const struct json *json_member(const struct json *object, const char *key);
// "plans[2].charges[0].price" of a value, for messages; "(root)" for the root. Always
// NUL-terminated.
void json_place(const struct json *value, char *out, size_t out_size);
bool json_is_text(const struct json *value, const char *text);
// STATUS_INVALID when it is no number without fraction and exponent in the int64 range.
enum status json_int64(const struct json *value, int64_t *out) CHECKED;

// Writer: appends to a buffer. Commas and colons are the writer's; depth at most 64.
//     struct json_out out = json_out_to(&buffer);
//     json_begin(&out, '{'); json_key(&out, "total"); json_int(&out, 5); json_end(&out, '}');
struct json_out {
    struct buffer *buffer;
    uint64_t has_items;  // a bit per level
    uint32_t depth;
    bool after_key;
    uint32_t indent;  // 0: compact; else spaces per level
};

struct json_out json_out_to(struct buffer *buffer);
void json_begin(struct json_out *out, char bracket);  // '{' or '['
void json_end(struct json_out *out, char bracket);    // '}' or ']'
void json_key(struct json_out *out, const char *key);
void json_key_bytes(struct json_out *out, struct bytes key);
void json_text(struct json_out *out, const char *text);     // NULL writes null
void json_string(struct json_out *out, struct bytes text);  // invalid UTF-8 becomes U+FFFD
void json_int(struct json_out *out, int64_t value);
void json_bool(struct json_out *out, bool value);
void json_null(struct json_out *out);
void json_raw(struct json_out *out, const char *text);  // a number or document that is JSON already
