#pragma once
// One request being answered: what a handler of api/routes/ is given, and how it answers.
//
//     void meter_get(struct call *call)
//     {
//         const char *key = call->params[0];
//         ...
//         call_problem(call, 404, "there is no meter %s", key);
//         // or
//         struct json_out *out = call_json(call, 200); json_begin(out, '{'); ...
//     }
//
// A handler answers exactly once; one that does not is answered 500. A call that is_quick is made
// on a thread that must not wait: its handler may answer at once, or call_later and have whoever
// knows the answer call call_continue.
// Owner: whoever handles the request. Thread: a worker's, or a quick one a loop's.

#include "api/http.h"
#include "api/keys.h"
#include "api/target.h"
#include "base/json.h"

enum { CALL_PARAMS_MAX = 4, CALL_ID_MAX = 64 };

struct api;
struct route;

struct call {
    struct api *api;
    const struct route *route;
    const struct http_request *request;
    struct http_response *response;
    struct arena *arena;
    struct target target;
    const char *params[CALL_PARAMS_MAX];  // of the route's pattern, in its order
    const char *id;                       // of the request, ours or the client's
    const char *client;                   // the address that asked, behind proxies of ours
    enum keys_verdict verdict;            // on the key that was shown
    struct keys_grant grant;              // of a good one
    const char *key_id;                   // whose key it is; NULL: nobody's
    const char *once_key;                 // its Idempotency-Key, while it is the first with it
    const char *once_attempt;             // of api/idempotency.h
    bool is_quick;
    void (*resume)(struct call *call);  // of a quick one that is answered later
    void *resume_state;                 // the handler's
    int64_t began_ns;                   // by clock_monotonic_ns
    struct json_out json;
    struct http_request inflated_request;  // what request is when its body came compressed
    struct buffer inflated;
};

// What is wrong with one place of a request's body.
struct call_fault {
    const char *place;  // "[3].subject"
    const char *text;
    const char *code;  // "invalid_group_by"; NULL: none
};

// A body of JSON (application/json), to be written before the handler returns.
struct json_out *call_json(struct call *call, int status);
void call_empty(struct call *call, int status);
// application/problem+json as RFC 9457 has it; the detail tells a person what to do.
void call_problem(struct call *call, int status, const char *format, ...) PRINTF_LIKE(3, 4);
// The same with extensions.validationErrors, and, where they have codes, with invalid_parameters as
// version 3 of OpenMeter's API has them.
void call_faults(
    struct call *call,
    int status,
    const char *detail,
    const struct call_fault *faults,
    size_t count);
// By the status of what failed: not found 404, invalid 400, exists 409, busy, closed and timeout
// 503, overflow 422; the rest is 500, is logged, and keeps its text to itself.
void call_failed(struct call *call, const struct error *error);
// 503 with Retry-After.
void call_away(struct call *call, const char *detail);

// For the handler of a quick call: `resume` makes the answer, once call_continue was called, on any
// thread. Nobody else uses the call until then.
void call_later(struct call *call, void (*resume)(struct call *call), void *state);
void call_continue(struct call *call);

const char *call_reason(int status);
