#include "api/body.h"

#include <string.h>

enum status
body_object(struct bytes body, struct arena *arena, struct json **out, struct error *error)
{
    enum status status = json_parse(body, NULL, arena, out, error);
    if (status)
        return error_prefix(error, "the body cannot be read");
    if ((*out)->type != JSON_OBJECT)
        return error_set(error, STATUS_INVALID, "the body must be an object");
    return STATUS_OK;
}

enum status
body_members(const struct json *object, const char *const *allowed, struct error *error)
{
    for (const struct json *member = object->first; member != NULL; member = member->next) {
        bool is_known = false;
        for (size_t i = 0; allowed[i] != NULL && !is_known; i++)
            is_known = bytes_equal(member->key, bytes_text(allowed[i]));
        if (!is_known)
            return error_set(
                error,
                STATUS_INVALID,
                "%.*s is not kept here",
                (int)(member->key.size < 64 ? member->key.size : 64),
                (const char *)member->key.data);
    }
    return STATUS_OK;
}

const struct json *
body_member(const struct json *object, const char *name)
{
    const struct json *member = json_member(object, name);
    return member != NULL && member->type != JSON_NULL ? member : NULL;
}

enum status
body_text(
    const struct json *object,
    const char *name,
    bool is_required,
    struct arena *arena,
    const char **out,
    struct error *error)
{
    const struct json *member = body_member(object, name);
    *out = NULL;
    if (member == NULL)
        return is_required ? error_set(error, STATUS_INVALID, "%s is required", name) : STATUS_OK;
    if (member->type != JSON_STRING || memchr(member->text.data, '\0', member->text.size) != NULL)
        return error_set(error, STATUS_INVALID, "%s must be a string", name);
    *out = arena_text_of(arena, member->text);
    return STATUS_OK;
}

enum status
body_name_check(const char *name, const char *text, struct error *error)
{
    size_t size = strlen(text);
    if (size == 0 || size > BODY_NAME_MAX)
        return error_set(error, STATUS_INVALID, "%s must have 1 to %d bytes", name, BODY_NAME_MAX);
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return error_set(error, STATUS_INVALID, "%s must not hold control characters", name);
    return STATUS_OK;
}

enum status
body_strings_check(const struct json *object, const char *name, struct error *error)
{
    bool is_fit = object->type == JSON_OBJECT || object->type == JSON_NULL;
    for (const struct json *item = object->first; is_fit && item != NULL; item = item->next)
        is_fit = item->type == JSON_STRING && item->text.size <= BODY_STRING_MAX &&
                 memchr(item->text.data, '\0', item->text.size) == NULL;
    return is_fit ? STATUS_OK
                  : error_set(error, STATUS_INVALID, "%s must be an object of strings", name);
}

void
body_copy(const struct json *value, struct arena *arena, struct json_out *out)
{
    switch (value->type) {
    case JSON_NULL: json_null(out); return;
    case JSON_BOOL: json_bool(out, value->boolean); return;
    case JSON_NUMBER: json_raw(out, arena_text_of(arena, value->text)); return;
    case JSON_STRING: json_string(out, value->text); return;
    case JSON_ARRAY: json_begin(out, '['); break;
    case JSON_OBJECT: json_begin(out, '{'); break;
    }
    for (const struct json *item = value->first; item != NULL; item = item->next) {
        if (value->type == JSON_OBJECT)
            json_key_bytes(out, item->key);
        body_copy(item, arena, out);
    }
    json_end(out, value->type == JSON_ARRAY ? ']' : '}');
}

const char *
body_print(const struct json *value, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct json_out out = json_out_to(&text);
    body_copy(value, arena, &out);
    return arena_text_of(arena, buffer_view(&text));
}
