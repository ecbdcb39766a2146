#include "client/packet.h"

#include "base/assert.h"
#include "base/pack.h"

enum { MSGPACK_BIN32 = 0xc6 };

void
packet_head(struct buffer *out, const struct batch *batch)
{
    must(batch->events_size <= UINT32_MAX);
    pack_array(out, 3);
    pack_text(out, "tally");
    // The widest form always: its size does not depend on the events.
    buffer_u8(out, MSGPACK_BIN32);
    buffer_u32be(out, (uint32_t)batch->events_size);
}

void
packet_tail(struct buffer *out, const struct batch *batch)
{
    bool is_backfill = batch->backfill[0] != '\0';
    pack_map(out, 3);
    pack_text(out, "size");
    pack_uint(out, batch->events_count);
    pack_text(out, "chunk");
    pack_str(out, bytes_of(batch->chunk, sizeof batch->chunk));
    pack_text(out, "tally");
    pack_map(out, is_backfill ? 2 : 1);
    pack_text(out, "results");
    pack_bool(out, true);
    if (is_backfill) {
        pack_text(out, "backfill");
        pack_text(out, batch->backfill);
    }
}
