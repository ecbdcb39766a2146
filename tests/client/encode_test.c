#include "client/encode.h"

#include "client/uuid7.h"

#include <criterion/criterion.h>
#include <msgpack.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVENT(...)                                                                                 \
    {                                                                                              \
        .subject = "s", .type = "t", __VA_ARGS__                                                   \
    }

static const int64_t NOW_NS = 1763809200123456789;

// What an independent decoder makes of an entry.
struct decoded {
    msgpack_unpacked unpacked;
    struct buffer buffer;
    struct encoded entry;
    const msgpack_object *time;
    const msgpack_object_map *record;
};

static void
decoded_done(struct decoded *decoded)
{
    msgpack_unpacked_destroy(&decoded->unpacked);
    buffer_done(&decoded->buffer);
}

static void
decoded_read(struct decoded *decoded, const struct tally_event *event)
{
    *decoded = (struct decoded){.buffer = {.limit = ENCODE_SIZE_MAX}};
    cr_assert_eq(encode_event(event, NOW_NS, &decoded->buffer, &decoded->entry), ENCODE_DONE);
    struct bytes bytes = decoded->entry.bytes;
    size_t offset = 0;
    msgpack_unpacked_init(&decoded->unpacked);
    cr_assert_eq(
        msgpack_unpack_next(&decoded->unpacked, (const char *)bytes.data, bytes.size, &offset),
        MSGPACK_UNPACK_SUCCESS);
    cr_assert_eq(offset, bytes.size, "one value and nothing behind it");
    cr_assert_eq(decoded->unpacked.data.type, MSGPACK_OBJECT_ARRAY);
    cr_assert_eq(decoded->unpacked.data.via.array.size, 2);
    decoded->time = &decoded->unpacked.data.via.array.ptr[0];
    cr_assert_eq(decoded->unpacked.data.via.array.ptr[1].type, MSGPACK_OBJECT_MAP);
    decoded->record = &decoded->unpacked.data.via.array.ptr[1].via.map;
}

static const msgpack_object *
record_find(const struct decoded *decoded, const char *key)
{
    for (uint32_t i = 0; i < decoded->record->size; i++) {
        const msgpack_object_str *name = &decoded->record->ptr[i].key.via.str;
        if (name->size == strlen(key) && memcmp(name->ptr, key, name->size) == 0)
            return &decoded->record->ptr[i].val;
    }
    return NULL;
}

static void
assert_text(const msgpack_object *object, const char *text)
{
    cr_assert_not_null(object);
    cr_assert_eq(object->type, MSGPACK_OBJECT_STR);
    cr_assert_eq(object->via.str.size, strlen(text));
    cr_assert_eq(memcmp(object->via.str.ptr, text, strlen(text)), 0);
}

static void
assert_time(const struct decoded *decoded, int64_t time_ns)
{
    uint8_t expected[8];
    uint32_t seconds = __builtin_bswap32((uint32_t)(time_ns / 1000000000));
    uint32_t rest = __builtin_bswap32((uint32_t)(time_ns % 1000000000));
    memcpy(expected, &seconds, 4);
    memcpy(expected + 4, &rest, 4);
    cr_assert_eq(decoded->time->type, MSGPACK_OBJECT_EXT);
    cr_assert_eq(decoded->time->via.ext.type, 0);
    cr_assert_eq(decoded->time->via.ext.size, 8);
    cr_assert_eq(memcmp(decoded->time->via.ext.ptr, expected, 8), 0);
}

