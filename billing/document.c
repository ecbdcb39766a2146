#include "billing/document.h"

#include "base/assert.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { DOCUMENT_PLACE_MAX = 256, DOCUMENT_TEXT_MAX = 512 };

void
document_refuse(struct document *in, const struct json *node, const char *format, ...)
{
    if (in->status)
        return;
    char place[DOCUMENT_PLACE_MAX];
    char text[DOCUMENT_TEXT_MAX];
    json_place(node, place, sizeof place);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (in->name != NULL)
        in->status = error_set(
            in->error, STATUS_INVALID, "%s:%" PRIu32 ": %s: %s", in->name, node->line, place, text);
    else if (node->parent != NULL)
        in->status = error_set(in->error, STATUS_INVALID, "%s: %s", place, text);
    else
        in->status = error_set(in->error, STATUS_INVALID, "%s", text);
}

void
document_keys(struct document *in, const struct json *object, const char *const *keys)
{
    if (in->status)
        return;
    must(object != NULL);
    if (object->type != JSON_OBJECT) {
        document_refuse(in, object, "expected an object");
        return;
    }
    for (const struct json *member = object->first; member != NULL; member = member->next) {
        size_t i = 0;
        while (keys[i] != NULL && !bytes_equal(member->key, bytes_text(keys[i])))
            i++;
        if (keys[i] == NULL) {
            document_refuse(in, member, "there is no such key here");
            return;
        }
    }
}

const struct json *
document_member(struct document *in, const struct json *object, const char *key)
{
    if (in->status)
        return NULL;
    const struct json *member = json_member(object, key);
    if (member == NULL)
        document_refuse(in, object, "\"%s\" is missing", key);
    return member;
}

static bool
is_given(const struct document *in, const struct json *object, const char *key)
{
    if (in->status)
        return false;
    const struct json *member = json_member(object, key);
    return member != NULL && member->type != JSON_NULL;
}

static bool
has_control(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    return false;
}

const char *
document_text(struct document *in, const struct json *object, const char *key, size_t size_max)
{
    const struct json *member = document_member(in, object, key);
    if (member == NULL)
        return "";
    if (member->type != JSON_STRING)
        document_refuse(in, member, "expected a string");
    else if (member->text.size == 0)
        document_refuse(in, member, "may not be empty");
    else if (member->text.size > size_max)
        document_refuse(in, member, "is longer than %zu bytes", size_max);
    else if (has_control(member->text))
        document_refuse(in, member, "has a control character");
    return in->status ? "" : arena_text_of(in->arena, member->text);
}

const char *
document_text_optional(
    struct document *in, const struct json *object, const char *key, size_t size_max)
{
    if (!is_given(in, object, key))
        return NULL;
    return document_text(in, object, key, size_max);
}

static bool
is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

// Plain digits with at most one point between digits; *out_places counts those behind it.
static bool
is_plain_decimal(struct bytes text, size_t *out_places)
{
    size_t point = text.size;
    for (size_t i = 0; i < text.size; i++) {
        bool is_inner = i > 0 && i + 1 < text.size;
        if (text.data[i] == '.' && point == text.size && is_inner)
            point = i;
        else if (!is_digit(text.data[i]))
            return false;
    }
    *out_places = point == text.size ? 0 : text.size - point - 1;
    return text.size > 0;
}

enum status
document_decimal_parse(struct bytes text, uint32_t places, struct decimal *out, struct error *error)
{
    size_t found = 0;
    if (!is_plain_decimal(text, &found))
        return error_set(
            error, STATUS_INVALID, "expected a decimal such as \"0.0025\", not negative");
    if (found > places)
        return error_set(error, STATUS_INVALID, "has more than %" PRIu32 " decimals", places);
    bool is_rounded = false;
    struct decimal value;
    enum status status = decimal_parse(text, &value, &is_rounded);
    if (status == STATUS_OVERFLOW)
        return error_set(error, status, "must be below 10^19");
    if (status)
        return error_set(error, status, "is not a decimal");
    must(!is_rounded && value.units >= 0);
    *out = value;
    return STATUS_OK;
}

struct decimal
document_decimal(struct document *in, const struct json *object, const char *key, uint32_t places)
{
    struct decimal value = DECIMAL_ZERO;
    const struct json *member = document_member(in, object, key);
    if (member == NULL)
        return value;
    struct error reason;
    if (member->type == JSON_NUMBER)
        document_refuse(
            in,
            member,
            "write it as a string (\"%.*s\"): a JSON number may have lost digits on its way",
            (int)(member->text.size < 40 ? member->text.size : 40),
            (const char *)member->text.data);
    else if (member->type != JSON_STRING)
        document_refuse(in, member, "expected a decimal as a string");
    else if (document_decimal_parse(member->text, places, &value, &reason) != STATUS_OK)
        document_refuse(in, member, "%s", reason.text);
    return in->status ? DECIMAL_ZERO : value;
}

bool
document_decimal_optional(
    struct document *in,
    const struct json *object,
    const char *key,
    uint32_t places,
    struct decimal *out)
{
    if (!is_given(in, object, key))
        return false;
    struct decimal value = document_decimal(in, object, key, places);
    if (in->status)
        return false;
    *out = value;
    return true;
}

int64_t
document_int(struct document *in, const struct json *object, const char *key)
{
    int64_t value = 0;
    const struct json *member = document_member(in, object, key);
    if (member != NULL && json_int64(member, &value) != STATUS_OK)
        document_refuse(in, member, "expected an integer");
    return value;
}

int64_t
document_time(struct document *in, const struct json *object, const char *key)
{
    int64_t value = 0;
    const struct json *member = document_member(in, object, key);
    if (member == NULL)
        return 0;
    if (member->type != JSON_STRING || clock_parse(member->text, &value) != STATUS_OK)
        document_refuse(in, member, "expected a time such as \"2023-11-01T00:00:00Z\"");
    return value;
}

const struct json *
document_array(struct document *in, const struct json *object, const char *key, uint32_t count_max)
{
    const struct json *member = document_member(in, object, key);
    if (member == NULL)
        return NULL;
    if (member->type != JSON_ARRAY)
        document_refuse(in, member, "expected an array");
    else if (member->count > count_max)
        document_refuse(in, member, "has more than %" PRIu32 " items", count_max);
    return in->status ? NULL : member;
}
