// The newest events that are asked for, in a heap whose top is the oldest of them: an event that is
// newer takes the top's place, and its bytes. One more than a page is kept, to know whether there
// is another.

#include "ledger/events.h"

#include "base/assert.h"
#include "ledger/events_fault.h"
#include "ledger/events_status.h"
#include "ledger/log_walk.h"
#include "ledger/shard_view.h"
#include "ledger/usage_answer.h"

#include <inttypes.h>
#include <stdlib.h>

// A place in the order.
struct place {
    int64_t time_ns;
    uint32_t shard;
    uint64_t block;
    uint32_t index;
};

struct kept {
    struct place place;
    int64_t arrival_ns;
    struct entry entry;  // views into bytes, once it is settled
    struct buffer bytes;
};

struct listing {
    const struct events_query *query;
    struct reader *reader;
    uint32_t shard;  // that is read
    bool has_after;
    struct place after;
    struct kept *kept;
    struct kept **heap;  // the oldest at the top
    size_t count, capacity;
    uint64_t blocks_read;
};

static int
order_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

// Above 0: a is newer.
static int
place_order(const struct place *a, const struct place *b)
{
    int order = (a->time_ns > b->time_ns) - (a->time_ns < b->time_ns);
    if (order == 0)
        order = order_u64(a->shard, b->shard);
    if (order == 0)
        order = order_u64(a->block, b->block);
    return order != 0 ? order : order_u64(a->index, b->index);
}

// --- the cursor: "TIME-SHARD-BLOCK-INDEX" ---

static bool
take_number(struct cursor *in, uint64_t max, uint64_t *out)
{
    uint64_t number = 0;
    size_t digits = 0;
    while (cursor_left(in) > 0 && *in->at >= '0' && *in->at <= '9') {
        uint64_t digit = (uint64_t)(cursor_u8(in) - '0');
        if (number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
        digits++;
    }
    *out = number;
    return digits > 0;
}

static enum status
cursor_parse(const char *text, struct place *out, struct error *error)
{
    struct cursor in = cursor_over(bytes_text(text));
    uint64_t numbers[4];
    static const uint64_t maxima[4] = {INT64_MAX, UINT32_MAX, UINT64_MAX, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        bool is_read =
            (i == 0 || cursor_u8(&in) == '-') && take_number(&in, maxima[i], &numbers[i]);
        if (!is_read || (i == 3 && cursor_left(&in) > 0))
            return error_set(error, STATUS_INVALID, "this is no cursor of a former page");
    }
    *out = (struct place){
        .time_ns = (int64_t)numbers[0],
        .shard = (uint32_t)numbers[1],
        .block = numbers[2],
        .index = (uint32_t)numbers[3],
    };
    return STATUS_OK;
}

static const char *
cursor_write(const struct place *place, struct arena *arena)
{
    return arena_format(
        arena,
        "%" PRId64 "-%" PRIu32 "-%" PRIu64 "-%" PRIu32,
        place->time_ns,
        place->shard,
        place->block,
        place->index);
}

// --- the heap ---

static void
heap_sink(struct listing *listing, size_t at)
{
    struct kept **heap = listing->heap;
    for (;;) {
        size_t oldest = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < listing->count; child++)
            if (place_order(&heap[child]->place, &heap[oldest]->place) < 0)
                oldest = child;
        if (oldest == at)
            return;
        struct kept *moved = heap[at];
        heap[at] = heap[oldest];
        heap[oldest] = moved;
        at = oldest;
    }
}

static void
heap_rise(struct listing *listing, size_t at)
{
    struct kept **heap = listing->heap;
    while (at > 0 && place_order(&heap[at]->place, &heap[(at - 1) / 2]->place) < 0) {
        struct kept *moved = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = moved;
        at = (at - 1) / 2;
    }
}

// The views of the entry, in the order in which they are copied.
static void
entry_views(struct entry *entry, struct bytes *views[6])
{
    views[0] = &entry->subject;
    views[1] = &entry->type;
    views[2] = &entry->id;
    views[3] = &entry->source;
    views[4] = &entry->batch;
    views[5] = &entry->properties;
}

