#pragma once
// Requests that are carried out once, however often they are sent: the header Idempotency-Key of
// draft-ietf-httpapi-idempotency-key-header, on routes that create something (ROUTE_CREATES).
//
//     if (!idempotency_begin(call)) return;       // it was answered
//     handler(call);
//     idempotency_end(call);
//
// A key belongs to the API key that it came with, and to one request (method, target and body). The
// first is carried out and its answer kept for IDEMPOTENCY_KEPT_S when it is a 2xx; what failed may
// be tried again under the same key, changed or not. The same request again is given the same
// answer, with `Idempotency-Replayed: true`; another one under the key is 422; one while the first
// is under way is 409. A server that died over the first is given IDEMPOTENCY_LEASE_S, then the
// same request is carried out anew: what it makes has to bear that, and everything here does, for a
// second one of the same name is refused.
// All is in PostgreSQL, so it holds for several servers, and without it such a request is 503.
// Thread: a worker's.

#include "api/call.h"

enum { IDEMPOTENCY_KEPT_S = 86400, IDEMPOTENCY_LEASE_S = 60, IDEMPOTENCY_KEY_MAX = 255 };

// False: it was answered. True also without the header, and on other routes.
bool idempotency_begin(struct call *call) CHECKED;
void idempotency_end(struct call *call);
