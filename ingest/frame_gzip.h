#pragma once
// A compressed frame's entries, inflated and checked.
//
//     switch (frame_unzip(&frame, gzip, &limits, &inflated, &fault)) {
//     case STATUS_OK: frame.entries lie in inflated, which stays until they are put
//     case STATUS_INVALID: the frame is broken, fault says how
//     default: no memory
//
// Owner: the caller. Thread: the one of the gzip.

#include "base/gzip.h"
#include "base/status.h"
#include "ingest/frame.h"

// FRAME_FINE for GZIP_FINE, GZIP_MORE and GZIP_NO_MEMORY.
enum frame_fault frame_fault_of_gzip(enum gzip_result result);

// All at once, within the limits: for datagrams, whose are small (UDP_INFLATED_MAX); connections do
// it in pieces (conn_input.c). frame: is_gzip and not yet inflated. out is empty; unless STATUS_OK
// it is empty again and the frame is as it was.
enum status frame_unzip(
    struct frame *frame,
    struct gzip *gzip,
    const struct gzip_limits *limits,
    struct buffer *out,
    enum frame_fault *out_fault) CHECKED;
