#include "base/metric.h"

#include <criterion/criterion.h>

Test(metric, adds_sets_and_reads)
{
    struct metric metric = METRIC_GAUGE("g", "a gauge");
    metric_add(&metric, 5);
    metric_add(&metric, -7);
    cr_assert_eq(metric_get(&metric), -2);
    metric_set(&metric, 40);
    cr_assert_eq(metric_get(&metric), 40);
    cr_assert_eq(metric.kind, METRIC_KIND_GAUGE);
}

Test(metric, prints_the_text_format)
{
    struct metric events = METRIC_COUNTER("tally_events_total", "events received");
    struct metric time = {
        .name = "tally_rejects_total", .labels = "reason=\"time\"", .help = "a\\b\nc"};
    struct metric size = {.name = "tally_rejects_total", .labels = "reason=\"size\""};
    struct metric memory = METRIC_GAUGE("tally_memory_bytes", NULL);
    metric_add(&events, INT64_MAX);
    metric_add(&size, 3);
    metric_set(&memory, -1);
    const struct metric *const list[] = {&events, &time, &size, &memory};
    scoped(buffer_done) struct buffer out = {0};
    metrics_print(list, 4, &out);
    buffer_u8(&out, 0);
    cr_assert_str_eq(
        (const char *)out.data,
        "# HELP tally_events_total events received\n"
        "# TYPE tally_events_total counter\n"
        "tally_events_total 9223372036854775807\n"
        "# HELP tally_rejects_total a\\\\b\\nc\n"
        "# TYPE tally_rejects_total counter\n"
        "tally_rejects_total{reason=\"time\"} 0\n"
        "tally_rejects_total{reason=\"size\"} 3\n"
        "# TYPE tally_memory_bytes gauge\n"
        "tally_memory_bytes -1\n");
}

Test(metric, prints_nothing_of_nothing)
{
    scoped(buffer_done) struct buffer out = {0};
    metrics_print(NULL, 0, &out);
    cr_assert_eq(out.size, 0);
}
