#include "ledger/log_reader.h"

#include "ledger/block_writer.h"
#include "ledger/shard_view.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

// A log of more than a chapter, each of whose blocks names words of several before it; read in
// order, in jumps, and with one block damaged.

enum { BLOCKS = 1200, PER_BLOCK = 3 };

static const int64_t NOW_NS = 1700000000000000000;

struct log {
    char dir[64];
    struct env *env;
    uint64_t blocks;
};

// The subject of an event: each comes back once in a while, so that words are defined all along.
static uint32_t
subject_of(uint64_t block, uint32_t index)
{
    return (uint32_t)(block * block + index * 7 + block / 5) % 500;
}

static void
add_block(struct log *log, struct block_writer *writer)
{
    struct error error = {0};
    uint8_t raw[PER_BLOCK * 256];
    size_t raw_size = 0;
    size_t size;
    uint64_t sequence = ++log->blocks;
    for (uint32_t i = 0; i < PER_BLOCK; i++) {
        struct event_bytes event;
        char subject[32];
        char id[32];
        (void)snprintf(subject, sizeof subject, "subject-%u", subject_of(sequence, i));
        (void)snprintf(id, sizeof id, "%u-%u", (unsigned)sequence, i);
        event_make(&event, subject, id, (int64_t)sequence);
        event.event.time_ns = NOW_NS + (int64_t)sequence;
        entry_write(&event.event, NOW_NS, raw + raw_size);
        raw_size += entry_size(&event.event);
        cr_assert_leq(raw_size, sizeof raw);
    }
    block_begin(writer, NOW_NS);
    block_add(writer, bytes_of(raw, raw_size));
    succeed(block_end(writer, &size, &error), &error);
    struct tx tx = tx_write(log->env);
    uint8_t *value =
        tx_append_reserve(&tx, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence), size);
    cr_assert_not_null(value);
    block_write(writer, value);
    succeed(tx_commit(&tx, &error), &error);
}

