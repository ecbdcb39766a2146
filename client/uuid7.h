#pragma once
// UUIDs of version 7 (RFC 9562) that rise within one source.
//
//     struct uuid7_source ids;
//     if (uuid7_init(&ids, &error) != STATUS_OK) ...
//     uuid7_next(&ids, clock_now_ns(), text);     // 36 characters, no NUL
//
// The first 60 bits of payload are the time in steps of 1/4096 ms, made to rise also when the
// clock stands still or goes back; the other 62 are the kernel's randomness, fetched some ids at
// a time. Owner: the handle. Thread: one at a time (the handle's mutex).

#include "base/status.h"

#include <stdint.h>

enum {
    UUID7_TEXT_SIZE = 36,
    UUID7_POOL_COUNT = 32,  // 256 bytes: getrandom gives as many in one piece, always
};

struct uuid7_source {
    uint64_t last;  // time in 1/4096 ms of the last one made
    uint64_t pool[UUID7_POOL_COUNT];
    uint32_t pool_left;
};

// STATUS_IO when the kernel gives no randomness.
enum status uuid7_init(struct uuid7_source *source, struct error *error) CHECKED;
void uuid7_next(struct uuid7_source *source, int64_t now_ns, char out[UUID7_TEXT_SIZE]);
