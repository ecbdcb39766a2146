#include "ingest/decode_alike.h"

#include "base/unpack.h"
#include "tests/ingest/entries.h"
#include "tests/ingest/same_event.h"
#include "tests/ingest/wire.h"

#include <criterion/criterion.h>

#include <stdlib.h>

enum { ENTRIES_COUNT = sizeof ENTRIES / sizeof ENTRIES[0] };

// Reads the frame's entries both ways, each way's cursor going on by itself. Returns how many were
// refused.
static uint32_t
both_ways(struct decode_layout *layout, const struct frame *frame)
{
    uint32_t refused = 0;
    struct cursor plain_in = cursor_over(frame->entries), in = plain_in;
    struct decode_stats plain_stats = {0}, stats = {0};
    for (uint32_t i = 0; i < frame->entries_count; i++) {
        struct event plain, event;
        enum refusal expected = decode_entry(frame, &plain_in, i, &plain, &plain_stats);
        enum refusal refusal = decode_entry_alike(layout, frame, &in, i, &event, &stats);
        cr_assert_eq(refusal, expected, "entry %u", i);
        cr_assert_eq(in.at, plain_in.at, "entry %u", i);
        cr_assert_eq(cursor_failed(&in), cursor_failed(&plain_in), "entry %u", i);
        cr_assert_eq(stats.values_rounded, plain_stats.values_rounded, "entry %u", i);
        // Of a refused one the reject log shows what was read.
        cr_assert(event_is_same(&event, &plain), "entry %u", i);
        refused += refusal != REFUSAL_NONE;
    }
    return refused;
}

// first, then three times second, then first, in bytes of exactly their size.
static uint32_t
pair_both_ways(struct bytes first, struct bytes second, const char *tag)
{
    scoped(buffer_done) struct buffer out = {0};
    struct decode_layout layout = {0};
    struct frame frame;
    pack_array(&out, 2);
    pack_text(&out, tag);
    pack_array(&out, 5);
    buffer_bytes(&out, first);
    for (uint32_t i = 0; i < 3; i++)
        buffer_bytes(&out, second);
    buffer_bytes(&out, first);
    uint8_t *copy = malloc(out.size);
    cr_assert_not_null(copy);
    memcpy(copy, out.data, out.size);
    cr_assert_eq(frame_parse(bytes_of(copy, out.size), &frame), FRAME_FINE);
    uint32_t refused = both_ways(&layout, &frame);
    free(copy);
    return refused;
}

Test(decode_alike, reads_as_decode_does_whatever_was_learnt)
{
    uint32_t refused = 0;
    for (size_t i = 0; i < ENTRIES_COUNT; i++)
        for (size_t j = 0; j < ENTRIES_COUNT; j++)
            refused += pair_both_ways(ENTRIES[i].entry, ENTRIES[j].entry, "tag");
    cr_assert_gt(refused, 1000);
}

// --- the same keys, other values ---

// An entry of seven keys; each part is msgpack of its own.
struct parts {
    struct bytes time, map, subject, type, id, source, value, property, last;
};

#define LONG                                                                                       \
    "\xd9\x28"                                                                                     \
    "0123456789012345678901234567890123456789"

// clang-format off
static const struct parts BASE = {
    BYTES("\xd7\x00\x65\x00\x00\x00\x00\x00\x00\x07"), BYTES("\x87"), BYTES("\xa1s"),
    BYTES("\xa1t"), BYTES("\xa2id"), BYTES("\xa0"), BYTES("\x05"), BYTES("\x01"),
    BYTES("\xb4" "01234567890123456789"),
};

