#pragma once
// The options of tallyd: one row each in settings.c, read as DESIGN section 9 says.
//
//     switch (settings_read(argc, argv, &arena, &settings, &error)) ...
//     status = settings_check(&settings, &error);      // what belongs together
//
// Owner: main; texts live in the arena, argv or the environment. Thread: main.

#include "base/log.h"
#include "base/option.h"
#include "ingest/network.h"
#include "ingest/tls.h"
#include "ingest/users.h"

enum { SETTINGS_AS_IT_IS = -1 };

struct settings {
    const char *data;
    const char *tcp;  // "none": no TCP
    const char *udp;  // "none": no UDP; NULL until checked: as tcp
    struct option_texts udp_allow;
    const char *unix_path;  // NULL: DATA/tallyd.sock
    const char *metrics;    // "none": no HTTP
    const char *config;
    const char *key_file;    // NULL: none
    const char *users_file;  // NULL: none
    struct tls_files tls;    // certificate is NULL: no TLS
    struct credentials credentials;
    const char *log_format_text;
    const char *log_level_text;
    int64_t shards;  // 0: as the ledger is, ledger_shards_default for a new one
    int64_t map_size;
    int64_t frame_max;
    int64_t connections_max;
    int64_t connection_memory;  // 0: twice frame_max
    int64_t memory;             // 0: the larger of 256 MiB and what four frames and inflating need
    int64_t udp_buffer;
    int64_t inflated_max;
    int64_t ratio_max;
    int64_t handshake_ns;
    int64_t stall_ns;
    int64_t idle_ns;
    int64_t past_ns;
    // What ledger.conf keeps: SETTINGS_AS_IT_IS when no source names it.
    int64_t dedup_window_ns;        // 0: as it is
    int64_t keep_quarter_hours_ns;  // 0: for good
    int64_t keep_hours_ns;          // likewise
    int64_t keep_log_ns;            // likewise
    int64_t groups_max;             // 0: as it is
    const char *billing_zones_text;
    int64_t dedup_memory;
    int64_t future_ns;
    bool is_insecure;
    // Derived from udp_allow:
    const struct network *udp_allowed;
    size_t udp_allowed_count;
    // Derived from billing_zones_text; NULL: as it is.
    const char *const *billing_zones;
    uint32_t billing_zones_count;
    enum log_format log_format;
    enum log_level log_level;
};

enum option_result settings_read(
    int argc, char **argv, struct arena *arena, struct settings *out, struct error *error) CHECKED;

// Reads the shared key and the users, derives what depends on other settings; refuses what cannot
// be: STATUS_INVALID.
enum status
settings_check(struct settings *settings, struct arena *arena, struct error *error) CHECKED;

// "none" switches a listener off.
bool settings_is_none(const char *address);
