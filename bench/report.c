#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool
report_format_parse(const char *text, enum report_format *out)
{
    if (strcmp(text, "table") == 0)
        *out = REPORT_TABLE;
    else if (strcmp(text, "json") == 0)
        *out = REPORT_JSON;
    else
        return false;
    return true;
}

static double
seconds_of(int64_t ns)
{
    return (double)ns / 1e9;
}

static double
per_second(const struct report *report)
{
    return report->elapsed_ns > 0 ? (double)report->events_acked / seconds_of(report->elapsed_ns)
                                  : 0;
}

static double
percentile_us(const struct report *report, uint32_t hundredths)
{
    return (double)histogram_percentile(&report->latency, hundredths) / 1e3;
}

// --- JSON ---

// Our writer has no fractions: a number is written with as many decimals as make sense.
void
report_json_real(struct json_out *json, const char *key, double value, int decimals)
{
    scoped(buffer_done) struct buffer text = {0};
    buffer_format(&text, "%.*f", decimals, value);
    buffer_u8(&text, 0);
    json_key(json, key);
    json_raw(json, (const char *)text.data);
}

void
report_json_pauses(struct json_out *json, const struct pauses_found *pauses)
{
    if (!pauses_are_known(pauses)) {
        json_key(json, "machine_paused_percent");
        json_null(json);
        json_key(json, "machine_pause_max_us");
        json_null(json);
        return;
    }
    report_json_real(json, "machine_paused_percent", pauses_percent(pauses), 3);
    report_json_real(json, "machine_pause_max_us", (double)pauses->max_ns / 1e3, 0);
}

double
report_member(const struct json *object, const char *name)
{
    char text[64];
    const struct json *member = json_member(object, name);
    if (member == NULL || member->type != JSON_NUMBER)
        return 0;
    (void)bytes_to_text(member->text, text, sizeof text);
    return strtod(text, NULL);
}

static void
json_count(struct json_out *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_int(json, (int64_t)value);
}

static void
conditions_json(struct json_out *json, const struct report *report)
{
    const struct report_conditions *conditions = &report->conditions;
    json_key(json, "conditions");
    json_begin(json, '{');
    json_key(json, "loop");
    json_text(json, conditions->rate > 0 ? "open" : "closed");
    json_count(json, "rate", conditions->rate);
    json_count(json, "connections", conditions->connections);
    json_count(json, "in_flight", conditions->in_flight);
    json_count(json, "threads", conditions->threads);
    json_count(json, "shards", conditions->shards);
    json_count(json, "chunk", conditions->generate.chunk_events);
    json_count(json, "event_size", conditions->generate.event_size);
    json_count(json, "subjects", conditions->generate.subjects);
    json_count(json, "duplicates_percent", conditions->generate.duplicates_percent);
    report_json_real(json, "zipf", conditions->zipf, 2);
    json_count(json, "hot_subject_percent", conditions->hot_percent);
    json_count(json, "idle_connections", conditions->idle_connections);
    json_count(json, "slow_clients", conditions->slow_clients);
    json_count(json, "sync_delay_ms", conditions->sync_delay_ms);
    json_count(json, "prefill", conditions->prefill);
    json_key(json, "transport");
    json_text(json, transport_name(conditions->transport));
    json_count(json, "meters", CHECK_METERS);
    json_count(json, "seed", conditions->seed);
    json_key(json, "server");
    json_text(json, conditions->server != NULL ? conditions->server : "private");
    json_end(json, '}');
}

static void
server_json(struct json_out *json, const struct report *report)
{
    if (!report->has_server) {
        json_key(json, "server_cpu_seconds");
        json_null(json);
        json_key(json, "server_anon_bytes");
        json_null(json);
        return;
    }
    report_json_real(json, "server_cpu_seconds", seconds_of(report->server_cpu_ns), 3);
    json_count(json, "server_anon_bytes", report->server_anon_bytes);
    if (report->events_acked > 0)
        report_json_real(
            json,
            "server_cpu_ns_per_event",
            (double)report->server_cpu_ns / (double)report->events_acked,
            1);
    report_json_real(json, "server_ready_seconds", seconds_of(report->server_ready_ns), 3);
    json_count(json, "server_disk_bytes_before", report->server_disk_before);
    json_count(json, "server_disk_bytes", report->server_disk_after);
    if (report->server_restart_ns > 0)
        report_json_real(json, "server_restart_seconds", seconds_of(report->server_restart_ns), 3);
}

