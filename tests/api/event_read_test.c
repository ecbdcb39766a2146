#include "api/event_read.h"

#include "api/json_pack.h"
#include "base/json.h"
#include "base/unpack.h"
#include "client/encode.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define GOOD                                                                                       \
    "\"id\":\"i\",\"source\":\"s\",\"specversion\":\"1.0\",\"type\":\"t\",\"subject\":\"u\""

// A member more, or instead of the one in GOOD.
static const struct {
    const char *text;
    const char *place;  // NULL: it is taken
} ROWS[] = {
    {"{" GOOD "}",                                                  NULL             },
    {"{" GOOD ",\"time\":null,\"data\":null,\"dataschema\":null}",  NULL             },
    {"{" GOOD ",\"datacontenttype\":null}",                         NULL             },
    {"{" GOOD ",\"datacontenttype\":\"application/json\"}",         NULL             },
    {"{" GOOD ",\"dataschema\":\"https://x/y\",\"data\":{}}",       NULL             },
    {"{" GOOD ",\"data\":{\"value\":\"many\",\"id\":{}}}",          NULL             },
    {"{" GOOD ",\"other\":[1,{\"a\":2}],\"traceparent\":\"x\"}",    NULL             },
    {"{" GOOD ",\"time\":\"2026-11-22T10:00:00Z\"}",                NULL             },
    {"{" GOOD ",\"time\":\"2026-11-22T10:00:00.123456789+05:45\"}", NULL             },
    {"{" GOOD ",\"data\":{\"a\":[[[[[[[[1]]]]]]]]}}",               NULL             },
    {"{" GOOD ",\"data_base64\":\"eyJ2YWx1ZSI6NX0=\"}",             NULL             },
    {"{" GOOD ",\"data_base64\":\"e30=\",\"data\":null}",           NULL             },
    {"{" GOOD ",\"data_base64\":\"bnVsbA==\"}",                     NULL             },
    {"{" GOOD ",\"data_base64\":\"\"}",                             NULL             },
    {"{" GOOD ",\"data_base64\":null,\"data\":{\"a\":1}}",          NULL             },
    {"[]",                                                          NULL             },
    {"7",                                                           ""               },
    {"null",                                                        ""               },
    {"\""
     "x\"",                                                    ""               },
    {"[7]",                                                         "[0]"            },
    {"[[]]",                                                        "[0]"            },
    {"[{" GOOD "},null]",                                           "[1]"            },
    {"[{" GOOD "},{}]",                                             "[1].id"         },
    {"{}",                                                          "id"             },
    {"{" GOOD ",\"time\":\"2026-11-22\"}",                          "time"           },
    {"{" GOOD ",\"time\":\"2026-11-22 10:00:00\"}",                 "time"           },
    {"{" GOOD ",\"time\":\"2026-11-22T10:00:00\"}",                 "time"           },
    {"{" GOOD ",\"time\":\"2026-13-22T10:00:00Z\"}",                "time"           },
    {"{" GOOD ",\"time\":\"\"}",                                    "time"           },
    {"{" GOOD ",\"time\":1763809200}",                              "time"           },
    {"{" GOOD ",\"time\":\"1969-12-31T23:59:59Z\"}",                "time"           },
    {"{" GOOD ",\"time\":\"2107-01-01T00:00:00Z\"}",                "time"           },
    {"{" GOOD ",\"datacontenttype\":\"application/xml\"}",          "datacontenttype"},
    {"{" GOOD ",\"datacontenttype\":7}",                            "datacontenttype"},
    {"{" GOOD ",\"datacontenttype\":\"\"}",                         "datacontenttype"},
    {"{" GOOD ",\"dataschema\":\"\"}",                              "dataschema"     },
    {"{" GOOD ",\"dataschema\":\"a b\"}",                           "dataschema"     },
    {"{" GOOD ",\"dataschema\":{}}",                                "dataschema"     },
    {"{" GOOD ",\"data\":\"x\"}",                                   "data"           },
    {"{" GOOD ",\"data\":7}",                                       "data"           },
    {"{" GOOD ",\"data\":[]}",                                      "data"           },
    {"{" GOOD ",\"data\":true}",                                    "data"           },
    {"{" GOOD ",\"data\":{\"a\":[[[[[[[[[1]]]]]]]]]}}",             "data"           },
    {"{" GOOD ",\"data_base64\":\"e30=\",\"data\":{}}",             "data_base64"    },
    {"{" GOOD ",\"data_base64\":\"e30\"}",                          "data_base64"    },
    {"{" GOOD ",\"data_base64\":{}}",                               "data_base64"    },
    {"{" GOOD ",\"data_base64\":\"e3t9\"}",                         "data_base64"    }, // {{}
    {"{" GOOD ",\"data_base64\":\"W10=\"}",                         "data_base64"    }, // []
    {"{" GOOD ",\"data_base64\":\"PHhtbD48L3htbD4=\"}",             "data_base64"    },
};

