// form_read over any bytes: no crash; what is refused has a reason, and what is taken keeps its
// bounds.

#include "api/form.h"

#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NAME_MAX_BYTES = 5 };

struct wish {
    const char *name;
    struct form_time at;
    struct form_number value;
    const struct json *data;
    const struct json *items;
};

// clang-format off
static const struct form_row ROWS[] = {
    {"name",  FORM_TEXT,   offsetof(struct wish, name),  NAME_MAX_BYTES, true},
    {"at",    FORM_TIME,   offsetof(struct wish, at),    0,              false},
    {"value", FORM_NUMBER, offsetof(struct wish, value), 0,              false},
    {"data",  FORM_OBJECT, offsetof(struct wish, data),  0,              false},
    {"items", FORM_LIST,   offsetof(struct wish, items), 0,              false},
    {.name = NULL},
};
// clang-format on

static void
wish_check(const struct wish *wish)
{
    must(wish->name != NULL && wish->name[0] != '\0' && strlen(wish->name) <= NAME_MAX_BYTES);
    must(wish->at.is_given || wish->at.ns == 0);
    must(wish->value.is_given || wish->value.value.units == 0);
    must(wish->data == NULL || wish->data->type == JSON_OBJECT);
    must(wish->items == NULL || wish->items->type == JSON_ARRAY);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(arena_done) struct arena arena = {0};
    struct wish wish = {.name = NULL};
    struct error error = {0};
    if (form_read(bytes_of(data, size), ROWS, &arena, &wish, &error)) {
        must(error.status == STATUS_INVALID && error.text[0] != '\0');
        return 0;
    }
    wish_check(&wish);
    for (const struct json *item = wish.items != NULL ? wish.items->first : NULL; item != NULL;
         item = item->next) {
        struct wish inner = {.name = NULL};
        if (form_object_read(item, ROWS, &arena, &inner, &error))
            must(strncmp(error.text, "items[", 6) == 0);
        else
            wish_check(&inner);
    }
    return 0;
}
