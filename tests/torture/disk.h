#pragma once
// The disk as a power cut may leave it, at any moment of a recording.
//
//     recording_load(&recording, file);
//     struct disk disk = {.without = "dsync ledger/shards/*/log/data.mdb"};   // a mutant; or NULL
//     disk_init(&disk);
//     while (recording_next(&recording, &step))
//         disk_apply(&disk, &step);
//         disk_build(&disk, seed, dir);       // once more each time, another disk
//     disk_compare(&disk, dir, text);         // everything kept: what the recorded files must be
//
// What is durable, and what is not:
//
// 1. Bytes, and a file's size, when a sync of that file that began after the write has ended; of a
//    descriptor with O_DSYNC the bytes of one write, when it has ended.
// 2. A name (made, changed or taken away) when a sync of its directory that began after has ended;
//    a sync of the file itself says nothing of its name. A rename within a directory is one change.
// 3. Everything else may be there or not, each change by itself and in any order; of a write also
//    any of its sectors (512 bytes) or pages (4,096), each by itself. Bytes that are not there are
//    what was there before, or zeros where the file did not reach.
//
// What a file system promises beyond that (data before names, names in their order) is not made
// use of. Modes and owners are not looked at. Owner: one thread.

#include "tests/torture/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recording {
    const uint8_t *bytes;
    size_t size, at;
};

struct step {
    struct record record;
    const uint8_t *bytes;  // record.size of them
};

// They end the process when the file cannot be read or is no recording.
void recording_load(struct recording *out, const char *file);
void recording_done(struct recording *recording);
// False: that was the last.
bool recording_next(struct recording *recording, struct step *out);
// How many records are left behind which a power cut may leave something else than before.
uint64_t recording_changes(struct recording recording);

enum { DISK_NAME_MAX = 256 };

struct disk_entry {
    char name[DISK_NAME_MAX];
    uint32_t inode;
};

// A file or directory: what of it is durable; and of a directory also what programs see.
struct disk_inode {
    bool is_dir;
    uint8_t *bytes;
    uint64_t size, capacity;
    struct disk_entry *entries, *seen;
    uint32_t entries_count, seen_count;
    char path[DISK_NAME_MAX];  // when it was opened last
    int64_t synced_ns;         // when its last sync ended
};

enum disk_change_kind { DISK_BYTES, DISK_SIZE, DISK_NAMES };

// Not durable yet, in the order in which it was made.
struct disk_change {
    enum disk_change_kind kind;
    uint32_t inode;
    uint64_t order;
    bool is_durable;  // but something before it is not
    uint64_t offset, size;
    const uint8_t *bytes;
    int64_t time_ns;
    uint64_t handle;
    struct disk_entry entries[2];  // inode DISK_NONE: the name is gone
    uint32_t entries_count;
};

enum { DISK_NONE = UINT32_MAX, DISK_ROOT = 0 };

struct disk_handle {
    uint64_t name;
    uint32_t inode;
};

struct disk_sync {
    uint64_t token;
    uint32_t inode;
    uint64_t from, to;  // orders of the changes that it covers: from <= order < to
};

struct disk {
    // "KIND PATTERN", KIND fsync, fdatasync, dsync or dir: syncs of such files are left out, as if
    // the product did not make them. NULL: none.
    const char *without;
    uint64_t left_out;  // how many were
    uint64_t order;     // of the next change
    struct disk_inode *inodes;
    struct disk_change *changes;
    struct disk_handle *handles;
    struct disk_sync *syncs;
    uint32_t inodes_count, changes_count, handles_count, syncs_count;
    uint64_t syncs_done, writes;
};

void disk_init(struct disk *disk);
void disk_done(struct disk *disk);
// All that is in dir, as if it had been durable for ever: where a recording begins with a disk that
// is not empty. Sockets are passed over.
void disk_load(struct disk *disk, const char *dir);
// What one record did. True: a crash behind it may leave something else than one before it.
bool disk_apply(struct disk *disk, const struct step *step);
// Makes dir and in it a disk drawn from the seed.
void disk_build(const struct disk *disk, uint64_t seed, const char *dir);
// Whether the files of the directory are those of the recording, byte by byte; false with what
// differs in text. Sockets and LMDB's lock files are passed over.
bool disk_compare(const struct disk *disk, const char *dir, char text[512]);

// What a session writes to the head of a log is synced at most a second after the last sync, as its
// next commits see it (two may share a sync): false for a step that writes there although something
// older is not durable.
bool disk_head_is_fresh(struct disk *disk, const struct step *step);
