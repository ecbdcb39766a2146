// Coded entries back into what they were. The bytes are those that were written when their checksum
// is right, but nothing here relies on it: every length, count and number is held against what is
// there, so that a damaged or made-up block ends as a broken one.

#include "base/assert.h"
#include "base/pool.h"
#include "base/unpack.h"
#include "ledger/block.h"
#include "ledger/varint.h"

static const int128 MICRO_UNITS = 1000000000000;

// A word that the block may use: its chapter's, up to its own.
static bool
reader_word(struct block_reader *reader, uint64_t number, struct word *out)
{
    if (number >= reader->header.words_before + reader->header.words_count) {
        reader->cursor.failed = true;
        return false;
    }
    *out = word_list_get(reader->words, (uint32_t)number);
    return true;
}

static struct bytes
read_text(struct block_reader *reader)
{
    uint64_t code = varint_read(&reader->cursor);
    struct word word;
    if (code == TEXT_WRITTEN_OUT)
        return cursor_take(&reader->cursor, varint_read(&reader->cursor));
    if (!reader_word(reader, code - TEXT_FIRST_WORD, &word))
        return bytes_of(NULL, 0);
    return word.bytes;
}

static struct decimal
read_value(struct block_reader *reader, uint8_t code)
{
    if ((code & CODE_VALUE_IS_ONE) != 0)
        return DECIMAL_ONE;
    uint64_t number = varint_read(&reader->cursor);
    const int64_t whole = varint_unfold(number >> NUMBER_BITS);
    switch (number & ((1U << NUMBER_BITS) - 1)) {
    case NUMBER_WHOLE: return (struct decimal){whole * DECIMAL_ONE.units};
    case NUMBER_MICROS: return (struct decimal){whole * MICRO_UNITS};
    case NUMBER_WIDE: {
        uint64_t low = cursor_u64le(&reader->cursor);
        uint64_t high = cursor_u64le(&reader->cursor);
        return (struct decimal){(int128)((uint128)high << 64 | low)};
    }
    default: reader->cursor.failed = true; return DECIMAL_ZERO;
    }
}

static void
read_id(struct block_reader *reader, uint8_t code, struct entry *out)
{
    out->chunk_position = 0;
    switch (code & CODE_ID_MASK) {
    case CODE_ID_UUID: {
        struct bytes uuid = cursor_take(&reader->cursor, UUID_SIZE);
        if (!cursor_failed(&reader->cursor))
            uuid_print(uuid.data, reader->id);
        out->id = bytes_of(reader->id, UUID_TEXT_SIZE);
        break;
    }
    case CODE_ID_TEXT:
        out->id = cursor_take(&reader->cursor, cursor_u8(&reader->cursor));
        if (out->id.size == 0)
            reader->cursor.failed = true;
        break;
    case CODE_ID_CHUNK:
        out->flags |= ENTRY_ID_IS_CHUNK;
        out->id = read_text(reader);
        reader->chunk_position += (uint32_t)varint_unfold(varint_read(&reader->cursor));
        out->chunk_position = reader->chunk_position;
        break;
    default: out->id = bytes_of(NULL, 0); break;
    }
}

static struct bytes
read_coded_value(struct block_reader *reader)
{
    struct cursor *in = &reader->cursor;
    uint64_t code = varint_read(in);
    struct word word = {0};
    if (code != VALUE_UUID) {
        (void)reader_word(reader, code - VALUE_FIRST_WORD, &word);
        return word.bytes;
    }
    struct bytes uuid = cursor_take(in, UUID_SIZE);
    if (cursor_failed(in))
        return uuid;
    reader->uuid_text[0] = VALUE_UUID_TAG;
    reader->uuid_text[1] = UUID_TEXT_SIZE;
    uuid_print(uuid.data, reader->uuid_text + VALUE_UUID_HEAD);
    return bytes_of(reader->uuid_text, sizeof reader->uuid_text);
}

// The value at the cursor; the view ends with the next value.
static struct bytes
read_pair_value(struct block_reader *reader)
{
    struct cursor *in = &reader->cursor;
    const uint8_t *start = in->at;
    if (cursor_left(in) > 0 && *start == VALUE_IS_CODED) {
        (void)cursor_u8(in);
        return read_coded_value(reader);
    }
    if (!unpack_skip(in, UNPACK_DEPTH_MAX))
        return bytes_of(NULL, 0);
    return bytes_of(start, (size_t)(in->at - start));
}

static bool
reader_has_pairs(struct block_reader *reader)
{
    if (reader->pairs == NULL)
        reader->pairs = pool_take(1, EVENT_SIZE_MAX);
    return reader->pairs != NULL;
}

