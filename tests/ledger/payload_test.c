#include "ledger/entry.h"

#include <criterion/criterion.h>

static const struct hash_secret secret = {
    .bytes = {1, 2, 3}
};

static uint32_t
payload_of(const char *type, struct decimal value, uint32_t count, struct bytes properties)
{
    const struct entry entry = {
        .type = bytes_text(type),
        .value = value,
        .properties_count = count,
        .properties = properties,
    };
    return entry_payload_hash(&entry, &secret);
}

struct row {
    const char *name;
    uint32_t count;
    const char *a;
    size_t a_size;
    const char *b;
    size_t b_size;
    bool is_same;
};

#define ROW(name, count, a, b, is_same)                                                            \
    {                                                                                              \
        name, count, a, sizeof(a) - 1, b, sizeof(b) - 1, is_same                                   \
    }

static const struct row rows[] = {
    ROW("nothing", 0, "", "", true),
    ROW("order of pairs",
        2,
        "\xa1"
        "a"
        "\x01"
        "\xa1"
        "b"
        "\x02",
        "\xa1"
        "b"
        "\x02"
        "\xa1"
        "a"
        "\x01",
        true),
    ROW("values swapped",
        2,
        "\xa1"
        "a"
        "\x01"
        "\xa1"
        "b"
        "\x02",
        "\xa1"
        "a"
        "\x02"
        "\xa1"
        "b"
        "\x01",
        false),
    ROW("key and value swapped",
        1,
        "\xa1"
        "a"
        "\xa1"
        "b",
        "\xa1"
        "b"
        "\xa1"
        "a",
        false),
    ROW("integer width u8",
        1,
        "\xa1"
        "a"
        "\x05",
        "\xa1"
        "a"
        "\xcc\x05",
        true),
    ROW("integer width u64",
        1,
        "\xa1"
        "a"
        "\x05",
        "\xa1"
        "a"
        "\xcf\0\0\0\0\0\0\0\x05",
        true),
    ROW("integer width i32",
        1,
        "\xa1"
        "a"
        "\x05",
        "\xa1"
        "a"
        "\xd2\0\0\0\x05",
        true),
    ROW("negative widths",
        1,
        "\xa1"
        "a"
        "\xff",
        "\xa1"
        "a"
        "\xd3\xff\xff\xff\xff\xff\xff\xff\xff",
        true),
    ROW("sign",
        1,
        "\xa1"
        "a"
        "\x01",
        "\xa1"
        "a"
        "\xff",
        false),
    ROW("-1 and 2^64-1",
        1,
        "\xa1"
        "a"
        "\xff",
        "\xa1"
        "a"
        "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        false),
    ROW("text width",
        1,
        "\xa1"
        "a"
        "\xa1x",
        "\xa1"
        "a"
        "\xd9\x01x",
        true),
    ROW("text and bytes",
        1,
        "\xa1"
        "a"
        "\xa1x",
        "\xa1"
        "a"
        "\xc4\x01x",
        false),
    ROW("text and number",
        1,
        "\xa1"
        "a"
        "\xa1"
        "1",
        "\xa1"
        "a"
        "\x01",
        false),
    ROW("integer and double",
        1,
        "\xa1"
        "a"
        "\x01",
        "\xa1"
        "a"
        "\xcb\x3f\xf0\0\0\0\0\0\0",
        false),
    ROW("float and double",
        1,
        "\xa1"
        "a"
        "\xca\x3f\x80\0\0",
        "\xa1"
        "a"
        "\xcb\x3f\xf0\0\0\0\0\0\0",
        false),
    ROW("doubles",
        1,
        "\xa1"
        "a"
        "\xcb\x3f\xf0\0\0\0\0\0\0",
        "\xa1"
        "a"
        "\xcb\x3f\xf0\0\0\0\0\0\x01",
        false),
    ROW("zero and minus zero",
        1,
        "\xa1"
        "a"
        "\xcb\0\0\0\0\0\0\0\0",
        "\xa1"
        "a"
        "\xcb\x80\0\0\0\0\0\0\0",
        false),
    ROW("true and false",
        1,
        "\xa1"
        "a"
        "\xc3",
        "\xa1"
        "a"
        "\xc2",
        false),
    ROW("nil and false",
        1,
        "\xa1"
        "a"
        "\xc0",
        "\xa1"
        "a"
        "\xc2",
        false),
    ROW("false and zero",
        1,
        "\xa1"
        "a"
        "\xc2",
        "\xa1"
        "a"
        "\x00",
        false),
    ROW("nested order",
        1,
        "\xa1m\x82\xa1"
        "a"
        "\x01\xa1"
        "b"
        "\x02",
        "\xa1m\x82\xa1"
        "b"
        "\x02\xa1"
        "a"
        "\xcc\x01",
        true),
    ROW("map width",
        1,
        "\xa1m\x81\xa1"
        "a"
        "\x01",
        "\xa1m\xde\x00\x01\xa1"
        "a"
        "\x01",
        true),
    ROW("nested and flat",
        2,
        "\xa1m\x81\xa1"
        "a"
        "\x01"
        "\xa1z\x02",
        "\xa1"
        "a"
        "\x01"
        "\xa1m\x81\xa1z\x02",
        false),
    ROW("array order", 1, "\xa1l\x92\x01\x02", "\xa1l\x92\x02\x01", false),
    ROW("array width", 1, "\xa1l\x92\x01\x02", "\xa1l\xdc\x00\x02\x01\x02", true),
    ROW("array and map", 1, "\xa1l\x92\x01\x02", "\xa1l\x81\x01\x02", false),
    ROW("empty array and map", 1, "\xa1l\x90", "\xa1l\x80", false),
    ROW("ext types",
        1,
        "\xa1"
        "e\xd4\x01x",
        "\xa1"
        "e\xd4\x02x",
        false),
    ROW("a pair twice",
        2,
        "\xa1"
        "a"
        "\x01"
        "\xa1"
        "a"
        "\x01",
        "\xa1"
        "a"
        "\x01"
        "\xa1"
        "a"
        "\x02",
        false),
};

Test(payload, covers_meaning_and_not_bytes)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        uint32_t a = payload_of("t", DECIMAL_ONE, row->count, bytes_of(row->a, row->a_size));
        uint32_t b = payload_of("t", DECIMAL_ONE, row->count, bytes_of(row->b, row->b_size));
        cr_assert_eq(a == b, row->is_same, "%s", row->name);
    }
}

