#pragma once
// The recording of what a process does to a directory: a file of records, one after another, each
// written by one append, so that processes may share it and their order is the order of events.
//
//     struct record  then size bytes:
//         OPEN     the path; name is the handle that later records give
//         WRITE    the bytes; name the handle, at the offset
//         BEGIN    name the handle, at a token: a sync of all before has begun; with
//                  RECORD_IS_DSYNC of the WRITE right before it alone
//         END      name the handle, at the token of its BEGIN: what that covers is durable from
//                  here on
//         SIZE     name the handle, at the size
//         UNLINK, MKDIR, RMDIR   the path
//         RENAME, LINK           two paths, a zero byte between them
//         MARK     what the recorded program says: a letter and numbers (life.h)
//         FAULT    what the recorder does not know how to follow; the program was stopped
//
// Paths are relative to the root that is recorded. A write is recorded before it is made and under
// the recorder's lock, a BEGIN before the call and an END after it: what a crash between two
// records may leave is what a power cut may.
// Written by tests/torture/recorder.c, read by tests/torture/disk.c.

#include <stdint.h>

#define RECORD_ROOT_VARIABLE "TALLY_RECORD_ROOT"
#define RECORD_FILE_VARIABLE "TALLY_RECORD_FILE"
#define RECORD_SYNC_VARIABLE "TALLY_RECORD_SYNC_US"  // how long a sync takes
#define RECORD_TICK_VARIABLE "TALLY_RECORD_TICK_MS"  // what a mark adds to the monotonic clock

enum record_kind {
    RECORD_OPEN = 1,
    RECORD_WRITE,
    RECORD_BEGIN,
    RECORD_END,
    RECORD_SIZE,
    RECORD_UNLINK,
    RECORD_RENAME,
    RECORD_LINK,
    RECORD_MKDIR,
    RECORD_RMDIR,
    RECORD_MARK,
    RECORD_FAULT,
};

enum record_flag {
    RECORD_IS_NEW = 1,        // OPEN: made the file
    RECORD_IS_TRUNCATED = 2,  // OPEN: what was in it is gone
    RECORD_IS_DSYNC = 4,      // BEGIN: of an O_DSYNC descriptor
    RECORD_IS_FDATASYNC = 8,  // BEGIN: of fdatasync, not fsync
};

struct record {
    uint32_t magic;
    uint32_t size;  // of what follows
    uint8_t kind;
    uint8_t flags;
    uint16_t zero[3];
    uint64_t name, at;
    int64_t time_ns;  // monotonic, as the program sees it
};

enum { RECORD_MAGIC = 0x4b435254 };

_Static_assert(sizeof(struct record) == 40, "without holes");
