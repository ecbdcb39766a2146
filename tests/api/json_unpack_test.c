#include "api/json_unpack.h"

#include <criterion/criterion.h>

#define ROW(count, msgpack, json)                                                                  \
    {                                                                                              \
        {(const uint8_t *)(msgpack), sizeof(msgpack) - 1}, (count), (json)                         \
    }

static const struct {
    struct bytes pairs;
    uint32_t count;
    const char *json;
} ROWS[] = {
    ROW(0, "", "{}"),
    ROW(1,
        "\xa1"
        "a\x01",
        "{\"a\":1}"),
    ROW(1,
        "\xa1"
        "a\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        "{\"a\":18446744073709551615}"),
    ROW(1,
        "\xa1"
        "a\xff",
        "{\"a\":-1}"),
    ROW(1,
        "\xa1"
        "a\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a",
        "{\"a\":0.1}"),
    ROW(1,
        "\xa1"
        "a\xca\x3f\x80\x00\x00",
        "{\"a\":1}"),
    ROW(1,
        "\xa1"
        "a\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c",
        "{\"a\":1.0000000000000001e+300}"),
    ROW(1,
        "\xa1"
        "a\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        "{\"a\":null}"),
    ROW(1,
        "\xa1"
        "a\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        "{\"a\":null}"),
    ROW(1,
        "\xa1"
        "a\xc0",
        "{\"a\":null}"),
    ROW(1,
        "\xa1"
        "a\xd4\x01z",
        "{\"a\":null}"),
    ROW(1,
        "\xa1"
        "a\xc4\x01\xff",
        "{\"a\":null}"),
    ROW(1,
        "\xc4\x01"
        "a\xc4\x01z",
        "{\"a\":\"z\"}"),
    ROW(1,
        "\xa1"
        "a\x93\xc3\x80\x90",
        "{\"a\":[true,{},[]]}"),
    ROW(2,
        "\xa1"
        "a\x01\xa1"
        "a\x02",
        "{\"a\":1}"),
    ROW(2,
        "\xa1\xff\x01\xa1"
        "b\x02",
        "{\"b\":2}"),
    ROW(1,
        "\xa1"
        "a\x82\xa1x\x01\xa1x\x02",
        "{\"a\":{\"x\":1}}"),
    ROW(2,
        "\xa1"
        "a\x01",
        "{\"a\":1}"),
    ROW(1,
        "\xa1"
        "a",
        "{\"a\":null}"),
};

Test(json_unpack, writes_what_json_has_words_for)
{
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        scoped(buffer_done) struct buffer text = {0};
        struct json_out out = json_out_to(&text);
        json_unpack_pairs(ROWS[i].pairs, ROWS[i].count, &out);
        cr_assert(
            bytes_equal(buffer_view(&text), bytes_text(ROWS[i].json)),
            "%.*s instead of %s",
            (int)text.size,
            (const char *)text.data,
            ROWS[i].json);
    }
}
