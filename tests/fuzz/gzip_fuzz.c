// Any bytes as compressed entries: inflating ends, within its limits, and in pieces says the same.
// What comes out goes on as a frame's entries.

#include "base/gzip.h"

#include "base/assert.h"
#include "ingest/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
entries_decode(struct bytes entries)
{
    struct frame frame = {.mode = FRAME_PACKED, .tag = bytes_text("api_call"), .is_gzip = true};
    struct frame_walk walk = {0};
    while (!frame.is_inflated)
        if (frame_inflated(&frame, entries, 100, &walk) != FRAME_FINE)
            return;
    struct cursor in = cursor_over(frame.entries);
    struct decode_stats stats = {0};
    for (uint32_t i = 0; i < frame.entries_count; i++) {
        struct event event;
        enum refusal refusal = decode_entry(&frame, &in, i, &event, &stats);
        must(refusal < REFUSAL_COUNT && !cursor_failed(&in));
    }
    must(cursor_left(&in) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct gzip_limits limits = {.size_max = 1 << 18, .ratio_max = 50};
    static struct gzip *gzip;
    struct buffer first = {0};
    struct buffer second = {0};
    struct error error = {0};
    if (gzip == NULL)
        must(gzip_open(&gzip, &error) == STATUS_OK);
    struct bytes packed = bytes_of(data, size);
    enum gzip_result result = gzip_inflate(gzip, packed, &limits, &first);
    must(result != GZIP_NO_MEMORY);
    must(first.size <= limits.size_max);
    must(first.size <= GZIP_RATIO_FLOOR || first.size <= size * limits.ratio_max);
    must(result == GZIP_FINE || first.size == 0);
    gzip_begin(gzip, size, &limits, &second);
    enum gzip_result again;
    while ((again = gzip_some(gzip, packed, 1000, &second)) == GZIP_MORE)
        continue;
    must(again == result);
    must(bytes_equal(buffer_view(&first), buffer_view(&second)));
    if (result == GZIP_FINE)
        entries_decode(buffer_view(&first));
    buffer_done(&first);
    buffer_done(&second);
    return 0;
}
