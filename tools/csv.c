// Scanning is apart from splitting: the scan only has to find the end of a record and what is wrong
// with it, and never changes a byte, so it may stop anywhere and go on when more has arrived.
//
//                 "                          "
//     AT_FIELD ------> QUOTED -----------> QUOTE_SEEN ---- delimiter ---> AT_FIELD
//        |               ^ anything else       | "  (an escaped quote)
//        | other         +---------------------+     line end: the record's end
//        v
//      PLAIN ---- delimiter ---> AT_FIELD     line end: the record's end

#include "tools/csv.h"

#include "base/assert.h"

struct csv
csv_start(char delimiter)
{
    return (struct csv){.delimiter = (uint8_t)delimiter, .field_count = 1};
}

void
csv_restart(struct csv *csv)
{
    *csv = csv_start((char)csv->delimiter);
}

static void
flaw_note(struct csv *csv, enum csv_flaw flaw)
{
    if (csv->flaw == CSV_FINE)
        csv->flaw = flaw;
}

static void
field_end(struct csv *csv)
{
    csv->state = CSV_AT_FIELD;
    csv->field_count++;
    if (csv->field_count > CSV_FIELDS_MAX)
        flaw_note(csv, CSV_TOO_MANY_FIELDS);
}

// Takes one byte that is not a line end outside quotes.
static void
byte_take(struct csv *csv, uint8_t byte)
{
    switch (csv->state) {
    case CSV_QUOTED:
        if (byte == '"')
            csv->state = CSV_QUOTE_SEEN;
        else if (byte == '\n')
            csv->line_count++;
        return;
    case CSV_QUOTE_SEEN:
        if (byte == '"') {
            csv->state = CSV_QUOTED;
        } else if (byte == csv->delimiter) {
            field_end(csv);
        } else if (byte != '\r') {
            flaw_note(csv, CSV_TEXT_AFTER_QUOTE);
            csv->state = CSV_PLAIN;
        }
        return;
    case CSV_AT_FIELD:
    case CSV_PLAIN:
        if (byte == csv->delimiter) {
            field_end(csv);
        } else if (byte == '"' && csv->state == CSV_AT_FIELD) {
            csv->state = CSV_QUOTED;
        } else {
            if (byte == '"')
                flaw_note(csv, CSV_QUOTE_INSIDE);
            csv->state = CSV_PLAIN;
        }
        return;
    }
}

// A carriage return after a closing quote is fine before a line end only.
static bool
is_stray_return(const struct csv *csv, struct bytes text)
{
    return csv->state == CSV_QUOTE_SEEN && csv->size > 0 && text.data[csv->size - 1] == '\r';
}

static enum csv_result
record_end(struct csv *csv, struct bytes text, size_t end_size)
{
    csv->text_size = csv->size;
    csv->size += end_size;
    if (end_size > 0)
        csv->line_count++;
    if (csv->text_size > 0 && text.data[csv->text_size - 1] == '\r')
        csv->text_size--;
    return CSV_RECORD;
}

enum csv_result
csv_scan(struct csv *csv, struct bytes text, bool is_end)
{
    must(csv->size <= text.size);
    while (csv->size < text.size) {
        uint8_t byte = text.data[csv->size];
        if (byte == '\n' && csv->state != CSV_QUOTED)
            return record_end(csv, text, 1);
        if (is_stray_return(csv, text)) {
            flaw_note(csv, CSV_TEXT_AFTER_QUOTE);
            csv->state = CSV_PLAIN;
        }
        byte_take(csv, byte);
        csv->size++;
    }
    if (!is_end)
        return CSV_MORE;
    if (csv->size == 0 && csv->flaw == CSV_FINE)
        return CSV_END;
    if (csv->state == CSV_QUOTED)
        flaw_note(csv, CSV_UNCLOSED);
    return record_end(csv, text, 0);
}

void
csv_overflow(struct csv *csv)
{
    flaw_note(csv, CSV_TOO_LONG);
    csv->size = 0;
}

bool
csv_is_blank(const struct csv *csv)
{
    return csv->text_size == 0 && csv->flaw == CSV_FINE;
}

// Moves a quoted field's text to the front of it, each "" as one quote; returns the field's size in
// the record with both outer quotes.
static size_t
quoted_take(uint8_t *text, size_t size, struct bytes *out_field)
{
    size_t from = 1;
    size_t to = 0;
    while (from < size) {
        if (text[from] == '"') {
            if (from + 1 >= size || text[from + 1] != '"')
                break;
            from++;
        }
        text[to++] = text[from++];
    }
    must(from < size);
    *out_field = bytes_of(text, to);
    return from + 1;
}

static size_t
plain_take(const struct csv *csv, const uint8_t *text, size_t size, struct bytes *out_field)
{
    const uint8_t *found = memchr(text, csv->delimiter, size);
    size_t field_size = found ? (size_t)(found - text) : size;
    *out_field = bytes_of(text, field_size);
    return field_size;
}

void
csv_split(const struct csv *csv, uint8_t *text, struct bytes *out_fields)
{
    must(csv->flaw == CSV_FINE);
    must(csv->field_count <= CSV_FIELDS_MAX);
    size_t at = 0;
    for (uint32_t i = 0; i < csv->field_count; i++) {
        must(at <= csv->text_size);
        size_t left = csv->text_size - at;
        if (left > 0 && text[at] == '"')
            at += quoted_take(text + at, left, &out_fields[i]);
        else
            at += plain_take(csv, text + at, left, &out_fields[i]);
        at++;  // the delimiter, or past the end after the last field
    }
    must(at == csv->text_size + 1);
}

const char *
csv_flaw_text(enum csv_flaw flaw)
{
    switch (flaw) {
    case CSV_FINE: return "fine";
    case CSV_QUOTE_INSIDE: return "a quote inside an unquoted field";
    case CSV_TEXT_AFTER_QUOTE: return "text after a closing quote";
    case CSV_UNCLOSED: return "a quote is not closed before the end of the file";
    case CSV_TOO_LONG: return "longer than 1 MiB";
    case CSV_TOO_MANY_FIELDS: return "more than 1024 fields";
    }
    must(false);
}
