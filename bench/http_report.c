#include "bench/http_report.h"

#include "base/json.h"

#include <inttypes.h>

const char *const HTTP_PHASE_NAMES[HTTP_PHASES] = {"batch", "single", "query"};

static double
per_second(uint64_t count, int64_t ns)
{
    return ns > 0 ? (double)count / ((double)ns / 1e9) : 0;
}

// What a figure of CPU is divided by: events, or queries.
static double
share(int64_t cpu_ns, const struct http_row *row)
{
    uint64_t count = row->events > 0 ? row->events : row->requests;
    return count > 0 ? (double)cpu_ns / (double)count : 0;
}

static double
percentile_us(const struct http_row *row, uint32_t hundredths)
{
    return (double)histogram_percentile(&row->latency, hundredths) / 1e3;
}

// --- JSON ---

static void
count_json(struct json_out *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_int(json, (int64_t)value);
}

static void
row_json(struct json_out *json, const char *name, const struct http_row *row)
{
    json_begin(json, '{');
    json_key(json, "name");
    json_text(json, name);
    json_key(json, "loop");
    json_text(json, row->rate > 0 ? "open" : "closed");
    report_json_real(json, "requests_per_second_due", row->rate, 1);
    count_json(json, "connections", row->connections);
    count_json(json, "requests", row->requests);
    count_json(json, "events", row->events);
    report_json_real(json, "seconds", (double)row->elapsed_ns / 1e9, 3);
    report_json_real(json, "requests_per_second", per_second(row->requests, row->elapsed_ns), 1);
    report_json_real(json, "events_per_second", per_second(row->events, row->elapsed_ns), 0);
    report_json_real(json, "p50_us", percentile_us(row, 5000), 0);
    report_json_real(json, "p99_us", percentile_us(row, 9900), 0);
    report_json_real(json, "p999_us", percentile_us(row, 9990), 0);
    report_json_real(json, "max_us", (double)row->latency.max / 1e3, 0);
    report_json_pauses(json, &row->pauses);
    if (row->has_cpu) {
        report_json_real(json, "api_cpu_ns_each", share(row->api_cpu_ns, row), 0);
        report_json_real(json, "tallyd_cpu_ns_each", share(row->tallyd_cpu_ns, row), 0);
    }
    if (row->stream_rate > 0) {
        report_json_real(json, "stream_events_per_second_due", row->stream_rate, 0);
        report_json_real(
            json, "stream_events_per_second", per_second(row->stream_events, row->stream_ns), 0);
    }
    json_end(json, '}');
}

static void
usage_json(struct json_out *json, const struct http_report *report)
{
    json_key(json, "usage_matches");
    if (!report->has_usage) {
        json_null(json);
        return;
    }
    json_bool(json, report->matches);
    json_key(json, "usage");
    json_begin(json, '{');
    for (size_t i = 0; i < HTTP_METERS; i++) {
        char expected[DECIMAL_TEXT_MAX], found[DECIMAL_TEXT_MAX];
        decimal_print(report->expected[i], expected);
        decimal_print(report->found[i], found);
        json_key(json, HTTP_METER_KEYS[i]);
        json_begin(json, '{');
        json_key(json, "sent");
        json_text(json, expected);
        json_key(json, "answered");
        json_text(json, found);
        json_end(json, '}');
    }
    json_end(json, '}');
    if (report->has_stream_usage) {
        json_key(json, "stream_usage_matches");
        json_bool(json, report->stream_matches);
    }
}

static void
report_json(const struct http_report *report, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    json_key(&json, "server");
    json_text(&json, report->server != NULL ? report->server : "private");
    count_json(&json, "batch", report->batch);
    count_json(&json, "subjects", report->subjects);
    count_json(&json, "duplicates_percent", report->duplicates_percent);
    count_json(&json, "shards", report->shards);
    count_json(&json, "seed", report->seed);
    json_key(&json, "rows");
    json_begin(&json, '[');
    for (size_t i = 0; i < HTTP_PHASES; i++)
        if (report->rows[i].is_run)
            row_json(&json, HTTP_PHASE_NAMES[i], &report->rows[i]);
    json_end(&json, ']');
    usage_json(&json, report);
    json_end(&json, '}');
    buffer_text(out, "\n");
}

