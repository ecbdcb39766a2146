#pragma once
// What `tally-bench http` found, as a table for people or one JSON object for programs.
//
//     http_report_print(&report, REPORT_JSON, &buffer);
//
// Values. Thread: any.

#include "base/buffer.h"
#include "base/decimal.h"
#include "bench/generate.h"
#include "bench/histogram.h"
#include "bench/http_request.h"
#include "bench/pauses.h"
#include "bench/report.h"

enum http_phase { HTTP_BATCH, HTTP_SINGLE, HTTP_QUERY, HTTP_PHASES };

struct http_row {
    bool is_run;
    uint64_t requests, events;
    uint32_t connections;
    double rate;  // requests a second that were due; 0: closed loop
    int64_t elapsed_ns;
    struct histogram latency;
    struct pauses_found pauses;
    bool has_cpu;
    int64_t api_cpu_ns, tallyd_cpu_ns;
    // Of the stream beside queries; 0: there was none.
    double stream_rate;  // events a second that were due
    uint64_t stream_events;
    int64_t stream_ns;
};

struct http_report {
    const char *server;  // NULL: a private one
    uint32_t batch, subjects, duplicates_percent, shards;
    uint64_t seed;
    struct http_row rows[HTTP_PHASES];
    bool has_usage;  // it was looked whether the usage is what was sent
    bool matches;
    struct decimal expected[HTTP_METERS], found[HTTP_METERS];
    bool has_stream_usage, stream_matches;
};

extern const char *const HTTP_PHASE_NAMES[HTTP_PHASES];

void
http_report_print(const struct http_report *report, enum report_format format, struct buffer *out);
