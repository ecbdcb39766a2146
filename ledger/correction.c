#include "ledger/correction.h"

#include "base/assert.h"
#include "ledger/log_kept.h"
#include "ledger/log_walk.h"

#include <stdlib.h>

struct place {
    uint64_t block;
    uint64_t index;
    uint64_t by;  // the block of what takes it out
};

uint32_t
correction_parts(const struct entry *entry, struct correction_part out[CORRECTION_PARTS_MAX])
{
    bool is_amend = entry->kind == ENTRY_AMEND;
    if (entry->kind != ENTRY_EVENT && entry->kind != ENTRY_CANCEL && !is_amend)
        return 0;
    out[0] = (struct correction_part){.event = *entry, .is_cancel = entry->kind != ENTRY_EVENT};
    out[0].event.kind = ENTRY_EVENT;
    if (!is_amend)
        return 1;
    const struct entry_payload *amended = &entry->note.amended;
    out[1] = (struct correction_part){.event = out[0].event};
    out[1].event.type = amended->type;
    out[1].event.value = amended->value;
    out[1].event.properties_count = amended->properties_count;
    out[1].event.properties = amended->properties;
    return 2;
}

struct wanted {
    uint64_t first, last;    // blocks
    int64_t from_ns, to_ns;  // times that matter
    struct bytes batch;      // size 0: of any, and of none
};

static enum status
read_block(
    struct corrections *corrections,
    struct log_reader *reader,
    struct tx *log,
    const struct wanted *wanted,
    struct error *error)
{
    const uint64_t sequence = reader->header.sequence;
    struct entry entry;
    enum status status = log_open(reader, log, sequence, error);
    while (!status && log_next(reader, &entry)) {
        bool is_correction = entry.kind == ENTRY_CANCEL || entry.kind == ENTRY_AMEND;
        if (!is_correction || (wanted->batch.size > 0 && !bytes_equal(entry.batch, wanted->batch)))
            continue;
        const struct place place = {
            .block = entry.note.block, .index = entry.note.index, .by = sequence};
        buffer_put(&corrections->places, &place, sizeof place);
        corrections->count++;
    }
    return status ? status : log_end(reader, error);
}

static int
compare_places(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    if (left->block != right->block)
        return left->block < right->block ? -1 : 1;
    return (left->index > right->index) - (left->index < right->index);
}

static bool
is_wanted(const struct block_header *header, const struct wanted *wanted)
{
    return (header->flags & BLOCK_HAS_CORRECTIONS) != 0 && header->time_max_ns >= wanted->from_ns &&
           (header->time_min_ns < wanted->to_ns || wanted->to_ns == INT64_MAX);
}

// Of blocks that were deleted nothing counts, and they corrected nothing else.
static enum status
skip_deleted(struct tx *log, uint64_t *sequence, struct error *error)
{
    struct log_kept kept;
    enum status status = log_kept_read(log, &kept, error);
    if (!status && *sequence < kept.first)
        *sequence = kept.first;
    return status;
}

static enum status
read_wanted(
    struct corrections *corrections,
    struct env *log,
    const struct wanted *wanted,
    struct error *error)
{
    scoped(snapshot_done) struct snapshot snapshot = snapshot_of(log);
    scoped(log_reader_done) struct log_reader reader = {0};
    uint64_t sequence = wanted->first;
    must(wanted->first > 0);
    enum status status = skip_deleted(&snapshot.tx, &sequence, error);
    while (!status && sequence <= wanted->last) {
        status = log_look(&reader, &snapshot.tx, sequence, error);
        if (!status && is_wanted(&reader.header, wanted))
            status = read_block(corrections, &reader, &snapshot.tx, wanted, error);
        sequence++;
        if (!status && snapshot_renew(&snapshot, sequence))
            status = skip_deleted(&snapshot.tx, &sequence, error);
    }
    if (!status && buffer_failed(&corrections->places))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the corrections of the log");
    return status;
}

enum status
corrections_add(
    struct corrections *corrections,
    struct env *log,
    uint64_t first,
    uint64_t last,
    int64_t from_ns,
    int64_t to_ns,
    struct error *error)
{
    const struct wanted wanted = {first, last, from_ns, to_ns, bytes_of(NULL, 0)};
    return read_wanted(corrections, log, &wanted, error);
}

void
corrections_sort(struct corrections *corrections)
{
    if (corrections->count > 1)
        qsort(corrections->places.data, corrections->count, sizeof(struct place), compare_places);
}

enum status
corrections_read_batch(
    struct corrections *corrections,
    struct env *log,
    uint64_t first,
    uint64_t last,
    struct bytes batch,
    struct error *error)
{
    const struct wanted wanted = {first, last, INT64_MIN, INT64_MAX, batch};
    enum status status = read_wanted(corrections, log, &wanted, error);
    corrections_sort(corrections);
    return status;
}

enum status
corrections_read(
    struct corrections *corrections,
    struct env *log,
    uint64_t first,
    uint64_t last,
    int64_t from_ns,
    int64_t to_ns,
    struct error *error)
{
    must(corrections->count == 0);
    enum status status = corrections_add(corrections, log, first, last, from_ns, to_ns, error);
    corrections_sort(corrections);
    return status;
}

uint64_t
corrections_find(const struct corrections *corrections, uint64_t block, uint32_t index)
{
    const struct place wanted = {.block = block, .index = index};
    if (corrections->count == 0)
        return 0;
    const struct place *found = bsearch(
        &wanted, corrections->places.data, corrections->count, sizeof wanted, compare_places);
    return found != NULL ? found->by : 0;
}

bool
corrections_have(const struct corrections *corrections, uint64_t block, uint32_t index)
{
    return corrections_find(corrections, block, index) > 0;
}

void
corrections_done(struct corrections *corrections)
{
    buffer_done(&corrections->places);
    corrections->count = 0;
}
