#include "ledger/block.h"

#include "base/assert.h"
#include "ledger/varint.h"

enum { BLOCK_CHECKSUM_OFFSET = BLOCK_HEADER_SIZE - 8, ENTRY_CODED_MIN = 2 };

static uint8_t *
put(uint8_t *at, const void *data, size_t size)
{
    memcpy(at, data, size);
    return at + size;
}

static struct bytes
block_words(const struct block_header *header, struct bytes value)
{
    return bytes_of(value.data + BLOCK_HEADER_SIZE, header->words_size);
}

static struct bytes
block_entries(const struct block_header *header, struct bytes value)
{
    return bytes_of(value.data + BLOCK_HEADER_SIZE + header->words_size, header->entries_size);
}

static uint64_t
block_checksum(const uint8_t *value, uint64_t sequence)
{
    return hash64_wide(bytes_of(value, BLOCK_CHECKSUM_OFFSET), sequence);
}

void
block_seal(uint8_t *value, struct block_header *header)
{
    must(header->sequence > 0 && header->count > 0);
    must(header->time_min_ns <= header->time_max_ns);
    const size_t size = BLOCK_HEADER_SIZE + (size_t)header->words_size + header->entries_size;
    const uint32_t magic = BLOCK_MAGIC;
    const uint16_t version = BLOCK_VERSION;
    const uint32_t zero = 0;
    header->words_checksum =
        hash64_wide(block_words(header, bytes_of(value, size)), header->sequence);
    header->entries_checksum =
        hash64_wide(block_entries(header, bytes_of(value, size)), header->sequence);
    uint8_t *at = put(value, &magic, sizeof magic);
    at = put(at, &version, sizeof version);
    at = put(at, &header->flags, sizeof header->flags);
    at = put(at, &header->sequence, sizeof header->sequence);
    at = put(at, &header->count, sizeof header->count);
    at = put(at, &header->words_count, sizeof header->words_count);
    at = put(at, &header->words_before, sizeof header->words_before);
    at = put(at, &header->words_size, sizeof header->words_size);
    at = put(at, &header->entries_size, sizeof header->entries_size);
    at = put(at, &zero, sizeof zero);
    at = put(at, &header->chapter, sizeof header->chapter);
    at = put(at, &header->words_previous, sizeof header->words_previous);
    at = put(at, &header->time_min_ns, sizeof header->time_min_ns);
    at = put(at, &header->time_max_ns, sizeof header->time_max_ns);
    at = put(at, &header->arrival_min_ns, sizeof header->arrival_min_ns);
    at = put(at, &header->arrival_ns, sizeof header->arrival_ns);
    at = put(at, &header->previous, sizeof header->previous);
    at = put(at, &header->words_checksum, sizeof header->words_checksum);
    at = put(at, &header->entries_checksum, sizeof header->entries_checksum);
    must(at == value + BLOCK_CHECKSUM_OFFSET);
    header->checksum = block_checksum(value, header->sequence);
    (void)put(at, &header->checksum, sizeof header->checksum);
}

static struct block_header
header_read(struct cursor *in)
{
    struct block_header header = {.flags = cursor_u16le(in)};
    header.sequence = cursor_u64le(in);
    header.count = cursor_u32le(in);
    header.words_count = cursor_u32le(in);
    header.words_before = cursor_u32le(in);
    header.words_size = cursor_u32le(in);
    header.entries_size = cursor_u32le(in);
    if (cursor_u32le(in) != 0)
        in->failed = true;
    header.chapter = cursor_u64le(in);
    header.words_previous = cursor_u64le(in);
    header.time_min_ns = (int64_t)cursor_u64le(in);
    header.time_max_ns = (int64_t)cursor_u64le(in);
    header.arrival_min_ns = (int64_t)cursor_u64le(in);
    header.arrival_ns = (int64_t)cursor_u64le(in);
    header.previous = cursor_u64le(in);
    header.words_checksum = cursor_u64le(in);
    header.entries_checksum = cursor_u64le(in);
    header.checksum = cursor_u64le(in);
    return header;
}

static bool
chapter_is_sound(const struct block_header *header)
{
    if (header->chapter == 0 || header->chapter > header->sequence ||
        header->sequence - header->chapter >= BLOCK_CHAPTER_MAX)
        return false;
    if (header->words_before > WORDS_MAX || header->words_count > WORDS_MAX - header->words_before)
        return false;
    if (header->words_before == 0)
        return header->words_previous == 0;
    return header->words_previous >= header->chapter && header->words_previous < header->sequence;
}

