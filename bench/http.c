// A private stack (or the server that is named), one phase after the other, and the question
// whether the usage is what was sent.
#include "bench/http.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/progress.h"
#include "bench/check.h"
#include "bench/drive.h"
#include "bench/http_drive.h"
#include "bench/http_report.h"
#include "bench/http_stack.h"
#include "bench/pauses.h"
#include "bench/talk.h"
#include "ledger/ledger.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, LOOK_MS = 20 };
enum { STREAM_CHUNK = 1000, STREAM_CONNECTIONS = 4, STREAM_IN_FLIGHT = 8 };
enum { LANE_STREAM = HTTP_PHASES };  // lanes below it are those of the phases

static const int64_t SILENCE_NS = 60 * 1000000000LL;
static const uint32_t CONNECTIONS[HTTP_PHASES] = {32, 256, 16};

struct http_settings {
    int64_t seconds, requests, connections, batch, rate, queries, stream;
    int64_t subjects, duplicates, shards, seed;
    const char *to, *key, *meter, *dir, *format_text;
    enum report_format format;
};

#define OFFSET(member) offsetof(struct http_settings, member)
// clang-format off
#define INTEGER(option, member, fallback_text, low, high, value, text)                             \
    {.name = (option), .type = OPTION_INT, .offset = OFFSET(member), .fallback = (fallback_text),  \
     .min = (low), .max = (high), .value_name = (value), .help = (text)}
#define TEXT(option, member, variable, fallback_text, value, text)                                 \
    {.name = (option), .type = OPTION_TEXT, .offset = OFFSET(member), .env = (variable),           \
     .fallback = (fallback_text), .value_name = (value), .help = (text)}

static const struct option_row ROWS[] = {
    INTEGER("seconds", seconds, "10", 1, 86400, "S", "of each phase"),
    INTEGER("requests", requests, "0", 0, INT64_C(1) << 40, "N", "a phase ends after N; 0: no end"),
    INTEGER("connections", connections, "0", 0, HTTP_CONNECTIONS_MAX, "N",
            "kept connections; 0: batch 32, single 256, query 16"),
    INTEGER("batch", batch, "100", 1, 10000, "N", "events in a request of the phase batch"),
    INTEGER("rate", rate, "0", 0, 100000000, "R", "ingest in an open loop, events/s; 0: closed"),
    INTEGER("queries", queries, "1000", 0, 1000000, "R", "queries/s, an open loop; 0: closed"),
    INTEGER("stream", stream, "500000", 0, 100000000, "R",
            "events/s over TCP beside the queries; 0: none"),
    INTEGER("subjects", subjects, "10000", 1, 100000000, "N", "subjects"),
    INTEGER("duplicates", duplicates, "1", 0, 90, "PERCENT", "events that are sent again"),
    INTEGER("shards", shards, "0", 0, 256, "N", "shards of the private tallyd; 0: as it chooses"),
    INTEGER("seed", seed, "1", 0, INT64_MAX, "N", "of the events' content"),
    TEXT("to", to, NULL, NULL, "HOST:PORT",
         "a tally-api that runs; cost and usage are not looked at, and nothing streams"),
    TEXT("key", key, "TALLY_KEY", NULL, "KEY", "with --to: a key that may ingest and read"),
    TEXT("meter", meter, NULL, "http_tokens", "SLUG", "with --to: what is asked for"),
    TEXT("dir", dir, "TMPDIR", "/var/tmp", "DIR", "where the private stack keeps its data"),
    TEXT("format", format_text, NULL, "table", "table|json", "form of the result"),
    {.name = NULL},
};
// clang-format on

static const struct option_spec SPEC = {
    .program = "tally-bench http",
    .summary = "measures tally-api: events in batches and one by one, usage queries",
    .usage = "[options] [PHASE...]",
    .details =
        "Phases (all when none is named): batch, single, query. Starts PostgreSQL (unless\n"
        "DATABASE_URL names one), tallyd and tally-api of its own by `tally up`, and asks in the\n"
        "end over HTTP whether the usage is what was sent.\n"
        "Exit status: 0 success, 1 failure or wrong usage, 2 wrong options.\n",
    .rows = ROWS,
    .positional_max = HTTP_PHASES,
};

