#include "base/base64.h"

#include <criterion/criterion.h>

#include <string.h>

static const struct {
    const char *text;
    const char *bytes;  // NULL: refused
} ROWS[] = {
  // RFC 4648, section 10.
    {"",                 ""             },
    {"Zg==",             "f"            },
    {"Zm8=",             "fo"           },
    {"Zm9v",             "foo"          },
    {"Zm9vYg==",         "foob"         },
    {"Zm9vYmE=",         "fooba"        },
    {"Zm9vYmFy",         "foobar"       },
    {"+/+/",             "\xfb\xff\xbf" },
    {"eyJ2YWx1ZSI6NX0=", "{\"value\":5}"},
    {"Zh==",             "f"            }, // bits behind the last byte
    {"Zg",               NULL           },
    {"Zg=",              NULL           },
    {"Z===",             NULL           },
    {"====",             NULL           },
    {"=",                NULL           },
    {"Zg==Zg==",         NULL           },
    {"Z=g=",             NULL           },
    {"Zm9v\nYmFy",       NULL           },
    {"Zm9vYmF\n",        NULL           },
    {"Zm 9",             NULL           },
    {"-_-_",             NULL           }, // the alphabet of URLs
    {"Zm9\xc3",          NULL           },
};

Test(base64, decodes_what_is_base64_and_nothing_else)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct bytes bytes = bytes_text("before");
        bool is_good = base64_decode(bytes_text(ROWS[i].text), &arena, &bytes);
        cr_assert_eq(is_good, ROWS[i].bytes != NULL, "%s", ROWS[i].text);
        const char *want = ROWS[i].bytes != NULL ? ROWS[i].bytes : "before";
        cr_assert(bytes_equal(bytes, bytes_text(want)), "%s", ROWS[i].text);
    }
}

Test(base64, every_byte_comes_back)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned value = 0; value < 256; value++) {
        scoped(arena_done) struct arena arena = {0};
        struct bytes bytes = {0};
        const char text[] = {letters[value >> 2], letters[(value & 3) << 4], '=', '='};
        cr_assert(base64_decode(bytes_of(text, sizeof text), &arena, &bytes));
        cr_assert_eq(bytes.size, 1);
        cr_assert_eq(bytes.data[0], value);
    }
}

// Of the same rows, but for the one whose last bits are lost.
Test(base64, encodes_behind_what_is_there)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        scoped(buffer_done) struct buffer text = {0};
        if (ROWS[i].bytes == NULL || strcmp(ROWS[i].text, "Zh==") == 0)
            continue;
        buffer_text(&text, "=");
        base64_encode(&text, bytes_text(ROWS[i].bytes));
        struct bytes behind = bytes_of(text.data + 1, text.size - 1);
        cr_assert(bytes_equal(behind, bytes_text(ROWS[i].text)), "%s", ROWS[i].text);
    }
}
