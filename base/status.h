#pragma once
// Outcome of an operation that can fail while it runs.
//
//     enum status status = shard_open(path, &options, &shard, error);
//     if (status)
//         return status;
//
// STATUS_OK is 0, so `if (status)` reads "if it failed". Programmer errors are asserts, not
// statuses. struct error is for the control plane: the place that knows the cause writes one line
// of text that tells a person what to do. Callers pass it on; only main.c, run.c and thread bodies
// print it.

#include <stdbool.h>
#include <stddef.h>

#define CHECKED __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, args_index)                                                      \
    __attribute__((format(printf, format_index, args_index)))

// scoped(done_function) on a declaration runs done_function(&variable) at the end of the scope.
#define scoped(done_function) __attribute__((cleanup(done_function)))

enum status {
    STATUS_OK = 0,
    STATUS_INVALID,    // the caller's input is wrong; error says what and where
    STATUS_NOT_FOUND,  // the named thing does not exist
    STATUS_EXISTS,     // the named thing exists already, and differs
    STATUS_FULL,       // a stated limit is reached; nothing was changed
    STATUS_BUSY,       // somebody else holds it (lock, other process); may work later
    STATUS_TIMEOUT,    // the deadline passed
    STATUS_CLOSED,     // the peer or the object is gone
    STATUS_CORRUPT,    // stored bytes are not what was written
    STATUS_OVERFLOW,   // an exact number left its range
    STATUS_NO_MEMORY,  // the system refused memory
    STATUS_IO,         // the system refused an operation; error names it and errno
};

struct error {
    enum status status;
    char text[1024];  // one line, no newline at its end
};

// Fills error (may be NULL) with status and the formatted line and returns status, so that a caller
// can write `return error_set(error, STATUS_INVALID, "...")`. status must not be STATUS_OK.
enum status error_set(struct error *error, enum status status, const char *format, ...)
    PRINTF_LIKE(3, 4);

// As error_set with STATUS_IO, and ": strerror(errno)" added.
enum status error_set_errno(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

// Puts "prefix: " before the text that is there. Returns error->status.
enum status error_prefix(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

// "invalid", "not found", ... for logs.
const char *status_name(enum status status);
