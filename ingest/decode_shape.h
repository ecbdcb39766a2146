#pragma once
// Entries that are like one before not only in their keys but in all sizes: every field lies where
// it lay there.
//
//     struct decode_shape shape = {0};
//     after = shape_take(&shape, &frame, at, &event, &stats);      // NULL: read it as any other
//     shape_note(&shape, &frame, entry, &event);                   // of one that was read so
//
// The header bytes and the keys of an entry are compared with those of the one that the shape was
// learnt from, sixteen at a time; then nothing is looked for (410 instructions an entry came to
// 130). Nothing is refused here: NULL says that decode_entry is to decide, and *out is undefined.
//
// Private to decode_alike.c. Owner: who owns the layout. Thread: its own.

#include "base/unpack.h"
#include "ingest/decode.h"

// A field's place in the entry; offset 0: there is none.
struct shape_field {
    uint8_t offset;
    uint8_t size;
};

_Static_assert(UNPACK_SHAPE_MAX - 1 <= UINT8_MAX, "an entry's places fit");

struct decode_shape {
    struct unpack_shape bytes;
    uint32_t last_size;  // of the entry that was noted before
    uint32_t wait;       // so many other entries must come before another shape is learnt
    uint32_t properties;
    uint32_t runs;
    struct shape_field subject, type, id, source, value;
    struct shape_field run[EVENT_RUNS_MAX];
};

// The entry at the front of rest: the place behind it. index: as for decode_entry.
const uint8_t *shape_take(
    const struct decode_shape *shape,
    const struct frame *frame,
    struct bytes rest,
    uint32_t index,
    struct event *out,
    struct decode_stats *stats);
// An entry that was read and taken, as `event`. Learns its shape when the one before had its size.
void shape_note(struct decode_shape *shape, struct bytes entry, const struct event *event);
