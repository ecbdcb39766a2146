#include "base/gzip.h"

#include "base/assert.h"
#include "base/pool.h"

#include <limits.h>
#define ZLIB_CONST
#include <zlib.h>

// Room for output is offered in steps, so that a buffer grows with what a member really holds.
enum { GZIP_STEP = 64 * 1024 };
// The largest window, and 16 for "gzip and nothing else".
enum { GZIP_WINDOW_BITS = 15 + 16 };

// zlib's state points back at the stream, which therefore must not move.
struct gzip {
    z_stream stream;
    size_t allowed;   // bytes that may come out
    size_t size_max;  // the limit that is not the ratio's
    size_t taken;     // bytes that went in
    bool is_inside;   // a member
};

static void *
memory_take(void *context, unsigned count, unsigned size)
{
    (void)context;
    return pool_take(count, size);
}

static void
memory_give(void *context, void *memory)
{
    (void)context;
    pool_give(memory);
}

enum status
gzip_open(struct gzip **out, struct error *error)
{
    struct gzip *gzip = pool_take(1, sizeof *gzip);
    if (gzip == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for inflating");
    gzip->stream.zalloc = memory_take;
    gzip->stream.zfree = memory_give;
    if (inflateInit2(&gzip->stream, GZIP_WINDOW_BITS) != Z_OK) {
        pool_give(gzip);
        return error_set(error, STATUS_NO_MEMORY, "zlib %s does not start", zlibVersion());
    }
    *out = gzip;
    return STATUS_OK;
}

void
gzip_close(struct gzip *gzip)
{
    if (gzip == NULL)
        return;
    (void)inflateEnd(&gzip->stream);
    pool_give(gzip);
}

size_t
gzip_size_max(size_t packed_size, const struct gzip_limits *limits)
{
    size_t allowed;
    if (__builtin_mul_overflow(packed_size, limits->ratio_max, &allowed))
        allowed = SIZE_MAX;
    if (allowed < GZIP_RATIO_FLOOR)
        allowed = GZIP_RATIO_FLOOR;
    return allowed < limits->size_max ? allowed : limits->size_max;
}

// Inflates into the next step of out. GZIP_FINE: go on, *out_is_end says whether the member is
// over.
static enum gzip_result
member_step(z_stream *stream, size_t allowed, struct buffer *out, bool *out_is_end)
{
    // One byte beyond what is allowed shows that there is more.
    size_t left = allowed + 1 - out->size;
    size_t room = left < GZIP_STEP ? left : (size_t)GZIP_STEP;
    uint8_t *place = buffer_reserve(out, room);
    if (place == NULL)
        return GZIP_NO_MEMORY;
    stream->next_out = place;
    stream->avail_out = (uInt)room;
    int rc = inflate(stream, Z_NO_FLUSH);
    must(stream->avail_out <= room);
    buffer_commit(out, room - stream->avail_out);
    if (out->size > allowed)
        return GZIP_TOO_LARGE;
    *out_is_end = rc == Z_STREAM_END;
    if (rc == Z_MEM_ERROR)
        return GZIP_NO_MEMORY;
    bool has_more = rc == Z_OK && (stream->avail_in > 0 || stream->avail_out == 0);
    return *out_is_end || has_more ? GZIP_FINE : GZIP_BROKEN;
}

// A step's cost beside its bytes: a member of a few bytes is work too.
enum { GZIP_STEP_COST = 512 };

static enum gzip_result
members_inflate(struct gzip *gzip, size_t work, struct buffer *out)
{
    z_stream *stream = &gzip->stream;
    enum gzip_result result = gzip->is_inside || stream->avail_in > 0 ? GZIP_FINE : GZIP_BROKEN;
    size_t done = 0;
    while (result == GZIP_FINE && (gzip->is_inside || stream->avail_in > 0)) {
        if (done >= work)
            return GZIP_MORE;
        if (!gzip->is_inside) {
            int rc = inflateReset(stream);
            must(rc == Z_OK);
        }
        size_t in_before = stream->avail_in;
        size_t out_before = out->size;
        bool is_end = false;
        result = member_step(stream, gzip->allowed, out, &is_end);
        gzip->is_inside = !is_end;
        done += GZIP_STEP_COST + (in_before - stream->avail_in) + (out->size - out_before);
    }
    return result;
}

void
gzip_begin(
    struct gzip *gzip, size_t packed_size, const struct gzip_limits *limits, struct buffer *out)
{
    must(out->size == 0 && !buffer_failed(out));
    must(packed_size <= UINT_MAX && limits->size_max < SIZE_MAX);
    gzip->allowed = gzip_size_max(packed_size, limits);
    gzip->size_max = limits->size_max;
    gzip->taken = 0;
    gzip->is_inside = false;
    out->limit = limits->size_max + 1;
}

enum gzip_result
gzip_some(struct gzip *gzip, struct bytes packed, size_t work, struct buffer *out)
{
    must(gzip->taken <= packed.size);
    gzip->stream.next_in = packed.data + gzip->taken;
    gzip->stream.avail_in = (uInt)(packed.size - gzip->taken);
    enum gzip_result result = members_inflate(gzip, work, out);
    gzip->taken = packed.size - gzip->stream.avail_in;
    gzip->stream.next_in = NULL;
    gzip->stream.avail_in = 0;
    if (result == GZIP_TOO_LARGE && gzip->allowed < gzip->size_max)
        result = GZIP_RATIO;
    if (result != GZIP_FINE && result != GZIP_MORE)
        buffer_reset(out);
    return result;
}

enum gzip_result
gzip_inflate(
    struct gzip *gzip, struct bytes packed, const struct gzip_limits *limits, struct buffer *out)
{
    gzip_begin(gzip, packed.size, limits, out);
    return gzip_some(gzip, packed, SIZE_MAX, out);
}

// --- packing ---

// zlib takes memory for its window and its hash chains, which a small text never fills.
static int
window_bits_of(size_t size)
{
    int bits = 9;
    while (bits < 15 && ((size_t)1 << bits) < size)
        bits++;
    return bits;
}

enum status
gzip_pack(struct bytes plain, struct buffer *out)
{
    must(plain.size <= INT_MAX);
    z_stream stream = {.zalloc = memory_take, .zfree = memory_give};
    int bits = window_bits_of(plain.size);
    if (deflateInit2(&stream, 1, Z_DEFLATED, bits + 16, bits - 7, Z_DEFAULT_STRATEGY) != Z_OK)
        return STATUS_NO_MEMORY;
    size_t room = deflateBound(&stream, plain.size);
    uint8_t *place = buffer_reserve(out, room);
    enum status status = place != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        stream.next_in = plain.data;
        stream.avail_in = (uInt)plain.size;
        stream.next_out = place;
        stream.avail_out = (uInt)room;
        int rc = deflate(&stream, Z_FINISH);
        must(rc == Z_STREAM_END);
        buffer_commit(out, room - stream.avail_out);
    }
    (void)deflateEnd(&stream);
    return status;
}
