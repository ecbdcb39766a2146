#pragma once
// Content codings: bodies that came compressed, answers that go compressed.
//
//     if (coding_takes_gzip(http_field(request, "Accept-Encoding"))) ...
//     if (!coding_inflate(call)) return;           // it was answered: 400, 413, 415 or 503
//     handler(call);
//     coding_deflate(call);
//
// gzip is the only coding. An answer is compressed from CODING_SIZE_MIN bytes on, when the client
// takes it; one that could be says so in Vary. A body is inflated after the key was checked, to at
// most --body-max bytes and CODING_RATIO_MAX times what came, and what it may become counts among
// the bodies that are held (api/http.h) beforehand. Thread: a worker's.

#include "api/call.h"

enum { CODING_SIZE_MIN = 1024, CODING_RATIO_MAX = 200 };

// By RFC 9110: gzip or x-gzip or * with a weight that is not 0. NULL: no.
bool coding_takes_gzip(const char *accept) CHECKED;
// Leaves what is not compressed as it is. call->request has the inflated body after that; the
// buffer is api_handle's to give back.
bool coding_inflate(struct call *call) CHECKED;
void coding_deflate(struct call *call);
