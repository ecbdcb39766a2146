#pragma once
// One line per event on standard error: key=value, or JSON with --log-format json.
//
//     log_info("listening", LOG_TEXT("tcp", address), LOG_INT("shards", count));
//     -> time=2026-11-22T10:00:00.123Z level=info event=listening tcp=127.0.0.1:24224 shards=2
//
// Only main.c, run.c and thread bodies log. Values with spaces, quotes, '=' or control bytes are
// quoted and escaped. A line is one write(2), a very long one several, and threads do not mix.
// Nobody waits for a reader who does not read: a line for which a pipe, a socket or a terminal has
// no room at once is dropped, and the next that finds room is preceded by event=log_lost lines=3.
// Thread: any.

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
    const char *key;  // NULL ends the list
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_BYTES } kind;
    union {
        const char *text;
        int64_t integer;
        struct bytes bytes;
    };
};

#define LOG_TEXT(name, value)                                                                      \
    ((struct log_field){.key = (name), .kind = LOG_FIELD_TEXT, .text = (value)})
#define LOG_INT(name, value)                                                                       \
    ((struct log_field){.key = (name), .kind = LOG_FIELD_INT, .integer = (int64_t)(value)})
#define LOG_BYTES(name, value)                                                                     \
    ((struct log_field){.key = (name), .kind = LOG_FIELD_BYTES, .bytes = (value)})

// program is added to JSON lines. Level: lines below it are dropped (default info).
void log_init(const char *program, enum log_format format, enum log_level level);
bool log_format_parse(const char *text, enum log_format *out);
bool log_level_parse(const char *text, enum log_level *out);

// fields ends with LOG_END; NULL: none.
void log_write(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_END         ((struct log_field){.key = NULL})
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__, LOG_END})
// The event's name goes through the variable arguments, since C17 wants at least one of them.
#define LOG_LINE(level, event, ...)                                                                \
    log_write((level), (event), (const struct log_field[]){__VA_ARGS__})
#define log_debug(...) LOG_LINE(LOG_LEVEL_DEBUG, __VA_ARGS__, LOG_END)
#define log_info(...)  LOG_LINE(LOG_LEVEL_INFO, __VA_ARGS__, LOG_END)
#define log_warn(...)  LOG_LINE(LOG_LEVEL_WARN, __VA_ARGS__, LOG_END)
#define log_error(...) LOG_LINE(LOG_LEVEL_ERROR, __VA_ARGS__, LOG_END)
