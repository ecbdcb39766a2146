#pragma once
// What `tally-bench load` is asked for: its options, completed, and the disk that they need.
//
//     switch (load_settings_read(argc, argv, &settings, &arena, &error)) ...
//     load_settings_complete(&settings, &error);
//     load_disk_check(&settings, &error);
//
// Values; texts live as long as argv. Thread: main.

#include "base/option.h"
#include "bench/endpoint.h"
#include "bench/report.h"

struct load_settings {
    int64_t events;   // 0: no end
    int64_t seconds;  // 0: no end
    int64_t connections;
    int64_t in_flight;  // 0 until completed, as is chunk
    int64_t chunk;
    int64_t subjects;
    int64_t hot_percent;
    int64_t event_size;
    int64_t duplicates;
    int64_t rate;
    int64_t shards;
    int64_t seed;
    int64_t threads;
    int64_t prefill;
    int64_t idle_connections;
    int64_t slow_clients;
    int64_t sync_delay_ms;
    bool is_udp;
    bool is_unix;
    bool is_restarted;
    const char *zipf_text;
    double zipf;
    enum transport transport;
    const char *to;
    const char *dir;
    const char *format_text;
    enum report_format format;
};

enum option_result load_settings_read(
    int argc,
    char **argv,
    struct load_settings *out,
    struct arena *arena,
    struct error *error) CHECKED;
// Fills in the defaults that depend on others. STATUS_INVALID: options that do not go together.
enum status load_settings_complete(struct load_settings *settings, struct error *error) CHECKED;
// STATUS_FULL: the run may need more disk than --dir has.
enum status load_disk_check(const struct load_settings *settings, struct error *error) CHECKED;
