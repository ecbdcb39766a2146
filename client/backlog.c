// The ring of batches.
//
// Invariants:
// 1. Sealed batches form a list by sequence from oldest to newest; oldest is not released.
// 2. Batches do not overlap; what lies between the head and the oldest (around the end) is free.
// 3. used_size and events_count are sums over the unacked batches, the one being filled included.
// 4. waiting is the first batch of the list that is in the state BATCH_WAITING.
#include "client/backlog.h"

#include "base/assert.h"
#include "base/pool.h"

enum { BATCH_ALIGNMENT = 16 };

_Static_assert(sizeof(struct batch) % sizeof(uint64_t) == 0, "events start aligned");

static size_t
align_up(size_t size, size_t alignment)
{
    return (size + alignment - 1) / alignment * alignment;
}

static size_t
batch_span(size_t events_size, uint32_t events_count)
{
    size_t events = align_up(events_size, sizeof(uint64_t));
    size_t whole = sizeof(struct batch) + events + events_count * sizeof(uint64_t);
    return align_up(whole, BATCH_ALIGNMENT);
}

_Static_assert(
    ENCODE_SIZE_MAX + 256 >= sizeof(struct batch) + ENCODE_SIZE_MAX + 8 + BATCH_ALIGNMENT,
    "BACKLOG_SIZE_MIN holds the largest event");

static size_t
batch_offset(const struct backlog *backlog, const struct batch *batch)
{
    return (size_t)((const uint8_t *)batch - backlog->memory.data);
}

// The events follow the header, whatever the compiler may think of the header's own size.
static uint8_t *
batch_body(struct batch *batch)
{
    return (uint8_t *)batch + sizeof *batch;
}

struct bytes
backlog_events(const struct batch *batch)
{
    return bytes_of((const uint8_t *)batch + sizeof *batch, batch->events_size);
}

uint64_t
backlog_tag(const struct batch *batch, uint32_t index)
{
    must(batch->state != BATCH_FILLING);
    must(index < batch->events_count);
    uint64_t tag;
    size_t tags = align_up(batch->events_size, sizeof tag);
    memcpy(&tag, backlog_events(batch).data + tags + index * sizeof tag, sizeof tag);
    return tag;
}

enum status
backlog_init(struct backlog *backlog, const struct backlog_limits *limits, struct error *error)
{
    must(limits->size >= BACKLOG_SIZE_MIN);
    must(limits->batch_events > 0);
    *backlog = (struct backlog){.limits = *limits, .memory = {.limit = limits->size}};
    // The buffer leaves its memory untouched, so that pages are taken only when events fill them.
    backlog->tags = pool_take(limits->batch_events, sizeof *backlog->tags);
    if (backlog->tags == NULL || buffer_reserve(&backlog->memory, limits->size) == NULL) {
        backlog_done(backlog);
        return error_set(
            error, STATUS_NO_MEMORY, "no memory for %zu bytes of buffer", limits->size);
    }
    enum status status = uuid7_init(&backlog->ids, error);
    if (status != STATUS_OK)
        backlog_done(backlog);
    return status;
}

void
backlog_done(struct backlog *backlog)
{
    pool_give(backlog->tags);
    buffer_done(&backlog->memory);
    *backlog = (struct backlog){0};
}

// The batch that ends the used part of the ring, or NULL when all is free.
static const struct batch *
backlog_last(const struct backlog *backlog)
{
    return backlog->filling != NULL ? backlog->filling : backlog->newest;
}

// Where the used part begins; the memory's size when nothing is used.
static size_t
backlog_tail(const struct backlog *backlog)
{
    const struct batch *first = backlog->oldest != NULL ? backlog->oldest : backlog->filling;
    return first != NULL ? batch_offset(backlog, first) : backlog->limits.size;
}

// How far a batch at this offset may reach: to the used part in front of it, or to the memory's
// end.
static size_t
room_end(const struct backlog *backlog, size_t offset)
{
    size_t tail = backlog_tail(backlog);
    return tail > offset ? tail : backlog->limits.size;
}

