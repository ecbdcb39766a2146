// One run: a private tallyd (or the one that is named), drives that keep it busy, a look at what
// it cost, and the question whether the usage is right.
#include "bench/load.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/option.h"
#include "base/pool.h"
#include "base/progress.h"
#include "bench/drive.h"
#include "bench/report.h"
#include "bench/server.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, THREADS_MAX = 16, LOOK_MS = 50 };

static const int64_t SECONDS_DEFAULT = 10;
static const int64_t ACK_TIMEOUT_NS = 60 * 1000000000LL;
// What is assumed of a closed loop to know how much disk it may fill.
static const uint64_t RATE_ASSUMED = 6000000;
static const uint64_t DISK_RESERVE = UINT64_C(1) << 30;

struct load_settings {
    int64_t events;
    int64_t seconds;
    int64_t connections;
    int64_t in_flight;
    int64_t chunk;
    int64_t subjects;
    int64_t event_size;
    int64_t duplicates;
    int64_t rate;
    int64_t shards;
    int64_t seed;
    int64_t threads;
    const char *to;
    const char *dir;
    const char *format_text;
    enum report_format format;
};

#define OFFSET(member) offsetof(struct load_settings, member)
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
    INTEGER("events", events, "0", 0, INT64_C(1) << 40, "N", "stop after N events (whole chunks)"),
    INTEGER("seconds", seconds, "0", 0, 86400, "S", "stop after S seconds (default 10)"),
    INTEGER("connections", connections, "4", 1, 1024, "N", "TCP connections"),
    INTEGER("in-flight", in_flight, "8", 1, 1024, "N", "unacked chunks on each connection"),
    INTEGER("chunk", chunk, "1000", 1, 100000, "N", "events in a chunk"),
    INTEGER("subjects", subjects, "10000", 1, 100000000, "N", "subjects, used alike"),
    INTEGER("event-size", event_size, "110", 109, 60000, "BYTES", "an event's bytes of msgpack"),
    INTEGER("duplicates", duplicates, "1", 0, 90, "PERCENT", "events that are sent again"),
    INTEGER("rate", rate, "0", 0, 1000000000, "R", "open loop at R events/s; 0: closed loop"),
    INTEGER("shards", shards, "2", 1, 256, "N", "shards of the private tallyd"),
    INTEGER("seed", seed, "1", 0, INT64_MAX, "N", "of the events' content"),
    INTEGER("threads", threads, "1", 1, THREADS_MAX, "N", "threads that make the load"),
    TEXT(
        "to",
        to,
        NULL,
        NULL,
        "HOST:PORT",
        "a tallyd that runs; its cost and usage are not looked at"),
    TEXT("dir", dir, "TMPDIR", "/var/tmp", "DIR", "where the private tallyd keeps its data"),
    TEXT("format", format_text, NULL, "table", "table|json", "form of the result"),
    {.name = NULL},
};

static const struct option_spec SPEC = {
    .program = "tally-bench load",
    .summary = "measures ingest: durable, deduplicated, metered events a second",
    .usage = "[options]",
    .details =
        "Starts a private tallyd with three meters on the load's type, keeps it busy, and asks in\n"
        "the end whether the usage is what was sent.\n"
        "Exit status: 0 success, 1 failure or wrong usage, 2 wrong options.\n",
    .rows = ROWS,
};

struct load {
    struct load_settings settings;
    struct server server;
    struct drive *drives;
    uint32_t drives_count;  // started
    struct report report;
    struct server_sample before;
};

// Set by the signal handler; a run that is interrupted cleans up behind itself.
static volatile sig_atomic_t interrupted;

