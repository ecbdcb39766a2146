#pragma once
// What tallyd says over HTTP: /metrics (Prometheus), /health (JSON), /rejects (NDJSON).
//
//     struct http_facts facts = {.ledger = ledger, .rejects = rejects, .metrics = &metrics};
//     struct exporter_options options = {..., .answer = http_answer, .context = &facts};
//
// Owner: main; lives until exporter_stop. Thread: http_answer runs on the exporter's.

#include "base/buffer.h"
#include "ingest/metrics.h"
#include "ingest/rejects.h"
#include "ledger/ledger.h"

enum { HTTP_STALL_MAX_S = 10 };

struct http_facts {
    struct ledger *ledger;
    struct rejects *rejects;
    struct ingest_metrics *metrics;
};

int http_answer(void *context, const char *path, struct buffer *out, const char **out_type);
