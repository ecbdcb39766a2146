#pragma once
// A file of a backup: blocks of one shard's log, as they are in it, one after another.
//
//     struct chunk_writer writer = {0};
//     chunk_begin(&writer, dir, shard, first, &error);
//     chunk_add(&writer, value);  ...  chunk_flush(&writer, &error);
//     chunk_end(&writer, &row, &error);                // fsynced; row goes into the manifest
//     chunk_abort(&writer);                            // or, at any moment, without a result
//
//     struct chunk_reader reader = {0};
//     chunk_open(&reader, dir, &row, &error);          // reads it whole and checks it
//     while (chunk_next(&reader, &sequence, &value)) ...
//     chunk_done(&reader);
//
//   file  u64 magic "TLAYBLKS"  u32 version 1  u32 shard  u64 first, per block u64 size, bytes
//   checksum in the manifest: XXH3_64 of the 24 bytes, seed 0; then of each block's bytes, seeded
//   by the one so far
//
// Owner: the caller. Thread: one.

#include "ledger/files.h"
#include "ledger/manifest.h"

// A chunk is ended when it is larger; a block more may be in it.
static const uint64_t CHUNK_SIZE_ENOUGH = 64ULL << 20;

struct chunk_writer {
    int fd;  // 0: none
    struct path path;
    struct buffer pending;
    struct manifest_chunk row;
};

enum status chunk_begin(
    struct chunk_writer *writer,
    const char *dir,
    uint32_t shard,
    uint64_t first,
    struct error *error) CHECKED;
// The next block. Kept in memory until the next flush.
void chunk_add(struct chunk_writer *writer, struct bytes value);
enum status chunk_flush(struct chunk_writer *writer, struct error *error) CHECKED;
enum status
chunk_end(struct chunk_writer *writer, struct manifest_chunk *out, struct error *error) CHECKED;
void chunk_abort(struct chunk_writer *writer);

struct chunk_reader {
    struct buffer bytes;
    struct cursor in;
    struct manifest_chunk row;
    uint64_t next;
};

// STATUS_CORRUPT: not what the manifest says.
enum status chunk_open(
    struct chunk_reader *reader,
    const char *dir,
    const struct manifest_chunk *row,
    struct error *error) CHECKED;
// The view ends with the next chunk_open.
bool chunk_next(struct chunk_reader *reader, uint64_t *out_sequence, struct bytes *out_value);
void chunk_done(struct chunk_reader *reader);
