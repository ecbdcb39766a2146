// From bytes to an event in one pass over the entry. The frame's structure was checked before, so a
// failing cursor here means a limit of ours (depth), never missing bytes.

#include "ingest/decode.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/unpack.h"
#include "ingest/decode_parts.h"

static const struct {
    const char *name;
    const char *label;
} REFUSALS[REFUSAL_COUNT] = {
    [REFUSAL_NONE] = {"none",                                         "none"           },
    [REFUSAL_ENTRY] = {"entry is not [time, record]",                  "entry"          },
    [REFUSAL_RECORD] = {"record is not a map",                          "record"         },
    [REFUSAL_KEY] = {"a key is not a string",                        "key"            },
    [REFUSAL_KEY_TWICE] = {"a reserved key is given twice",                "key_twice"      },
    [REFUSAL_SUBJECT_MISSING] = {"subject missing",                              "subject_missing"},
    [REFUSAL_SUBJECT_INVALID] = {"subject is not a string of 1-255 bytes",       "subject"        },
    [REFUSAL_TYPE_INVALID] = {"type is not a string of 1-100 bytes",          "type"           },
    [REFUSAL_ID_INVALID] = {"id is not a string of 1-128 bytes",            "id"             },
    [REFUSAL_SOURCE_INVALID] = {"source is not a string of 0-255 bytes",        "source"         },
    [REFUSAL_VALUE_INVALID] = {"value is not a number",                        "value"          },
    [REFUSAL_VALUE_RANGE] = {"value out of range",                           "value_range"    },
    [REFUSAL_TIME_INVALID] = {"time is not EventTime, integer, float or nil", "time"           },
    [REFUSAL_TIME_RANGE] = {"time before 1970 or after 2262",               "time_range"     },
    [REFUSAL_DEPTH] = {"properties nested too deep",                   "depth"          },
    [REFUSAL_SIZE] = {"event larger than 64 KiB",                     "size"           },
    [REFUSAL_SIZE_UDP] = {"event larger than 60 KB over UDP",             "size_udp"       },
    [REFUSAL_BACKFILL] = {"backfill not permitted",                       "backfill"       },
    [REFUSAL_TOO_OLD] = {"time too old",                                 "too_old"        },
    [REFUSAL_TOO_FAR_AHEAD] = {"time too far ahead",                           "too_far_ahead"  },
    [REFUSAL_BATCH_NOT_OPEN] = {"backfill is not open",                         "batch_not_open" },
};

const char *
refusal_name(enum refusal refusal)
{
    must(refusal < REFUSAL_COUNT);
    return REFUSALS[refusal].name;
}

const char *
refusal_label(enum refusal refusal)
{
    must(refusal < REFUSAL_COUNT);
    return REFUSALS[refusal].label;
}

// --- time ---

static enum refusal
time_from_seconds(uint64_t seconds, uint32_t nanoseconds, int64_t *out_ns)
{
    int64_t time_ns;
    if (nanoseconds >= SECOND_NS)
        return REFUSAL_TIME_INVALID;
    if (seconds > INT64_MAX || __builtin_mul_overflow((int64_t)seconds, SECOND_NS, &time_ns) ||
        __builtin_add_overflow(time_ns, (int64_t)nanoseconds, &time_ns))
        return REFUSAL_TIME_RANGE;
    *out_ns = time_ns;
    return REFUSAL_NONE;
}

// Float seconds through the shortest decimal, so that 0.1 s is 100,000,000 ns and not what binary
// makes of it. What lies below a nanosecond is rounded half-even.
static enum refusal
time_from_decimal(struct decimal seconds, int64_t *out_ns)
{
    const int128 unit = DECIMAL_ONE.units / SECOND_NS;
    if (seconds.units < 0)
        return REFUSAL_TIME_RANGE;
    int128 whole = seconds.units / unit;
    int128 rest = seconds.units % unit;
    if (rest * 2 > unit || (rest * 2 == unit && (whole & 1)))
        whole++;
    if (whole > INT64_MAX)
        return REFUSAL_TIME_RANGE;
    *out_ns = (int64_t)whole;
    return REFUSAL_NONE;
}

