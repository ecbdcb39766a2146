#include "api/settings.h"

#include <inttypes.h>
#include <string.h>

#define OFFSET(member) offsetof(struct settings, member)

// clang-format off
#define LIMIT_ROW(option, kind, environment, first, text)                                          \
    {.name = (option), .type = OPTION_TEXT, .offset = OFFSET(limit_texts[kind]),                   \
     .env = (environment), .fallback = (first), .value_name = "N/TIME", .help = (text)}
#define TIME_ROW(option, member, environment, first, text)                                         \
    {.name = (option), .type = OPTION_DURATION, .offset = OFFSET(member), .env = (environment),    \
     .fallback = (first), .min = INT64_C(1000000), .max = INT64_C(86400) * 1000000000,             \
     .value_name = "TIME", .help = (text)}
#define COUNT_ROW(option, member, environment, first, least, most, text)                           \
    {.name = (option), .type = OPTION_INT, .offset = OFFSET(member), .env = (environment),         \
     .fallback = (first), .min = (least), .max = (most), .value_name = "N", .help = (text)}
#define SIZE_ROW(option, member, environment, first, text)                                         \
    {.name = (option), .type = OPTION_SIZE, .offset = OFFSET(member), .env = (environment),        \
     .fallback = (first), .min = 1024, .max = INT64_C(1) << 40, .value_name = "SIZE",              \
     .help = (text)}

static const struct option_row ROWS[] = {
    {.name = "data",
     .type = OPTION_TEXT,
     .offset = OFFSET(data),
     .env = "TALLY_DATA",
     .fallback = "./tally-data",
     .value_name = "DIR",
     .help = "data directory, of a ledger that exists"},
    {.name = "host",
     .type = OPTION_TEXT,
     .offset = OFFSET(host),
     .env = "TALLY_API_HOST",
     .fallback = "127.0.0.1",
     .value_name = "HOST",
     .help = "where to listen; 0.0.0.0 or [::]: everywhere"},
    COUNT_ROW("port", port, "PORT", "3000", 0, 65535, "0: any free one"),
    {.name = "unix",
     .type = OPTION_TEXT,
     .offset = OFFSET(unix_path),
     .env = "TALLY_UNIX",
     .value_name = "PATH",
     .help = "the unix socket of tallyd (default DIR/tallyd.sock)"},
    {.name = "tls-cert",
     .type = OPTION_TEXT,
     .offset = OFFSET(tls_certificate),
     .env = "TALLY_API_TLS_CERT",
     .value_name = "FILE",
     .help = "PEM: our certificate, behind it those up to the root; HTTPS and nothing else"},
    {.name = "tls-key",
     .type = OPTION_TEXT,
     .offset = OFFSET(tls_key),
     .env = "TALLY_API_TLS_KEY",
     .value_name = "FILE",
     .help = "PEM: its private key, mode 600 or 640"},
    {.name = "cors-origin",
     .type = OPTION_TEXTS,
     .offset = OFFSET(cors_origins),
     .env = "TALLY_CORS_ORIGIN",
     .value_name = "ORIGIN",
     .help = "let pages of this origin (https://app.example) read answers; *: of any"},
    {.name = "trusted-proxy",
     .type = OPTION_TEXTS,
     .offset = OFFSET(proxies_texts),
     .env = "TALLY_TRUSTED_PROXY",
     .value_name = "NET",
     .help = "believe X-Forwarded-For of these (10.0.0.0/8, 127.0.0.1)"},
    LIMIT_ROW("limit-anonymous", LIMIT_ANONYMOUS, "TALLY_LIMIT_ANONYMOUS", "100/15m",
              "requests of an address without a key, but health; none: no limit"),
    LIMIT_ROW("limit-address", LIMIT_ADDRESS, "TALLY_LIMIT_ADDRESS", "50000/1s",
              "requests of an address (of IPv6: of its /64) with keys or without"),
    LIMIT_ROW("limit-key", LIMIT_KEY, "TALLY_LIMIT_KEY", "50000/1s", "requests with a key"),
    COUNT_ROW("workers", workers, "TALLY_API_WORKERS", "128", 1, 1024,
              "threads that make answers"),
    COUNT_ROW("loops", loops, "TALLY_API_LOOPS", "2", 1, 64,
              "threads that read requests and write answers"),
    COUNT_ROW("waiting-max", waiting_max, "TALLY_API_WAITING_MAX", "1024", 1, 1000000,
              "requests that wait for a worker; more are answered 503"),
    COUNT_ROW("connections-max", connections_max, "TALLY_API_CONNECTIONS_MAX", "1024", 1, 65536,
              "HTTP connections at a time"),
    COUNT_ROW("streams-max", streams_max, "TALLY_API_STREAMS_MAX", "64", 0, 65536,
              "of them, those that listen to live figures"),
    COUNT_ROW("database-connections", database_connections, "TALLY_API_DATABASE_CONNECTIONS", "8",
              1, 256, "connections to PostgreSQL"),
    SIZE_ROW("body-max", body_max, "TALLY_API_BODY_MAX", "16M", "largest body of a request"),
    SIZE_ROW("bodies-max", bodies_max, "TALLY_API_BODIES_MAX", "256M",
             "of all requests together"),
    TIME_ROW("idle-timeout", idle_ns, "TALLY_API_IDLE_TIMEOUT", "60s",
             "for a connection to bring the head of a request"),
    TIME_ROW("body-timeout", body_ns, "TALLY_API_BODY_TIMEOUT", "30s",
             "for its body to follow"),
    TIME_ROW("answer-timeout", answer_ns, "TALLY_API_ANSWER_TIMEOUT", "60s",
             "for the client to take the answer"),
    TIME_ROW("stop-timeout", stop_ns, "TALLY_API_STOP_TIMEOUT", "10s",
             "for requests under way to finish when the server stops"),
    {.name = "access-log",
     .type = OPTION_FLAG,
     .offset = OFFSET(is_access_log),
     .env = "TALLY_ACCESS_LOG",
     .fallback = "true",
     .help = "a line for each request (--no-access-log: none)"},
    {.name = "log-format",
     .type = OPTION_TEXT,
     .offset = OFFSET(log_format_text),
     .env = "TALLY_LOG_FORMAT",
     .fallback = "text",
     .value_name = "text|json",
     .help = "form of the log's lines"},
    {.name = "log-level",
     .type = OPTION_TEXT,
     .offset = OFFSET(log_level_text),
     .env = "TALLY_LOG_LEVEL",
     .fallback = "info",
     .value_name = "LEVEL",
     .help = "debug, info, warn or error"},
    {.name = "config",
     .type = OPTION_TEXT,
     .offset = OFFSET(config),
     .env = "TALLY_API_CONFIG",
     .value_name = "FILE",
     .help = "file of `key = value` lines"},
    {.name = NULL},
};
// clang-format on

