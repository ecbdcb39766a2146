#include "bench/load_settings.h"

#include "bench/generate.h"
#include "ledger/ledger.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>

enum {
    THREADS_MAX = 16,
    CHUNK_STREAM = 1000,
    CHUNK_UDP = 100,
    IN_FLIGHT_STREAM = 8,
    IN_FLIGHT_UDP = 64,
    FRAME_OVERHEAD = 256,    // at most, of a frame around its events
    DISK_PER_IDENTITY = 64,  // about 50 are needed while generations are merged
};

static const int64_t SECONDS_DEFAULT = 10;
// What is assumed of a closed loop to know how much disk it may fill.
static const uint64_t RATE_ASSUMED = 6000000;
static const uint64_t DISK_RESERVE = UINT64_C(1) << 30;

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

#define FLAG(option, member, text)                                                                 \
    {                                                                                              \
        .name = (option), .type = OPTION_FLAG, .offset = OFFSET(member), .help = (text)            \
    }

static const struct option_row ROWS[] = {
    INTEGER("events", events, "0", 0, INT64_C(1) << 40, "N", "stop after N events (whole chunks)"),
    INTEGER("seconds", seconds, "0", 0, 86400, "S", "stop after S seconds (default 10)"),
    INTEGER("connections", connections, "4", 1, 1024, "N", "connections, or senders of datagrams"),
    INTEGER("in-flight", in_flight, "0", 0, 1024, "N", "unacked chunks on each; 0: 8, by UDP 64"),
    INTEGER("chunk", chunk, "0", 0, 100000, "N", "events in a chunk; 0: 1000, in a datagram 100"),
    INTEGER("subjects", subjects, "10000", 1, 100000000, "N", "subjects"),
    TEXT("zipf", zipf_text, NULL, "0", "S", "rank k comes as often as k^-S; 0: all alike"),
    INTEGER("hot-subject", hot_percent, "0", 0, 99, "PERCENT", "of events are of one subject"),
    INTEGER("event-size", event_size, "110", 109, 65536, "BYTES", "an event's bytes of msgpack"),
    INTEGER("duplicates", duplicates, "1", 0, 90, "PERCENT", "events that are sent again"),
    INTEGER("rate", rate, "0", 0, 1000000000, "R", "open loop at R events/s; 0: closed loop"),
    INTEGER("shards", shards, "0", 0, 256, "N", "shards of the private tallyd; 0: as it chooses"),
    INTEGER("seed", seed, "1", 0, INT64_MAX, "N", "of the events' content"),
    INTEGER("threads", threads, "1", 1, THREADS_MAX, "N", "threads that make the load"),
    FLAG("udp", is_udp, "a chunk is a datagram; sent again after a second without an ack"),
    FLAG("unix", is_unix, "over tallyd's unix socket"),
    INTEGER("prefill", prefill, "0", 0, INT64_C(1) << 32, "N", "identities known before it begins"),
    INTEGER(
        "idle-connections",
        idle_connections,
        "0",
        0,
        60000,
        "N",
        "that are open beside the load and say nothing"),
    INTEGER(
        "slow-clients",
        slow_clients,
        "0",
        0,
        10000,
        "N",
        "beside it: half send slowly, half read few acks"),
    INTEGER(
        "sync-delay",
        sync_delay_ms,
        "0",
        0,
        10000,
        "MS",
        "each fsync of tallyd takes so much longer"),
    FLAG("restart", is_restarted, "kill -9 in the end, measure the next start, and check again"),
    TEXT(
        "to",
        to,
        NULL,
        NULL,
        "HOST:PORT",
        "a tallyd that runs (with --unix: its socket); its cost and usage are not looked at"),
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

enum option_result
load_settings_read(
    int argc, char **argv, struct load_settings *out, struct arena *arena, struct error *error)
{
    struct option_texts_rest rest;
    *out = (struct load_settings){0};
    return options_read(&SPEC, argc, argv, out, arena, &rest, error);
}

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

enum status
load_disk_check(const struct load_settings *settings, struct error *error)
{
    struct statvfs info;
    if (statvfs(settings->dir, &info) != 0)
        return error_set_errno(error, "cannot look at %s", settings->dir);
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    uint64_t events = events_expected(settings);
    uint64_t needed = events * (uint64_t)settings->event_size + DISK_RESERVE +
                      (uint64_t)settings->prefill * DISK_PER_IDENTITY;
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

static bool
zipf_parse(const char *text, double *out)
{
    char *end = NULL;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= 0 && *out <= 10;
}

// As many events in a datagram as fit, 100 at most; a chunk of large events stays below the largest
// that the generator makes.
static void
transport_complete(struct load_settings *settings)
{
    int64_t chunk = settings->is_udp ? CHUNK_UDP : CHUNK_STREAM;
    int64_t room =
        (settings->is_udp ? ENDPOINT_DATAGRAM_MAX - FRAME_OVERHEAD : GENERATE_EVENTS_SIZE_MAX) /
        settings->event_size;
    settings->transport = settings->is_udp    ? TRANSPORT_UDP
                          : settings->is_unix ? TRANSPORT_UNIX
                                              : TRANSPORT_TCP;
    if (settings->chunk == 0)
        settings->chunk = chunk < room ? chunk : room > 0 ? room : 1;
    if (settings->in_flight == 0)
        settings->in_flight = settings->is_udp ? IN_FLIGHT_UDP : IN_FLIGHT_STREAM;
}

enum status
load_settings_complete(struct load_settings *settings, struct error *error)
{
    if (!report_format_parse(settings->format_text, &settings->format))
        return error_set(error, STATUS_INVALID, "--format is table or json");
    if (settings->threads > settings->connections)
        return error_set(error, STATUS_INVALID, "--threads may not be more than --connections");
    if (settings->is_udp && settings->is_unix)
        return error_set(error, STATUS_INVALID, "--udp or --unix, not both");
    if (settings->is_udp && settings->idle_connections > 0)
        return error_set(error, STATUS_INVALID, "--udp knows no connections that could be idle");
    if (settings->is_udp && settings->slow_clients > 0)
        return error_set(
            error, STATUS_INVALID, "--udp knows no clients that read their acks slowly");
    bool needs_own = settings->prefill > 0 || settings->is_restarted || settings->sync_delay_ms > 0;
    if (settings->to != NULL && needs_own)
        return error_set(
            error,
            STATUS_INVALID,
            "--prefill, --sync-delay and --restart need a tallyd of our own");
    if (!zipf_parse(settings->zipf_text, &settings->zipf))
        return error_set(error, STATUS_INVALID, "--zipf takes a number from 0 to 10");
    transport_complete(settings);
    if (settings->shards == 0)
        settings->shards = ledger_shards_default();
    if (settings->events == 0 && settings->seconds == 0)
        settings->seconds = SECONDS_DEFAULT;
    return STATUS_OK;
}
