#include "ledger/block.h"

#include "base/assert.h"

enum {
    BLOCK_KIND_EVENTS = 1,
    BLOCK_CHECKSUM_OFFSET = 48,
    ENTRY_FLAGS_KNOWN = ENTRY_TIME_IS_ARRIVAL | ENTRY_ID_IS_CHUNK | ENTRY_IS_BACKFILL,
    ENTRY_SIZE_FIELD = 4,
};

_Static_assert(BLOCK_CHECKSUM_OFFSET + 8 == BLOCK_HEADER_SIZE, "the checksum ends the header");
_Static_assert(
    EVENT_SUBJECT_MAX <= UINT8_MAX && EVENT_TYPE_MAX <= UINT8_MAX && EVENT_ID_MAX <= UINT8_MAX &&
        EVENT_SOURCE_MAX <= UINT8_MAX && EVENT_CHUNK_MAX <= UINT8_MAX &&
        EVENT_BATCH_MAX <= UINT8_MAX,
    "lengths are stored in a byte");

const char *
fate_name(enum fate fate)
{
    switch (fate) {
    case FATE_STORED: return "stored";
    case FATE_DUPLICATE: return "duplicate";
    case FATE_CONFLICT: return "conflict";
    case FATE_TOO_OLD: return "time too old";
    case FATE_TOO_FAR_AHEAD: return "time too far ahead";
    case FATE_COUNT: break;
    }
    must(false);
    return "";
}

// Fields as they lie in the value, at any alignment.
static uint8_t *
put(uint8_t *at, const void *data, size_t size)
{
    if (size > 0)
        memcpy(at, data, size);
    return at + size;
}

// What stands where the id does: the id, else the frame's chunk.
static struct bytes
event_id_bytes(const struct event *event)
{
    return event->id.size > 0 ? event->id : event->chunk;
}

size_t
entry_size(const struct event *event)
{
    size_t size = ENTRY_HEADER_SIZE + event->subject.size + event->type.size +
                  event_id_bytes(event).size + event->source.size + event->batch.size;
    for (uint32_t i = 0; i < event->properties_runs; i++)
        size += event->properties[i].size;
    return size;
}

static uint8_t
entry_flags(const struct event *event)
{
    uint8_t flags = 0;
    if (event->time_ns == 0)
        flags |= ENTRY_TIME_IS_ARRIVAL;
    if (event->id.size == 0 && event->chunk.size > 0)
        flags |= ENTRY_ID_IS_CHUNK;
    if (event->batch.size > 0)
        flags |= ENTRY_IS_BACKFILL;
    return flags;
}

// What ingest has promised: without it an entry could not be read back.
static bool
event_is_sound(const struct event *event)
{
    return event->subject.size > 0 && event->subject.size <= EVENT_SUBJECT_MAX &&
           event->type.size > 0 && event->type.size <= EVENT_TYPE_MAX &&
           event->id.size <= EVENT_ID_MAX && event->chunk.size <= EVENT_CHUNK_MAX &&
           event->source.size <= EVENT_SOURCE_MAX && event->batch.size <= EVENT_BATCH_MAX &&
           event->properties_runs <= EVENT_RUNS_MAX;
}

void
entry_write(const struct event *event, int64_t arrival_ns, uint8_t *out)
{
    must(event_is_sound(event));
    struct bytes id = event_id_bytes(event);
    uint32_t size = (uint32_t)(entry_size(event) - ENTRY_SIZE_FIELD);
    const uint8_t head[8] = {
        ENTRY_EVENT,
        entry_flags(event),
        (uint8_t)event->subject.size,
        (uint8_t)event->type.size,
        (uint8_t)id.size,
        (uint8_t)event->source.size,
        (uint8_t)event->batch.size,
        0,
    };
    int64_t time_ns = event->time_ns != 0 ? event->time_ns : arrival_ns;
    uint8_t *at = put(out, &size, sizeof size);
    at = put(at, head, sizeof head);
    at = put(at, &event->chunk_position, sizeof event->chunk_position);
    at = put(at, &event->properties_count, sizeof event->properties_count);
    at = put(at, &time_ns, sizeof time_ns);
    at = put(at, &event->value.units, sizeof event->value.units);
    must(at == out + ENTRY_HEADER_SIZE);
    at = put(at, event->subject.data, event->subject.size);
    at = put(at, event->type.data, event->type.size);
    at = put(at, id.data, id.size);
    at = put(at, event->source.data, event->source.size);
    at = put(at, event->batch.data, event->batch.size);
    for (uint32_t i = 0; i < event->properties_runs; i++)
        at = put(at, event->properties[i].data, event->properties[i].size);
    must(at == out + size + ENTRY_SIZE_FIELD);
}

