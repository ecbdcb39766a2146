#pragma once
// The body of a request as events, to tallyd; answers what became of them. What POST
// /api/v1/events and the events of a backfill share (api/routes/events.c).
//
//     events_take(call, call->api->ingest, false);
//
// Thread: a worker's.

#include "api/call.h"
#include "api/ingest.h"

// is_strict: by the rules of OpenMeter's version 3 (202; parameters of the content type; no member
// that CloudEvents do not have).
void events_take(struct call *call, struct ingest *ingest, bool is_strict);
