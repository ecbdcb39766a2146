#pragma once
// Codes entries into blocks, and keeps the words of the chapter that they share.
//
//     block_writer_open(&writer, &error);
//     block_writer_resume(&writer, head, checksum);      // after the last block of the log
//     block_begin(&writer, now_ns);                      // the next block, maybe of a new chapter
//     block_add(&writer, raw);                           // one entry or more, as in ledger/entry.h
//     size = block_end(&writer, &error);
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

enum { BLOCK_AHEAD = 16 };

// An entry on its way, with what finds its words.
struct block_coming {
    struct entry entry;
    struct bytes raw;
    uint64_t subject_hash;
    uint64_t pairs_hash;
};

struct block_writer {
    struct words *words;
    struct buffer entries;  // of the block, coded
    struct buffer defined;  // the words that it defines
    struct buffer keys;     // scratch
    struct block_header header;
    uint64_t chapter;  // 0: none yet
    uint64_t chapter_bytes;
    uint64_t words_last;  // the chapter's last block that defines words; 0: none
    uint64_t checksum;    // of the last block
    // The event before, in the bytes given to block_add.
    struct bytes type, source;
    int64_t time_ns;
    uint32_t chunk_position;
    uint32_t pairs_luck;  // whether whole maps are looked for: they were found before
    bool has_failed;      // no memory
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
// The size of the value; at least one entry was added.
enum status block_end(struct block_writer *writer, size_t *out_size, struct error *error) CHECKED;
// Writes the sealed block, whose header is writer->header from now on.
void block_write(struct block_writer *writer, uint8_t *value);
