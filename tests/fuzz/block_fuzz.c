// Blocks made of any bytes: as a value whose checksums do not hold, and as words and entries under
// a header that is right about all that it says of them. Whatever is read makes sense and survives
// being coded again; nothing else may happen.

#include "base/assert.h"
#include "ledger/block_writer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16, FIRST_WORDS = 3 };

// Words that the chapter had before, for the block to name.
static const struct {
    const char *text;
    uint32_t count;
} FIRST[FIRST_WORDS] = {
    {"customer-1",           0},
    {"\xa1n\x05",            1},
    {"\xa1n\xa6region\xa1m", 3},
};

static void
words_begin(struct word_list *words)
{
    for (size_t i = 0; i < FIRST_WORDS; i++) {
        bool is_added = word_list_add(words, bytes_text(FIRST[i].text), FIRST[i].count);
        must(is_added);
    }
}

// What was read is a legal entry: it is written as a block of its own, and read again.
static void
entry_again(const struct entry *entry)
{
    struct block_writer writer;
    scoped(buffer_done) struct buffer raw = {0};
    scoped(buffer_done) struct buffer value = {0};
    struct word_list words = {0};
    struct block_reader reader = {0};
    struct block_header header;
    struct entry back;
    size_t size;
    uint8_t *at = buffer_reserve(&raw, entry_raw_size(entry));
    must(at != NULL && block_writer_open(&writer, NULL) == STATUS_OK);
    entry_put(entry, at);
    buffer_commit(&raw, entry_raw_size(entry));
    block_writer_resume(&writer, 0, 0);
    block_begin(&writer, 1);
    block_add(&writer, buffer_view(&raw));
    must(block_end(&writer, &size, NULL) == STATUS_OK);
    uint8_t *room = buffer_reserve(&value, size);
    must(room != NULL);
    block_write(&writer, room);
    buffer_commit(&value, size);
    must(block_look(1, buffer_view(&value), &header, NULL) == STATUS_OK);
    must(block_learn(&header, buffer_view(&value), &words, NULL) == STATUS_OK);
    must(block_open(&reader, &header, buffer_view(&value), &words, NULL) == STATUS_OK);
    must(block_next(&reader, &back));
    must(back.kind == entry->kind && back.flags == entry->flags);
    must(back.time_ns == entry->time_ns && back.value.units == entry->value.units);
    must(bytes_equal(back.subject, entry->subject) && bytes_equal(back.id, entry->id));
    must(bytes_equal(back.properties, entry->properties));
    must(back.properties_count == entry->properties_count);
    block_reader_done(&reader);
    word_list_done(&words);
    block_writer_done(&writer);
}

static void
entries_walk(struct block_reader *reader)
{
    struct entry entry;
    uint32_t count = 0;
    for (; block_next(reader, &entry); count++) {
        must(entry_is_sound(&entry));
        must(entry.properties.size <= EVENT_SIZE_MAX || entry.properties.size <= INPUT_MAX);
        if (count < 4)
            entry_again(&entry);
    }
    must(count <= reader->header.count);
    must(reader->is_broken || count == reader->header.count);
}

// The first bytes say how many words and entries there are, and where the words end.
static void
block_of_anything(const uint8_t *data, size_t size)
{
    uint8_t *value = malloc(BLOCK_HEADER_SIZE + size);
    must(value != NULL && size > 3);
    struct bytes body = bytes_of(data + 3, size - 3);
    uint32_t words_size = (uint32_t)(data[0] % (body.size + 1));
    struct block_header header = {
        .sequence = 2,
        .count = data[1] + 1U,
        .words_count = data[2] % 16,
        .words_before = FIRST_WORDS,
        .words_size = words_size,
        .entries_size = (uint32_t)body.size - words_size,
        .chapter = 1,
        .words_previous = 1,
    };
    memcpy(value + BLOCK_HEADER_SIZE, body.data, body.size);
    block_seal(value, &header);
    struct word_list words = {0};
    struct block_reader reader = {0};
    struct bytes bytes = bytes_of(value, BLOCK_HEADER_SIZE + body.size);
    words_begin(&words);
    struct error error;
    if (!block_look(2, bytes, &header, &error) && !block_learn(&header, bytes, &words, &error) &&
        !block_open(&reader, &header, bytes, &words, &error))
        entries_walk(&reader);
    block_reader_done(&reader);
    word_list_done(&words);
    free(value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct block_header header;
    if (size > INPUT_MAX)
        return 0;
    if (block_look(2, bytes_of(data, size), &header, NULL) == STATUS_OK)
        must(header.sequence == 2);
    if (size > 3)
        block_of_anything(data, size);
    return 0;
}