Test(payload, covers_type_and_value_but_not_time_or_identity)
{
    struct bytes none = bytes_of(NULL, 0);
    uint32_t one = payload_of("t", DECIMAL_ONE, 0, none);
    cr_assert_neq(one, payload_of("u", DECIMAL_ONE, 0, none));
    cr_assert_neq(one, payload_of("t", DECIMAL_ZERO, 0, none));
    cr_assert_neq(one, payload_of("t", (struct decimal){-DECIMAL_ONE.units}, 0, none));
    // Far above 64 bits: both halves count.
    struct decimal high = {DECIMAL_ONE.units + ((int128)1 << 70)};
    cr_assert_neq(one, payload_of("t", high, 0, none));
    const struct entry entry = {
        .type = bytes_text("t"),
        .value = DECIMAL_ONE,
        .time_ns = 5,
        .id = bytes_text("i"),
        .subject = bytes_text("s"),
        .source = bytes_text("x"),
        .flags = ENTRY_TIME_IS_ARRIVAL,
    };
    cr_assert_eq(one, entry_payload_hash(&entry, &secret));
}

Test(payload, needs_the_secret)
{
    struct hash_secret other;
    random_fill(&other, sizeof other);
    const struct entry entry = {
        .type = bytes_text("t"), .id = bytes_text("i"), .subject = bytes_text("s")};
    struct hash128 a, b;
    cr_assert_neq(entry_payload_hash(&entry, &secret), entry_payload_hash(&entry, &other));
    cr_assert(entry_identity(&entry, &secret, &a));
    cr_assert(entry_identity(&entry, &other, &b));
    cr_assert(a.low != b.low && (uint32_t)a.high != (uint32_t)b.high);
}

// Properties that ingest would not let through still have a hash, the same each time.
Test(payload, hashes_broken_properties_by_their_bytes)
{
    uint32_t a = payload_of("t", DECIMAL_ONE, 1, bytes_of("\xa1", 1));
    cr_assert_eq(a, payload_of("t", DECIMAL_ONE, 1, bytes_of("\xa1", 1)));
    cr_assert_neq(a, payload_of("t", DECIMAL_ONE, 1, bytes_of("\xa2", 1)));
    uint8_t deep[200];
    memset(deep, 0x91, sizeof deep);
    a = payload_of("t", DECIMAL_ONE, 1, bytes_of(deep, sizeof deep));
    deep[199] = 0x90;
    cr_assert_neq(a, payload_of("t", DECIMAL_ONE, 1, bytes_of(deep, sizeof deep)));
}

struct identity_row {
    const char *subject;
    const char *source;
    const char *id;
    bool is_chunk;
    uint32_t position;
};

Test(identity, differs_where_any_field_differs)
{
    // No two of these are one event, though many are the same bytes laid side by side.
    static const struct identity_row all[] = {
        {"s",  "x",  "i",  false, 0  },
        {"sx", "",   "i",  false, 0  },
        {"s",  "xi", "",   true,  0  },
        {"s",  "",   "xi", false, 0  },
        {"s",  "",   "i",  false, 0  },
        {"s",  "x",  "i",  true,  0  },
        {"s",  "x",  "i",  true,  1  },
        {"s",  "x",  "i",  true,  256},
        {"t",  "x",  "i",  false, 0  },
        {"s",  "x",  "j",  false, 0  },
    };
    struct hash128 seen[sizeof all / sizeof all[0]];
    size_t count = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const struct entry entry = {
            .subject = bytes_text(all[i].subject),
            .source = bytes_text(all[i].source),
            .id = bytes_text(all[i].id),
            .flags = all[i].is_chunk ? ENTRY_ID_IS_CHUNK : 0,
            .chunk_position = all[i].position,
        };
        if (!entry_identity(&entry, &secret, &seen[count]))
            continue;
        for (size_t j = 0; j < count; j++)
            cr_assert(seen[j].low != seen[count].low, "row %zu", i);
        count++;
    }
    cr_assert_eq(count, sizeof all / sizeof all[0] - 1, "one row has no id at all");
}

Test(identity, does_not_look_at_what_may_change)
{
    const struct entry a = {
        .subject = bytes_text("s"), .id = bytes_text("i"), .type = bytes_text("t"), .time_ns = 1};
    const struct entry b = {
        .subject = bytes_text("s"),
        .id = bytes_text("i"),
        .type = bytes_text("u"),
        .time_ns = 2,
        .value = DECIMAL_ONE,
        .chunk_position = 9,
        .flags = ENTRY_TIME_IS_ARRIVAL,
    };
    struct hash128 first, second;
    cr_assert(entry_identity(&a, &secret, &first));
    cr_assert(entry_identity(&b, &secret, &second));
    cr_assert(first.low == second.low && first.high == second.high);
}

Test(identity, is_missing_without_id_and_chunk)
{
    const struct entry entry = {.subject = bytes_text("s"), .source = bytes_text("x")};
    struct hash128 identity;
    cr_assert_not(entry_identity(&entry, &secret, &identity));
}
