#pragma once
// Live figures of ingest: a thread asks tallyd's /metrics once a second, for all who listen, and
// sends them what it finds (api/http.h, streams). While nobody listens it asks nobody.
//
//     live_start(data_dir, http, &live, &error);
//     live_stop(live);                            // before http_stop
//
// Owner: main. Thread: one of its own.

#include "api/http.h"

enum { LIVE_PERIOD_MS = 1000, LIVE_TIMEOUT_MS = 900 };

struct live;

// The figures of a moment, from the text of tallyd's /metrics.
struct live_figures {
    int64_t stored, duplicates, conflicts, rejected, bytes_received, connections;
};

void live_figures_read(const char *metrics, struct live_figures *out);

// data_dir must live as long.
enum status
live_start(const char *data_dir, struct http *http, struct live **out, struct error *error) CHECKED;
// NULL is accepted.
void live_stop(struct live *live);
