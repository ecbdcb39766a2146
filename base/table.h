#pragma once
// Tables for the output of commands: aligned text for people, tab-separated for programs.
//
//     static const struct table_column columns[] = {{"meter", TABLE_LEFT}, {"usage", TABLE_RIGHT}};
//     struct table table = table_over(&arena, columns, 2);
//     table_row(&table, (const char *[]){meter->key, usage_text});
//     table_print(&table, TABLE_TEXT, &buffer);
//
// A header line comes first in both formats. Text is aligned by characters, not by bytes. In TSV
// the bytes that would break it (tab, newline, backslash) are escaped as \t, \n, \r and \\; in text
// they become spaces.
// Owner: the rows live in the arena, columns are the caller's. Thread: one at a time.

#include "base/arena.h"
#include "base/buffer.h"

enum table_align { TABLE_LEFT, TABLE_RIGHT };
enum table_format { TABLE_TEXT, TABLE_TSV };

struct table_column {
    const char *title;
    enum table_align align;
};

struct table_line;

struct table {
    struct arena *arena;
    const struct table_column *columns;
    size_t columns_count;
    struct table_line *first;
    struct table_line *last;
    size_t rows_count;
};

struct table
table_over(struct arena *arena, const struct table_column *columns, size_t columns_count);
// Copies columns_count texts. NULL is an empty cell.
void table_row(struct table *table, const char *const *cells);
void table_print(const struct table *table, enum table_format format, struct buffer *out);
bool table_format_parse(const char *text, enum table_format *out);  // "table" or "text", "tsv"