// The fixed part of an entry after its size field, at any alignment.
enum {
    HEAD_KIND = 0,
    HEAD_FLAGS = 1,
    HEAD_SUBJECT = 2,
    HEAD_TYPE = 3,
    HEAD_ID = 4,
    HEAD_SOURCE = 5,
    HEAD_BATCH = 6,
    HEAD_ZERO = 7,
    HEAD_CHUNK_POSITION = 8,
    HEAD_PROPERTIES_COUNT = 12,
    HEAD_TIME = 16,
    HEAD_VALUE = 24,
    HEAD_SIZE = 40,
};

_Static_assert((int)HEAD_SIZE + (int)ENTRY_SIZE_FIELD == (int)ENTRY_HEADER_SIZE, "one header");

// Everything that could be wrong with an entry is in its first bytes, so that the rest is read
// without further questions.
static bool
head_is_sound(const uint8_t *head, size_t size)
{
    size_t texts = (size_t)head[HEAD_SUBJECT] + head[HEAD_TYPE] + head[HEAD_ID] +
                   head[HEAD_SOURCE] + head[HEAD_BATCH];
    bool is_backfill = (head[HEAD_FLAGS] & ENTRY_IS_BACKFILL) != 0;
    return head[HEAD_KIND] == ENTRY_EVENT && head[HEAD_ZERO] == 0 &&
           (head[HEAD_FLAGS] & ~ENTRY_FLAGS_KNOWN) == 0 && head[HEAD_SUBJECT] > 0 &&
           head[HEAD_TYPE] > 0 && is_backfill == (head[HEAD_BATCH] > 0) &&
           texts <= size - HEAD_SIZE;
}

static struct bytes
take(const uint8_t **at, size_t size)
{
    struct bytes taken = bytes_of(*at, size);
    *at += size;
    return taken;
}

bool
entry_read(struct cursor *cursor, struct entry *out)
{
    uint32_t size = cursor_u32le(cursor);
    struct bytes body = cursor_take(cursor, size);
    if (cursor_failed(cursor) || size < HEAD_SIZE || !head_is_sound(body.data, size)) {
        cursor->failed = true;
        return false;
    }
    const uint8_t *head = body.data;
    const uint8_t *at = head + HEAD_SIZE;
    out->kind = ENTRY_EVENT;
    out->flags = head[HEAD_FLAGS];
    memcpy(&out->chunk_position, head + HEAD_CHUNK_POSITION, sizeof out->chunk_position);
    memcpy(&out->properties_count, head + HEAD_PROPERTIES_COUNT, sizeof out->properties_count);
    memcpy(&out->time_ns, head + HEAD_TIME, sizeof out->time_ns);
    memcpy(&out->value.units, head + HEAD_VALUE, sizeof out->value.units);
    out->subject = take(&at, head[HEAD_SUBJECT]);
    out->type = take(&at, head[HEAD_TYPE]);
    out->id = take(&at, head[HEAD_ID]);
    out->source = take(&at, head[HEAD_SOURCE]);
    out->batch = take(&at, head[HEAD_BATCH]);
    out->properties = take(&at, (size_t)(head + size - at));
    out->whole = bytes_of(head - ENTRY_SIZE_FIELD, ENTRY_SIZE_FIELD + (size_t)size);
    return true;
}

