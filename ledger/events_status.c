#include "ledger/events_status.h"

#include "base/assert.h"
#include "ledger/log_walk.h"

const char *
events_status_name(enum events_status status)
{
    switch (status) {
    case EVENTS_COUNTED: return "counted";
    case EVENTS_AMENDED: return "amended";
    case EVENTS_CANCELLED: return "cancelled";
    case EVENTS_REVERTED: return "reverted";
    }
    must(false);
    return "";
}

struct search {
    uint32_t shard;
    struct events_row *rows;  // the latest time first
    size_t count;
    uint64_t first;  // the earliest block of the shard's rows; 0: it has none
    int64_t time_min_ns, time_max_ns;
};

static void
search_bound(struct search *search)
{
    for (size_t i = 0; i < search->count; i++) {
        const struct events_row *row = &search->rows[i];
        if (row->shard != search->shard)
            continue;
        bool is_first = search->first == 0;
        if (is_first || row->block < search->first)
            search->first = row->block;
        if (is_first)
            search->time_max_ns = row->entry.time_ns;
        search->time_min_ns = row->entry.time_ns;
    }
}

// A correction has the time of what it corrects: the first row of that time.
static size_t
row_from(const struct search *search, int64_t time_ns)
{
    size_t from = 0;
    size_t to = search->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (search->rows[middle].entry.time_ns > time_ns)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

// What is corrected once more is the amend: then the row stands for that one.
static void
row_correct(struct events_row *row, const struct entry *entry, uint64_t block, uint32_t index)
{
    bool is_revert = (entry->flags & ENTRY_IS_REVERT) != 0;
    if (entry->kind == ENTRY_CANCEL)
        row->status = is_revert ? EVENTS_REVERTED : EVENTS_CANCELLED;
    else
        row->status = EVENTS_AMENDED;
    row->last_block = block;
    row->last_index = index;
}

static void
search_use(const struct search *search, const struct entry *entry, uint64_t block, uint32_t index)
{
    if (entry->kind != ENTRY_CANCEL && entry->kind != ENTRY_AMEND)
        return;
    for (size_t i = row_from(search, entry->time_ns); i < search->count; i++) {
        struct events_row *row = &search->rows[i];
        if (row->entry.time_ns != entry->time_ns)
            return;
        if (row->shard == search->shard && row->last_block == entry->note.block &&
            row->last_index == entry->note.index) {
            row_correct(row, entry, block, index);
            return;
        }
    }
}

static enum status
search_block(
    const struct search *search,
    struct log_reader *reader,
    struct tx *log,
    uint64_t sequence,
    struct error *error)
{
    const struct block_header *header = &reader->header;
    struct entry entry;
    enum status status = log_look(reader, log, sequence, error);
    if (status || (header->flags & BLOCK_HAS_CORRECTIONS) == 0 ||
        header->time_max_ns < search->time_min_ns || header->time_min_ns > search->time_max_ns)
        return status;
    status = log_open(reader, log, sequence, error);
    while (!status && log_next(reader, &entry))
        search_use(search, &entry, sequence, reader->block.index - 1);
    return status ? status : log_end(reader, error);
}

// What retention took since the rows were read corrected nothing else that is left.
static enum status
skip_deleted(struct tx *log, uint64_t *sequence, struct error *error)
{
    uint64_t first = 1;
    enum status status = log_first(log, &first, error);
    if (!status && *sequence < first)
        *sequence = first;
    return status;
}

enum status
events_status_find(
    const struct shard_view *view, struct events_row *rows, size_t count, struct error *error)
{
    struct search search = {.shard = view->shard, .rows = rows, .count = count};
    // Of a shard that was not opened there are no rows.
    if (view->log != NULL)
        search_bound(&search);
    if (search.first == 0)
        return STATUS_OK;
    scoped(snapshot_done) struct snapshot log = snapshot_of(view->log);
    scoped(log_reader_done) struct log_reader reader = {0};
    uint64_t head = 0;
    uint64_t sequence = search.first + 1;
    enum status status = log_head(&log.tx, &head, error);
    if (!status)
        status = skip_deleted(&log.tx, &sequence, error);
    while (!status && sequence <= head) {
        status = search_block(&search, &reader, &log.tx, sequence++, error);
        if (!status && snapshot_renew(&log, sequence))
            status = skip_deleted(&log.tx, &sequence, error);
    }
    return status ? error_prefix(error, "shard %u", view->shard) : STATUS_OK;
}
