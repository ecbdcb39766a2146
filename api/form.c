#include "api/form.h"

#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

enum { PLACE_MAX = 200 };

static enum status
refuse(const struct json *at, const char *member, const char *what, struct error *error)
{
    char place[PLACE_MAX];
    json_place(at, place, sizeof place);
    bool is_root = strcmp(place, "(root)") == 0;
    if (member[0] == '\0')
        return error_set(error, STATUS_INVALID, "%s %s", is_root ? "the body" : place, what);
    return error_set(
        error, STATUS_INVALID, "%s%s%s %s", is_root ? "" : place, is_root ? "" : ".", member, what);
}

static const char *
text_take(
    const struct json *value, const struct form_row *row, struct arena *arena, const char **out)
{
    if (value->type != JSON_STRING)
        return "must be a string";
    if (value->text.size == 0 && row->type == FORM_TEXT)
        return "must not be empty";
    if (value->text.size > 0 && memchr(value->text.data, '\0', value->text.size) != NULL)
        return "must not hold U+0000";
    if (row->size_max > 0 && value->text.size > row->size_max)
        return arena_format(arena, "must have at most %u bytes", row->size_max);
    *out = arena_text_of(arena, value->text);
    return NULL;
}

static const char *
time_take(const struct json *value, struct form_time *out)
{
    bool is_time = value->type == JSON_STRING && value->text.size > 0 &&
                   (memchr(value->text.data, 'T', value->text.size) != NULL ||
                    memchr(value->text.data, 't', value->text.size) != NULL);
    if (!is_time || clock_parse(value->text, &out->ns) != STATUS_OK)
        return "must be a date-time of RFC 3339, such as 2026-11-22T10:00:00Z";
    out->is_given = true;
    return NULL;
}

static const char *
number_take(const struct json *value, struct form_number *out)
{
    bool is_rounded = false;
    bool is_number = value->type == JSON_NUMBER || value->type == JSON_STRING;
    if (!is_number || decimal_parse(value->text, &out->value, &is_rounded) || is_rounded)
        return "must be a number below 10^19 with at most 18 decimals";
    out->is_given = true;
    return NULL;
}

// NULL: it is what it must be.
static const char *
member_take(
    const struct json *value, const struct form_row *row, struct arena *arena, uint8_t *place)
{
    switch (row->type) {
    case FORM_TEXT:
    case FORM_ANY_TEXT: return text_take(value, row, arena, (void *)place);
    case FORM_TIME: return time_take(value, (void *)place);
    case FORM_NUMBER: return number_take(value, (void *)place);
    case FORM_OBJECT:
        if (value->type != JSON_OBJECT)
            return "must be an object";
        break;
    case FORM_LIST:
        if (value->type != JSON_ARRAY)
            return "must be a list";
        break;
    case FORM_VALUE: break;
    case FORM_IGNORED: return NULL;
    }
    const struct json **tree = (void *)place;
    *tree = value;
    return NULL;
}

static enum status
members_know(const struct json *object, const struct form_row *rows, struct error *error)
{
    for (const struct json *member = object->first; member != NULL; member = member->next) {
        const struct form_row *row = rows;
        while (row->name != NULL && !bytes_equal(bytes_text(row->name), member->key))
            row++;
        if (row->name == NULL)
            return refuse(member, "", "is not known here", error);
    }
    return STATUS_OK;
}

enum status
form_object_read(
    const struct json *object,
    const struct form_row *rows,
    struct arena *arena,
    void *out,
    struct error *error)
{
    if (object->type != JSON_OBJECT)
        return refuse(object, "", "must be an object", error);
    enum status status = members_know(object, rows, error);
    for (const struct form_row *row = rows; row->name != NULL && !status; row++) {
        const struct json *value = json_member(object, row->name);
        const char *fault = NULL;
        if (value != NULL && value->type != JSON_NULL)
            fault = member_take(value, row, arena, (uint8_t *)out + row->offset);
        else if (row->is_required)
            fault = "is required";
        if (fault != NULL)
            status = refuse(object, row->name, fault, error);
    }
    return status;
}

enum status
form_parse(struct bytes body, struct arena *arena, struct json **out, struct error *error)
{
    const struct json_limits limits = {.size_max = body.size + 1};
    enum status status = json_parse(body, &limits, arena, out, error);
    return status ? error_prefix(error, "the body cannot be read") : STATUS_OK;
}

enum status
form_read(
    struct bytes body,
    const struct form_row *rows,
    struct arena *arena,
    void *out,
    struct error *error)
{
    struct json *root;
    enum status status = form_parse(body, arena, &root, error);
    return status ? status : form_object_read(root, rows, arena, out, error);
}

// --- what rows do not say ---

const struct json *
form_member(const struct json *object, const char *name)
{
    const struct json *member = json_member(object, name);
    return member != NULL && member->type != JSON_NULL ? member : NULL;
}

enum status
form_name_check(const char *name, const char *text, struct error *error)
{
    size_t size = strlen(text);
    if (size == 0 || size > FORM_NAME_MAX)
        return error_set(error, STATUS_INVALID, "%s must have 1 to %d bytes", name, FORM_NAME_MAX);
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return error_set(error, STATUS_INVALID, "%s must not hold control characters", name);
    return STATUS_OK;
}

enum status
form_strings_check(const struct json *object, const char *name, struct error *error)
{
    bool is_fit = object->type == JSON_OBJECT || object->type == JSON_NULL;
    for (const struct json *item = object->first; is_fit && item != NULL; item = item->next)
        is_fit = item->type == JSON_STRING && item->text.size <= FORM_STRING_MAX &&
                 memchr(item->text.data, '\0', item->text.size) == NULL;
    return is_fit ? STATUS_OK
                  : error_set(error, STATUS_INVALID, "%s must be an object of strings", name);
}

void
form_copy(const struct json *value, struct arena *arena, struct json_out *out)
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
        form_copy(item, arena, out);
    }
    json_end(out, value->type == JSON_ARRAY ? ']' : '}');
}

const char *
form_print(const struct json *value, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct json_out out = json_out_to(&text);
    form_copy(value, arena, &out);
    return arena_text_of(arena, buffer_view(&text));
}
