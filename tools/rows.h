#pragma once
// The rows of a CSV or NDJSON file, each as named fields.
//
//     rows_open(path, &options, &arena, &rows, &error);     // CSV: reads the header
//     while (rows_next(&rows, &arena_of_row, &row, &error) == STATUS_OK && row.line > 0)
//         if (row.flaw) refuse(row.line, row.flaw); else use(row.fields, row.fields_count);
//     rows_done(&rows);
//
// A row that breaks the format's rules is a row with a flaw, not the end. Empty lines are skipped.
// Views in a row live until the next rows_next. Owner: the caller. Thread: one at a time.

#include "base/json.h"
#include "tools/csv.h"
#include "tools/source.h"

enum rows_format { ROWS_BY_NAME, ROWS_CSV, ROWS_NDJSON };

struct rows_options {
    enum rows_format format;  // by name: .ndjson and .jsonl are NDJSON, all else CSV
    char delimiter;
};

enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_BOOL, FIELD_NULL, FIELD_TREE };

struct field {
    struct bytes name;
    enum field_kind kind;
    struct bytes text;        // FIELD_TEXT, FIELD_NUMBER (its digits as written)
    const struct json *json;  // NDJSON: the value
};

struct row {
    uint64_t line;       // where it began, from 1; 0: there is no more
    const char *flaw;    // why the row cannot be used, or NULL
    const char *detail;  // what was found instead, or NULL
    struct field *fields;
    uint32_t fields_count;
};

struct rows {
    struct source source;
    enum rows_format format;
    struct csv csv;
    size_t scanned;        // NDJSON: bytes known to hold no line end
    bool is_overlong;      // NDJSON: the line's first part was thrown away
    uint64_t line;         // of the next record
    struct bytes *header;  // CSV: names of columns
    uint32_t header_count;
    struct bytes *cut;     // CSV: room for a record's fields
    struct field *fields;  // CSV: the row given out
};

enum status rows_open(
    const char *path,
    const struct rows_options *options,
    struct arena *arena,
    struct rows *out,
    struct error *error) CHECKED;
// As rows_open over bytes in memory.
enum status rows_open_bytes(
    struct bytes bytes,
    const struct rows_options *options,
    struct arena *arena,
    struct rows *out,
    struct error *error) CHECKED;
void rows_done(struct rows *rows);
// arena: for what the row needs; reset it before the next one. Fails only when the file cannot be
// read.
enum status
rows_next(struct rows *rows, struct arena *arena, struct row *out, struct error *error) CHECKED;