struct run {
    struct http_settings settings;
    bool is_wanted[HTTP_PHASES];
    struct http_stack stack;
    struct http_target target;
    struct endpoint http, tcp;
    struct generate_totals sent, streamed;
    struct http_report report;
};

// Set by the signal handler; a run that is interrupted stops its stack.
static volatile sig_atomic_t interrupted;

static void
interrupt_note(int signal)
{
    (void)signal;
    interrupted = 1;
}

static struct generate_options
generate_of(const struct run *run, uint32_t lane, uint32_t chunk_events)
{
    return (struct generate_options){
        .seed = (uint64_t)run->settings.seed,
        .lane = lane,
        .event_size = GENERATE_EVENT_MIN + 1,
        .chunk_events = chunk_events,
        .subjects = (uint32_t)run->settings.subjects,
        .duplicates_percent = (uint32_t)run->settings.duplicates,
    };
}

static void
totals_add(struct generate_totals *sum, const struct generate_totals *part)
{
    sum->events += part->events;
    sum->duplicates += part->duplicates;
    sum->value_sum += part->value_sum;
    sum->tokens_sum += part->tokens_sum;
}

// --- one drive from start to end ---

static void
drive_watch(const struct run *run, struct http_drive *drive, const char *name)
{
    struct progress progress;
    int64_t limit_ns = clock_monotonic_ns() + run->settings.seconds * SECOND_NS;
    progress_begin(&progress, name, drive->options.requests_max);
    while (!http_drive_is_over(drive)) {
        if (clock_monotonic_ns() >= limit_ns || interrupted)
            http_drive_stop(drive);
        progress_set(&progress, http_drive_answered(drive));
        (void)poll(NULL, 0, LOOK_MS);
    }
    progress_end(&progress);
}

static enum status
phase_drive(
    struct run *run,
    enum http_phase phase,
    const struct http_drive_options *options,
    struct error *error)
{
    static struct http_drive drive;  // large, and its thread knows its address
    struct http_row *row = &run->report.rows[phase];
    struct http_stack_sample before = {0}, after = {0};
    struct pauses pauses;
    bool is_private = run->settings.to == NULL;
    enum status status = STATUS_OK;
    if (is_private)
        status = http_stack_sample(&run->stack, &before, error);
    if (status == STATUS_OK)
        status = http_drive_start(&drive, options, error);
    if (status != STATUS_OK)
        return status;
    pauses_start(&pauses, PAUSES_BESIDE_NS);
    drive_watch(run, &drive, HTTP_PHASE_NAMES[phase]);
    status = http_drive_join(&drive, error);
    row->pauses = pauses_stop(&pauses);
    if (status == STATUS_OK && is_private)
        status = http_stack_sample(&run->stack, &after, error);
    row->is_run = true;
    row->requests = drive.answered;
    row->connections = options->connections;
    row->rate = options->requests_per_second;
    row->elapsed_ns = drive.ended_ns - drive.began_ns;
    row->has_cpu = is_private;
    row->api_cpu_ns = after.api_cpu_ns - before.api_cpu_ns;
    row->tallyd_cpu_ns = after.tallyd_cpu_ns - before.tallyd_cpu_ns;
    histogram_merge(&row->latency, &drive.latency);
    http_drive_done(&drive);
    return status;
}

static struct http_drive_options
drive_options_of(const struct run *run, enum http_phase phase)
{
    int64_t connections = run->settings.connections;
    return (struct http_drive_options){
        .endpoint = run->http,
        .connections = connections > 0 ? (uint32_t)connections : CONNECTIONS[phase],
        .requests_max = (uint64_t)run->settings.requests,
        .silence_ns = SILENCE_NS,
        .status = phase == HTTP_QUERY ? 200 : 204,
    };
}