static bool
filling_has_room(const struct backlog *backlog, size_t entry_size)
{
    const struct batch *batch = backlog->filling;
    if (batch->events_count >= backlog->limits.batch_events)
        return false;
    if (batch->events_size + entry_size > backlog->limits.batch_size)
        return false;
    size_t offset = batch_offset(backlog, batch);
    size_t span = batch_span(batch->events_size + entry_size, batch->events_count + 1);
    return offset + span <= room_end(backlog, offset);
}

// Finds where a batch of this span can begin: behind the last one, else at the memory's start.
static bool
room_find(const struct backlog *backlog, size_t span, size_t *out_offset)
{
    const struct batch *last = backlog_last(backlog);
    if (last == NULL) {
        *out_offset = 0;
        return span <= backlog->limits.size;
    }
    size_t last_offset = batch_offset(backlog, last);
    size_t head = last_offset + batch_span(last->events_size, last->events_count);
    size_t tail = backlog_tail(backlog);
    bool is_wrapped = tail > last_offset;
    if (head + span <= (is_wrapped ? tail : backlog->limits.size)) {
        *out_offset = head;
        return true;
    }
    *out_offset = 0;
    return !is_wrapped && span <= tail;
}

static void
batch_open(struct backlog *backlog, size_t offset, int64_t now_ns)
{
    must(offset % BATCH_ALIGNMENT == 0);
    must(backlog->filling == NULL);
    // The buffer's memory comes from realloc, aligned for any type, and the offset keeps that.
    struct batch *batch = (struct batch *)(void *)(backlog->memory.data + offset);
    *batch = (struct batch){.opened_ns = now_ns, .state = BATCH_FILLING};
    backlog->filling = batch;
    backlog->used_size += batch_span(0, 0);
}

static void
filling_append(struct backlog *backlog, const struct encoded *entry, int64_t wall_ns)
{
    struct batch *batch = backlog->filling;
    uint8_t *place = batch_body(batch) + batch->events_size;
    memcpy(place, entry->bytes.data, entry->bytes.size);
    if (entry->id_offset != ENCODE_HAS_ID) {
        must(entry->id_offset + UUID7_TEXT_SIZE <= entry->bytes.size);
        uuid7_next(&backlog->ids, wall_ns, (char *)place + entry->id_offset);
    }
    size_t span = batch_span(batch->events_size, batch->events_count);
    backlog->tags[batch->events_count] = entry->tag;
    batch->events_size += entry->bytes.size;
    batch->events_count++;
    backlog->used_size += batch_span(batch->events_size, batch->events_count) - span;
    backlog->events_count++;
}

bool
backlog_append(
    struct backlog *backlog, const struct encoded *entry, int64_t now_ns, int64_t wall_ns)
{
    must(entry->bytes.size > 0 && entry->bytes.size <= ENCODE_SIZE_MAX);
    if (backlog->filling == NULL || !filling_has_room(backlog, entry->bytes.size)) {
        size_t offset;
        if (!room_find(backlog, batch_span(entry->bytes.size, 1), &offset))
            return false;
        backlog_seal(backlog, wall_ns);
        batch_open(backlog, offset, now_ns);
    }
    filling_append(backlog, entry, wall_ns);
    bool is_complete = backlog->filling->events_count == backlog->limits.batch_events ||
                       backlog->filling->events_size >= backlog->limits.batch_size;
    if (is_complete)
        backlog_seal(backlog, wall_ns);
    assert_slow(backlog_validate(backlog));
    return true;
}

// The sealed batch becomes the last one to send.
static void
batch_enqueue(struct backlog *backlog, struct batch *batch)
{
    batch->next = NULL;
    batch->state = BATCH_WAITING;
    batch->sequence = ++backlog->sealed_count;
    if (backlog->newest != NULL)
        backlog->newest->next = batch;
    else
        backlog->oldest = batch;
    backlog->newest = batch;
    if (backlog->waiting == NULL)
        backlog->waiting = batch;
}