static const struct option_spec SPEC = {
    .program = "tally-api",
    .summary = "serves usage, meters and events over HTTP",
    .usage = "[options]",
    .details = "Every route but health and /api/docs wants a key:\n"
               "  tally key create --scopes ingest,read --name me\n"
               "The database is DATABASE_URL, or the one that `tally up` started.\n"
               "SIGTERM stops: requests under way are answered, then it exits 0.\n"
               "SIGHUP reads the files of --tls-cert and --tls-key again.\n"
               "Exit status: 0 success, 1 failure, 2 usage.\n",
    .rows = ROWS,
};

enum option_result
settings_read(int argc, char **argv, struct arena *arena, struct settings *out, struct error *error)
{
    struct option_texts_rest rest = {0};
    return options_read(&SPEC, argc, argv, out, arena, &rest, error);
}

static enum status
origins_check(const struct settings *settings, struct error *error)
{
    for (size_t i = 0; i < settings->cors_origins.count; i++) {
        const char *origin = settings->cors_origins.items[i];
        const char *host = strstr(origin, "://");
        bool is_origin =
            host != NULL && host > origin && host[3] != '\0' && strchr(host + 3, '/') == NULL;
        if (strcmp(origin, "*") != 0 && !is_origin)
            return error_set(
                error,
                STATUS_INVALID,
                "--cors-origin %s: https://HOST or http://HOST:PORT, without a path, or *",
                origin);
    }
    return STATUS_OK;
}

static enum status
limits_check(struct settings *settings, struct error *error)
{
    for (size_t i = 0; i < LIMIT_KINDS; i++) {
        const char *text = settings->limit_texts[i];
        if (!limit_rule_parse(text, &settings->limits[i]))
            return error_set(
                error,
                STATUS_INVALID,
                "--limit-%s %s: N/TIME such as 100/15m, or none",
                limit_name((enum limit_kind)i),
                text);
    }
    return STATUS_OK;
}

static enum status
proxies_check(struct settings *settings, struct arena *arena, struct error *error)
{
    size_t count = settings->proxies_texts.count;
    settings->proxies = arena_array(arena, count + 1, struct address_net);
    settings->proxies_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *text = settings->proxies_texts.items[i];
        if (!address_net_parse(text, &settings->proxies[i]))
            return error_set(
                error, STATUS_INVALID, "--trusted-proxy %s: an address, or ADDRESS/BITS", text);
    }
    return STATUS_OK;
}

enum status
settings_check(struct settings *settings, struct arena *arena, struct error *error)
{
    if (!log_format_parse(settings->log_format_text, &settings->log_format))
        return error_set(
            error, STATUS_INVALID, "--log-format %s: text or json", settings->log_format_text);
    if (!log_level_parse(settings->log_level_text, &settings->log_level))
        return error_set(
            error,
            STATUS_INVALID,
            "--log-level %s: debug, info, warn or error",
            settings->log_level_text);
    if (settings->bodies_max < settings->body_max)
        return error_set(error, STATUS_INVALID, "--bodies-max must be at least --body-max");
    if ((settings->tls_certificate == NULL) != (settings->tls_key == NULL))
        return error_set(error, STATUS_INVALID, "--tls-cert and --tls-key belong together");
    if (settings->unix_path == NULL)
        settings->unix_path = arena_format(arena, "%s/tallyd.sock", settings->data);
    enum status status = limits_check(settings, error);
    if (status == STATUS_OK)
        status = proxies_check(settings, arena, error);
    if (status)
        return status;
    settings->address = arena_format(arena, "%s:%" PRId64, settings->host, settings->port);
    return origins_check(settings, error);
}