// What is wrong with the header, or NULL. The checksum comes last: the others say more.
static const char *
header_fault(const struct block_header *header, uint64_t sequence, struct bytes value)
{
    if (header->sequence != sequence)
        return "its sequence number is not its key's";
    if ((uint64_t)header->words_size + header->entries_size + BLOCK_HEADER_SIZE != value.size)
        return "its size is not the value's";
    if (header->count == 0 || header->count > header->entries_size / ENTRY_CODED_MIN)
        return "its count does not fit its size";
    if (header->words_count > header->words_size / (WORD_SIZE_MIN + 2))
        return "its words do not fit their size";
    if (header->time_min_ns > header->time_max_ns || header->arrival_min_ns > header->arrival_ns)
        return "its time bounds are reversed";
    if (!chapter_is_sound(header))
        return "it is no part of its chapter";
    if (header->checksum != block_checksum(value.data, sequence))
        return "its checksum does not match";
    return NULL;
}

static enum status
block_fault(uint64_t sequence, const char *fault, struct error *error)
{
    return error_set(error, STATUS_CORRUPT, "block %llu: %s", (unsigned long long)sequence, fault);
}

bool
block_header_is_whole(const uint8_t bytes[BLOCK_HEADER_SIZE], struct block_header *out)
{
    struct cursor in = cursor_over(bytes_of(bytes, BLOCK_HEADER_SIZE));
    uint32_t magic = cursor_u32le(&in);
    uint16_t version = cursor_u16le(&in);
    if (magic != BLOCK_MAGIC || version != BLOCK_VERSION)
        return false;
    struct block_header header = header_read(&in);
    size_t size = (size_t)header.words_size + header.entries_size + BLOCK_HEADER_SIZE;
    if (cursor_failed(&in) || header_fault(&header, header.sequence, bytes_of(bytes, size)) != NULL)
        return false;
    *out = header;
    return true;
}

bool
block_is_whole(const struct block_header *header, struct bytes value)
{
    return header->words_checksum == hash64_wide(block_words(header, value), header->sequence) &&
           header->entries_checksum == hash64_wide(block_entries(header, value), header->sequence);
}

enum status
block_look(uint64_t sequence, struct bytes value, struct block_header *out, struct error *error)
{
    struct cursor in = cursor_over(value);
    if (value.size < BLOCK_HEADER_SIZE)
        return block_fault(sequence, "it is shorter than a header", error);
    uint32_t magic = cursor_u32le(&in);
    uint16_t version = cursor_u16le(&in);
    if (magic != BLOCK_MAGIC || version != BLOCK_VERSION)
        return block_fault(sequence, "its magic or version is unknown", error);
    struct block_header header = header_read(&in);
    if (cursor_failed(&in))
        return block_fault(sequence, "its header has bytes that nobody wrote", error);
    const char *fault = header_fault(&header, sequence, value);
    if (fault != NULL)
        return block_fault(sequence, fault, error);
    *out = header;
    return STATUS_OK;
}

enum status
block_learn(
    const struct block_header *header,
    struct bytes value,
    struct word_list *words,
    struct error *error)
{
    struct bytes defined = block_words(header, value);
    must(words->count == header->words_before);
    if (header->words_checksum != hash64_wide(defined, header->sequence))
        return block_fault(header->sequence, "the checksum of its words does not match", error);
    struct cursor in = cursor_over(defined);
    for (uint32_t i = 0; i < header->words_count; i++) {
        uint64_t size = varint_read(&in);
        uint64_t count = varint_read(&in);
        struct bytes bytes = cursor_take(&in, size);
        if (cursor_failed(&in) || count > UINT32_MAX ||
            !word_list_add(words, bytes, (uint32_t)count)) {
            if (buffer_failed(&words->bytes) || buffer_failed(&words->rows))
                return error_set(error, STATUS_NO_MEMORY, "no memory for the words of a chapter");
            return block_fault(header->sequence, "its words do not make sense", error);
        }
    }
    if (cursor_left(&in) > 0)
        return block_fault(header->sequence, "bytes are left over behind its words", error);
    return STATUS_OK;
}

enum status
block_open(
    struct block_reader *reader,
    const struct block_header *header,
    struct bytes value,
    const struct word_list *words,
    struct error *error)
{
    struct bytes entries = block_entries(header, value);
    must(words->count >= header->words_before + header->words_count);
    if (header->entries_checksum != hash64_wide(entries, header->sequence))
        return block_fault(header->sequence, "the checksum of its entries does not match", error);
    *reader = (struct block_reader){
        .header = *header,
        .cursor = cursor_over(entries),
        .words = words,
        .time_ns = header->arrival_ns,
        .keys.word = WORD_NONE,
        .pairs = reader->pairs,
    };
    return STATUS_OK;
}