static void
report_json(const struct report *report, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    json_count(&json, "events_acked", report->events_acked);
    report_json_real(&json, "seconds", seconds_of(report->elapsed_ns), 3);
    report_json_real(&json, "events_acked_per_second", per_second(report), 0);
    report_json_real(&json, "ack_p50_us", percentile_us(report, 5000), 0);
    report_json_real(&json, "ack_p99_us", percentile_us(report, 9900), 0);
    report_json_real(&json, "ack_p999_us", percentile_us(report, 9990), 0);
    report_json_real(&json, "ack_max_us", (double)report->latency.max / 1e3, 0);
    report_json_pauses(&json, &report->pauses);
    server_json(&json, report);
    json_key(&json, "usage_matches");
    if (report->has_usage)
        json_bool(&json, report->usage.matches);
    else
        json_null(&json);
    json_count(&json, "duplicates", report->duplicates);
    json_count(&json, "rejected", report->rejected);
    json_count(&json, "conflicts", report->conflicts);
    if (report->conditions.transport == TRANSPORT_UDP)
        json_count(&json, "datagrams_resent", report->resent);
    conditions_json(&json, report);
    json_end(&json, '}');
    buffer_text(out, "\n");
}

// --- the table ---

// 12345678 -> 12,345,678
const char *
report_grouped(uint64_t value, char out[REPORT_NUMBER_MAX])
{
    char digits[REPORT_NUMBER_MAX];
    int size = snprintf(digits, sizeof digits, "%" PRIu64, value);
    int at = 0;
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

// What is not so in a run by default.
static void
unusual_table(const struct report_conditions *conditions, struct buffer *out)
{
    char count[REPORT_NUMBER_MAX];
    if (conditions->zipf > 0)
        buffer_format(out, "subjects by Zipf's law, exponent %.2f,\n", conditions->zipf);
    if (conditions->hot_percent > 0)
        buffer_format(out, "one subject with %u %% of all events,\n", conditions->hot_percent);
    if (conditions->idle_connections > 0)
        buffer_format(
            out, "%s idle connections,\n", report_grouped(conditions->idle_connections, count));
    if (conditions->slow_clients > 0)
        buffer_format(
            out, "%s slow clients beside,\n", report_grouped(conditions->slow_clients, count));
    if (conditions->sync_delay_ms > 0)
        buffer_format(
            out, "each fsync %s ms longer,\n", report_grouped(conditions->sync_delay_ms, count));
    if (conditions->prefill > 0)
        buffer_format(
            out, "%s identities known before,\n", report_grouped(conditions->prefill, count));
}

static void
conditions_table(const struct report *report, struct buffer *out)
{
    const struct report_conditions *conditions = &report->conditions;
    char subjects[REPORT_NUMBER_MAX], rate[REPORT_NUMBER_MAX];
    if (conditions->rate > 0)
        buffer_format(out, "open loop at %s events/s", report_grouped(conditions->rate, rate));
    else
        buffer_text(out, "closed loop");
    buffer_format(
        out,
        ", %u connections (%s) x %u chunks of %u events in flight,\n"
        "%u-byte events with UUID ids, %s subjects, %u %% duplicates, %d meters, seed %" PRIu64
        ",\n",
        conditions->connections,
        transport_name(conditions->transport),
        conditions->in_flight,
        conditions->generate.chunk_events,
        conditions->generate.event_size,
        report_grouped(conditions->generate.subjects, subjects),
        conditions->generate.duplicates_percent,
        CHECK_METERS,
        conditions->seed);
    unusual_table(conditions, out);
    if (conditions->server != NULL)
        buffer_format(out, "server %s\n\n", conditions->server);
    else
        buffer_format(
            out,
            "a private tallyd with %u shards on this machine, fsync before every ack\n\n",
            conditions->shards);
}

static void
row(struct buffer *out, const char *name, const char *value, const char *unit)
{
    buffer_format(out, "  %-22s %16s%s%s\n", name, value, unit[0] != '\0' ? " " : "", unit);
}

static void
row_real(struct buffer *out, const char *name, double value, int decimals, const char *unit)
{
    scoped(buffer_done) struct buffer text = {0};
    buffer_format(&text, "%.*f", decimals, value);
    buffer_u8(&text, 0);
    row(out, name, (const char *)text.data, unit);
}

static void
row_count(struct buffer *out, const char *name, uint64_t value, const char *unit)
{
    char text[REPORT_NUMBER_MAX];
    row(out, name, report_grouped(value, text), unit);
}

void
report_pauses(const struct pauses_found *pauses, struct buffer *out)
{
    if (!pauses_are_known(pauses))
        buffer_text(out, "unknown: no right to start real-time threads");
    else
        buffer_format(
            out,
            "%.2f %% of the time for more than 1 ms, %.1f ms at most",
            pauses_percent(pauses),
            (double)pauses->max_ns / 1e6);
}

// How much of the latencies is the machine's own.
static void
pauses_table(const struct report *report, struct buffer *out)
{
    scoped(buffer_done) struct buffer text = {0};
    report_pauses(&report->pauses, &text);
    buffer_u8(&text, 0);
    buffer_format(out, "  %-22s %s\n", "machine paused", (const char *)text.data);
}

static void
server_table(const struct report *report, struct buffer *out)
{
    if (!report->has_server)
        return;
    double cpu_s = seconds_of(report->server_cpu_ns);
    row_real(out, "server CPU", cpu_s, 2, "s");
    if (report->events_acked > 0)
        row_real(out, "server CPU an event", cpu_s * 1e9 / (double)report->events_acked, 0, "ns");
    if (report->events_acked > 0)
        row_real(
            out,
            "disk an event",
            ((double)report->server_disk_after - (double)report->server_disk_before) /
                (double)report->events_acked,
            0,
            "bytes");
    row_real(out, "ready after", seconds_of(report->server_ready_ns), 2, "s");
    if (report->server_restart_ns > 0)
        row_real(
            out, "ready after kill -9", seconds_of(report->server_restart_ns), 2, "s, pages warm");
    row_real(
        out, "server memory", (double)report->server_anon_bytes / (1 << 20), 1, "MiB anonymous");
}

static void
usage_table(const struct report *report, struct buffer *out)
{
    if (!report->has_usage) {
        bool is_other = report->conditions.server != NULL;
        row(out, "usage", "not checked", is_other ? "(another's server)" : "(interrupted)");
        return;
    }
    row(out, "usage", report->usage.matches ? "matches" : "DIFFERS", "");
    for (size_t i = 0; !report->usage.matches && i < CHECK_METERS; i++) {
        char expected[DECIMAL_TEXT_MAX], found[DECIMAL_TEXT_MAX];
        (void)decimal_print(report->usage.expected[i], expected);
        (void)decimal_print(report->usage.found[i], found);
        buffer_format(
            out, "    %-20s sent %s, usage says %s\n", CHECK_METER_KEYS[i], expected, found);
    }
}

static void
report_table(const struct report *report, struct buffer *out)
{
    conditions_table(report, out);
    row_count(out, "events acked", report->events_acked, "");
    row_real(out, "in", seconds_of(report->elapsed_ns), 2, "s");
    row_count(out, "rate", (uint64_t)per_second(report), "events/s");
    row_real(out, "ack p50", percentile_us(report, 5000) / 1e3, 2, "ms");
    row_real(out, "ack p99", percentile_us(report, 9900) / 1e3, 2, "ms");
    row_real(out, "ack p99.9", percentile_us(report, 9990) / 1e3, 2, "ms");
    row_real(out, "ack longest", (double)report->latency.max / 1e6, 2, "ms");
    pauses_table(report, out);
    row_count(out, "duplicates", report->duplicates, "");
    if (report->conditions.transport == TRANSPORT_UDP)
        row_count(out, "sent again", report->resent, "datagrams");
    if (report->rejected > 0 || report->conflicts > 0) {
        row_count(out, "rejected", report->rejected, "");
        row_count(out, "conflicts", report->conflicts, "");
    }
    server_table(report, out);
    usage_table(report, out);
}

void
report_print(const struct report *report, enum report_format format, struct buffer *out)
{
    if (format == REPORT_JSON)
        report_json(report, out);
    else
        report_table(report, out);
}