Test(encode, writes_every_field)
{
    const uint8_t map[] = {0x81, 0xa1, 'k', 0x07};
    const struct tally_property properties[] = {
        {"text",   TALLY_TEXT,    {.text = "hello"}             },
        {"int",    TALLY_INT,     {.integer = -5}               },
        {"double", TALLY_DOUBLE,  {.real = 0.5}                 },
        {"bool",   TALLY_BOOL,    {.boolean = true}             },
        {"null",   TALLY_NULL,    {0}                           },
        {"map",    TALLY_MSGPACK, {.msgpack = {map, sizeof map}}},
    };
    const struct tally_event event = {
        .subject = "acme",
        .type = "api_call",
        .id = "id-1",
        .source = "gateway",
        .value = "12",
        .time_ns = 1700000000000000001,
        .properties = properties,
        .properties_count = sizeof properties / sizeof properties[0],
        .tag = 77,
    };
    scoped(decoded_done) struct decoded decoded;
    decoded_read(&decoded, &event);
    cr_assert_eq(decoded.record->size, 11);
    assert_time(&decoded, event.time_ns);
    assert_text(record_find(&decoded, "subject"), "acme");
    assert_text(record_find(&decoded, "type"), "api_call");
    assert_text(record_find(&decoded, "id"), "id-1");
    assert_text(record_find(&decoded, "source"), "gateway");
    cr_assert_eq(record_find(&decoded, "value")->via.u64, 12);
    assert_text(record_find(&decoded, "text"), "hello");
    cr_assert_eq(record_find(&decoded, "int")->via.i64, -5);
    cr_assert_eq(record_find(&decoded, "double")->type, MSGPACK_OBJECT_FLOAT64);
    cr_assert_eq(record_find(&decoded, "bool")->via.boolean, true);
    cr_assert_eq(record_find(&decoded, "null")->type, MSGPACK_OBJECT_NIL);
    cr_assert_eq(record_find(&decoded, "map")->via.map.ptr[0].val.via.u64, 7);
    cr_assert_eq(decoded.entry.id_offset, ENCODE_HAS_ID);
    cr_assert_eq(decoded.entry.tag, 77);
}

Test(encode, leaves_out_what_is_not_said)
{
    const struct tally_event event = {.subject = "s", .type = "t", .source = ""};
    scoped(decoded_done) struct decoded decoded;
    decoded_read(&decoded, &event);
    cr_assert_eq(decoded.record->size, 3, "subject, type, id");
    assert_time(&decoded, NOW_NS);
    const msgpack_object *id = record_find(&decoded, "id");
    cr_assert_eq(id->via.str.size, UUID7_TEXT_SIZE, "room for an id");
    cr_assert_eq(
        (const uint8_t *)id->via.str.ptr - decoded.entry.bytes.data,
        (ptrdiff_t)decoded.entry.id_offset);
}

Test(encode, sends_small_whole_values_as_integers)
{
    static const struct {
        const char *value;
        bool is_integer;
        int64_t integer;
    } rows[] = {
        {"0",                     true,  0        },
        {"-0",                    true,  0        },
        {"+7",                    true,  7        },
        {"1e3",                   true,  1000     },
        {"12.000",                true,  12       },
        {"-1",                    true,  -1       },
        {"9223372036854775807",   true,  INT64_MAX},
        {"-9223372036854775808",  true,  INT64_MIN},
        {"9223372036854775808",   false, 0        },
        {"-9223372036854775809",  false, 0        },
        {"9999999999999999999",   false, 0        },
        {"0.1",                   false, 0        },
        {"1.0000000000000000001", false, 0        },
        {"1e-18",                 false, 0        },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct tally_event event = {.subject = "s", .type = "t", .value = rows[i].value};
        scoped(decoded_done) struct decoded decoded;
        decoded_read(&decoded, &event);
        const msgpack_object *value = record_find(&decoded, "value");
        if (!rows[i].is_integer)
            assert_text(value, rows[i].value);
        else
            cr_assert_eq(value->via.i64, rows[i].integer, "%s", rows[i].value);
    }
}

// A text of one repeated character; the caller frees it.
static char *
text_of(size_t size)
{
    char *text = calloc(size + 1, 1);
    memset(text, 'x', size);
    return text;
}

static enum encode_result
result_of(const struct tally_event *event)
{
    scoped(buffer_done) struct buffer buffer = {.limit = ENCODE_SIZE_MAX};
    struct encoded entry;
    return encode_event(event, NOW_NS, &buffer, &entry);
}

