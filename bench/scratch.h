#pragma once
// A directory for one measurement, gone after it.
//
//     scratch_make(parent, path, &error);
//     scratch_remove(path);
//
// Owner: the caller. Thread: main, and nothing else may walk directories meanwhile.

#include "base/status.h"

#include <limits.h>
#include <stdint.h>

// Makes PARENT/tally-bench-XXXXXX and names it in path; empty after an error.
enum status scratch_make(const char *parent, char path[PATH_MAX], struct error *error) CHECKED;
// What the files below a path take on disk; files that go meanwhile do not count.
uint64_t scratch_bytes(const char *path);
// With all that is in it. An empty path: nothing. What cannot be removed stays.
void scratch_remove(char path[PATH_MAX]);
