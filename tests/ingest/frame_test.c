#include "ingest/frame.h"

#include "base/unpack.h"
#include "tests/ingest/wire.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#define BYTES(literal)                                                                             \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

// 255 and 256 bytes of text are written by hand where needed; here the small shapes.
// Rows as one would read them aloud, not in columns.
// clang-format off
static const struct {
    const char *name;
    struct bytes bytes;
    struct frame frame;
} ACCEPTED[] = {
    {"heartbeat", BYTES("\xc0"), {.mode = FRAME_HEARTBEAT}},
    {"message",
     BYTES("\x93\xa1t\x01\x80"), {.mode = FRAME_MESSAGE, .tag = BYTES("t"), .entries_count = 1}},
    {"message with options",
     BYTES("\x94\xa1t\x01\x80\x80"),
     {.mode = FRAME_MESSAGE, .tag = BYTES("t"), .entries_count = 1}},
    {"message with nil options",
     BYTES("\x94\xa1t\xc0\x80\xc0"),
     {.mode = FRAME_MESSAGE, .tag = BYTES("t"), .entries_count = 1}},
    {"message whose record is none is a bad event, not a broken frame",
     BYTES("\x93\xa1t\x01\x05"), {.mode = FRAME_MESSAGE, .tag = BYTES("t"), .entries_count = 1}},
    {"forward without entries",
     BYTES("\x92\xa1t\x90"), {.mode = FRAME_FORWARD, .tag = BYTES("t"), .entries_count = 0}},
    {"forward",
     BYTES("\x92\xa1t\x92\x92\x01\x80\x92\x02\x80"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t"), .entries_count = 2}},
    {"forward with something that is no entry",
     BYTES("\x92\xa1t\x91\x07"), {.mode = FRAME_FORWARD, .tag = BYTES("t"), .entries_count = 1}},
    {"packed as bin",
     BYTES("\x92\xa1t\xc4\x06\x92\x01\x80\x92\x02\x80"),
     {.mode = FRAME_PACKED, .tag = BYTES("t"), .entries_count = 2}},
    {"packed as str",
     BYTES("\x92\xa1t\xa3\x92\x01\x80"),
     {.mode = FRAME_PACKED, .tag = BYTES("t"), .entries_count = 1}},
    {"packed without entries",
     BYTES("\x92\xa1t\xc4\x00"), {.mode = FRAME_PACKED, .tag = BYTES("t"), .entries_count = 0}},
    {"tag as bin and empty",
     BYTES("\x92\xc4\x00\x90"), {.mode = FRAME_FORWARD, .tag = BYTES(""), .entries_count = 0}},
    {"chunk as str",
     BYTES("\x93\xa1t\x90\x81\xa5"
           "chunk\xa2"
           "ab"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t"), .has_chunk = true, .chunk = BYTES("ab")}},
    {"chunk as bin",
     BYTES("\x93\xa1t\x90\x81\xa5"
           "chunk\xc4\x02"
           "ab"),
     {.mode = FRAME_FORWARD,
      .tag = BYTES("t"),
      .has_chunk = true, .chunk_is_bin = true, .chunk = BYTES("ab")}},
    {"chunk nil is none",
     BYTES("\x93\xa1t\x90\x81\xa5" "chunk\xc0"), {.mode = FRAME_FORWARD, .tag = BYTES("t")}},
    {"size and unknown options are ignored",
     BYTES("\x93\xa1t\x90\x82\xa4size\xa1x\xa3new\x91\x81\xa1z\x01"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t")}},
    {"compressed text is not compressed",
     BYTES("\x93\xa1t\x90\x81\xaa"
           "compressed\xa4text"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t")}},
    {"gzip is left as it came",
     BYTES("\x93\xa1t\xc4\x02zz\x81\xaa"
           "compressed\xa4gzip"),
     {.mode = FRAME_PACKED, .tag = BYTES("t"), .entries = BYTES("zz"), .is_gzip = true}},
    {"gzip as bin, nothing in it",
     BYTES("\x93\xa1t\xa0\x81\xaa"
           "compressed\xc4\x04gzip"),
     {.mode = FRAME_PACKED, .tag = BYTES("t"), .is_gzip = true}},
    {"gzip says nothing without packed entries",
     BYTES("\x93\xa1t\x90\x81\xaa"
           "compressed\xa4gzip"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t")}},
    {"tally results",
     BYTES("\x93\xa1t\x90\x81\xa5tally\x81\xa7results\xc3"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t"), .wants_results = true}},
    {"tally backfill, and members nobody knows",
     BYTES("\x93\xa1t\x90\x81\xa5tally\x83\xa8"
           "backfill\xa2"
           "b1\xa7results\xc2\xa3new\x91\x01"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t"), .backfill = BYTES("b1")}},
    {"tally with backfill nil and results nil",
     BYTES("\x93\xa1t\x90\x81\xa5tally\x82\xa8"
           "backfill\xc0\xa7results\xc0"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t")}},
    {"tally nil", BYTES("\x93\xa1t\x90\x81\xa5tally\xc0"),
     {.mode = FRAME_FORWARD, .tag = BYTES("t")}},
};
// clang-format on

// Rows as one would read them aloud, not in columns.
// clang-format off
static const struct {
    const char *name;
    struct bytes bytes;
    enum frame_fault fault;
} REFUSED[] = {
    {"integer", BYTES("\x05"), FRAME_NOT_FORWARD},
    {"text", BYTES("\xa4ping"), FRAME_NOT_FORWARD},
    {"map", BYTES("\x81\xa1k\x01"), FRAME_NOT_FORWARD},
    {"empty array", BYTES("\x90"), FRAME_NOT_FORWARD},
    {"tag alone", BYTES("\x91\xa1t"), FRAME_NOT_FORWARD},
    {"tag is an integer", BYTES("\x92\x01\x90"), FRAME_TAG_INVALID},
    {"tag is nil", BYTES("\x92\xc0\x90"), FRAME_TAG_INVALID},
    {"tag is an array", BYTES("\x92\x90\x90"), FRAME_TAG_INVALID},
    {"handshake HELO", BYTES("\x92\xa4HELO\x80"), FRAME_NOT_FORWARD},
    {"handshake PING", BYTES("\x96\xa4PING\xa1h\xa1s\xa1" "d\xa0\xa0"), FRAME_NOT_FORWARD},
    {"message without record", BYTES("\x92\xa1t\x01"), FRAME_NOT_FORWARD},
    {"message with five elements", BYTES("\x95\xa1t\x01\x80\x80\x80"), FRAME_NOT_FORWARD},
    {"forward with four elements", BYTES("\x94\xa1t\x90\x80\x80"), FRAME_NOT_FORWARD},
    {"packed with four elements", BYTES("\x94\xa1t\xc4\x00\x80\x80"), FRAME_NOT_FORWARD},
    {"packed, cut", BYTES("\x92\xa1t\xc4\x02\x92\x01"), FRAME_ENTRIES_BROKEN},
    {"packed, second cut", BYTES("\x92\xa1t\xc4\x05\x92\x01\x80\x92\x02"), FRAME_ENTRIES_BROKEN},
    {"packed, byte c1", BYTES("\x92\xa1t\xc4\x01\xc1"), FRAME_ENTRIES_BROKEN},
    {"packed, millions claimed",
     BYTES("\x92\xa1t\xc4\x05\xdd\x04\x00\x00\x00"), FRAME_ENTRIES_BROKEN},
    {"option is text", BYTES("\x93\xa1t\x90\xa1x"), FRAME_OPTION_INVALID},
    {"option is an array", BYTES("\x93\xa1t\x90\x90"), FRAME_OPTION_INVALID},
    {"option key is an integer", BYTES("\x93\xa1t\x90\x81\x01\x01"), FRAME_OPTION_INVALID},
    {"chunk twice",
     BYTES("\x93\xa1t\x90\x82\xa5" "chunk\xa1" "a\xa5" "chunk\xa1" "b"), FRAME_OPTION_INVALID},
    {"tally twice", BYTES("\x93\xa1t\x90\x82\xa5tally\x80\xa5tally\x80"), FRAME_OPTION_INVALID},
    {"chunk is an integer", BYTES("\x93\xa1t\x90\x81\xa5" "chunk\x05"), FRAME_CHUNK_INVALID},
    {"chunk is a map", BYTES("\x93\xa1t\x90\x81\xa5" "chunk\x80"), FRAME_CHUNK_INVALID},
    {"compressed is empty",
     BYTES("\x93\xa1t\xc4\x00\x81\xaa" "compressed\xa0"), FRAME_COMPRESSED},
    {"GZIP", BYTES("\x93\xa1t\xc4\x00\x81\xaa" "compressed\xa4GZIP"), FRAME_COMPRESSED},
    {"compressed in another mode as well",
     BYTES("\x93\xa1t\x90\x81\xaa" "compressed\xa4zstd"), FRAME_COMPRESSED},
    {"compressed twice",
     BYTES("\x93\xa1t\xc4\x00\x82\xaa" "compressed\xa4gzip\xaa" "compressed\xa4gzip"),
     FRAME_OPTION_INVALID},
    {"zstd", BYTES("\x93\xa1t\xc4\x00\x81\xaa" "compressed\xa4zstd"), FRAME_COMPRESSED},
    {"compressed is an integer",
     BYTES("\x93\xa1t\xc4\x00\x81\xaa" "compressed\x01"), FRAME_COMPRESSED},
    {"tally is true", BYTES("\x93\xa1t\x90\x81\xa5tally\xc3"), FRAME_TALLY_INVALID},
    {"tally key is an integer",
     BYTES("\x93\xa1t\x90\x81\xa5tally\x81\x01\x01"), FRAME_TALLY_INVALID},
    {"results is an integer",
     BYTES("\x93\xa1t\x90\x81\xa5tally\x81\xa7results\x01"), FRAME_TALLY_INVALID},
    {"backfill is an integer",
     BYTES("\x93\xa1t\x90\x81\xa5tally\x81\xa8" "backfill\x01"), FRAME_TALLY_INVALID},
    {"backfill is empty",
     BYTES("\x93\xa1t\x90\x81\xa5tally\x81\xa8" "backfill\xa0"), FRAME_TALLY_INVALID},
    {"something behind the message", BYTES("\xc0\x01"), FRAME_NOT_FORWARD},
};
// clang-format on

Test(frame, accepts)
{
    for (size_t i = 0; i < sizeof ACCEPTED / sizeof ACCEPTED[0]; i++) {
        struct frame frame;
        const struct frame *expected = &ACCEPTED[i].frame;
        enum frame_fault fault = frame_parse(ACCEPTED[i].bytes, &frame);
        cr_assert_eq(fault, FRAME_FINE, "%s: %s", ACCEPTED[i].name, frame_fault_name(fault));
        cr_assert_eq(frame.mode, expected->mode, "%s", ACCEPTED[i].name);
        cr_assert_eq(frame.entries_count, expected->entries_count, "%s", ACCEPTED[i].name);
        cr_assert(bytes_equal(frame.tag, expected->tag), "%s", ACCEPTED[i].name);
        cr_assert(bytes_equal(frame.chunk, expected->chunk), "%s", ACCEPTED[i].name);
        cr_assert_eq(frame.has_chunk, expected->has_chunk, "%s", ACCEPTED[i].name);
        cr_assert_eq(frame.chunk_is_bin, expected->chunk_is_bin, "%s", ACCEPTED[i].name);
        cr_assert_eq(frame.wants_results, expected->wants_results, "%s", ACCEPTED[i].name);
        cr_assert_eq(frame.is_gzip, expected->is_gzip, "%s", ACCEPTED[i].name);
        if (frame.is_gzip)
            cr_assert(bytes_equal(frame.entries, expected->entries), "%s", ACCEPTED[i].name);
        cr_assert(bytes_equal(frame.backfill, expected->backfill), "%s", ACCEPTED[i].name);
    }
}

Test(frame, refuses)
{
    for (size_t i = 0; i < sizeof REFUSED / sizeof REFUSED[0]; i++) {
        struct frame frame = {.tag = BYTES("untouched")};
        enum frame_fault fault = frame_parse(REFUSED[i].bytes, &frame);
        cr_assert_eq(fault, REFUSED[i].fault, "%s: %s", REFUSED[i].name, frame_fault_name(fault));
        cr_assert(bytes_equal(frame.tag, bytes_text("untouched")), "%s", REFUSED[i].name);
    }
}

// One entry at a time it comes to the same, also when the message is moved in between.
Test(frame, looks_through_entries_one_after_the_other)
{
    uint32_t looked = 0;
    for (size_t i = 0; i < sizeof ACCEPTED / sizeof ACCEPTED[0]; i++) {
        struct frame frame, whole;
        struct frame_walk walk = {0};
        struct bytes message = ACCEPTED[i].bytes;
        uint8_t copy[4096];
        cr_assert_leq(message.size, sizeof copy);
        memcpy(copy, message.data, message.size);
        cr_assert_eq(frame_parse(message, &whole), FRAME_FINE);
        cr_assert_eq(frame_begin(message, &frame), FRAME_FINE, "%s", ACCEPTED[i].name);
        frame_rebase(&frame, message.data, copy);
        while (!frame.is_whole && !frame.is_gzip) {
            uint32_t before = walk.count;
            cr_assert_eq(frame_look(&frame, 1, &walk), FRAME_FINE, "%s", ACCEPTED[i].name);
            cr_assert_leq(walk.count - before, 1, "%s", ACCEPTED[i].name);
            looked += walk.count - before;
        }
        cr_assert_eq(frame.mode, whole.mode);
        cr_assert_eq(frame.entries_count, whole.entries_count, "%s", ACCEPTED[i].name);
        cr_assert(bytes_equal(frame.entries, whole.entries), "%s", ACCEPTED[i].name);
        cr_assert(bytes_equal(frame.chunk, whole.chunk), "%s", ACCEPTED[i].name);
        cr_assert_eq(frame.wants_results, whole.wants_results, "%s", ACCEPTED[i].name);
    }
    cr_assert_gt(looked, 1);
}

Test(frame, finds_each_fault_also_one_entry_after_the_other)
{
    for (size_t i = 0; i < sizeof REFUSED / sizeof REFUSED[0]; i++) {
        struct frame frame;
        struct frame_walk walk = {0};
        enum frame_fault fault = frame_begin(REFUSED[i].bytes, &frame);
        while (fault == FRAME_FINE && !frame.is_whole)
            fault = frame_look(&frame, 1, &walk);
        cr_assert_eq(fault, REFUSED[i].fault, "%s: %s", REFUSED[i].name, frame_fault_name(fault));
    }
}

Test(frame, refuses_as_many_as_it_accepts)
{
    cr_assert_geq(sizeof REFUSED / sizeof REFUSED[0], sizeof ACCEPTED / sizeof ACCEPTED[0]);
}

static enum frame_fault
parse_with_text(const char *key, size_t size, bool is_backfill)
{
    char text[512];
    memset(text, 'x', sizeof text);
    text[size] = '\0';
    scoped(buffer_done) struct buffer out = {0};
    pack_array(&out, 3);
    pack_text(&out, "t");
    pack_array(&out, 0);
    pack_map(&out, 1);
    if (is_backfill) {
        pack_text(&out, "tally");
        pack_map(&out, 1);
    }
    pack_text(&out, key);
    pack_text(&out, text);
    struct frame frame;
    return frame_parse(buffer_view(&out), &frame);
}

Test(frame, bounds_chunk_and_backfill)
{
    cr_assert_eq(parse_with_text("chunk", 0, false), FRAME_CHUNK_INVALID);
    cr_assert_eq(parse_with_text("chunk", 1, false), FRAME_FINE);
    cr_assert_eq(parse_with_text("chunk", 255, false), FRAME_FINE);
    cr_assert_eq(parse_with_text("chunk", 256, false), FRAME_CHUNK_INVALID);
    cr_assert_eq(parse_with_text("backfill", 1, true), FRAME_FINE);
    cr_assert_eq(parse_with_text("backfill", 100, true), FRAME_FINE);
    cr_assert_eq(parse_with_text("backfill", 101, true), FRAME_TALLY_INVALID);
}

// No prefix of a message is a message, and none reads past its end.
Test(frame, refuses_every_truncation)
{
    struct wire wire = {.events = 3, .chunk = "c1", .results = true, .backfill = "b", .time_ns = 1};
    for (int mode = 0; mode < 3; mode++) {
        scoped(buffer_done) struct buffer out = {0};
        (mode == 0 ? wire_message : mode == 1 ? wire_forward : wire_packed)(&out, "tag", &wire);
        struct frame frame;
        cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE, "mode %d", mode);
        for (size_t size = 0; size < out.size; size++) {
            uint8_t *copy = malloc(size > 0 ? size : 1);
            memcpy(copy, out.data, size);
            cr_assert_neq(
                frame_parse(bytes_of(copy, size), &frame),
                FRAME_FINE,
                "mode %d, %zu bytes",
                mode,
                size);
            free(copy);
        }
    }
}

Test(frame, points_into_a_moved_message)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(
        &out, "tag", &(struct wire){.events = 2, .chunk = "c1", .results = true, .backfill = "b"});
    uint8_t *copy = malloc(out.size);
    memcpy(copy, out.data, out.size);
    struct frame frame, moved;
    cr_assert_eq(frame_parse(buffer_view(&out), &frame), FRAME_FINE);
    cr_assert_eq(frame_parse(bytes_of(copy, out.size), &moved), FRAME_FINE);
    frame_rebase(&frame, out.data, copy);
    cr_assert_eq(frame.tag.data, moved.tag.data);
    cr_assert_eq(frame.entries.data, moved.entries.data);
    cr_assert_eq(frame.chunk.data, moved.chunk.data);
    cr_assert_eq(frame.backfill.data, moved.backfill.data);
    free(copy);
}

Test(frame, takes_inflated_entries_that_are_whole)
{
    const struct bytes message = BYTES("\x93\xa1t\xc4\x02zz\x81\xaa"
                                       "compressed\xa4gzip");
    const struct bytes whole = BYTES("\x92\x01\x80\x92\x02\x80");
    const struct bytes cut = BYTES("\x92\x01\x80\x92\x02");
    struct frame frame, moved;
    struct frame_walk walk = {0};
    cr_assert_eq(frame_parse(message, &frame), FRAME_FINE);
    cr_assert_eq(frame_inflated(&frame, cut, SIZE_MAX, &walk), FRAME_ENTRIES_BROKEN);
    cr_assert(bytes_equal(frame.entries, bytes_text("zz")));
    cr_assert_not(frame.is_inflated);
    // One entry a time, then the rest: none is handed out before all are whole.
    walk = (struct frame_walk){0};
    cr_assert_eq(frame_inflated(&frame, whole, 1, &walk), FRAME_FINE);
    cr_assert_not(frame.is_inflated);
    cr_assert_eq(walk.size, 3);
    cr_assert_eq(frame_inflated(&frame, whole, SIZE_MAX, &walk), FRAME_FINE);
    cr_assert_eq(frame.entries_count, 2);
    moved = frame;
    frame_rebase(&moved, message.data, whole.data);
    cr_assert_eq(moved.entries.data, whole.data, "inflated entries stay where they are");
    cr_assert_neq(moved.tag.data, frame.tag.data);
}

Test(frame, names_every_fault)
{
    for (enum frame_fault i = FRAME_FINE; i < FRAME_FAULT_COUNT; i++)
        cr_assert_str_neq(frame_fault_name(i), "unknown");
}
