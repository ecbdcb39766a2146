#include "ingest/decode_shape.h"

#include "ingest/decode_alike.h"
#include "tests/ingest/same_event.h"

#include <criterion/criterion.h>

#include <stdlib.h>

// Entries of which the first three are the same: by then their shape is known.
enum { TAUGHT = 3, ENTRY_MAX = 200 };

struct kind {
    const char *name;
    const char *record;  // behind the map's header
    size_t size;
    uint8_t pairs;
};

#define KIND(name, pairs, record)                                                                  \
    {                                                                                              \
        name, record, sizeof(record) - 1, pairs                                                    \
    }

static const struct kind KINDS[] = {
    KIND(
        "all",
        7,
        "\xa7subject\xa3s-1\xa4type\xa3"
        "api\xa2id\xa4i-17\xa6source\xa1x\xa5value\x05"
        "\xa6tokens\xcd\x01\x02\xa6region\xa4west"),
    KIND("no type, in pieces", 4, "\xa1k\x01\xa7subject\xa1s\xa1l\xc3\xa2id\xa1i"),
    KIND("a double", 2, "\xa7subject\xa1s\xa5value\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
    KIND(
        "a text as value",
        3,
        "\xa5value\xa4"
        "12.5\xa7subject\xa1s\xa6source\xa0"),
    KIND("nil", 4, "\xa6source\xc0\xa5value\xc0\xa7subject\xa1s\xa2id\xc0"),
    KIND(
        "nested",
        2,
        "\xa7subject\xa1s\xa4tree\x82\xa1"
        "a\x92\x01\xa1x\xa1"
        "b\x81\xa1"
        "c\xd4\x05\x06"),
    KIND("an empty text at the end", 2, "\xa7subject\xa1s\xa6source\xa0"),
    KIND("properties in a map", 2, "\x00\x81\xa1k\xa1v\xa7subject\xa1s"),
};

enum { KINDS_COUNT = sizeof KINDS / sizeof KINDS[0] };

static size_t
kind_write(const struct kind *kind, uint8_t *out)
{
    static const uint8_t head[] = {0x92, 0xd7, 0x00, 0x65, 0, 0, 0, 0, 0, 0, 1};
    memcpy(out, head, sizeof head);
    out[sizeof head] = (uint8_t)(0x80 | kind->pairs);
    memcpy(out + sizeof head + 1, kind->record, kind->size);
    return sizeof head + 1 + kind->size;
}

static enum refusal
read_next(
    struct decode_layout *layout, const struct frame *frame, struct cursor *in, uint32_t index)
{
    struct cursor plain_in = *in;
    struct decode_stats plain_stats = {0}, stats = {0};
    struct event plain, event;
    enum refusal expected = decode_entry(frame, &plain_in, index, &plain, &plain_stats);
    cr_assert_eq(decode_entry_alike(layout, frame, in, index, &event, &stats), expected);
    cr_assert_eq(in->at, plain_in.at);
    cr_assert_eq(stats.values_rounded, plain_stats.values_rounded);
    cr_assert(event_is_same(&event, &plain));
    return expected;
}

// A frame of so many entries, which is looked through with the layout's shape. Its bytes are of
// exactly their size, and the caller's to free.
static uint8_t *
frame_look_at(
    struct decode_layout *layout, struct bytes first, struct bytes last, struct frame *out)
{
    uint8_t *bytes = malloc(first.size + last.size);
    cr_assert_not_null(bytes);
    memcpy(bytes, first.data, first.size);
    memcpy(bytes + first.size, last.data, last.size);
    *out = (struct frame){
        .mode = FRAME_FORWARD,
        .tag = bytes_text("tag"),
        .chunk = bytes_text("chunk"),
        .entries = bytes_of(bytes, first.size + last.size),
        .entries_count = TAUGHT + (last.size > 0),
    };
    struct frame_walk walk = {.shape = &layout->shape.bytes};
    cr_assert_eq(frame_look(out, SIZE_MAX, &walk), FRAME_FINE);
    cr_assert(out->is_whole);
    return bytes;
}

// Reads the entries, then the same and another, which is looked at with the shape of the first.
// Returns what became of the last.
static enum refusal
read_taught(struct decode_layout *layout, struct bytes entries, struct bytes last)
{
    enum refusal refusal = REFUSAL_NONE;
    for (uint32_t round = 0; round < 2; round++) {
        struct frame frame;
        const struct bytes behind = round == 0 ? bytes_of(last.data, 0) : last;
        uint8_t *bytes = frame_look_at(layout, entries, behind, &frame);
        struct cursor in = cursor_over(frame.entries);
        for (uint32_t i = 0; i < frame.entries_count; i++)
            refusal = read_next(layout, &frame, &in, i);
        cr_assert_eq(cursor_left(&in), 0);
        free(bytes);
    }
    return refusal;
}

// One byte of an entry replaced by any other, read with the shape of the entry that it was: by its
// shape or not, it is what it is without.
Test(decode_shape, reads_as_decode_does_whatever_byte_is_another)
{
    for (size_t kind = 0; kind < KINDS_COUNT; kind++) {
        uint8_t entries[TAUGHT * ENTRY_MAX], last[ENTRY_MAX];
        uint32_t by_shape = 0, tried = 0;
        const size_t size = kind_write(&KINDS[kind], entries);
        memcpy(entries + size, entries, size);
        memcpy(entries + 2 * size, entries, size);
        for (size_t at = 0; at < size; at++) {
            for (int byte = 0; byte < 256; byte += at < 12 ? 1 : 3) {
                memcpy(last, entries, size);
                last[at] = (uint8_t)byte;
                struct cursor whole = cursor_over(bytes_of(last, size));
                if (!unpack_skip(&whole, UNPACK_DEPTH_MAX) || cursor_left(&whole) > 0)
                    continue;
                struct decode_layout layout = {0};
                (void)read_taught(&layout, bytes_of(entries, TAUGHT * size), bytes_of(last, size));
                tried++;
                // Who reads by the shape notes nothing.
                by_shape += layout.shape.bytes.size == size && layout.shape.last_size == size &&
                            unpack_shape_fits(&layout.shape.bytes, last);
            }
        }
        bool has_shape = KINDS[kind].record[0] != 0;
        cr_assert_gt(tried, 500, "%s", KINDS[kind].name);
        cr_assert_eq(by_shape > 200, has_shape, "%s: %u", KINDS[kind].name, by_shape);
    }
}

// Entries of one shape read with that of another.
Test(decode_shape, reads_others_as_decode_does)
{
    for (size_t first = 0; first < KINDS_COUNT; first++) {
        for (size_t other = 0; other < KINDS_COUNT; other++) {
            uint8_t entries[TAUGHT * ENTRY_MAX], last[ENTRY_MAX];
            struct decode_layout layout = {0};
            const size_t size = kind_write(&KINDS[first], entries);
            memcpy(entries + size, entries, size);
            memcpy(entries + 2 * size, entries, size);
            const struct bytes rest = {last, kind_write(&KINDS[other], last)};
            (void)read_taught(&layout, bytes_of(entries, TAUGHT * size), rest);
        }
    }
}

// Two of the same size, whose fields lie elsewhere: what the walk found out about entries of one
// shape is not believed when another was learnt since, nor of another layout's.
Test(decode_shape, knows_what_it_was_compared_with)
{
    static const struct kind kinds[2] = {
        KIND("a", 3, "\xa7subject\xa1s\xa2id\xa1i\xa1k\xa1v"),
        KIND("b", 3, "\xa1k\xa1v\xa2id\xa1i\xa7subject\xa1s"),
    };
    uint8_t entries[2][TAUGHT * ENTRY_MAX];
    struct bytes all[2];
    for (size_t i = 0; i < 2; i++) {
        const size_t size = kind_write(&kinds[i], entries[i]);
        memcpy(entries[i] + size, entries[i], size);
        memcpy(entries[i] + 2 * size, entries[i], size);
        all[i] = bytes_of(entries[i], TAUGHT * size);
    }
    cr_assert_eq(all[0].size, all[1].size);
    struct decode_layout layout = {0}, other = {0};
    const struct bytes none = bytes_of(entries, 0);
    (void)read_taught(&layout, all[0], none);
    (void)read_taught(&other, all[1], none);
    cr_assert_eq(layout.shape.bytes.stamp, other.shape.bytes.stamp);
    struct frame frame;
    uint8_t *bytes = frame_look_at(&layout, all[0], none, &frame);
    cr_assert_eq(frame.alike, TAUGHT);
    struct cursor in = cursor_over(frame.entries), again = in;
    cr_assert_eq(read_next(&other, &frame, &again, 0), REFUSAL_NONE);
    cr_assert_eq(read_next(&layout, &frame, &in, 0), REFUSAL_NONE);
    layout.shape.wait = 0;
    (void)read_taught(&layout, all[1], none);
    cr_assert_gt(layout.shape.bytes.stamp, frame.alike_stamp);
    cr_assert_eq(read_next(&layout, &frame, &in, 1), REFUSAL_NONE);
    free(bytes);
}

// The type may be the tag, which the shape does not know: it is looked at for each.
Test(decode_shape, refuses_a_tag_that_is_no_type)
{
    static uint8_t long_tag[EVENT_TYPE_MAX + 1];
    uint8_t entry[ENTRY_MAX];
    struct decode_layout layout = {0};
    const size_t size = kind_write(&KINDS[1], entry);
    struct frame frame = {
        .mode = FRAME_FORWARD,
        .tag = bytes_text("tag"),
        .entries = bytes_of(entry, size),
        .entries_count = 1,
        .is_whole = true,
    };
    for (uint32_t i = 0; i <= TAUGHT; i++) {
        struct cursor in = cursor_over(frame.entries);
        cr_assert_eq(read_next(&layout, &frame, &in, 0), REFUSAL_NONE);
    }
    cr_assert_eq(layout.shape.bytes.size, size);
    for (size_t tag = 0; tag <= sizeof long_tag; tag += sizeof long_tag) {
        struct cursor in = cursor_over(frame.entries);
        frame.tag = bytes_of(long_tag, tag);
        cr_assert_eq(read_next(&layout, &frame, &in, 0), REFUSAL_TYPE_INVALID);
    }
}

// Where its fields lie is counted in bytes.
Test(decode_shape, leaves_large_entries_alone)
{
    static uint8_t entry[2 * UNPACK_SHAPE_MAX];
    for (size_t text = 200; text < 255; text++) {
        struct decode_layout layout = {0};
        size_t size =
            kind_write(&(struct kind){.record = "\xa7subject", .size = 8, .pairs = 1}, entry);
        entry[size] = 0xd9;
        entry[size + 1] = (uint8_t)text;
        size += 2 + text;
        struct frame frame = {
            .mode = FRAME_FORWARD,
            .tag = bytes_text("tag"),
            .entries = bytes_of(entry, size),
            .entries_count = 1,
            .is_whole = true,
        };
        for (uint32_t i = 0; i <= TAUGHT; i++) {
            struct cursor in = cursor_over(frame.entries);
            cr_assert_eq(read_next(&layout, &frame, &in, 0), REFUSAL_NONE);
        }
        cr_assert_eq(layout.shape.bytes.size, size < UNPACK_SHAPE_MAX ? size : 0, "%zu", size);
    }
}
