#pragma once
// Reads blocks of a shard's log, in any order: finds the words that a block needs, and holds each
// block against the one before it.
//
//     struct log_reader reader = {0};
//     status = log_look(&reader, &log, sequence, &error);   // only the header: reader.header
//     status = log_open(&reader, &log, sequence, &error);   // its entries
//     while (log_next(&reader, &entry)) ...                 // views until the next call
//     status = log_end(&reader, &error);                    // did every entry make sense?
//     log_reader_done(&reader);
//
// The words of a chapter stay in the reader, so that blocks read one after another cost nothing
// more; a jump follows the chapter's chain of words back as far as they are not known (at most 511
// blocks, of which only the words are read). A block whose predecessor was the last one looked at
// must carry that one's checksum.
//
// log may be renewed or be another transaction at each call. Entries end with it. Memory: the
// chapter's words, at most 5 MiB. Errors: STATUS_CORRUPT with the block's number.
// Owner: the caller. Thread: one.

#include "ledger/block.h"
#include "ledger/lmdb_env.h"

struct log_reader {
    struct block_header header;  // of the last log_look or log_open that went well
    struct block_reader block;
    struct word_list words;
    uint64_t chapter;  // whose words these are; 0: none
};

enum status
log_look(struct log_reader *reader, struct tx *log, uint64_t sequence, struct error *error) CHECKED;
enum status
log_open(struct log_reader *reader, struct tx *log, uint64_t sequence, struct error *error) CHECKED;
bool log_next(struct log_reader *reader, struct entry *out);
enum status log_end(const struct log_reader *reader, struct error *error) CHECKED;
void log_reader_done(struct log_reader *reader);