static enum refusal
time_from_real(const struct unpack_item *item, int64_t *out_ns)
{
    struct decimal seconds;
    bool is_rounded = false;
    enum status status = item->type == UNPACK_FLOAT
                             ? decimal_from_float(item->real32, &seconds, &is_rounded)
                             : decimal_from_double(item->real64, &seconds, &is_rounded);
    if (status == STATUS_OVERFLOW)
        return REFUSAL_TIME_RANGE;
    return status ? REFUSAL_TIME_INVALID : time_from_decimal(seconds, out_ns);
}

static enum refusal
time_from_ext(const struct unpack_item *item, int64_t *out_ns)
{
    if (item->ext_type != EVENT_TIME_EXT || item->text.size != EVENT_TIME_SIZE)
        return REFUSAL_TIME_INVALID;
    struct cursor in = cursor_over(item->text);
    uint32_t seconds = cursor_u32be(&in);
    uint32_t nanoseconds = cursor_u32be(&in);
    return time_from_seconds(seconds, nanoseconds, out_ns);
}

static enum refusal
time_decode(const struct unpack_item *item, int64_t *out_ns)
{
    switch (item->type) {
    case UNPACK_NIL: *out_ns = 0; return REFUSAL_NONE;
    case UNPACK_UINT: return time_from_seconds(item->natural, 0, out_ns);
    case UNPACK_INT: return REFUSAL_TIME_RANGE;
    case UNPACK_FLOAT:
    case UNPACK_DOUBLE: return time_from_real(item, out_ns);
    case UNPACK_EXT: return time_from_ext(item, out_ns);
    case UNPACK_BOOL:
    case UNPACK_STR:
    case UNPACK_BIN:
    case UNPACK_ARRAY:
    case UNPACK_MAP: break;
    }
    return REFUSAL_TIME_INVALID;
}

// --- reserved keys ---

static enum refusal
text_decode(
    const struct unpack_item *item,
    size_t size_min,
    size_t size_max,
    enum refusal refusal,
    struct bytes *out)
{
    if (item->type == UNPACK_NIL)
        return REFUSAL_NONE;
    if (!item_is_text(item) || item->text.size < size_min || item->text.size > size_max)
        return refusal;
    *out = item->text;
    return REFUSAL_NONE;
}

static enum status
value_read(const struct unpack_item *item, struct decimal *out, bool *out_is_rounded)
{
    switch (item->type) {
    case UNPACK_NIL: return STATUS_OK;
    case UNPACK_INT: *out = decimal_from_int(item->integer); return STATUS_OK;
    case UNPACK_UINT: return decimal_from_uint(item->natural, out);
    case UNPACK_FLOAT: return decimal_from_float(item->real32, out, out_is_rounded);
    case UNPACK_DOUBLE: return decimal_from_double(item->real64, out, out_is_rounded);
    case UNPACK_STR:
    case UNPACK_BIN: return decimal_parse(item->text, out, out_is_rounded);
    case UNPACK_BOOL:
    case UNPACK_EXT:
    case UNPACK_ARRAY:
    case UNPACK_MAP: break;
    }
    return STATUS_INVALID;
}

enum refusal
value_decode(const struct unpack_item *item, struct event *out, struct decode_stats *stats)
{
    bool is_rounded = false;
    enum status status = value_read(item, &out->value, &is_rounded);
    stats->values_rounded += is_rounded;
    if (status == STATUS_OVERFLOW)
        return REFUSAL_VALUE_RANGE;
    return status ? REFUSAL_VALUE_INVALID : REFUSAL_NONE;
}

