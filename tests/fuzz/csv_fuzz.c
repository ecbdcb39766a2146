// CSV that nobody vouches for. The first byte says in how large pieces the text arrives; however it
// is cut, the same records must come out, all bytes must belong to one, and no field may lie
// outside its record.

#include "tools/csv.h"

#include "base/assert.h"
#include "base/hash.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fields_hash(const struct csv *csv, uint8_t *text, uint64_t *hash)
{
    static struct bytes fields[CSV_FIELDS_MAX];
    csv_split(csv, text, fields);
    for (uint32_t i = 0; i < csv->field_count; i++) {
        must(fields[i].data >= text);
        must(fields[i].data + fields[i].size <= text + csv->text_size);
        *hash = hash64(fields[i], *hash + i + 1);
    }
}

// Reads all records of text, which arrives in pieces, and returns a hash of what they were.
static uint64_t
text_read(uint8_t *text, size_t size, size_t piece)
{
    uint64_t hash = 0;
    size_t at = 0;
    size_t seen = 0;
    struct csv csv = csv_start(',');
    for (;;) {
        enum csv_result result = csv_scan(&csv, bytes_of(text + at, seen - at), seen == size);
        if (result == CSV_END)
            break;
        if (result == CSV_MORE) {
            must(seen < size);
            seen = size - seen > piece ? seen + piece : size;
            continue;
        }
        must(csv.size > 0);
        must(csv.text_size <= csv.size);
        must(csv.size <= seen - at);
        hash += (uint64_t)csv.flaw * 31 + csv.line_count;
        if (csv.flaw == CSV_FINE)
            fields_hash(&csv, text + at, &hash);
        at += csv.size;
        csv_restart(&csv);
    }
    must(at == size);
    return hash;
}

static uint64_t
copy_read(const uint8_t *data, size_t size, size_t piece)
{
    uint8_t *copy = malloc(size + 1);
    must(copy != NULL);
    memcpy(copy, data, size);
    uint64_t hash = text_read(copy, size, piece);
    free(copy);
    return hash;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint64_t whole = copy_read(data + 1, size - 1, size);
    uint64_t pieces = copy_read(data + 1, size - 1, (size_t)(data[0] % 16) + 1);
    must(whole == pieces);
    return 0;
}
