#pragma once
// CSV as RFC 4180 has it: finding where a record ends, and cutting it into fields.
//
//     struct csv csv = csv_start(',');
//     while (csv_scan(&csv, text, is_end) == CSV_RECORD) {
//         count = csv_split(&csv, text, fields, CSV_FIELDS_MAX);   // unless csv.flaw
//         text += csv.size; csv_restart(&csv);
//     }
//
// A field may be quoted; inside quotes "" is a quote, and delimiters and line ends are text. Lines
// end in LF or CRLF; the last one may lack its end. What breaks these rules (a quote inside an
// unquoted field, text after a closing quote, a quote that is never closed) is a flaw of that
// record, which the caller refuses: guessing would bill something. The scan remembers where it was,
// so a record that arrives in pieces costs linear time. Values. Thread: any.

#include "base/bytes.h"

enum { CSV_FIELDS_MAX = 1024 };

enum csv_result { CSV_RECORD, CSV_MORE, CSV_END };

enum csv_flaw {
    CSV_FINE,
    CSV_QUOTE_INSIDE,
    CSV_TEXT_AFTER_QUOTE,
    CSV_UNCLOSED,
    CSV_TOO_LONG,
    CSV_TOO_MANY_FIELDS,
};

struct csv {
    uint8_t delimiter;
    enum { CSV_AT_FIELD, CSV_PLAIN, CSV_QUOTED, CSV_QUOTE_SEEN } state;
    enum csv_flaw flaw;   // the first of the record
    size_t size;          // scanned so far; of a whole record: with its line end
    size_t text_size;     // of a whole record: without it
    uint32_t line_count;  // line ends in the record, its own included
    uint32_t field_count;
};

struct csv csv_start(char delimiter);
void csv_restart(struct csv *csv);
// text: everything from the record's first byte on. CSV_MORE: the record is not complete and is_end
// is false. CSV_END: is_end, and nothing is left.
enum csv_result csv_scan(struct csv *csv, struct bytes text, bool is_end);
// Forgets the size bytes scanned, which the caller throws away, and goes on in the same record, now
// too long.
void csv_overflow(struct csv *csv);
// Cuts the scanned record, which has no flaw, into csv->field_count fields. Unescapes in place:
// text changes.
void csv_split(const struct csv *csv, uint8_t *text, struct bytes *out_fields);
// Whether the record is an empty line.
bool csv_is_blank(const struct csv *csv);

// "a quote inside an unquoted field", ...
const char *csv_flaw_text(enum csv_flaw flaw);