const uint8_t *
value_take_any(const uint8_t *at, const uint8_t *end, struct event *out, struct decode_stats *stats)
{
    struct cursor in = cursor_over(bytes_of(at, (size_t)(end - at)));
    struct unpack_item item;
    if (!unpack_next(&in, &item) || value_decode(&item, out, stats) != REFUSAL_NONE)
        return NULL;
    return in.at;
}

// Whether data begins with a word of four letters; the compiler makes one comparison of it.
static inline bool
word_is(const uint8_t *data, const char word[5])
{
    return memcmp(data, word, 4) == 0;
}

enum reserved
reserved_of(struct bytes key)
{
    const uint8_t *data = key.data;
    switch (key.size) {
    case 2: return data[0] == 'i' && data[1] == 'd' ? RESERVED_ID : RESERVED_NONE;
    case 4: return word_is(data, "type") ? RESERVED_TYPE : RESERVED_NONE;
    case 5: return word_is(data, "valu") && data[4] == 'e' ? RESERVED_VALUE : RESERVED_NONE;
    case 6:
        return word_is(data, "sour") && word_is(data + 2, "urce") ? RESERVED_SOURCE : RESERVED_NONE;
    case 7:
        return word_is(data, "subj") && word_is(data + 3, "ject") ? RESERVED_SUBJECT
                                                                  : RESERVED_NONE;
    default: return RESERVED_NONE;
    }
}

static enum refusal
reserved_decode(
    enum reserved name, struct cursor *in, struct event *out, struct decode_stats *stats)
{
    struct unpack_item item;
    if (!unpack_next(in, &item))
        return REFUSAL_ENTRY;
    switch (name) {
    case RESERVED_SUBJECT:
        return text_decode(&item, 1, EVENT_SUBJECT_MAX, REFUSAL_SUBJECT_INVALID, &out->subject);
    case RESERVED_TYPE:
        return text_decode(&item, 1, EVENT_TYPE_MAX, REFUSAL_TYPE_INVALID, &out->type);
    case RESERVED_ID: return text_decode(&item, 1, EVENT_ID_MAX, REFUSAL_ID_INVALID, &out->id);
    case RESERVED_SOURCE:
        return text_decode(&item, 0, EVENT_SOURCE_MAX, REFUSAL_SOURCE_INVALID, &out->source);
    case RESERVED_VALUE: return value_decode(&item, out, stats);
    case RESERVED_DATA:
    case RESERVED_NONE: break;
    }
    must(name != RESERVED_NONE);
    return REFUSAL_KEY;
}

// --- properties ---

// The elements of an opened container: keys of maps are strings, no deeper than EVENT_DEPTH_MAX
// containers.
static enum refusal
container_walk(struct cursor *in, const struct unpack_item *outer)
{
    struct {
        uint32_t left;
        bool is_map;
    } levels[EVENT_DEPTH_MAX];
    uint32_t depth = 1;
    levels[0].left = outer->count;
    levels[0].is_map = outer->type == UNPACK_MAP;
    while (depth > 0) {
        if (levels[depth - 1].left == 0) {
            depth--;
            continue;
        }
        levels[depth - 1].left--;
        struct unpack_item item;
        if (levels[depth - 1].is_map && (!unpack_next(in, &item) || !item_is_text(&item)))
            return REFUSAL_KEY;
        if (!unpack_next(in, &item))
            return REFUSAL_ENTRY;
        if (item.type != UNPACK_MAP && item.type != UNPACK_ARRAY)
            continue;
        if (depth == EVENT_DEPTH_MAX)
            return REFUSAL_DEPTH;
        levels[depth].left = item.count;
        levels[depth].is_map = item.type == UNPACK_MAP;
        depth++;
    }
    return REFUSAL_NONE;
}

enum refusal
property_walk(struct cursor *in)
{
    struct unpack_item item;
    if (!unpack_next(in, &item))
        return REFUSAL_ENTRY;
    if (item.type != UNPACK_MAP && item.type != UNPACK_ARRAY)
        return REFUSAL_NONE;
    return container_walk(in, &item);
}

