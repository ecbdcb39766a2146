#pragma once
// A body of JSON, read into a struct: an object with these members and no others.
//
//     static const struct form_row rows[] = {
//         {"subject", FORM_TEXT, offsetof(struct wish, subject), 255, true},
//         {"at", FORM_TIME, offsetof(struct wish, at), 0, false},
//         {.name = NULL},
//     };
//     status = form_read(call->request->body, rows, &arena, &wish, &error);
//
// A member that is absent or null leaves its place zeroed. STATUS_INVALID names the member and what
// it must be. Texts and trees live in the arena and the body. Thread: any.

#include "base/arena.h"
#include "base/decimal.h"
#include "base/json.h"

enum form_type {
    FORM_TEXT,      // const char *: not empty, without NUL
    FORM_ANY_TEXT,  // likewise, and may be empty
    FORM_TIME,      // struct form_time: a date-time of RFC 3339
    FORM_NUMBER,    // struct form_number: a JSON number, or a string with one; all digits kept
    FORM_OBJECT,    // const struct json *
    FORM_LIST,      // const struct json *
    FORM_VALUE,     // const struct json *: whatever it is
    FORM_IGNORED,   // nothing: what our answers say and a client sends back
};

struct form_time {
    bool is_given;
    int64_t ns;
};

struct form_number {
    bool is_given;
    struct decimal value;
};

struct form_row {
    const char *name;  // NULL ends the rows
    enum form_type type;
    uint32_t offset;
    uint32_t size_max;  // of a text, in bytes; 0: as the body has it
    bool is_required;
};

enum status form_read(
    struct bytes body,
    const struct form_row *rows,
    struct arena *arena,
    void *out,
    struct error *error) CHECKED;
// The body's value, for form_object_read.
enum status
form_parse(struct bytes body, struct arena *arena, struct json **out, struct error *error) CHECKED;
// One object of a body: error says where in the body it is.
enum status form_object_read(
    const struct json *object,
    const struct form_row *rows,
    struct arena *arena,
    void *out,
    struct error *error) CHECKED;

// --- what rows do not say ---

// NULL: absent or null.
const struct json *form_member(const struct json *object, const char *name);
// The names of customers and subjects: 1 to 255 bytes without control characters.
enum { FORM_NAME_MAX = 255 };
enum status form_name_check(const char *name, const char *text, struct error *error) CHECKED;
// An object of strings, or null.
enum { FORM_STRING_MAX = 4096 };
enum status
form_strings_check(const struct json *object, const char *name, struct error *error) CHECKED;
// Any JSON value as text again, numbers with their digits.
const char *form_print(const struct json *value, struct arena *arena);
void form_copy(const struct json *value, struct arena *arena, struct json_out *out);