void
backlog_seal(struct backlog *backlog, int64_t wall_ns)
{
    struct batch *batch = backlog->filling;
    if (batch == NULL)
        return;
    must(batch->events_count > 0);
    size_t events = align_up(batch->events_size, sizeof *backlog->tags);
    memcpy(batch_body(batch) + events, backlog->tags, batch->events_count * sizeof *backlog->tags);
    uuid7_next(&backlog->ids, wall_ns, batch->chunk);
    if (backlog->limits.backfill != NULL)
        memcpy(batch->backfill, backlog->limits.backfill, strlen(backlog->limits.backfill) + 1);
    backlog->filling = NULL;
    if (backlog->sealed != NULL)
        backlog->sealed(backlog->sealed_context, batch);
    batch_enqueue(backlog, batch);
}

bool
backlog_put(struct backlog *backlog, const struct batch *like, struct bytes events)
{
    size_t offset;
    must(backlog->filling == NULL);
    must(like->events_size == events.size && like->events_count > 0);
    if (!room_find(backlog, batch_span(events.size, like->events_count), &offset))
        return false;
    batch_open(backlog, offset, 0);
    struct batch *batch = backlog->filling;
    backlog->used_size += batch_span(events.size, like->events_count) - batch_span(0, 0);
    backlog->events_count += like->events_count;
    *batch = *like;
    memcpy(batch_body(batch), events.data, events.size);
    size_t tags = align_up(events.size, sizeof *backlog->tags);
    memset(batch_body(batch) + tags, 0, like->events_count * sizeof *backlog->tags);
    backlog->filling = NULL;
    batch_enqueue(backlog, batch);
    assert_slow(backlog_validate(backlog));
    return true;
}

// The next batch that waits, from this one on: invariant 4.
static struct batch *
waiting_from(struct batch *batch)
{
    while (batch != NULL && batch->state != BATCH_WAITING)
        batch = batch->next;
    return batch;
}

struct batch *
backlog_take(struct backlog *backlog)
{
    struct batch *batch = backlog->waiting;
    if (batch == NULL)
        return NULL;
    must(batch->state == BATCH_WAITING);
    batch->state = BATCH_SENT;
    batch->sends_count++;
    backlog->waiting = waiting_from(batch->next);
    return batch;
}

void
backlog_release(struct backlog *backlog, struct batch *batch)
{
    must(batch->state == BATCH_SENT);
    batch->state = BATCH_RELEASED;
    backlog->used_size -= batch_span(batch->events_size, batch->events_count);
    backlog->events_count -= batch->events_count;
    while (backlog->oldest != NULL && backlog->oldest->state == BATCH_RELEASED)
        backlog->oldest = backlog->oldest->next;
    if (backlog->oldest == NULL)
        backlog->newest = NULL;
    assert_slow(backlog_validate(backlog));
}

void
backlog_rewind(struct backlog *backlog)
{
    for (struct batch *batch = backlog->oldest; batch != NULL; batch = batch->next)
        if (batch->state == BATCH_SENT)
            batch->state = BATCH_WAITING;
    backlog->waiting = backlog->oldest;
    assert_slow(backlog_validate(backlog));
}

bool
backlog_is_settled(const struct backlog *backlog, uint64_t sequence)
{
    return backlog->oldest == NULL || backlog->oldest->sequence > sequence;
}

// Adds what one unacked batch holds; false when it reaches beyond the memory.
static bool
batch_count(
    const struct backlog *backlog, const struct batch *batch, size_t *used, uint64_t *events)
{
    size_t span = batch_span(batch->events_size, batch->events_count);
    if (batch->state != BATCH_RELEASED) {
        *used += span;
        *events += batch->events_count;
    }
    return batch_offset(backlog, batch) + span <= backlog->limits.size;
}

bool
backlog_validate(const struct backlog *backlog)
{
    size_t used = 0;
    uint64_t events = 0;
    const struct batch *waiting = NULL;
    for (const struct batch *batch = backlog->oldest; batch != NULL; batch = batch->next) {
        if (batch->next != NULL && batch->next->sequence != batch->sequence + 1)
            return false;
        if (batch->next == NULL && batch != backlog->newest)
            return false;
        if (waiting == NULL && batch->state == BATCH_WAITING)
            waiting = batch;
        if (!batch_count(backlog, batch, &used, &events))
            return false;
    }
    if (backlog->filling != NULL && !batch_count(backlog, backlog->filling, &used, &events))
        return false;
    return waiting == backlog->waiting && used == backlog->used_size &&
           events == backlog->events_count && used <= backlog->limits.size;
}