// --- the table ---

static void
row_print(const char *name, const struct http_row *row, struct buffer *out)
{
    char requests[REPORT_NUMBER_MAX], events[REPORT_NUMBER_MAX];
    buffer_format(
        out,
        "%-8s %6" PRIu32 " %10s %11s %9.2f %9.2f %9.2f %9.0f %9.0f\n",
        name,
        row->connections,
        report_grouped((uint64_t)per_second(row->requests, row->elapsed_ns), requests),
        report_grouped((uint64_t)per_second(row->events, row->elapsed_ns), events),
        percentile_us(row, 5000) / 1e3,
        percentile_us(row, 9900) / 1e3,
        percentile_us(row, 9990) / 1e3,
        share(row->api_cpu_ns, row),
        share(row->tallyd_cpu_ns, row));
}

// How much of the latencies is the machine's own.
static void
pauses_print(const struct http_report *report, struct buffer *out)
{
    struct pauses_found all = {0};
    for (size_t i = 0; i < HTTP_PHASES; i++)
        pauses_merge(&all, &report->rows[i].pauses);
    buffer_text(out, "Machine paused: ");
    report_pauses(&all, out);
    buffer_text(out, ".\n");
}

static void
notes_print(const struct http_report *report, struct buffer *out)
{
    const struct http_row *query = &report->rows[HTTP_QUERY];
    char due[REPORT_NUMBER_MAX], came[REPORT_NUMBER_MAX];
    if (query->is_run && query->stream_rate > 0)
        buffer_format(
            out,
            "\nBeside the queries %s events/s came over TCP (%s were due).\n",
            report_grouped((uint64_t)per_second(query->stream_events, query->stream_ns), came),
            report_grouped((uint64_t)query->stream_rate, due));
    buffer_text(
        out,
        "\nMilliseconds from when a request was due (open loop) or made to the end of its answer."
        "\nCPU: nanoseconds of tally-api and of tallyd, an event or a query.\n");
    pauses_print(report, out);
    if (report->has_usage)
        buffer_format(
            out, "Usage: %s.\n", report->matches ? "what was sent" : "DIFFERS from what was sent");
    for (size_t i = 0; report->has_usage && !report->matches && i < HTTP_METERS; i++) {
        char expected[DECIMAL_TEXT_MAX], found[DECIMAL_TEXT_MAX];
        decimal_print(report->expected[i], expected);
        decimal_print(report->found[i], found);
        buffer_format(out, "  %s: %s sent, %s answered\n", HTTP_METER_KEYS[i], expected, found);
    }
    if (report->has_stream_usage)
        buffer_format(
            out, "Of the stream: %s.\n", report->stream_matches ? "what was sent" : "DIFFERS");
}

static void
report_table(const struct http_report *report, struct buffer *out)
{
    buffer_format(
        out,
        "%s, batches of %" PRIu32 ", %" PRIu32 " subjects, %" PRIu32 " %% duplicates\n\n"
        "%-8s %6s %10s %11s %9s %9s %9s %9s %9s\n",
        report->server != NULL ? report->server : "a private stack",
        report->batch,
        report->subjects,
        report->duplicates_percent,
        "",
        "conns",
        "requests/s",
        "events/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "api ns",
        "tallyd ns");
    for (size_t i = 0; i < HTTP_PHASES; i++)
        if (report->rows[i].is_run)
            row_print(HTTP_PHASE_NAMES[i], &report->rows[i], out);
    notes_print(report, out);
}

void
http_report_print(const struct http_report *report, enum report_format format, struct buffer *out)
{
    if (format == REPORT_JSON)
        report_json(report, out);
    else
        report_table(report, out);
}
