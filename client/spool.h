#pragma once
// The directory where sealed batches wait for their acks, so that they outlive the process.
//
//     spool_open(&spool, &options, &error)          // STATUS_BUSY: another handle has it
//     spool_scan(&spool, &names, &error)            // what an earlier process left, oldest first
//     spool_write(&spool, batch, &error)
//     spool_read(&spool, chunk, &scratch, &batch, &events, &error)
//     spool_remove(&spool, batch->chunk, &error)
//     spool_close(&spool)
//
// One file for each batch, named after its chunk:
//
//     CHUNK.batch   a whole batch: it is renamed to this name when its last byte is written
//     CHUNK.tmp     a batch whose writing was interrupted: nobody was told of it, spool_scan
//                   removes it
//     CHUNK.bad     a file that was not what was written
//     lock          held (flock) as long as the spool is open
//
//     | "TALLYSP1" | u64 checksum | u32 events_size | u32 events_count | chunk 36 | backfill 104 |
//     | events ... |                             numbers are little-endian
//
// The checksum is XXH3_64 of all that follows it. Owner: the handle. Thread: used_size belongs to
// the handle's mutex; files may be read and removed without it.

#include "client/backlog.h"

enum {
    SPOOL_HEADER_SIZE = 164,
    SPOOL_EVENTS_SIZE_MAX = 8 * 1024 * 1024,  // no batch is larger
    SPOOL_EVENTS_MAX = 65536,
};

struct spool_options {
    const char *path;
    uint64_t size_max;  // of the batches' files
    bool is_sync;       // fsync each file and its name
};

struct spool {
    bool is_open;
    bool is_sync;
    int directory_fd;
    int lock_fd;
    uint64_t size_max;
    uint64_t used_size;  // of all .batch files
};

// Makes the directory (0700) when it is missing, and takes the lock.
enum status
spool_open(struct spool *spool, const struct spool_options *options, struct error *error) CHECKED;
// The files stay. Accepts a zeroed spool.
void spool_close(struct spool *spool);

// Appends the chunk (UUID7_TEXT_SIZE bytes) of each file to out_names, sorted, and sets used_size.
enum status spool_scan(struct spool *spool, struct buffer *out_names, struct error *error) CHECKED;
// Whether a batch with so many bytes of events may be written.
bool spool_has_room(const struct spool *spool, size_t events_size);
// Adds to used_size.
enum status
spool_write(struct spool *spool, const struct batch *batch, struct error *error) CHECKED;
// Fills what a file says of a batch; events is a view of scratch, good until its next change.
// STATUS_CORRUPT: the file is not what was written.
enum status spool_read(
    const struct spool *spool,
    const char chunk[UUID7_TEXT_SIZE],
    struct buffer *scratch,
    struct batch *out,
    struct bytes *out_events,
    struct error *error) CHECKED;
// Both leave used_size to the caller: it falls by spool_file_size.
enum status spool_remove(
    const struct spool *spool, const char chunk[UUID7_TEXT_SIZE], struct error *error) CHECKED;
enum status spool_set_aside(
    const struct spool *spool, const char chunk[UUID7_TEXT_SIZE], struct error *error) CHECKED;
uint64_t spool_file_size(const struct batch *batch);
// What a file takes that may be damaged: by this used_size falls when it is set aside. 0: no file.
uint64_t spool_stored_size(const struct spool *spool, const char chunk[UUID7_TEXT_SIZE]);
