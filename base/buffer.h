#pragma once
// A growing run of bytes: what writers write into.
//
//     scoped(buffer_done) struct buffer out = {0};
//     buffer_u32le(&out, count);
//     buffer_format(&out, "%s\n", name);
//
// A buffer with a limit (buffer_limit) or a failed allocation turns sticky-failed: later writes are
// ignored and buffer_failed says so once at the end. Zeroed is a valid empty buffer without limit.
// Owner: the caller. Thread: one at a time.

#include "base/bytes.h"
#include "base/status.h"

struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit;  // 0: none
    bool failed;
};

void buffer_done(struct buffer *buffer);
// Empties it and keeps the memory; clears a failure.
void buffer_reset(struct buffer *buffer);
// Makes room for size more bytes and returns where they go, or NULL (sticky failure). Does not
// count them: call buffer_commit with what was written.
uint8_t *buffer_reserve(struct buffer *buffer, size_t size);
void buffer_commit(struct buffer *buffer, size_t size);

void buffer_put(struct buffer *buffer, const void *data, size_t size);
void buffer_bytes(struct buffer *buffer, struct bytes bytes);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
void buffer_int(struct buffer *buffer, int64_t value);  // its decimal digits
void buffer_u8(struct buffer *buffer, uint8_t value);
void buffer_u16le(struct buffer *buffer, uint16_t value);
void buffer_u32le(struct buffer *buffer, uint32_t value);
void buffer_u64le(struct buffer *buffer, uint64_t value);
void buffer_u32be(struct buffer *buffer, uint32_t value);
void buffer_u64be(struct buffer *buffer, uint64_t value);

static inline struct bytes
buffer_view(const struct buffer *buffer)
{
    return (struct bytes){buffer->data, buffer->size};
}

static inline bool
buffer_failed(const struct buffer *buffer)
{
    return buffer->failed;
}
