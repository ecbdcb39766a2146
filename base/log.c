#include "base/log.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// A value from outside must not fill the disk: what is longer is cut.
enum { LOG_VALUE_MAX = 2048 };

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
};

// What is written, and what could not be: whoever reads the other end of a pipe may have stopped,
// and answers must not wait for that.
static struct {
    pthread_mutex_t mutex;
    uint64_t lost;  // lines since the last one that was written
    bool is_torn;   // the last one has no end
} output = {.mutex = PTHREAD_MUTEX_INITIALIZER};

// Set by log_init before threads start, only read afterwards.
static struct {
    const char *program;
    enum log_format format;
    enum log_level level;
} config = {.program = "tally", .format = LOG_FORMAT_TEXT, .level = LOG_LEVEL_INFO};

void
log_init(const char *program, enum log_format format, enum log_level level)
{
    config.program = program;
    config.format = format;
    config.level = level;
}

bool
log_format_parse(const char *text, enum log_format *out)
{
    if (strcmp(text, "text") == 0)
        *out = LOG_FORMAT_TEXT;
    else if (strcmp(text, "json") == 0)
        *out = LOG_FORMAT_JSON;
    else
        return false;
    return true;
}

bool
log_level_parse(const char *text, enum log_level *out)
{
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++)
        if (strcmp(text, level_names[level]) == 0) {
            *out = (enum log_level)level;
            return true;
        }
    return false;
}

// Milliseconds, always three digits: columns of a log line up.
static void
time_print(char out[CLOCK_TEXT_MAX])
{
    int64_t now_ns = clock_now_ns();
    int64_t of_second_ns = now_ns % SECOND_NS;
    if (of_second_ns < 0)
        of_second_ns += SECOND_NS;
    size_t size = clock_print(now_ns - of_second_ns, out);
    int milliseconds = (int)(of_second_ns / 1000000);
    const char rest[] = {
        '.',
        (char)('0' + milliseconds / 100),
        (char)('0' + milliseconds / 10 % 10),
        (char)('0' + milliseconds % 10),
        'Z',
        '\0',
    };
    must(size - 1 + sizeof rest <= CLOCK_TEXT_MAX);
    memcpy(out + size - 1, rest, sizeof rest);
}

// The value of a text or bytes field, cut at LOG_VALUE_MAX. NULL is the word null.
static struct bytes
field_bytes(const struct log_field *field)
{
    struct bytes value = field->bytes;
    if (field->kind == LOG_FIELD_TEXT)
        value = bytes_text(field->text ? field->text : "null");
    if (value.size > LOG_VALUE_MAX)
        value.size = LOG_VALUE_MAX;
    return value;
}

static bool
needs_quotes(struct bytes value)
{
    for (size_t i = 0; i < value.size; i++) {
        uint8_t byte = value.data[i];
        if (byte <= ' ' || byte == '"' || byte == '=' || byte == 0x7F)
            return true;
    }
    return value.size == 0 || !bytes_is_utf8(value);
}

static void
escaped_write(struct buffer *line, uint8_t byte)
{
    switch (byte) {
    case '"': buffer_text(line, "\\\""); break;
    case '\\': buffer_text(line, "\\\\"); break;
    case '\n': buffer_text(line, "\\n"); break;
    case '\r': buffer_text(line, "\\r"); break;
    case '\t': buffer_text(line, "\\t"); break;
    default: buffer_format(line, "\\x%02x", (unsigned)byte); break;
    }
}

static void
quoted_write(struct buffer *line, struct bytes value)
{
    buffer_text(line, "\"");
    for (size_t at = 0; at < value.size;) {
        uint8_t byte = value.data[at];
        size_t size = bytes_utf8_size(bytes_of(value.data + at, value.size - at));
        bool is_escaped = size == 0 || byte < ' ' || byte == '"' || byte == '\\' || byte == 0x7F;
        if (is_escaped)
            escaped_write(line, byte);
        else
            buffer_put(line, value.data + at, size);
        at += size > 0 ? size : 1;
    }
    buffer_text(line, "\"");
}

static void
text_line(struct buffer *line, const char *time, enum log_level level, const char *event)
{
    buffer_text(line, "time=");
    buffer_text(line, time);
    buffer_text(line, " level=");
    buffer_text(line, level_names[level]);
    buffer_text(line, " event=");
    buffer_text(line, event);
}

