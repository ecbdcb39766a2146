#include "base/table.h"

#include "base/assert.h"

struct table_line {
    struct table_line *next;
    const char *cells[];
};

struct table
table_over(struct arena *arena, const struct table_column *columns, size_t columns_count)
{
    must(columns_count > 0);
    return (struct table){.arena = arena, .columns = columns, .columns_count = columns_count};
}

void
table_row(struct table *table, const char *const *cells)
{
    size_t cells_size = table->columns_count * sizeof *cells;
    struct table_line *line = arena_take(table->arena, 1, sizeof *line + cells_size);
    for (size_t i = 0; i < table->columns_count; i++)
        line->cells[i] = arena_text(table->arena, cells[i] ? cells[i] : "");
    if (table->last != NULL)
        table->last->next = line;
    else
        table->first = line;
    table->last = line;
    table->rows_count++;
}

// Characters, which are bytes that continue none.
static size_t
width_of(const char *text)
{
    size_t width = 0;
    for (const char *at = text; *at != '\0'; at++)
        width += ((unsigned char)*at & 0xC0) != 0x80;
    return width;
}

static size_t
column_width(const struct table *table, size_t column)
{
    size_t width = width_of(table->columns[column].title);
    for (const struct table_line *line = table->first; line != NULL; line = line->next) {
        size_t cell_width = width_of(line->cells[column]);
        if (cell_width > width)
            width = cell_width;
    }
    return width;
}

static void
spaces_put(struct buffer *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buffer_put(out, " ", 1);
}

static void
text_cell_put(struct buffer *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        buffer_put(out, (unsigned char)*at < ' ' ? " " : at, 1);
}

// Two spaces between columns, none behind the last.
static void
text_line_put(
    const struct table *table, const size_t *widths, const char *const *cells, struct buffer *out)
{
    for (size_t i = 0; i < table->columns_count; i++) {
        size_t padding = widths[i] - width_of(cells[i]);
        bool is_right = table->columns[i].align == TABLE_RIGHT;
        if (i > 0)
            spaces_put(out, 2);
        if (is_right)
            spaces_put(out, padding);
        text_cell_put(out, cells[i]);
        if (!is_right && i + 1 < table->columns_count)
            spaces_put(out, padding);
    }
    buffer_text(out, "\n");
}

static void
tsv_cell_put(struct buffer *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        switch (*at) {
        case '\t': buffer_text(out, "\\t"); break;
        case '\n': buffer_text(out, "\\n"); break;
        case '\r': buffer_text(out, "\\r"); break;
        case '\\': buffer_text(out, "\\\\"); break;
        default: buffer_put(out, at, 1); break;
        }
    }
}

static void
tsv_line_put(const struct table *table, const char *const *cells, struct buffer *out)
{
    for (size_t i = 0; i < table->columns_count; i++) {
        if (i > 0)
            buffer_text(out, "\t");
        tsv_cell_put(out, cells[i]);
    }
    buffer_text(out, "\n");
}

void
table_print(const struct table *table, enum table_format format, struct buffer *out)
{
    scoped(arena_done) struct arena scratch = {0};
    const char **titles = arena_array(&scratch, table->columns_count, const char *);
    size_t *widths = arena_array(&scratch, table->columns_count, size_t);
    for (size_t i = 0; i < table->columns_count; i++) {
        titles[i] = table->columns[i].title;
        widths[i] = column_width(table, i);
    }
    if (format == TABLE_TSV)
        tsv_line_put(table, titles, out);
    else
        text_line_put(table, widths, titles, out);
    for (const struct table_line *line = table->first; line != NULL; line = line->next) {
        if (format == TABLE_TSV)
            tsv_line_put(table, line->cells, out);
        else
            text_line_put(table, widths, line->cells, out);
    }
}

bool
table_format_parse(const char *text, enum table_format *out)
{
    if (strcmp(text, "table") == 0 || strcmp(text, "text") == 0)
        *out = TABLE_TEXT;
    else if (strcmp(text, "tsv") == 0)
        *out = TABLE_TSV;
    else
        return false;
    return true;
}
