#pragma once
// The options of tally-api: one row each in settings.c, read as DESIGN section 9 says.
//
//     switch (settings_read(argc, argv, &arena, &settings, &error)) ...
//     status = settings_check(&settings, &arena, &error);
//
// Owner: main; texts live in the arena, argv or the environment. Thread: main.

#include "api/address.h"
#include "api/limits.h"
#include "base/log.h"
#include "base/option.h"

struct settings {
    const char *data;
    const char *host;
    int64_t port;
    const char *unix_path;  // of tallyd; NULL: DATA/tallyd.sock
    const char *config;
    const char *tls_certificate;  // NULL: no TLS
    const char *tls_key;
    struct option_texts cors_origins;
    struct option_texts proxies_texts;
    struct address_net *proxies;
    size_t proxies_count;
    const char *limit_texts[LIMIT_KINDS];
    struct limit_rule limits[LIMIT_KINDS];
    int64_t workers;
    int64_t loops;
    int64_t waiting_max;
    int64_t connections_max;
    int64_t streams_max;
    int64_t database_connections;
    int64_t body_max;
    int64_t bodies_max;
    int64_t idle_ns;
    int64_t body_ns;
    int64_t answer_ns;
    int64_t stop_ns;
    bool is_access_log;
    const char *log_format_text;
    const char *log_level_text;
    enum log_format log_format;
    enum log_level log_level;
    const char *address;  // of host and port
};

enum option_result settings_read(
    int argc, char **argv, struct arena *arena, struct settings *out, struct error *error) CHECKED;
// Derives what depends on other settings; refuses what cannot be: STATUS_INVALID.
enum status
settings_check(struct settings *settings, struct arena *arena, struct error *error) CHECKED;