static void
log_make(struct log *log)
{
    struct error error = {0};
    struct block_writer writer;
    const struct env_options options = {
        .map_size = 64 << 20, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    *log = (struct log){0};
    temp_dir_make(log->dir);
    succeed(env_open(log->dir, &options, &log->env, &error), &error);
    succeed(block_writer_open(&writer, &error), &error);
    block_writer_resume(&writer, 0, 0);
    for (int i = 0; i < BLOCKS; i++)
        add_block(log, &writer);
    block_writer_done(&writer);
}

static void
log_remove(struct log *log)
{
    env_close(log->env);
    temp_dir_remove(log->dir);
}

// The block is what add_block has made of its number.
static void
expect_block(struct log_reader *reader, struct tx *tx, uint64_t sequence)
{
    struct error error = {0};
    struct entry entry;
    succeed(log_open(reader, tx, sequence, &error), &error);
    cr_assert_eq(reader->header.sequence, sequence);
    for (uint32_t i = 0; i < PER_BLOCK; i++) {
        char subject[32];
        char id[32];
        (void)snprintf(subject, sizeof subject, "subject-%u", subject_of(sequence, i));
        (void)snprintf(id, sizeof id, "%u-%u", (unsigned)sequence, i);
        cr_assert(log_next(reader, &entry), "block %u entry %u", (unsigned)sequence, i);
        cr_assert(bytes_equal(entry.subject, bytes_text(subject)), "block %u", (unsigned)sequence);
        cr_assert(bytes_equal(entry.id, bytes_text(id)), "block %u", (unsigned)sequence);
        cr_assert_eq(entry.properties_count, 2);
        cr_assert_eq(entry.time_ns, NOW_NS + (int64_t)sequence);
    }
    cr_assert_not(log_next(reader, &entry));
    succeed(log_end(reader, &error), &error);
}

Test(log_reader, reads_in_order_backwards_and_in_jumps)
{
    struct log log;
    log_make(&log);
    struct log_reader reader = {0};
    struct tx tx = tx_read(log.env);
    for (uint64_t i = 1; i <= BLOCKS; i++) {
        expect_block(&reader, &tx, i);
        if (i % 100 == 0)
            tx_renew(&tx);
    }
    cr_assert_gt(reader.header.words_before, 0);
    cr_assert_eq(reader.header.chapter, 1025);
    for (uint64_t i = BLOCKS; i >= 1; i -= i > 7 ? 7 : 1)
        expect_block(&reader, &tx, i);
    uint64_t place = 1;
    for (int i = 0; i < 2000; i++) {
        place = place * 6364136223846793005ULL + 1442695040888963407ULL;
        expect_block(&reader, &tx, (place >> 33) % BLOCKS + 1);
    }
    // One that knows nothing yet, in the middle of a chapter.
    log_reader_done(&reader);
    expect_block(&reader, &tx, 1000);
    log_reader_done(&reader);
    tx_done(&tx);
    log_remove(&log);
}

Test(log_reader, a_look_needs_no_words)
{
    struct log log;
    struct error error = {0};
    log_make(&log);
    struct log_reader reader = {0};
    struct tx tx = tx_read(log.env);
    for (uint64_t i = 1; i <= BLOCKS; i++) {
        succeed(log_look(&reader, &tx, i, &error), &error);
        cr_assert_eq(reader.header.time_max_ns, NOW_NS + (int64_t)i);
        cr_assert_eq(reader.words.count, 0);
        if (i % 300 == 0) {
            expect_block(&reader, &tx, i);
            word_list_reset(&reader.words);
            reader.chapter = 0;
        }
    }
    cr_assert_eq(log_look(&reader, &tx, BLOCKS + 1, &error), STATUS_CORRUPT);
    cr_assert_str_eq(error.text, "block 1201 is missing");
    log_reader_done(&reader);
    tx_done(&tx);
    log_remove(&log);
}

// Rewrites a block; its header is sealed again when `seals`.
static void
change_block(
    struct log *log,
    uint64_t sequence,
    void (*change)(struct block_header *header, uint8_t *value, size_t size),
    bool seals)
{
    struct error error = {0};
    struct bytes value;
    struct block_header header;
    struct bytes key = bytes_of(&sequence, sizeof sequence);
    struct tx tx = tx_write(log->env);
    cr_assert(tx_get(&tx, LOG_DB_BLOCKS, key, &value));
    succeed(block_look(sequence, value, &header, &error), &error);
    uint8_t *copy = malloc(value.size);
    cr_assert_not_null(copy);
    memcpy(copy, value.data, value.size);
    change(&header, copy, value.size);
    if (seals)
        block_seal(copy, &header);
    tx_put(&tx, LOG_DB_BLOCKS, key, bytes_of(copy, value.size));
    succeed(tx_commit(&tx, &error), &error);
    free(copy);
}

// The last block before `sequence` of its chapter that defines words.
static uint64_t
words_before(struct log *log, uint64_t sequence)
{
    struct error error = {0};
    struct log_reader reader = {0};
    struct tx tx = tx_read(log->env);
    succeed(log_look(&reader, &tx, sequence, &error), &error);
    tx_done(&tx);
    return reader.header.words_previous;
}

static void
expect_corrupt(struct log *log, uint64_t sequence, uint64_t named)
{
    struct error error = {0};
    struct log_reader reader = {0};
    char name[32];
    struct tx tx = tx_read(log->env);
    (void)snprintf(name, sizeof name, "block %u: ", (unsigned)named);
    cr_assert_eq(log_open(&reader, &tx, sequence, &error), STATUS_CORRUPT);
    cr_assert_eq(strncmp(error.text, name, strlen(name)), 0, "%s: %s", name, error.text);
    // What was learned half is forgotten: another chapter reads well.
    expect_block(&reader, &tx, 10);
    cr_assert_eq(log_open(&reader, &tx, sequence, &error), STATUS_CORRUPT);
    log_reader_done(&reader);
    tx_done(&tx);
}

static void
flip_word(struct block_header *header, uint8_t *value, size_t size)
{
    (void)header;
    (void)size;
    value[BLOCK_HEADER_SIZE + 4] ^= 1;
}

static void
flip_entry(struct block_header *header, uint8_t *value, size_t size)
{
    (void)header;
    value[size - 2] ^= 1;
}

// A word that runs over the end of all.
static void
word_too_long(struct block_header *header, uint8_t *value, size_t size)
{
    (void)header;
    (void)size;
    value[BLOCK_HEADER_SIZE] = 0x7f;
}

static void
count_more_words(struct block_header *header, uint8_t *value, size_t size)
{
    (void)value;
    (void)size;
    header->words_before += 3;
}

static void
count_fewer_words(struct block_header *header, uint8_t *value, size_t size)
{
    (void)value;
    (void)size;
    header->words_before--;
}

static void
chain_to_itself(struct block_header *header, uint8_t *value, size_t size)
{
    (void)value;
    (void)size;
    header->words_previous = header->chapter;
}

Test(log_reader, names_the_block_whose_words_are_damaged)
{
    static const struct {
        void (*change)(struct block_header *header, uint8_t *value, size_t size);
        bool seals;
    } rows[] = {
        {flip_word,     false},
        {word_too_long, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct log log;
        log_make(&log);
        uint64_t defines = words_before(&log, 900);
        cr_assert_gt(defines, 513);
        change_block(&log, defines, rows[i].change, rows[i].seals);
        expect_corrupt(&log, 900, defines);
        log_remove(&log);
    }
}

Test(log_reader, refuses_a_chain_that_does_not_hold)
{
    static void (*const changes[])(struct block_header * header, uint8_t * value, size_t size) = {
        count_more_words, count_fewer_words, chain_to_itself};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct log log;
        log_make(&log);
        change_block(&log, 900, changes[i], true);
        expect_corrupt(&log, 900, 900);
        log_remove(&log);
    }
}

Test(log_reader, names_the_block_whose_entries_are_damaged)
{
    struct log log;
    log_make(&log);
    change_block(&log, 900, flip_entry, false);
    expect_corrupt(&log, 900, 900);
    log_remove(&log);
}

static void
change_arrival(struct block_header *header, uint8_t *value, size_t size)
{
    (void)value;
    (void)size;
    header->arrival_min_ns--;
}

Test(log_reader, sees_a_block_that_was_replaced_by_a_whole_one)
{
    struct log log;
    struct error error = {0};
    log_make(&log);
    change_block(&log, 700, change_arrival, true);
    struct log_reader reader = {0};
    struct tx tx = tx_read(log.env);
    expect_block(&reader, &tx, 699);
    expect_block(&reader, &tx, 700);
    cr_assert_eq(log_open(&reader, &tx, 701, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "not written after block 700"), "%s", error.text);
    log_reader_done(&reader);
    tx_done(&tx);
    log_remove(&log);
}
