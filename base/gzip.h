#pragma once
// Gzip: what clients compressed (entries of CompressedPackedForward, bodies over HTTP), one member
// after the other, inflated to its end and within limits; and members of our own.
//
//     gzip_open(&gzip, &error);                              // once; used for every frame
//     enum gzip_result result = gzip_inflate(gzip, packed, &limits, &out);
//     if (result != GZIP_FINE) the frame is broken, or there is no memory
//     ... out holds the entries, until it is reset ...
//     status = gzip_pack(bytes, &out);
//
// Who sends a kilobyte must not cost a gigabyte: inflating stops at size_max bytes, and beyond
// GZIP_RATIO_FLOOR also at ratio_max bytes for each byte that came. So the work is bounded by what
// was sent, however many members it is cut into. Every member's checksum and length is checked.
//
// Memory: the state (about 40 KiB) is kept for good; out grows with what is really there, to at
// most one byte more than the limit.
//
// Owner: who opened it. Thread: one at a time.

#include "base/buffer.h"

enum { GZIP_RATIO_FLOOR = 64 * 1024 };

enum gzip_result {
    GZIP_FINE,
    GZIP_BROKEN,     // no member, one that is damaged or cut short, or something else behind one
    GZIP_TOO_LARGE,  // more than size_max
    GZIP_RATIO,      // more than ratio_max times what came
    GZIP_NO_MEMORY,
    GZIP_MORE,  // of gzip_some: not through yet
};

struct gzip_limits {
    size_t size_max;
    size_t ratio_max;
};

struct gzip;

enum status gzip_open(struct gzip **out, struct error *error) CHECKED;
// NULL is accepted.
void gzip_close(struct gzip *gzip);

// The most that may come out of so many bytes.
size_t gzip_size_max(size_t packed_size, const struct gzip_limits *limits);

// out is empty; it holds the inflated bytes only when the result is GZIP_FINE, and nothing
// otherwise. packed: less than 4 GiB.
enum gzip_result gzip_inflate(
    struct gzip *gzip,
    struct bytes packed,
    const struct gzip_limits *limits,
    struct buffer *out) CHECKED;

// The same in pieces, so that others have their turn in between: gzip_begin, then gzip_some until
// the result is not GZIP_MORE. packed is the same bytes each time, which may have moved. A call
// ends after about `work` bytes went in or came out.
void gzip_begin(
    struct gzip *gzip, size_t packed_size, const struct gzip_limits *limits, struct buffer *out);
enum gzip_result
gzip_some(struct gzip *gzip, struct bytes packed, size_t work, struct buffer *out) CHECKED;

// Appends one member, made at zlib's fastest level, with a window no larger than the bytes.
// STATUS_NO_MEMORY: out is as it was. plain: less than 2 GiB.
enum status gzip_pack(struct bytes plain, struct buffer *out) CHECKED;
