#include "ledger/entry.h"

#include "base/assert.h"

enum {
    ENTRY_FLAGS_KNOWN =
        ENTRY_TIME_IS_ARRIVAL | ENTRY_ID_IS_CHUNK | ENTRY_IS_BACKFILL | ENTRY_IS_REVERT,
    ENTRY_SIZE_FIELD = 4,
};

// The fixed part of an entry after its size field, at any alignment.
enum {
    HEAD_VALUE = 0,
    HEAD_TIME = 16,
    HEAD_PROPERTIES_COUNT = 24,
    HEAD_KIND = 28,
    HEAD_FLAGS = 29,
    HEAD_TYPE = 30,
    HEAD_BATCH = 31,
    HEAD_SUBJECT = 32,
    HEAD_SOURCE = 33,
    HEAD_ID = 34,
    HEAD_IDENTITY = 35,
    HEAD_CHUNK_POSITION = 36,
    HEAD_SIZE = 40,
};

_Static_assert((int)HEAD_SIZE + (int)ENTRY_SIZE_FIELD == (int)ENTRY_HEADER_SIZE, "one header");
_Static_assert(
    (int)HEAD_SUBJECT + (int)ENTRY_SIZE_FIELD == (int)ENTRY_IDENTITY_OFFSET &&
        HEAD_SIZE - HEAD_SUBJECT + 3 * UINT8_MAX == (int)ENTRY_IDENTITY_MAX,
    "what is hashed begins with the subject's length");

_Static_assert(
    EVENT_SUBJECT_MAX <= UINT8_MAX && EVENT_TYPE_MAX <= UINT8_MAX && EVENT_ID_MAX <= UINT8_MAX &&
        EVENT_SOURCE_MAX <= UINT8_MAX && EVENT_CHUNK_MAX <= UINT8_MAX &&
        EVENT_BATCH_MAX <= UINT8_MAX && (int)ENTRY_WHO_MAX <= UINT8_MAX &&
        (int)ENTRY_WHY_MAX <= UINT16_MAX,
    "lengths are stored in a byte, why's in two");

const char *
fate_name(enum fate fate)
{
    switch (fate) {
    case FATE_STORED: return "stored";
    case FATE_DUPLICATE: return "duplicate";
    case FATE_CONFLICT: return "conflict";
    case FATE_TOO_OLD: return "time too old";
    case FATE_TOO_FAR_AHEAD: return "time too far ahead";
    case FATE_BATCH_NOT_OPEN: return "backfill is not open";
    case FATE_COUNT: break;
    }
    must(false);
    return "";
}

const char *
entry_kind_name(enum entry_kind kind)
{
    switch (kind) {
    case ENTRY_EVENT: return "event";
    case ENTRY_CANCEL: return "cancel";
    case ENTRY_AMEND: return "amend";
    case ENTRY_BATCH_OPEN: return "batch_open";
    case ENTRY_BATCH_CLOSE: return "batch_close";
    case ENTRY_BATCH_REVERT: return "batch_revert";
    case ENTRY_CUT: return "cut";
    }
    must(false);
    return "";
}

// Fields as they lie in the bytes, at any alignment.
static uint8_t *
put(uint8_t *at, const void *data, size_t size)
{
    bytes_copy(at, data, size);
    return at + size;
}

static uint8_t *
put_bytes(uint8_t *at, struct bytes bytes)
{
    // Most events have no source, and no batch.
    return bytes.size == 0 ? at : put(at, bytes.data, bytes.size);
}

