#pragma once
// A progress bar for long work. Silent when standard error is no terminal.
//
//     struct progress progress;
//     progress_begin(&progress, "importing", bytes_total);
//     while (...) progress_set(&progress, bytes_read);   // draws at most ten times a second
//     progress_end(&progress);                           // clears the line
//     -> importing  [############            ]  52%  1.2M/s  eta 0:41
//
// Owner: the caller. Thread: one at a time.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROGRESS_LINE_MAX = 192 };

struct progress {
    const char *label;
    uint64_t total;  // 0: unknown
    uint64_t done;
    int64_t began_ns;
    int64_t drawn_ns;  // 0: not yet
    int fd;
    bool is_shown;
};

void progress_begin(struct progress *progress, const char *label, uint64_t total);
void progress_set(struct progress *progress, uint64_t done);
void progress_end(struct progress *progress);

// The line for a moment elapsed_ns after the beginning; returns its length. What is drawn, apart so
// that it can be tested.
size_t
progress_line(const struct progress *progress, int64_t elapsed_ns, char out[PROGRESS_LINE_MAX]);
