#include "tools/rows.h"

#include "base/assert.h"

#include <strings.h>

static bool
name_ends(const char *name, const char *end)
{
    size_t name_size = strlen(name);
    size_t end_size = strlen(end);
    return name_size >= end_size && strcasecmp(name + name_size - end_size, end) == 0;
}

static enum rows_format
format_of(const char *name, enum rows_format asked)
{
    if (asked != ROWS_BY_NAME)
        return asked;
    bool is_ndjson = name_ends(name, ".ndjson") || name_ends(name, ".jsonl");
    return is_ndjson ? ROWS_NDJSON : ROWS_CSV;
}

// --- CSV -----------------------------------------------------------------------------------------

// Scans one record; on CSV_RECORD its text is at the front of the source's window.
static enum status
csv_record(struct rows *rows, enum csv_result *out, struct error *error)
{
    struct csv *csv = &rows->csv;
    struct source *source = &rows->source;
    for (;;) {
        struct bytes text = bytes_of(source_text(source), source_left(source));
        *out = csv_scan(csv, text, source->is_end && source->is_started);
        if (*out != CSV_MORE)
            return STATUS_OK;
        if (source_left(source) >= SOURCE_RECORD_MAX) {
            source_skip(source, csv->size);
            csv_overflow(csv);
        }
        enum status status = source_fill(source, error);
        if (status)
            return status;
    }
}

static void
csv_record_done(struct rows *rows)
{
    source_skip(&rows->source, rows->csv.size);
    rows->line += rows->csv.line_count;
    csv_restart(&rows->csv);
}

// The next record that is no empty line. CSV_END: there is none.
static enum status
csv_record_filled(struct rows *rows, enum csv_result *out, struct error *error)
{
    for (;;) {
        enum status status = csv_record(rows, out, error);
        if (status || *out != CSV_RECORD || !csv_is_blank(&rows->csv))
            return status;
        csv_record_done(rows);
    }
}

static enum status
header_read(struct rows *rows, struct arena *arena, struct error *error)
{
    const char *name = rows->source.name;
    enum csv_result found;
    enum status status = csv_record_filled(rows, &found, error);
    if (status)
        return status;
    if (found == CSV_END)
        return error_set(error, STATUS_INVALID, "%s is empty: a header line was expected", name);
    if (rows->csv.flaw)
        return error_set(
            error, STATUS_INVALID, "%s: the header has %s", name, csv_flaw_text(rows->csv.flaw));
    uint32_t count = rows->csv.field_count;
    rows->header = arena_array(arena, count, struct bytes);
    rows->header_count = count;
    rows->cut = arena_array(arena, count, struct bytes);
    rows->fields = arena_array(arena, count, struct field);
    csv_split(&rows->csv, source_text(&rows->source), rows->header);
    for (uint32_t i = 0; i < count; i++) {
        rows->header[i] = arena_bytes(arena, rows->header[i]);
        rows->fields[i] = (struct field){.name = rows->header[i], .kind = FIELD_TEXT};
    }
    csv_record_done(rows);
    return STATUS_OK;
}

static void
csv_row_check(const struct rows *rows, struct arena *arena, struct row *out)
{
    uint32_t count = rows->csv.field_count;
    if (rows->csv.flaw) {
        out->flaw = csv_flaw_text(rows->csv.flaw);
    } else if (count != rows->header_count) {
        out->flaw = "another number of fields than the header";
        out->detail = arena_format(arena, "%u instead of %u", count, rows->header_count);
    }
}

// The window's bytes stay where they are until the next source_fill, so the row may point into them
// after csv_record_done.
static enum status
csv_next(struct rows *rows, struct arena *arena, struct row *out, struct error *error)
{
    enum csv_result found;
    enum status status = csv_record_filled(rows, &found, error);
    if (status)
        return status;
    *out = (struct row){0};
    if (found == CSV_END)
        return STATUS_OK;
    out->line = rows->line;
    csv_row_check(rows, arena, out);
    if (!out->flaw) {
        csv_split(&rows->csv, source_text(&rows->source), rows->cut);
        for (uint32_t i = 0; i < rows->header_count; i++)
            rows->fields[i].text = rows->cut[i];
        out->fields = rows->fields;
        out->fields_count = rows->header_count;
    }
    csv_record_done(rows);
    return STATUS_OK;
}

// --- NDJSON --------------------------------------------------------------------------------------