static void
kept_fill(
    struct kept *kept, const struct place *place, int64_t arrival_ns, const struct entry *entry)
{
    struct bytes *views[6];
    kept->place = *place;
    kept->arrival_ns = arrival_ns;
    kept->entry = *entry;
    buffer_reset(&kept->bytes);
    entry_views(&kept->entry, views);
    for (int i = 0; i < 6; i++)
        buffer_bytes(&kept->bytes, *views[i]);
}

static void
listing_add(
    struct listing *listing,
    const struct place *place,
    int64_t arrival_ns,
    const struct entry *entry)
{
    if (listing->count < listing->capacity) {
        struct kept *kept = &listing->kept[listing->count];
        kept_fill(kept, place, arrival_ns, entry);
        listing->heap[listing->count] = kept;
        heap_rise(listing, listing->count++);
    } else if (place_order(place, &listing->heap[0]->place) > 0) {
        kept_fill(listing->heap[0], place, arrival_ns, entry);
        heap_sink(listing, 0);
    }
}

// --- reading the log ---

static bool
is_within(int64_t time_ns, int64_t from_ns, int64_t to_ns)
{
    return time_ns >= from_ns && (time_ns < to_ns || to_ns == INT64_MAX);
}

static bool
is_same(struct bytes wanted, struct bytes have)
{
    return wanted.size == 0 || bytes_equal(wanted, have);
}

// A chunk is no id, though it lies in its place.
static bool
is_id_wanted(const struct events_query *query, const struct entry *entry)
{
    struct bytes part = query->id_part;
    struct bytes id = entry->id;
    if (query->id.size == 0 && part.size == 0)
        return true;
    if (id.size == 0 || (entry->flags & ENTRY_ID_IS_CHUNK) != 0)
        return false;
    return is_same(query->id, id) &&
           (part.size == 0 || memmem(id.data, id.size, part.data, part.size) != NULL);
}

static bool
is_wanted(
    const struct listing *listing,
    const struct entry *entry,
    const struct place *place,
    int64_t arrival_ns)
{
    const struct events_query *query = listing->query;
    return entry->kind == ENTRY_EVENT && is_within(entry->time_ns, query->from_ns, query->to_ns) &&
           is_same(query->subject, entry->subject) && is_same(query->type, entry->type) &&
           is_same(query->source, entry->source) && is_id_wanted(query, entry) &&
           (!listing->has_after || place_order(place, &listing->after) < 0) &&
           (query->accepts == NULL || query->accepts(query->context, entry, arrival_ns));
}

// Whether a block of these bounds can hold something for the page.
static bool
block_matters(const struct listing *listing, const struct block_header *header)
{
    const struct events_query *query = listing->query;
    bool is_full = listing->count == listing->capacity;
    return header->time_max_ns >= query->from_ns &&
           (header->time_min_ns < query->to_ns || query->to_ns == INT64_MAX) &&
           is_within(header->arrival_ns, query->arrived_from_ns, query->arrived_to_ns) &&
           !(listing->has_after && header->time_min_ns > listing->after.time_ns) &&
           !(is_full && header->time_max_ns < listing->heap[0]->place.time_ns);
}

static enum status
listing_block(
    void *context,
    struct log_reader *reader,
    struct tx *log,
    uint64_t sequence,
    struct error *error)
{
    struct listing *listing = context;
    struct entry entry;
    enum status status = log_look(reader, log, sequence, error);
    if (status || !block_matters(listing, &reader->header))
        return status;
    status = log_open(reader, log, sequence, error);
    if (status)
        return status;
    listing->blocks_read++;
    while (log_next(reader, &entry)) {
        const struct place place = {
            .time_ns = entry.time_ns,
            .shard = listing->shard,
            .block = sequence,
            .index = reader->block.index - 1,
        };
        if (is_wanted(listing, &entry, &place, reader->header.arrival_ns))
            listing_add(listing, &place, reader->header.arrival_ns, &entry);
    }
    return log_end(reader, error);
}

