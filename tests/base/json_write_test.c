#include "base/json.h"

#include <criterion/criterion.h>

#include <signal.h>

static const char *
text_of(struct buffer *buffer)
{
    buffer_u8(buffer, 0);
    return (const char *)buffer->data;
}

static void
document_write(struct json_out *out)
{
    json_begin(out, '{');
    json_key(out, "total");
    json_int(out, INT64_MIN);
    json_key(out, "lines");
    json_begin(out, '[');
    json_text(out, "a");
    json_text(out, NULL);
    json_bool(out, true);
    json_bool(out, false);
    json_begin(out, '{');
    json_end(out, '}');
    json_begin(out, '[');
    json_end(out, ']');
    json_end(out, ']');
    json_key_bytes(out, bytes_text("p\"q"));
    json_raw(out, "12.50");
    json_key(out, "n");
    json_null(out);
    json_end(out, '}');
}

Test(json_write, puts_commas_and_colons)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct json_out out = json_out_to(&buffer);
    document_write(&out);
    cr_assert_str_eq(
        text_of(&buffer),
        "{\"total\":-9223372036854775808,\"lines\":[\"a\",null,true,false,{},[]],"
        "\"p\\\"q\":12.50,\"n\":null}");
}

Test(json_write, indents)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct json_out out = json_out_to(&buffer);
    out.indent = 2;
    document_write(&out);
    cr_assert_str_eq(
        text_of(&buffer),
        "{\n"
        "  \"total\": -9223372036854775808,\n"
        "  \"lines\": [\n"
        "    \"a\",\n"
        "    null,\n"
        "    true,\n"
        "    false,\n"
        "    {},\n"
        "    []\n"
        "  ],\n"
        "  \"p\\\"q\": 12.50,\n"
        "  \"n\": null\n"
        "}");
}

#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

Test(json_write, escapes_and_replaces)
{
    static const struct {
        struct bytes text;
        const char *written;
    } rows[] = {
        {BYTES(""),                         "\"\""                                    },
        {{NULL, 0},                         "\"\""                                    },
        {BYTES("\"\\/\b\f\n\r\t"),          "\"\\\"\\\\/\\b\\f\\n\\r\\t\""            },
        {BYTES("\0\x01\x1F\x7F"),           "\"\\u0000\\u0001\\u001f\x7F\""           },
        {BYTES("\xC3\xA4\xF0\x9F\x98\x80"), "\"\xC3\xA4\xF0\x9F\x98\x80\""            },
        {BYTES("a\xFFz"),                   "\"a\xEF\xBF\xBDz\""                      },
        {BYTES("\xED\xA0\x80"),             "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {BYTES("\xE2\x82"),                 "\"\xEF\xBF\xBD\xEF\xBF\xBD\""            },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        scoped(buffer_done) struct buffer buffer = {0};
        struct json_out out = json_out_to(&buffer);
        json_string(&out, rows[i].text);
        cr_assert_str_eq(text_of(&buffer), rows[i].written, "row %zu", i);
    }
}

Test(json_write, whatever_is_written_reads_back)
{
    scoped(buffer_done) struct buffer buffer = {0};
    scoped(arena_done) struct arena arena = {0};
    struct json_out out = json_out_to(&buffer);
    json_begin(&out, '[');
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second += 5) {
            uint8_t pair[] = {(uint8_t)first, (uint8_t)second};
            json_string(&out, bytes_of(pair, sizeof pair));
        }
    json_end(&out, ']');
    struct json *root = NULL;
    struct error error = {0};
    cr_assert_eq(
        json_parse(buffer_view(&buffer), NULL, &arena, &root, &error), STATUS_OK, "%s", error.text);
    const struct json *item = root->first;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second += 5, item = item->next) {
            uint8_t pair[] = {(uint8_t)first, (uint8_t)second};
            if (bytes_is_utf8(bytes_of(pair, 2)))
                cr_assert(bytes_equal(item->text, bytes_of(pair, 2)));
        }
    cr_assert_null(item);
}

Test(json_write, nests_64_deep)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct json_out out = json_out_to(&buffer);
    for (int i = 0; i < 64; i++)
        json_begin(&out, '[');
    json_int(&out, 1);
    json_int(&out, 2);
    for (int i = 0; i < 64; i++)
        json_end(&out, ']');
    cr_assert_eq(buffer.size, 64 + 3 + 64);
    cr_assert_eq(out.depth, 0);
}

Test(json_write, no_deeper, .signal = SIGABRT)
{
    struct buffer buffer = {0};
    struct json_out out = json_out_to(&buffer);
    for (int i = 0; i < 65; i++)
        json_begin(&out, '[');
}

Test(json_write, a_key_without_a_value_is_a_programming_error, .signal = SIGABRT)
{
    struct buffer buffer = {0};
    struct json_out out = json_out_to(&buffer);
    json_begin(&out, '{');
    json_key(&out, "a");
    json_end(&out, '}');
}

Test(json_write, a_full_buffer_tells_at_the_end)
{
    scoped(buffer_done) struct buffer buffer = {.limit = 20};
    struct json_out out = json_out_to(&buffer);
    document_write(&out);
    cr_assert(buffer_failed(&buffer));
    cr_assert_leq(buffer.size, 20);
}