static const struct bytes TIMES[] = {
    BYTES("\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    BYTES("\xd7\x00\xff\xff\xff\xff\x3b\x9a\xc9\xff"),
    BYTES("\xd7\x00\x00\x00\x00\x01\x3b\x9a\xca\x00"), BYTES("\xd7\x01zzzzzzzz"),
    BYTES("\xc7\x08\x00\x65\x00\x00\x00\x00\x00\x00\x07"), BYTES("\xc0"), BYTES("\x05"),
    BYTES("\xff"), BYTES("\xce\x65\x00\x00\x00"), BYTES("\xcb\x41\xd9\x40\x00\x00\x00\x00\x00"),
    BYTES("\xa1x"), BYTES("\x92\x05\x80"), BYTES("\x92\x05\x81\xa1k\x91\x01"), BYTES("\x80"),
};
static const struct bytes MAPS[] = {
    BYTES("\xde\x00\x07"), BYTES("\xdf\x00\x00\x00\x07"),
};
static const struct bytes TEXTS[] = {
    BYTES("\xa0"), BYTES("\xa1x"), BYTES("\xbf" "0123456789012345678901234567890"),
    BYTES("\xd9\x01x"), BYTES("\xd9\x00"), BYTES(LONG), BYTES("\xda\x00\x01x"), BYTES("\xc4\x01x"),
    BYTES("\xc0"), BYTES("\x01"), BYTES("\xc3"), BYTES("\x91\x01"), BYTES("\xd4\x00x"),
};
static const struct bytes VALUES[] = {
    BYTES("\x00"), BYTES("\x7f"), BYTES("\xff"), BYTES("\xcc\xff"), BYTES("\xcd\xff\xff"),
    BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), BYTES("\xd0\x80"), BYTES("\xa4" "12.5"),
    BYTES("\xb8" "0.1234567890123456789012"), BYTES("\xb5" "100000000000000000000"), BYTES("\xa1x"),
    BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), BYTES("\xca\x7f\xc0\x00\x00"), BYTES("\xc0"),
    BYTES("\xcb\x3b\xb9\x99\x99\x99\x99\x99\x9a"), BYTES("\x80"), BYTES("\xc3"),
};
static const struct bytes PROPERTIES[] = {
    BYTES("\x80"), BYTES("\x90"), BYTES("\x81\xa1k\x01"), BYTES("\x81\x01\x01"),
    BYTES("\x91\x91\x91\x91\x91\x91\x91\x90"), BYTES("\x91\x91\x91\x91\x91\x91\x91\x91\x90"),
    BYTES("\xcc\x01"), BYTES("\xcd\x01\x00"), BYTES("\xce\x01\x00\x00\x00"), BYTES("\xc4\x01x"),
    BYTES("\xd4\x00x"), BYTES("\xc0"), BYTES("\xc2"), BYTES("\xff"), BYTES(LONG), BYTES("\xa0"),
    BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
};
// clang-format on

static void
parts_pack(const struct parts *parts, struct buffer *out)
{
    pack_array(out, 2);
    buffer_bytes(out, parts->time);
    buffer_bytes(out, parts->map);
    pack_text(out, "subject");
    buffer_bytes(out, parts->subject);
    pack_text(out, "region");
    buffer_bytes(out, parts->property);
    pack_text(out, "type");
    buffer_bytes(out, parts->type);
    pack_text(out, "id");
    buffer_bytes(out, parts->id);
    pack_text(out, "source");
    buffer_bytes(out, parts->source);
    pack_text(out, "value");
    buffer_bytes(out, parts->value);
    pack_text(out, "a_longer_name");
    buffer_bytes(out, parts->last);
}

static uint32_t
parts_both_ways(const struct parts *parts)
{
    scoped(buffer_done) struct buffer base = {0};
    scoped(buffer_done) struct buffer other = {0};
    parts_pack(&BASE, &base);
    parts_pack(parts, &other);
    return pair_both_ways(buffer_view(&base), buffer_view(&other), "tag") +
           pair_both_ways(buffer_view(&other), buffer_view(&base), "");
}

// Sets the part at `offset` of parts to each of some values in turn.
static uint32_t
each_both_ways(size_t offset, const struct bytes *values, size_t count)
{
    uint32_t refused = 0;
    for (size_t i = 0; i < count; i++) {
        struct parts parts = BASE;
        memcpy((uint8_t *)&parts + offset, &values[i], sizeof values[i]);
        refused += parts_both_ways(&parts);
    }
    return refused;
}

#define EACH(part, values)                                                                         \
    each_both_ways(offsetof(struct parts, part), (values), sizeof(values) / sizeof((values)[0]))

Test(decode_alike, reads_every_kind_of_value_as_decode_does)
{
    cr_assert_gt(EACH(time, TIMES), 0);
    cr_assert_eq(EACH(map, MAPS), 0);
    cr_assert_gt(EACH(subject, TEXTS), 0);
    cr_assert_gt(EACH(type, TEXTS), 0);
    cr_assert_gt(EACH(id, TEXTS), 0);
    cr_assert_gt(EACH(source, TEXTS), 0);
    cr_assert_gt(EACH(value, VALUES), 0);
    cr_assert_gt(EACH(property, PROPERTIES), 0);
    // At the very end of the frame.
    cr_assert_gt(EACH(last, PROPERTIES), 0);
}

// --- what is learnt ---

static void
record_pack(struct buffer *out, const char *key, uint64_t value)
{
    pack_array(out, 2);
    pack_event_time(out, 1700000000000000000);
    pack_map(out, 3);
    pack_text(out, "subject");
    pack_text(out, "someone");
    pack_text(out, key);
    pack_uint(out, value);
    pack_text(out, "region");
    pack_text(out, "somewhere in the middle of nowhere");
}

