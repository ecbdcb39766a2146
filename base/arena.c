#include "base/arena.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Chunks grow from 4 KiB to 2 MiB, so that a small arena stays small and a large one asks seldom. A
// request larger than the next chunk gets a chunk of its own size. A chunk of 2 MiB with its head
// is one large page, where the system has them: what lies in a large arena is used at random (cells
// of ten thousand subjects), and in small pages each use would miss the page tables' cache as well.
enum {
    ARENA_ALIGNMENT = 64,  // the largest of any type we have (cache lines)
    ARENA_ALIGNMENT_MIN = 16,
    ARENA_CHUNK_MIN = 4096,
    ARENA_CHUNK_MAX = 2 << 20,
};

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;  // bytes of data
    _Alignas(ARENA_ALIGNMENT) uint8_t data[];
};

static struct arena_chunk *
chunk_new(size_t size)
{
    must(size <= PTRDIFF_MAX - (size_t)ARENA_ALIGNMENT * 2);
    size_t rounded = (size + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    bool is_page = sizeof(struct arena_chunk) + rounded == ARENA_CHUNK_MAX;
    size_t alignment = is_page ? (size_t)ARENA_CHUNK_MAX : (size_t)ARENA_ALIGNMENT;
    struct arena_chunk *chunk = aligned_alloc(alignment, sizeof *chunk + rounded);
    if (chunk == NULL) {
        (void)fprintf(stderr, "out of memory: the system refused %zu bytes\n", rounded);
        abort();
    }
    if (is_page)
        (void)madvise(chunk, ARENA_CHUNK_MAX, MADV_HUGEPAGE);
    chunk->next = NULL;
    chunk->size = rounded;
    return chunk;
}

static void
chunks_free(struct arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void
arena_done(struct arena *arena)
{
    chunks_free(arena->first);
    *arena = (struct arena){0};
}

// Empty, with the chunks up to this one, which may be NULL.
static void
arena_begin_again(struct arena *arena, struct arena_chunk *last)
{
    if (last != NULL) {
        chunks_free(last->next);
        last->next = NULL;
    }
    arena->current = arena->first;
    arena->used = 0;
    arena->total_bytes = 0;
}

void
arena_reset(struct arena *arena)
{
    arena_begin_again(arena, arena->first);
}

void
arena_rewind(struct arena *arena)
{
    arena_begin_again(arena, arena->current);
}

// The chunk that is there already, after a rewind, or a new one in front of it.
static void
arena_grow(struct arena *arena, size_t size)
{
    if (arena->current != NULL && arena->current->next != NULL &&
        arena->current->next->size >= size) {
        arena->current = arena->current->next;
        arena->used = 0;
        return;
    }
    size_t wanted = ARENA_CHUNK_MIN;
    const size_t most = ARENA_CHUNK_MAX - sizeof(struct arena_chunk);
    if (arena->current != NULL && arena->current->size >= ARENA_CHUNK_MIN)
        wanted = arena->current->size < most / 2 ? arena->current->size * 2 : most;
    struct arena_chunk *chunk = chunk_new(size > wanted ? size : wanted);
    if (arena->current != NULL) {
        chunk->next = arena->current->next;
        arena->current->next = chunk;
    } else {
        arena->first = chunk;
    }
    arena->current = chunk;
    arena->used = 0;
}

// Uninitialised memory. Chunk data begins at ARENA_ALIGNMENT, so aligning the offset aligns the
// address.
static uint8_t *
arena_carve(struct arena *arena, size_t size, size_t alignment)
{
    must(alignment <= ARENA_ALIGNMENT && (alignment & (alignment - 1)) == 0);
    size_t offset = (arena->used + alignment - 1) & ~(alignment - 1);
    if (arena->current == NULL || offset > arena->current->size ||
        size > arena->current->size - offset) {
        arena_grow(arena, size);
        offset = 0;
    }
    must(size <= arena->current->size - offset);
    arena->used = offset + size;
    arena->total_bytes += size;
    return arena->current->data + offset;
}

// The size of a type is a multiple of its alignment, so the lowest bit of the size bounds it.
static size_t
alignment_of_size(size_t size)
{
    size_t lowest_bit = size & (~size + 1);
    if (lowest_bit > ARENA_ALIGNMENT)
        return ARENA_ALIGNMENT;
    return lowest_bit > ARENA_ALIGNMENT_MIN ? lowest_bit : ARENA_ALIGNMENT_MIN;
}

void *
arena_take(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    must(!__builtin_mul_overflow(count, size, &total));
    // At least a byte, so that no two calls return the same address.
    uint8_t *memory = arena_carve(arena, total > 0 ? total : 1, alignment_of_size(size));
    if (total > 0)
        memset(memory, 0, total);
    return memory;
}

char *
arena_text_of(struct arena *arena, struct bytes bytes)
{
    must(bytes.size < PTRDIFF_MAX);
    char *text = (char *)arena_carve(arena, bytes.size + 1, 1);
    if (bytes.size > 0)
        memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    return text;
}

char *
arena_text(struct arena *arena, const char *text)
{
    must(text != NULL);
    return arena_text_of(arena, bytes_text(text));
}

struct bytes
arena_bytes(struct arena *arena, struct bytes bytes)
{
    return bytes_of(arena_text_of(arena, bytes), bytes.size);
}

char *
arena_format(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    must(size >= 0);
    char *text = (char *)arena_carve(arena, (size_t)size + 1, 1);
    int written = vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    must(written == size);
    return text;
}
