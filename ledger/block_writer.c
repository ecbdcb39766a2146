#include "ledger/block_writer.h"

#include "base/assert.h"
#include "base/prefetch.h"
#include "base/unpack.h"
#include "ledger/cell.h"
#include "ledger/varint.h"

enum {
    // What a coded event may take beyond its raw form: ten numbers and the numbers of words,
    // generously.
    CODE_ROOM = 64,
    // Of entries, asked for before they are read: they were written on another core.
    CODE_AHEAD_SIZE = 2048,
    CODE_LINE = 64,
    PAIRS_LUCK_MAX = 256,
    PAIRS_LUCK_OF_HIT = 2,
    PAIRS_TRIED_EVERY = 16,
    VALUE_WORD_SIZE_MIN = 5,  // of a text in a map: shorter ones are as short as a word's number
};

static const uint64_t CHAPTER_BYTES_MAX = 256ULL << 20;
static const int128 MICRO_UNITS = 1000000000000;

enum status
block_writer_open(struct block_writer *writer, struct error *error)
{
    *writer = (struct block_writer){.words = words_open(), .pairs_luck = PAIRS_LUCK_MAX};
    if (writer->words == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the words of the log");
    return STATUS_OK;
}

void
block_writer_done(struct block_writer *writer)
{
    words_close(writer->words);
    buffer_done(&writer->entries);
    buffer_done(&writer->defined);
    buffer_done(&writer->traces);
    buffer_done(&writer->keys);
    *writer = (struct block_writer){0};
}

void
block_writer_resume(struct block_writer *writer, uint64_t head, uint64_t checksum)
{
    writer->header.sequence = head;
    writer->checksum = checksum;
    writer->chapter = 0;
}

void
block_begin(struct block_writer *writer, int64_t now_ns)
{
    uint64_t sequence = writer->header.sequence + 1;
    bool is_over = writer->chapter == 0 || sequence - writer->chapter >= BLOCK_CHAPTER_MAX ||
                   writer->chapter_bytes >= CHAPTER_BYTES_MAX;
    if (is_over) {
        words_reset(writer->words);
        writer->chapter = sequence;
        writer->chapter_bytes = 0;
        writer->words_last = 0;
        writer->last_keys.word = WORD_NONE;
    }
    writer->header = (struct block_header){
        .sequence = sequence,
        .chapter = writer->chapter,
        .words_previous = writer->words_last,
        .words_before = words_list(writer->words)->count,
        .time_min_ns = INT64_MAX,
        .time_max_ns = INT64_MIN,
        .arrival_min_ns = now_ns,
        .arrival_ns = now_ns,
        .previous = writer->checksum,
    };
    buffer_reset(&writer->entries);
    buffer_reset(&writer->defined);
    buffer_reset(&writer->traces);
    writer->type = writer->source = bytes_of(NULL, 0);
    writer->time_ns = now_ns;
    writer->quarter_ns = INT64_MIN;
    writer->chunk_position = 0;
    writer->has_failed = false;
}

static uint8_t *
put(uint8_t *at, struct bytes bytes)
{
    bytes_copy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static uint8_t *
put_text_numbered(uint8_t *at, struct bytes text, uint32_t number)
{
    if (number != WORD_NONE)
        return varint_write(at, (uint64_t)number + TEXT_FIRST_WORD);
    at = varint_write(at, TEXT_WRITTEN_OUT);
    at = varint_write(at, text.size);
    return put(at, text);
}

static uint8_t *
put_text(struct block_writer *writer, uint8_t *at, struct bytes text)
{
    return put_text_numbered(at, text, words_number(writer->words, text, 0, words_hash(text, 0)));
}

// Whether units is a whole number of steps of 2^twos x 5^fives, found without a division: an exact
// multiple has its quotient in the low bits of units / 2^twos times the inverse of 5^fives mod
// 2^64.
static bool
number_of_steps(int128 units, int128 step, unsigned twos, uint64_t inverse, int64_t *out)
{
    *out = (int64_t)((uint64_t)(units >> twos) * inverse);
    // Two bits are for the mode, and one for the sign.
    const int64_t limit = INT64_MAX >> NUMBER_BITS;
    return *out >= -limit && *out <= limit && *out * step == units;
}

static uint8_t *
put_value(uint8_t *at, struct decimal value, struct block_trace *trace)
{
    // Inverses of 5^18 and 5^12 modulo 2^64.
    static const uint64_t inverse_18 = 0xc1773b91fac10669ULL;
    static const uint64_t inverse_12 = 0x3662e0e1cf503eb1ULL;
    int64_t whole;
    if (number_of_steps(value.units, DECIMAL_ONE.units, 18, inverse_18, &whole)) {
        trace->has_whole = true;
        trace->whole = whole;
        return varint_write(at, varint_fold(whole) << NUMBER_BITS | NUMBER_WHOLE);
    }
    if (number_of_steps(value.units, MICRO_UNITS, 12, inverse_12, &whole))
        return varint_write(at, varint_fold(whole) << NUMBER_BITS | NUMBER_MICROS);
    at = varint_write(at, NUMBER_WIDE);
    return put(at, bytes_of(&value.units, sizeof value.units));
}

static uint8_t *
put_id(struct block_writer *writer, uint8_t *at, const struct block_coming *coming, uint8_t *code)
{
    const struct entry *entry = &coming->entry;
    const struct block_hint *hint = coming->hint;
    if (entry->id.size == 0)
        return at;
    if ((entry->flags & ENTRY_ID_IS_CHUNK) != 0) {
        *code |= CODE_ID_CHUNK;
        at = put_text(writer, at, entry->id);
        int32_t step = (int32_t)(entry->chunk_position - writer->chunk_position);
        writer->chunk_position = entry->chunk_position;
        return varint_write(at, varint_fold(step));
    }
    if (hint != NULL && hint_is_uuid(hint))
        memcpy(at, hint->uuid, UUID_SIZE);
    if (hint != NULL ? hint_is_uuid(hint) : uuid_parse(entry->id, at)) {
        *code |= CODE_ID_UUID;
        return at + UUID_SIZE;
    }
    *code |= CODE_ID_TEXT;
    *at++ = (uint8_t)entry->id.size;
    return put(at, entry->id);
}

// One pair's value; its key lies at the cursor and has been looked at. False: it is none.
static bool
value_split(struct cursor *in, struct bytes *out)
{
    const uint8_t *value = in->at;
    bool is_value = unpack_skip(in, UNPACK_DEPTH_MAX);
    *out = bytes_of(value, (size_t)(in->at - value));
    return is_value;
}

// The keys of the pairs into scratch, with their sizes, and where the values lie. False: the bytes
// are no such pairs.
static bool
pairs_split(struct block_writer *writer, const struct entry *entry)
{
    struct cursor in = cursor_over(entry->properties);
    struct buffer *keys = &writer->keys;
    struct block_keys *last = &writer->last_keys;
    last->word = WORD_NONE;
    last->count = entry->properties_count;
    buffer_reset(keys);
    for (uint32_t i = 0; i < entry->properties_count; i++) {
        struct bytes key;
        if (!value_split(&in, &key) || key.size > WORD_SIZE_MAX)
            return false;
        buffer_bytes(keys, key);
        last->sizes[i] = (uint16_t)key.size;
        if (!value_split(&in, &writer->values[i]))
            return false;
    }
    return cursor_left(&in) == 0 && !buffer_failed(keys);
}

// The same when the keys are those of the last time: a comparison, and no word to look for. Bytes
// that were a key there are one here.
static bool
pairs_split_as_last(struct block_writer *writer, const struct entry *entry)
{
    const struct block_keys *last = &writer->last_keys;
    struct cursor in = cursor_over(entry->properties);
    if (last->word == WORD_NONE || last->count != entry->properties_count)
        return false;
    const uint8_t *keys = word_list_get(words_list(writer->words), last->word).bytes.data;
    for (uint32_t i = 0; i < last->count; i++) {
        struct bytes key = cursor_take(&in, last->sizes[i]);
        if (cursor_failed(&in) || !bytes_same(key.data, keys, key.size))
            return false;
        keys += key.size;
        if (!value_split(&in, &writer->values[i]))
            return false;
    }
    return cursor_left(&in) == 0;
}

// The word of the map's keys, whose values are in writer->values then.
static uint32_t
pairs_keys_word(struct block_writer *writer, const struct entry *entry)
{
    const uint32_t count = entry->properties_count;
    if (count > BLOCK_PAIRS_MAX || entry->properties.size > EVENT_SIZE_MAX)
        return WORD_NONE;
    if (pairs_split_as_last(writer, entry))
        return writer->last_keys.word;
    if (!pairs_split(writer, entry))
        return WORD_NONE;
    struct bytes keys = buffer_view(&writer->keys);
    uint32_t number = words_number(writer->words, keys, count, words_hash(keys, count));
    writer->last_keys.word = number;
    return number;
}

static bool
is_text_item(struct bytes item)
{
    uint8_t tag = item.data[0];
    return (tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb);
}

// A UUID as 16 bytes, another text as a word, and what is neither as it is.
static uint8_t *
put_pair_value(struct block_writer *writer, uint8_t *at, struct bytes item)
{
    if (item.size < VALUE_WORD_SIZE_MIN || !is_text_item(item))
        return put(at, item);
    if (item.size == VALUE_UUID_HEAD + UUID_TEXT_SIZE && item.data[0] == VALUE_UUID_TAG &&
        uuid_parse(bytes_of(item.data + VALUE_UUID_HEAD, UUID_TEXT_SIZE), at + 2)) {
        *at++ = VALUE_IS_CODED;
        *at++ = VALUE_UUID;
        return at + UUID_SIZE;
    }
    uint32_t number = words_number(writer->words, item, 0, words_hash(item, 0));
    if (number == WORD_NONE)
        return put(at, item);
    *at++ = VALUE_IS_CODED;
    return varint_write(at, (uint64_t)number + VALUE_FIRST_WORD);
}

static uint32_t
pairs_find(struct block_writer *writer, const struct block_coming *coming)
{
    const struct entry *entry = &coming->entry;
    const uint32_t number =
        words_number(writer->words, entry->properties, entry->properties_count, coming->pairs_hash);
    const uint64_t map = coming->hint != NULL ? hint_map(coming->hint) : 0;
    if (number != WORD_NONE && map > 0) {
        *block_maps_at(writer->maps, map) = (struct block_map){.number = map, .word = number};
    }
    return number;
}

// Maps that seldom come twice are not looked for every time: they would fill the chapter with words
// that nobody uses again. One hit pays for PAIRS_LUCK_OF_HIT misses.
static uint32_t
pairs_word(struct block_writer *writer, const struct block_coming *coming)
{
    if (coming->map == WORD_NONE && writer->pairs_luck == 0 &&
        writer->header.count % PAIRS_TRIED_EVERY != 0)
        return WORD_NONE;
    uint32_t number = coming->map;
    if (number == WORD_NONE)
        number = pairs_find(writer, coming);
    if (number == WORD_NONE)
        writer->pairs_luck -= writer->pairs_luck > 0;
    else if (writer->pairs_luck < PAIRS_LUCK_MAX)
        writer->pairs_luck += PAIRS_LUCK_OF_HIT;
    return number;
}

static uint8_t *
put_pairs(
    struct block_writer *writer,
    uint8_t *at,
    const struct block_coming *coming,
    struct block_trace *trace)
{
    const struct entry *entry = &coming->entry;
    const uint32_t count = entry->properties_count;
    if (entry->properties.size == 0 && count == 0) {
        trace->map = 0;
        return varint_write(at, PAIRS_NONE);
    }
    uint32_t number = pairs_word(writer, coming);
    if (number != WORD_NONE) {
        trace->map = number + 1;
        return varint_write(at, (uint64_t)number + PAIRS_FIRST_WORD);
    }
    number = pairs_keys_word(writer, entry);
    if (number != WORD_NONE) {
        at = varint_write(at, PAIRS_BY_KEYS);
        at = varint_write(at, number);
        for (uint32_t i = 0; i < count; i++)
            at = put_pair_value(writer, at, writer->values[i]);
        return at;
    }
    at = varint_write(at, PAIRS_WRITTEN_OUT);
    at = varint_write(at, count);
    at = varint_write(at, entry->properties.size);
    return put(at, entry->properties);
}

// A quarter hour holds most events of a block: no division for each.
static inline void
trace_quarter(struct block_writer *writer, int64_t time_ns, struct block_trace *trace)
{
    const uint64_t since = (uint64_t)time_ns - (uint64_t)writer->quarter_ns;
    trace->has_quarter_before = since < (uint64_t)QUARTER_HOUR_NS;
    if (!trace->has_quarter_before)
        writer->quarter_ns = time_ns / QUARTER_HOUR_NS * QUARTER_HOUR_NS;
}

static uint8_t *
put_event(
    struct block_writer *writer,
    uint8_t *at,
    const struct block_coming *coming,
    struct block_trace *trace)
{
    const struct entry *entry = &coming->entry;
    uint8_t *first = at++;
    uint8_t code = 0;
    if ((entry->flags & ENTRY_TIME_IS_ARRIVAL) != 0)
        code |= CODE_TIME_IS_ARRIVAL;
    uint32_t subject = words_number(writer->words, entry->subject, 0, coming->subject_hash);
    at = put_text_numbered(at, entry->subject, subject);
    trace->subject = subject & TRACE_NONE;  // what WORD_NONE becomes
    if (bytes_equal(entry->type, writer->type)) {
        code |= CODE_SAME_TYPE;
        trace->has_type_before = true;
    } else {
        at = put_text(writer, at, entry->type);
    }
    if (bytes_equal(entry->source, writer->source))
        code |= CODE_SAME_SOURCE;
    else
        at = put_text(writer, at, entry->source);
    writer->type = entry->type;
    writer->source = entry->source;
    at = put_id(writer, at, coming, &code);
    if ((entry->flags & ENTRY_IS_BACKFILL) != 0) {
        code |= CODE_IS_BACKFILL;
        at = put_text(writer, at, entry->batch);
    }
    // Modulo 2^64, so that any two times have a difference.
    uint64_t delta = (uint64_t)entry->time_ns - (uint64_t)writer->time_ns;
    at = varint_write(at, varint_fold((int64_t)delta));
    writer->time_ns = entry->time_ns;
    trace_quarter(writer, entry->time_ns, trace);
    if (entry->value.units == DECIMAL_ONE.units) {
        code |= CODE_VALUE_IS_ONE;
        trace->has_whole = true;
        trace->whole = 1;
    } else {
        at = put_value(at, entry->value, trace);
    }
    at = put_pairs(writer, at, coming, trace);
    *first = code;
    return at;
}

static uint16_t
entry_block_flags(const struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_EVENT: return (entry->flags & ENTRY_IS_BACKFILL) != 0 ? BLOCK_HAS_BACKFILL : 0;
    case ENTRY_CANCEL:
    case ENTRY_AMEND:
    case ENTRY_BATCH_REVERT: return BLOCK_HAS_CORRECTIONS;
    case ENTRY_BATCH_OPEN:
    case ENTRY_BATCH_CLOSE: return BLOCK_HAS_BACKFILL;
    case ENTRY_CUT: return BLOCK_HAS_CUT;
    }
    must(false);
    return 0;
}

static void
header_add(struct block_header *header, const struct entry *entry)
{
    if (entry->time_ns < header->time_min_ns)
        header->time_min_ns = entry->time_ns;
    if (entry->time_ns > header->time_max_ns)
        header->time_max_ns = entry->time_ns;
    // An event without a time of its own has that of its arrival.
    bool is_arrival = entry->kind == ENTRY_EVENT && (entry->flags & ENTRY_TIME_IS_ARRIVAL) != 0;
    if (is_arrival && entry->time_ns < header->arrival_min_ns)
        header->arrival_min_ns = entry->time_ns;
    header->flags |= entry_block_flags(entry);
    header->count++;
}

// CODE_ROOM more than its raw form's bytes are there.
static uint8_t *
put_entry(
    struct block_writer *writer,
    uint8_t *at,
    const struct block_coming *coming,
    struct block_trace *trace)
{
    const uint8_t *const end = at + coming->raw.size + CODE_ROOM;
    *trace = (struct block_trace){.subject = TRACE_NONE, .map = TRACE_NONE};
    if (coming->entry.kind == ENTRY_EVENT) {
        at = put_event(writer, at, coming, trace);
    } else {
        *at++ = CODE_RAW;
        at = put(at, coming->raw);
    }
    must(at <= end);
    header_add(&writer->header, &coming->entry);
    return at;
}

// Room is made once for all of them.
static void
block_add_some(struct block_writer *writer, uint32_t count)
{
    const struct block_coming *coming = writer->coming;
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += coming[i].raw.size + CODE_ROOM;
    uint8_t *room = buffer_reserve(&writer->entries, size);
    struct block_trace *traces = (void *)buffer_reserve(&writer->traces, count * sizeof *traces);
    if (room == NULL || traces == NULL) {
        writer->has_failed = true;
        return;
    }
    uint8_t *at = room;
    for (uint32_t i = 0; i < count; i++)
        at = put_entry(writer, at, &coming[i], &traces[i]);
    buffer_commit(&writer->entries, (size_t)(at - room));
    buffer_commit(&writer->traces, count * sizeof *traces);
}

// What the front knows, or else is to be found out.
static void
coming_aim(const struct block_writer *writer, struct block_coming *out)
{
    const struct entry *entry = &out->entry;
    const struct block_hint *hint = out->hint;
    out->map = WORD_NONE;
    out->subject_hash = hint != NULL ? hint->subject_hash : words_hash(entry->subject, 0);
    words_prefetch(writer->words, out->subject_hash);
    const uint64_t number = hint != NULL ? hint_map(hint) : 0;
    if (number > 0) {
        const struct block_map *map = block_maps_at(writer->maps, number);
        if (map->number == number)
            out->map = map->word;
    }
    if (out->map != WORD_NONE)
        return;
    out->pairs_hash = words_hash(entry->properties, entry->properties_count);
    words_prefetch(writer->words, out->pairs_hash);
}

static void
coming_read(const struct block_writer *writer, struct cursor *in, struct block_coming *out)
{
    const uint8_t *start = in->at;
    const struct entry *entry = &out->entry;
    prefetch(start + CODE_AHEAD_SIZE);
    prefetch(start + CODE_AHEAD_SIZE + CODE_LINE);
    if (out->hint != NULL)
        prefetch(out->hint + BLOCK_AHEAD);
    entry_view(in, &out->entry);
    out->raw = bytes_of(start, (size_t)(in->at - start));
    if (entry->kind == ENTRY_EVENT)
        coming_aim(writer, out);
}

// The words' table is larger than the nearest caches: some entries are read ahead, so that their
// misses overlap.
static void
block_add_all(struct block_writer *writer, struct bytes raw, const struct block_hint *hints)
{
    struct cursor in = cursor_over(raw);
    struct block_coming *coming = writer->coming;
    while (cursor_left(&in) > 0 && !writer->has_failed) {
        uint32_t count = 0;
        for (; count < BLOCK_AHEAD && cursor_left(&in) > 0; count++) {
            coming[count].hint = hints != NULL ? hints++ : NULL;
            coming_read(writer, &in, &coming[count]);
        }
        for (uint32_t i = 0; i < count; i++) {
            if (coming[i].entry.kind != ENTRY_EVENT)
                continue;
            words_prefetch_bytes(writer->words, coming[i].subject_hash);
            if (coming[i].map == WORD_NONE)
                words_prefetch_bytes(writer->words, coming[i].pairs_hash);
        }
        block_add_some(writer, count);
    }
}

void
block_add(struct block_writer *writer, struct bytes raw)
{
    block_add_all(writer, raw, NULL);
}

void
block_add_known(
    struct block_writer *writer,
    struct bytes raw,
    const struct block_hint *hints,
    struct block_maps *maps)
{
    block_maps_begin(maps, writer->chapter);
    writer->maps = maps;
    block_add_all(writer, raw, hints);
}

// The words that the block's entries were the first to use.
static void
block_define(struct block_writer *writer)
{
    const struct word_list *list = words_list(writer->words);
    for (uint32_t i = writer->header.words_before; i < list->count; i++) {
        struct word word = word_list_get(list, i);
        uint8_t head[2 * VARINT_MAX];
        uint8_t *at = varint_write(head, word.bytes.size);
        at = varint_write(at, word.count);
        buffer_put(&writer->defined, head, (size_t)(at - head));
        buffer_bytes(&writer->defined, word.bytes);
    }
    writer->header.words_count = list->count - writer->header.words_before;
}

enum status
block_end(struct block_writer *writer, size_t *out_size, struct error *error)
{
    struct block_header *header = &writer->header;
    must(writer->has_failed || header->count > 0);
    block_define(writer);
    if (writer->has_failed || buffer_failed(&writer->defined))
        return error_set(error, STATUS_NO_MEMORY, "no memory to code a block");
    must(writer->entries.size <= UINT32_MAX && writer->defined.size <= UINT32_MAX);
    header->words_size = (uint32_t)writer->defined.size;
    header->entries_size = (uint32_t)writer->entries.size;
    *out_size = BLOCK_HEADER_SIZE + writer->defined.size + writer->entries.size;
    return STATUS_OK;
}

void
block_write(struct block_writer *writer, uint8_t *value)
{
    struct block_header *header = &writer->header;
    uint8_t *at = put(value + BLOCK_HEADER_SIZE, buffer_view(&writer->defined));
    at = put(at, buffer_view(&writer->entries));
    block_seal(value, header);
    writer->checksum = header->checksum;
    writer->chapter_bytes += (size_t)(at - value);
    if (header->words_count > 0)
        writer->words_last = header->sequence;
}
