// Files to import, CSV and NDJSON. The first byte says which, by how its columns are read, and
// whether all columns are properties. Every row has a line; one without a flaw becomes an event
// within the bounds or is refused with a reason; a second reading gives the same rows.

#include "base/assert.h"
#include "tools/mapping.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SUBJECT_MAX = 255, TYPE_MAX = 100, TAB_BIT = 1, NDJSON_BIT = 2, ALL_BIT = 4, NAMED_BIT = 8 };

static const char *no_properties[] = {"region", "size=bytes"};

static uint64_t
row_use(struct mapping *mapping, const struct row *row, struct arena *arena, struct buffer *scratch)
{
    struct tally_event event = {0};
    struct refusal refusal = {0};
    if (row->flaw != NULL)
        return hash64(bytes_text(row->flaw), row->line);
    if (!mapping_apply(mapping, row, arena, &event, &refusal)) {
        must(refusal.reason != NULL && refusal.reason[0] != '\0');
        return hash64(bytes_text(refusal.reason), row->line);
    }
    must(event.subject != NULL && event.type != NULL);
    must(strlen(event.subject) >= 1 && strlen(event.subject) <= SUBJECT_MAX);
    must(strlen(event.type) >= 1 && strlen(event.type) <= TYPE_MAX);
    struct hash128 hash = mapping_hash(&event, scratch);
    return hash.low ^ hash.high ^ row->line;
}

// Everything that the file has, as one number.
static uint64_t
file_read(uint8_t how, struct bytes text)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(arena_done) struct arena of_row = {0};
    scoped(buffer_done) struct buffer scratch = {0};
    struct error error = {0};
    struct rows rows = {0};
    struct row row = {0};
    struct mapping mapping;
    uint64_t hash = 0;
    const struct rows_options options = {
        (how & NDJSON_BIT) != 0 ? ROWS_NDJSON : ROWS_CSV, (how & TAB_BIT) != 0 ? '\t' : ','};
    const struct mapping_options wanted = {
        .type = (how & NAMED_BIT) != 0 ? "api_call" : NULL,
        .properties = {no_properties, (how & ALL_BIT) != 0 ? 0 : 2},
        .has_all_properties = (how & ALL_BIT) != 0,
    };
    enum status status = mapping_make(&wanted, &arena, &mapping, &error);
    must(status == STATUS_OK);
    if (rows_open_bytes(text, &options, &arena, &rows, &error)) {
        must(error.text[0] != '\0');
        return 0;
    }
    if (rows.header != NULL &&
        mapping_check(&mapping, rows.header, rows.header_count, "fuzz", &error))
        must(error.text[0] != '\0');
    uint64_t line = 0;
    while (rows_next(&rows, &of_row, &row, &error) == STATUS_OK && row.line > 0) {
        must(row.line > line);
        line = row.line;
        hash = hash * 31 + row_use(&mapping, &row, &of_row, &scratch);
        arena_reset(&of_row);
    }
    rows_done(&rows);
    return hash;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct bytes text = bytes_of(data + 1, size - 1);
    uint64_t first = file_read(data[0], text);
    uint64_t second = file_read(data[0], text);
    must(first == second);
    return 0;
}
