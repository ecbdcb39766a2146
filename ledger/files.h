#pragma once
// Files and directories of a ledger: made so that they are there after a crash, and shared with the
// group (DESIGN section 6).
//
//     struct path path;
//     path_make(&path, dir, "shards", &error);     // dir/shards
//     dir_make(path.text, &error); ... dir_sync(path.text, &error);
//     files_replace(dir, "ledger.conf", text, 0600, &error);
//
// Errors name the path. Thread: any.

#include "base/buffer.h"
#include "base/status.h"

#include <sys/types.h>

enum { FILES_PATH_MAX = 4096 };

struct path {
    char text[FILES_PATH_MAX];
};

// dir/below, dir alone when below is empty. STATUS_INVALID: too long.
enum status
path_make(struct path *out, const char *dir, const char *below, struct error *error) CHECKED;
// With setgid, for the group. One that is there stays as it is.
enum status dir_make(const char *path, struct error *error) CHECKED;
// fsyncs the directory's entries.
enum status dir_sync(const char *path, struct error *error) CHECKED;
// fsyncs the directory that holds path.
enum status parent_sync(const char *path, struct error *error) CHECKED;
// All of it, from where the file is. STATUS_IO, with errno.
enum status fd_write(int fd, struct bytes bytes) CHECKED;
// Writes and fsyncs a file, over what was there.
enum status
files_write(const char *path, struct bytes text, mode_t mode, struct error *error) CHECKED;
// The same beside it, then renamed over it and the directory fsynced: the old one or the new one is
// there at any moment.
enum status files_replace(
    const char *dir, const char *name, struct bytes text, mode_t mode, struct error *error) CHECKED;
// Appends the file to the buffer. STATUS_NOT_FOUND: it is not there. STATUS_NO_MEMORY: it is larger
// than the buffer's limit, too.
enum status files_load(const char *path, struct buffer *out, struct error *error) CHECKED;
// Reads a file through and, with to, writes it there over what was there, and fsyncs it: for files
// that do not fit into memory. The checksum is chained over pieces of a mebibyte, from 0.
enum status files_copy(
    const char *from,
    const char *to,
    uint64_t *out_size,
    uint64_t *out_checksum,
    struct error *error) CHECKED;
// An exclusive lock on a file, made when it is missing; ended by closing *out_fd. STATUS_BUSY with
// "what: another process has it".
enum status
files_lock(const char *path, const char *what, int *out_fd, struct error *error) CHECKED;
