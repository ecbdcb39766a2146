#include "base/buffer.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

// From BUFFER_MAPPED_MIN bytes on memory is mapped, and grows without its bytes being copied or the
// new half being touched. Many buffers that grow together, as messages do that come in together,
// would else be copied at the same moment, and whoever shares their thread waits for all of them.
enum { BUFFER_CAPACITY_MIN = 256, BUFFER_MAPPED_MIN = 256 * 1024 };

static void
memory_give(uint8_t *data, size_t capacity)
{
    if (capacity < BUFFER_MAPPED_MIN) {
        free(data);
        return;
    }
    int rc = munmap(data, capacity);
    must(rc == 0);
}

// Like realloc; the first size bytes are kept. NULL: no memory, and data is as it was.
static uint8_t *
memory_grow(uint8_t *data, size_t size, size_t capacity, size_t wanted)
{
    must(wanted > capacity && size <= capacity);
    if (wanted < BUFFER_MAPPED_MIN)
        return realloc(data, wanted);
    bool is_mapped = capacity >= BUFFER_MAPPED_MIN;
    void *grown =
        is_mapped ? mremap(data, capacity, wanted, MREMAP_MAYMOVE)
                  : mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (grown == MAP_FAILED)
        return NULL;
    if (!is_mapped && size > 0)
        memcpy(grown, data, size);
    if (!is_mapped)
        free(data);
    return grown;
}

void
buffer_done(struct buffer *buffer)
{
    memory_give(buffer->data, buffer->capacity);
    *buffer = (struct buffer){0};
}

void
buffer_reset(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

// Doubles, so that n appended bytes cost O(n); never beyond the limit.
static bool
buffer_grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : BUFFER_CAPACITY_MIN;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    if (buffer->limit > 0 && capacity > buffer->limit)
        capacity = buffer->limit;
    must(capacity >= needed);
    uint8_t *data = memory_grow(buffer->data, buffer->size, buffer->capacity, capacity);
    if (data == NULL)
        return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *
buffer_reserve(struct buffer *buffer, size_t size)
{
    must(buffer->size <= buffer->capacity);
    size_t needed;
    if (buffer->failed)
        return NULL;
    bool is_too_much = __builtin_add_overflow(buffer->size, size, &needed) ||
                       needed > PTRDIFF_MAX || (buffer->limit > 0 && needed > buffer->limit);
    bool is_missing = buffer->data == NULL || needed > buffer->capacity;
    if (is_too_much || (is_missing && !buffer_grow(buffer, needed))) {
        buffer->failed = true;
        return NULL;
    }
    return buffer->data + buffer->size;
}

void
buffer_commit(struct buffer *buffer, size_t size)
{
    must(size <= buffer->capacity - buffer->size);
    buffer->size += size;
}

void
buffer_put(struct buffer *buffer, const void *data, size_t size)
{
    uint8_t *place = buffer_reserve(buffer, size);
    if (place == NULL || size == 0)
        return;
    memcpy(place, data, size);
    buffer->size += size;
}

void
buffer_bytes(struct buffer *buffer, struct bytes bytes)
{
    buffer_put(buffer, bytes.data, bytes.size);
}

void
buffer_text(struct buffer *buffer, const char *text)
{
    buffer_put(buffer, text, strlen(text));
}

void
buffer_int(struct buffer *buffer, int64_t value)
{
    char digits[20];  // of INT64_MIN: a sign and 19
    char *const end = digits + sizeof digits;
    char *at = end;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        *--at = '-';
    buffer_put(buffer, at, (size_t)(end - at));
}

// The NUL that vsnprintf writes is counted nowhere, but needs a byte: a short text goes through the
// stack, so that a buffer that is full to its limit is not refused for the NUL's sake.
void
buffer_format(struct buffer *buffer, const char *format, ...)
{
    char line[256];
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    must(size >= 0);
    if ((size_t)size < sizeof line) {
        buffer_put(buffer, line, (size_t)size);
    } else {
        uint8_t *place = buffer_reserve(buffer, (size_t)size + 1);
        if (place != NULL) {
            (void)vsnprintf((char *)place, (size_t)size + 1, format, again);
            buffer->size += (size_t)size;
        }
    }
    va_end(again);
}

void
buffer_u8(struct buffer *buffer, uint8_t value)
{
    buffer_put(buffer, &value, sizeof value);
}

void
buffer_u16le(struct buffer *buffer, uint16_t value)
{
    buffer_put(buffer, &value, sizeof value);
}

void
buffer_u32le(struct buffer *buffer, uint32_t value)
{
    buffer_put(buffer, &value, sizeof value);
}

void
buffer_u64le(struct buffer *buffer, uint64_t value)
{
    buffer_put(buffer, &value, sizeof value);
}

void
buffer_u32be(struct buffer *buffer, uint32_t value)
{
    buffer_u32le(buffer, __builtin_bswap32(value));
}

void
buffer_u64be(struct buffer *buffer, uint64_t value)
{
    buffer_u64le(buffer, __builtin_bswap64(value));
}
