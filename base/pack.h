#pragma once
// Writing msgpack (msgpack-c's packer behind it) into a buffer.
//
//     pack_map(&out, 1); pack_text(&out, "ack"); pack_bytes_str(&out, chunk);
//
// Owner: the caller's buffer, whose sticky failure tells of an overflow. Thread: one at a time.

#include "base/buffer.h"

#include <stdint.h>

void pack_nil(struct buffer *out);
void pack_bool(struct buffer *out, bool value);
void pack_int(struct buffer *out, int64_t value);
void pack_uint(struct buffer *out, uint64_t value);
void pack_double(struct buffer *out, double value);
void pack_array(struct buffer *out, uint32_t count);
void pack_map(struct buffer *out, uint32_t count);
void pack_str(struct buffer *out, struct bytes text);
void pack_text(struct buffer *out, const char *text);
void pack_bin(struct buffer *out, struct bytes data);
// Fluent EventTime: ext type 0, seconds and nanoseconds as big-endian uint32 (Forward protocol v1).
void pack_event_time(struct buffer *out, int64_t time_ns);