static enum field_kind
kind_of(const struct json *value)
{
    switch (value->type) {
    case JSON_NULL: return FIELD_NULL;
    case JSON_BOOL: return FIELD_BOOL;
    case JSON_NUMBER: return FIELD_NUMBER;
    case JSON_STRING: return FIELD_TEXT;
    case JSON_ARRAY:
    case JSON_OBJECT: return FIELD_TREE;
    }
    must(false);
}

static void
object_read(struct bytes text, struct arena *arena, struct row *out)
{
    struct json *root;
    struct error error;
    struct json_limits limits = {.size_max = SOURCE_RECORD_MAX, .depth_max = 32};
    if (json_parse(text, &limits, arena, &root, &error)) {
        out->flaw = "not JSON";
        out->detail = arena_text(arena, error.text);
        return;
    }
    if (root->type != JSON_OBJECT) {
        out->flaw = "not a JSON object";
        return;
    }
    out->fields = arena_array(arena, root->count, struct field);
    for (const struct json *member = root->first; member; member = member->next)
        out->fields[out->fields_count++] = (struct field){
            .name = member->key, .kind = kind_of(member), .text = member->text, .json = member};
    must(out->fields_count == root->count);
}

// Finds the next line end; *out_size is the line's size without it, and false means the file is at
// its end.
static enum status
line_find(struct rows *rows, size_t *out_size, bool *out_has_end, struct error *error)
{
    struct source *source = &rows->source;
    for (;;) {
        const uint8_t *text = source_text(source);
        size_t left = source_left(source);
        const uint8_t *found =
            left > rows->scanned ? memchr(text + rows->scanned, '\n', left - rows->scanned) : NULL;
        *out_has_end = found != NULL;
        *out_size = found ? (size_t)(found - text) : left;
        if (found || (source->is_end && source->is_started))
            return STATUS_OK;
        rows->scanned = left;
        if (left >= SOURCE_RECORD_MAX) {
            source_skip(source, left);
            rows->scanned = 0;
            rows->is_overlong = true;
        }
        enum status status = source_fill(source, error);
        if (status)
            return status;
    }
}

static bool
is_blank(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != ' ' && text.data[i] != '\t' && text.data[i] != '\r')
            return false;
    return true;
}

// One line. out->line stays 0 for an empty one.
static void
line_take(struct rows *rows, size_t size, struct arena *arena, struct row *out)
{
    struct bytes text = bytes_of(source_text(&rows->source), size);
    if (rows->is_overlong) {
        out->line = rows->line;
        out->flaw = csv_flaw_text(CSV_TOO_LONG);
    } else if (!is_blank(text)) {
        out->line = rows->line;
        object_read(text, arena, out);
    }
    rows->is_overlong = false;
    rows->scanned = 0;
}

static enum status
ndjson_next(struct rows *rows, struct arena *arena, struct row *out, struct error *error)
{
    *out = (struct row){0};
    bool has_end = true;
    while (out->line == 0 && has_end) {
        size_t size;
        enum status status = line_find(rows, &size, &has_end, error);
        if (status)
            return status;
        line_take(rows, size, arena, out);
        source_skip(&rows->source, size + has_end);
        rows->line++;
    }
    return STATUS_OK;
}

// --- either --------------------------------------------------------------------------------------

static enum status
rows_start(
    const struct rows_options *options, struct arena *arena, struct rows *rows, struct error *error)
{
    rows->format = format_of(rows->source.name, options->format);
    rows->csv = csv_start(',');
    if (options->delimiter)
        rows->csv = csv_start(options->delimiter);
    rows->line = 1;
    enum status status = rows->format == ROWS_CSV ? header_read(rows, arena, error) : STATUS_OK;
    if (status)
        rows_done(rows);
    return status;
}

enum status
rows_open(
    const char *path,
    const struct rows_options *options,
    struct arena *arena,
    struct rows *out,
    struct error *error)
{
    *out = (struct rows){0};
    enum status status = source_open(path, arena, &out->source, error);
    return status ? status : rows_start(options, arena, out, error);
}

enum status
rows_open_bytes(
    struct bytes bytes,
    const struct rows_options *options,
    struct arena *arena,
    struct rows *out,
    struct error *error)
{
    *out = (struct rows){0};
    source_open_bytes(bytes, arena, &out->source);
    return rows_start(options, arena, out, error);
}

void
rows_done(struct rows *rows)
{
    source_done(&rows->source);
}

enum status
rows_next(struct rows *rows, struct arena *arena, struct row *out, struct error *error)
{
    return rows->format == ROWS_CSV ? csv_next(rows, arena, out, error)
                                    : ndjson_next(rows, arena, out, error);
}
