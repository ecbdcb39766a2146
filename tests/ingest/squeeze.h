#pragma once
// Gzip members for tests, made with zlib.
//
//     squeeze(&out, bytes);          // one member behind what out has
//     wire_squeezed(&out, "api_call", &wire, 3);      // CompressedPackedForward of three members
//
// Owner: the test.

#include "base/assert.h"
#include "tests/ingest/wire.h"

#include <zlib.h>

static inline void
squeeze(struct buffer *out, struct bytes bytes)
{
    z_stream stream = {0};
    int rc = deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    must(rc == Z_OK);
    size_t room = deflateBound(&stream, bytes.size);
    uint8_t *place = buffer_reserve(out, room);
    must(place != NULL);
    stream.next_in = (uint8_t *)(uintptr_t)bytes.data;
    stream.avail_in = (uInt)bytes.size;
    stream.next_out = place;
    stream.avail_out = (uInt)room;
    rc = deflate(&stream, Z_FINISH);
    must(rc == Z_STREAM_END);
    buffer_commit(out, room - stream.avail_out);
    rc = deflateEnd(&stream);
    must(rc == Z_OK);
}

// As packed entries with whatever bytes, and the option compressed.
static inline void
wire_gzip(struct buffer *out, const char *tag, struct bytes packed, const char *chunk)
{
    pack_array(out, 3);
    pack_text(out, tag);
    pack_bin(out, packed);
    pack_map(out, 2);
    pack_text(out, "compressed");
    pack_text(out, "gzip");
    pack_text(out, "chunk");
    pack_text(out, chunk);
}

// The entries are cut into members with no regard for where an entry ends.
static inline void
wire_squeezed(struct buffer *out, const char *tag, const struct wire *wire, size_t members)
{
    struct buffer entries = {0};
    struct buffer packed = {0};
    wire_entries(&entries, wire);
    size_t at = 0;
    for (size_t i = 0; i < members; i++) {
        size_t end = entries.size * (i + 1) / members;
        squeeze(&packed, bytes_of(entries.data + at, end - at));
        at = end;
    }
    wire_gzip(out, tag, buffer_view(&packed), wire->chunk);
    buffer_done(&entries);
    buffer_done(&packed);
}