static void
text_field(struct buffer *line, const struct log_field *field)
{
    buffer_text(line, " ");
    buffer_text(line, field->key);
    buffer_text(line, "=");
    if (field->kind == LOG_FIELD_INT) {
        buffer_int(line, field->integer);
        return;
    }
    struct bytes value = field_bytes(field);
    if (needs_quotes(value))
        quoted_write(line, value);
    else
        buffer_bytes(line, value);
}

static void
json_field(struct json_out *out, const struct log_field *field)
{
    json_key(out, field->key);
    if (field->kind == LOG_FIELD_INT)
        json_int(out, field->integer);
    else if (field->kind == LOG_FIELD_TEXT && field->text == NULL)
        json_null(out);
    else
        json_string(out, field_bytes(field));
}

static void
json_line(
    struct buffer *line,
    const char *time,
    enum log_level level,
    const char *event,
    const struct log_field *fields)
{
    struct json_out out = json_out_to(line);
    json_begin(&out, '{');
    json_key(&out, "time");
    json_text(&out, time);
    json_key(&out, "level");
    json_text(&out, level_names[level]);
    json_key(&out, "program");
    json_text(&out, config.program);
    json_key(&out, "event");
    json_text(&out, event);
    for (const struct log_field *field = fields; field != NULL && field->key != NULL; field++)
        json_field(&out, field);
    json_end(&out, '}');
}

// Whether the system takes PIPE_BUF bytes without making us wait.
static bool
output_has_room(void)
{
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&fd, 1, 0) > 0 && (fd.revents & POLLOUT) != 0;
}

// With the mutex. One write for the line, but for a very long one. False: it was not written, or
// not to its end. Nothing can be done about a log that cannot be written.
static bool
bytes_write(struct bytes line)
{
    bool is_begun = false;
    while (line.size > 0) {
        ssize_t count = -1;
        if (output_has_room())
            count = write(STDERR_FILENO, line.data, line.size < PIPE_BUF ? line.size : PIPE_BUF);
        else
            errno = EAGAIN;
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            output.is_torn |= is_begun;
            return false;
        }
        is_begun = true;
        line.data += count;
        line.size -= (size_t)count;
    }
    return true;
}

static void
line_print(
    struct buffer *line,
    const char *time,
    enum log_level level,
    const char *event,
    const struct log_field *fields)
{
    if (config.format == LOG_FORMAT_JSON) {
        json_line(line, time, level, event, fields);
    } else {
        text_line(line, time, level, event);
        for (const struct log_field *field = fields; field != NULL && field->key != NULL; field++)
            text_field(line, field);
    }
    buffer_text(line, "\n");
}

// With the mutex: how many lines were lost stands before the first that is not. False: there is no
// room for that either.
static bool
lost_write(const char *time)
{
    scoped(buffer_done) struct buffer line = {0};
    if (output.lost == 0)
        return true;
    if (output.is_torn)
        buffer_text(&line, "\n");
    line_print(&line, time, LOG_LEVEL_WARN, "log_lost", LOG_FIELDS(LOG_INT("lines", output.lost)));
    if (buffer_failed(&line) || !bytes_write(buffer_view(&line)))
        return false;
    output.lost = 0;
    output.is_torn = false;
    return true;
}

static void
line_write(const char *time, struct bytes line)
{
    pthread_mutex_lock(&output.mutex);
    if (!lost_write(time) || !bytes_write(line))
        output.lost++;
    pthread_mutex_unlock(&output.mutex);
}

// There is no memory for the line: its event is said nevertheless, often it is why a process ends.
static void
short_write(const char *time, enum log_level level, const char *event)
{
    static const char advice[] = "no memory for the rest of this line";
    const char *name = level_names[level];
    char line[256];
    int size = 0;
    if (config.format == LOG_FORMAT_JSON)
        size = snprintf(
            line,
            sizeof line,
            "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"advice\":\"%s\"}\n",
            time,
            name,
            event,
            advice);
    else
        size = snprintf(
            line,
            sizeof line,
            "time=%s level=%s event=%s advice=\"%s\"\n",
            time,
            name,
            event,
            advice);
    if (size > 0 && (size_t)size < sizeof line)
        line_write(time, bytes_of(line, (size_t)size));
}

void
log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    if (level < config.level)
        return;
    int saved_errno = errno;
    char time[CLOCK_TEXT_MAX];
    time_print(time);
    scoped(buffer_done) struct buffer line = {0};
    line_print(&line, time, level, event, fields);
    if (buffer_failed(&line))
        short_write(time, level, event);
    else
        line_write(time, buffer_view(&line));
    errno = saved_errno;
}
