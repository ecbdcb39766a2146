#include "base/pack.h"

#include <criterion/criterion.h>
#include <msgpack.h>

#include <signal.h>

struct row {
    const char *name;
    void (*write)(struct buffer *out);
    const char *bytes;
    size_t size;
};

#define ROW(function, literal)                                                                     \
    {                                                                                              \
#function, function, literal, sizeof(literal) - 1                                          \
    }

static void
nil(struct buffer *out)
{
    pack_nil(out);
}
static void
yes(struct buffer *out)
{
    pack_bool(out, true);
}
static void
no(struct buffer *out)
{
    pack_bool(out, false);
}
static void
fixint(struct buffer *out)
{
    pack_int(out, 127);
}
static void
negative(struct buffer *out)
{
    pack_int(out, -33);
}
static void
least(struct buffer *out)
{
    pack_int(out, INT64_MIN);
}
static void
most(struct buffer *out)
{
    pack_uint(out, UINT64_MAX);
}
static void
real(struct buffer *out)
{
    pack_double(out, 1.5);
}
static void
array(struct buffer *out)
{
    pack_array(out, 16);
}
static void
map(struct buffer *out)
{
    pack_map(out, 2);
}
static void
text(struct buffer *out)
{
    pack_text(out, "ack");
}
static void
empty(struct buffer *out)
{
    pack_str(out, bytes_of(NULL, 0));
}
static void
bin(struct buffer *out)
{
    pack_bin(out, bytes_of("\0\1", 2));
}
static void
moment(struct buffer *out)
{
    pack_event_time(out, 1700158546680590123);
}
static void
zero(struct buffer *out)
{
    pack_event_time(out, 0);
}
static void
last(struct buffer *out)
{
    pack_event_time(out, 4294967295999999999);
}

static const struct row rows[] = {
    ROW(nil, "\xC0"),
    ROW(yes, "\xC3"),
    ROW(no, "\xC2"),
    ROW(fixint, "\x7F"),
    ROW(negative, "\xD0\xDF"),
    ROW(least, "\xD3\x80\0\0\0\0\0\0\0"),
    ROW(most, "\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
    ROW(real, "\xCB\x3F\xF8\0\0\0\0\0\0"),
    ROW(array, "\xDC\0\x10"),
    ROW(map, "\x82"),
    ROW(text,
        "\xA3"
        "ack"),
    ROW(empty, "\xA0"),
    ROW(bin, "\xC4\x02\0\1"),
    ROW(moment, "\xD7\0\x65\x56\x5C\x52\x28\x90\xFB\x2B"),
    ROW(zero, "\xD7\0\0\0\0\0\0\0\0\0"),
    ROW(last, "\xD7\0\xFF\xFF\xFF\xFF\x3B\x9A\xC9\xFF"),
};

Test(pack, writes_what_the_format_says)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        scoped(buffer_done) struct buffer out = {0};
        rows[i].write(&out);
        cr_assert(
            bytes_equal(buffer_view(&out), bytes_of(rows[i].bytes, rows[i].size)),
            "%s",
            rows[i].name);
    }
}

Test(pack, an_independent_reader_understands_it)
{
    scoped(buffer_done) struct buffer out = {0};
    pack_map(&out, 2);
    pack_text(&out, "values");
    pack_array(&out, 3);
    pack_int(&out, -5);
    pack_uint(&out, 1u << 31);
    pack_double(&out, 0.25);
    pack_text(&out, "raw");
    pack_bin(&out, bytes_of("\xFF\0", 2));
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    cr_assert_eq(
        msgpack_unpack_next(&unpacked, (const char *)out.data, out.size, NULL),
        MSGPACK_UNPACK_SUCCESS);
    cr_assert_eq(unpacked.data.type, MSGPACK_OBJECT_MAP);
    const msgpack_object_kv *pairs = unpacked.data.via.map.ptr;
    const msgpack_object *items = pairs[0].val.via.array.ptr;
    cr_assert_eq(items[0].via.i64, -5);
    cr_assert_eq(items[1].via.u64, 1u << 31);
    cr_assert(items[2].via.f64 == 0.25);
    cr_assert_eq(pairs[1].val.type, MSGPACK_OBJECT_BIN);
    cr_assert_eq(pairs[1].val.via.bin.size, 2);
    msgpack_unpacked_destroy(&unpacked);
}

Test(pack, a_full_buffer_fails_and_stays_failed)
{
    for (size_t limit = 1; limit < 12; limit++) {
        scoped(buffer_done) struct buffer out = {.limit = limit};
        pack_text(&out, "twelve bytes");
        cr_assert(buffer_failed(&out));
        pack_nil(&out);
        cr_assert(buffer_failed(&out));
        cr_assert_leq(out.size, limit);
    }
}

Test(pack, a_time_before_1970_has_no_event_time, .signal = SIGABRT)
{
    struct buffer out = {0};
    pack_event_time(&out, -1);
}

Test(pack, a_time_after_2106_has_no_event_time, .signal = SIGABRT)
{
    struct buffer out = {0};
    pack_event_time(&out, 4294967296000000000);
}
