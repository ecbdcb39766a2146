// What a tallyd costs that nobody sends anything to: its CPU and how often its threads wake, first
// alone, then with idle connections.
#include "base/clock.h"
#include "bench/idle.h"
#include "bench/micro.h"
#include "bench/server.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS_SPARE = 64, SETTLE_MS = 500 };

struct look {
    struct server_sample sample;
    uint64_t wakeups;
    int64_t at_ns;
};

static uint64_t
task_wakeups(pid_t pid, const char *task)
{
    char path[PATH_MAX], line[256];
    uint64_t wakeups = 0;
    static const char name[] = "voluntary_ctxt_switches:";
    (void)snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, task);
    FILE *file = fopen(path, "re");
    // A thread that ended meanwhile wakes no more.
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, sizeof name - 1) == 0)
            wakeups = strtoull(line + sizeof name - 1, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return wakeups;
}

static enum status
look_take(const struct server *server, struct look *out, struct error *error)
{
    char path[64];
    struct dirent *entry = NULL;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)server->pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return error_set_errno(error, "cannot look at %s", path);
    out->wakeups = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): a directory stream of our own
    while ((entry = readdir(tasks)) != NULL)
        if (entry->d_name[0] != '.')
            out->wakeups += task_wakeups(server->pid, entry->d_name);
    (void)closedir(tasks);
    out->at_ns = clock_monotonic_ns();
    return server_sample(server, &out->sample, error);
}

struct idle_cost {
    double cpu_percent;  // of one CPU
    double wakeups;      // a second
    double anon_bytes;
};

static enum status
cost_measure(
    const struct server *server, int64_t seconds, struct idle_cost *out, struct error *error)
{
    struct look before = {0}, after = {0};
    // What opening connections woke settles first.
    (void)poll(NULL, 0, SETTLE_MS);
    enum status status = look_take(server, &before, error);
    if (status == STATUS_OK)
        (void)poll(NULL, 0, (int)seconds * 1000);
    if (status == STATUS_OK)
        status = look_take(server, &after, error);
    if (status != STATUS_OK)
        return status;
    double elapsed_ns = (double)(after.at_ns - before.at_ns);
    *out = (struct idle_cost){
        .cpu_percent = (double)(after.sample.cpu_ns - before.sample.cpu_ns) / elapsed_ns * 100,
        .wakeups = (double)(after.wakeups - before.wakeups) / elapsed_ns * 1e9,
        .anon_bytes = (double)(after.sample.anon_bytes + after.sample.shared_bytes),
    };
    return STATUS_OK;
}

static enum status
idle_measure(
    const struct server *server,
    const struct micro_options *options,
    struct micro_figures *out,
    struct error *error)
{
    struct endpoint endpoint;
    struct idle idle = {0};
    struct idle_cost alone, crowded;
    double count = (double)options->connections;
    enum status status = endpoint_resolve(TRANSPORT_TCP, server->tcp, &endpoint, error);
    if (status == STATUS_OK)
        status = cost_measure(server, options->seconds, &alone, error);
    if (status == STATUS_OK)
        status = idle_open(&endpoint, (uint32_t)options->connections, &idle, error);
    if (status == STATUS_OK)
        status = cost_measure(server, options->seconds, &crowded, error);
    idle_close(&idle);
    if (status != STATUS_OK)
        return status;
    micro_add(out, "idle_cpu_percent", alone.cpu_percent, 4, "% of one CPU");
    micro_add(out, "idle_wakeups_per_second", alone.wakeups, 2, "of all threads");
    micro_add(out, "idle_anon_bytes", alone.anon_bytes, 0, "bytes");
    micro_add(out, "idle_connections", count, 0, "");
    micro_add(out, "idle_crowded_cpu_percent", crowded.cpu_percent, 4, "% of one CPU");
    micro_add(out, "idle_crowded_wakeups_per_second", crowded.wakeups, 2, "of all threads");
    micro_add(
        out,
        "idle_connection_bytes",
        (crowded.anon_bytes - alone.anon_bytes) / count,
        0,
        "bytes each, anonymous");
    return STATUS_OK;
}

enum status
micro_idle(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    struct server server;
    const struct server_options private = {
        .parent_dir = options->dir,
        .connections_max = (uint32_t)options->connections + CONNECTIONS_SPARE,
    };
    enum status status = server_start(&server, &private, error);
    if (status != STATUS_OK)
        return status;
    status = idle_measure(&server, options, out, error);
    if (status == STATUS_OK)
        status = server_stop(&server, error);
    server_done(&server);
    return status;
}
