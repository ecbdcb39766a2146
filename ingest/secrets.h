#pragma once
// Whole files that an operator names: secrets, which others must not be able to read, and others.
//
//     status = secrets_read(settings->key_file, &arena, &text, &error);     // mode checked
//     status = public_read(settings->certificate, &arena, &text, &error);
//
// Owner: the caller; texts live in its arena. Thread: any.

#include "base/arena.h"

enum { SECRETS_FILE_MAX = 4 * 1024 * 1024 };  // bytes

// STATUS_INVALID: no regular file, too large, or others than owner and group can read it, or others
// than the owner can change it. STATUS_IO: it cannot be read. The error names the path.
enum status
secrets_read(const char *path, struct arena *arena, struct bytes *out, struct error *error) CHECKED;
// The same, whoever can read it.
enum status
public_read(const char *path, struct arena *arena, struct bytes *out, struct error *error) CHECKED;
