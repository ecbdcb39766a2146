// Any bytes as one entry of a frame. An event that is accepted keeps the promises of
// ledger/event.h, and its properties are what was sent less the reserved keys. Whatever was learnt
// from other entries, it is read alike.

#include "base/assert.h"
#include "base/buffer.h"
#include "base/unpack.h"
#include "ingest/decode_alike.h"
#include "tests/ingest/same_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
properties_check(const struct event *event)
{
    uint32_t pairs = 0;
    size_t sum = 0;
    must(event->properties_runs <= EVENT_RUNS_MAX);
    for (uint32_t i = 0; i < event->properties_runs; i++) {
        struct cursor in = cursor_over(event->properties[i]);
        must(cursor_left(&in) > 0);
        while (cursor_left(&in) > 0) {
            struct unpack_item key;
            must(unpack_next(&in, &key) && (key.type == UNPACK_STR || key.type == UNPACK_BIN));
            must(unpack_skip(&in, EVENT_DEPTH_MAX));
            pairs++;
        }
        sum += event->properties[i].size;
    }
    must(pairs == event->properties_count && sum <= EVENT_SIZE_MAX);
}

static void
event_check(const struct event *event)
{
    const int128 limit = (int128)10000000000000000000u * DECIMAL_ONE.units;
    must(event->subject.size >= 1 && event->subject.size <= EVENT_SUBJECT_MAX);
    must(event->type.size >= 1 && event->type.size <= EVENT_TYPE_MAX);
    must(event->id.size <= EVENT_ID_MAX && event->source.size <= EVENT_SOURCE_MAX);
    must(event->value.units < limit && event->value.units > -limit);
    must(event->time_ns >= 0);
    properties_check(event);
}

// The frame's entry once more, by a layout; what the plain way came to is given.
static void
alike_check(
    struct decode_layout *layout,
    const struct frame *frame,
    enum refusal expected,
    const struct event *plain,
    uint64_t rounded)
{
    struct cursor in = cursor_over(frame->entries);
    struct decode_stats stats = {0};
    struct event event;
    must(decode_entry_alike(layout, frame, &in, 0, &event, &stats) == expected);
    must(cursor_left(&in) == 0 && stats.values_rounded == rounded);
    must(event_is_same(&event, plain));
}

// Makes the layout that of an event as our clients write it.
static void
layout_teach(struct decode_layout *layout)
{
    static const char entry[] = "\x92\xd7\x00\x65\x00\x00\x00\x00\x00\x00\x01\x85"
                                "\xa7subject\xa1s\xa4type\xa1t\xa2id\xa1i\xa5value\x01\xa1k\xa1v";
    struct frame frame = {
        .mode = FRAME_FORWARD,
        .entries = bytes_of(entry, sizeof entry - 1),
        .entries_count = 1,
    };
    struct cursor in = cursor_over(frame.entries);
    struct decode_stats stats = {0};
    struct event event;
    must(decode_entry_alike(layout, &frame, &in, 0, &event, &stats) == REFUSAL_NONE);
    must(layout->pairs == 5);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor whole = cursor_over(bytes_of(data, size));
    if (size == 0 || !unpack_skip(&whole, UNPACK_DEPTH_MAX) || cursor_left(&whole) > 0)
        return 0;
    const struct frame frame = {
        .mode = FRAME_FORWARD,
        .tag = bytes_text("tag"),
        .entries = bytes_of(data, size),
        .entries_count = 1,
    };
    struct cursor in = cursor_over(frame.entries);
    struct decode_stats stats = {0};
    struct event event;
    enum refusal refusal = decode_entry(&frame, &in, 0, &event, &stats);
    if (refusal == REFUSAL_NONE)
        event_check(&event);
    must(cursor_left(&in) == 0);
    // By its own layout, when it has one, and by another's.
    struct decode_layout own = {0}, other = {0};
    layout_teach(&other);
    alike_check(&own, &frame, refusal, &event, stats.values_rounded);
    alike_check(&own, &frame, refusal, &event, stats.values_rounded);
    alike_check(&other, &frame, refusal, &event, stats.values_rounded);
    return 0;
}
