#pragma once
// What a backup holds: the list of its files, written last, so that a backup is what its manifest
// says, and nothing else in its directory counts. Its text is in docs/ledger-format.md.
//
//     struct manifest manifest = {.shards_count = 2};
//     manifest_read(dir, &manifest, &error);          // STATUS_NOT_FOUND: no backup there yet
//     manifest_add(&manifest, &chunk);
//     manifest_write(dir, &manifest, &error);         // replaces the old one at once, fsynced
//     manifest_done(&manifest);
//
// The chunks of a shard are in order and dense: each begins one block behind the last. Owner: the
// caller. Thread: one.

#include "base/buffer.h"
#include "base/status.h"
#include "ledger/log_kept.h"

enum { MANIFEST_SHARDS_MAX = 256 };

// A file of blocks: shards/NNNN/FIRST.blocks.
struct manifest_chunk {
    uint32_t shard;
    uint64_t first, last;
    uint64_t size_bytes;  // of the file
    uint64_t checksum;    // over its blocks, as ledger/chunk computes it
};

struct manifest_shard {
    uint64_t head;           // the last block; 0: none
    uint64_t head_checksum;  // that block's
    // Where its chunks begin. Beyond 1 what was deleted from the log is in the cells only, and the
    // backup holds them: shards/NNNN/state-NUMBER.mdb, as of a block from first - 1 to head.
    struct log_kept kept;
    uint64_t state_size, state_checksum;  // of that file, as files_copy has it; 0: there is none
};

// Where a shard's log began before, as cells of some meters still do.
struct manifest_lack {
    uint32_t shard;
    struct log_kept kept;
};

struct manifest {
    uint32_t number;  // of the backup into this directory, from 1
    int64_t began_ns;
    uint64_t registry_size, registry_checksum;  // of meters-NUMBER.mdb
    uint32_t shards_count;
    struct manifest_shard shards[MANIFEST_SHARDS_MAX];
    struct buffer lacks;   // of struct manifest_lack, of shards whose kept.first is beyond 1
    struct buffer chunks;  // of struct manifest_chunk
};

void manifest_done(struct manifest *manifest);
uint32_t manifest_count(const struct manifest *manifest);
struct manifest_chunk manifest_at(const struct manifest *manifest, uint32_t index);
uint32_t manifest_lacks_count(const struct manifest *manifest);
struct manifest_lack manifest_lack_at(const struct manifest *manifest, uint32_t index);
// STATUS_NO_MEMORY.
enum status manifest_lack_add(
    struct manifest *manifest, const struct manifest_lack *lack, struct error *error) CHECKED;
enum status manifest_add(
    struct manifest *manifest, const struct manifest_chunk *chunk, struct error *error) CHECKED;
// STATUS_CORRUPT with the line that makes no sense, or when the checksum does not fit.
enum status manifest_read(const char *dir, struct manifest *out, struct error *error) CHECKED;
enum status
manifest_write(const char *dir, const struct manifest *manifest, struct error *error) CHECKED;