// The key 0: its value is a map whose pairs are properties, whatever their names (docs/wire.md).
static enum refusal
data_decode(const struct unpack_item *key, struct cursor *in, struct event *out)
{
    struct unpack_item map;
    if (key->type != UNPACK_UINT || key->natural != 0)
        return REFUSAL_KEY;
    if (!unpack_next(in, &map))
        return REFUSAL_ENTRY;
    if (map.type != UNPACK_MAP)
        return REFUSAL_RECORD;
    const uint8_t *run = in->at;
    for (uint32_t i = 0; i < map.count; i++) {
        struct unpack_item name;
        if (!unpack_next(in, &name) || !item_is_text(&name))
            return REFUSAL_KEY;
        enum refusal refusal = property_walk(in);
        if (refusal != REFUSAL_NONE)
            return refusal;
    }
    out->properties_count += map.count;
    run_add(out, run, in->at);
    return REFUSAL_NONE;
}

// The cursor stands after the map's header.
static enum refusal
pairs_decode(struct cursor *in, uint32_t count, struct event *out, struct decode_stats *stats)
{
    unsigned seen = 0;
    const uint8_t *run = in->at;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *pair = in->at;
        struct unpack_item key;
        if (!unpack_next(in, &key))
            return REFUSAL_KEY;
        enum reserved name = item_is_text(&key) ? reserved_of(key.text) : RESERVED_DATA;
        enum refusal refusal = REFUSAL_NONE;
        if (name == RESERVED_NONE) {
            refusal = property_walk(in);
            out->properties_count++;
        } else if (seen & name) {
            refusal = REFUSAL_KEY_TWICE;
        } else {
            run_add(out, run, pair);
            refusal = name == RESERVED_DATA ? data_decode(&key, in, out)
                                            : reserved_decode(name, in, out, stats);
            run = in->at;
        }
        if (refusal != REFUSAL_NONE)
            return refusal;
        seen |= name;
    }
    run_add(out, run, in->at);
    return REFUSAL_NONE;
}

// --- entry ---

static enum refusal
record_decode(struct cursor *in, struct event *out, struct decode_stats *stats)
{
    const uint8_t *start = in->at;
    struct unpack_item map;
    if (!unpack_next(in, &map))
        return REFUSAL_ENTRY;
    if (map.type != UNPACK_MAP)
        return REFUSAL_RECORD;
    enum refusal refusal = pairs_decode(in, map.count, out, stats);
    if (refusal != REFUSAL_NONE)
        return refusal;
    if ((size_t)(in->at - start) > EVENT_SIZE_MAX)
        return REFUSAL_SIZE;
    return REFUSAL_NONE;
}

// An EventTime as its clients write it: a fixext of eight bytes. False: it is something else.
static bool
event_time_take(struct cursor *in, enum refusal *out_refusal, int64_t *out_ns)
{
    enum { HEAD_SIZE = 2 };
    const uint8_t *at = in->at;
    if (cursor_left(in) < HEAD_SIZE + EVENT_TIME_SIZE || at[0] != TAG_FIXEXT8 ||
        at[1] != EVENT_TIME_EXT)
        return false;
    struct cursor time = cursor_over(bytes_of(at + HEAD_SIZE, EVENT_TIME_SIZE));
    uint32_t seconds = cursor_u32be(&time);
    uint32_t nanoseconds = cursor_u32be(&time);
    *out_refusal = time_from_seconds(seconds, nanoseconds, out_ns);
    in->at = at + HEAD_SIZE + EVENT_TIME_SIZE;
    return true;
}