// From the end: there the newest are, and once the page is full of them, most blocks are passed.
static enum status
listing_shard(struct listing *listing, uint32_t shard, struct error *error)
{
    struct shard_view *view = &listing->reader->views[shard];
    listing->shard = shard;
    enum status status = shard_view_open(listing->reader->dir, shard, view, error);
    return status ? status : log_walk_back(view, listing_block, listing, error);
}

// --- the page ---

static int
kept_order(const void *a, const void *b)
{
    const struct kept *const *left = a;
    const struct kept *const *right = b;
    return place_order(&(*right)->place, &(*left)->place);
}

static struct events_row
row_make(const struct kept *kept, const struct meter_set *set, struct arena *arena)
{
    struct bytes *views[6];
    struct events_row row = {
        .entry = kept->entry,
        .arrival_ns = kept->arrival_ns,
        .shard = kept->place.shard,
        .block = kept->place.block,
        .index = kept->place.index,
        .last_block = kept->place.block,
        .last_index = kept->place.index,
    };
    struct bytes copy = arena_bytes(arena, buffer_view(&kept->bytes));
    size_t at = 0;
    entry_views(&row.entry, views);
    for (int i = 0; i < 6; i++) {
        *views[i] = bytes_of(copy.size > 0 ? copy.data + at : NULL, views[i]->size);
        at += views[i]->size;
    }
    must(at == copy.size);
    row.validation_error = events_fault(set, &row.entry, arena);
    return row;
}

static enum status
listing_page(
    struct listing *listing, struct arena *arena, struct events_result *out, struct error *error)
{
    struct meter *meters;
    uint32_t meters_count;
    enum status status =
        registry_list(listing->reader->registry, arena, &meters, &meters_count, error);
    for (size_t i = 0; i < listing->count && !status; i++)
        if (buffer_failed(&listing->heap[i]->bytes))
            status = error_set(error, STATUS_NO_MEMORY, "no memory for a page of events");
    if (status)
        return status;
    const struct meter_set *set = meter_set_make(meters, meters_count, arena);
    struct events_result result = {.count = listing->count, .blocks_read = listing->blocks_read};
    if (listing->count > 1)
        qsort(listing->heap, listing->count, sizeof(void *), kept_order);
    if (listing->count == listing->capacity) {
        result.count--;
        result.next = cursor_write(&listing->heap[result.count - 1]->place, arena);
    }
    result.rows = arena_array(arena, result.count, struct events_row);
    for (size_t i = 0; i < result.count; i++)
        result.rows[i] = row_make(listing->heap[i], set, arena);
    for (uint32_t shard = 0; shard < listing->reader->shards && !status; shard++)
        status =
            events_status_find(&listing->reader->views[shard], result.rows, result.count, error);
    if (!status)
        *out = result;
    return status;
}

static void
listing_done(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        buffer_done(&listing->kept[i].bytes);
}

enum status
events_list(
    struct reader *reader,
    const struct events_query *query,
    struct arena *arena,
    struct events_result *out,
    struct error *error)
{
    if (query->limit == 0 || query->limit > EVENTS_LIMIT_MAX)
        return error_set(
            error,
            STATUS_INVALID,
            "a page has 1 to %d events, not %u",
            EVENTS_LIMIT_MAX,
            query->limit);
    scoped(arena_done) struct arena scratch = {0};
    scoped(listing_done) struct listing listing = {
        .query = query,
        .reader = reader,
        .has_after = query->after != NULL,
        .capacity = query->limit + 1,
    };
    enum status status = STATUS_OK;
    if (query->after != NULL)
        status = cursor_parse(query->after, &listing.after, error);
    listing.kept = arena_array(&scratch, listing.capacity, struct kept);
    listing.heap = arena_array(&scratch, listing.capacity, struct kept *);
    for (uint32_t shard = 0; shard < reader->shards && !status; shard++) {
        bool may_have =
            query->subject.size == 0 || hash64(query->subject, 0) % reader->shards == shard;
        if (may_have)
            status = listing_shard(&listing, shard, error);
    }
    return status ? status : listing_page(&listing, arena, out, error);
}
