// Any bytes as one entry of a frame. An event that is accepted keeps the promises of
// ledger/event.h, and its properties are what was sent less the reserved keys.

#include "base/assert.h"
#include "base/buffer.h"
#include "base/unpack.h"
#include "ingest/decode.h"

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
    if (decode_entry(&frame, &in, 0, &event, &stats) == REFUSAL_NONE)
        event_check(&event);
    must(cursor_left(&in) == 0);
    return 0;
}
