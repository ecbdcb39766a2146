#include "base/status.h"

#include "base/assert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// An error is one line: whatever came from outside may hold a newline, and logs must not be split
// by it.
static void
error_text_set(struct error *error, const char *text)
{
    size_t size = strnlen(text, sizeof error->text - 1);
    while (size > 0 && text[size - 1] == '\n')
        size--;
    for (size_t i = 0; i < size; i++) {
        bool is_break = text[i] == '\n' || text[i] == '\r';
        error->text[i] = text[i];
        if (is_break)
            error->text[i] = ' ';
    }
    error->text[size] = '\0';
}

// The line is made apart from error->text, since the arguments may point into it.
static void error_format(struct error *error, const char *format, va_list args) PRINTF_LIKE(2, 0);

static void
error_format(struct error *error, const char *format, va_list args)
{
    char line[sizeof error->text];
    if (vsnprintf(line, sizeof line, format, args) < 0)
        line[0] = '\0';
    error_text_set(error, line);
}

enum status
error_set(struct error *error, enum status status, const char *format, ...)
{
    must(status != STATUS_OK);
    if (error == NULL)
        return status;
    va_list args;
    va_start(args, format);
    error_format(error, format, args);
    va_end(args);
    error->status = status;
    return status;
}

// Appends what fits.
static void
text_append(char *text, size_t text_size, const char *more)
{
    size_t size = strnlen(text, text_size - 1);
    size_t more_size = strnlen(more, text_size - 1 - size);
    memcpy(text + size, more, more_size);
    text[size + more_size] = '\0';
}

enum status
error_set_errno(struct error *error, const char *format, ...)
{
    int number = errno;
    if (error == NULL)
        return STATUS_IO;
    va_list args;
    va_start(args, format);
    error_format(error, format, args);
    va_end(args);
    const char *reason = strerrordesc_np(number);
    text_append(error->text, sizeof error->text, ": ");
    text_append(error->text, sizeof error->text, reason ? reason : "unknown error");
    error->status = STATUS_IO;
    return STATUS_IO;
}

enum status
error_prefix(struct error *error, const char *format, ...)
{
    must(error != NULL);
    char rest[sizeof error->text];
    memcpy(rest, error->text, sizeof rest);
    rest[sizeof rest - 1] = '\0';
    va_list args;
    va_start(args, format);
    error_format(error, format, args);
    va_end(args);
    text_append(error->text, sizeof error->text, ": ");
    text_append(error->text, sizeof error->text, rest);
    return error->status;
}

const char *
status_name(enum status status)
{
    switch (status) {
    case STATUS_OK: return "ok";
    case STATUS_INVALID: return "invalid";
    case STATUS_NOT_FOUND: return "not found";
    case STATUS_EXISTS: return "exists";
    case STATUS_FULL: return "full";
    case STATUS_BUSY: return "busy";
    case STATUS_TIMEOUT: return "timeout";
    case STATUS_CLOSED: return "closed";
    case STATUS_CORRUPT: return "corrupt";
    case STATUS_OVERFLOW: return "overflow";
    case STATUS_NO_MEMORY: return "no memory";
    case STATUS_IO: return "io error";
    }
    return "unknown";
}