static struct event_list
list_of(struct arena *arena, const char *text)
{
    struct event_list list;
    struct error error;
    enum status status = event_list_read(bytes_text(text), EVENT_FORM_ANY, arena, &list, &error);
    cr_assert_eq(status, STATUS_OK, "%s: %s", text, error.text);
    return list;
}

Test(event_read, takes_and_refuses)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct event_list list = list_of(&arena, ROWS[i].text);
        cr_assert_eq(list.faults_count, ROWS[i].place != NULL, "%s", ROWS[i].text);
        if (ROWS[i].place == NULL)
            continue;
        const struct event_item *item = &list.items[list.count - 1];
        cr_assert_not_null(item->fault, "%s", ROWS[i].text);
        cr_assert_str_eq(item->place, ROWS[i].place, "%s", ROWS[i].text);
    }
}

// Each required member: missing, null, empty, no string, with U+0000, and at its bound.
Test(event_read, requires_what_openmeter_requires)
{
    static const struct {
        const char *name;
        size_t size_max;
    } members[] = {
        {"id",          ENCODE_ID_MAX     },
        {"source",      ENCODE_SOURCE_MAX },
        {"specversion", 3                 },
        {"type",        ENCODE_TYPE_MAX   },
        {"subject",     ENCODE_SUBJECT_MAX},
    };
    static const char *const values[] = {NULL, "null", "\"\"", "7", "[]", "\"a\\u0000b\""};
    enum { MEMBERS = sizeof members / sizeof members[0] };
    for (size_t i = 0; i < MEMBERS; i++) {
        for (size_t k = 0; k < sizeof values / sizeof values[0] + 2; k++) {
            scoped(arena_done) struct arena arena = {0};
            char text[2048] = "{", value[512], filler[300];
            size_t extra = k - sizeof values / sizeof values[0];
            const char *chosen = k < sizeof values / sizeof values[0] ? values[k] : value;
            memset(filler, 'x', sizeof filler);
            size_t size = members[i].size_max + (extra == 1);
            (void)snprintf(value, sizeof value, "\"%.*s\"", (int)size, filler);
            for (size_t m = 0; m < MEMBERS; m++) {
                const char *now =
                    m != i ? strcmp(members[m].name, "specversion") == 0 ? "\"1.0\"" : "\"v\""
                           : chosen;
                size_t used = strlen(text);
                if (now != NULL)
                    (void)snprintf(
                        text + used,
                        sizeof text - used,
                        "%s\"%s\":%s",
                        used > 1 ? "," : "",
                        members[m].name,
                        now);
            }
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "}");
            struct event_list list = list_of(&arena, text);
            bool is_fine = chosen == value && extra == 0 && i != 2;
            cr_assert_eq(list.faults_count, !is_fine, "%s", text);
            if (!is_fine)
                cr_assert_str_eq(list.items[0].place, members[i].name, "%s", text);
        }
    }
}

Test(event_read, bounds_an_event_by_64_kib)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0};
    for (size_t size = 65000; size <= 66000; size += 1000) {
        buffer_reset(&text);
        buffer_format(&text, "{" GOOD ",\"data\":{\"a\":\"%0*d\"}}", (int)size, 0);
        buffer_u8(&text, 0);
        struct event_list list = list_of(&arena, (const char *)text.data);
        cr_assert_eq(list.faults_count, size > 65000);
    }
}

