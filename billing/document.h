#pragma once
// Reading a JSON document strictly: every question knows what it expects, and the first wrong
// answer sticks, with its place.
//
//     struct document in = {.name = "aura.json", .arena = &arena, .error = &error};
//     document_keys(&in, object, (const char *const[]){"key", "name", NULL});
//     plan.key = document_text(&in, object, "key", 64);
//     plan.amount = document_decimal(&in, object, "amount", 12);
//     return in.status;                                   // one check at the end
//
// After a failure every answer is empty: "", zero, false or NULL. Errors read "aura.json:41:
// plans[2].key: what is expected". Owner: the caller. Thread: one at a time.

#include "base/decimal.h"
#include "base/json.h"

struct document {
    const char *name;  // NULL: one line, errors tell only the place in it
    struct arena *arena;
    struct error *error;
    enum status status;  // sticky
};

// Notes the first refusal; node is where.
void document_refuse(struct document *in, const struct json *node, const char *format, ...)
    PRINTF_LIKE(3, 4);

// The object has no members but these (NULL ends them). Refuses what is not an object.
void document_keys(struct document *in, const struct json *object, const char *const *keys);
// A member of any type; refused when it is missing.
const struct json *document_member(struct document *in, const struct json *object, const char *key);
// Strings of 1 to size_max bytes without control characters.
const char *
document_text(struct document *in, const struct json *object, const char *key, size_t size_max);
// NULL when it is missing or null.
const char *document_text_optional(
    struct document *in, const struct json *object, const char *key, size_t size_max);
// A string with a decimal that is not negative, of at most so many places. A JSON number is
// refused.
struct decimal
document_decimal(struct document *in, const struct json *object, const char *key, uint32_t places);
// *out stays as it is and false is returned when the member is missing or null.
bool document_decimal_optional(
    struct document *in,
    const struct json *object,
    const char *key,
    uint32_t places,
    struct decimal *out);
int64_t document_int(struct document *in, const struct json *object, const char *key);
// RFC 3339.
int64_t document_time(struct document *in, const struct json *object, const char *key);
// The array's value; NULL when refused. At most count_max items.
const struct json *
document_array(struct document *in, const struct json *object, const char *key, uint32_t count_max);

// A decimal as the documents have it: plain digits, not negative, at most so many places; no
// exponent, no sign.
enum status document_decimal_parse(
    struct bytes text, uint32_t places, struct decimal *out, struct error *error) CHECKED;