static void
records_both_ways(struct decode_layout *layout, const char *key, uint64_t value)
{
    scoped(buffer_done) struct buffer out = {0};
    struct frame frame;
    pack_array(&out, 2);
    pack_text(&out, "tag");
    pack_array(&out, 2);
    record_pack(&out, key, value);
    record_pack(&out, key, value);
    cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE);
    cr_assert_eq(both_ways(layout, &frame), 0);
}

// What is read by the layout does not count down to the next one. No shape is to be learnt.
Test(decode_alike, learns_from_the_first_and_keeps_to_it)
{
    struct decode_layout layout = {.shape.wait = UINT32_MAX};
    records_both_ways(&layout, "value", 5);
    uint32_t wait = layout.wait;
    cr_assert_eq(layout.pairs, 3);
    cr_assert_eq(layout.properties, 1);
    cr_assert_gt(wait, 2);
    records_both_ways(&layout, "value", 5);
    records_both_ways(&layout, "value", 500000);
    cr_assert_eq(layout.wait, wait, "read by the layout");
    records_both_ways(&layout, "tokens", 5);
    cr_assert_eq(layout.wait, wait - 2, "read without it");
    for (uint32_t i = 0; i < wait; i++)
        records_both_ways(&layout, "tokens", 5);
    cr_assert_eq(layout.properties, 2, "learnt in time");
    wait = layout.wait;
    records_both_ways(&layout, "tokens", 5);
    cr_assert_eq(layout.wait, wait);
}

Test(decode_alike, leaves_long_keys_and_large_maps_alone)
{
    struct decode_layout layout = {0};
    records_both_ways(&layout, "a_key_of_16_char", 5);
    cr_assert_eq(layout.pairs, 0);
    layout = (struct decode_layout){0};
    records_both_ways(&layout, "a_key_of_15_cha", 5);
    cr_assert_eq(layout.pairs, 3);
    layout = (struct decode_layout){0};
    scoped(buffer_done) struct buffer out = {0};
    struct frame frame;
    pack_array(&out, 2);
    pack_text(&out, "tag");
    pack_array(&out, 1);
    pack_array(&out, 2);
    pack_uint(&out, 1);
    pack_map(&out, LAYOUT_PAIRS_MAX + 1);
    pack_text(&out, "subject");
    pack_text(&out, "s");
    for (uint32_t i = 0; i < LAYOUT_PAIRS_MAX; i++) {
        pack_text(&out, "k");
        pack_uint(&out, i);
    }
    cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE);
    cr_assert_eq(both_ways(&layout, &frame), 0);
    cr_assert_eq(layout.pairs, 0);
}

// An entry alone is no array of two.
Test(decode_alike, reads_messages_as_decode_does)
{
    struct decode_layout layout = {0};
    scoped(buffer_done) struct buffer out = {0};
    struct frame frame;
    records_both_ways(&layout, "value", 5);
    wire_message(&out, "api", &(struct wire){.time_ns = 1700167680000000001, .value = 9});
    cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE);
    cr_assert_eq(both_ways(&layout, &frame), 0);
}

// --- random ---

static uint64_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Bytes changed here and there, of entries of which one has been learnt.
Test(decode_alike, reads_changed_bytes_as_decode_does)
{
    uint64_t state = 11;
    uint64_t frames = 0, refused = 0, entries = 0;
    scoped(buffer_done) struct buffer base = {0};
    pack_array(&base, 2);
    pack_text(&base, "tag");
    pack_array(&base, 6);
    for (uint32_t i = 0; i < 3; i++) {
        parts_pack(&BASE, &base);
        record_pack(&base, "value", i);
    }
    uint8_t *changed = malloc(base.size);
    cr_assert_not_null(changed);
    for (uint32_t round = 0; round < 60000; round++) {
        memcpy(changed, base.data, base.size);
        for (uint32_t i = 0; i <= round % 4; i++)
            changed[random_next(&state) % base.size] = (uint8_t)random_next(&state);
        struct frame frame;
        struct decode_layout layout = {0};
        if (round % 2 == 0)
            records_both_ways(&layout, "value", 1);
        if (frame_parse(bytes_of(changed, base.size), &frame) != FRAME_FINE)
            continue;
        frames++;
        entries += frame.entries_count;
        refused += both_ways(&layout, &frame);
    }
    free(changed);
    cr_assert_gt(frames, 10000);
    cr_assert_gt(refused, 1000);
    cr_assert_gt(entries, 2 * refused);
}