Test(event_read, forms_are_what_they_say)
{
    static const struct {
        const char *text;
        enum event_form form;
        bool is_taken;
    } rows[] = {
        {"{" GOOD "}",              EVENT_FORM_ONE,  true },
        {"[{" GOOD "}]",            EVENT_FORM_ONE,  false},
        {"{" GOOD "}",              EVENT_FORM_MANY, false},
        {"[{" GOOD "}]",            EVENT_FORM_MANY, true },
        {"[{" GOOD "}]",            EVENT_FORM_ANY,  true },
        {"",                        EVENT_FORM_ANY,  false},
        {"{" GOOD,                  EVENT_FORM_ANY,  false},
        {"{" GOOD "}x",             EVENT_FORM_ANY,  false},
        {"{" GOOD ",\"id\":\"j\"}", EVENT_FORM_ANY,  false},
        {"{\"id\":\"\xff\"}",       EVENT_FORM_ANY,  false},
        {"{\"id\":\"\\ud800\"}",    EVENT_FORM_ANY,  false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct event_list list;
        struct error error;
        enum status status =
            event_list_read(bytes_text(rows[i].text), rows[i].form, &arena, &list, &error);
        cr_assert_eq(status == STATUS_OK, rows[i].is_taken, "%s", rows[i].text);
    }
}

// Cut after each of its bytes, an event is no JSON.
Test(event_read, refuses_an_event_that_is_cut)
{
    static const char text[] =
        "[{" GOOD ",\"time\":\"2026-11-22T10:00:00Z\",\"data\":{\"a\":[1,-2.5e3,\"\\u00e4\"]}}]";
    for (size_t size = 0; size < sizeof text - 1; size++) {
        scoped(arena_done) struct arena arena = {0};
        struct event_list list;
        struct error error;
        cr_assert_eq(
            event_list_read(bytes_of(text, size), EVENT_FORM_ANY, &arena, &list, &error),
            STATUS_INVALID);
    }
}

static const struct {
    const char *text;
    enum unpack_type type;
    const char *string;  // of UNPACK_STR
} NUMBERS[] = {
    {"0",                                UNPACK_UINT,   NULL                              },
    {"-0",                               UNPACK_UINT,   NULL                              },
    {"18446744073709551615",             UNPACK_UINT,   NULL                              },
    {"18446744073709551616",             UNPACK_STR,    "18446744073709551616"            },
    {"-1",                               UNPACK_INT,    NULL                              },
    {"-9223372036854775808",             UNPACK_INT,    NULL                              },
    {"-9223372036854775809",             UNPACK_STR,    "-9223372036854775809"            },
    {"0.1",                              UNPACK_DOUBLE, NULL                              },
    {"1.50",                             UNPACK_DOUBLE, NULL                              },
    {"-2.5e3",                           UNPACK_DOUBLE, NULL                              },
    {"0.1234567890123456789",            UNPACK_STR,    "0.1234567890123456789"           },
    {"0.123456789012345678",             UNPACK_STR,    "0.123456789012345678"            },
    {"1e400",                            UNPACK_STR,    "1e400"                           },
    {"123456789012345678901234567890.5", UNPACK_STR,    "123456789012345678901234567890.5"},
};

Test(event_read, numbers_keep_their_digits)
{
    for (size_t i = 0; i < sizeof NUMBERS / sizeof NUMBERS[0]; i++) {
        scoped(arena_done) struct arena arena = {0};
        scoped(buffer_done) struct buffer out = {0};
        struct json *root;
        struct error error;
        struct unpack_item item;
        cr_assert_eq(
            json_parse(bytes_text(NUMBERS[i].text), NULL, &arena, &root, &error), STATUS_OK);
        cr_assert(json_pack(root, 0, &out));
        struct cursor in = cursor_over(buffer_view(&out));
        cr_assert(unpack_next(&in, &item));
        cr_assert_eq(cursor_left(&in), 0);
        cr_assert_eq(item.type, NUMBERS[i].type, "%s", NUMBERS[i].text);
        if (item.type == UNPACK_STR)
            cr_assert(bytes_equal(item.text, bytes_text(NUMBERS[i].string)));
    }
}
