#pragma once
// A block: the entries of one shard that were committed together, as one value of the log
// environment. Its bytes are drawn in docs/ledger-format.md.
//
//   key    uint64, the block's sequence number: dense, from 1
//   value  header (BLOCK_HEADER_SIZE bytes)  the words it defines  its entries, coded
//
//     block_look(sequence, value, &header, &error);       // the header, checked by itself
//     block_learn(&header, value, &words, &error);        // checks and adds the words it defines
//     block_open(&reader, &header, value, &words, &error);  // checks its entries' checksum
//     while (block_next(&reader, &entry)) ...             // views until the next call
//     if (reader.is_broken) ...
//
// Writing: ledger/block_writer.h. Reading blocks of a log with the words of their chapter, one
// after another or anywhere: ledger/log_reader.h.
//
// Three checksums (XXH3_64), so that a reader may believe a header, or learn a chapter's words,
// without reading the rest: of the words, of the entries, and of the header with both and the key.
// The last one is the block's: the next block repeats it, so that no block can be replaced by
// another that is whole. Blocks are never rewritten in place.
//
// Owner: the reader by its caller; it borrows value and words. Thread: one.

#include "base/buffer.h"
#include "base/status.h"
#include "ledger/entry.h"
#include "ledger/uuid.h"
#include "ledger/words.h"

enum {
    BLOCK_MAGIC = 0x4b4c4254,  // "TBLK"
    BLOCK_VERSION = 2,
    BLOCK_HEADER_SIZE = 120,
    BLOCK_CHAPTER_MAX = 512,  // blocks of a chapter
    BLOCK_PAIRS_MAX = 256,    // of a map whose keys are a word
};

// The keys of the last map that was coded by its keys: events that follow each other mostly have
// the same ones, and need not be taken apart each time.
struct block_keys {
    uint32_t word;  // WORD_NONE: none yet
    uint32_t count;
    uint16_t sizes[BLOCK_PAIRS_MAX];
};

// What kinds of entries are in it, so that who looks for those passes over the others.
enum block_flag {
    BLOCK_HAS_CORRECTIONS = 1,  // cancel, amend, batch revert
    BLOCK_HAS_BACKFILL = 2,     // events of a batch, batch open or close
    BLOCK_HAS_CUT = 4,
};

struct block_header {
    uint16_t flags;  // enum block_flag
    uint64_t sequence;
    uint32_t count;         // entries
    uint32_t words_count;   // defined here
    uint32_t words_before;  // defined by earlier blocks of the chapter
    uint32_t words_size;
    uint32_t entries_size;
    uint64_t chapter;                    // sequence of its chapter's first block
    uint64_t words_previous;             // the chapter's last block before it that defines words; 0
    int64_t time_min_ns, time_max_ns;    // of its entries
    int64_t arrival_min_ns, arrival_ns;  // the first arrival, and the commit's time
    uint64_t previous;                   // checksum of the block before it; 0 in block 1
    uint64_t words_checksum, entries_checksum;
    uint64_t checksum;
};

// The bits of a coded entry's first byte, and what stands for a word's number.
enum {
    CODE_ID_MASK = 3,
    CODE_ID_NONE = 0,
    CODE_ID_UUID = 1,
    CODE_ID_TEXT = 2,
    CODE_ID_CHUNK = 3,
    CODE_TIME_IS_ARRIVAL = 4,
    CODE_IS_BACKFILL = 8,
    CODE_SAME_TYPE = 16,  // as the event before it
    CODE_SAME_SOURCE = 32,
    CODE_VALUE_IS_ONE = 64,
    CODE_RAW = 128,  // an entry in its raw form follows

    TEXT_WRITTEN_OUT = 0,  // else word number + 1
    TEXT_FIRST_WORD = 1,

    PAIRS_WRITTEN_OUT = 0,  // count, size, bytes
    PAIRS_NONE = 1,
    PAIRS_BY_KEYS = 2,     // the word of the keys, then the values
    PAIRS_FIRST_WORD = 3,  // else word number + 3

    VALUE_IS_CODED = 0xc1,  // the one byte that begins no msgpack value
    VALUE_UUID = 0,         // its 16 bytes follow: a text of 36
    VALUE_FIRST_WORD = 1,   // else word number + 1
    VALUE_UUID_TAG = 0xd9,  // str 8, the shortest form for 36 bytes, with its size behind it
    VALUE_UUID_HEAD = 2,

    NUMBER_WHOLE = 0,  // how many places the number in a value counts: 0, 6, or its 16 bytes follow
    NUMBER_MICROS = 1,
    NUMBER_WIDE = 2,
    NUMBER_BITS = 2,
};

// Fills in the three checksums and writes the header into value[0..BLOCK_HEADER_SIZE); words and
// entries are in their places behind it already.
void block_seal(uint8_t *value, struct block_header *header);

// STATUS_CORRUPT with what does not fit; value may be anything.
enum status block_look(
    uint64_t sequence, struct bytes value, struct block_header *out, struct error *error) CHECKED;
// For who looks for blocks in bytes that may be anything: whether a header begins here; and whether
// words and entries are those that it was written with.
bool block_header_is_whole(const uint8_t bytes[BLOCK_HEADER_SIZE], struct block_header *out);
bool block_is_whole(const struct block_header *header, struct bytes value);
// Adds the words that the block defines to the list, which holds all earlier ones of the chapter.
// STATUS_CORRUPT: not what was written. STATUS_NO_MEMORY.
enum status block_learn(
    const struct block_header *header,
    struct bytes value,
    struct word_list *words,
    struct error *error) CHECKED;

struct block_reader {
    struct block_header header;
    struct cursor cursor;
    uint32_t index;  // entries read
    bool is_broken;
    const struct word_list *words;
    // Of the event before.
    struct bytes type, source;
    int64_t time_ns;
    uint32_t chunk_position;
    struct block_keys keys;
    // What the entry's views are over when it had to be put together.
    uint8_t id[UUID_TEXT_SIZE];
    uint8_t uuid_text[VALUE_UUID_HEAD + UUID_TEXT_SIZE];
    uint8_t *pairs;  // EVENT_SIZE_MAX bytes, taken when they are first needed
};

// The reader is zeroed before its first block, and kept from block to block. words: all that the
// block may use, unchanged while it is read.
enum status block_open(
    struct block_reader *reader,
    const struct block_header *header,
    struct bytes value,
    const struct word_list *words,
    struct error *error) CHECKED;
// False at the end, and when an entry makes no sense (is_broken).
bool block_next(struct block_reader *reader, struct entry *out);
void block_reader_done(struct block_reader *reader);
