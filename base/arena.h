#pragma once
// A region of memory that is given back all at once.
//
//     scoped(arena_done) struct arena arena = {0};
//     char *copy = arena_text(&arena, name);
//     arena_reset(&arena);                     // keeps the first chunk for reuse
//
// Control plane only: results go to the caller's arena. Growth never moves what was handed out.
// Running out of memory stops the process with a message (the data plane allocates at start only).
// Owner: the caller. Thread: one at a time.

#include "base/bytes.h"
#include "base/status.h"

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *first;
    struct arena_chunk *current;
    size_t used;         // bytes used of the current chunk
    size_t total_bytes;  // bytes handed out since the last reset
};

void arena_done(struct arena *arena);
void arena_reset(struct arena *arena);
// As arena_reset, but keeps all that was in use since the last one: for who will take as much.
void arena_rewind(struct arena *arena);

// Zeroed memory of count * size bytes, aligned for any type. Checks the product for overflow.
void *arena_take(struct arena *arena, size_t count, size_t size)
    __attribute__((malloc, returns_nonnull));

#define arena_new(arena, type)          ((type *)arena_take((arena), 1, sizeof(type)))
#define arena_array(arena, count, type) ((type *)arena_take((arena), (count), sizeof(type)))

// Copies with a NUL after the last byte.
char *arena_text(struct arena *arena, const char *text) __attribute__((returns_nonnull));
char *arena_text_of(struct arena *arena, struct bytes bytes) __attribute__((returns_nonnull));
struct bytes arena_bytes(struct arena *arena, struct bytes bytes);
char *arena_format(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3)
    __attribute__((returns_nonnull));
