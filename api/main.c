// tally-api: usage, meters and events over HTTP.
//
// What runs: this thread (signals, slow connections), the loops and workers of api/http.h and the
// threads of api/keys.h and api/live.h. They are started and stopped in one order, to be read in
// server_open and server_close.

#include "api/announce.h"
#include "api/api.h"
#include "api/live.h"
#include "base/clock.h"

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
    POLL_MS = 200,      // how often slow connections are looked for
    FILES_OTHER = 256,  // descriptors beside connections
};

struct server {
    struct settings settings;
    struct api api;
    struct live *live;
    const char *address;
    bool is_announced;
};

static void
files_raise(const struct settings *settings)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)settings->connections_max + FILES_OTHER;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
        log_warn("open_files_limited", LOG_INT("wanted", wanted));
}

static enum status
data_check(const char *data, struct error *error)
{
    struct stat info;
    if (stat(data, &info) < 0)
        return error_set_errno(error, "cannot find the data directory %s", data);
    return STATUS_OK;
}

static enum status
http_open(struct server *server, struct error *error)
{
    const struct settings *settings = &server->settings;
    struct api *api = &server->api;
    struct http_options options = {
        .address = settings->address,
        .loops = (uint32_t)settings->loops,
        .workers = (uint32_t)settings->workers,
        .waiting_max = (uint32_t)settings->waiting_max,
        .connections_max = (uint32_t)settings->connections_max,
        .body_max = (size_t)settings->body_max,
        .bodies_max = (size_t)settings->bodies_max,
        .idle_ns = settings->idle_ns,
        .body_ns = settings->body_ns,
        .answer_ns = settings->answer_ns,
        .streams_max = (uint32_t)settings->streams_max,
        .is_tls = api->certificate != NULL,
        .handle = api_handle,
        .begin = api_begin,
        .begin_max = API_QUICK_MAX,
        .context = api,
    };
    enum status status = http_start(&options, &api->http, error);
    if (status == STATUS_OK)
        server->address =
            arena_format(&api->arena, "%s:%u", settings->host, (unsigned)http_port(api->http));
    return status;
}

static void
certificate_log(const char *event, const struct certificate *certificate)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(certificate_expires_s(certificate) * SECOND_NS, text);
    log_info(event, LOG_TEXT("expires", text));
}

static enum status
tls_open(struct server *server, struct error *error)
{
    struct api *api = &server->api;
    struct certificate_files files = {server->settings.tls_certificate, server->settings.tls_key};
    enum status status = certificate_open(&files, &api->certificate, error);
    if (status == STATUS_OK)
        certificate_log("tls_loaded", api->certificate);
    return status;
}

static void
tls_reload(struct server *server)
{
    struct error error = {0};
    struct certificate *certificate = server->api.certificate;
    if (certificate == NULL)
        return;
    if (certificate_reload(certificate, &error))
        log_error("tls_reload_failed", LOG_TEXT("error", error.text));
    else
        certificate_log("tls_reloaded", certificate);
}

static enum status
server_announce(struct server *server, struct error *error)
{
    const char *data = server->settings.data;
    enum status status =
        api_announce(data, server->address, server->api.certificate != NULL, clock_now_ns(), error);
    server->is_announced = status == STATUS_OK;
    if (status == STATUS_OK)
        log_info("listening", LOG_TEXT("http", server->address), LOG_TEXT("data", data));
    return status;
}

static enum status
server_open(struct server *server, struct error *error)
{
    struct settings *settings = &server->settings;
    struct api *api = &server->api;
    api->settings = settings;
    api_metrics_init(api);
    progress_init(&api->progress);
    files_raise(settings);
    enum status status = data_check(settings->data, error);
    if (status == STATUS_OK)
        status = description_open(&api->arena, &api->description, error);
    if (status == STATUS_OK)
        status = database_open(
            settings->data, (uint32_t)settings->database_connections, &api->database, error);
    if (status == STATUS_OK)
        status = keys_start(api->database, &api->keys, error);
    if (status == STATUS_OK)
        status = limits_open(settings->limits, &api->limits, error);
    if (status == STATUS_OK)
        status = readers_open(settings->data, (uint32_t)settings->workers, &api->readers, error);
    if (status == STATUS_OK)
        status = quotas_open(&api->quotas, error);
    if (status == STATUS_OK)
        status = customer_book_open(api->database, &api->customers, error);
    if (status == STATUS_OK)
        status = ingest_open(settings->unix_path, NULL, &api->ingest, error);
    if (status == STATUS_OK && settings->tls_certificate != NULL)
        status = tls_open(server, error);
    if (status == STATUS_OK)
        status = http_open(server, error);
    if (status == STATUS_OK)
        status = live_start(settings->data, api->http, &server->live, error);
    if (status == STATUS_OK)
        status = server_announce(server, error);
    return status;
}

static void
server_close(struct server *server)
{
    if (server->is_announced)
        api_announce_remove(server->settings.data);
    live_stop(server->live);
    http_stop(server->api.http, server->settings.stop_ns);
    certificate_close(server->api.certificate);
    ingest_close(server->api.ingest);
    readers_close(server->api.readers);
    limits_close(server->api.limits);
    quotas_close(server->api.quotas);
    customer_book_close(server->api.customers);
    keys_stop(server->api.keys);
    database_close(server->api.database);
    progress_done(&server->api.progress);
}

// True: a signal to stop came in.
static bool
signal_wait(struct server *server, int signal_fd)
{
    struct pollfd poll_fd = {.fd = signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&poll_fd, 1, POLL_MS) <= 0)
        return false;
    if (read(signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    log_info("signal", LOG_INT("number", info.ssi_signo), LOG_INT("from", info.ssi_pid));
    if (info.ssi_signo != SIGHUP)
        return true;
    tls_reload(server);
    return false;
}

// Blocked before any thread is made, so that all inherit it.
static int
signals_open(void)
{
    sigset_t set;
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static int
serve(struct server *server)
{
    struct error error = {0};
    int signal_fd = signals_open();
    if (signal_fd < 0) {
        (void)error_set_errno(&error, "cannot wait for signals");
        log_error("start_failed", LOG_TEXT("error", error.text));
        return EXIT_FAILURE;
    }
    enum status status = server_open(server, &error);
    if (status)
        log_error("start_failed", LOG_TEXT("error", error.text));
    while (status == STATUS_OK && !signal_wait(server, signal_fd))
        http_watch(server->api.http);
    server_close(server);
    (void)close(signal_fd);
    if (status)
        return status == STATUS_INVALID ? EXIT_USAGE : EXIT_FAILURE;
    log_info("stopped");
    return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
    static struct server server = {0};
    struct arena *arena = &server.api.arena;
    struct error error = {0};
    (void)umask(0007);
    enum option_result result = settings_read(argc, argv, arena, &server.settings, &error);
    if (result == OPTION_EXIT)
        return EXIT_SUCCESS;
    enum status status = result == OPTION_ERROR ? STATUS_INVALID : STATUS_OK;
    if (status == STATUS_OK)
        status = settings_check(&server.settings, arena, &error);
    if (status) {
        (void)fprintf(stderr, "tally-api: %s; try --help\n", error.text);
        arena_done(arena);
        return EXIT_USAGE;
    }
    log_init("tally-api", server.settings.log_format, server.settings.log_level);
    int code = EXIT_FAILURE;
    if (clock_init(&error))
        log_error("start_failed", LOG_TEXT("error", error.text));
    else
        code = serve(&server);
    arena_done(arena);
    return code;
}
