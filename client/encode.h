#pragma once
// An event as an entry of a PackedForward frame: [EventTime, {subject, type, id, ...,
// properties}].
//
//     struct buffer out = {.limit = ENCODE_SIZE_MAX};
//     struct encoded entry;
//     if (encode_event(event, now_ns, &out, &entry)) ...        // entry.bytes is a view of out
//
// Checks the envelope as the server will (DESIGN section 4), so that what was taken is not
// refused for its form. A missing id leaves room for a UUID at id_offset, which is written when
// the event is taken: ids rise in the order of sending. Values. Thread: any.

#include "base/buffer.h"
#include "client/tally.h"

enum {
    ENCODE_SUBJECT_MAX = 255,
    ENCODE_TYPE_MAX = 100,
    ENCODE_ID_MAX = 128,
    ENCODE_SOURCE_MAX = 255,
    ENCODE_DEPTH_MAX = 8,
    ENCODE_SIZE_MAX = 64 * 1024,  // of the whole entry
};

static const size_t ENCODE_HAS_ID = SIZE_MAX;

struct encoded {
    struct bytes bytes;
    size_t id_offset;  // where UUID7_TEXT_SIZE bytes are missing, or ENCODE_HAS_ID
    uint64_t tag;
};

enum encode_result {
    ENCODE_DONE,
    ENCODE_INVALID,  // a rule is broken
    ENCODE_NO_ROOM,  // longer than the buffer's limit
};

// now_ns: the time of an event that names none.
enum encode_result encode_event(
    const struct tally_event *event,
    int64_t now_ns,
    struct buffer *out,
    struct encoded *out_entry) CHECKED;
