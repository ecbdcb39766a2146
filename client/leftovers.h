#pragma once
// The batches that an earlier process left in the spool: read file by file, sent before all others.
//
//     leftovers_open(&leftovers, &spool, &error)
//     while (leftovers_read(&leftovers, &read)) ...       // when none is waiting and there is room
//     batch = backlog_take(&leftovers.ring)               // NULL: none is waiting
//     backlog_release(&leftovers.ring, batch)
//     backlog_rewind(&leftovers.ring)
//     leftovers_done(&leftovers)
//
// They have memory of their own (LEFTOVERS_SIZE of address space, of which only what is used is
// taken, given back after the last one), so that new events find the whole buffer.
// Owner: the handle. Thread: who opens it, then the sender.

#include "client/spool.h"

enum { LEFTOVERS_SIZE = 16 * 1024 * 1024 };

struct leftovers {
    const struct spool *spool;
    struct buffer chunks;  // of the files found, UUID7_TEXT_SIZE each
    size_t chunks_offset;  // of the next one to read
    struct buffer scratch;
    struct backlog ring;
    size_t full_size;  // of the ring, when the next file last found no room; SIZE_MAX: it did not
    bool is_open;
};

enum leftover_read {
    LEFTOVER_NONE,  // all files are read, or there is no room before the next release
    LEFTOVER_READY,
    LEFTOVER_BAD,    // a file was damaged and is set aside
    LEFTOVER_STUCK,  // a file can be neither read nor set aside: it is passed over, error says why
};

struct leftover {
    uint64_t file_size;  // of a BAD one
    uint32_t events_count;
};

// STATUS_IO, STATUS_NO_MEMORY. With no files it takes no memory.
enum status
leftovers_open(struct leftovers *leftovers, struct spool *spool, struct error *error) CHECKED;
// Accepts a zeroed one.
void leftovers_done(struct leftovers *leftovers);

// How many files were found.
size_t leftovers_count(const struct leftovers *leftovers);
// Whether files are left to read.
bool leftovers_is_pending(const struct leftovers *leftovers);
// Reads the next file into the ring. out tells what a READY, BAD or STUCK one was.
enum leftover_read
leftovers_read(struct leftovers *leftovers, struct leftover *out, struct error *error);