// --- the phases ---

static enum status
ingest_run(struct run *run, enum http_phase phase, struct error *error)
{
    struct http_events events;
    uint32_t count = phase == HTTP_BATCH ? (uint32_t)run->settings.batch : 1;
    struct generate_options generate = generate_of(run, phase, count);
    enum status status = http_events_open(&events, &generate, &run->target, error);
    if (status != STATUS_OK)
        return status;
    struct http_drive_options options = drive_options_of(run, phase);
    options.requests_per_second = (double)run->settings.rate / count;
    options.make = http_events_make;
    options.context = &events;
    status = phase_drive(run, phase, &options, error);
    run->report.rows[phase].events = run->report.rows[phase].requests * count;
    totals_add(&run->sent, &events.generator.totals);
    http_events_close(&events);
    return status;
}

static enum status
stream_start(struct run *run, struct drive *stream, struct error *error)
{
    const struct drive_options options = {
        .generate = generate_of(run, LANE_STREAM, STREAM_CHUNK),
        .endpoint = run->tcp,
        .connections = STREAM_CONNECTIONS,
        .in_flight = STREAM_IN_FLIGHT,
        .chunks_per_second = (double)run->settings.stream / STREAM_CHUNK,
        .ack_timeout_ns = SILENCE_NS,
    };
    enum status status = drive_start(stream, &options, error);
    if (status != STATUS_OK)
        return status;
    // Subjects that are asked for should have usage.
    int64_t deadline_ns = clock_monotonic_ns() + SILENCE_NS;
    while (drive_acked(stream) == 0 && !drive_is_over(stream) && clock_monotonic_ns() < deadline_ns)
        (void)poll(NULL, 0, LOOK_MS);
    return STATUS_OK;
}

static enum status
stream_end(struct run *run, struct drive *stream, struct error *error)
{
    struct http_row *row = &run->report.rows[HTTP_QUERY];
    drive_stop(stream);
    enum status status = drive_join(stream, error);
    row->stream_rate = (double)run->settings.stream;
    row->stream_events = stream->chunks_acked * STREAM_CHUNK;
    row->stream_ns = stream->ended_ns - stream->began_ns;
    run->streamed = stream->generator.totals;
    drive_done(stream);
    return status;
}

static enum status
query_run(struct run *run, struct error *error)
{
    static struct drive stream;  // as above
    struct http_queries queries;
    struct error ended;
    bool has_stream = run->settings.stream > 0 && run->settings.to == NULL;
    // The stream's meters when there is one; its subjects are those of every lane.
    const char *meter = has_stream ? CHECK_METER_KEYS[CHECK_METERS - 1] : run->settings.meter;
    struct generate_options generate = generate_of(run, HTTP_QUERY, STREAM_CHUNK);
    enum status status = http_queries_open(&queries, &generate, &run->target, meter, error);
    if (status == STATUS_OK && has_stream)
        status = stream_start(run, &stream, error);
    if (status != STATUS_OK) {
        http_queries_close(&queries);
        return status;
    }
    struct http_drive_options options = drive_options_of(run, HTTP_QUERY);
    options.requests_per_second = (double)run->settings.queries;
    options.make = http_queries_make;
    options.context = &queries;
    status = phase_drive(run, HTTP_QUERY, &options, error);
    if (has_stream && stream_end(run, &stream, &ended) != STATUS_OK && status == STATUS_OK) {
        *error = ended;
        status = ended.status;
    }
    http_queries_close(&queries);
    return status;
}

static enum status
phases_run(struct run *run, struct error *error)
{
    enum status status = STATUS_OK;
    for (enum http_phase phase = 0; phase < HTTP_PHASES && status == STATUS_OK; phase++) {
        if (!run->is_wanted[phase] || interrupted)
            continue;
        status = phase == HTTP_QUERY ? query_run(run, error) : ingest_run(run, phase, error);
        if (status != STATUS_OK) {
            struct error cause = *error;
            return error_set(error, status, "%s: %s", HTTP_PHASE_NAMES[phase], cause.text);
        }
    }
    return status;
}

