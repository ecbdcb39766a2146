#pragma once
// Members of a JSON object that a request's body is.
//
//     status = body_object(body, &arena, &object, &error);
//     status = body_members(object, allowed, &error);
//     status = body_text(object, "name", true, &arena, &name, &error);
//
// STATUS_INVALID names the member. Null is the same as absent. Thread: any.

#include "base/json.h"

enum status
body_object(struct bytes body, struct arena *arena, struct json **out, struct error *error) CHECKED;
// Every member is one of those allowed, whose list ends with NULL.
enum status
body_members(const struct json *object, const char *const *allowed, struct error *error) CHECKED;
// A string without U+0000. NULL in *out: absent or null.
enum status body_text(
    const struct json *object,
    const char *name,
    bool is_required,
    struct arena *arena,
    const char **out,
    struct error *error) CHECKED;
// NULL: absent or null.
const struct json *body_member(const struct json *object, const char *name);
// The names of customers and subjects: 1 to 255 bytes without control characters.
enum { BODY_NAME_MAX = 255 };
enum status body_name_check(const char *name, const char *text, struct error *error) CHECKED;
// An object of strings, or null.
enum { BODY_STRING_MAX = 4096 };
enum status
body_strings_check(const struct json *object, const char *name, struct error *error) CHECKED;
// Any JSON value as text again, numbers with their digits.
const char *body_print(const struct json *value, struct arena *arena);
void body_copy(const struct json *value, struct arena *arena, struct json_out *out);
