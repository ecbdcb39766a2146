#include "ingest/frame_gzip.h"

#include "base/assert.h"

enum frame_fault
frame_fault_of_gzip(enum gzip_result result)
{
    switch (result) {
    case GZIP_BROKEN: return FRAME_GZIP_BROKEN;
    case GZIP_TOO_LARGE: return FRAME_GZIP_TOO_LARGE;
    case GZIP_RATIO: return FRAME_GZIP_RATIO;
    case GZIP_FINE:
    case GZIP_MORE:
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
    struct frame_walk walk = {0};
    enum gzip_result result = gzip_inflate(gzip, frame->entries, limits, out);
    if (result == GZIP_NO_MEMORY)
        return STATUS_NO_MEMORY;
    enum frame_fault fault = frame_fault_of_gzip(result);
    if (fault == FRAME_FINE)
        fault = frame_inflated(frame, buffer_view(out), SIZE_MAX, &walk);
    if (fault == FRAME_FINE)
        return STATUS_OK;
    buffer_reset(out);
    *out_fault = fault;
    return STATUS_INVALID;
}
