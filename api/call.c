#include "api/call.h"

#include "base/assert.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int status;
    const char *reason;
} REASONS[] = {
    {200, "OK"                    },
    {201, "Created"               },
    {202, "Accepted"              },
    {204, "No Content"            },
    {400, "Bad Request"           },
    {401, "Unauthorized"          },
    {403, "Forbidden"             },
    {404, "Not Found"             },
    {405, "Method Not Allowed"    },
    {409, "Conflict"              },
    {413, "Content Too Large"     },
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content" },
    {429, "Too Many Requests"     },
    {500, "Internal Server Error" },
    {503, "Service Unavailable"   },
    {507, "Insufficient Storage"  },
};

const char *
call_reason(int status)
{
    for (size_t i = 0; i < sizeof REASONS / sizeof REASONS[0]; i++)
        if (REASONS[i].status == status)
            return REASONS[i].reason;
    return "";
}

struct json_out *
call_json(struct call *call, int status)
{
    must(call->response->status == 0);
    call->response->status = status;
    call->response->content_type = "application/json";
    call->json = json_out_to(&call->response->body);
    return &call->json;
}

void
call_empty(struct call *call, int status)
{
    must(call->response->status == 0);
    call->response->status = status;
}

static void
member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
parameters_write(struct json_out *out, const struct call_fault *faults, size_t count)
{
    json_key(out, "invalid_parameters");
    json_begin(out, '[');
    for (size_t i = 0; i < count; i++) {
        json_begin(out, '{');
        member_text(out, "field", faults[i].place);
        member_text(out, "reason", faults[i].text);
        member_text(out, "source", "body");
        json_end(out, '}');
    }
    json_end(out, ']');
}

static void
faults_write(struct json_out *out, const struct call_fault *faults, size_t count)
{
    json_key(out, "extensions");
    json_begin(out, '{');
    json_key(out, "validationErrors");
    json_begin(out, '[');
    for (size_t i = 0; i < count; i++) {
        json_begin(out, '{');
        if (faults[i].code != NULL)
            member_text(out, "code", faults[i].code);
        member_text(out, "field", faults[i].place);
        member_text(out, "message", faults[i].text);
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
    if (faults[0].code != NULL)
        parameters_write(out, faults, count);
}

// What a handler has begun to write is dropped.
void
call_faults(
    struct call *call,
    int status,
    const char *detail,
    const struct call_fault *faults,
    size_t count)
{
    buffer_reset(&call->response->body);
    call->response->status = 0;
    struct json_out *out = call_json(call, status);
    call->response->content_type = "application/problem+json";
    json_begin(out, '{');
    member_text(out, "type", "about:blank");
    member_text(out, "title", call_reason(status));
    json_key(out, "status");
    json_int(out, status);
    member_text(out, "detail", detail);
    member_text(out, "instance", arena_format(call->arena, "urn:request:%s", call->id));
    if (count > 0)
        faults_write(out, faults, count);
    json_end(out, '}');
}

void
call_problem(struct call *call, int status, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    call_faults(call, status, text, NULL, 0);
}

void
call_away(struct call *call, const char *detail)
{
    call_problem(call, 503, "%s", detail);
    http_add(call->response, "Retry-After", "1");
}

void
call_failed(struct call *call, const struct error *error)
{
    switch (error->status) {
    case STATUS_INVALID: call_problem(call, 400, "%s", error->text); return;
    case STATUS_NOT_FOUND: call_problem(call, 404, "%s", error->text); return;
    case STATUS_EXISTS: call_problem(call, 409, "%s", error->text); return;
    case STATUS_OVERFLOW: call_problem(call, 422, "%s", error->text); return;
    case STATUS_BUSY:
    case STATUS_TIMEOUT:
    case STATUS_CLOSED: call_away(call, error->text); return;
    case STATUS_OK:
    case STATUS_FULL:
    case STATUS_CORRUPT:
    case STATUS_NO_MEMORY:
    case STATUS_IO: break;
    }
    log_error("request_failed", LOG_TEXT("request", call->id), LOG_TEXT("error", error->text));
    call_problem(call, 500, "Something failed here; the log has it under request %s.", call->id);
}
