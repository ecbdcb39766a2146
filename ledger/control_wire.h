#pragma once
// The bytes of control on the read socket, in the frames of ledger/memory_wire.h.
//
//   request  u8 version  u8 kind (0 and 128 are questions')  u16 zero  then by kind
//              CUT      i64 time (ns)
//              CORRECT  u8 entry kind  u8 has: 1 time, 2 value, 4 properties  u8 subject  u8 source
//                       u8 id  u8 who (lengths)  u16 why (length)  i64 time  i128 value
//                       u32 pairs  u32 properties (length)  subject source id who why properties
//              BACKFILL u8 act  u8 id  u8 who (lengths)  u8 zero  u16 why (length)  id who why
//   answer   u8 version  u8 status  u16 zero  u64 number  u16 text length  text
//
// Only the user that runs tallyd is heard. Both sides refuse what does not fit. Thread: any.

#include "ledger/control.h"
#include "ledger/memory_wire.h"

enum {
    CONTROL_REQUEST_MIN = 1 + 1 + 2 + 8,
    CONTROL_CORRECT_HEAD = 4 + 8 + 8 + 16 + 4 + 4,
    CONTROL_REQUEST_MAX = CONTROL_CORRECT_HEAD + 4 * 255 + ENTRY_WHY_MAX + EVENT_SIZE_MAX,
    CONTROL_ANSWER_MIN = 1 + 1 + 2 + 8 + 2,
};

// The second byte of a request's body. False: it is a question (ledger/memory_wire.h).
bool control_is_request(struct bytes body);
// Append a whole frame.
void control_request_write(const struct control_request *request, struct buffer *out);
void control_answer_write(
    const struct control_answer *answer, const struct error *error, struct buffer *out);
// body: a frame without its size. False: another version, or it makes no sense.
bool control_request_read(struct bytes body, struct control_request *out);
// error: what the other side said; status OK: it was done.
bool control_answer_read(struct bytes body, struct control_answer *out, struct error *error);
