// tallyd: usage events in over the Fluent Forward protocol, into the ledger, acks out.
//
// What runs: this thread (signals, the meter registry, the reject log), one front (ingest/front.h),
// the ledger's writers and its readers' thread (ledger/ledger.h), the HTTP server
// (base/exporter.h). They are started and stopped in one order, to be read in server_open and
// server_close.

#include "base/assert.h"
#include "base/clock.h"
#include "base/exporter.h"
#include "base/log.h"
#include "ingest/announce.h"
#include "ingest/front.h"
#include "ingest/http.h"
#include "ingest/listen.h"
#include "ingest/settings.h"
#include "ledger/ledger.h"
#include "ledger/lmdb_crash.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    POLL_MS = 200,       // how often the meter registry and the reject log are looked after
    POLL_DRAIN_MS = 10,  // while the front drains
    TICKETS = 8192,
    CONN_TICKETS = 2048,
    ACKS_MAX = 256 * 1024,
    LINGER_S = 5,
    DAY_S = 86400,
    FILES_OTHER = 256,  // descriptors beside connections: per shard a few, HTTP, logs
    FILES_PER_SHARD = 8,
};

struct server {
    struct settings settings;
    struct ingest_metrics metrics;
    struct ledger *ledger;
    struct rejects *rejects;
    struct listener tcp;
    struct listener unix_socket;
    struct listener udp;
    struct tls_server *tls;  // NULL: no TLS
    struct front *front;
    struct exporter *exporter;
    struct http_facts http;
    char unix_real[PATH_MAX];
    const char *metrics_address;  // NULL: none
    struct arena *arena;
    bool is_announced;
    bool is_reload_due;
    struct throttle meter_lines;
};

// --- start ---

// A refused connection is better than an accept that fails, so the limit follows --connections-max.
static void
files_raise(const struct settings *settings)
{
    struct rlimit limit;
    rlim_t wanted =
        (rlim_t)settings->connections_max + FILES_OTHER + (rlim_t)SHARDS_MAX * FILES_PER_SHARD;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    bool is_raised = setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == wanted;
    if (!is_raised)
        log_warn(
            "open_files_limited",
            LOG_INT("limit", limit.rlim_cur),
            LOG_INT("wanted", wanted),
            LOG_TEXT("advice", "raise the hard limit (ulimit -Hn), or lower --connections-max"));
}

// As the ledger says it.
static int64_t
keep_of(int64_t keep_ns)
{
    if (keep_ns == SETTINGS_AS_IT_IS)
        return 0;
    return keep_ns == 0 ? LEDGER_FOR_GOOD : keep_ns;
}

static enum status
ledger_start(struct server *server, struct error *error)
{
    const struct settings *settings = &server->settings;
    struct ledger_create_options create = {
        .shards = (uint32_t)settings->shards,
        .map_size = (uint64_t)settings->map_size,
    };
    enum status status = ledger_create(settings->data, &create, error);
    if (status && status != STATUS_EXISTS)
        return status;
    struct ledger_options options = {
        .past_max_ns = settings->past_ns,
        .future_max_ns = settings->future_ns,
        .dedup_window_ns = settings->dedup_window_ns,
        .dedup_memory_bytes = (uint64_t)settings->dedup_memory,
        .dedup_on_disk = settings->dedup_memory == 0,
        .touches_ahead = true,
        .zones = settings->billing_zones,
        .zones_count = settings->billing_zones_count,
        .keep_quarter_hours_ns = keep_of(settings->keep_quarter_hours_ns),
        .keep_hours_ns = keep_of(settings->keep_hours_ns),
        .keep_log_ns = keep_of(settings->keep_log_ns),
        .groups_max = (uint32_t)settings->groups_max,
    };
    return ledger_open(settings->data, &options, &server->ledger, error);
}

static enum status
datagrams_open(struct server *server, struct error *error)
{
    const struct settings *settings = &server->settings;
    int room = 0;
    if (settings_is_none(settings->udp))
        return STATUS_OK;
    enum status status =
        listen_udp(settings->udp, (int)settings->udp_buffer, &server->udp, &room, error);
    if (status == STATUS_OK && room < settings->udp_buffer)
        log_info(
            "udp_buffer_limited",
            LOG_INT("bytes", room),
            LOG_INT("wanted", settings->udp_buffer),
            LOG_TEXT("advice", "raise net.core.rmem_max, or lower --udp-buffer"));
    return status;
}