// Fluent Bit 2 may send [time, metadata] where the protocol has the time.
enum refusal
entry_time_decode(struct cursor *in, int64_t *out_ns)
{
    enum refusal refusal;
    if (event_time_take(in, &refusal, out_ns))
        return refusal;
    struct unpack_item item;
    if (!unpack_next(in, &item))
        return REFUSAL_ENTRY;
    if (item.type != UNPACK_ARRAY)
        return time_decode(&item, out_ns);
    if (item.count != 2 || !unpack_next(in, &item))
        return REFUSAL_TIME_INVALID;
    struct unpack_item time = item;
    struct cursor metadata = *in;
    if (!unpack_next(&metadata, &item) || item.type != UNPACK_MAP)
        return REFUSAL_TIME_INVALID;
    if (!unpack_skip(in, UNPACK_DEPTH_MAX))
        return REFUSAL_TIME_INVALID;
    return time_decode(&time, out_ns);
}

const uint8_t *
time_take_any(const uint8_t *at, const uint8_t *end, int64_t *out_ns)
{
    struct cursor in = cursor_over(bytes_of(at, (size_t)(end - at)));
    return entry_time_decode(&in, out_ns) == REFUSAL_NONE ? in.at : NULL;
}

static enum refusal
pair_decode(
    const struct frame *frame, struct cursor *in, struct event *out, struct decode_stats *stats)
{
    if (frame->mode != FRAME_MESSAGE) {
        struct unpack_item pair;
        if (!unpack_next(in, &pair) || pair.type != UNPACK_ARRAY || pair.count != 2)
            return REFUSAL_ENTRY;
    }
    struct cursor time = *in;
    enum refusal time_refusal = entry_time_decode(in, &out->time_ns);
    if (time_refusal != REFUSAL_NONE) {
        *in = time;
        (void)unpack_skip(in, UNPACK_DEPTH_MAX);
    }
    // The record is read even when the time is wrong: the reject log wants to name the event.
    enum refusal refusal = record_decode(in, out, stats);
    if (time_refusal != REFUSAL_NONE)
        return time_refusal;
    if (refusal != REFUSAL_NONE)
        return refusal;
    if (out->subject.size == 0)
        return REFUSAL_SUBJECT_MISSING;
    if (out->type.size > 0)
        return REFUSAL_NONE;
    out->type = frame->tag;
    return frame->tag.size == 0 || frame->tag.size > EVENT_TYPE_MAX ? REFUSAL_TYPE_INVALID
                                                                    : REFUSAL_NONE;
}

// After a refusal the cursor may stand anywhere in the entry: the next one is found by structure.
static void
entry_skip(const struct frame *frame, struct cursor *in, struct cursor start)
{
    *in = start;
    uint32_t values = frame->mode == FRAME_MESSAGE ? 2 : 1;
    for (uint32_t i = 0; i < values; i++) {
        bool is_whole = unpack_skip(in, UNPACK_DEPTH_MAX);
        must(is_whole);
    }
}

// Member by member: clearing the runs, which are counted, costs more than reading the event.
// Each view by itself: copied from one another they would be read back in one piece just after they
// were written in two, which makes the processor wait.
void
event_begin(const struct frame *frame, uint32_t index, struct event *out)
{
    out->subject = bytes_of(NULL, 0);
    out->type = bytes_of(NULL, 0);
    out->id = bytes_of(NULL, 0);
    out->source = bytes_of(NULL, 0);
    out->chunk = frame->chunk;
    out->chunk_position = index;
    out->time_ns = 0;
    out->value = DECIMAL_ONE;
    out->properties_count = 0;
    out->properties_runs = 0;
    out->batch = frame->backfill;
}

enum refusal
decode_entry(
    const struct frame *frame,
    struct cursor *in,
    uint32_t index,
    struct event *out,
    struct decode_stats *stats)
{
    must(index < frame->entries_count && frame->mode != FRAME_HEARTBEAT);
    struct cursor start = *in;
    event_begin(frame, index, out);
    enum refusal refusal = pair_decode(frame, in, out, stats);
    if (refusal != REFUSAL_NONE)
        entry_skip(frame, in, start);
    return refusal;
}
