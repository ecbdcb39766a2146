// tally is measured by `tally-bench load` in a process of its own, as a user would; the others one
// after the other here, with the same generator, seed and number of connections. Each gets the
// events from the first on, until it has all of them or its seconds are over.
#include "bench/peers.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/option.h"
#include "bench/peer.h"
#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, TEXT_MAX = 48 };

struct peers_settings {
    int64_t events;
    int64_t seconds;
    int64_t connections;
    int64_t chunk;
    int64_t subjects;
    int64_t event_size;
    int64_t duplicates;
    int64_t seed;
    const char *dir;
    const char *format_text;
    enum report_format format;
};

#define OFFSET(member) offsetof(struct peers_settings, member)
#define INTEGER(option, member, fallback_text, low, high, value, text)                             \
    {                                                                                              \
        .name = (option), .type = OPTION_INT, .offset = OFFSET(member),                            \
        .fallback = (fallback_text), .min = (low), .max = (high), .value_name = (value),           \
        .help = (text)                                                                             \
    }
#define TEXT(option, member, variable, fallback_text, value, text)                                 \
    {                                                                                              \
        .name = (option), .type = OPTION_TEXT, .offset = OFFSET(member), .env = (variable),        \
        .fallback = (fallback_text), .value_name = (value), .help = (text)                         \
    }

static const struct option_row ROWS[] = {
    INTEGER("events", events, "0", 0, INT64_C(1) << 32, "N", "that each gets at most; 0: any"),
    INTEGER("seconds", seconds, "20", 1, 86400, "S", "that each has at most"),
    INTEGER("connections", connections, "4", 1, PEER_LANES_MAX, "N", "to each"),
    INTEGER("chunk", chunk, "1000", 1, 10000, "N", "events in a chunk, transaction or pipeline"),
    INTEGER("subjects", subjects, "10000", 1, 100000000, "N", "subjects, used alike"),
    INTEGER("event-size", event_size, "110", 109, 60000, "BYTES", "an event's bytes of msgpack"),
    INTEGER("duplicates", duplicates, "1", 0, 90, "PERCENT", "events that are sent again"),
    INTEGER("seed", seed, "1", 0, INT64_MAX, "N", "of the events' content"),
    TEXT("dir", dir, "TMPDIR", "/var/tmp", "DIR", "where each keeps its data"),
    TEXT("format", format_text, NULL, "table", "table|json", "form of the result"),
    {.name = NULL},
};

static const struct peer *const PEERS[] = {
    &PEER_POSTGRES_COPY,
    &PEER_POSTGRES_INSERT,
    &PEER_REDIS_STREAM,
    &PEER_REDIS_COUNTED,
    &PEER_NATS};

enum { PEERS_COUNT = sizeof PEERS / sizeof PEERS[0] };

static const struct option_spec SPEC = {
    .program = "tally-bench peers",
    .summary = "gives the same events to tally and to what one would run instead",
    .usage = "[options] [PEER...]",
    .details =
        "Peers (all when none is named): postgres-copy, postgres-insert, redis-stream,\n"
        "redis-counted, nats-jetstream. tally is always measured. Debian's packages postgresql,\n"
        "redis-server and nats-server are started and stopped here, in directories of their own;\n"
        "what is not installed is left out and named.\n"
        "Exit status: 0 success, 1 failure or something held not what it was given, 2 wrong\n"
        "options.\n",
    .rows = ROWS,
    .positional_max = PEERS_COUNT,
};

// A line of the result.
struct row {
    const char *name;
    const char *settings;
    const char *lacks;
    const char *package;
    bool is_missing;
    bool matches;
    uint64_t events;
    double seconds;
    double p50_us, p99_us;
    double cpu_ns;  // of the server, an event; 0: not known
};

struct table {
    struct row rows[1 + PEERS_COUNT];
    uint32_t count;
};

static double
rate_of(const struct row *row)
{
    return row->seconds > 0 ? (double)row->events / row->seconds : 0;
}

// --- tally ---

static enum status
load_output(const struct peers_settings *settings, struct buffer *out, struct error *error)
{
    char program[PATH_MAX], dir[PATH_MAX + 8];
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"events",      settings->events     },
        {"seconds",     settings->seconds    },
        {"connections", settings->connections},
        {"chunk",       settings->chunk      },
        {"subjects",    settings->subjects   },
        {"event-size",  settings->event_size },
        {"duplicates",  settings->duplicates },
        {"seed",        settings->seed       },
    };
    enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
    char texts[NUMBERS][TEXT_MAX], command[] = "load", format[] = "--format=json";
    char *argv[NUMBERS + 5] = {program, command, format, dir};
    int exit_status = 0;
    enum status status = program_beside("tally-bench", program, error);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(dir, sizeof dir, "--dir=%s", settings->dir);
    for (size_t i = 0; i < NUMBERS; i++) {
        (void)snprintf(texts[i], TEXT_MAX, "--%s=%" PRId64, numbers[i].name, numbers[i].value);
        argv[4 + i] = texts[i];
    }
    status = program_output(argv, out, &exit_status, error);
    if (status == STATUS_OK && out->size == 0)
        status = error_set(error, STATUS_IO, "`tally-bench load` ended with %d", exit_status);
    return status;
}

