#pragma once
// The blocks of a log, found in its file without its tree: where LMDB's pages are damaged, the
// blocks mostly are not, and each says by its checksum that it is whole and which comes before it.
//
//     salvage_read("DIR/shards/0000/log/data.mdb", &head, &salvage, &error);
//     if (salvage.lost_count == 0)
//         salvage_write(&salvage, "DIR/shards/0000/log.new", map_size, &error);
//     salvage_done(&salvage);
//
// The file has older blocks as well (of commits that a crash cut off): the head says which is the
// last one, and each block which one is before it. Memory: 64 bytes a block. Thread: one.

#include "base/buffer.h"
#include "base/status.h"
#include "ledger/head.h"

#include <stdint.h>

struct salvage_lost {
    uint64_t first, last;  // sequences
    uint64_t events;       // in those of them whose headers are whole
    uint64_t unknown;      // blocks whose headers are not
};

struct salvage {
    int fd;
    struct buffer found;  // struct salvage_block, by sequence
    struct buffer chain;  // likewise: the log, whole blocks only
    struct buffer lost;   // struct salvage_lost
    uint32_t lost_count;
    uint64_t first, last;  // of the log, lost ones too
    uint64_t blocks;       // that are whole
};

// head: NULL when there is none that is sound; then the last block that is found is the last.
// STATUS_NOT_FOUND: there is no such file.
enum status salvage_read(
    const char *file,
    const struct head_place *head,
    struct salvage *out,
    struct error *error) CHECKED;
// Makes an environment that holds the chain, durable when it returns. The directory must not exist.
enum status salvage_write(
    const struct salvage *salvage, const char *dir, uint64_t map_size, struct error *error) CHECKED;
const struct salvage_lost *salvage_lost_at(const struct salvage *salvage, uint32_t index);
// Accepts a zeroed one.
void salvage_done(struct salvage *salvage);
