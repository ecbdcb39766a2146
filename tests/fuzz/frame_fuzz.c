// Any bytes as a connection's stream: frames are found, taken apart, moved and decoded. Whatever a
// frame holds, its entries end where it ends, and those that are alike are read as any other.

#include "base/assert.h"
#include "base/unpack.h"
#include "ingest/decode_alike.h"
#include "tests/ingest/same_event.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
view_check(struct bytes view, struct bytes message)
{
    if (view.size == 0)
        return;
    must(view.data >= message.data && view.data + view.size <= message.data + message.size);
}

static void
entries_decode(const struct frame *frame)
{
    struct cursor in = cursor_over(frame->entries);
    struct cursor alike_in = in;
    struct decode_layout layout = {0};
    struct decode_stats stats = {0}, alike_stats = {0};
    for (uint32_t i = 0; i < frame->entries_count; i++) {
        struct event event, alike;
        enum refusal refusal = decode_entry(frame, &in, i, &event, &stats);
        must(refusal < REFUSAL_COUNT && !cursor_failed(&in));
        must(decode_entry_alike(&layout, frame, &alike_in, i, &alike, &alike_stats) == refusal);
        must(alike_in.at == in.at && event_is_same(&alike, &event));
    }
    must(cursor_left(&in) == 0 && alike_stats.values_rounded == stats.values_rounded);
}

static void
message_check(struct bytes message)
{
    struct frame frame;
    if (frame_parse(message, &frame) != FRAME_FINE || frame.mode == FRAME_HEARTBEAT)
        return;
    view_check(frame.tag, message);
    view_check(frame.entries, message);
    view_check(frame.chunk, message);
    view_check(frame.backfill, message);
    // Moved to a place of exactly its size, so that AddressSanitizer sees a read past its end.
    uint8_t *copy = malloc(message.size);
    must(copy != NULL);
    memcpy(copy, message.data, message.size);
    frame_rebase(&frame, message.data, copy);
    view_check(frame.entries, bytes_of(copy, message.size));
    if (!frame.is_gzip)
        entries_decode(&frame);
    free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;
    while (at < size) {
        struct unpack_scan scan = {0};
        if (unpack_scan(&scan, bytes_of(data + at, size - at), 1 << 16) != UNPACK_COMPLETE)
            break;
        message_check(bytes_of(data + at, scan.size));
        at += scan.size;
    }
    return 0;
}
