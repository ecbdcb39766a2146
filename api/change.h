#pragma once
// A change of what the ledger says (a correction, a step of a backfill, a cut), asked of tallyd.
//
//     struct control_request request = {.kind = CONTROL_CUT, .time_ns = at};
//     if (change_do(call, &request, &answer)) ... answer.number
//
// A worker waits for tallyd meanwhile, which makes one change at a time, so no more than
// CHANGES_MAX wait, and none longer than CHANGE_TIMEOUT_S. Thread: a worker's.

#include "api/call.h"
#include "ledger/control.h"

enum { CHANGES_MAX = 2, CHANGE_TIMEOUT_S = 30, CHANGE_WHO_MAX = ENTRY_WHO_MAX };

// False: it was answered. 404, 409 and 400 as the ledger refuses; 503 when tallyd is away, others
// wait already, or no answer came in time; 507 when there is no room.
bool change_do(
    struct call *call, const struct control_request *request, struct control_answer *out) CHECKED;
// Who makes it: as the request says, or whose key it is.
struct bytes change_who(const struct call *call, const char *who);