// Where each key of the word ends. False: it is no word of keys.
static bool
keys_learn(struct block_keys *keys, uint32_t number, const struct word *word)
{
    struct cursor at = cursor_over(word->bytes);
    keys->word = WORD_NONE;
    if (word->count > BLOCK_PAIRS_MAX)
        return false;
    for (uint32_t i = 0; i < word->count; i++) {
        const uint8_t *key = at.at;
        if (!unpack_skip(&at, UNPACK_DEPTH_MAX))
            return false;
        keys->sizes[i] = (uint16_t)(at.at - key);
    }
    if (cursor_left(&at) > 0)
        return false;
    keys->word = number;
    keys->count = word->count;
    return true;
}

// Keys and values, put side by side again. Returns their size; 0: they make no sense.
static size_t
pairs_join(struct block_reader *reader, const uint8_t *key)
{
    const struct block_keys *keys = &reader->keys;
    size_t size = 0;
    for (uint32_t i = 0; i < keys->count; i++) {
        struct bytes value = read_pair_value(reader);
        const size_t key_size = keys->sizes[i];
        if (value.size == 0 || key_size + value.size > EVENT_SIZE_MAX - size)
            return 0;
        memcpy(reader->pairs + size, key, key_size);
        memcpy(reader->pairs + size + key_size, value.data, value.size);
        key += key_size;
        size += key_size + value.size;
    }
    return size;
}

static struct bytes
read_pairs_by_keys(struct block_reader *reader, uint32_t *out_count)
{
    struct word word = {0};
    const uint64_t number = varint_read(&reader->cursor);
    bool is_word = reader_word(reader, number, &word) && reader_has_pairs(reader);
    if (is_word && number != reader->keys.word)
        is_word = keys_learn(&reader->keys, (uint32_t)number, &word);
    const size_t size = is_word ? pairs_join(reader, word.bytes.data) : 0;
    if (size == 0)
        reader->cursor.failed = true;
    *out_count = word.count;
    return bytes_of(reader->pairs, size);
}

static void
read_pairs(struct block_reader *reader, struct entry *out)
{
    struct cursor *in = &reader->cursor;
    uint64_t code = varint_read(in);
    struct word word = {0};
    out->properties_count = 0;
    out->properties = bytes_of(NULL, 0);
    switch (code) {
    case PAIRS_NONE: break;
    case PAIRS_WRITTEN_OUT: {
        uint64_t count = varint_read(in);
        if (count > UINT32_MAX)
            in->failed = true;
        out->properties_count = (uint32_t)count;
        out->properties = cursor_take(in, varint_read(in));
        break;
    }
    case PAIRS_BY_KEYS: out->properties = read_pairs_by_keys(reader, &out->properties_count); break;
    default:
        (void)reader_word(reader, code - PAIRS_FIRST_WORD, &word);
        out->properties_count = word.count;
        out->properties = word.bytes;
        break;
    }
}

static void
read_event(struct block_reader *reader, uint8_t code, struct entry *out)
{
    struct cursor *in = &reader->cursor;
    out->kind = ENTRY_EVENT;
    out->flags = 0;
    if ((code & CODE_TIME_IS_ARRIVAL) != 0)
        out->flags |= ENTRY_TIME_IS_ARRIVAL;
    if ((code & CODE_IS_BACKFILL) != 0)
        out->flags |= ENTRY_IS_BACKFILL;
    out->subject = read_text(reader);
    if ((code & CODE_SAME_TYPE) == 0)
        reader->type = read_text(reader);
    if ((code & CODE_SAME_SOURCE) == 0)
        reader->source = read_text(reader);
    out->type = reader->type;
    out->source = reader->source;
    read_id(reader, code, out);
    out->batch = (code & CODE_IS_BACKFILL) != 0 ? read_text(reader) : bytes_of(NULL, 0);
    uint64_t delta = (uint64_t)varint_unfold(varint_read(in));
    reader->time_ns = (int64_t)((uint64_t)reader->time_ns + delta);
    out->time_ns = reader->time_ns;
    out->value = read_value(reader, code);
    read_pairs(reader, out);
    if (!cursor_failed(in) && !entry_is_sound(out))
        in->failed = true;
}

bool
block_next(struct block_reader *reader, struct entry *out)
{
    struct cursor *in = &reader->cursor;
    if (reader->is_broken)
        return false;
    if (reader->index == reader->header.count) {
        reader->is_broken = cursor_left(in) > 0;
        return false;
    }
    uint8_t code = cursor_u8(in);
    if (code == CODE_RAW)
        (void)entry_read(in, out);
    else if ((code & CODE_RAW) != 0)
        in->failed = true;
    else
        read_event(reader, code, out);
    reader->is_broken = cursor_failed(in);
    reader->index += !reader->is_broken;
    return !reader->is_broken;
}

void
block_reader_done(struct block_reader *reader)
{
    pool_give(reader->pairs);
    *reader = (struct block_reader){0};
}
