#pragma once
// One message of the Fluent Forward protocol v1, taken apart and checked before anything of it
// counts.
//
//     struct frame frame;
//     enum frame_fault fault = frame_parse(message, &frame);      // one complete msgpack value
//     if (fault != FRAME_FINE) close the connection
//     // or, a bounded amount of work at a time:
//     frame_begin(message, &frame);
//     while (!frame.is_whole) { frame_look(&frame, most, &walk); ... others have their turn ... }
//     struct cursor in = cursor_over(frame.entries);
//     for (i = 0; i < frame.entries_count; i++) decode_entry(&frame, &in, i, &event);
//     ... after frame_inflated(&frame, inflated, ...), when frame.is_gzip
//
//     [tag, time, record, option?]            Message
//     [tag, [[time, record], ...], option?]   Forward
//     [tag, bin or str of entries, option?]   PackedForward; CompressedPackedForward with the
//                                             option compressed: "gzip"
//     nil                                     heartbeat
//
// The whole structure is walked here, entries included, so an entry of a frame that is_whole is
// complete. What an entry says is the decoder's business: a bad event is refused, a broken frame
// ends the connection. Options: chunk, size, compressed and our tally: {"results": bool,
// "backfill": ID}; others are ignored.
//
// Owner: values; views point into the message. Thread: any.

#include "base/unpack.h"

#include <stdint.h>

enum frame_mode { FRAME_HEARTBEAT, FRAME_MESSAGE, FRAME_FORWARD, FRAME_PACKED };

struct frame {
    enum frame_mode mode;
    struct bytes tag;
    struct bytes
        entries;  // entries one after the other; FRAME_MESSAGE: time and record without the array
    uint32_t entries_count;
    struct bytes chunk;
    bool has_chunk;
    bool chunk_is_bin;  // it is answered as it came
    bool wants_results;
    bool is_whole;          // its entries were looked through; not of a gzip frame's
    bool has_option;        // behind them, while it is not whole
    bool is_gzip;           // entries are gzip members, to be inflated first
    bool is_inflated;       // entries lie elsewhere, frame_rebase leaves them alone
    struct bytes backfill;  // empty: live
    uint32_t alike;         // so many entries at the front are of this shape,
    uint32_t alike_stamp;   // as it was with this stamp
    const struct unpack_shape *alike_of;
};

enum frame_fault {
    FRAME_FINE,
    FRAME_NOT_MSGPACK,     // the byte 0xc1, or nested deeper than UNPACK_DEPTH_MAX
    FRAME_TOO_LARGE,       // larger than the limit for frames
    FRAME_NOT_FORWARD,     // no mode of the protocol has this shape
    FRAME_TAG_INVALID,     // the tag is no string
    FRAME_ENTRIES_BROKEN,  // the packed entries are no sequence of msgpack values
    FRAME_OPTION_INVALID,  // the option is no map with string keys, or has one of its keys twice
    FRAME_CHUNK_INVALID,   // no string, empty, or longer than EVENT_CHUNK_MAX
    FRAME_COMPRESSED,      // option compressed of another value
    FRAME_GZIP_BROKEN,     // no whole gzip members and nothing else
    FRAME_GZIP_TOO_LARGE,  // more comes out of them than the limit
    FRAME_GZIP_RATIO,      // the same, measured by what went in
    FRAME_TALLY_INVALID,   // option tally of another shape
    FRAME_STALLED,         // memory was full, and its client did not use its turns to finish it
    FRAME_SLOW,            // its client took too long to finish it
    FRAME_ACKS_UNREAD,     // its client reads no acks
    FRAME_TLS,             // the first byte of a connection begins a TLS handshake, and TLS is off
    FRAME_NOT_ONE,         // a datagram is not exactly one message
    FRAME_FAULT_COUNT,
};

// A reason a person understands: "packed entries are broken".
const char *frame_fault_name(enum frame_fault fault);

// message: exactly one complete value, as unpack_scan found it. *out is untouched when there is a
// fault.
enum frame_fault frame_parse(struct bytes message, struct frame *out)
    __attribute__((warn_unused_result));

// How far entries were looked through. A shape that the caller may set says what the first ones may
// be like: how many are is noted in the frame, so that they need not be compared again.
struct frame_walk {
    const struct unpack_shape *shape;  // NULL: none
    size_t size;                       // bytes
    size_t items;                      // msgpack items: the work that it was
    uint32_t count;                    // entries
};

// The same without a look at the entries: when they are several, the frame is not whole, and
// frame_look goes on with it, or frame_inflated when they are compressed. Of a Forward message that
// is not whole nothing that follows the entries is known, and entries is all of that, too.
enum frame_fault frame_begin(struct bytes message, struct frame *out)
    __attribute__((warn_unused_result));

// Looks through some `most` items of the entries, going on where walk stands, which begins zeroed;
// an entry is not left in its middle, and of most 0 nothing is done. After a fault the frame is not
// to be used any more.
enum frame_fault frame_look(struct frame *frame, size_t most, struct frame_walk *walk)
    __attribute__((warn_unused_result));

// The entries of a compressed frame, inflated; their view is kept. Looks through some `most` items
// of them, going on where walk stands; when all are, the frame is_inflated. FRAME_ENTRIES_BROKEN:
// they are no sequence of msgpack values, and the frame is as it was.
enum frame_fault
frame_inflated(struct frame *frame, struct bytes entries, size_t most, struct frame_walk *walk)
    __attribute__((warn_unused_result));

// Makes the views of a frame whose message was copied to another place point there.
void frame_rebase(struct frame *frame, const uint8_t *from, const uint8_t *to);
