// json_parse over any bytes: no crash, and what it accepts survives being written and read again.

#include "base/json.h"

#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
value_write(struct json_out *out, const struct json *value, struct arena *arena)
{
    switch (value->type) {
    case JSON_NULL: json_null(out); return;
    case JSON_BOOL: json_bool(out, value->boolean); return;
    case JSON_NUMBER: json_raw(out, arena_text_of(arena, value->text)); return;
    case JSON_STRING: json_string(out, value->text); return;
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    bool is_object = value->type == JSON_OBJECT;
    json_begin(out, is_object ? '{' : '[');
    for (const struct json *child = value->first; child; child = child->next) {
        if (is_object)
            json_key_bytes(out, child->key);
        value_write(out, child, arena);
    }
    json_end(out, is_object ? '}' : ']');
}

static void
must_be_same(const struct json *a, const struct json *b)
{
    must(a->type == b->type && a->boolean == b->boolean && a->count == b->count);
    must(bytes_equal(a->text, b->text) && bytes_equal(a->key, b->key) && a->index == b->index);
    uint32_t count = 0;
    const struct json *other = b->first;
    for (const struct json *child = a->first; child; child = child->next, other = other->next) {
        must(other != NULL && child->parent == a);
        must_be_same(child, other);
        char place[32];
        json_place(child, place, sizeof place);
        int64_t number;
        if (json_int64(child, &number) == STATUS_OK)
            must(child->type == JSON_NUMBER);
        count++;
    }
    must(other == NULL && count == a->count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer written = {0};
    struct json *root = NULL;
    struct error error = {0};
    if (json_parse(bytes_of(data, size), NULL, &arena, &root, &error)) {
        must(root == NULL && error.status == STATUS_INVALID && error.text[0] != '\0');
        return 0;
    }
    struct json_out out = json_out_to(&written);
    out.indent = size % 3;
    value_write(&out, root, &arena);
    struct json *again = NULL;
    must(json_parse(buffer_view(&written), NULL, &arena, &again, &error) == STATUS_OK);
    must_be_same(root, again);
    return 0;
}
