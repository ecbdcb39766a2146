#pragma once
// Codes entries into blocks, and keeps the words of the chapter that they share.
//
//     block_writer_open(&writer, &error);
//     block_writer_resume(&writer, head, checksum);      // after the last block of the log
//     block_begin(&writer, now_ns);                      // the next block, maybe of a new chapter
//     block_add(&writer, raw);                           // one entry or more, as in ledger/entry.h
//     block_add_known(&writer, raw, hints, maps);        // the same of who knows more about them
//     size = block_end(&writer, &error);
//     trace = block_trace(&writer, i);                   // of the i-th entry, until block_begin
//     value = room of size bytes; block_write(&writer, value);
//     block_begin(...)
//     block_writer_done(&writer);
//
// Coding never fails for an entry that entry_read takes: what saves nothing is written out. It is
// lossless (tests/ledger/block_test.c). A start begins a new chapter, and so does a chapter that
// has 512 blocks or 256 MiB. Memory: that of ledger/words, and what the largest block took (at most
// the size of a group and 64 bytes an entry).
// Owner: the shard. Thread: its writer.

#include "ledger/block.h"
#include "ledger/block_hint.h"

enum { BLOCK_AHEAD = 16 };

// An entry on its way, with what finds its words.
struct block_coming {
    struct entry entry;
    struct bytes raw;
    const struct block_hint *hint;  // NULL: none
    uint64_t subject_hash;
    uint64_t pairs_hash;  // unless the map's word is known
    uint32_t map;         // the word; WORD_NONE: it is to be found
};

// What coding an event found out, so that who folds it need not look at its bytes again. Small: one
// of twice the size took 15 ns of the 30 that it saved.
enum { TRACE_NONE = (1 << 24) - 1 };

struct block_trace {
    int64_t whole;  // its value, if has_whole
    // Its word; TRACE_NONE: it is none, or the entry is no event.
    uint32_t subject : 24;
    uint32_t has_whole : 1;           // the value is a whole number, and not too large
    uint32_t has_type_before : 1;     // its type is that of the entry before in the block
    uint32_t has_quarter_before : 1;  // likewise its quarter hour; times before 1970 have none
    uint32_t map;  // 0: it has none; else its word and 1; TRACE_NONE: it is no word
};

_Static_assert(sizeof(struct block_trace) == 16, "four to a cache line");
_Static_assert((int)WORDS_MAX < (int)TRACE_NONE, "every word has a number of its own");

struct block_writer {
    struct words *words;
    struct buffer entries;  // of the block, coded
    struct buffer defined;  // the words that it defines
    struct buffer traces;   // of its entries: struct block_trace
    struct buffer keys;     // scratch
    struct block_header header;
    uint64_t chapter;  // 0: none yet
    uint64_t chapter_bytes;
    uint64_t words_last;  // the chapter's last block that defines words; 0: none
    uint64_t checksum;    // of the last block
    // The event before, in the bytes given to block_add.
    struct bytes type, source;
    int64_t time_ns;
    int64_t quarter_ns;  // when the quarter hour begins that its time is in
    uint32_t chunk_position;
    uint32_t pairs_luck;      // whether whole maps are looked for: they were found before
    bool has_failed;          // no memory
    struct block_maps *maps;  // of the hints given to block_add_known
    struct block_coming coming[BLOCK_AHEAD];  // scratch
    struct bytes values[BLOCK_PAIRS_MAX];
    struct block_keys last_keys;
};

enum status block_writer_open(struct block_writer *writer, struct error *error) CHECKED;
void block_writer_done(struct block_writer *writer);
// head: sequence of the log's last block (0: none), with its checksum.
void block_writer_resume(struct block_writer *writer, uint64_t head, uint64_t checksum);

void block_begin(struct block_writer *writer, int64_t now_ns);
// Sound entries, whose bytes stay until block_end.
void block_add(struct block_writer *writer, struct bytes raw);
// hints: one for each entry. maps: of those who gave the hints' maps their numbers.
void block_add_known(
    struct block_writer *writer,
    struct bytes raw,
    const struct block_hint *hints,
    struct block_maps *maps);
// index: below the number of entries added.
static inline const struct block_trace *
block_trace(const struct block_writer *writer, uint32_t index)
{
    return (const struct block_trace *)(const void *)writer->traces.data + index;
}
// The size of the value; at least one entry was added.
enum status block_end(struct block_writer *writer, size_t *out_size, struct error *error) CHECKED;
// Writes the sealed block, whose header is writer->header from now on.
void block_write(struct block_writer *writer, uint8_t *value);
