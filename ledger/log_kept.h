#pragma once
// From where on a log is kept: blocks before were deleted by retention (ledger/retain).
//
//     struct log_kept kept;
//     log_kept_read(&log, &kept, &error);          // first 1: nothing was deleted
//     for (sequence = kept.first; sequence <= head; sequence++) ...
//     log_kept_answers(&log, from_ns, last, &first, &error)
//
// Record "kept" of LOG_DB_META, written in one transaction with which the blocks before it stop to
// count; they are deleted afterwards, in slices, so some may still lie there.
//
//   u64 first   i64 until_ns   u64 previous   u64 checksum (of these 24 bytes, seed 0)
//
// A record that was replaced is left under "kept:" first (8 bytes) when cells of a meter begin at
// that block: what they lack is what it says, however much was deleted since.
//
// Owner: values. Thread: any.

#include "base/buffer.h"
#include "ledger/lmdb_env.h"

struct log_kept {
    uint64_t first;     // the first block that counts: the first of its chapter
    int64_t until_ns;   // no event of a deleted block is later
    uint64_t previous;  // the checksum of the block before the first; 0: there was none
};

// STATUS_CORRUPT: the record is damaged.
enum status log_kept_read(struct tx *log, struct log_kept *out, struct error *error) CHECKED;
void log_kept_write(struct tx *log, const struct log_kept *kept);
// Leaves it for cells that begin with its first block.
void log_kept_remember(struct tx *log, const struct log_kept *kept);
// Appends each of those (struct log_kept). STATUS_CORRUPT: one is damaged.
enum status log_kept_list(struct tx *log, struct buffer *out, struct error *error) CHECKED;
// Whether what is kept of the blocks from *first to last has all of theirs that happened since
// from_ns: then *first is not before what is kept. STATUS_NOT_FOUND, saying from when on the log is
// kept: it has not.
enum status log_kept_answers(
    struct tx *log, int64_t from_ns, uint64_t last, uint64_t *first, struct error *error) CHECKED;
// "2026-08-01T00:00:00Z": the first second from which on all events are kept.
void log_kept_print(const struct log_kept *kept, char *out, size_t out_size);
