#pragma once
// What a request's head must not have, beside what libmicrohttpd refuses: whatever two servers in a
// row might read differently, so that no request hides in another one (RFC 9112, 3.2, 5.1, 6.1).
//
//     const char *fault = http_head_fault(&request);     // NULL: none
//
// Thread: any.

#include "api/http.h"

const char *http_head_fault(const struct http_request *request);
