// Questions to a tree that json_parse made: see base/json.h.

#include "base/assert.h"
#include "base/json.h"

#include <stdio.h>

static bool
is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

const struct json *
json_member(const struct json *object, const char *key)
{
    if (object == NULL || object->type != JSON_OBJECT)
        return NULL;
    struct bytes wanted = bytes_text(key);
    for (const struct json *member = object->first; member != NULL; member = member->next)
        if (bytes_equal(member->key, wanted))
            return member;
    return NULL;
}

bool
json_is_text(const struct json *value, const char *text)
{
    return value != NULL && value->type == JSON_STRING &&
           bytes_equal(value->text, bytes_text(text));
}

enum status
json_int64(const struct json *value, int64_t *out)
{
    if (value == NULL || value->type != JSON_NUMBER)
        return STATUS_INVALID;
    const uint8_t *at = value->text.data;
    const uint8_t *end = at + value->text.size;
    bool is_negative = *at == '-';
    int64_t number = 0;
    // Downwards, since the negative side reaches one further.
    for (at += is_negative; at < end; at++)
        if (!is_digit(*at) || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, *at - '0', &number))
            return STATUS_INVALID;
    if (!is_negative && __builtin_sub_overflow(0, number, &number))
        return STATUS_INVALID;
    *out = number;
    return STATUS_OK;
}

// Text into a fixed array: what does not fit is left out.
struct place {
    char *text;
    size_t size;
    size_t used;
};

static void
place_put(struct place *place, struct bytes text)
{
    size_t room = place->size - 1 - place->used;
    size_t size = text.size < room ? text.size : room;
    memcpy(place->text + place->used, text.data, size);
    place->used += size;
}

static bool
is_plain_key(struct bytes key)
{
    for (size_t i = 0; i < key.size; i++) {
        uint8_t byte = key.data[i];
        bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        if (!is_letter && !is_digit(byte) && byte != '_' && byte != '-')
            return false;
    }
    return key.size > 0;
}

static void
place_put_step(struct place *place, const struct json *value)
{
    if (value->parent->type == JSON_ARRAY) {
        char index[16];
        int size = snprintf(index, sizeof index, "[%u]", value->index);
        place_put(place, bytes_of(index, (size_t)size));
    } else if (is_plain_key(value->key)) {
        if (value->parent->parent != NULL)
            place_put(place, bytes_text("."));
        place_put(place, value->key);
    } else {
        place_put(place, bytes_text("[\""));
        place_put(place, value->key);
        place_put(place, bytes_text("\"]"));
    }
}

// From the root down; as deep as the parser went.
static void
place_put_path(struct place *place, const struct json *value)
{
    if (value->parent == NULL)
        return;
    place_put_path(place, value->parent);
    place_put_step(place, value);
}

void
json_place(const struct json *value, char *out, size_t out_size)
{
    must(value != NULL);
    must(out_size > 0);
    struct place place = {.text = out, .size = out_size};
    if (value->parent == NULL)
        place_put(&place, bytes_text("(root)"));
    place_put_path(&place, value);
    out[place.used] = '\0';
}
