#include "ledger/log_reader.h"

#include "base/assert.h"
#include "ledger/log_kept.h"
#include "ledger/shard_view.h"

#include <inttypes.h>

static enum status
log_value(struct tx *log, uint64_t sequence, struct bytes *out, struct error *error)
{
    if (tx_get(log, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence), out))
        return STATUS_OK;
    enum status status = tx_check(log, error);
    struct log_kept kept = {0};
    if (!status)
        status = log_kept_read(log, &kept, error);
    if (status)
        return status;
    // Whoever began with it has been overtaken by retention.
    if (sequence < kept.first) {
        return error_set(
            error,
            STATUS_NOT_FOUND,
            "block %" PRIu64 " was deleted, because it is older than the log is kept",
            sequence);
    }
    return error_set(error, STATUS_CORRUPT, "block %" PRIu64 " is missing", sequence);
}

// The value and its header, checked, and held against its predecessor's if that was the last one.
static enum status
reader_look(
    struct log_reader *reader,
    struct tx *log,
    uint64_t sequence,
    struct bytes *out_value,
    struct error *error)
{
    struct block_header header;
    enum status status = log_value(log, sequence, out_value, error);
    if (status)
        return status;
    status = block_look(sequence, *out_value, &header, error);
    if (status)
        return status;
    const struct block_header *last = &reader->header;
    bool is_next = last->sequence + 1 == sequence;
    if (is_next && header.previous != last->checksum) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "block %" PRIu64 ": it was not written after block %" PRIu64 " as that is now",
            sequence,
            last->sequence);
    }
    reader->header = header;
    return STATUS_OK;
}

enum status
log_look(struct log_reader *reader, struct tx *log, uint64_t sequence, struct error *error)
{
    struct bytes value;
    return reader_look(reader, log, sequence, &value, error);
}

static enum status
chain_fault(const struct block_header *header, struct error *error)
{
    return error_set(
        error,
        STATUS_CORRUPT,
        "block %" PRIu64 ": the words before it are not those of its chapter",
        header->sequence);
}

// The blocks whose words are not known yet, the last one first.
struct chain {
    uint32_t count;
    uint64_t sequences[BLOCK_CHAPTER_MAX];
};

// Follows the chain from the block back to what is known.
static enum status
chain_find(
    const struct log_reader *reader,
    struct tx *log,
    struct block_header later,
    struct chain *out,
    struct error *error)
{
    out->count = 0;
    while (later.words_before > reader->words.count) {
        struct block_header header;
        struct bytes value;
        enum status status = log_value(log, later.words_previous, &value, error);
        if (status)
            return status;
        status = block_look(later.words_previous, value, &header, error);
        if (status)
            return status;
        // Numbers fall with each step and stay within the chapter: there are not too many.
        if (header.chapter != later.chapter || header.words_count == 0 ||
            header.words_before + header.words_count != later.words_before ||
            out->count == BLOCK_CHAPTER_MAX)
            return chain_fault(&later, error);
        out->sequences[out->count++] = header.sequence;
        later = header;
    }
    return STATUS_OK;
}

static enum status
chain_learn(struct log_reader *reader, struct tx *log, struct chain *chain, struct error *error)
{
    enum status status = STATUS_OK;
    while (!status && chain->count > 0) {
        struct block_header header;
        struct bytes value;
        uint64_t sequence = chain->sequences[--chain->count];
        status = log_value(log, sequence, &value, error);
        if (status)
            return status;
        status = block_look(sequence, value, &header, error);
        if (status)
            return status;
        if (reader->words.count != header.words_before)
            return chain_fault(&header, error);
        status = block_learn(&header, value, &reader->words, error);
    }
    return status;
}

// All words that the block may use.
static enum status
reader_learn(struct log_reader *reader, struct tx *log, struct bytes value, struct error *error)
{
    const struct block_header *header = &reader->header;
    struct chain chain;
    if (reader->chapter != header->chapter) {
        word_list_reset(&reader->words);
        reader->chapter = header->chapter;
    }
    enum status status = chain_find(reader, log, *header, &chain, error);
    if (!status)
        status = chain_learn(reader, log, &chain, error);
    // What is known beyond it, a later block of the chapter has told, and its own words with it.
    if (!status && reader->words.count == header->words_before)
        status = block_learn(header, value, &reader->words, error);
    if (!status && reader->words.count < header->words_before + header->words_count)
        status = chain_fault(header, error);
    if (status)
        reader->chapter = 0;
    return status;
}

enum status
log_open(struct log_reader *reader, struct tx *log, uint64_t sequence, struct error *error)
{
    struct bytes value;
    enum status status = reader_look(reader, log, sequence, &value, error);
    if (!status)
        status = reader_learn(reader, log, value, error);
    if (!status)
        status = block_open(&reader->block, &reader->header, value, &reader->words, error);
    return status;
}

bool
log_next(struct log_reader *reader, struct entry *out)
{
    return block_next(&reader->block, out);
}

enum status
log_end(const struct log_reader *reader, struct error *error)
{
    const struct block_reader *block = &reader->block;
    if (!block->is_broken)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_CORRUPT,
        "block %" PRIu64 ": entry %u does not make sense",
        block->header.sequence,
        block->index);
}

void
log_reader_done(struct log_reader *reader)
{
    block_reader_done(&reader->block);
    word_list_done(&reader->words);
    *reader = (struct log_reader){0};
}