// The same for what every event has.
static inline __attribute__((always_inline)) uint8_t *
put_text(uint8_t *at, struct bytes text)
{
    bytes_copy(at, text.data, text.size);
    return at + text.size;
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
event_flags(const struct event *event)
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

static enum entry_identity
identity_of(uint8_t flags, size_t id_size)
{
    if (id_size == 0)
        return IDENTITY_NONE;
    return (flags & ENTRY_ID_IS_CHUNK) != 0 ? IDENTITY_BY_CHUNK : IDENTITY_BY_ID;
}

// Lengths and kinds, four or eight to a store: every event is written, and two stores of eight are
// less work than twelve.
struct head_words {
    uint64_t payload;   // from HEAD_PROPERTIES_COUNT on
    uint64_t identity;  // from HEAD_SUBJECT on
};

// The fixed part that every entry begins with. size: of the entry.
static inline uint8_t *
put_head(
    uint8_t *at, size_t size, struct decimal value, int64_t time_ns, const struct head_words *words)
{
    const uint32_t size_field = (uint32_t)(size - ENTRY_SIZE_FIELD);
    memcpy(at, &size_field, sizeof size_field);
    at += ENTRY_SIZE_FIELD;
    memcpy(at + HEAD_VALUE, &value.units, sizeof value.units);
    memcpy(at + HEAD_TIME, &time_ns, sizeof time_ns);
    memcpy(at + HEAD_PROPERTIES_COUNT, &words->payload, sizeof words->payload);
    memcpy(at + HEAD_SUBJECT, &words->identity, sizeof words->identity);
    return at + HEAD_SIZE;
}

static inline uint64_t
identity_word(
    size_t subject, size_t source, size_t id, enum entry_identity identity, uint32_t position)
{
    return subject | source << 8 | id << 16 | (uint64_t)identity << 24 | (uint64_t)position << 32;
}

static uint8_t *
put_entry_head(uint8_t *at, const struct entry *entry, size_t size)
{
    const struct head_words words = {
        .payload = entry->properties_count | (uint64_t)entry->kind << 32 |
                   (uint64_t)entry->flags << 40 | (uint64_t)entry->type.size << 48 |
                   (uint64_t)entry->batch.size << 56,
        .identity = identity_word(
            entry->subject.size,
            entry->source.size,
            entry->id.size,
            identity_of(entry->flags, entry->id.size),
            entry->chunk_position),
    };
    return put_head(at, size, entry->value, entry->time_ns, &words);
}

static uint8_t *
put_texts(uint8_t *at, const struct entry *entry)
{
    at = put_bytes(at, entry->subject);
    at = put_bytes(at, entry->source);
    at = put_bytes(at, entry->id);
    at = put_bytes(at, entry->type);
    return put_bytes(at, entry->batch);
}

void
entry_write(const struct event *event, int64_t arrival_ns, uint8_t *out)
{
    struct entry_payload payload;
    (void)entry_write_event(event, arrival_ns, entry_size(event), out, &payload);
}

struct entry_written
entry_write_event(
    const struct event *event,
    int64_t arrival_ns,
    size_t size,
    uint8_t *out,
    struct entry_payload *out_payload)
{
    must(event_is_sound(event));
    const uint8_t flags = event_flags(event);
    const bool is_chunk = (flags & ENTRY_ID_IS_CHUNK) != 0;
    const struct bytes id = event_id_bytes(event);
    const int64_t time_ns = event->time_ns != 0 ? event->time_ns : arrival_ns;
    const struct head_words words = {
        .payload = event->properties_count | (uint64_t)ENTRY_EVENT << 32 | (uint64_t)flags << 40 |
                   (uint64_t)event->type.size << 48 | (uint64_t)event->batch.size << 56,
        .identity = identity_word(
            event->subject.size,
            event->source.size,
            id.size,
            identity_of(flags, id.size),
            is_chunk ? event->chunk_position : 0),
    };
    uint8_t *at = put_head(out, size, event->value, time_ns, &words);
    at = put_text(at, event->subject);
    at = put_bytes(at, event->source);
    at = put_text(at, id);
    const uint8_t *const id_end = at;
    at = put_text(at, event->type);
    at = put_bytes(at, event->batch);
    const uint8_t *const properties = at;
    for (uint32_t i = 0; i < event->properties_runs; i++)
        at = put_text(at, event->properties[i]);
    must(at == out + size);
    // Those of the event, when they lie in one piece: bytes that were just stored in other pieces
    // than they are loaded in would be waited for (half of payload_hash's time in a profile).
    const bool is_one = event->properties_runs == 1;
    *out_payload = (struct entry_payload){
        .type = event->type,
        .value = event->value,
        .properties_count = event->properties_count,
        .properties =
            is_one ? event->properties[0] : bytes_of(properties, (size_t)(at - properties)),
    };
    return (struct entry_written){
        .time_ns = time_ns,
        .identity_size = id.size > 0 ? (uint32_t)(id_end - out) - ENTRY_IDENTITY_OFFSET : 0,
        .flags = flags,
    };
}

size_t
entry_raw_size(const struct entry *entry)
{
    size_t size = ENTRY_HEADER_SIZE + entry->subject.size + entry->type.size + entry->id.size +
                  entry->source.size + entry->batch.size + entry->properties.size;
    if (entry->kind == ENTRY_EVENT)
        return size;
    const struct entry_note *note = &entry->note;
    return size + ENTRY_NOTE_SIZE + note->amended.type.size + note->who.size + note->why.size +
           note->amended.properties.size;
}

static uint8_t *
put_note(uint8_t *at, const struct entry *entry)
{
    const struct entry_note *note = &entry->note;
    const uint32_t properties_size = (uint32_t)entry->properties.size;
    const uint8_t sizes[2] = {(uint8_t)note->amended.type.size, (uint8_t)note->who.size};
    const uint16_t why_size = (uint16_t)note->why.size;
    at = put(at, &note->block, sizeof note->block);
    at = put(at, &note->index, sizeof note->index);
    at = put(at, &note->cut, sizeof note->cut);
    at = put(at, &note->amended.value.units, sizeof note->amended.value.units);
    at = put(at, &properties_size, sizeof properties_size);
    at = put(at, &note->amended.properties_count, sizeof note->amended.properties_count);
    at = put(at, sizes, sizeof sizes);
    return put(at, &why_size, sizeof why_size);
}

void
entry_put(const struct entry *entry, uint8_t *out)
{
    must(entry_is_sound(entry));
    const size_t size = entry_raw_size(entry);
    uint8_t *at = put_entry_head(out, entry, size);
    if (entry->kind == ENTRY_EVENT) {
        at = put_texts(at, entry);
        at = put_bytes(at, entry->properties);
    } else {
        at = put_note(at, entry);
        must(at == out + ENTRY_HEADER_SIZE + ENTRY_NOTE_SIZE);
        at = put_texts(at, entry);
        at = put_bytes(at, entry->note.amended.type);
        at = put_bytes(at, entry->note.who);
        at = put_bytes(at, entry->note.why);
        at = put_bytes(at, entry->properties);
        at = put_bytes(at, entry->note.amended.properties);
    }
    must(at == out + size);
}

static bool
payload_is_empty(const struct entry_payload *payload)
{
    return payload->type.size == 0 && payload->value.units == 0 && payload->properties_count == 0 &&
           payload->properties.size == 0;
}

static bool
event_part_is_sound(const struct entry *entry)
{
    bool is_chunk = (entry->flags & ENTRY_ID_IS_CHUNK) != 0;
    bool is_backfill = (entry->flags & ENTRY_IS_BACKFILL) != 0;
    bool is_revert = (entry->flags & ENTRY_IS_REVERT) != 0;
    size_t id_max = is_chunk ? EVENT_CHUNK_MAX : EVENT_ID_MAX;
    return (entry->flags & ~ENTRY_FLAGS_KNOWN) == 0 && entry->subject.size > 0 &&
           entry->subject.size <= EVENT_SUBJECT_MAX && entry->type.size > 0 &&
           entry->type.size <= EVENT_TYPE_MAX && entry->id.size <= id_max &&
           entry->source.size <= EVENT_SOURCE_MAX && is_backfill == (entry->batch.size > 0) &&
           entry->batch.size <= EVENT_BATCH_MAX && (!is_chunk || entry->id.size > 0) &&
           (is_chunk || entry->chunk_position == 0) &&
           (!is_revert || (is_backfill && entry->kind == ENTRY_CANCEL));
}

static bool
event_part_is_empty(const struct entry *entry)
{
    return entry->flags == 0 && entry->chunk_position == 0 && entry->properties_count == 0 &&
           entry->value.units == 0 && entry->subject.size == 0 && entry->type.size == 0 &&
           entry->id.size == 0 && entry->source.size == 0 && entry->properties.size == 0;
}

static bool
correction_is_sound(const struct entry *entry)
{
    const struct entry_note *note = &entry->note;
    bool is_amended = entry->kind == ENTRY_AMEND;
    bool is_revert = (entry->flags & ENTRY_IS_REVERT) != 0;
    return event_part_is_sound(entry) && note->block > 0 && note->cut == 0 &&
           (note->who.size == 0) == is_revert && (note->why.size == 0) == is_revert &&
           (is_amended ? note->amended.type.size > 0 : payload_is_empty(&note->amended));
}

static bool
batch_is_sound(const struct entry *entry)
{
    const struct entry_note *note = &entry->note;
    bool is_revert = entry->kind == ENTRY_BATCH_REVERT;
    bool has_rest = is_revert && note->block > 0;
    return event_part_is_empty(entry) && entry->batch.size > 0 &&
           entry->batch.size <= EVENT_BATCH_MAX && (is_revert || note->block == 0) &&
           (has_rest || note->index == 0) && note->cut == 0 && note->who.size > 0 &&
           (!is_revert || note->why.size > 0) && payload_is_empty(&note->amended);
}

static bool
cut_is_sound(const struct entry *entry)
{
    const struct entry_note *note = &entry->note;
    return event_part_is_empty(entry) && entry->batch.size == 0 && note->cut > 0 &&
           note->block == 0 && note->index == 0 && payload_is_empty(&note->amended);
}

bool
entry_is_sound(const struct entry *entry)
{
    if (entry->kind == ENTRY_EVENT)
        return event_part_is_sound(entry);
    if (entry->note.who.size > ENTRY_WHO_MAX || entry->note.why.size > ENTRY_WHY_MAX ||
        entry->note.amended.type.size > EVENT_TYPE_MAX)
        return false;
    switch (entry->kind) {
    case ENTRY_EVENT: break;
    case ENTRY_CANCEL:
    case ENTRY_AMEND: return correction_is_sound(entry);
    case ENTRY_BATCH_OPEN:
    case ENTRY_BATCH_CLOSE:
    case ENTRY_BATCH_REVERT: return batch_is_sound(entry);
    case ENTRY_CUT: return cut_is_sound(entry);
    }
    return false;
}

static void
head_read(const uint8_t *head, struct entry *out)
{
    out->kind = (enum entry_kind)head[HEAD_KIND];
    out->flags = head[HEAD_FLAGS];
    memcpy(&out->chunk_position, head + HEAD_CHUNK_POSITION, sizeof out->chunk_position);
    memcpy(&out->properties_count, head + HEAD_PROPERTIES_COUNT, sizeof out->properties_count);
    memcpy(&out->time_ns, head + HEAD_TIME, sizeof out->time_ns);
    memcpy(&out->value.units, head + HEAD_VALUE, sizeof out->value.units);
}

static bool
head_is_sound(const uint8_t *head)
{
    return head[HEAD_IDENTITY] == identity_of(head[HEAD_FLAGS], head[HEAD_ID]);
}

static void
texts_read(struct cursor *in, const uint8_t *head, struct entry *out)
{
    out->subject = cursor_take(in, head[HEAD_SUBJECT]);
    out->source = cursor_take(in, head[HEAD_SOURCE]);
    out->id = cursor_take(in, head[HEAD_ID]);
    out->type = cursor_take(in, head[HEAD_TYPE]);
    out->batch = cursor_take(in, head[HEAD_BATCH]);
}

// The rest of an entry that is no event.
static void
note_read(struct cursor *in, const uint8_t *head, struct entry *out)
{
    struct entry_note *note = &out->note;
    int128 units;
    note->block = cursor_u64le(in);
    note->index = cursor_u32le(in);
    note->cut = cursor_u32le(in);
    uint64_t low = cursor_u64le(in);
    uint64_t high = cursor_u64le(in);
    units = (int128)((uint128)high << 64 | low);
    note->amended.value.units = units;
    uint32_t properties_size = cursor_u32le(in);
    note->amended.properties_count = cursor_u32le(in);
    uint8_t type_size = cursor_u8(in);
    uint8_t who_size = cursor_u8(in);
    uint16_t why_size = cursor_u16le(in);
    texts_read(in, head, out);
    note->amended.type = cursor_take(in, type_size);
    note->who = cursor_take(in, who_size);
    note->why = cursor_take(in, why_size);
    out->properties = cursor_take(in, properties_size);
    note->amended.properties = cursor_take(in, cursor_left(in));
}

static struct bytes
take(const uint8_t **at, uint8_t size)
{
    struct bytes text = bytes_of(*at, size);
    *at += size;
    return text;
}

void
entry_view(struct cursor *cursor, struct entry *out)
{
    const uint8_t *head = cursor->at + ENTRY_SIZE_FIELD;
    const size_t left = cursor_left(cursor);
    uint32_t size;
    must(left >= ENTRY_HEADER_SIZE);
    memcpy(&size, cursor->at, sizeof size);
    must(size >= HEAD_SIZE && size <= left - ENTRY_SIZE_FIELD);
    if (head[HEAD_KIND] != ENTRY_EVENT) {
        bool is_sound = entry_read(cursor, out);
        must(is_sound);
        return;
    }
    const uint8_t *at = head + HEAD_SIZE;
    const uint8_t *end = head + size;
    head_read(head, out);
    out->subject = take(&at, head[HEAD_SUBJECT]);
    out->source = take(&at, head[HEAD_SOURCE]);
    out->id = take(&at, head[HEAD_ID]);
    out->type = take(&at, head[HEAD_TYPE]);
    out->batch = take(&at, head[HEAD_BATCH]);
    must(at <= end);
    out->properties = bytes_of(at, (size_t)(end - at));
    assert_slow(head_is_sound(head) && entry_is_sound(out));
    (void)head_is_sound;
    cursor->at = end;
}

bool
entry_read(struct cursor *cursor, struct entry *out)
{
    uint32_t size = cursor_u32le(cursor);
    struct cursor body = cursor_over(cursor_take(cursor, size));
    if (cursor_failed(cursor) || size < HEAD_SIZE) {
        cursor->failed = true;
        return false;
    }
    const uint8_t *head = cursor_take(&body, HEAD_SIZE).data;
    head_read(head, out);
    if (out->kind == ENTRY_EVENT) {
        texts_read(&body, head, out);
        out->properties = cursor_take(&body, cursor_left(&body));
    } else {
        note_read(&body, head, out);
    }
    if (cursor_failed(&body) || !head_is_sound(head) || !entry_is_sound(out)) {
        cursor->failed = true;
        return false;
    }
    return true;
}
