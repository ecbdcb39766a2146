// Places first, entries then: which corrections a page has is found by their places alone, so that
// memory is bounded by the page.

#include "ledger/audit.h"

#include "base/assert.h"
#include "base/hash.h"
#include "ledger/log_walk.h"
#include "ledger/shard_view.h"
#include "ledger/usage_answer.h"

#include <inttypes.h>
#include <string.h>

struct finding {
    const struct audit_query *query;
    struct reader *reader;
    uint32_t shard;              // that is read
    struct audit_place *places;  // newest first; one more than a page has
    uint32_t count, capacity;
};

static int
order_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

// Above 0: a is newer.
static int
place_order(const struct audit_place *a, const struct audit_place *b)
{
    int order = (a->made_ns > b->made_ns) - (a->made_ns < b->made_ns);
    if (order == 0)
        order = order_u64(a->shard, b->shard);
    if (order == 0)
        order = order_u64(a->block, b->block);
    return order != 0 ? order : order_u64(a->index, b->index);
}

static void
place_add(struct finding *finding, const struct audit_place *place)
{
    uint32_t at = finding->count;
    while (at > 0 && place_order(place, &finding->places[at - 1]) > 0)
        at--;
    if (at == finding->capacity)
        return;
    uint32_t moved = finding->count < finding->capacity ? finding->count : finding->capacity - 1;
    memmove(finding->places + at + 1, finding->places + at, (moved - at) * sizeof *finding->places);
    finding->places[at] = *place;
    finding->count = moved + 1;
}

static bool
entry_is_correction(const struct entry *entry)
{
    return (entry->kind == ENTRY_CANCEL || entry->kind == ENTRY_AMEND) &&
           (entry->flags & ENTRY_IS_REVERT) == 0;
}

static bool
is_wanted(const struct finding *finding, const struct entry *entry, const struct audit_place *place)
{
    const struct audit_query *query = finding->query;
    return entry_is_correction(entry) &&
           (query->subject.size == 0 || bytes_equal(query->subject, entry->subject)) &&
           (!query->has_after || place_order(place, &query->after) < 0);
}

static bool
block_matters(const struct finding *finding, const struct block_header *header)
{
    const struct audit_query *query = finding->query;
    const int64_t made_ns = header->arrival_ns;
    bool is_full = finding->count == finding->capacity;
    return (header->flags & BLOCK_HAS_CORRECTIONS) != 0 && made_ns >= query->from_ns &&
           (made_ns < query->to_ns || query->to_ns == INT64_MAX) &&
           !(query->has_after && made_ns > query->after.made_ns) &&
           !(is_full && made_ns < finding->places[finding->count - 1].made_ns);
}

static enum status
find_in_block(
    void *context,
    struct log_reader *reader,
    struct tx *log,
    uint64_t sequence,
    struct error *error)
{
    struct finding *finding = context;
    struct entry entry;
    enum status status = log_look(reader, log, sequence, error);
    if (status || !block_matters(finding, &reader->header))
        return status;
    status = log_open(reader, log, sequence, error);
    if (status)
        return status;
    while (log_next(reader, &entry)) {
        const struct audit_place place = {
            .made_ns = reader->header.arrival_ns,
            .shard = finding->shard,
            .block = sequence,
            .index = reader->block.index - 1,
        };
        if (is_wanted(finding, &entry, &place))
            place_add(finding, &place);
    }
    return log_end(reader, error);
}

static enum status
find_in_shard(struct finding *finding, uint32_t shard, struct error *error)
{
    struct shard_view *view = &finding->reader->views[shard];
    finding->shard = shard;
    enum status status = shard_view_open(finding->reader->dir, shard, view, error);
    return status ? status : log_walk_back(view, find_in_block, finding, error);
}

// --- entries ---

static struct entry
entry_copy(const struct entry *entry, struct arena *arena)
{
    struct entry copy = *entry;
    struct bytes *const views[] = {
        &copy.subject,
        &copy.type,
        &copy.id,
        &copy.source,
        &copy.batch,
        &copy.properties,
        &copy.note.who,
        &copy.note.why,
        &copy.note.amended.type,
        &copy.note.amended.properties,
    };
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        *views[i] = arena_bytes(arena, *views[i]);
    return copy;
}

enum status
audit_get(
    struct reader *reader,
    struct audit_place place,
    struct arena *arena,
    struct audit_row *out,
    struct error *error)
{
    scoped(log_reader_done) struct log_reader log_reader = {0};
    struct entry entry;
    bool is_found = false;
    if (place.shard >= reader->shards || place.block == 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no such correction");
    struct shard_view *view = &reader->views[place.shard];
    enum status status = shard_view_open(reader->dir, place.shard, view, error);
    if (status)
        return status;
    if (view->log == NULL)
        return error_set(error, STATUS_NOT_FOUND, "there is no such correction");
    scoped(tx_done) struct tx log = tx_read(view->log);
    uint64_t first = 1, head = 0;
    status = log_first(&log, &first, error);
    if (!status)
        status = log_head(&log, &head, error);
    if (!status && (place.block < first || place.block > head))
        status = STATUS_NOT_FOUND;
    if (!status)
        status = log_open(&log_reader, &log, place.block, error);
    while (!status && log_next(&log_reader, &entry)) {
        if (log_reader.block.index - 1 != place.index || !entry_is_correction(&entry))
            continue;
        *out = (struct audit_row){.place = place, .entry = entry_copy(&entry, arena)};
        out->place.made_ns = log_reader.header.arrival_ns;
        is_found = true;
    }
    if (!status)
        status = log_end(&log_reader, error);
    if (status == STATUS_NOT_FOUND || (!status && !is_found))
        return error_set(error, STATUS_NOT_FOUND, "there is no such correction");
    return status;
}

// What retention deleted since its place was found is left out.
static enum status
page_read(
    const struct finding *finding, struct arena *arena, struct audit_page *out, struct error *error)
{
    const uint32_t limit = finding->query->limit;
    const uint32_t count = finding->count < limit ? finding->count : limit;
    struct audit_page page = {
        .rows = arena_array(arena, count, struct audit_row), .has_more = finding->count > limit};
    for (uint32_t i = 0; i < count; i++) {
        enum status status =
            audit_get(finding->reader, finding->places[i], arena, &page.rows[page.count], error);
        if (status && status != STATUS_NOT_FOUND)
            return status;
        page.count += status == STATUS_OK;
    }
    *out = page;
    return STATUS_OK;
}

enum status
audit_list(
    struct reader *reader,
    const struct audit_query *query,
    struct arena *arena,
    struct audit_page *out,
    struct error *error)
{
    if (query->limit == 0 || query->limit > AUDIT_LIMIT_MAX)
        return error_set(
            error,
            STATUS_INVALID,
            "a page has 1 to %d corrections, not %" PRIu32,
            AUDIT_LIMIT_MAX,
            query->limit);
    scoped(arena_done) struct arena scratch = {0};
    struct finding finding = {.query = query, .reader = reader, .capacity = query->limit + 1};
    finding.places = arena_array(&scratch, finding.capacity, struct audit_place);
    enum status status = STATUS_OK;
    for (uint32_t shard = 0; shard < reader->shards && !status; shard++) {
        bool may_have =
            query->subject.size == 0 || hash64(query->subject, 0) % reader->shards == shard;
        if (may_have)
            status = find_in_shard(&finding, shard, error);
    }
    return status ? status : page_read(&finding, arena, out, error);
}
