#pragma once
// What a row of a file means as an event: which column is the subject, which the value, and so on.
//
//     mapping_make(&options, &arena, &mapping, &error);       // reads "NAME=COLUMN"
//     mapping_check(&mapping, header, count, file, &error);   // CSV: has it those columns?
//     if (mapping_apply(&mapping, &row, &arena, &event, &refusal))
//         hash = mapping_hash(&event, &scratch);
//
// A column named subject, type, value, time, id or source is that, unless an option says otherwise.
// A row that does not fit is refused with a reason from a small set, so that refusals can be
// counted by it. Values; texts are borrowed from options, row and arena. Thread: one at a time.

#include "base/hash.h"
#include "base/option.h"
#include "client/tally.h"
#include "tools/rows.h"

struct mapping_options {
    const char *subject, *subject_column;
    const char *type, *type_column;
    const char *source, *source_column;
    const char *value_column;
    const char *time_column;
    const char *id_column;
    struct option_texts properties;  // "NAME=COLUMN", or "NAME"
    bool has_all_properties;
};

struct column {
    const char *name;  // NULL: not mapped
    bool is_required;  // asked for by name, so a file without it is an error
    uint32_t hint;     // where it was in the last row
};

struct mapping_property {
    const char *name;
    struct column column;
};

struct mapping {
    const char *subject, *type, *source;  // the same for every row, or NULL
    struct column subject_column, type_column, source_column;
    struct column value_column, time_column, id_column;
    struct mapping_property *properties;
    uint32_t properties_count;
    bool has_all_properties;
};

struct refusal {
    const char *reason;
    const char *detail;  // or NULL
};

enum status mapping_make(
    const struct mapping_options *options,
    struct arena *arena,
    struct mapping *out,
    struct error *error) CHECKED;
enum status mapping_check(
    const struct mapping *mapping,
    const struct bytes *header,
    uint32_t count,
    const char *file,
    struct error *error) CHECKED;

// False: out_refusal says why not. The event has no id unless the mapping names an id column, and
// time_ns is 0 when it names no time column.
bool mapping_apply(
    struct mapping *mapping,
    const struct row *row,
    struct arena *arena,
    struct tally_event *out_event,
    struct refusal *out_refusal) CHECKED;

// Of all that the row became: equal rows have equal hashes, whatever the order of columns and
// options, and whether a value was written 1 or 1.0.
struct hash128 mapping_hash(const struct tally_event *event, struct buffer *scratch);
