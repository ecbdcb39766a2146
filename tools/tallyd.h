#pragma once
// The tallyd of a data directory: what it says about itself in DIR/tallyd.json once it listens.
//
//     status = tallyd_read(data, &arena, &tallyd, &error);
//     if (!status && tallyd_is_running(data, &tallyd))
//         connect(tallyd.unix_path);
//
// After a kill -9 the file stays, and its process id may be somebody else's: tallyd_is_running
// holds the process against the file. Texts live in the arena. Thread: main.

#include "base/arena.h"
#include "base/status.h"

#include <sys/types.h>

struct tallyd {
    pid_t pid;
    const char *tcp;  // "HOST:PORT", or "" each
    const char *udp;
    const char *unix_path;
    const char *metrics;
};

// STATUS_NOT_FOUND: no file. STATUS_INVALID: not what tallyd writes.
enum status
tallyd_read(const char *data, struct arena *arena, struct tallyd *out, struct error *error) CHECKED;
// Whether the process is alive, is a tallyd, and started before the file was written.
bool tallyd_is_running(const char *data, const struct tallyd *tallyd);
