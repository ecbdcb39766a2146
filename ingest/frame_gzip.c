#include "ingest/frame_gzip.h"

#include "base/assert.h"

static enum frame_fault
fault_of(enum gzip_result result)
{
    switch (result) {
    case GZIP_BROKEN: return FRAME_GZIP_BROKEN;
    case GZIP_TOO_LARGE: return FRAME_GZIP_TOO_LARGE;
    case GZIP_RATIO: return FRAME_GZIP_RATIO;
    case GZIP_FINE:
    case GZIP_NO_MEMORY: break;
    }
    return FRAME_FINE;
}

enum status
frame_unzip(
    struct frame *frame,
    struct gzip *gzip,
    const struct gzip_limits *limits,
    struct buffer *out,
    enum frame_fault *out_fault)
{
    must(frame->is_gzip && !frame->is_inflated);
    enum gzip_result result = gzip_inflate(gzip, frame->entries, limits, out);
    if (result == GZIP_NO_MEMORY)
        return STATUS_NO_MEMORY;
    enum frame_fault fault = fault_of(result);
    if (fault == FRAME_FINE)
        fault = frame_inflated(frame, buffer_view(out));
    if (fault == FRAME_FINE)
        return STATUS_OK;
    buffer_reset(out);
    *out_fault = fault;
    return STATUS_INVALID;
}
