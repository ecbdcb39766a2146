#pragma once
// Where a shard's log ends, kept outside its environment: a file of 32 bytes, so that a log that
// went back in time (an old copy of data.mdb, a lost page of its own) is seen at the next start.
//
//     head_make(path, &error);                     // with the shard: no block yet
//     head_read(path, &place, &error);             // at a start: held against the log
//     head_open(path, &head, &error);
//     head_write(&head, sequence, checksum, &error);  // after each commit, to the page cache
//     head_sync(&head, now_ns, &error);            // at most once a second, after the acks
//     head_close(&head);
//
//   file   u64 magic  u64 sequence  u64 checksum of that block  u64 XXH3_64 of the 24 bytes before
//
// It may be behind the log (the machine died before it was written), never ahead of it. An empty
// file is an operator's word that the log is whole: the next commit writes it anew.
// Owner: the shard. Thread: its writer.

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum head_state { HEAD_EMPTY, HEAD_WRITTEN };

struct head_place {
    enum head_state state;
    uint64_t sequence;  // 0: no block
    uint64_t checksum;
};

struct head_file {
    int fd;
    bool is_dirty;
    int64_t synced_ns;
};

// Of a shard that has no block: writes and fsyncs a head that says so, also over what a crash left
// of one. One that is sound stays, whatever it says.
enum status head_make(const char *path, struct error *error) CHECKED;
// STATUS_CORRUPT with what to do when it is missing or damaged.
enum status head_read(const char *path, struct head_place *out, struct error *error) CHECKED;
enum status head_open(const char *path, struct head_file *out, struct error *error) CHECKED;
enum status head_write(
    struct head_file *head, uint64_t sequence, uint64_t checksum, struct error *error) CHECKED;
// Syncs what was written since, unless that was less than a second ago. now_ns: monotonic.
enum status head_sync(struct head_file *head, int64_t now_ns, struct error *error) CHECKED;
// Accepts a zeroed one that was never opened (fd 0 is never a head's).
void head_close(struct head_file *head);