static void
interrupt_note(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void
interrupts_catch(void)
{
    struct sigaction action = {.sa_handler = interrupt_note};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

// --- before ---

static uint64_t
events_expected(const struct load_settings *settings)
{
    uint64_t rate = settings->rate > 0 ? (uint64_t)settings->rate : RATE_ASSUMED;
    uint64_t by_time = (uint64_t)settings->seconds * rate;
    uint64_t by_count = (uint64_t)settings->events;
    if (by_time == 0 || (by_count > 0 && by_count < by_time))
        return by_count;
    return by_time;
}

static enum status
disk_check(const struct load_settings *settings, struct error *error)
{
    struct statvfs info;
    if (statvfs(settings->dir, &info) != 0)
        return error_set_errno(error, "cannot look at %s", settings->dir);
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    uint64_t events = events_expected(settings);
    uint64_t needed = events * (uint64_t)settings->event_size + DISK_RESERVE;
    if (needed <= free_bytes)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_FULL,
        "%" PRIu64 " events of %" PRId64 " bytes may need %" PRIu64
        " MiB of disk, and %s has %" PRIu64 ": say fewer events or seconds, or another --dir",
        events,
        settings->event_size,
        needed >> 20,
        settings->dir,
        free_bytes >> 20);
}

static enum status
settings_complete(struct load_settings *settings, struct error *error)
{
    if (!report_format_parse(settings->format_text, &settings->format))
        return error_set(error, STATUS_INVALID, "--format is table or json");
    if (settings->threads > settings->connections)
        return error_set(error, STATUS_INVALID, "--threads may not be more than --connections");
    if (settings->events == 0 && settings->seconds == 0)
        settings->seconds = SECONDS_DEFAULT;
    return STATUS_OK;
}

static struct generate_options
generate_options_of(const struct load_settings *settings)
{
    return (struct generate_options){
        .seed = (uint64_t)settings->seed,
        .event_size = (uint32_t)settings->event_size,
        .chunk_events = (uint32_t)settings->chunk,
        .subjects = (uint32_t)settings->subjects,
        .duplicates_percent = (uint32_t)settings->duplicates,
    };
}

// --- the drives ---

// The part of n that falls to one of count, so that the parts add up to n.
static uint64_t
share_of(uint64_t n, uint32_t index, uint32_t count)
{
    return n / count + (index < n % count ? 1 : 0);
}

static enum status
drives_start(struct load *load, struct error *error)
{
    const struct load_settings *settings = &load->settings;
    uint32_t threads = (uint32_t)settings->threads;
    uint64_t chunk = (uint64_t)settings->chunk;
    uint64_t chunks = ((uint64_t)settings->events + chunk - 1) / chunk;
    const char *address = settings->to != NULL ? settings->to : load->server.address;
    struct drive_options options = {
        .generate = generate_options_of(settings),
        .in_flight = (uint32_t)settings->in_flight,
        .chunks_per_second = (double)settings->rate / (double)chunk / threads,
        .ack_timeout_ns = ACK_TIMEOUT_NS,
    };
    enum status status = address_resolve(address, &options.address, &options.address_size, error);
    if (status != STATUS_OK)
        return status;
    load->drives = pool_take(threads, sizeof *load->drives);
    if (load->drives == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory");
    for (uint32_t i = 0; i < threads; i++) {
        options.generate.lane = i;
        options.connections = (uint32_t)share_of((uint64_t)settings->connections, i, threads);
        options.chunks_max = share_of(chunks, i, threads);
        // A share of none would mean no end.
        if (chunks > 0 && options.chunks_max == 0)
            break;
        status = drive_start(&load->drives[i], &options, error);
        if (status != STATUS_OK)
            return status;
        load->drives_count++;
    }
    return STATUS_OK;
}

static void
drives_stop(const struct load *load)
{
    for (uint32_t i = 0; i < load->drives_count; i++)
        drive_stop(&load->drives[i]);
}

static bool
drives_are_over(const struct load *load)
{
    for (uint32_t i = 0; i < load->drives_count; i++)
        if (!drive_is_over(&load->drives[i]))
            return false;
    return true;
}

static uint64_t
events_acked(const struct load *load)
{
    uint64_t chunks = 0;
    for (uint32_t i = 0; i < load->drives_count; i++)
        chunks += drive_acked(&load->drives[i]);
    return chunks * (uint64_t)load->settings.chunk;
}

// Notes the most memory seen. A server that is gone is found out by the drives.
static void
memory_note(struct load *load)
{
    struct server_sample sample;
    struct error ignored;
    if (load->settings.to != NULL || server_sample(&load->server, &sample, &ignored) != STATUS_OK)
        return;
    uint64_t bytes = sample.anon_bytes + sample.shared_bytes;
    if (bytes > load->report.server_anon_bytes)
        load->report.server_anon_bytes = bytes;
}

// Watches until the drives are over: shows progress, ends the run in time, looks at the server's
// memory.
static void
drives_watch(struct load *load)
{
    const struct load_settings *settings = &load->settings;
    struct progress progress;
    int64_t began_ns = clock_monotonic_ns();
    int64_t limit_ns = settings->seconds > 0 ? settings->seconds * SECOND_NS : INT64_MAX;
    progress_begin(&progress, "events acked", (uint64_t)settings->events);
    while (!drives_are_over(load)) {
        bool is_time = clock_monotonic_ns() - began_ns >= limit_ns;
        if (is_time || interrupted)
            drives_stop(load);
        memory_note(load);
        progress_set(&progress, events_acked(load));
        (void)poll(NULL, 0, LOOK_MS);
    }
    memory_note(load);
    progress_end(&progress);
}

// Joins all; the first error is what is told.
static enum status
drives_join(struct load *load, struct error *error)
{
    enum status status = STATUS_OK;
    struct error ignored;
    for (uint32_t i = 0; i < load->drives_count; i++) {
        enum status one = drive_join(&load->drives[i], status == STATUS_OK ? error : &ignored);
        if (status == STATUS_OK)
            status = one;
    }
    return status;
}

static void
drives_collect(struct load *load)
{
    struct report *report = &load->report;
    int64_t began_ns = INT64_MAX, ended_ns = 0;
    for (uint32_t i = 0; i < load->drives_count; i++) {
        const struct drive *drive = &load->drives[i];
        const struct generate_totals *totals = &drive->generator.totals;
        report->sent.events += totals->events;
        report->sent.duplicates += totals->duplicates;
        report->sent.value_sum += totals->value_sum;
        report->sent.tokens_sum += totals->tokens_sum;
        report->duplicates += drive->duplicates;
        report->rejected += drive->rejected;
        report->conflicts += drive->conflicts;
        histogram_merge(&report->latency, &drive->latency);
        began_ns = drive->began_ns < began_ns ? drive->began_ns : began_ns;
        ended_ns = drive->ended_ns > ended_ns ? drive->ended_ns : ended_ns;
    }
    report->events_acked = events_acked(load);
    report->elapsed_ns = ended_ns > began_ns ? ended_ns - began_ns : 0;
}

static void
drives_done(struct load *load)
{
    for (uint32_t i = 0; i < load->drives_count; i++)
        drive_done(&load->drives[i]);
    pool_give(load->drives);
}

// --- the run ---

// A drive that was started must be joined, whatever else failed.
static enum status
load_measure(struct load *load, struct error *error)
{
    struct server_sample after;
    bool is_private = load->settings.to == NULL;
    if (is_private && server_sample(&load->server, &load->before, error) != STATUS_OK)
        return error->status;
    enum status status = drives_start(load, error);
    if (status != STATUS_OK)
        drives_stop(load);
    else
        drives_watch(load);
    struct error joined;
    enum status join_status = drives_join(load, &joined);
    if (status == STATUS_OK && join_status != STATUS_OK) {
        *error = joined;
        status = join_status;
    }
    drives_collect(load);
    if (status != STATUS_OK || !is_private)
        return status;
    status = server_sample(&load->server, &after, error);
    if (status != STATUS_OK)
        return status;
    load->report.has_server = true;
    load->report.server_cpu_ns = after.cpu_ns - load->before.cpu_ns;
    load->report.server_ready_ns = load->server.ready_ns;
    return STATUS_OK;
}

static enum status
private_run(struct load *load, struct error *error)
{
    const struct load_settings *settings = &load->settings;
    const struct server_options options = {
        .parent_dir = settings->dir, .shards = (uint32_t)settings->shards};
    enum status status = disk_check(settings, error);
    if (status == STATUS_OK)
        status = server_start(&load->server, &options, error);
    if (status == STATUS_OK) {
        status = load_measure(load, error);
        // How tallyd ended says more than that it answers no more.
        struct error ended;
        if (status != STATUS_OK && server_look(&load->server, &ended) != STATUS_OK)
            *error = ended;
    }
    if (status == STATUS_OK && !interrupted) {
        status = check_usage(load->server.data, &load->report.sent, &load->report.usage, error);
        load->report.has_usage = status == STATUS_OK;
    }
    if (status == STATUS_OK)
        status = server_stop(&load->server, error);
    server_done(&load->server);
    return status;
}

static void
conditions_fill(struct load *load)
{
    const struct load_settings *settings = &load->settings;
    load->report.conditions = (struct report_conditions){
        .connections = (uint32_t)settings->connections,
        .in_flight = (uint32_t)settings->in_flight,
        .threads = (uint32_t)settings->threads,
        .shards = settings->to == NULL ? (uint32_t)settings->shards : 0,
        .rate = (uint64_t)settings->rate,
        .seed = (uint64_t)settings->seed,
        .generate = generate_options_of(settings),
        .server = settings->to,
    };
}

static int
load_finish(const struct load *load)
{
    const struct report *report = &load->report;
    scoped(buffer_done) struct buffer text = {0};
    report_print(report, load->settings.format, &text);
    if (buffer_failed(&text) || fwrite(text.data, 1, text.size, stdout) != text.size)
        return EXIT_FAILED;
    bool is_wrong = report->has_usage && !report->usage.matches;
    bool is_refused = report->rejected > 0 || report->conflicts > 0;
    return is_wrong || is_refused || interrupted ? EXIT_FAILED : EXIT_OK;
}

static int
load_run(struct load *load)
{
    struct error error;
    enum status status = settings_complete(&load->settings, &error);
    if (status != STATUS_OK) {
        fprintf(stderr, "tally-bench load: %s\n", error.text);
        return EXIT_USAGE;
    }
    interrupts_catch();
    conditions_fill(load);
    status = load->settings.to == NULL ? private_run(load, &error) : load_measure(load, &error);
    drives_done(load);
    if (status != STATUS_OK) {
        fprintf(stderr, "tally-bench load: %s\n", error.text);
        return EXIT_FAILED;
    }
    return load_finish(load);
}

int
load_main(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct option_texts_rest rest;
    struct error error;
    struct load_settings settings = {0};
    switch (options_read(&SPEC, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_RUN: break;
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR:
        fprintf(stderr, "tally-bench load: %s (try --help)\n", error.text);
        return EXIT_USAGE;
    }
    struct load *load = arena_new(&arena, struct load);
    load->settings = settings;
    return load_run(load);
}