static enum status
listeners_open(struct server *server, struct error *error)
{
    const struct settings *settings = &server->settings;
    enum status status = listen_unix(settings->unix_path, &server->unix_socket, error);
    if (status == STATUS_OK && !settings_is_none(settings->tcp))
        status = listen_tcp(settings->tcp, &server->tcp, error);
    if (status == STATUS_OK && realpath(settings->unix_path, server->unix_real) == NULL)
        return error_set_errno(error, "cannot find the socket %s again", settings->unix_path);
    return status ? status : datagrams_open(server, error);
}

static void
certificate_tell(struct server *server, const char *event)
{
    int64_t expires_s = tls_server_expires_s(server->tls);
    int64_t left_s = expires_s - clock_now_ns() / SECOND_NS;
    metric_set(&server->metrics.tls_expires_s, expires_s);
    log_info(
        event,
        LOG_TEXT("certificate", server->settings.tls.certificate),
        LOG_INT("days_left", left_s / DAY_S));
    if (left_s <= 0)
        log_warn("certificate_expired", LOG_TEXT("certificate", server->settings.tls.certificate));
}

static enum status
tls_start(struct server *server, struct error *error)
{
    const struct tls_files *files = &server->settings.tls;
    if (files->certificate == NULL)
        return STATUS_OK;
    enum status status = tls_server_open(files, &server->tls, error);
    if (status == STATUS_OK)
        certificate_tell(server, "tls_ready");
    return status;
}

static enum status
front_prepare(struct server *server, struct error *error)
{
    const struct settings *settings = &server->settings;
    bool has_key = credentials_are_set(&settings->credentials);
    struct front_options options = {
        .ledger = server->ledger,
        .rejects = server->rejects,
        .metrics = &server->metrics,
        .credentials = has_key ? &settings->credentials : NULL,
        .tls = server->tls,
        .desk =
            {
                   .connections_max = (uint32_t)settings->connections_max,
                   .tickets = TICKETS,
                   .conn_tickets = CONN_TICKETS,
                   .frame_max = (size_t)settings->frame_max,
                   .connection_memory = (size_t)settings->connection_memory,
                   .memory_max = (size_t)settings->memory,
                   .acks_max = ACKS_MAX,
                   .linger_ns = LINGER_S * SECOND_NS,
                   .inflated =
                    {.size_max = (size_t)settings->inflated_max,
                     .ratio_max = (size_t)settings->ratio_max},
                   .handshake_ns = settings->handshake_ns,
                   .stall_ns = settings->stall_ns,
                   .idle_ns = settings->idle_ns,
                   },
        .loop =
            {
                   .starved = &server->metrics.receive_starved,
                   .datagrams = server->udp.kind != LISTENER_NONE ? UDP_BUFFERS : 0,
                   },
    };
    enum status status = front_open(&options, &server->front, error);
    if (status)
        return status;
    front_listen(server->front, &server->unix_socket);
    if (server->tcp.kind != LISTENER_NONE)
        front_listen(server->front, &server->tcp);
    const struct udp_options udp = {
        .allowed = settings->udp_allowed,
        .allowed_count = settings->udp_allowed_count,
    };
    if (server->udp.kind != LISTENER_NONE)
        status = front_receive(server->front, &server->udp, &udp, error);
    return status ? status : front_start(server->front, error);
}

// The address as given, with the port that was really bound.
static enum status
exporter_open(struct server *server, struct error *error)
{
    const char *address = server->settings.metrics;
    if (settings_is_none(address))
        return STATUS_OK;
    server->http = (struct http_facts){
        .ledger = server->ledger, .rejects = server->rejects, .metrics = &server->metrics};
    struct exporter_options options = {
        .address = address, .answer = http_answer, .context = &server->http};
    enum status status = exporter_start(&options, &server->exporter, error);
    if (status)
        return status;
    const char *colon = strrchr(address, ':');
    must(colon != NULL);
    server->metrics_address = arena_format(
        server->arena,
        "%.*s:%u",
        (int)(colon - address),
        address,
        (unsigned)exporter_port(server->exporter));
    return STATUS_OK;
}

