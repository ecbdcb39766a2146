#include "base/buffer.h"
#include "base/option_parts.h"

#include <stdio.h>

enum {
    HELP_WIDTH = 80,
    HELP_LEFT_MAX = 30,  // names longer than this get a line of their own
    NEAR_NAME_MAX = 64,
};

static size_t
smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

// How many letters to add, drop or change (Levenshtein), by rows of the usual table.
static size_t
distance(struct bytes a, struct bytes b)
{
    size_t row[NEAR_NAME_MAX + 1];
    if (a.size > NEAR_NAME_MAX || b.size > NEAR_NAME_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t above = row[j];
            size_t change = diagonal + (a.data[i - 1] != b.data[j - 1]);
            row[j] = smallest(above + 1, row[j - 1] + 1, change);
            diagonal = above;
        }
    }
    return row[b.size];
}

const struct option_row *
option_nearest(const struct option_spec *spec, struct bytes name)
{
    const struct option_row *nearest = NULL;
    size_t nearest_distance = 2 + name.size / 4;
    for (const struct option_row *row = spec->rows; row->name != NULL; row++) {
        size_t row_distance = distance(name, bytes_text(row->name));
        if (row_distance < nearest_distance) {
            nearest_distance = row_distance;
            nearest = row;
        }
    }
    return nearest;
}

const char *
option_value_name(const struct option_row *row)
{
    if (row->value_name != NULL)
        return row->value_name;
    switch (row->type) {
    case OPTION_FLAG: return NULL;
    case OPTION_INT: return "N";
    case OPTION_SIZE: return "SIZE";
    case OPTION_DURATION: return "TIME";
    case OPTION_TEXT:
    case OPTION_TEXTS: return "TEXT";
    }
    return NULL;
}

// "  --data DIR"
static void
left_write(struct buffer *out, const struct option_row *row)
{
    const char *value_name = row->type == OPTION_FLAG ? NULL : option_value_name(row);
    buffer_format(out, "  --%s", row->name);
    if (value_name != NULL)
        buffer_format(out, " %s", value_name);
}

// The help and, in brackets, what else there is to know.
static void
right_write(struct buffer *out, const struct option_row *row)
{
    buffer_text(out, row->help ? row->help : "");
    const char *separator = " [";
    if (row->is_required) {
        buffer_format(out, "%srequired", separator);
        separator = ", ";
    }
    if (row->fallback != NULL && row->fallback[0] != '\0') {
        buffer_format(out, "%sdefault %s", separator, row->fallback);
        separator = ", ";
    }
    if (row->env != NULL) {
        buffer_format(out, "%s$%s", separator, row->env);
        separator = ", ";
    }
    if (row->type == OPTION_TEXTS) {
        buffer_format(out, "%smay be repeated", separator);
        separator = ", ";
    }
    if (strcmp(separator, ", ") == 0)
        buffer_text(out, "]");
}

static void
spaces_write(struct buffer *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buffer_text(out, " ");
}

// Words, with a line break and `indent` spaces where the line would get too long.
static void
wrapped_write(struct buffer *out, struct bytes text, size_t indent)
{
    size_t column = indent;
    struct cursor in = cursor_over(text);
    while (cursor_left(&in) > 0) {
        const uint8_t *space = memchr(in.at, ' ', cursor_left(&in));
        size_t size = space ? (size_t)(space - in.at) : cursor_left(&in);
        if (column > indent && column + 1 + size > HELP_WIDTH) {
            buffer_text(out, "\n");
            spaces_write(out, indent);
            column = indent;
        }
        if (column > indent) {
            buffer_text(out, " ");
            column++;
        }
        buffer_bytes(out, cursor_take(&in, size));
        column += size;
        if (space != NULL)
            (void)cursor_u8(&in);
    }
    buffer_text(out, "\n");
}

static size_t
left_width(const struct option_spec *spec)
{
    size_t width = strlen("  --version");
    for (const struct option_row *row = spec->rows; row->name != NULL; row++) {
        scoped(buffer_done) struct buffer left = {0};
        left_write(&left, row);
        if (left.size > width && left.size <= HELP_LEFT_MAX)
            width = left.size;
    }
    return width;
}

static void
row_write(struct buffer *out, struct bytes left, struct bytes right, size_t width)
{
    buffer_bytes(out, left);
    if (left.size > width) {
        buffer_text(out, "\n");
        spaces_write(out, width + 2);
    } else {
        spaces_write(out, width + 2 - left.size);
    }
    wrapped_write(out, right, width + 2);
}

void
option_help_print(const struct option_spec *spec)
{
    scoped(buffer_done) struct buffer out = {0};
    const char *usage = spec->usage ? spec->usage : "[options]";
    buffer_format(&out, "Usage: %s %s\n", spec->program, usage);
    if (spec->summary != NULL)
        buffer_format(&out, "\n%s\n", spec->summary);
    buffer_text(&out, "\nOptions:\n");
    size_t width = left_width(spec);
    for (const struct option_row *row = spec->rows; row->name != NULL; row++) {
        scoped(buffer_done) struct buffer left = {0};
        scoped(buffer_done) struct buffer right = {0};
        left_write(&left, row);
        right_write(&right, row);
        row_write(&out, buffer_view(&left), buffer_view(&right), width);
    }
    row_write(&out, bytes_text("  --help"), bytes_text("show this help and exit"), width);
    row_write(&out, bytes_text("  --version"), bytes_text("show the version and exit"), width);
    if (spec->details != NULL)
        buffer_format(&out, "\n%s\n", spec->details);
    (void)fwrite(out.data, 1, out.size, stdout);
    (void)fflush(stdout);
}