static uint64_t
block_checksum(const uint8_t *value, uint64_t sequence, size_t entries_size)
{
    uint64_t head = hash64(bytes_of(value, BLOCK_CHECKSUM_OFFSET), sequence);
    return hash64(bytes_of(value + BLOCK_HEADER_SIZE, entries_size), head);
}

void
block_seal(uint8_t *value, const struct block_header *header)
{
    must(header->sequence > 0 && header->count > 0);
    must(header->time_min_ns <= header->time_max_ns);
    const uint32_t magic = BLOCK_MAGIC;
    const uint16_t version = BLOCK_VERSION;
    const uint16_t kind = BLOCK_KIND_EVENTS;
    uint8_t *at = put(value, &magic, sizeof magic);
    at = put(at, &version, sizeof version);
    at = put(at, &kind, sizeof kind);
    at = put(at, &header->sequence, sizeof header->sequence);
    at = put(at, &header->count, sizeof header->count);
    at = put(at, &header->size, sizeof header->size);
    at = put(at, &header->time_min_ns, sizeof header->time_min_ns);
    at = put(at, &header->time_max_ns, sizeof header->time_max_ns);
    at = put(at, &header->arrival_ns, sizeof header->arrival_ns);
    must(at == value + BLOCK_CHECKSUM_OFFSET);
    uint64_t checksum = block_checksum(value, header->sequence, header->size);
    (void)put(at, &checksum, sizeof checksum);
}

// What is wrong with the header, or NULL. The checksum comes last: the others say more.
static const char *
block_fault(const struct block_header *header, uint64_t sequence, struct bytes value)
{
    if (header->sequence != sequence)
        return "its sequence number is not its key's";
    if ((uint64_t)header->size + BLOCK_HEADER_SIZE != value.size)
        return "its size is not the value's";
    if (header->count == 0 || header->count > header->size / ENTRY_HEADER_SIZE)
        return "its count does not fit its size";
    if (header->time_min_ns > header->time_max_ns)
        return "its time bounds are reversed";
    uint64_t checksum;
    memcpy(&checksum, value.data + BLOCK_CHECKSUM_OFFSET, sizeof checksum);
    if (checksum != block_checksum(value.data, sequence, header->size))
        return "its checksum does not match";
    return NULL;
}

enum status
block_open(struct block_reader *reader, uint64_t sequence, struct bytes value, struct error *error)
{
    struct cursor in = cursor_over(value);
    uint32_t magic = cursor_u32le(&in);
    uint16_t version = cursor_u16le(&in);
    uint16_t kind = cursor_u16le(&in);
    struct block_header header = {.sequence = cursor_u64le(&in)};
    header.count = cursor_u32le(&in);
    header.size = cursor_u32le(&in);
    header.time_min_ns = (int64_t)cursor_u64le(&in);
    header.time_max_ns = (int64_t)cursor_u64le(&in);
    header.arrival_ns = (int64_t)cursor_u64le(&in);
    (void)cursor_u64le(&in);
    const char *fault = NULL;
    if (cursor_failed(&in))
        fault = "it is shorter than a header";
    else if (magic != BLOCK_MAGIC || version != BLOCK_VERSION || kind != BLOCK_KIND_EVENTS)
        fault = "its magic, version or kind is unknown";
    else
        fault = block_fault(&header, sequence, value);
    if (fault != NULL) {
        return error_set(
            error, STATUS_CORRUPT, "block %llu: %s", (unsigned long long)sequence, fault);
    }
    *reader = (struct block_reader){.header = header, .cursor = in};
    return STATUS_OK;
}

bool
block_next(struct block_reader *reader, struct entry *out)
{
    if (reader->is_broken)
        return false;
    if (reader->index == reader->header.count) {
        reader->is_broken = cursor_left(&reader->cursor) > 0;
        return false;
    }
    if (!entry_read(&reader->cursor, out)) {
        reader->is_broken = true;
        return false;
    }
    reader->index++;
    return true;
}
