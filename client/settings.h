#pragma once
// struct tally_options with every default filled in and every range checked.
//
//     struct client_settings settings;
//     client_settings_read(options, &settings, &error)
//
// Owns its texts but the names of TLS's files, and points to them: not to be copied.
// Values. Thread: any.

#include "client/backlog.h"
#include "client/login.h"
#include "client/packet.h"
#include "client/server_list.h"
#include "client/tally.h"
#include "client/tls.h"

enum {
    SETTINGS_FLIGHTS_MAX = 256,
    SETTINGS_EVENTS_MAX = 65536,
    SETTINGS_BATCH_MAX = 8 * 1024 * 1024,  // half of the server's default largest frame
};

struct client_settings {
    struct server_list servers;
    struct backlog_limits limits;
    int64_t batch_age_ns;
    uint32_t in_flight_batches;
    int64_t ack_timeout_ns;
    int64_t connect_timeout_ns;
    int64_t retry_min_ns;
    int64_t retry_max_ns;
    char backfill[BACKLOG_BACKFILL_MAX + 1];
    char spool_dir[PATH_MAX];  // empty: none
    uint64_t spool_size;
    bool is_spool_sync;
    struct login_secrets secrets;
    bool is_tls;
    char tls_name[SERVER_HOST_MAX + 1];  // empty: the host's
    struct tls_options tls;              // names of files: the caller's, good while opening
    tally_refusal_fn on_refusal;
    void *context;
};

// STATUS_INVALID names the option and what is allowed.
enum status client_settings_read(
    const struct tally_options *options, struct client_settings *out, struct error *error) CHECKED;
