#pragma once
// One entry of a frame, [time, record], as an event or as the reason why it is none (DESIGN section
// 4).
//
//     struct decode_stats stats = {0};
//     enum refusal refusal = decode_entry(&frame, &in, index, &event, &stats);
//     if (refusal == REFUSAL_NONE) put(&event); else reject(refusal);
//     // either way `in` stands at the next entry
//
// Reserved keys of a record: subject, type, id, source, value; nil counts as absent. Every other
// key is a property and is kept as sent. The time is the entry's time: EventTime, integer or float
// seconds; nil or 0 means arrival. Fluent Bit's [[time, metadata], record] is read too, its
// metadata dropped.
//
// Owner: values; the event's views point into the frame. Thread: any.

#include "ingest/frame.h"
#include "ledger/event.h"

enum refusal {
    REFUSAL_NONE,
    REFUSAL_ENTRY,      // not [time, record]
    REFUSAL_RECORD,     // the record is no map
    REFUSAL_KEY,        // a key is no string
    REFUSAL_KEY_TWICE,  // a reserved key is given twice
    REFUSAL_SUBJECT_MISSING,
    REFUSAL_SUBJECT_INVALID,  // no string of 1-255 bytes
    REFUSAL_TYPE_INVALID,     // no string of 1-100 bytes; also a tag that had to serve
    REFUSAL_ID_INVALID,       // no string of 1-128 bytes
    REFUSAL_SOURCE_INVALID,   // no string of 0-255 bytes
    REFUSAL_VALUE_INVALID,    // no integer, float or decimal string; NaN; infinity
    REFUSAL_VALUE_RANGE,      // |value| >= 10^19
    REFUSAL_TIME_INVALID,     // no EventTime, integer, float or nil
    REFUSAL_TIME_RANGE,       // before 1970 or after 2262
    REFUSAL_DEPTH,            // a property nested deeper than EVENT_DEPTH_MAX
    REFUSAL_SIZE,             // larger than EVENT_SIZE_MAX
    REFUSAL_SIZE_UDP,         // larger than UDP_EVENT_MAX, in a datagram
    REFUSAL_BACKFILL,         // this connection may not backfill
    REFUSAL_TOO_OLD,          // from here on fates of the ledger, so that they count alike
    REFUSAL_TOO_FAR_AHEAD,
    REFUSAL_BATCH_NOT_OPEN,
    REFUSAL_COUNT,
};

// The reason sent in acks and shown in the reject log: "subject missing".
const char *refusal_name(enum refusal refusal);
// The same as one word for a metric's label: "subject_missing".
const char *refusal_label(enum refusal refusal);

struct decode_stats {
    uint64_t values_rounded;  // values with more than 18 decimals
};

// index: position in the frame. *out is written as far as the entry was understood, so that a
// reject log can show subject, type and id; what was not reached is empty.
enum refusal decode_entry(
    const struct frame *frame,
    struct cursor *in,
    uint32_t index,
    struct event *out,
    struct decode_stats *stats) __attribute__((warn_unused_result));
