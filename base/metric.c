#include "base/metric.h"

#include <inttypes.h>

// Relaxed everywhere: a metric orders nothing, it only must not lose an addition.
void
metric_add(struct metric *metric, int64_t delta)
{
    atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

void
metric_set(struct metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

int64_t
metric_get(const struct metric *metric)
{
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

// Help text: backslash and newline are escaped (text format 0.0.4).
static void
help_print(struct buffer *out, const char *help)
{
    for (const char *at = help; *at != '\0'; at++) {
        if (*at == '\\')
            buffer_text(out, "\\\\");
        else if (*at == '\n')
            buffer_text(out, "\\n");
        else
            buffer_put(out, at, 1);
    }
}

static void
head_print(struct buffer *out, const struct metric *metric)
{
    if (metric->help != NULL) {
        buffer_format(out, "# HELP %s ", metric->name);
        help_print(out, metric->help);
        buffer_text(out, "\n");
    }
    const char *kind = metric->kind == METRIC_KIND_COUNTER ? "counter" : "gauge";
    buffer_format(out, "# TYPE %s %s\n", metric->name, kind);
}

void
metrics_print(const struct metric *const *metrics, size_t count, struct buffer *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct metric *metric = metrics[i];
        if (i == 0 || strcmp(metric->name, metrics[i - 1]->name) != 0)
            head_print(out, metric);
        buffer_text(out, metric->name);
        if (metric->labels != NULL && metric->labels[0] != '\0')
            buffer_format(out, "{%s}", metric->labels);
        buffer_format(out, " %" PRId64 "\n", metric_get(metric));
    }
}