Test(encode, holds_the_sizes_of_the_envelope)
{
    enum field { SUBJECT, TYPE, ID, SOURCE };
    static const struct {
        enum field field;
        size_t size;
        enum encode_result result;
    } rows[] = {
        {SUBJECT, 0,   ENCODE_INVALID},
        {SUBJECT, 1,   ENCODE_DONE   },
        {SUBJECT, 255, ENCODE_DONE   },
        {SUBJECT, 256, ENCODE_INVALID},
        {TYPE,    0,   ENCODE_INVALID},
        {TYPE,    1,   ENCODE_DONE   },
        {TYPE,    100, ENCODE_DONE   },
        {TYPE,    101, ENCODE_INVALID},
        {ID,      0,   ENCODE_INVALID},
        {ID,      1,   ENCODE_DONE   },
        {ID,      128, ENCODE_DONE   },
        {ID,      129, ENCODE_INVALID},
        {SOURCE,  0,   ENCODE_DONE   },
        {SOURCE,  255, ENCODE_DONE   },
        {SOURCE,  256, ENCODE_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = text_of(rows[i].size);
        struct tally_event event = {.subject = "s", .type = "t", .id = "i", .source = "o"};
        const char **fields[] = {&event.subject, &event.type, &event.id, &event.source};
        *fields[rows[i].field] = text;
        cr_assert_eq(result_of(&event), rows[i].result, "row %zu", i);
        free(text);
    }
}

Test(encode, a_map_of_properties_may_have_any_names)
{
    static const uint8_t map[] = {0x82, 0xa5, 'v', 'a', 'l', 'u', 'e', 7, 0xa2, 'i', 'd', 8};
    static const struct tally_property properties[] = {
        {"k",  TALLY_INT,        {.integer = 1}                },
        {NULL, TALLY_PROPERTIES, {.msgpack = {map, sizeof map}}},
    };
    static const struct tally_event event =
        EVENT(.id = "i", .properties = properties, .properties_count = 2);
    struct decoded decoded;
    decoded_read(&decoded, &event);
    cr_assert_eq(decoded.record->size, 5);
    const msgpack_object_kv *last = &decoded.record->ptr[4];
    cr_assert_eq(last->key.type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    cr_assert_eq(last->key.via.u64, 0);
    cr_assert_eq(last->val.type, MSGPACK_OBJECT_MAP);
    cr_assert_eq(last->val.via.map.size, 2);
    cr_assert_eq(last->val.via.map.ptr[0].val.via.u64, 7);
    decoded_done(&decoded);
}

Test(encode, refuses_what_breaks_the_envelope)
{
    static const uint8_t cut[] = {0x81, 0xa1, 'k'}, two[] = {1, 2}, never[] = {0xc1};
    static const uint8_t deep[] = {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 1};
    static const uint8_t many[] = {0xdd, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t map[] = {0x81, 0xa1, 'k', 1}, list[] = {0x91, 1};
    static const struct tally_property properties[] = {
        {"subject", TALLY_INT,                    {0}                               },
        {"type",    TALLY_INT,                    {0}                               },
        {"id",      TALLY_INT,                    {0}                               },
        {"source",  TALLY_INT,                    {0}                               },
        {"value",   TALLY_INT,                    {0}                               },
        {NULL,      TALLY_INT,                    {0}                               },
        {"k",       TALLY_TEXT,                   {.text = NULL}                    },
        {"k",       TALLY_MSGPACK,                {.msgpack = {NULL, 0}}            },
        {"k",       TALLY_MSGPACK,                {.msgpack = {cut, 0}}             },
        {"k",       TALLY_MSGPACK,                {.msgpack = {cut, sizeof cut}}    },
        {"k",       TALLY_MSGPACK,                {.msgpack = {two, sizeof two}}    },
        {"k",       TALLY_MSGPACK,                {.msgpack = {never, sizeof never}}},
        {"k",       TALLY_MSGPACK,                {.msgpack = {deep, sizeof deep}}  },
        {"k",       TALLY_MSGPACK,                {.msgpack = {many, sizeof many}}  },
        {"k",       TALLY_PROPERTIES,             {.msgpack = {map, sizeof map}}    },
        {NULL,      TALLY_PROPERTIES,             {.msgpack = {NULL, 0}}            },
        {NULL,      TALLY_PROPERTIES,             {.msgpack = {list, sizeof list}}  },
        {NULL,      TALLY_PROPERTIES,             {.msgpack = {cut, sizeof cut}}    },
        {NULL,      TALLY_PROPERTIES,             {.msgpack = {deep, sizeof deep}}  },
        {"k",       (enum tally_property_kind)99, {0}                               },
    };
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++) {
        struct tally_event event = {
            .subject = "s", .type = "t", .properties = &properties[i], .properties_count = 1};
        cr_assert_eq(result_of(&event), ENCODE_INVALID, "property %zu", i);
    }
    static const struct tally_event events[] = {
        {.type = "t"},
        {.subject = "s"},
        EVENT(.properties = NULL, .properties_count = 1),
        EVENT(.properties = properties, .properties_count = SIZE_MAX),
        EVENT(.value = ""),
        EVENT(.value = "one"),
        EVENT(.value = "1,5"),
        EVENT(.value = " 1"),
        EVENT(.value = "nan"),
        EVENT(.value = "inf"),
        EVENT(.value = "0x10"),
        EVENT(.value = "10000000000000000000"),
        EVENT(.value = "-1e19"),
        EVENT(.value = "1e999999999"),
        EVENT(.time_ns = -1),
        EVENT(.time_ns = 4294967296000000000),
    };
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        cr_assert_eq(result_of(&events[i]), ENCODE_INVALID, "event %zu", i);
}

Test(encode, accepts_the_ends_of_what_is_allowed)
{
    static const uint8_t deep[] = {0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 1};
    static const struct tally_property properties[] = {
        {"",        TALLY_TEXT,    {.text = ""}                    },
        {"Subject", TALLY_INT,     {.integer = INT64_MIN}          },
        {"time",    TALLY_DOUBLE,  {.real = (double)INFINITY}      },
        {"k",       TALLY_MSGPACK, {.msgpack = {deep, sizeof deep}}},
        {"k",       TALLY_MSGPACK, {.msgpack = {deep, sizeof deep}}},
    };
    const struct tally_event events[] = {
        EVENT(.time_ns = 1),
        EVENT(.time_ns = 4294967295999999999),
        EVENT(.value = "9999999999999999999.999999999999999999"),
        EVENT(.properties = properties, .properties_count = 5),
        {.subject = "\xff\xfe", .type = "t"},
    };
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        cr_assert_eq(result_of(&events[i]), ENCODE_DONE, "event %zu", i);
}

Test(encode, takes_64_KiB_and_not_a_byte_more)
{
    struct tally_property property = {"k", TALLY_TEXT, {.text = ""}};
    const struct tally_event event = {
        .subject = "s", .type = "t", .id = "i", .properties = &property, .properties_count = 1};
    scoped(buffer_done) struct buffer buffer = {.limit = ENCODE_SIZE_MAX};
    struct encoded entry;
    cr_assert_eq(encode_event(&event, NOW_NS, &buffer, &entry), ENCODE_DONE);
    // An empty text is one byte; one of this size has a header of three.
    size_t fitting = ENCODE_SIZE_MAX - entry.bytes.size - 2;
    char *text = text_of(fitting);
    property.text = text;
    buffer_reset(&buffer);
    cr_assert_eq(encode_event(&event, NOW_NS, &buffer, &entry), ENCODE_DONE);
    cr_assert_eq(entry.bytes.size, ENCODE_SIZE_MAX);
    free(text);
    text = text_of(fitting + 1);
    property.text = text;
    cr_assert_eq(result_of(&event), ENCODE_NO_ROOM);
    free(text);
}