static enum status
server_announce(struct server *server, struct error *error)
{
    struct announce facts = {
        .started_ns = clock_now_ns(),
        .shards = ledger_shards(server->ledger),
        .tcp = server->tcp.kind != LISTENER_NONE ? server->tcp.address : NULL,
        .udp = server->udp.kind != LISTENER_NONE ? server->udp.address : NULL,
        .unix_path = server->unix_real,
        .metrics = server->metrics_address,
    };
    enum status status = announce_write(server->settings.data, &facts, error);
    if (status)
        return status;
    server->is_announced = true;
    bool has_key = credentials_are_set(&server->settings.credentials);
    log_info(
        "listening",
        LOG_TEXT("tcp", facts.tcp != NULL ? facts.tcp : "none"),
        LOG_TEXT("udp", facts.udp != NULL ? facts.udp : "none"),
        LOG_TEXT("unix", facts.unix_path),
        LOG_TEXT("metrics", facts.metrics != NULL ? facts.metrics : "none"),
        LOG_TEXT("handshake", has_key ? "shared key" : "none"),
        LOG_TEXT("tls", server->tls != NULL ? "on" : "off"),
        LOG_INT("shards", facts.shards),
        LOG_TEXT("data", server->settings.data));
    return STATUS_OK;
}

static enum status
server_open(struct server *server, struct error *error)
{
    ingest_metrics_init(&server->metrics);
    files_raise(&server->settings);
    enum status status = ledger_start(server, error);
    if (status == STATUS_OK)
        status = rejects_open(
            server->settings.data, &server->metrics.rejects_unlisted, &server->rejects, error);
    if (status == STATUS_OK)
        status = listeners_open(server, error);
    if (status == STATUS_OK)
        status = tls_start(server, error);
    if (status == STATUS_OK)
        status = front_prepare(server, error);
    if (status == STATUS_OK)
        status = exporter_open(server, error);
    if (status == STATUS_OK)
        status = server_announce(server, error);
    return status;
}

// --- stop ---

static enum status
server_close(struct server *server, struct error *error)
{
    enum status status = STATUS_OK;
    if (server->is_announced)
        announce_remove(server->settings.data);
    exporter_stop(server->exporter);
    front_close(server->front);
    tls_server_close(server->tls);
    listener_close(&server->tcp);
    listener_close(&server->unix_socket);
    listener_close(&server->udp);
    if (server->rejects != NULL)
        rejects_collect(server->rejects);
    rejects_close(server->rejects);
    if (server->ledger != NULL)
        status = ledger_close(server->ledger, error);
    return status;
}

// The ledger can store nothing more. Acks have stopped by themselves; what holds threads is not
// waited for.
_Noreturn static void
server_die(struct server *server, const char *event, const char *reason)
{
    log_error(event, LOG_TEXT("error", reason));
    if (server->is_announced)
        announce_remove(server->settings.data);
    if (server->unix_socket.kind != LISTENER_NONE)
        (void)unlink(server->unix_socket.address);
    rejects_collect(server->rejects);
    _exit(EXIT_FAILURE);
}

// --- run ---

static void
meters_poll(struct server *server)
{
    struct error error = {0};
    uint64_t suppressed;
    enum status status = ledger_poll_meters(server->ledger, &error);
    if (status && throttle_allows(&server->meter_lines, clock_monotonic_ns(), &suppressed))
        log_warn(
            "meters_unreadable", LOG_TEXT("error", error.text), LOG_INT("suppressed", suppressed));
}

// SIGHUP came. What cannot be used changes nothing.
static void
certificate_reload(struct server *server)
{
    struct error error = {0};
    server->is_reload_due = false;
    if (server->tls == NULL) {
        log_info("reload", LOG_TEXT("result", "nothing to read again: no --tls-cert"));
        return;
    }
    enum status status = tls_server_reload(server->tls, &error);
    server->is_reload_due = status == STATUS_BUSY;
    if (status == STATUS_OK) {
        metric_add(&server->metrics.tls_reloads, 1);
        certificate_tell(server, "tls_reloaded");
    } else if (status != STATUS_BUSY) {
        metric_add(&server->metrics.tls_reloads_failed, 1);
        log_error(
            "tls_reload_failed",
            LOG_TEXT("error", error.text),
            LOG_TEXT("advice", "the certificate before stays in use"));
    }
}

