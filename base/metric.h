#pragma once
// Counters and gauges that many threads write and one thread prints.
//
//     static struct metric events = METRIC_COUNTER("tally_events_total", "events received");
//     metric_add(&events, 1);                     // relaxed atomic
//     metrics_print(list, count, &buffer);        // Prometheus text format 0.0.4
//
// Zeroed storage is valid. Labels are part of the row ("reason=\"time\""). Rows of one name must be
// adjacent in the printed list: HELP and TYPE are written once for them. Thread: any.

#include "base/buffer.h"

#include <stdatomic.h>
#include <stdint.h>

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE };

struct metric {
    const char *name;
    const char *labels;  // without braces, or NULL
    const char *help;
    enum metric_kind kind;
    _Atomic int64_t value;
};

#define METRIC_COUNTER(metric_name, metric_help)                                                   \
    {                                                                                              \
        .name = (metric_name), .help = (metric_help), .kind = METRIC_KIND_COUNTER                  \
    }
#define METRIC_GAUGE(metric_name, metric_help)                                                     \
    {                                                                                              \
        .name = (metric_name), .help = (metric_help), .kind = METRIC_KIND_GAUGE                    \
    }

void metric_add(struct metric *metric, int64_t delta);
void metric_set(struct metric *metric, int64_t value);
int64_t metric_get(const struct metric *metric);
void metrics_print(const struct metric *const *metrics, size_t count, struct buffer *out);
