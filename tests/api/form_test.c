#include "api/form.h"

#include <criterion/criterion.h>

#include <string.h>

struct wish {
    const char *name;
    struct form_time at;
    struct form_number value;
    const struct json *data;
    const struct json *items;
};

// clang-format off
static const struct form_row ROWS[] = {
    {"name",  FORM_TEXT,   offsetof(struct wish, name),  5, true},
    {"at",    FORM_TIME,   offsetof(struct wish, at),    0, false},
    {"value", FORM_NUMBER, offsetof(struct wish, value), 0, false},
    {"data",  FORM_OBJECT, offsetof(struct wish, data),  0, false},
    {"items", FORM_LIST,   offsetof(struct wish, items), 0, false},
    {.name = NULL},
};
// clang-format on

Test(form, reads_what_is_there_and_leaves_the_rest_zeroed)
{
    scoped(arena_done) struct arena arena = {0};
    struct wish wish = {0};
    struct error error = {0};
    const char *text = "{\"name\": \"\\u00e9abc\", \"at\": \"1970-01-01T00:00:01Z\","
                       " \"value\": 0.123456789012345678, \"data\": {\"a\": 1}, \"items\": []}";
    cr_assert_eq(form_read(bytes_text(text), ROWS, &arena, &wish, &error), STATUS_OK);
    cr_assert_str_eq(
        wish.name,
        "\xc3\xa9"
        "abc");
    cr_assert(wish.at.is_given && wish.at.ns == 1000000000);
    cr_assert(wish.value.is_given && wish.value.value.units == (int128)123456789012345678);
    cr_assert(wish.data->type == JSON_OBJECT && wish.items->type == JSON_ARRAY);
    struct wish other = {0};
    text = "{\"name\": \"x\", \"at\": null, \"value\": \"-5e-1\"}";
    cr_assert_eq(form_read(bytes_text(text), ROWS, &arena, &other, &error), STATUS_OK);
    cr_assert(!other.at.is_given && other.data == NULL && other.items == NULL);
    cr_assert(other.value.value.units == -DECIMAL_ONE.units / 2);
}

Test(form, takes_what_rows_leave_open)
{
    struct open {
        const char *any;
        const struct json *value;
        const struct json *nothing;
    };
    // clang-format off
    static const struct form_row rows[] = {
        {"any", FORM_ANY_TEXT, offsetof(struct open, any), 0, false},
        {"value", FORM_VALUE, offsetof(struct open, value), 0, true},
        {"id", FORM_IGNORED, offsetof(struct open, nothing), 0, false},
        {.name = NULL},
    };
    // clang-format on
    scoped(arena_done) struct arena arena = {0};
    struct open open = {0};
    struct error error = {0};
    const char *text = "{\"any\": \"\", \"value\": [1.50], \"id\": {\"a\": 1}}";
    cr_assert_eq(form_read(bytes_text(text), rows, &arena, &open, &error), STATUS_OK);
    cr_assert_str_eq(open.any, "");
    cr_assert_str_eq(form_print(open.value, &arena), "[1.50]");
    cr_assert_null(open.nothing);
    text = "{\"any\": 1, \"value\": 1}";
    cr_assert_eq(form_read(bytes_text(text), rows, &arena, &open, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "any must be a string");
    text = "{\"any\": \"\\u0000\", \"value\": 1}";
    cr_assert_eq(form_read(bytes_text(text), rows, &arena, &open, &error), STATUS_INVALID);
    text = "{\"any\": \"x\"}";
    cr_assert_eq(form_read(bytes_text(text), rows, &arena, &open, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "value is required");
}

Test(form, refuses_by_name)
{
    // clang-format off
    static const struct {
        const char *body, *text;
    } rows[] = {
        {"", "the body cannot be read: line 1, column 1"},
        {"{\"name\": \"x\"", "the body cannot be read"},
        {"{\"name\": \"x\", \"name\": \"x\"}", "the body cannot be read"},
        {"[]", "the body must be an object"},
        {"null", "the body must be an object"},
        {"{}", "name is required"},
        {"{\"name\": null}", "name is required"},
        {"{\"name\": 1}", "name must be a string"},
        {"{\"name\": \"\"}", "name must not be empty"},
        {"{\"name\": \"abcdef\"}", "name must have at most 5 bytes"},
        {"{\"name\": \"a\\u0000\"}", "name must not hold U+0000"},
        {"{\"name\": \"x\", \"Name\": 1}", "Name is not known here"},
        {"{\"name\": \"x\", \"at\": 1}", "at must be a date-time"},
        {"{\"name\": \"x\", \"at\": \"\"}", "at must be a date-time"},
        {"{\"name\": \"x\", \"at\": \"2026-11-22\"}", "at must be a date-time"},
        {"{\"name\": \"x\", \"at\": \"2026-02-30T00:00:00Z\"}", "at must be a date-time"},
        {"{\"name\": \"x\", \"value\": true}", "value must be a number below 10^19"},
        {"{\"name\": \"x\", \"value\": \"a\"}", "value must be a number below 10^19"},
        {"{\"name\": \"x\", \"value\": 1e19}", "value must be a number below 10^19"},
        {"{\"name\": \"x\", \"value\": 1e-19}", "value must be a number below 10^19"},
        {"{\"name\": \"x\", \"data\": []}", "data must be an object"},
        {"{\"name\": \"x\", \"data\": \"{}\"}", "data must be an object"},
        {"{\"name\": \"x\", \"items\": {}}", "items must be a list"},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct wish wish = {0};
        struct error error = {0};
        cr_assert_eq(
            form_read(bytes_text(rows[i].body), ROWS, &arena, &wish, &error),
            STATUS_INVALID,
            "%s",
            rows[i].body);
        cr_assert_eq(
            strncmp(error.text, rows[i].text, strlen(rows[i].text)),
            0,
            "%s: %s",
            rows[i].body,
            error.text);
    }
}

Test(form, names_the_place_of_an_object_in_a_list)
{
    scoped(arena_done) struct arena arena = {0};
    struct wish wish = {0}, inner = {0};
    struct error error = {0};
    const char *text = "{\"name\": \"x\", \"items\": [{\"name\": \"y\"}, {\"name\": 2}, 3]}";
    cr_assert_eq(form_read(bytes_text(text), ROWS, &arena, &wish, &error), STATUS_OK);
    const struct json *item = wish.items->first;
    cr_assert_eq(form_object_read(item, ROWS, &arena, &inner, &error), STATUS_OK);
    cr_assert_str_eq(inner.name, "y");
    cr_assert_eq(form_object_read(item->next, ROWS, &arena, &inner, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "items[1].name must be a string");
    cr_assert_eq(form_object_read(item->next->next, ROWS, &arena, &inner, &error), STATUS_INVALID);
    cr_assert_str_eq(error.text, "items[2] must be an object");
}
