#include "base/pack.h"

#include "base/assert.h"

#include <msgpack/pack.h>

// The packer's callback. A failed buffer keeps its failure; the packer need not know.
static int
pack_write(void *data, const char *bytes, size_t size)
{
    buffer_put(data, bytes, size);
    return 0;
}

static msgpack_packer
packer_to(struct buffer *out)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, pack_write);
    return packer;
}

void
pack_nil(struct buffer *out)
{
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_nil(&packer);
}

void
pack_bool(struct buffer *out, bool value)
{
    msgpack_packer packer = packer_to(out);
    (void)(value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
}

void
pack_int(struct buffer *out, int64_t value)
{
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_int64(&packer, value);
}

void
pack_uint(struct buffer *out, uint64_t value)
{
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_uint64(&packer, value);
}

void
pack_double(struct buffer *out, double value)
{
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_double(&packer, value);
}

void
pack_array(struct buffer *out, uint32_t count)
{
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_array(&packer, count);
}

void
pack_map(struct buffer *out, uint32_t count)
{
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_map(&packer, count);
}

void
pack_str(struct buffer *out, struct bytes text)
{
    must(text.size <= UINT32_MAX);
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_str(&packer, text.size);
    (void)msgpack_pack_str_body(&packer, text.data, text.size);
}

void
pack_text(struct buffer *out, const char *text)
{
    pack_str(out, bytes_text(text));
}

void
pack_bin(struct buffer *out, struct bytes data)
{
    must(data.size <= UINT32_MAX);
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_bin(&packer, data.size);
    (void)msgpack_pack_bin_body(&packer, data.data, data.size);
}

// The format has 32 bits of seconds: 1970 to 2106. What lies outside cannot be said by it.
void
pack_event_time(struct buffer *out, int64_t time_ns)
{
    must(time_ns >= 0 && time_ns / 1000000000 <= UINT32_MAX);
    uint32_t body[2] = {
        __builtin_bswap32((uint32_t)(time_ns / 1000000000)),
        __builtin_bswap32((uint32_t)(time_ns % 1000000000)),
    };
    msgpack_packer packer = packer_to(out);
    (void)msgpack_pack_ext(&packer, sizeof body, 0);
    (void)msgpack_pack_ext_body(&packer, body, sizeof body);
}
