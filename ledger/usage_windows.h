#pragma once
// A shard's windows of one meter, as one stream of cells in the order of their subjects: a cursor
// in each of the widest windows that cover a range (ledger/cover), in a heap.
//
//     struct usage_windows windows = {.state = &tx, .plan = plan, .shard = 0, .error = &error};
//     windows.after = last;                      // subjects behind it; size 0: all
//     status = usage_windows_open(&windows);
//     while ((window = usage_windows_top(&windows)) != NULL)
//         use window->key, window->walk; move the walk on;
//         status = usage_windows_advanced(&windows, more);
//     usage_windows_close(&windows);
//
// Owner: the stream, with its transaction. Thread: the reader's.

#include "ledger/lmdb_env.h"
#include "ledger/usage_plan.h"

// One window's cells of the meter: a cursor that stands on a cell.
struct usage_cursor {
    struct cell_key place;  // kind and start; no subject
    struct walk walk;
    struct cell_key key;  // of the current cell
};

struct usage_windows {
    struct tx *state;
    const struct usage_plan *plan;
    uint32_t shard;  // for errors
    struct error *error;
    struct bytes after;  // only subjects behind this one
    struct arena arena;
    struct usage_cursor *list;
    uint32_t *heap;  // of windows, the least subject at its top
    size_t heap_count;
    bool needs_log;  // a part of the range has no cells any more
};

// STATUS_BUSY: needs_log. STATUS_CORRUPT: a cell is damaged, by name.
enum status usage_windows_open(struct usage_windows *windows) CHECKED;
void usage_windows_close(struct usage_windows *windows);
// The window whose subject is the least; NULL: none is left.
struct usage_cursor *usage_windows_top(const struct usage_windows *windows);
// That window's walk has moved on to its next cell, if there are more, or the window ends.
enum status usage_windows_advanced(struct usage_windows *windows, bool more) CHECKED;