// --- the question in the end ---

// The body of an answer of 200.
static enum status
answer_get(struct talk *talk, struct bytes *out, struct error *error)
{
    struct bytes line;
    char text[64];
    size_t size = 0;
    enum status status = talk_line(talk, &line, error);
    bool is_good = status == STATUS_OK && line.size >= 12 && memcmp(line.data + 9, "200", 3) == 0;
    while (status == STATUS_OK) {
        status = talk_line(talk, &line, error);
        if (status != STATUS_OK || line.size == 0)
            break;
        (void)bytes_to_text(line, text, sizeof text);
        (void)sscanf(text, "Content-Length: %zu", &size);
    }
    if (status == STATUS_OK && !is_good)
        return error_set(error, STATUS_INVALID, "the question for the usage is refused");
    return status == STATUS_OK ? talk_bytes(talk, size, out, error) : status;
}

// No row: nothing was used.
static enum status
usage_read(struct bytes body, struct decimal *out, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct json *root = NULL;
    bool is_rounded = false;
    enum status status = json_parse(body, &(struct json_limits){0}, &arena, &root, error);
    if (status != STATUS_OK)
        return status;
    const struct json *data = json_member(root, "data");
    const struct json *row = data != NULL ? data->first : NULL;
    const struct json *value = row != NULL ? json_member(row, "value") : NULL;
    *out = DECIMAL_ZERO;
    if (data == NULL || (row != NULL && value == NULL))
        return error_set(error, STATUS_INVALID, "the answer has no usage");
    if (value != NULL && (decimal_parse(value->text, out, &is_rounded) != STATUS_OK || is_rounded))
        return error_set(error, STATUS_INVALID, "the usage is no number");
    return STATUS_OK;
}

static enum status
usage_check(struct run *run, struct error *error)
{
    struct http_report *report = &run->report;
    const uint64_t sent[HTTP_METERS] = {
        run->sent.events, run->sent.value_sum, run->sent.tokens_sum};
    struct talk talk;
    enum status status = talk_open(&run->http, &talk, error);
    report->matches = true;
    for (size_t i = 0; i < HTTP_METERS && status == STATUS_OK; i++) {
        struct bytes body = {0};
        buffer_format(
            &talk.out,
            "GET /api/v1/meters/%s/query HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n",
            HTTP_METER_KEYS[i],
            run->target.host,
            run->target.key);
        status = talk_flush(&talk, error);
        if (status == STATUS_OK)
            status = answer_get(&talk, &body, error);
        if (status == STATUS_OK)
            status = usage_read(body, &report->found[i], error);
        report->expected[i] = decimal_from_int((int64_t)sent[i]);
        report->matches &= decimal_compare(report->expected[i], report->found[i]) == 0;
    }
    talk_close(&talk);
    if (status != STATUS_OK)
        return status;
    report->has_usage = true;
    if (run->streamed.events == 0)
        return STATUS_OK;
    struct check_usage usage;
    status = check_usage(run->stack.data, &run->streamed, &usage, error);
    report->has_stream_usage = status == STATUS_OK;
    report->stream_matches = status == STATUS_OK && usage.matches;
    return status;
}

// --- the run ---

