// One run: a private tallyd (or the one that is named), drives that keep it busy, a look at what
// it cost, and the question whether the usage is right.
#include "bench/load.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/progress.h"
#include "bench/drive.h"
#include "bench/idle.h"
#include "bench/load_settings.h"
#include "bench/pauses.h"
#include "bench/prefill.h"
#include "bench/report.h"
#include "bench/scratch.h"
#include "bench/server.h"
#include "bench/slow.h"
#include "bench/weights.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, LOOK_MS = 50, CONNECTIONS_SPARE = 64 };

static const int64_t ACK_TIMEOUT_NS = 60 * 1000000000LL;

struct load {
    struct load_settings settings;
    struct server server;
    struct endpoint endpoint;
    struct weights *weights;  // NULL: all subjects alike
    struct idle idle;
    struct slow slow;
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

static struct generate_options
generate_options_of(const struct load *load)
{
    const struct load_settings *settings = &load->settings;
    return (struct generate_options){
        .seed = (uint64_t)settings->seed,
        .event_size = (uint32_t)settings->event_size,
        .chunk_events = (uint32_t)settings->chunk,
        .subjects = (uint32_t)settings->subjects,
        .duplicates_percent = (uint32_t)settings->duplicates,
        .weights = load->weights,
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
    struct drive_options options = {
        .generate = generate_options_of(load),
        .endpoint = load->endpoint,
        .in_flight = (uint32_t)settings->in_flight,
        .chunks_per_second = (double)settings->rate / (double)chunk / threads,
        .ack_timeout_ns = ACK_TIMEOUT_NS,
    };
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
        enum status status = drive_start(&load->drives[i], &options, error);
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
        report->resent += drive->resent;
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

static enum status
target_open(struct load *load, struct error *error)
{
    const struct load_settings *settings = &load->settings;
    const struct weights_options weights = {
        .subjects = (uint32_t)settings->subjects,
        .zipf = settings->zipf,
        .hot_percent = (uint32_t)settings->hot_percent,
    };
    const char *address =
        settings->to != NULL ? settings->to : server_address(&load->server, settings->transport);
    enum status status = endpoint_resolve(settings->transport, address, &load->endpoint, error);
    if (status == STATUS_OK)
        status = weights_open(&weights, &load->weights, error);
    if (status == STATUS_OK)
        status =
            idle_open(&load->endpoint, (uint32_t)settings->idle_connections, &load->idle, error);
    if (status == STATUS_OK)
        status = slow_start(&load->endpoint, (uint32_t)settings->slow_clients, &load->slow, error);
    return status;
}

// A drive that was started must be joined, whatever else failed.
static enum status
load_measure(struct load *load, struct error *error)
{
    struct server_sample after;
    struct pauses pauses;
    bool is_private = load->settings.to == NULL;
    if (is_private && server_sample(&load->server, &load->before, error) != STATUS_OK)
        return error->status;
    if (is_private)
        load->report.server_disk_before = scratch_bytes(load->server.data);
    enum status status = target_open(load, error);
    pauses_start(&pauses, PAUSES_BESIDE_NS);
    if (status == STATUS_OK)
        status = drives_start(load, error);
    if (status != STATUS_OK)
        drives_stop(load);
    else
        drives_watch(load);
    struct error joined;
    enum status join_status = drives_join(load, &joined);
    load->report.pauses = pauses_stop(&pauses);
    if (join_status == STATUS_OK)
        join_status = slow_stop(&load->slow, &joined);
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
    load->report.server_disk_after = scratch_bytes(load->server.data);
    load->report.server_cpu_ns = after.cpu_ns - load->before.cpu_ns;
    load->report.server_ready_ns = load->server.ready_ns;
    return STATUS_OK;
}

static enum status
private_start(struct load *load, struct error *error)
{
    const struct load_settings *settings = &load->settings;
    const struct server_options options = {
        .parent_dir = settings->dir,
        .shards = (uint32_t)settings->shards,
        .connections_max = (uint32_t)(settings->connections + settings->idle_connections) +
                           (uint32_t)settings->slow_clients + CONNECTIONS_SPARE,
        .sync_delay_ms = (uint32_t)settings->sync_delay_ms,
    };
    enum status status = load_disk_check(settings, error);
    if (status == STATUS_OK)
        status = server_prepare(&load->server, &options, error);
    if (status == STATUS_OK && settings->prefill > 0)
        status = prefill_write(
            load->server.data,
            (uint32_t)settings->shards,
            (uint64_t)settings->prefill,
            clock_now_ns(),
            error);
    return status == STATUS_OK ? server_run(&load->server, error) : status;
}

// As after a crash of the process: the pages of its files are still in memory.
static enum status
private_restart(struct load *load, struct error *error)
{
    struct report *report = &load->report;
    enum status status = server_kill(&load->server, error);
    if (status == STATUS_OK)
        status = server_run(&load->server, error);
    if (status != STATUS_OK)
        return status;
    report->server_restart_ns = load->server.ready_ns;
    return check_usage(load->server.data, &report->sent, &report->usage, error);
}

static enum status
private_run(struct load *load, struct error *error)
{
    enum status status = private_start(load, error);
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
        if (load->settings.is_restarted && load->report.usage.matches && status == STATUS_OK)
            status = private_restart(load, error);
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
        .generate = generate_options_of(load),
        .transport = settings->transport,
        .zipf = settings->zipf,
        .hot_percent = (uint32_t)settings->hot_percent,
        .idle_connections = (uint32_t)settings->idle_connections,
        .slow_clients = (uint32_t)settings->slow_clients,
        .sync_delay_ms = (uint32_t)settings->sync_delay_ms,
        .prefill = (uint64_t)settings->prefill,
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
    enum status status = load_settings_complete(&load->settings, &error);
    if (status != STATUS_OK) {
        fprintf(stderr, "tally-bench load: %s\n", error.text);
        return EXIT_USAGE;
    }
    interrupts_catch();
    conditions_fill(load);
    status = load->settings.to == NULL ? private_run(load, &error) : load_measure(load, &error);
    drives_done(load);
    idle_close(&load->idle);
    weights_close(load->weights);
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
    struct error error;
    struct load_settings settings;
    switch (load_settings_read(argc, argv, &settings, &arena, &error)) {
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
