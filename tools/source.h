#pragma once
// A file or standard input, read piece by piece through one window of memory.
//
//     source_open(path, &arena, &source, &error);            // "-": standard input
//     uint8_t *text = source_text(&source);     // source_left(&source) bytes, ours to change
//     source_fill(&source, &error);             // more of them, or is_end
//     source_skip(&source, record_size);
//
// A byte order mark at the front is skipped. source_fill moves the window's bytes, so nothing
// borrowed from source_text outlives it. Owner: the caller. Thread: one at a time.

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>

enum {
    SOURCE_RECORD_MAX = 1 << 20,  // bytes of one record at most
    SOURCE_WINDOW_SIZE = SOURCE_RECORD_MAX + (256 << 10),
};

struct source {
    int fd;
    bool is_owned;  // close fd at the end
    bool is_end;    // nothing more will come
    bool is_started;
    const char *name;  // for messages
    uint8_t *window;
    size_t begin, end;    // what of the window is unread
    int64_t size_bytes;   // of the file; -1: not known
    uint64_t read_bytes;  // taken from the file so far
};

enum status
source_open(const char *path, struct arena *arena, struct source *out, struct error *error) CHECKED;
// Over bytes in memory, for tests: they are copied.
void source_open_bytes(struct bytes bytes, struct arena *arena, struct source *out);
void source_done(struct source *source);

static inline uint8_t *
source_text(struct source *source)
{
    return source->window + source->begin;
}

static inline size_t
source_left(const struct source *source)
{
    return source->end - source->begin;
}

void source_skip(struct source *source, size_t size);
// Reads at least a byte unless the end is reached. STATUS_FULL when the window holds
// SOURCE_WINDOW_SIZE unread bytes: the caller must skip some first.
enum status source_fill(struct source *source, struct error *error) CHECKED;
