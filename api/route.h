#pragma once
// The API as one table: a method, a path, who may, what answers.
//
//     const struct route *route = route_find("GET", &target, params, &allowed);
//     if (route == NULL) allowed[0] != '\0' ? 405 : 404
//
// A part of a path in braces matches any one part that is not empty. tests/api hold the table and
// api/openapi.yaml together. Thread: any.

#include "api/call.h"

struct route {
    const char *method;  // NULL ends the table
    const char *path;
    unsigned scopes;  // of billing/api_key.h, any of which will do; none: anybody
    void (*handle)(struct call *call);
};

extern const struct route ROUTES[];

enum {
    ROUTE_ALLOWED_MAX = 64,
    // Beside scopes: not counted against what an address may ask without a key (api/caller.h).
    ROUTE_UNCOUNTED = 1 << 16,
    // Beside scopes: takes Idempotency-Key (api/idempotency.h).
    ROUTE_CREATES = 1 << 17,
    // Beside scopes: its handler takes quick calls (api/call.h).
    ROUTE_QUICK = 1 << 18,
    ROUTE_FLAGS = ROUTE_UNCOUNTED | ROUTE_CREATES | ROUTE_QUICK,
};

// HEAD finds the route of GET. params: the parts in braces. out_allowed: when there is none for the
// method: "GET, HEAD, OPTIONS", the methods that the path has, or "" when there is no such path.
const struct route *route_find(
    const char *method,
    const struct target *target,
    const char *params[CALL_PARAMS_MAX],
    char out_allowed[ROUTE_ALLOWED_MAX]);
size_t routes_count(void);
