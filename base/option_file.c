#include "base/buffer.h"
#include "base/option_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { OPTION_FILE_MAX = 1 << 20 };

static enum status
file_load(const char *path, struct buffer *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open the config file %s", path);
    out->limit = OPTION_FILE_MAX;
    ssize_t count = 0;
    do {
        uint8_t *place = buffer_reserve(out, 4096);
        if (place == NULL)
            break;
        count = read(fd, place, 4096);
        if (count > 0)
            buffer_commit(out, (size_t)count);
    } while (count > 0 || (count < 0 && errno == EINTR));
    int read_errno = errno;
    (void)close(fd);
    if (buffer_failed(out))
        return error_set(
            error,
            STATUS_INVALID,
            "the config file %s is larger than %d bytes",
            path,
            OPTION_FILE_MAX);
    if (count < 0) {
        errno = read_errno;
        return error_set_errno(error, "cannot read the config file %s", path);
    }
    return STATUS_OK;
}

static bool
is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static struct bytes
trimmed(struct bytes text)
{
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): read(2) has filled it
    while (text.size > 0 && is_space(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

// The line at the front of the cursor, without its newline.
static struct bytes
take_line(struct cursor *in)
{
    const uint8_t *newline = memchr(in->at, '\n', cursor_left(in));
    if (newline == NULL)
        return cursor_take(in, cursor_left(in));
    struct bytes line = cursor_take(in, (size_t)(newline - in->at));
    (void)cursor_u8(in);
    return line;
}

static enum status
unknown_key(struct option_reader *reader, const char *place, struct bytes key)
{
    const struct option_row *near = option_nearest(reader->spec, key);
    const char *hint = near ? arena_format(reader->arena, "; did you mean %s?", near->name) : "";
    return error_set(
        reader->error,
        STATUS_INVALID,
        "%s: unknown setting \"%.*s\"%s",
        place,
        (int)key.size,
        (const char *)key.data,
        hint);
}

// One line that is neither empty nor a comment.
static enum status
line_read(struct option_reader *reader, const char *place, struct bytes line)
{
    const uint8_t *equals = memchr(line.data, '=', line.size);
    if (equals == NULL || memchr(line.data, '\0', line.size) != NULL)
        return error_set(
            reader->error, STATUS_INVALID, "%s: a line must read \"key = value\"", place);
    struct bytes key = trimmed(bytes_of(line.data, (size_t)(equals - line.data)));
    size_t value_size = line.size - (size_t)(equals + 1 - line.data);
    struct bytes value = trimmed(bytes_of(equals + 1, value_size));
    const struct option_row *row = option_find(reader->spec, key);
    if (row == NULL)
        return unknown_key(reader, place, key);
    if (row->is_flag_only || strcmp(row->name, "config") == 0)
        return error_set(
            reader->error,
            STATUS_INVALID,
            "%s: \"%s\" can be given as --%s only",
            place,
            row->name,
            row->name);
    return option_store(
        reader,
        row,
        OPTION_SOURCE_FILE,
        arena_format(reader->arena, "%s: %s", place, row->name),
        arena_text_of(reader->arena, value));
}

enum status
option_file_read(struct option_reader *reader, const char *path)
{
    scoped(buffer_done) struct buffer file = {0};
    enum status status = file_load(path, &file, reader->error);
    if (status)
        return status;
    struct cursor in = cursor_over(buffer_view(&file));
    for (unsigned number = 1; cursor_left(&in) > 0; number++) {
        struct bytes line = trimmed(take_line(&in));
        if (line.size == 0 || line.data[0] == '#')
            continue;
        const char *place = arena_format(reader->arena, "%s:%u", path, number);
        status = line_read(reader, place, line);
        if (status)
            return status;
    }
    return STATUS_OK;
}