static enum status
private_run(struct run *run, struct error *error)
{
    const struct http_stack_options options = {
        .parent_dir = run->settings.dir, .shards = (uint32_t)run->settings.shards};
    enum status status = http_stack_start(&run->stack, &options, error);
    if (status == STATUS_OK) {
        run->target = (struct http_target){run->stack.http, run->stack.key};
        status = endpoint_resolve(TRANSPORT_TCP, run->stack.http, &run->http, error);
    }
    if (status == STATUS_OK)
        status = endpoint_resolve(TRANSPORT_TCP, run->stack.tcp, &run->tcp, error);
    if (status == STATUS_OK) {
        struct http_stack_sample sample;
        struct error gone;
        status = phases_run(run, error);
        // That a program is gone says more than that it answers no more.
        if (status != STATUS_OK && http_stack_sample(&run->stack, &sample, &gone) != STATUS_OK)
            *error = gone;
    }
    if (status == STATUS_OK && !interrupted)
        status = usage_check(run, error);
    if (status == STATUS_OK)
        status = http_stack_stop(&run->stack, error);
    http_stack_done(&run->stack);
    return status;
}

static enum status
other_run(struct run *run, struct error *error)
{
    run->target = (struct http_target){run->settings.to, run->settings.key};
    enum status status = endpoint_resolve(TRANSPORT_TCP, run->settings.to, &run->http, error);
    return status == STATUS_OK ? phases_run(run, error) : status;
}

static int
run_finish(const struct run *run)
{
    scoped(buffer_done) struct buffer text = {0};
    const struct http_report *report = &run->report;
    http_report_print(report, run->settings.format, &text);
    if (buffer_failed(&text) || fwrite(text.data, 1, text.size, stdout) != text.size)
        return EXIT_FAILED;
    bool is_wrong = (report->has_usage && !report->matches) ||
                    (report->has_stream_usage && !report->stream_matches);
    return is_wrong || interrupted ? EXIT_FAILED : EXIT_OK;
}

static enum status
phases_read(struct run *run, const struct option_texts_rest *names, struct error *error)
{
    for (size_t i = 0; i < HTTP_PHASES; i++)
        run->is_wanted[i] = names->count == 0;
    for (size_t i = 0; i < names->count; i++) {
        size_t k = 0;
        while (k < HTTP_PHASES && strcmp(HTTP_PHASE_NAMES[k], names->items[i]) != 0)
            k++;
        if (k == HTTP_PHASES)
            return error_set(error, STATUS_INVALID, "there is no phase %s", names->items[i]);
        run->is_wanted[k] = true;
    }
    if (!report_format_parse(run->settings.format_text, &run->settings.format))
        return error_set(error, STATUS_INVALID, "--format is table or json");
    if (run->settings.to != NULL && run->settings.key == NULL)
        return error_set(error, STATUS_INVALID, "--to needs a --key");
    return STATUS_OK;
}

static void
conditions_fill(struct run *run)
{
    struct http_report *report = &run->report;
    report->server = run->settings.to;
    report->batch = (uint32_t)run->settings.batch;
    report->subjects = (uint32_t)run->settings.subjects;
    report->duplicates_percent = (uint32_t)run->settings.duplicates;
    report->shards = run->settings.to == NULL ? (uint32_t)run->settings.shards : 0;
    report->seed = (uint64_t)run->settings.seed;
}

int
http_main(int argc, char **argv)
{
    static struct run run;  // its histograms are large
    scoped(arena_done) struct arena arena = {0};
    struct option_texts_rest rest;
    struct error error;
    enum option_result read = options_read(&SPEC, argc, argv, &run.settings, &arena, &rest, &error);
    if (read == OPTION_EXIT)
        return EXIT_OK;
    if (read == OPTION_ERROR || phases_read(&run, &rest, &error) != STATUS_OK) {
        fprintf(stderr, "tally-bench http: %s (try --help)\n", error.text);
        return EXIT_USAGE;
    }
    struct sigaction action = {.sa_handler = interrupt_note};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (run.settings.shards == 0)
        run.settings.shards = ledger_shards_default();
    conditions_fill(&run);
    enum status status =
        run.settings.to == NULL ? private_run(&run, &error) : other_run(&run, &error);
    if (status == STATUS_OK)
        return run_finish(&run);
    fprintf(stderr, "tally-bench http: %s\n", error.text);
    return EXIT_FAILED;
}
