// GET /api/v1/ingest/stream: live figures as server-sent events.

#include "api/api.h"
#include "api/call.h"
#include "api/routes.h"

#include <string.h>

// The first line is a comment, so that a client sees at once that it is connected.
void
ingest_stream_get(struct call *call)
{
    bool is_head = strcmp(call->request->method, "HEAD") == 0;
    if (!is_head && !http_stream(call->request)) {
        call_away(call, "As many clients listen as may (--streams-max); try again.");
        return;
    }
    call_empty(call, 200);
    call->response->content_type = "text/event-stream";
    http_add(call->response, "Cache-Control", "no-store");
    http_add(call->response, "X-Accel-Buffering", "no");
    buffer_text(&call->response->body, ": connected\nretry: 2000\n\n");
}
