#pragma once
// Small files of the control plane, read and written whole.
//
//     file_read(path, &arena, &text, &error);
//     file_write(path, 0600, bytes_text(url), &error);      // a reader sees the old or the new one
//
// Thread: any.

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>
#include <sys/types.h>

enum { FILE_READ_MAX = 1 << 20 };

// STATUS_NOT_FOUND when there is none; STATUS_FULL beyond FILE_READ_MAX bytes.
enum status
file_read(const char *path, struct arena *arena, struct bytes *out, struct error *error) CHECKED;
// Through a new file beside it and a rename.
enum status
file_write(const char *path, mode_t mode, struct bytes text, struct error *error) CHECKED;
// The file from offset on, its last size_max bytes at most; "" when it cannot be read.
const char *file_tail(const char *path, int64_t offset, size_t size_max, struct arena *arena);
// 0 when there is none.
int64_t file_size(const char *path);
// Makes the folder if it is missing; mode is set whatever the umask.
enum status folder_make(const char *path, mode_t mode, struct error *error) CHECKED;
// The bytes on disk of all below it, sparse files counted by what they take.
int64_t folder_disk_bytes(const char *path);
// Removes it and all below it, as far as it can.
void folder_remove(const char *path);
