#pragma once
// The bytes of the read socket: what ledger/memory, ledger/memory_client and ledger/serve agree on.
//
//   frame    u32 size (of what follows)  body; everything little-endian
//   request  u8 version  u8 kind (a change's: ledger/control_wire.h)  u16 zero  u32 shard
//            u32 meter id  i64 from  i64 to (seconds)  u8 subject length  subject
//   reply    u8 version  u8 result  u16 zero  u64 flushed  u64 head  u64 live_from
//            u64 flushed_from  u32 cells
//            then per cell: u16 key size  u32 value size  key  value (as on disk: ledger/cell;
//            distinct values are all listed, however many)
//            for a quota, in place of cells: i64 from  i64 to  32 bytes used  16 bytes limit
//            u8 has fired  u8 is complete
//
// Both sides refuse a size beyond its bound before they make room for it. Thread: any.

#include "ledger/memory.h"

enum {
    MEMORY_VERSION = 3,
    MEMORY_REQUEST_MIN = 1 + 1 + 2 + 4 + 4 + 8 + 8 + 1,
    MEMORY_REQUEST_MAX = MEMORY_REQUEST_MIN + 255,
    MEMORY_REPLY_MIN = 1 + 1 + 2 + 8 + 8 + 8 + 8 + 4,
    MEMORY_REPLY_MAX = 256 * 1024 * 1024,
    MEMORY_QUOTA_SIZE = 8 + 8 + 32 + 16 + 1 + 1,
    MEMORY_FRAME_HEAD = 4,
};

enum memory_result {
    MEMORY_RESULT_CELLS,
    MEMORY_RESULT_TOO_LARGE,  // the reply would pass MEMORY_REPLY_MAX: read the log instead
    MEMORY_RESULT_QUOTA,
    MEMORY_RESULT_NOT_FOUND,
    MEMORY_RESULT_DAMAGED,  // a cell that the answer is made of
};

// Appends a whole frame.
void memory_request_write(const struct memory_request *request, struct buffer *out);
// body: a frame without its size. False: another version, or sizes that do not fit.
bool memory_request_read(struct bytes body, struct memory_request *out);
// A frame out, and the body of the one that comes back, until the next of them. As memory_ask.
enum status memory_exchange(
    struct memory_client *client,
    struct bytes frame,
    struct bytes *out_body,
    struct error *error) CHECKED;
// How long it waits for an answer from now on.
void memory_client_wait(struct memory_client *client, int timeout_s);
bool memory_quota_read(struct cursor in, struct quota *out);
bool memory_reply_read(struct bytes body, struct memory_reply *out, enum memory_result *out_result);
