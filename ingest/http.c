#include "ingest/http.h"

#include "base/json.h"

#include <stdio.h>

static void
metrics_answer(const struct http_facts *facts, struct buffer *out)
{
    const struct metric *list[INGEST_METRICS_MAX];
    metrics_print(list, ingest_metrics_list(facts->metrics, list), out);
    const struct metric *const *ledger_list = NULL;
    size_t count = ledger_metrics(facts->ledger, &ledger_list);
    metrics_print(ledger_list, count, out);
}

// NULL: nothing is wrong. text is room for a reason.
static const char *
health_reason(const struct http_facts *facts, char *text, size_t text_size)
{
    const char *failure = NULL;
    if (ledger_failure(facts->ledger, &failure))
        return failure;
    int64_t stall_ns = ledger_stall_ns(facts->ledger);
    if (stall_ns <= HTTP_STALL_MAX_S * SECOND_NS)
        return NULL;
    (void)snprintf(
        text, text_size, "a writer has made no progress for %d s", (int)(stall_ns / SECOND_NS));
    return text;
}

static int
health_answer(const struct http_facts *facts, struct buffer *out)
{
    char text[64];
    const char *reason = health_reason(facts, text, sizeof text);
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    json_key(&json, "status");
    json_text(&json, reason == NULL ? "ok" : "failing");
    if (reason != NULL) {
        json_key(&json, "reason");
        json_text(&json, reason);
    }
    json_end(&json, '}');
    buffer_text(out, "\n");
    return reason == NULL ? 200 : 503;
}

int
http_answer(void *context, const char *path, struct buffer *out, const char **out_type)
{
    const struct http_facts *facts = context;
    if (strcmp(path, "/metrics") == 0) {
        *out_type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_answer(facts, out);
        return 200;
    }
    if (strcmp(path, "/health") == 0) {
        *out_type = "application/json";
        return health_answer(facts, out);
    }
    if (strcmp(path, "/rejects") == 0) {
        *out_type = "application/x-ndjson";
        rejects_collect(facts->rejects);
        rejects_print(facts->rejects, out);
        return 200;
    }
    buffer_text(out, "there is /metrics, /health and /rejects\n");
    return 404;
}