static enum status
tally_measure(const struct peers_settings *settings, struct row *out, struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    scoped(arena_done) struct arena arena = {0};
    struct json *root;
    enum status status = load_output(settings, &text, error);
    if (status == STATUS_OK)
        status = json_parse(buffer_view(&text), &(struct json_limits){0}, &arena, &root, error);
    if (status != STATUS_OK)
        return status;
    const struct json *matches = json_member(root, "usage_matches");
    *out = (struct row){
        .name = "tally",
        .settings = "fsync before every ack, dedup of 36 days, three meters by quarter hours",
        .lacks = "",
        .events = (uint64_t)report_member(root, "events_acked"),
        .seconds = report_member(root, "seconds"),
        .p50_us = report_member(root, "ack_p50_us"),
        .p99_us = report_member(root, "ack_p99_us"),
        .cpu_ns = report_member(root, "server_cpu_ns_per_event"),
        .matches = matches != NULL && matches->type == JSON_BOOL && matches->boolean,
    };
    return STATUS_OK;
}

// --- the others ---

static struct row
row_of(const struct peer *peer, const struct peer_result *result)
{
    struct row row = {
        .name = peer->name,
        .settings = peer->settings,
        .lacks = peer->lacks,
        .package = peer->package,
        .is_missing = result->is_missing,
        .matches = result->matches,
        .events = result->events,
        .seconds = (double)result->elapsed_ns / 1e9,
        .p50_us = (double)histogram_percentile(&result->latency, 5000) / 1e3,
        .p99_us = (double)histogram_percentile(&result->latency, 9900) / 1e3,
    };
    if (result->events > 0)
        row.cpu_ns = (double)result->server_cpu_ns / (double)result->events;
    return row;
}

static enum status
peer_measure(
    const struct peer *peer,
    const struct peers_settings *settings,
    struct row *out,
    struct error *error)
{
    const struct peer_options options = {
        .parent_dir = settings->dir,
        .events = (uint64_t)settings->events,
        .limit_ns = settings->seconds * SECOND_NS,
        .lanes = (uint32_t)settings->connections,
        .generate =
            {
                       .seed = (uint64_t)settings->seed,
                       .event_size = (uint32_t)settings->event_size,
                       .chunk_events = (uint32_t)settings->chunk,
                       .subjects = (uint32_t)settings->subjects,
                       .duplicates_percent = (uint32_t)settings->duplicates,
                       },
    };
    struct peer_result result;
    enum status status = peer_run(peer, &options, &result, error);
    if (status != STATUS_OK) {
        struct error cause = *error;
        return error_set(error, status, "%s: %s", peer->name, cause.text);
    }
    *out = row_of(peer, &result);
    return STATUS_OK;
}

static bool
is_named(const struct option_texts_rest *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return names->count == 0;
}

static enum status
table_measure(
    const struct peers_settings *settings,
    const struct option_texts_rest *names,
    struct table *table,
    struct error *error)
{
    enum status status = tally_measure(settings, &table->rows[0], error);
    table->count = 1;
    for (size_t i = 0; i < PEERS_COUNT && status == STATUS_OK; i++) {
        if (!is_named(names, PEERS[i]->name))
            continue;
        fprintf(stderr, "tally-bench peers: %s\n", PEERS[i]->name);
        status = peer_measure(PEERS[i], settings, &table->rows[table->count], error);
        table->count++;
    }
    return status;
}

// --- the result ---

static void
row_json(struct json_out *json, const struct row *row, const struct row *tally)
{
    json_begin(json, '{');
    json_key(json, "name");
    json_text(json, row->name);
    json_key(json, "settings");
    json_text(json, row->settings);
    json_key(json, "lacks");
    json_text(json, row->lacks);
    if (row->is_missing) {
        json_key(json, "missing_package");
        json_text(json, row->package);
        json_end(json, '}');
        return;
    }
    json_key(json, "events_acked");
    json_int(json, (int64_t)row->events);
    report_json_real(json, "seconds", row->seconds, 3);
    report_json_real(json, "events_acked_per_second", rate_of(row), 0);
    report_json_real(json, "ack_p50_us", row->p50_us, 0);
    report_json_real(json, "ack_p99_us", row->p99_us, 0);
    report_json_real(json, "server_cpu_ns_per_event", row->cpu_ns, 1);
    if (rate_of(row) > 0)
        report_json_real(json, "tally_is_times_faster", rate_of(tally) / rate_of(row), 2);
    json_key(json, "matches");
    json_bool(json, row->matches);
    json_end(json, '}');
}