static void
server_look_after(struct server *server)
{
    const char *reason = NULL;
    if (ledger_failure(server->ledger, &reason))
        server_die(server, "ledger_failed", reason);
    if (front_is_done(server->front) && front_failure(server->front, &reason))
        server_die(server, "front_failed", reason);
    meters_poll(server);
    ledger_forget_cached(server->ledger);
    rejects_collect(server->rejects);
    if (server->is_reload_due)
        certificate_reload(server);
}

// True: a signal to stop came in.
static bool
signal_wait(struct server *server, int signal_fd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&poll_fd, 1, timeout_ms) <= 0)
        return false;
    if (read(signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    log_info("signal", LOG_INT("number", info.ssi_signo), LOG_INT("from", info.ssi_pid));
    if (info.ssi_signo == SIGHUP)
        server->is_reload_due = true;
    return info.ssi_signo != SIGHUP;
}

static void
server_run(struct server *server, int signal_fd)
{
    while (!signal_wait(server, signal_fd, POLL_MS))
        server_look_after(server);
    log_info("draining", LOG_INT("seconds_at_most", FRONT_DRAIN_S));
    front_drain(server->front);
    while (!front_is_done(server->front)) {
        if (signal_wait(server, signal_fd, POLL_DRAIN_MS))
            server_die(
                server, "stopped_at_once", "a second signal; what was not acked is sent again");
        server_look_after(server);
    }
}

static int
signals_open(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
    // A file that may not grow is an error of the write, which says what to do.
    (void)signal(SIGXFSZ, SIG_IGN);
    // Before any thread is started, so that all inherit it.
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

// What the operator asked for cannot be: exit 2, as for an unknown option.
static int
exit_status_of(enum status status)
{
    return status == STATUS_INVALID ? EXIT_USAGE : EXIT_FAILURE;
}

// LMDB takes its dirty pages from malloc and gives them back after each commit. With the defaults
// blocks of that size are mapped and unmapped every time, and the first touch of fresh memory costs
// more than writing the block; so the heap keeps what it has.
static void
heap_keep_memory(void)
{
    enum { HEAP_BLOCK_MAX = 32 * 1024 * 1024, HEAP_SPARE_MAX = 256 * 1024 * 1024 };
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_MAX);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_SPARE_MAX);
}

static int
serve(struct server *server)
{
    struct error error = {0};
    struct error close_error = {0};
    int signal_fd = signals_open();
    must(signal_fd >= 0);
    enum status status = server_open(server, &error);
    if (status == STATUS_OK)
        server_run(server, signal_fd);
    else
        log_error("start_failed", LOG_TEXT("error", error.text));
    enum status close_status = server_close(server, &close_error);
    if (close_status)
        log_error("ledger_close_failed", LOG_TEXT("error", close_error.text));
    (void)close(signal_fd);
    if (status)
        return exit_status_of(status);
    if (close_status)
        return EXIT_FAILURE;
    log_info("stopped", LOG_INT("events", metric_get(&server->metrics.events)));
    return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
    static struct server server = {0};
    scoped(arena_done) struct arena arena = {0};
    struct error error = {0};
    (void)umask(0007);
    crash_guard();
    server.arena = &arena;
    enum option_result result = settings_read(argc, argv, &arena, &server.settings, &error);
    if (result == OPTION_EXIT)
        return EXIT_SUCCESS;
    enum status status = result == OPTION_ERROR ? STATUS_INVALID : STATUS_OK;
    if (status == STATUS_OK)
        status = settings_check(&server.settings, &arena, &error);
    if (status) {
        (void)fprintf(stderr, "tallyd: %s; try --help\n", error.text);
        return EXIT_USAGE;
    }
    heap_keep_memory();
    log_init("tallyd", server.settings.log_format, server.settings.log_level);
    if (clock_init(&error)) {
        log_error("start_failed", LOG_TEXT("error", error.text));
        return EXIT_FAILURE;
    }
    return serve(&server);
}
