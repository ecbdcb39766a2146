// The API's own description: for people at /api/docs, for programs as YAML and JSON.

#include "api/description.h"

#include "api/api.h"
#include "api/call.h"
#include "api/routes.h"

static void
text_answer(struct call *call, const char *content_type, struct bytes text)
{
    call_empty(call, 200);
    call->response->content_type = content_type;
    buffer_bytes(&call->response->body, text);
    http_add(call->response, "Cache-Control", "no-cache");
}

void
description_page_get(struct call *call)
{
    text_answer(call, "text/html; charset=utf-8", call->api->description->html);
    http_add(
        call->response,
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'");
    http_add(call->response, "Referrer-Policy", "no-referrer");
}

void
description_yaml_get(struct call *call)
{
    text_answer(call, "application/yaml", call->api->description->yaml);
}

void
description_json_get(struct call *call)
{
    text_answer(call, "application/json", call->api->description->json);
}