static void
table_json(const struct table *table, const struct peers_settings *settings, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    json_key(&json, "events");
    json_int(&json, settings->events);
    json_key(&json, "seconds");
    json_int(&json, settings->seconds);
    json_key(&json, "connections");
    json_int(&json, settings->connections);
    json_key(&json, "chunk");
    json_int(&json, settings->chunk);
    json_key(&json, "rows");
    json_begin(&json, '[');
    for (uint32_t i = 0; i < table->count; i++)
        row_json(&json, &table->rows[i], &table->rows[0]);
    json_end(&json, ']');
    json_end(&json, '}');
    buffer_text(out, "\n");
}

static void
row_print(const struct row *row, const struct row *tally, struct buffer *out)
{
    char rate[REPORT_NUMBER_MAX], events[REPORT_NUMBER_MAX];
    if (row->is_missing) {
        buffer_format(out, "%-16s not installed: apt install %s\n", row->name, row->package);
        return;
    }
    buffer_format(
        out,
        "%-16s %12s %12s %8.1f %9.1f %9.1f %9.0f  %s\n",
        row->name,
        report_grouped(row->events, events),
        report_grouped((uint64_t)rate_of(row), rate),
        rate_of(row) > 0 ? rate_of(tally) / rate_of(row) : 0,
        row->p50_us / 1e3,
        row->p99_us / 1e3,
        row->cpu_ns,
        row->matches ? "holds what was sent" : "DIFFERS");
}

static void
table_print(const struct table *table, const struct peers_settings *settings, struct buffer *out)
{
    if (settings->events > 0)
        buffer_format(out, "%" PRId64 " events or ", settings->events);
    buffer_format(
        out,
        "%" PRId64 " s each, %" PRId64 " connections, %" PRId64 " events a chunk, %" PRId64
        " bytes an event, %" PRId64 " %% duplicates\n\n"
        "%-16s %12s %12s %8s %9s %9s %9s\n",
        settings->seconds,
        settings->connections,
        settings->chunk,
        settings->event_size,
        settings->duplicates,
        "",
        "events",
        "events/s",
        "tally x",
        "p50 ms",
        "p99 ms",
        "CPU ns");
    for (uint32_t i = 0; i < table->count; i++)
        row_print(&table->rows[i], &table->rows[0], out);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];
        buffer_format(out, "\n%s: %s.\n", row->name, row->settings);
        if (row->lacks[0] != '\0')
            buffer_format(out, "  Not done: %s.\n", row->lacks);
    }
    buffer_text(
        out,
        "\nCPU: of the server, an event; of the peers from their start to their end. An ack of a "
        "peer is\nthe answer for a chunk.\n");
}

static int
table_finish(const struct table *table, const struct peers_settings *settings)
{
    scoped(buffer_done) struct buffer text = {0};
    bool all_match = true;
    if (settings->format == REPORT_JSON)
        table_json(table, settings, &text);
    else
        table_print(table, settings, &text);
    for (uint32_t i = 0; i < table->count; i++)
        all_match = all_match && (table->rows[i].is_missing || table->rows[i].matches);
    bool is_written = !buffer_failed(&text) && fwrite(text.data, 1, text.size, stdout) == text.size;
    return is_written && all_match ? EXIT_OK : EXIT_FAILED;
}

static int
usage_error(const char *text, const char *name)
{
    fprintf(stderr, "tally-bench peers: %s%s (try --help)\n", text, name);
    return EXIT_USAGE;
}

static bool
is_peer(const char *name)
{
    for (size_t i = 0; i < PEERS_COUNT; i++)
        if (strcmp(PEERS[i]->name, name) == 0)
            return true;
    return false;
}

int
peers_main(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct option_texts_rest rest;
    struct peers_settings settings = {0};
    struct table table = {0};
    struct error error;
    switch (options_read(&SPEC, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_RUN: break;
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return usage_error(error.text, "");
    }
    if (!report_format_parse(settings.format_text, &settings.format))
        return usage_error("--format is table or json", "");
    for (size_t i = 0; i < rest.count; i++)
        if (!is_peer(rest.items[i]))
            return usage_error("there is no peer ", rest.items[i]);
    if (table_measure(&settings, &rest, &table, &error) != STATUS_OK) {
        fprintf(stderr, "tally-bench peers: %s\n", error.text);
        return EXIT_FAILED;
    }
    return table_finish(&table, &settings);
}
